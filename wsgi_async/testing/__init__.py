"""Tools for tests of protocols: :class:`FakeTransport`, :class:`FakeLoop` and :class:`FakeClock`
run an asyncio protocol without a network and without waiting."""

from __future__ import annotations

from .fakes import FakeClock, FakeLoop, FakeSocket, FakeTransport

__all__ = ["FakeClock", "FakeLoop", "FakeSocket", "FakeTransport"]

"""Applications that stream, each connection its own."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from wire import HELLO, Chunks, Client

CHUNK = bytes(range(256)) * 64  # 16 KiB
overflows = pytest.mark.parametrize("overflow", ["spool", "park", "block"])


class Streamer:
    """An application that streams chunks, each connection its own, and remembers the iterables."""

    def __init__(
        self, chunks: Callable[[], Iterable[bytes]], fields: list[tuple[str, str]] | None = None
    ) -> None:
        self.bodies: list[Chunks] = []
        self._chunks = chunks
        self._fields = fields or []

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        start_response("200 OK", self._fields)
        if environ["PATH_INFO"] == "/hello":
            return [HELLO]
        body = Chunks(self._chunks())
        self.bodies.append(body)
        return body


def endless() -> Streamer:
    return Streamer(lambda: itertools.repeat(CHUNK))


def wait_full(client: Client) -> None:
    """Until the transport is above its high water."""
    client.site.loop.run_until(lambda: not client.protocol._sender.is_writable)

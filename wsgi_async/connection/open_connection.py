"""A connection, as far as what all connections share knows it: see ``protocol.HTTPProtocol``."""

from __future__ import annotations

import enum
from typing import NamedTuple, Protocol

from .exchange import Exchange

__all__ = ["InFlight", "OpenConnection", "Wait"]


class Wait(enum.Enum):
    """What a connection is waiting for."""

    FIRST_BYTE = "the first byte of all"
    HEAD = "the rest of a request head"
    REQUEST = "another request"
    LINGER = "the client to close"

    __hash__ = object.__hash__  # Enum's own is Python code, and waits change twice a request


class InFlight(NamedTuple):
    """What a connection is busy with."""

    exchange: Exchange
    is_receiving: bool
    """Whether the request's body is still being collected."""
    sent: int
    """Bytes of the response's body that were given to the transport."""


class OpenConnection(Protocol):
    """One of the connections of a server. *Loop.*"""

    @property
    def in_flight(self) -> InFlight | None:
        """What it is busy with, if it is."""

    def wait_expired(self, wait: Wait) -> None:
        """It has waited too long for that."""

    def check_pace(self, now: float) -> bool:
        """Judge the transfers that go on. False where there is none."""

    def client_has_gone(self) -> None:
        """The client has reset the connection while nothing was read from it."""

    def client_has_ended(self) -> None:
        """The client has ended its side while nothing was read from it: more may have come before
        that."""

    def close_idle(self) -> bool:
        """Close, if nothing has begun. False where a request or its response is under way."""

    def make_way(self) -> None:
        """Give the descriptor back for another connection, at once."""

    def abort(self) -> None:
        """Drop the client now."""

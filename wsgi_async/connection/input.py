"""Whether a connection's socket is read: not where enough waits here already. On the loop."""

from __future__ import annotations

import asyncio
import enum

from .departures import Departures
from .open_connection import OpenConnection
from .upload import Upload

__all__ = ["LINGER_SIZE", "Input", "InputState"]

LINGER_SIZE = 256 * 1024
"""Bytes that a closing connection still reads (RFC 9112 §9.6). What comes then stays in the
kernel: a client that cannot send any more looks for its answer."""


class InputState(enum.Enum):
    """Whether the socket is read."""

    FLOWING = "what comes is read"
    YIELDING = "it is read again in the loop's next turn, the other connections come first"
    HELD = "enough waits here: the application has the socket, or nobody"
    ENDED = "the client has ended its side: nothing more will come"


_FLOWING = InputState.FLOWING
_YIELDING = InputState.YIELDING
_HELD = InputState.HELD
_ENDED = InputState.ENDED

NEXT: dict[InputState, set[InputState]] = {
    _FLOWING: {_YIELDING, _HELD, _ENDED},
    _YIELDING: {_FLOWING, _HELD, _ENDED},
    _HELD: {_FLOWING, _ENDED},
    _ENDED: {_ENDED},
}


class Input:
    """The way in of one connection.

    :param transport: the connection's.
    :param departures: told of a connection from which nothing is read, so that its client's leaving
        is noticed.
    """

    __slots__ = ("_departures", "_discarded", "_transport", "state")

    def __init__(
        self, transport: asyncio.Transport, departures: Departures[OpenConnection]
    ) -> None:
        self._transport = transport
        self._departures = departures
        self._discarded = 0
        self.state = _FLOWING

    def _enter(self, state: InputState) -> None:
        """The one place where the state changes."""
        if state not in NEXT[self.state]:
            raise RuntimeError(f"an input cannot go from {self.state.name} to {state.name}")
        self.state = state

    @property
    def is_read(self) -> bool:
        """Whether what the client sends is taken, or would be."""
        return self.state is _FLOWING or self.state is _ENDED

    def hold(self, connection: OpenConnection, upload: Upload | None) -> None:
        """Read no more until :meth:`resume`: enough of an upload, or of further requests, is here.
        Harmless if repeated."""
        state = self.state
        if state is _HELD or state is _ENDED:
            return
        self._enter(_HELD)
        if state is _FLOWING:
            self._transport.pause_reading()
        if upload is not None:
            upload.lend(self._transport)
        self.watch_departure(connection)

    def resume(self, connection: OpenConnection, upload: Upload | None) -> None:
        """Read on. Harmless if it is read.

        :raises HTTPError: as :meth:`Upload.reclaim`.
        """
        state = self.state
        if state is _FLOWING or state is _ENDED:
            return
        self._departures.discard(connection)
        if upload is not None:
            try:
                upload.reclaim()
            except OSError:
                self._transport.abort()
        self._enter(_FLOWING)
        self._transport.resume_reading()
        if upload is not None:
            upload.await_client()

    def give_way(self) -> None:
        """Read on only when :meth:`resume` is called in the loop's next turn."""
        self._enter(_YIELDING)
        self._transport.pause_reading()

    def end(self) -> None:
        """The client has ended its side."""
        self._enter(_ENDED)

    def discard(self, size: int) -> bool:
        """So much has come on a connection that is about to close.

        :returns: whether that is enough: nothing more is to be read.
        """
        self._discarded += size
        return self._discarded > LINGER_SIZE

    def watch_departure(self, connection: OpenConnection) -> None:
        """Have it noticed if the client goes, although nothing is read from it."""
        sock = self._transport.get_extra_info("socket")
        if sock is not None:
            self._departures.add(connection, sock.fileno(), has_ended=self.state is _ENDED)

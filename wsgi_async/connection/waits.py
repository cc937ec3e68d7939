"""What connections wait for, and for how long each kind of wait may last. Loop-owned, no I/O."""

from __future__ import annotations

import math

from wsgi_async.config.options import Config

from .deadlines import Deadlines
from .open_connection import OpenConnection, Wait

__all__ = ["Waits"]

LINGER_TIME = 2.0
"""Seconds for which a closing connection still reads, so that the kernel does not reset it and
the client gets the answer (RFC 9112 §9.6)."""


class Waits(dict[Wait, Deadlines[OpenConnection]]):
    """Who waits for what, and since when: one :class:`Deadlines` for each kind of wait.

    :param config: the options.
    """

    def __init__(self, config: Config) -> None:
        head = config.header_timeout or math.inf
        super().__init__(
            {
                Wait.FIRST_BYTE: Deadlines(head),
                Wait.HEAD: Deadlines(head),
                Wait.REQUEST: Deadlines(config.keep_alive),
                Wait.LINGER: Deadlines(LINGER_TIME),
            }
        )

    def shorten(self, seconds: float) -> None:
        """From now on nobody stays idle for longer than `seconds`."""
        for wait in (Wait.FIRST_BYTE, Wait.REQUEST):
            self[wait].timeout = min(self[wait].timeout, seconds)

    def forget(self, connection: OpenConnection) -> None:
        """It is lost. Harmless if repeated."""
        for deadlines in self.values():
            deadlines.since.pop(connection, None)

    def end(self, now: float) -> None:
        """Tell those whose time is over."""
        for wait, deadlines in self.items():
            for connection in deadlines.expired(now):
                connection.wait_expired(wait)

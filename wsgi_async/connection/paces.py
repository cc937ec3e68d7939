"""Which connections are in a transfer, and when each is looked at. Loop-owned, no I/O."""

from __future__ import annotations

from wsgi_async.config.options import Config

from .open_connection import OpenConnection

__all__ = ["Paces"]

PACE_CHECK = 1.0
"""Seconds between two looks at how a transfer moves, at most."""


class Paces:
    """The connections in a transfer: each is asked from time to time how that moves.

    :param config: the options.
    """

    def __init__(self, config: Config) -> None:
        gaps = [gap / 4 for gap in (config.body_timeout, config.send_timeout) if gap]
        self._interval = min([PACE_CHECK, *gaps])
        self.looked: dict[OpenConnection, float] = {}
        """When each was last looked at; the oldest look first."""

    def __len__(self) -> int:
        return len(self.looked)

    def __contains__(self, connection: OpenConnection) -> bool:
        return connection in self.looked

    def watch(self, connection: OpenConnection, now: float) -> None:
        """Have its ``check_pace`` called from time to time, until that returns False."""
        self.looked.setdefault(connection, now)

    def forget(self, connection: OpenConnection) -> None:
        """It is lost. Harmless if repeated."""
        self.looked.pop(connection, None)

    def check(self, now: float) -> None:
        """Look at those whose turn it is."""
        due = []
        for connection, seen in self.looked.items():
            if seen > now - self._interval:
                break
            due.append(connection)
        for connection in due:
            del self.looked[connection]
            if not connection.check_pace(now):
                continue
            try:
                self.looked[connection] = now
            except MemoryError:
                connection.abort()  # nobody would look at it again

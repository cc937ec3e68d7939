"""Clients that leave while nobody reads from them. Linux; elsewhere nothing is seen here.

A loop tells that a client has gone when it reads. Where reading is paused, for enough waits here
already, and after the client has ended its side, nothing is read: its queued requests would run for
nobody, and its descriptor stay, until somebody writes to it.

poll(2) tells of a reset (POLLERR, POLLHUP) whatever it is asked for, and reads nothing. That a
client has ended its side (POLLRDHUP) it tells where it is asked, also if not all was read that came
before. Whoever does only that still reads (RFC 9112 §9.3), so the connection goes on, but the
application may want to know; it is looked at for a reset alone from then on. The server looks four
times a second, at all such connections in one system call.
An epoll would tell at once, and cost a descriptor that outlives a fork, and, as applications are
lent duplicates of sockets, keep watching what was closed.
"""

from __future__ import annotations

import enum
import select
import sys
from typing import Generic, TypeVar

__all__ = ["Departure", "Departures"]

T = TypeVar("T")

_NOTHING = 0
_END = getattr(select, "POLLRDHUP", 0)  # Linux has it
_GONE = select.POLLERR | select.POLLHUP | select.POLLNVAL


class Departure(enum.Enum):
    """How far a client has gone."""

    RESET = "its connection is lost"
    ENDED = "it has ended its side"


class Departures(Generic[T]):
    """Connections from which nothing is read at present. *Loop.*"""

    def __init__(self) -> None:
        self._poll = select.poll() if sys.platform == "linux" else None
        self._connections: dict[int, T] = {}
        self.descriptors: dict[T, int] = {}
        """Those that are looked at, and their sockets."""

    def __len__(self) -> int:
        return len(self._connections)

    def add(self, connection: T, descriptor: int, *, has_ended: bool) -> None:
        """Look at it from now on. Harmless if repeated.

        :param descriptor: its socket, which stays open until :meth:`discard`; negative for none.
        :param has_ended: whether it is known already that its client has ended its side.
        """
        if self._poll is None or descriptor < 0:
            return
        self._poll.register(descriptor, _NOTHING if has_ended else _END)
        self._connections[descriptor] = connection
        self.descriptors[connection] = descriptor

    def discard(self, connection: T) -> None:
        """It is read from again, or closed. Harmless if it was never added."""
        descriptor = self.descriptors.pop(connection, None)
        if descriptor is not None:
            assert self._poll is not None
            del self._connections[descriptor]
            self._poll.unregister(descriptor)

    def look(self) -> list[tuple[T, Departure]]:
        """Those whose client has gone: reset, until they are discarded; ended, once."""
        if self._poll is None or not self._connections:
            return []
        found = []
        for descriptor, events in self._poll.poll(0):
            how = Departure.RESET if events & _GONE else Departure.ENDED
            if how is Departure.ENDED:
                self._poll.modify(descriptor, _NOTHING)
            found.append((self._connections[descriptor], how))
        return found

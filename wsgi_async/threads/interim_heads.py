"""Heads that go out before that of the response (RFC 9110 §15.2): early hints."""

from __future__ import annotations

import enum
import threading

from wsgi_async.http.response import ResponseHead

__all__ = ["Added", "InterimHeads"]


class Added(enum.Enum):
    """What became of a head that was given."""

    FIRST = "it waits alone: the loop is to be told"
    BEHIND = "it waits behind others, of which the loop has been told"
    LEFT_OUT = "there is no room for it, and nothing is done"


class InterimHeads:
    """The interim responses of one request that wait for the loop.

    They are advice: where too many wait for a client that takes none, further ones are left out,
    and no thread is held. A lock of their own, for an application may send them from any thread.

    :param room: bytes of them that may wait.
    """

    __slots__ = ("_heads", "_lock", "_room", "_size")

    def __init__(self, room: int) -> None:
        self._room = room
        self._lock = threading.Lock()
        self._heads: list[ResponseHead] = []
        self._size = 0

    def add(self, head: ResponseHead, size: int) -> Added:
        """*Any thread:* put one behind the others.

        :param size: bytes it has.
        """
        with self._lock:
            if self._size + size > self._room:
                return Added.LEFT_OUT
            self._heads.append(head)
            self._size += size
            return Added.FIRST if len(self._heads) == 1 else Added.BEHIND

    def take(self) -> list[ResponseHead]:
        """*Loop:* all that wait."""
        with self._lock:
            heads, self._heads = self._heads, []
            self._size = 0
            return heads

"""The request body's way from the loop to a pool thread, as it arrives."""

from __future__ import annotations

import enum
import io
import threading
from collections import deque
from typing import TYPE_CHECKING

from wsgi_async.errors import ClientDisconnected
from wsgi_async.spool import Budget, Part, append_part

from .mailbox import Mailbox, Posted

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["RequestBody"]

HIGH_WATER = 256 * 1024
LOW_WATER = 64 * 1024
"""Bytes in the buffer at which reading from the client pauses, and goes on again."""


class _State(enum.Enum):
    OPEN = "more is to come"
    COMPLETE = "all has arrived"
    BROKEN = "the rest will never come"


class RequestBody(io.RawIOBase):
    """``wsgi.input`` for ``request_buffering=stream``: blocking reads of a bounded buffer.

    The application gets it behind an ``io.BufferedReader``, which brings ``read``, ``readline``,
    ``readlines`` and iteration as PEP 3333 ("Input and Error Streams") asks for them.

    :param mailbox: how the loop is woken.
    :param owner: the exchange that the loop is woken for.
    :param memory: the process's budget of RAM; where it refuses, reading pauses at once.
    """

    def __init__(self, mailbox: Mailbox, owner: Posted, memory: Budget) -> None:
        super().__init__()
        self._mailbox = mailbox
        self._owner = owner
        self._memory = memory
        self._lock = threading.Lock()
        self._arrived = threading.Condition(self._lock)
        self._parts: deque[Part] = deque()
        self._held = 0
        self._reserved = 0
        self._state = _State.OPEN
        self._is_awaited = False
        self._is_full = False
        self._why = ""
        self.size = 0
        """*Loop:* bytes fed so far."""

    # --- pool thread -------------------------------------------------------------------------

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """*Pool thread:* wait for bytes and copy some; 0 at the end of the body.

        :raises ClientDisconnected: the client went away, or broke the framing, before the end.
        """
        target = memoryview(buffer).cast("B")
        with self._lock:
            must_tell = not self._is_awaited and not self._parts and self._state is _State.OPEN
            if must_tell:
                self._is_awaited = True
        if must_tell:
            self._mailbox.post(self._owner)
        with self._lock:
            self._arrived.wait_for(self._has_news)
            if self._state is _State.BROKEN:
                raise ClientDisconnected(self._why)
            count = self._copy_into(target)
            has_room = self._is_full and self._held <= LOW_WATER
            if has_room:
                self._is_full = False
        if has_room:
            self._mailbox.post(self._owner)
        return count

    def _has_news(self) -> bool:
        return bool(self._parts) or self._state is not _State.OPEN

    def _copy_into(self, target: memoryview) -> int:
        """With the lock held: move what fits."""
        done = 0
        while self._parts and done < len(target):
            part = self._parts[0]
            count = min(len(part), len(target) - done)
            target[done : done + count] = part[:count]
            done += count
            if count == len(part):
                self._parts.popleft()
            else:
                self._parts[0] = memoryview(part)[count:]
        self._held -= done
        freed = min(done, self._reserved)
        self._reserved -= freed
        self._memory.release(freed)
        return done

    # --- loop --------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """*Loop:* more of the body."""
        self.size += len(data)
        with self._lock:
            if self._state is not _State.OPEN:
                return
            append_part(self._parts, data)
            self._held += len(data)
            if self._memory.reserve(len(data)):
                self._reserved += len(data)
                self._is_full = self._held >= HIGH_WATER
            else:
                self._is_full = True
            self._arrived.notify()

    def feed_end(self) -> None:
        """*Loop:* the body is complete."""
        with self._lock:
            if self._state is _State.OPEN:
                self._state = _State.COMPLETE
            self._arrived.notify()

    def abort(self, why: str) -> None:
        """*Loop:* the rest will never come; reads raise from now on."""
        with self._lock:
            if self._state is not _State.COMPLETE:
                self._state = _State.BROKEN
                self._why = why
            self._arrived.notify()

    @property
    def is_full(self) -> bool:
        """*Loop:* whether to stop reading from the client."""
        return self._is_full and self._state is _State.OPEN

    @property
    def is_awaited(self) -> bool:
        """*Any thread:* whether the application has begun to wait for bytes: only then does a
        client that expects it get its 100 (RFC 9110 §10.1.1)."""
        return self._is_awaited

    # --- whoever is last -----------------------------------------------------------------------

    def release(self) -> None:
        """*Pool thread, after the exchange:* drop what was not read, give the budget back."""
        with self._lock:
            self._parts.clear()
            self._held = 0
            freed, self._reserved = self._reserved, 0
            unread = self._state is _State.OPEN
            if unread:
                self._state = _State.BROKEN
                self._why = "the exchange has ended"
        self._memory.release(freed)
        if unread and self._is_full:
            self._mailbox.post(self._owner)  # the client may only read when it has sent all

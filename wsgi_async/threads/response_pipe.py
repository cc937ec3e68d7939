"""A response that does not cross the thread line at once: chunks, or a file."""

from __future__ import annotations

import time

from .backlog import Extent
from .response_account import FREE_MEMORY, LOOSE_CHUNKS
from .response_producer import ResponseProducer
from .response_states import ENDED, LEFT, Consumer, Producer

__all__ = ["FILE_BLOCK", "ResponsePipe", "Taken"]

FILE_BLOCK = 128 * 1024
"""Bytes of a file that are read at once, where the budget of memory allows. The memory of larger
ones goes back to the system with each block, and each page of the next one faults: by TLS that was
a third of the work."""

Taken = tuple[list[bytes], Producer]
"""What the loop gets from one ``take``: chunks; and FINISHED where nothing follows and the response
is complete, CUT where it is not."""

# As in ``response_producer``.
_RUNNING = Producer.RUNNING
_SPOOLING = Producer.SPOOLING
_PARKED = Producer.PARKED
_CUT = Producer.CUT
_READY = Consumer.READY
_FULL = Consumer.FULL
_READING = Consumer.READING
_GONE = Consumer.GONE


class ResponsePipe(ResponseProducer):
    """What follows the head of one response, on its way from a pool thread to the loop.

    Here is the loop's side; see :class:`.response_states.Consumer`. Made by the pool thread, see
    :class:`.response_writer.ResponseWriter`.
    """

    __slots__ = ()

    def take(self) -> Taken:
        """*Loop:* everything that waits in RAM, and whether that was all.

        What waits in a file comes after it: see :meth:`extent`.
        """
        with self._lock:
            if self._consumer in LEFT:
                return [], _CUT
            self._consumer = _READY
            producer, chunks = self._producer, self._chunks
            if producer is _RUNNING:
                # More may be put there meanwhile, without the lock: see write().
                chunks = chunks[:]
                del self._chunks[: len(chunks)]
                size = sum(map(len, chunks))
            else:
                self._chunks = []
                size = self._added - self._taken
            self._join_at = LOOSE_CHUNKS
            self._in_transport += size
            self._taken += size
            if self._backlog is not None and not self._backlog.is_empty:
                return chunks, _RUNNING
            return chunks, producer

    def extent(self) -> Extent | None:
        """*Loop:* the stretch of file to send next, once everything in RAM was taken."""
        with self._lock:
            backlog = self._backlog
            if backlog is None or backlog.is_empty or self._queued:
                return None
            return Extent(backlog.file.fileno(), backlog.start, backlog.end - backlog.start)

    def block_size(self, wanted: int) -> int:
        """*Loop:* bytes of the extent to read at once, within what may wait in RAM.

        :param wanted: how many would be read where there is room for any number.
        """
        with self._lock:
            if self._producer is not _RUNNING and self._producer is not _SPOOLING:
                # No pool thread is there that would make the room larger.
                self._fits(min(FILE_BLOCK, wanted))
            return min(wanted, max(FREE_MEMORY, min(FILE_BLOCK, self._room - self._in_transport)))

    def consumed(self, amount: int, *, in_memory: bool = True) -> None:
        """*Loop:* that many bytes of the extent were read, or sent without being read."""
        with self._lock:
            assert self._backlog is not None
            self._backlog.start += amount
            if in_memory:
                self._in_transport += amount

    def begin_read(self) -> None:
        """*Loop:* an I/O thread is about to read the extent; its descriptor stays open."""
        with self._lock:
            assert self._backlog is not None
            self._backlog.is_read = True
            if self._consumer not in LEFT:
                self._consumer = _READING

    def end_read(self) -> None:
        """*Loop:* it has read."""
        with self._lock:
            assert self._backlog is not None
            self._backlog.is_read = False
            if self._consumer is _READING:
                self._consumer = _READY
            last = self._consumer in LEFT and self._producer in ENDED
        if last:
            self.release()

    def settle(self, unsent: int, *, writable: bool) -> bool:
        """*Loop:* tell what the transport still holds, after each write and when it drains.

        :param unsent: bytes in the transport's buffer.
        :param writable: False while the transport is above its high water.
        :returns: True where a parked iteration is to be run again, by the caller.
        """
        with self._lock:
            self._in_transport = unsent
            if self._consumer in LEFT:
                return False
            if not writable and self._consumer is not _READING:
                self._consumer = _FULL
            elif self._consumer is _FULL:
                self._consumer = _READY
            if not self._is_low():
                return False
            if self._room_made is not None:
                self._room_made.notify_all()
            if self._producer is _PARKED:
                self._producer = _RUNNING
                return True
            return False

    def note_progress(self) -> None:
        """*Loop:* the client has taken something: its thread, if one waits, is not to be freed."""
        self.progress_at = time.monotonic()

    def abort(self) -> bool:
        """*Loop, or the thread that has just made this:* the client has gone.

        :returns: True where a parked iteration is to be closed, by the caller, on a pool thread.
        """
        with self._lock:
            self._consumer = _GONE
            self._chunks = []
            self._taken = self._added
            self._in_transport = 0
            if self._room_made is not None:
                self._room_made.notify_all()
            producer = self._producer
            if producer is _PARKED:
                self._producer = _RUNNING
        if producer in ENDED:
            self.release()
        return producer is _PARKED

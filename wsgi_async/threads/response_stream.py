"""A response that does not cross the thread line at once: chunks, or a file."""

from __future__ import annotations

import threading
import time

from wsgi_async.buffers.spool import SourceFile, SpoolFile
from wsgi_async.errors import ClientDisconnected, StorageExhausted
from wsgi_async.http.response import ResponseHead

from .backlog import Backlog, Extent
from .bounds import LARGE_FILE, STALLED, BlockedWriters, Overflow, ResponseBounds
from .mailbox import Mailbox, Posted
from .response_states import ENDED, LEFT, Consumer, Producer

__all__ = ["FREE_MEMORY", "Producer", "Progress", "ResponseStream", "Taken"]

FREE_MEMORY = 16 * 1024
"""Bytes a response may hold before it asks the process's budget: a small answer takes no lock
that all threads share."""

SPOOL_GRACE = 0.01
"""Seconds a full writer waits for the loop before it spools. A fast client needs less to drain it,
but the GIL's next switch to begin; without this a fast generator would go through the disk."""

SPOOL_GRACES = 10
"""How often it waits for as long while nobody else waits for a thread: a client that drains the
buffer in that time is worth a thread that is free, and its response no disk."""

SLICE = 0.05
"""Seconds after which a parked-mode iteration gives its thread to others that queue."""

LOOSE_CHUNKS = 1024
"""Chunks that may wait as they came; then they are joined."""

FILE_BLOCK = 256 * 1024
"""Bytes of a file that are read at once, where the budget of memory allows."""

PIECE = 256 * 1024
"""A larger chunk goes in by pieces, so that one giant chunk can be spooled too."""


Taken = tuple[list[bytes], Producer]
"""What the loop gets from one ``take``: chunks; and FINISHED where nothing follows and the response
is complete, CUT where it is not."""


Progress = tuple[int, int, Producer]
"""Bytes that went through RAM, the end of what is in a file, and whether there is an end."""


# A global is quicker than an enum's attribute, and these are compared on every chunk.
_RUNNING = Producer.RUNNING
_SPOOLING = Producer.SPOOLING
_PARKED = Producer.PARKED
_FINISHED = Producer.FINISHED
_CUT = Producer.CUT
_READY = Consumer.READY
_WOKEN = Consumer.WOKEN
_FULL = Consumer.FULL
_READING = Consumer.READING
_EVICTED = Consumer.EVICTED
_GONE = Consumer.GONE
_SPOOL = Overflow.SPOOL
_PARK = Overflow.PARK
_BLOCK = Overflow.BLOCK


class ResponseStream:
    """What follows the head of one response, on its way from a pool thread to the loop.

    Made by the pool thread, see :class:`.writer.ResponseWriter`.

    :param bounds: what all responses share.
    :param mailbox: how the loop is woken.
    :param owner: the exchange that the loop is woken for.
    :param head: goes out with the first chunk; None where the response is cut before it has one.
    :param length: the size of the body in bytes, or None where it is not known.
    """

    __slots__ = (
        "_added",
        "_backlog",
        "_bounds",
        "_chunks",
        "_consumer",
        "_in_transport",
        "_join_at",
        "_lock",
        "_mailbox",
        "_owner",
        "_parks",
        "_producer",
        "_reserved",
        "_room",
        "_room_made",
        "_slice_end",
        "_taken",
        "head",
        "length",
        "parks",
        "progress_at",
        "waits",
    )

    def __init__(
        self,
        bounds: ResponseBounds,
        mailbox: Mailbox,
        owner: Posted | None,
        head: ResponseHead | None,
        length: int | None,
    ) -> None:
        self.head = head
        self.length = length
        self._bounds = bounds
        self._mailbox = mailbox
        self._owner = owner
        self._lock = threading.Lock()
        self._producer = _RUNNING
        self._consumer = _READY
        self._chunks: list[bytes] = []
        self._join_at = LOOSE_CHUNKS
        # Bytes that were put into _chunks, by the pool thread alone, and taken out, by the loop.
        self._added = self._taken = 0
        # Bytes of this response in the transport; and what it may have in RAM.
        self._in_transport = self._reserved = 0
        self._room = FREE_MEMORY if bounds.memory > FREE_MEMORY else bounds.memory
        self._room_made: threading.Condition | None = None
        self._slice_end = 0.0
        self._backlog: Backlog | None = None
        self._parks = bounds.overflow is _PARK
        self.parks = 0
        """How often the iteration was suspended."""
        self.waits = 0
        """How often the thread has begun or ended to wait for the client: odd while it does."""

    # --- pool thread -------------------------------------------------------------------------

    def write(self, data: bytes) -> bool:
        """*Pool thread:* one non-empty chunk of the body.

        :returns: False where the iteration is to be suspended (``park``), else True; the call
            may first have waited for the client (``block``).
        :raises ClientDisconnected: nobody is there to take it.
        """
        if self._parks:
            return self._add(data) and not self._slice_is_over()
        size = len(data)
        if size > PIECE or self._producer is not _RUNNING:
            self.write_and_wait(data)
            return True
        # Most chunks come while a wake is on its way, and fit: then all is done without the
        # lock. First the chunk is put there, then the state is looked at; take() does
        # it the other way round. So either the loop finds the chunk or this finds the loop READY,
        # also without a GIL: appending to a list and slicing it take that list's own lock.
        chunks = self._chunks
        chunks.append(data)
        self._added = added = self._added + size
        if (
            self._consumer is _WOKEN
            and added - self._taken + self._in_transport <= self._room
            and len(chunks) < self._join_at
        ):
            return True
        if not self._tell():
            self._overflow()
        return True

    def write_and_wait(self, data: bytes) -> None:
        """*Pool thread:* like :meth:`write`, but never asks to be suspended: the legacy
        ``write()`` callable has no place to suspend at."""
        if len(data) <= PIECE:
            if not self._add(data):
                self._overflow()
            return
        for start in range(0, len(data), PIECE):
            if not self._add(data[start : start + PIECE]):
                self._overflow()

    def write_last(self, data: bytes) -> None:
        """*Pool thread:* the chunk that completes the response, in one wake with its end."""
        size = len(data)
        if self._producer is _SPOOLING or self._is_too_much(size):
            self._write_whole(data)
            return
        with self._lock:
            self._chunks.append(data)
            self._added += size
            self._producer = _FINISHED
            consumer = self._consumer
            if consumer is _READY:
                self._consumer = _WOKEN
        self._tell_end(consumer)

    def send_file(self, source: SourceFile, offset: int, count: int) -> None:
        """*Pool thread:* the whole body: `count` bytes of a file from `offset`."""
        with self._lock:
            self._backlog = Backlog(source, offset, offset + count)
        self._end(_FINISHED)

    def finish(self) -> None:
        """*Pool thread:* the body is complete."""
        self._end(_FINISHED)

    def cut(self) -> None:
        """*Pool thread:* the body ends here without being complete. If it has ended, the loop is
        told once more: see :meth:`.writer.ResponseWriter.cut`."""
        if self.has_ended:
            consumer = self._consumer
            self._tell_end(consumer if consumer in LEFT else _READY)
        else:
            self._end(_CUT)

    def park(self) -> bool:
        """*Pool thread:* the iteration is suspended, and its context has been left.

        Where this returns True another thread may run it already, so it is the last thing its
        thread does with it.

        :returns: False, and nothing done, where the client has gone: the same thread closes it.
            No wake could do that at shutdown, when the last threads end with the last task.
        """
        self._slice_end = 0.0
        with self._lock:
            consumer = self._consumer
            if consumer in LEFT:
                return False
            self._producer = _PARKED
            self.parks += 1
            self.waits += 2  # it waits, and no longer once it runs again
            if consumer is _READY:
                self._consumer = _WOKEN
        if consumer is _READY:
            self._post()
        return True

    def disown(self) -> None:
        """*In a process that the pool thread has forked:* nobody takes anything from here on. The
        other threads are gone, and with them perhaps who held the lock."""
        self._lock = threading.Lock()
        self._room_made = None
        self._consumer = _GONE

    def _end(self, how: Producer) -> None:
        if self._producer in ENDED:
            return  # only the pool thread sets these, so it may look without the lock
        with self._lock:
            self._producer = how
            consumer = self._consumer
            if consumer is _READY:
                self._consumer = _WOKEN
        self._tell_end(consumer)

    def _tell_end(self, consumer: Consumer) -> None:
        """After the end was noted: `consumer` is what the loop's side was before it."""
        if consumer is _READY:
            owner = self._owner
            if owner is not None:
                self._mailbox.post(owner)
        elif consumer is _GONE:
            self.release()  # its thread is the last

    def _post(self) -> None:
        owner = self._owner
        if owner is not None:
            self._mailbox.post(owner)

    def _add(self, data: bytes) -> bool:
        """Put one piece behind the others. False where that was more than may wait in RAM."""
        with self._lock:
            producer = self._producer
            if self._consumer in LEFT or (producer is not _RUNNING and producer is not _SPOOLING):
                raise ClientDisconnected("nobody takes what comes now")
            if producer is _SPOOLING and self._is_low():
                self._producer = producer = _RUNNING  # the client has caught up
            if producer is _RUNNING:
                self._chunks.append(data)
                self._added += len(data)
        if producer is _SPOOLING:
            self._append_to_spool(data)
            return True
        return self._tell()

    def _tell(self) -> bool:
        """After a piece was put behind the others: wake the loop, if nobody has. False where that
        piece was more than may wait in RAM."""
        try:
            with self._lock:
                consumer = self._consumer
                if consumer in LEFT:
                    raise ClientDisconnected("nobody takes what comes now")
                if len(self._chunks) >= self._join_at:
                    self._join_chunks()
                if consumer is _READY:
                    self._consumer = _WOKEN
            if consumer is _READY:
                self._post()
        except ClientDisconnected:
            raise
        except BaseException:
            self._post()  # it may have been struck in between, and the application goes on
            raise
        return self._fits(0)

    def _join_chunks(self) -> None:
        """With the lock held: make one of the last thousand chunks, which came while the loop was
        away. As objects of their own, chunks of two bytes take twenty times their size."""
        self._chunks[-LOOSE_CHUNKS:] = [b"".join(self._chunks[-LOOSE_CHUNKS:])]
        self._join_at = len(self._chunks) + LOOSE_CHUNKS

    def _is_too_much(self, size: int) -> bool:
        """Whether the end of a body is more than may wait in RAM.

        Never in ``park``, which takes every chunk whole: at the end nothing is left to suspend,
        and its thread would have to wait.
        """
        return size > self._room and not self._fits(size) and self._bounds.overflow is not _PARK

    def _fits(self, size: int) -> bool:
        """Whether this much more can be held in RAM; the room is made larger if need be.

        It grows by doubling, from the process's budget, up to this response's bound.
        """
        bounds = self._bounds
        while self._queued + self._in_transport + size > self._room:
            more = min(self._room, bounds.memory - self._room)
            if more <= 0 or not bounds.budgets.memory.reserve(more):
                return False
            self._reserved += more
            self._room += more
        return True

    def _slice_is_over(self) -> bool:
        """Whether a parked-mode iteration has run long enough, given that others wait."""
        now = time.monotonic()
        if not self._slice_end:
            self._slice_end = now + SLICE
        return now > self._slice_end and self._bounds.others_wait()

    def _write_whole(self, data: bytes) -> None:
        """The rest of a body that is larger than the room for it, and its end."""
        try:
            self.write_and_wait(data)
        except ClientDisconnected:
            self.cut()
        else:
            self.finish()

    def _overflow(self) -> None:
        """The writer is full and this thread may not be suspended."""
        bounds = self._bounds
        if bounds.overflow is _SPOOL and bounds.budgets.has_disk:
            for _ in range(SPOOL_GRACES):
                if self._wait_for_room(SPOOL_GRACE):
                    return
                if bounds.others_wait():
                    break
            if self._start_spooling():
                return
        self._block()

    def _block(self) -> None:
        """Hold this thread until the client has taken enough. The last resort, and ``block``."""
        blocked = self._bounds.blocked
        self.progress_at = time.monotonic()
        try:
            self._wait_among(blocked)
            blocked.leave(self)
        except BaseException:
            blocked.leave(self)  # not in a `finally`, where it could be struck itself
            raise

    def _wait_among(self, blocked: BlockedWriters) -> None:
        blocked.enter(self)
        while not self._wait_for_room(STALLED):
            blocked.relieve()

    def _wait_for_room(self, timeout: float | None) -> bool:
        """Wait until the writer is at its low water.

        :raises ClientDisconnected: the client went away meanwhile, or this writer was evicted.
        """
        with self._lock:
            if self._room_made is None:
                self._room_made = threading.Condition(self._lock)
            self.waits += 1
            try:
                has_room = self._room_made.wait_for(self._is_low_or_gone, timeout)
            finally:
                self.waits += 1
            if self._consumer in LEFT:
                raise ClientDisconnected("the client has gone")
            return has_room

    def _is_low_or_gone(self) -> bool:
        return self._is_low() or self._consumer in LEFT

    def _is_low(self) -> bool:
        """At or below low water: half the room, and nothing left in the file.

        Or what the transport alone may hold: it does not tell when it falls below that, so who
        has little room, the process's budget being used up, would wait for ever.
        """
        if self._backlog is not None and not self._backlog.is_empty:
            return False
        return self._queued + self._in_transport <= self._room // 2 or (
            not self._queued and self._in_transport <= self._bounds.high_water
        )

    def _start_spooling(self) -> bool:
        bounds = self._bounds
        try:
            if self._backlog is None:
                backlog = Backlog(SpoolFile(bounds.budgets, bounds.disk, for_response=True), 0, 0)
            else:
                backlog = self._backlog
                assert isinstance(backlog.file, SpoolFile)
                backlog.file.empty()
        except OSError as error:
            bounds.warn(f"cannot make a temporary file for a response: {error}")
            return False
        with self._lock:
            backlog.start = backlog.end = 0
            self._backlog = backlog
            self._producer = _SPOOLING
        return True

    def _append_to_spool(self, data: bytes) -> None:
        """Add to the file; at its bound, wait until the client has taken all of it.

        A disk that takes no more is a bound like our own, whatever it says: nothing is lost, for
        what it did not take is here, and what it took can be read.
        """
        backlog = self._backlog
        assert backlog is not None
        assert isinstance(backlog.file, SpoolFile)
        try:
            backlog.file.append(data)
        except OSError as error:
            if not isinstance(error, StorageExhausted):
                self._bounds.warn(
                    "a temporary file takes no more of a response, which holds its thread until "
                    f"its client has taken all: {error}"
                )
            self._block()
            with self._lock:
                self._producer = _RUNNING
            if not self._add(data):
                self._overflow()
            return
        try:
            with self._lock:
                backlog.end = backlog.file.size
                consumer = self._consumer
                if consumer is _READY:
                    self._consumer = _WOKEN
            if consumer is _READY:
                self._post()
        except BaseException:
            self._post()  # as in _tell()
            raise
        if consumer in LEFT:
            raise ClientDisconnected("the client has gone")

    # --- any thread --------------------------------------------------------------------------

    @property
    def _queued(self) -> int:
        """Bytes in RAM that the loop has not taken."""
        return self._added - self._taken

    @property
    def gone(self) -> bool:
        """*Any thread:* whether the client has gone."""
        return self._consumer in LEFT

    @property
    def has_ended(self) -> bool:
        """*Any thread:* whether nothing more will come from the application."""
        return self._producer in ENDED

    @property
    def is_parked(self) -> bool:
        """*Any thread:* whether the iteration is suspended."""
        return self._producer is _PARKED

    @property
    def is_being_read(self) -> bool:
        """*Any thread:* whether an I/O thread reads a block of the file, which goes first."""
        return self._consumer is _READING

    @property
    def progress(self) -> Progress:
        """*Any thread:* changes whenever the application has produced something."""
        backlog = self._backlog
        return self._added, backlog.end if backlog is not None else 0, self._producer

    def evict(self) -> None:
        """*Any thread:* give this response up: its thread is freed, the loop cuts the client."""
        with self._lock:
            if self._consumer in LEFT:
                return
            self._consumer = _EVICTED
            if self._room_made is not None:
                self._room_made.notify_all()
        self._post()

    # --- loop --------------------------------------------------------------------------------

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

    # --- whoever is last -----------------------------------------------------------------------

    def release(self) -> None:
        """*The loop, once the response is on its way; or the thread of one whose client went:*
        close the files and give the budgets back. Put off while an I/O thread reads."""
        if self._backlog is None and not self._reserved:
            self._owner = None
            return
        with self._lock:
            backlog = self._backlog
            if backlog is not None and backlog.is_read:
                return
            self._backlog = None
            reserved, self._reserved = self._reserved, 0
        self._owner = None  # a cycle of references would leave every request to the collector
        if backlog is not None and backlog.end > LARGE_FILE:
            self._bounds.in_background(backlog.file.close)
        elif backlog is not None:
            backlog.file.close()
        if reserved:
            self._bounds.budgets.memory.release(reserved)

"""The pool thread's side of a streamed response: chunks, a file, the end; and what comes of a chunk
that is too much."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from wsgi_async.buffers.spool import SourceFile, SpoolFile
from wsgi_async.errors import ClientDisconnected, StorageExhausted

from .backlog import Backlog
from .bounds import STALLED, BlockedWriters, Overflow
from .response_account import LOOSE_CHUNKS, ResponseAccount
from .response_states import ENDED, LEFT, Consumer, Producer
from .spool_turns import Turn

__all__ = ["ResponseProducer"]

SPOOL_GRACE = 0.01
"""Seconds a full writer waits for the loop before it spools. A fast client needs less to drain it,
but the GIL's next switch to begin; without this a fast generator would go through the disk."""

SPOOL_GRACES = 10
"""How often it waits for as long while nobody else waits for a thread: a client that drains the
buffer in that time is worth a thread that is free, and its response no disk."""

SLICE = 0.05
"""Seconds after which a parked-mode iteration gives its thread to others that queue."""

PIECE = 256 * 1024
"""A larger chunk goes in by pieces, so that one giant chunk can be spooled too."""


# A global is quicker than an enum's attribute, and these are compared on every chunk.
_RUNNING = Producer.RUNNING
_SPOOLING = Producer.SPOOLING
_PARKED = Producer.PARKED
_FINISHED = Producer.FINISHED
_CUT = Producer.CUT
_READY = Consumer.READY
_WOKEN = Consumer.WOKEN
_GONE = Consumer.GONE
_SPOOL = Overflow.SPOOL


class ResponseProducer(ResponseAccount):
    """What its thread does with a response; see :class:`.response_states.Producer` for where it
    stands. The application's chunks come here by ``wsgi/calling.py``."""

    __slots__ = ()

    def write(self, data: bytes) -> bool:
        """*Pool thread, or application loop:* one non-empty chunk of the body.

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
        # Most chunks come while a wake is on its way, and fit: then all is done without the lock.
        # First the chunk is put there, then the state is looked at; take(), of ResponsePipe, does
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
        told once more: see :meth:`.response_writer.ResponseWriter.cut`."""
        if self.has_ended:
            consumer = self._consumer
            self._tell_end(consumer if consumer in LEFT else _READY)
        else:
            self._end(_CUT)

    def go_live(self) -> bool:
        """*Application loop, before it writes:* it is the body of an asynchronous one from here on:
        whatever the overflow, nothing of it waits or goes to a file, and where it is ahead of its
        client it parks.

        :returns: False where it is to park first: what was written before is in a file.
        """
        self._parks = self._is_live = True
        return self._producer is not _SPOOLING

    def park(self) -> bool:
        """*Pool thread, or application loop:* the iteration is suspended, and its context has been
        left, unless that is an asynchronous body's own.

        Where this returns True another thread may run it already, so it is the last thing its
        thread does with it.

        :returns: False, and nothing done, where the client has gone: the same thread closes it.
            No wake could do that at shutdown, when the last threads end with the last task.
        """
        self._slice_end = 0.0
        self._stand_in = None  # it is this thread's, and another one may go on
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
            self._post()
        elif consumer is _GONE:
            self.release()  # its thread is the last
        if self._stand_in is not None:
            self._stand_in = None  # it refers to this
            self._bounds.turns.call_next()

    def _add(self, data: bytes) -> bool:
        """Put one piece behind the others. False where that was more than may wait in RAM."""
        if self._producer is _SPOOLING:
            self._let_others_pass()
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
        return size > self._room and not self._fits(size) and not self._parks

    def _slice_is_over(self) -> bool:
        """Whether a parked-mode iteration has run long enough, given that others wait for its
        thread. An asynchronous body has none."""
        if self._is_live:
            return False
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

    # --- what comes of a chunk that is too much ----------------------------------------------

    def _overflow(self) -> None:
        """The writer is full and this thread may not be suspended."""
        bounds = self._bounds
        if bounds.overflow is _SPOOL and bounds.budgets.has_disk:
            turn = self._turn = Turn(bounds.turns)
            if self._drains_soon():
                return
            has_time = not turn.is_over()
            while not has_time and self._stands_aside():
                if self._wait_for_turn():
                    return
                has_time = bounds.turns.may_begin()
            if self._start_spooling():
                return
        self._block()

    def _drains_soon(self) -> bool:
        """Whether a client that is quick has made room, after a moment in which nobody else needs
        this thread."""
        patience, others_wait = self._bounds.patience, self._bounds.others_wait
        if others_wait() and (self._stand_in is not None or patience.is_exhausted):
            return False
        try:
            patience.enter(self)
            has_room = self._wait_a_moment(others_wait)
            patience.leave(self)
        except BaseException:
            patience.leave(self)  # as in _block()
            raise
        return has_room

    def _wait_a_moment(self, others_wait: Callable[[], bool]) -> bool:
        if self._stand_in is not None:
            return self._wait_for_room(SPOOL_GRACE * SPOOL_GRACES)  # it keeps nobody waiting
        for _ in range(SPOOL_GRACES):
            if self._wait_for_room(SPOOL_GRACE):
                return True
            if others_wait():
                break
        return False

    def _let_others_pass(self) -> None:
        """Before the next piece goes into the file: wait while others need a thread, until it is
        this response's turn or its client has caught up."""
        turn = self._turn
        assert turn is not None  # it has begun with one
        if turn.is_over() and self._stands_aside():
            self._wait_for_turn()

    def _wait_for_turn(self) -> bool:
        """Whether there is room, where it is this response's turn to be written to its file, or it
        has caught up with its client."""
        turns = self._bounds.turns
        self._is_called = False
        try:
            turns.enter(self)
            has_room = self._wait_for_room(None, self._is_called_or_low)
            turns.leave(self)
        except BaseException:
            turns.leave(self)  # as in _block()
            raise
        self._turn = Turn(turns)
        return has_room

    def call(self) -> None:
        """*Any thread:* it is its turn: see :class:`.spool_turns.SpoolTurns`."""
        with self._lock:
            self._is_called = True
            if self._room_made is not None:
                self._room_made.notify_all()

    def _is_called_or_low(self) -> bool:
        return self._is_called or self._is_low()

    def _stands_aside(self) -> bool:
        """Whether another thread has the place of this one in the pool, from now on if need be."""
        if self._stand_in is None:
            self._stand_in = self._bounds.stand_in()
        return self._stand_in is not None

    def _block(self) -> None:
        """Hold this thread until the client has taken enough; in the pool another one has its
        place, as far as there may be more of them. The last resort, and ``block``."""
        blocked = self._bounds.blocked
        self.progress_at = time.monotonic()
        if self._stand_in is not None:
            self._bounds.turns.call_next()  # it needs its turn no more
        try:
            if self._stand_in is None:
                blocked.enter(self)
            self._wait_among(blocked)
            blocked.leave(self)
        except BaseException:
            blocked.leave(self)  # not in a `finally`, where it could be struck itself
            raise

    def _wait_among(self, blocked: BlockedWriters) -> None:
        if self._drains_soon():
            return
        while not self._stands_aside():
            if self._wait_for_room(STALLED):
                return
            blocked.relieve()
        blocked.leave(self)
        self._wait_for_room(None)

    def _wait_for_room(
        self, timeout: float | None, is_over: Callable[[], bool] | None = None
    ) -> bool:
        """Wait until the writer is at its low water.

        :param is_over: or until this is so.
        :returns: whether it is at its low water.
        :raises ClientDisconnected: the client went away meanwhile, or this writer was evicted.
        """
        is_over = is_over or self._is_low
        stand_in = self._stand_in
        try:
            self.waits += 1
            if stand_in is not None:
                stand_in.release()
            self._wait_until(lambda: is_over() or self._consumer in LEFT, timeout)
            if stand_in is not None:
                stand_in.claim()
        finally:
            self.waits += 1
        with self._lock:
            if self._consumer in LEFT:
                raise ClientDisconnected("the client has gone")
            return self._is_low()

    def _wait_until(self, is_over: Callable[[], bool], timeout: float | None) -> None:
        with self._lock:
            if self._room_made is None:
                self._room_made = threading.Condition(self._lock)
            self._room_made.wait_for(is_over, timeout)

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

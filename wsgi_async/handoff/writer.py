"""The response's way from a pool thread to the loop."""

from __future__ import annotations

import enum
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from wsgi_async.errors import ClientDisconnected, StorageExhausted
from wsgi_async.framing import ResponseHead
from wsgi_async.spool import Budgets, SpoolFile

from .mailbox import Mailbox, Posted

__all__ = [
    "BlockedWriters",
    "Extent",
    "Overflow",
    "ResponseBounds",
    "ResponseWriter",
    "Taken",
]

FREE_MEMORY = 16 * 1024
"""Bytes a response may hold before it asks the process's budget: a small answer costs no lock
that all threads share."""

SPOOL_GRACE = 0.01
"""Seconds a full writer waits for the loop before it spools. A fast client on loopback drains
1 MiB in under 1 ms, but needs the GIL's next switch to begin; without this a fast generator
would go through the disk."""

SLICE = 0.05
"""Seconds after which a parked-mode iteration gives its thread to others that queue."""

PIECE = 256 * 1024
"""A larger chunk goes in by pieces, so that one giant chunk can be spooled too."""


class Overflow(enum.Enum):
    """What happens to a response that is ahead of its client (``response_overflow``)."""

    SPOOL = "spool"
    PARK = "park"
    BLOCK = "block"


class BlockedWriters:
    """Which writers hold a thread for a slow client: at most half of the threads may.

    :param limit: how many; one more evicts the one that has been blocked the longest.
    """

    def __init__(self, limit: int) -> None:
        self.limit = max(1, limit)
        self._lock = threading.Lock()
        self._writers: OrderedDict[ResponseWriter, None] = OrderedDict()

    def enter(self, writer: ResponseWriter) -> None:
        """*Pool thread:* `writer` is about to wait. May evict another."""
        victim = None
        with self._lock:
            if len(self._writers) >= self.limit:
                victim, _ = self._writers.popitem(last=False)
            self._writers[writer] = None
        if victim is not None:
            victim.evict()

    def leave(self, writer: ResponseWriter) -> None:
        """*Pool thread:* it no longer waits."""
        with self._lock:
            self._writers.pop(writer, None)

    def __len__(self) -> int:
        return len(self._writers)


class ResponseBounds(NamedTuple):
    """What all responses of one server share."""

    overflow: Overflow
    memory: int
    """``response_buffer``: bytes of one response in RAM, the transport's share included."""
    disk: int
    """``spool_limit``: bytes of one response on disk."""
    budgets: Budgets
    blocked: BlockedWriters
    others_wait: Callable[[], bool]
    """Whether other work waits for a thread."""
    warn: Callable[[str], None]
    """Told of a failing disk, one line. *Any thread.*"""


class Extent(NamedTuple):
    """A stretch of a file that is to be sent next."""

    descriptor: int
    offset: int
    size: int


class Producer(enum.Enum):
    """The pool thread's side of a response."""

    RUNNING = enum.auto()
    PARKED = enum.auto()
    FINISHED = enum.auto()
    CUT = enum.auto()


class Consumer(enum.Enum):
    """The loop's side of a response."""

    READY = enum.auto()
    """The transport takes more; nobody has told the loop that there is some."""
    WOKEN = enum.auto()
    """A wake is on its way."""
    FULL = enum.auto()
    """The transport is above its high water; the loop comes by itself when it drains."""
    GONE = enum.auto()
    """The client is gone."""


class Taken(NamedTuple):
    """What the loop gets from one ``take``."""

    head: ResponseHead | None
    chunks: list[bytes]
    finished: bool
    """Nothing follows: the response is complete."""
    cut: bool
    """Nothing follows, and the response is not complete."""


_ENDED = (Producer.FINISHED, Producer.CUT)


class ResponseWriter:
    """One response on its way from a pool thread to the loop.

    :param bounds: what all responses share.
    :param mailbox: how the loop is woken.
    :param owner: the exchange that the loop is woken for.
    """

    __slots__ = (
        "_bounds",
        "_chunks",
        "_consumer",
        "_file_end",
        "_file_next",
        "_head",
        "_in_transport",
        "_lock",
        "_mailbox",
        "_owner",
        "_producer",
        "_queued",
        "_reading",
        "_reserved",
        "_room",
        "_slice_end",
        "_source",
        "_spool",
        "_spooling",
        "_thread_room",
    )

    def __init__(self, bounds: ResponseBounds, mailbox: Mailbox, owner: Posted) -> None:
        self._bounds = bounds
        self._mailbox = mailbox
        self._owner = owner
        self._lock = threading.Lock()
        self._head: ResponseHead | None = None
        self._chunks: list[bytes] = []
        self._queued = 0
        self._in_transport = 0
        self._room = min(FREE_MEMORY, bounds.memory)
        self._reserved = 0
        self._producer = Producer.RUNNING
        self._consumer = Consumer.READY
        self._thread_room: threading.Condition | None = None
        self._slice_end = 0.0
        # What waits in a file: the spool (read from _file_next to _file_end, growing), or the
        # application's own file (_source, a duplicated descriptor of ours).
        self._spool: SpoolFile | None = None
        self._spooling = False
        self._source: int | None = None
        self._file_next = 0
        self._file_end = 0
        self._reading = False

    # --- pool thread -------------------------------------------------------------------------

    def respond(self, head: ResponseHead, body: bytes) -> None:
        """*Pool thread:* the whole response at once: one lock, one wake."""
        if len(body) > FREE_MEMORY and not self._fits(len(body)):
            self.start(head)
            if self._write_all(body):
                self.finish()
            return
        with self._lock:
            self._head = head
            if body:
                self._chunks.append(body)
                self._queued += len(body)
            self._producer = Producer.FINISHED
            gone, wake = self._consumer is Consumer.GONE, self._needs_wake()
        self._tell_end(gone, wake)

    def start(self, head: ResponseHead) -> None:
        """*Pool thread:* the head, to go out with the first chunk."""
        self._head = head

    def write(self, data: bytes) -> bool:
        """*Pool thread:* one non-empty chunk of the body.

        :returns: False where the iteration is to be suspended (``park``), else True; the call
            may first have waited for the client (``block``).
        :raises ClientDisconnected: nobody is there to take it.
        """
        if len(data) > PIECE and self._bounds.overflow is not Overflow.PARK:
            for start in range(0, len(data), PIECE):
                self._write_piece(data[start : start + PIECE], may_park=False)
            return True
        return self._write_piece(data, may_park=True)

    def write_and_wait(self, data: bytes) -> None:
        """*Pool thread:* like :meth:`write`, but never asks to be suspended: the legacy
        ``write()`` callable has no place to suspend at."""
        for start in range(0, len(data), PIECE):
            self._write_piece(data[start : start + PIECE], may_park=False)

    def write_last(self, data: bytes) -> None:
        """*Pool thread:* the chunk that completes the response, in one wake with its end."""
        if len(data) > FREE_MEMORY and not self._fits(len(data)):
            if self._write_all(data):
                self.finish()
            return
        with self._lock:
            spooling = self._spooling
            if not spooling:
                self._chunks.append(data)
                self._queued += len(data)
                self._producer = Producer.FINISHED
            gone, wake = self._consumer is Consumer.GONE, not spooling and self._needs_wake()
        if spooling:
            self.write_and_wait(data)
            self.finish()
        else:
            self._tell_end(gone, wake)

    def send_file(self, head: ResponseHead, descriptor: int, offset: int, count: int) -> bool:
        """*Pool thread:* the whole response: `count` bytes of a file from `offset`.

        The descriptor is duplicated, so the caller may close its own at once.

        :returns: False, and nothing done, where no more files may be open.
        """
        if not self._bounds.budgets.files.reserve(1):
            return False
        try:
            duplicate = os.dup(descriptor)
        except OSError:
            self._bounds.budgets.files.release(1)
            return False
        with self._lock:
            self._head = head
            self._source = duplicate
            self._file_next, self._file_end = offset, offset + count
            self._producer = Producer.FINISHED
            gone, wake = self._consumer is Consumer.GONE, self._needs_wake()
        self._tell_end(gone, wake)
        return True

    def finish(self) -> None:
        """*Pool thread:* the body is complete."""
        self._end(Producer.FINISHED)

    def cut(self) -> None:
        """*Pool thread:* the body ends here without being complete."""
        self._end(Producer.CUT)

    def park(self) -> None:
        """*Pool thread:* the iteration is suspended, and its context has been left.

        From here on another thread may run it, so this is the last thing its thread does with it.
        """
        with self._lock:
            self._producer = Producer.PARKED
            wake = self._consumer is Consumer.GONE or self._needs_wake()
        if wake:
            self._mailbox.post(self._owner)

    def begin_slice(self) -> None:
        """*Pool thread:* a step of the iteration begins."""
        self._slice_end = time.monotonic() + SLICE

    def _end(self, how: Producer) -> None:
        with self._lock:
            if self._producer in _ENDED:
                return
            self._producer = how
            gone, wake = self._consumer is Consumer.GONE, self._needs_wake()
        self._tell_end(gone, wake)

    def _tell_end(self, gone: bool, wake: bool) -> None:
        if gone:
            self.release()  # the loop has let go of this writer: its thread is the last
        elif wake:
            self._mailbox.post(self._owner)

    def _needs_wake(self) -> bool:
        """With the lock held: whether the loop has to be told; if so, say that it is."""
        if self._consumer is not Consumer.READY:
            return False
        self._consumer = Consumer.WOKEN
        return True

    def _fits(self, size: int) -> bool:
        """Whether this much can be held in RAM now; if so, it is reserved."""
        while self._held + size > self._room:
            if not self._grow():
                return False
        return True

    @property
    def _held(self) -> int:
        return self._queued + self._in_transport

    def _grow(self) -> bool:
        """Ask the process for more room: doubled each time, up to this response's bound."""
        more = min(self._room, self._bounds.memory - self._room)
        if more <= 0 or not self._bounds.budgets.memory.reserve(more):
            return False
        self._reserved += more
        self._room += more
        return True

    def _write_all(self, data: bytes) -> bool:
        """A whole body that is larger than its room. False where the client has gone."""
        try:
            self.write_and_wait(data)
        except ClientDisconnected:
            self.cut()
            return False
        return True

    def _write_piece(self, data: bytes, *, may_park: bool) -> bool:
        with self._lock:
            if self._consumer is Consumer.GONE:
                raise ClientDisconnected("the client has gone")
            spooling = self._spooling
            if spooling and self._file_next == self._file_end:
                spooling = self._spooling = False  # the client has caught up
            if not spooling:
                self._chunks.append(data)
                self._queued += len(data)
                over = self._held > self._room
                wake = self._needs_wake()
        if spooling:
            self._append_to_spool(data)
            return True
        if wake:
            self._mailbox.post(self._owner)
        if self._bounds.overflow is Overflow.PARK and may_park:
            if not over:
                return not (time.monotonic() > self._slice_end and self._bounds.others_wait())
            return self._held <= self._room or self._fits(0)
        if over and not self._fits(0):
            self._overflow()
        return True

    def _overflow(self) -> None:
        """The writer is full and this thread may not be suspended."""
        bounds = self._bounds
        if bounds.overflow is Overflow.SPOOL and bounds.budgets.has_disk:
            if self._wait_for_room(SPOOL_GRACE):
                return
            if self._start_spooling():
                return
        self._block()

    def _block(self) -> None:
        """Hold this thread until the client has taken enough. The last resort, and ``block``."""
        self._bounds.blocked.enter(self)
        try:
            self._wait_for_room(None)
        finally:
            self._bounds.blocked.leave(self)

    def _wait_for_room(self, timeout: float | None) -> bool:
        """Wait until the writer is at its low water.

        :raises ClientDisconnected: the client went away meanwhile, or this writer was evicted.
        """
        with self._lock:
            if self._thread_room is None:
                self._thread_room = threading.Condition(self._lock)
            has_room = self._thread_room.wait_for(self._is_low_or_gone, timeout)
            if self._consumer is Consumer.GONE:
                raise ClientDisconnected("the client has gone")
            return has_room

    def _is_low_or_gone(self) -> bool:
        return self._is_low() or self._consumer is Consumer.GONE

    def _is_low(self) -> bool:
        """At or below low water: half the room, and nothing left in the file."""
        return self._held <= self._room // 2 and self._file_next == self._file_end

    def _start_spooling(self) -> bool:
        try:
            if self._spool is None:
                self._spool = SpoolFile(self._bounds.budgets, self._bounds.disk)
            else:
                self._spool.empty()
        except OSError as error:
            self._bounds.warn(f"cannot make a temporary file for a response: {error}")
            return False
        with self._lock:
            self._file_next = self._file_end = 0
            self._spooling = True
        return True

    def _append_to_spool(self, data: bytes) -> None:
        """Add to the file; at its bound, wait until the client has taken all of it."""
        spool = self._spool
        assert spool is not None
        try:
            spool.append(data)
        except StorageExhausted:
            self._block()
            with self._lock:
                self._spooling = False
            self._write_piece(data, may_park=False)
            return
        except OSError as error:
            self._bounds.warn(f"a response was cut, its temporary file failed: {error}")
            self.evict()
            raise ClientDisconnected("the response was cut: its temporary file failed") from error
        with self._lock:
            self._file_end = spool.size
            wake = self._needs_wake()
            gone = self._consumer is Consumer.GONE
        if gone:
            raise ClientDisconnected("the client has gone")
        if wake:
            self._mailbox.post(self._owner)

    # --- any thread --------------------------------------------------------------------------

    @property
    def gone(self) -> bool:
        """*Any thread:* whether the client has gone."""
        return self._consumer is Consumer.GONE

    def evict(self) -> None:
        """*Any thread:* give this response up: its thread is freed, the loop cuts the client."""
        with self._lock:
            if self._consumer is Consumer.GONE:
                return
            self._consumer = Consumer.GONE
            if self._thread_room is not None:
                self._thread_room.notify_all()
        self._mailbox.post(self._owner)

    # --- loop --------------------------------------------------------------------------------

    def take(self) -> Taken:
        """*Loop:* everything that waits in RAM, and whether that was all.

        What waits in a file comes after it: see :meth:`extent`.
        """
        with self._lock:
            head, self._head = self._head, None
            chunks, self._chunks = self._chunks, []
            self._in_transport += self._queued
            self._queued = 0
            if self._consumer is Consumer.GONE:
                return Taken(head, [], False, True)
            self._consumer = Consumer.READY
            ended = self._producer in _ENDED and self._file_next == self._file_end
            return Taken(
                head,
                chunks,
                ended and self._producer is Producer.FINISHED,
                ended and self._producer is Producer.CUT,
            )

    def extent(self) -> Extent | None:
        """*Loop:* the stretch of file to send next, once ``take`` came back empty."""
        with self._lock:
            if self._file_next == self._file_end or self._queued:
                return None
            if self._source is not None:
                descriptor = self._source
            else:
                assert self._spool is not None
                descriptor = self._spool.fileno()
            return Extent(descriptor, self._file_next, self._file_end - self._file_next)

    def consumed(self, amount: int) -> None:
        """*Loop:* that many bytes of the extent were read."""
        with self._lock:
            self._file_next += amount

    def begin_read(self) -> None:
        """*Loop:* an I/O thread is about to read the extent; its descriptor stays open."""
        with self._lock:
            self._reading = True

    def end_read(self) -> None:
        """*Loop:* it has read."""
        with self._lock:
            self._reading = False
            last = self._consumer is Consumer.GONE and self._producer in _ENDED
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
            if self._consumer is Consumer.GONE:
                return False
            if not writable:
                self._consumer = Consumer.FULL
            elif self._consumer is Consumer.FULL:
                self._consumer = Consumer.READY
            if not self._is_low():
                return False
            if self._thread_room is not None:
                self._thread_room.notify_all()
            if self._producer is Producer.PARKED:
                self._producer = Producer.RUNNING
                return True
            return False

    def abort(self) -> bool:
        """*Loop:* the client has gone.

        :returns: True where a parked iteration is to be closed, by the caller, on a pool thread.
        """
        with self._lock:
            self._consumer = Consumer.GONE
            self._chunks = []
            self._queued = self._in_transport = 0
            if self._thread_room is not None:
                self._thread_room.notify_all()
            parked = self._producer is Producer.PARKED
            if parked:
                self._producer = Producer.RUNNING
            ended = self._producer in _ENDED
        if ended:
            self.release()
        return parked

    # --- whoever is last -----------------------------------------------------------------------

    def release(self) -> None:
        """*The loop, once the response is on its way; or the thread of one whose client went:*
        close the files and give the budgets back. Put off while an I/O thread reads."""
        with self._lock:
            if self._reading:
                return
            spool, self._spool = self._spool, None
            source, self._source = self._source, None
            reserved, self._reserved = self._reserved, 0
            self._file_next = self._file_end = 0
        if spool is not None:
            spool.close()
        if source is not None:
            os.close(source)
            self._bounds.budgets.files.release(1)
        if reserved:
            self._bounds.budgets.memory.release(reserved)

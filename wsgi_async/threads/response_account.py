"""What the two sides of a streamed response share: where each stands, its bytes, and its files."""

from __future__ import annotations

import threading

from wsgi_async.buffers.spool import SpoolFile
from wsgi_async.http.response import ResponseHead

from .backlog import Backlog
from .bounds import LARGE_FILE, Overflow, ResponseBounds
from .mailbox import Posted, Posting
from .response_states import ENDED, LEFT, Consumer, Producer
from .spool_turns import Turn
from .stand_ins import StandIn

__all__ = ["FREE_MEMORY", "LOOSE_CHUNKS", "Progress", "ResponseAccount"]

FREE_MEMORY = 16 * 1024
"""Bytes a response may hold before it asks the process's budget: a small answer takes no lock
that all threads share."""

LOOSE_CHUNKS = 1024
"""Chunks that may wait as they came; then they are joined."""

Progress = tuple[int, int, Producer]
"""Bytes that went through RAM, the end of what is in a file, and whether there is an end."""

_RUNNING = Producer.RUNNING
_PARKED = Producer.PARKED
_READY = Consumer.READY
_READING = Consumer.READING
_EVICTED = Consumer.EVICTED
_GONE = Consumer.GONE
_PARK = Overflow.PARK


class ResponseAccount:
    """One response's account: what has come, what has been taken, what the transport holds of it,
    and what it may hold. One lock guards it, both sides' states included.

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
        "_is_called",
        "_is_live",
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
        "_stand_in",
        "_taken",
        "_turn",
        "head",
        "length",
        "parks",
        "progress_at",
        "waits",
    )

    def __init__(
        self,
        bounds: ResponseBounds,
        mailbox: Posting,
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
        self._stand_in: StandIn | None = None
        self._turn: Turn | None = None
        self._backlog: Backlog | None = None
        self._parks = bounds.overflow is _PARK
        self._is_live = False
        self.parks = 0
        """How often the iteration was suspended."""
        self.waits = 0
        """How often the thread has begun or ended to wait for the client: odd while it does."""

    # --- any thread --------------------------------------------------------------------------

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
    def was_spooled(self) -> bool:
        """*Any thread, until it is released:* whether some of it has been in a temporary file."""
        backlog = self._backlog
        return backlog is not None and type(backlog.file) is SpoolFile

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

    def _post(self) -> None:
        owner = self._owner
        if owner is not None:
            self._mailbox.post(owner)

    def disown(self) -> None:
        """*In a process that the pool thread has forked:* nobody takes anything from here on. The
        other threads are gone, and with them perhaps who held the lock."""
        self._lock = threading.Lock()
        self._room_made = None
        self._consumer = _GONE

    # --- bytes in memory ---------------------------------------------------------------------

    @property
    def _queued(self) -> int:
        """Bytes in RAM that the loop has not taken."""
        return self._added - self._taken

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

    # --- whoever is last ---------------------------------------------------------------------

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

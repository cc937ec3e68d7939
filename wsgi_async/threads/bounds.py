"""What all responses of one server share: how much they may hold, and who may wait."""

from __future__ import annotations

import enum
import operator
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from wsgi_async.buffers.budgets import Budgets

from .spool_turns import SpoolTurns
from .stand_ins import StandIn

__all__ = ["LARGE_FILE", "BlockedWriters", "Evictable", "Overflow", "Patience", "ResponseBounds"]

TRANSPORT_HIGH_WATER = 64 * 1024
"""asyncio's own default; less where ``response_buffer`` is small."""

LARGE_FILE = 8 * 1024 * 1024
"""Bytes of a temporary file above which the loop does not delete it itself: that takes a while."""

STALLED = 3.0
"""Seconds without a byte taken after which a client may be cut off for others. The loop looks once
a second whether something was taken."""


class Evictable(Protocol):
    """A writer, as far as this module knows it."""

    progress_at: float
    """When its client last took something, or it began to wait; of ``time.monotonic``."""

    def evict(self) -> None:
        """*Any thread:* give the response up."""


class Overflow(enum.Enum):
    """What happens to a response that is ahead of its client (``response_overflow``)."""

    SPOOL = "spool"
    PARK = "park"
    BLOCK = "block"


class BlockedWriters:
    """Which writers hold a thread for their client.

    Half of the threads may be held by clients that take nothing. One more, and the writer that
    has waited the longest of those is evicted; a client that keeps taking is left alone.

    :param limit: how many may wait before somebody is evicted.
    """

    def __init__(self, limit: int) -> None:
        self.limit = max(1, limit)
        self._lock = threading.Lock()
        self._writers: OrderedDict[Evictable, None] = OrderedDict()

    def enter(self, writer: Evictable) -> None:
        """*Pool thread:* `writer` is about to wait."""
        with self._lock:
            self._writers[writer] = None
        self.relieve()

    def leave(self, writer: Evictable) -> None:
        """*Pool thread:* it no longer waits."""
        with self._lock:
            self._writers.pop(writer, None)

    def relieve(self) -> None:
        """*Pool thread:* evict while too many wait; also called now and then by those who wait."""
        with self._lock:
            victims = self._choose_victims(time.monotonic())
        for victim in victims:
            victim.evict()

    def _choose_victims(self, now: float) -> list[Evictable]:
        """With the lock held. A function of its own: what strikes a thread as a loop jumps back
        passes by a ``with`` around the loop in CPython 3.13.0."""
        victims = []
        for writer in list(self._writers):
            if len(self._writers) <= self.limit:
                break
            if now - writer.progress_at >= STALLED:
                del self._writers[writer]
                victims.append(writer)
        return victims

    def __len__(self) -> int:
        return len(self._writers)


class Patience:
    """Which threads wait a moment for their client, in their place in the pool.

    :param limit: how many may do so while others wait for a thread.
    """

    def __init__(self, limit: int) -> None:
        self._limit = max(1, limit)
        self._lock = threading.Lock()
        self._writers: set[object] = set()

    @property
    def is_exhausted(self) -> bool:
        """*Any thread:* whether no more than those that do should."""
        return len(self._writers) >= self._limit

    def enter(self, writer: object) -> None:
        """*Pool thread:* `writer` is about to wait."""
        with self._lock:
            self._writers.add(writer)

    def leave(self, writer: object) -> None:
        """*Pool thread:* it no longer waits."""
        with self._lock:
            self._writers.discard(writer)


def _nobody() -> None:
    return None


@dataclass(frozen=True, slots=True)  # each look into a named tuple is slow
class ResponseBounds:
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
    patience: Patience
    turns: SpoolTurns
    warn: Callable[[str], None]
    """Told of a failing disk: what follows from it, a colon, its own word. *Any thread.*"""
    in_background: Callable[[Callable[[], object]], object] = operator.call
    """Has something done that would hold up the loop. *Any thread.*"""
    stand_in: Callable[[], StandIn | None] = _nobody
    """Has another thread take the place of this one, which is about to wait for its client. *Pool
    thread.*"""

    @property
    def high_water(self) -> int:
        """*Any thread:* bytes in a transport's buffer above which it asks for a pause; at a quarter
        of them it asks for more, and below that it never tells how far it is."""
        return max(1, min(TRANSPORT_HIGH_WATER, self.memory // 2))

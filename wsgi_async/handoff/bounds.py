"""What all responses of one server share: how much they may hold, and who may wait."""

from __future__ import annotations

import enum
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple, Protocol

from wsgi_async.spool import Budgets

__all__ = ["BlockedWriters", "Evictable", "Overflow", "ResponseBounds"]

TRANSPORT_HIGH_WATER = 64 * 1024
"""asyncio's own default; less where ``response_buffer`` is small."""


class Evictable(Protocol):
    """A writer, as far as this module knows it."""

    def evict(self) -> None:
        """*Any thread:* give the response up."""


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
        self._writers: OrderedDict[Evictable, None] = OrderedDict()

    def enter(self, writer: Evictable) -> None:
        """*Pool thread:* `writer` is about to wait. May evict another."""
        victim = None
        with self._lock:
            if len(self._writers) >= self.limit:
                victim, _ = self._writers.popitem(last=False)
            self._writers[writer] = None
        if victim is not None:
            victim.evict()

    def leave(self, writer: Evictable) -> None:
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

    @property
    def high_water(self) -> int:
        """Bytes in a transport's buffer above which it asks for a pause; at a quarter of them it
        asks for more, and below that it never tells how far it is."""
        return max(1, min(TRANSPORT_HIGH_WATER, self.memory // 2))

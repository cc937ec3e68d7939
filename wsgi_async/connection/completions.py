"""How fast requests are completed, and so when a client should come back. Loop-owned, no I/O."""

from __future__ import annotations

import math
from collections import deque

from wsgi_async.threads.pool import ThreadPool

from .exchange import Exchange

__all__ = ["RATE_WINDOW", "RECOVERY", "Completions"]

RATE_WINDOW = 10.0
"""Seconds over which completions are counted for Retry-After."""

RECOVERY = 30
"""Seconds for Retry-After while lost threads keep new requests out: nobody knows how long."""


class Completions:
    """The requests that a pool has completed in the last :data:`RATE_WINDOW` seconds.

    :param pool: the threads.
    """

    def __init__(self, pool: ThreadPool[Exchange]) -> None:
        self._pool = pool
        self._counts: deque[tuple[float, int]] = deque()

    def __len__(self) -> int:
        """How often they were counted within those seconds."""
        return len(self._counts)

    def count(self, now: float) -> None:
        """Note how many there are; to be called a few times a second."""
        self._counts.append((now, self._pool.completed))
        while self._counts[0][0] < now - RATE_WINDOW:
            self._counts.popleft()

    def retry_after(self) -> int:
        """Seconds until the queue for threads may be empty, 1 to 60: its length by the rate of
        the last 10 s. While too many threads are lost, half a minute."""
        if self._pool.is_exhausted:
            return RECOVERY
        queued = self._pool.queued
        if not self._counts:
            return 1
        began, before = self._counts[0]
        now, count = self._counts[-1]
        done = count - before
        if done <= 0 or now <= began:
            return 60 if queued else 1
        return max(1, min(60, math.ceil(queued * (now - began) / done)))

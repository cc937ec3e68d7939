"""Tasks that wait for a thread: beside one that is idle, or because all are busy. On the loop.

The server calls :meth:`QueueWatch.look` with each tick; a request costs nothing.
"""

from __future__ import annotations

import math

from wsgi_async.events import Observer
from wsgi_async.threads.pool import ThreadPool

from .exchange import Exchange

__all__ = ["CROWDED", "QueueWatch"]

CROWDED = 1.0
"""Seconds that the oldest request waits before somebody is told that all threads are busy: a burst
that is served within them is nobody's business."""

WARN_EVERY = 60.0
"""Seconds between two such warnings."""


class QueueWatch:
    """Looks at who waits for a thread.

    A task that waits beside an idle thread is our own fault, whatever it comes from: the last line
    behind everything that the pool does against it. A process like that is not ready, and shows no
    sign of life any more. Where all threads are merely busy, for however long, the operator is told
    which option to change.

    :param pool: the threads.
    :param observer: warned.
    """

    def __init__(self, pool: ThreadPool[Exchange], observer: Observer) -> None:
        self._pool = pool
        self._observer = observer
        self._heads: tuple[object, object] | None = None
        self._since = 0.0
        self._warned_at = -math.inf

    def look(self, now: float) -> None:
        """See whether what waits has moved since the last look.

        :param now: the loop's time.
        """
        heads = self._pool.neglected()
        if heads is None or self._heads is None or heads != self._heads:
            self._since = now
        self._heads = heads
        if heads is None and self._pool.queued:
            self._warn(now)

    def seconds(self, now: float) -> float:
        """For how long the same tasks have waited for a thread beside an idle one."""
        return 0.0 if self._heads is None else now - self._since

    def _warn(self, now: float) -> None:
        pool = self._pool
        oldest = pool.oldest
        if oldest is None or now - self._warned_at < WARN_EVERY or pool.is_exhausted:
            return
        seconds = now - oldest.waits_since
        if seconds <= CROWDED:
            return
        self._warned_at = now
        who = "1 request waits" if pool.queued == 1 else f"{pool.queued} requests wait"
        threads = "the only thread is" if pool.threads == 1 else f"all {pool.threads} threads are"
        self._observer.warning(
            f"{who} for a thread, the oldest for {seconds:.1f} s: {threads} busy; raise --threads"
        )

"""Time limits of connections. Time is an argument here: seconds of any monotonic clock."""

from __future__ import annotations

import math
from collections.abc import Container
from typing import Generic, TypeVar

__all__ = ["RATE_GRACE", "Deadlines", "Pace"]

K = TypeVar("K")

RATE_GRACE = 10.0
"""Seconds of moving or waiting before an average rate is judged."""


class Deadlines(Generic[K]):
    """Who has been waiting since when, for one kind of wait with one length.

    All waits of a kind are equally long, so insertion order is expiry order: adding and removing
    cost one dict operation, a sweep looks only at what has expired, and no timer is ever made.

    :param timeout: seconds.
    """

    __slots__ = ("since", "timeout")

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self.since: dict[K, float] = {}
        """Who waits since when, in that order. For those who would call a method with each step of
        each request: what is in it already must leave it before it is set."""

    def __len__(self) -> int:
        return len(self.since)

    def add(self, key: K, now: float) -> None:
        """Begin the wait of `key`, anew if it is waiting already."""
        since = self.since
        if key in since:
            del since[key]  # a dict keeps the place of a key that it has
        since[key] = now

    def discard(self, key: K) -> None:
        """End its wait, if there is one."""
        self.since.pop(key, None)

    def oldest(self, before: float = math.inf, besides: Container[K] = ()) -> K | None:
        """Who has been waiting the longest, `besides` aside, if since `before`."""
        for key, since in self.since.items():
            if since > before:
                return None
            if key not in besides:
                return key
        return None

    def expired(self, now: float) -> list[K]:
        """Remove and return those whose time is over."""
        limit = now - self.timeout
        found = []
        for key, since in self.since.items():
            if since > limit:
                break
            found.append(key)
        for key in found:
            del self.since[key]
        return found


class Pace:
    """Judges how bytes move in one direction: the longest gap, and the average rate.

    Only time in which the other side is to move counts: call :meth:`resume` when such a time
    begins, and :meth:`judge` now and then while it lasts.
    """

    __slots__ = ("_busy", "_moved", "_seen_at", "_total", "progress_at")

    def __init__(self, now: float, moved: int) -> None:
        self._busy = 0.0
        self._moved = 0
        self._total = moved
        self.progress_at = now
        """When something was last seen to have moved, or the wait for it began."""
        self.resume(now, moved)

    def resume(self, now: float, total: int) -> None:
        """The wait begins (again): time from before does not count, bytes do.

        :param total: bytes moved since the beginning of the connection.
        """
        self._seen_at = self.progress_at = now
        self._moved += total - self._total
        self._total = total

    def judge(self, now: float, total: int, *, timeout: float, min_rate: float) -> str | None:
        """What is wrong at this time, or None.

        :param total: bytes moved since the beginning of the connection.
        :param timeout: the longest gap in seconds, 0 for no bound.
        :param min_rate: bytes/s on average, judged after :data:`RATE_GRACE`; 0 for no bound.
        """
        self._busy += now - self._seen_at
        self._seen_at = now
        if total > self._total:
            self._moved += total - self._total
            self._total = total
            self.progress_at = now
        gap = now - self.progress_at
        if timeout and gap >= timeout:
            return f"nothing moved for {gap:.0f} s"
        if min_rate and self._busy >= RATE_GRACE and self._moved < min_rate * self._busy:
            return f"{self._moved / self._busy:.0f} bytes/s is below the minimum rate"
        return None

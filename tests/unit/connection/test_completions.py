"""Retry-After: the length of the queue by the rate of the last ten seconds."""

from __future__ import annotations

import pytest

from wsgi_async.connection.completions import RATE_WINDOW, RECOVERY, Completions
from wsgi_async.connection.connections import TICK


class Counts:
    """A pool with these figures."""

    def __init__(self) -> None:
        self.queued = 0
        self.completed = 0
        self.is_exhausted = False


@pytest.mark.parametrize(
    ("queued", "per_second", "seconds"),
    [
        (0, 0, 1),
        (1, 0, 60),
        (1, 100, 1),
        (104, 8, 13),
        (105, 8, 14),
        (25, 8, 4),
        (10_000, 8, 60),
        (7, 4, 2),
    ],
)
def test_retry_after_is_the_queue_by_the_rate(queued: int, per_second: int, seconds: int) -> None:
    pool = Counts()
    completions = Completions(pool)  # type: ignore[arg-type]
    assert completions.retry_after() == 1  # nothing is known yet
    for number in range(round(30 / TICK)):
        pool.completed += round(per_second * TICK)
        completions.count(100 + number * TICK)
    pool.queued = queued
    assert completions.retry_after() == seconds


def test_only_the_last_ten_seconds_count() -> None:
    pool = Counts()
    completions = Completions(pool)  # type: ignore[arg-type]
    completions.count(100.0)
    pool.completed = 1_000_000
    for number in range(round((RATE_WINDOW + 1) / TICK)):
        completions.count(100.25 + number * TICK)
    pool.queued = 5
    assert completions.retry_after() == 60
    assert len(completions) <= RATE_WINDOW / TICK + 1


def test_while_too_many_threads_are_lost_nobody_knows() -> None:
    pool = Counts()
    pool.is_exhausted = True
    assert Completions(pool).retry_after() == RECOVERY  # type: ignore[arg-type]

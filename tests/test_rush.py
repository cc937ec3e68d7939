"""When the pool's threads are in a rush, and what follows from it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from wsgi_async.pool import Call, ThreadPool
from wsgi_async.rush import BUSY, CALM_PERIOD, QUICK, RUSH_PERIOD, SWITCH_INTERVAL, Rush, RushWatch
from wsgi_async.testing import FakeLoop

SHORT = 0.0004


@pytest.mark.parametrize(
    ("used", "answers", "begins"),
    [
        (0.24, 2000, True),
        (BUSY / 4 + 0.001, 2000, True),
        (BUSY / 4 - 0.001, 2000, False),  # threads sleep, or wait for a database
        (0.24, 100, False),  # long computations
        (0.24, 0, False),
        (0.0, 0, False),
        (1.0, 2000, True),  # several threads without the GIL: quick all the same
    ],
)
def test_a_rush_begins_where_a_busy_process_answers_quickly(
    used: float, answers: int, begins: bool
) -> None:
    rush = Rush(now=10.0, cpu=5.0, answered=7)
    assert not rush.is_on
    assert rush.judge(10.25, 5.0 + used, 7 + answers) is begins
    assert rush.is_on is begins


@pytest.mark.parametrize(
    ("used", "answers", "goes_on"),
    [
        (0.020, 200, True),
        (0.001, 10, True),  # it had no processor
        (0.020, int(0.020 / QUICK) - 1, False),
        (0.020, 1, False),
        (0.0, 0, False),
    ],
)
def test_it_ends_where_answers_are_slow_or_none_come(
    used: float, answers: int, goes_on: bool
) -> None:
    rush = Rush(0.0, 0.0, 0)
    assert rush.judge(0.25, 0.2, 2000)
    assert rush.judge(0.27, 0.2 + used, 2000 + answers) is goes_on


def test_each_period_is_judged_by_itself() -> None:
    rush = Rush(0.0, 0.0, 0)
    assert rush.judge(0.25, 0.2, 100_000)
    assert not rush.judge(0.27, 0.22, 100_001)
    assert not rush.judge(0.29, 0.221, 100_050)
    assert rush.judge(0.31, 0.24, 100_100)


class Rig:
    """A watch on fakes: the pool counts what it is told, the process's CPU time is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, switches: bool = True) -> None:
        self.loop = FakeLoop()
        self.cpu = 0.0
        self.periods: list[float] = []
        self.intervals: list[float] = []
        self._looks: list[Callable[[], None]] = []
        monkeypatch.setattr("wsgi_async.rush.time.monotonic", self.loop.time)
        monkeypatch.setattr("wsgi_async.rush.time.process_time", lambda: self.cpu)
        monkeypatch.setattr(sys, "getswitchinterval", lambda: SHORT)
        monkeypatch.setattr(sys, "setswitchinterval", self.intervals.append)
        self.pool: ThreadPool[Call] = ThreadPool(2, 10, on_error=pytest.fail)
        self.watch = RushWatch(self.call_later, self.pool, switches=switches)

    def call_later(self, delay: float, callback: Callable[[], None]) -> Any:
        self.periods.append(delay)
        self._looks.append(callback)
        return self

    def cancel(self) -> None:
        self._looks.clear()

    def pass_period(self, cpu: float, answers: int) -> None:
        self.loop.clock.advance(self.periods[-1])
        self.cpu += cpu
        self.pool.completed += answers
        self._looks.pop()()

    @property
    def is_watching(self) -> bool:
        return bool(self._looks)


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Rig:
    return Rig(monkeypatch)


def test_in_a_rush_the_pool_and_the_interpreter_are_told_once_and_looks_are_frequent(
    rig: Rig,
) -> None:
    rig.pass_period(0.0, 0)
    assert (rig.pool.is_rushed, rig.intervals) == (False, [])
    rig.pass_period(0.2, 2000)
    assert (rig.pool.is_rushed, rig.intervals) == (True, [SWITCH_INTERVAL])
    rig.pass_period(0.02, 200)
    assert (rig.pool.is_rushed, rig.intervals) == (True, [SWITCH_INTERVAL])
    rig.pass_period(0.02, 0)
    assert (rig.pool.is_rushed, rig.intervals) == (False, [SWITCH_INTERVAL, SHORT])
    assert rig.periods == [CALM_PERIOD, CALM_PERIOD, RUSH_PERIOD, RUSH_PERIOD, CALM_PERIOD]


def test_at_its_end_a_thread_is_woken_for_what_waits(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    woken: list[bool] = []
    monkeypatch.setattr(rig.pool, "wake", lambda: woken.append(rig.pool.is_rushed))
    rig.pass_period(0.2, 2000)
    assert woken == []
    rig.pass_period(0.0, 0)
    assert woken == [False]


def test_a_guest_in_a_process_leaves_the_interpreter_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(monkeypatch, switches=False)
    rig.pass_period(0.2, 2000)
    assert rig.pool.is_rushed
    rig.watch.stop()
    assert rig.intervals == []


def test_a_longer_interval_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wsgi_async.rush.SWITCH_INTERVAL", SHORT)
    rig = Rig(monkeypatch)
    rig.pass_period(0.2, 2000)
    assert rig.pool.is_rushed
    assert rig.intervals == []


def test_after_its_stop_nothing_is_as_in_a_rush(rig: Rig) -> None:
    rig.pass_period(0.2, 2000)
    rig.watch.stop()
    assert not rig.is_watching
    assert not rig.pool.is_rushed
    assert rig.intervals == [SWITCH_INTERVAL, SHORT]

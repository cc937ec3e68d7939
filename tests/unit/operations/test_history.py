"""An hour of figures: rows made of two readings, and what becomes of pauses, clocks and deaths."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import pairwise

import pytest

from wsgi_async.events import RequestInfo, ResponseInfo
from wsgi_async.operations import history as module
from wsgi_async.operations.counting import CountingObserver
from wsgi_async.operations.history import COLUMNS, History, percentile, steady_clock
from wsgi_async.scoreboard import table
from wsgi_async.scoreboard.board import Scoreboard

REQUEST = RequestInfo("1", "GET", "/", "HTTP/1.1", "127.0.0.1:1", ())
RESPONSE = ResponseInfo(200, 13, 0.02, True)
WALL = 1_796_000_000.25


class Recorded:
    """A server that is watched: a test's clock, a scoreboard, and the history of it.

    :param rows: seconds that are kept.
    """

    def __init__(self, rows: int = 3600) -> None:
        self.now = 1000.5
        self.wall = WALL
        self.board = Scoreboard(2)
        self.board.parent.begin()
        self.observer = CountingObserver(self.board.area(0))
        self.history = History(rows, now=self.now)

    def answer(self, count: int = 1, status: int = 200, **facts: float) -> None:
        for _ in range(count):
            self.observer.request_started(REQUEST)
            self.observer.request_finished(REQUEST, RESPONSE._replace(status=status, **facts))

    def pass_(self, seconds: float = 1.0) -> bool:
        """Time passes, and a row is written."""
        self.now += seconds
        self.wall += seconds
        return self.history.write(self.board.read(), self.now, self.wall)

    def rows(self) -> list[dict[str, float | None]]:
        return [dict(zip(COLUMNS, row, strict=True)) for row in self.history.rows()]

    def column(self, name: str) -> list[float | None]:
        return [row[name] for row in self.rows()]


@pytest.mark.parametrize(
    ("counts", "share", "expected"),
    [
        ((10, 10, 10), 0.5, 0.5),  # in the middle of the first bucket
        ((0, 10, 10), 0.5, 1.5),
        ((5, 10, 10), 0.5, 1.0),
        ((5, 10, 10), 0.9, 1.8),
        ((0, 1, 1), 1.0, 2.0),
        ((0, 0, 4), 0.5, 2.0),  # beyond the last bound: at it
        ((1, 1, 100), 0.99, 2.0),
    ],
)
def test_percentiles_lie_evenly_in_their_bucket(
    counts: tuple[float, ...], share: float, expected: float
) -> None:
    assert percentile((1.0, 2.0), counts, share) == pytest.approx(expected)


def test_of_nothing_there_is_no_percentile() -> None:
    assert percentile((1.0, 2.0), (0, 0, 0), 0.5) != percentile((1.0, 2.0), (0, 0, 0), 0.5)


def test_a_row_is_what_was_counted_since_the_one_before() -> None:
    recorded = Recorded()
    recorded.answer(20)
    recorded.answer(4, status=404, body_size=100)
    recorded.observer.request_refused("c", 503, "the queue is full")
    recorded.pass_(2.0)
    recorded.answer(3, status=500)
    recorded.pass_()
    first, second = (row for row in recorded.rows() if row["rps_2xx"] is not None)
    assert first["rps_2xx"] == 10.0
    assert first["rps_4xx"] == 2.0
    assert first["refused"] == first["rps_5xx"] == 0.5
    assert first["sent"] == (20 * 13 + 400) / 2
    assert (second["rps_2xx"], second["rps_5xx"], second["sent"]) == (0.0, 3.0, 39.0)
    assert second["cut"] == second["received"] == 0.0


def test_where_the_time_goes_comes_to_all_of_it() -> None:
    recorded = Recorded()
    recorded.answer(3, duration=0.4, queue=0.05, app=0.2, cpu=0.03)
    recorded.pass_()
    [row] = recorded.rows()
    assert (row["queue"], row["app"], row["cpu"], row["client"]) == (0.05, 0.17, 0.03, 0.15)
    # All of them are in the bucket from 0.25 to 0.5.
    assert row["p50"] == 0.375
    assert row["p99"] == 0.4975
    recorded.pass_()
    assert [recorded.rows()[1][name] for name in ("queue", "app", "cpu", "client", "p99")] == [
        None
    ] * 5


def test_what_processes_say_of_themselves_is_one_figure() -> None:
    recorded = Recorded()
    CountingObserver(recorded.board.area(1))
    for number, busy in ((0, 3.0), (1, 5.0)):
        area = recorded.board.area(number)
        area.set(table.THREADS, busy, "busy")
        area.set(table.THREADS, 1.0, "idle")
        area.set(table.OLDEST_WAIT, busy / 10)
        area.set(table.CONNECTIONS, 2.0, "head")
        area.set(table.CONNECTIONS, 1.0, "idle")
        area.set(table.MEMORY, 1e6)
    recorded.board.parent.set(table.READY, 2.0)
    recorded.pass_()
    [row] = recorded.rows()
    assert (row["busy"], row["threads"], row["oldest_wait"]) == (8.0, 10.0, 0.5)
    assert (row["connections"], row["memory"], row["processes"]) == (6.0, 2e6, 2.0)
    assert row["in_flight"] == 0.0
    assert row["queued"] is None  # nobody has said


def test_pauses_are_rows_of_nulls_and_lose_nothing() -> None:
    recorded = Recorded()
    recorded.pass_()
    recorded.answer(40)
    recorded.pass_(4.0)
    rows = recorded.rows()
    assert recorded.column("rps_2xx") == [0.0, None, None, None, 10.0]
    assert all(value is None for row in rows[1:4] for name, value in row.items() if name != "t")
    assert [late["t"] - early["t"] for early, late in pairwise(rows)] == [1] * 4  # type: ignore[operator]


def test_two_looks_in_one_second_are_one_row() -> None:
    recorded = Recorded()
    recorded.pass_()
    assert not recorded.history.is_due(recorded.now + 0.3)
    recorded.answer(5)
    recorded.pass_(0.3)
    recorded.pass_(0.7)
    assert recorded.column("rps_2xx") == [0.0, 5.0]


def test_only_the_last_rows_are_kept() -> None:
    recorded = Recorded(rows=5)
    for number in range(100):
        recorded.answer(number % 10)
        recorded.pass_()
    assert recorded.column("rps_2xx") == [5.0, 6.0, 7.0, 8.0, 9.0]
    recorded.pass_(1000.0)
    assert recorded.column("rps_2xx") == [None, None, None, None, 0.0]


@pytest.mark.parametrize("jump", [-3600.0, -2.0, 2.0, 86400.0])
def test_where_the_clock_is_set_the_hour_moves_as_a_whole(jump: float) -> None:
    recorded = Recorded()
    recorded.pass_()
    recorded.pass_()
    before = recorded.column("t")
    recorded.wall += jump
    assert recorded.pass_()  # it says so
    assert not recorded.pass_()
    times = recorded.column("t")
    assert times[:2] == [int(t + jump) for t in before]  # type: ignore[operator]
    assert [late - early for early, late in pairwise(times)] == [1, 1, 1]  # type: ignore[operator]
    assert abs(times[-1] - recorded.wall) <= 1  # type: ignore[operator]


def test_a_clock_that_is_slewed_moves_nothing() -> None:
    """Two clocks never agree to the second's edge: a row would have one time now, another then."""
    recorded = Recorded()
    recorded.pass_()
    for step in range(40):
        recorded.wall += 0.05 if step % 4 < 2 else -0.05
        assert not recorded.pass_()
    assert recorded.history.newest() == recorded.history.rows()[-1]


class _Killed(Exception):
    """In place of SIGKILL."""


class _Dying:
    """A memory whose writer is killed at its nth store."""

    def __init__(self, words: memoryview, left: list[int]) -> None:
        self._words = words
        self._left = left

    def __getitem__(self, key: int | slice) -> object:
        return self._words[key]

    def __setitem__(self, key: int, value: float) -> None:
        if not self._left[0]:
            raise _Killed
        self._left[0] -= 1
        self._words[key] = value


def _deaths() -> Iterator[tuple[Recorded, bool]]:
    """One for each store of a row; and last one that nothing has happened to."""
    stores, is_over = 0, False
    while not is_over:
        recorded = Recorded()
        recorded.answer(3)
        recorded.pass_()
        recorded.answer(5)
        history, left = recorded.history, [stores]
        words, floats = history._words, history._floats
        history._words = _Dying(words, left)  # type: ignore[assignment]
        history._floats = _Dying(floats, left)  # type: ignore[assignment]
        try:
            recorded.pass_()
            is_over = True
        except _Killed:
            stores += 1
        history._words, history._floats = words, floats
        yield recorded, is_over


def test_wherever_its_writer_is_killed_the_successor_goes_on() -> None:
    """In that second or later, with what was counted meanwhile: nothing is lost or doubled."""
    tried = 0
    for recorded, _ in _deaths():
        tried += 1
        recorded.answer(7)
        recorded.pass_(0.25)
        recorded.answer(9)
        recorded.pass_(0.75)
        rates = recorded.column("rps_2xx")
        # 0.25 s later it is the same second: who was killed may have written its row, or not.
        assert rates in ([3.0, 5.0, 16.0], [3.0, 9.6, 12.0], [3.0, 9.6, 9.0 / 0.75]), rates
        total = 3.0 + sum(
            rate * seconds
            for rate, seconds in zip(
                rates[1:], (1.0, 1.0) if rates[1] == 5.0 else (1.25, 0.75), strict=True
            )
            if rate is not None
        )
        assert total == 24.0
    assert tried > len(COLUMNS)


def test_rates_come_to_all_that_was_counted_at_any_pace() -> None:
    chance = random.Random(17)
    recorded = Recorded()
    asked, total, last = 0, 0.0, recorded.now
    for _ in range(200):
        asked += (count := chance.randrange(10))
        recorded.answer(count)
        before = recorded.history.newest()
        recorded.pass_(chance.choice((0.25, 0.5, 0.9, 1.0, 1.1, 3.0)))
        newest = recorded.history.newest()
        if newest != before:
            total += (newest or [])[COLUMNS.index("rps_2xx")] * (recorded.now - last)  # type: ignore[operator]
            last, counted = recorded.now, asked
    assert total == pytest.approx(counted, abs=0.2)  # rates have three digits


def test_all_columns_are_numbers_or_null_and_the_time_is_first() -> None:
    assert COLUMNS[0] == "t"
    assert len(set(COLUMNS)) == len(COLUMNS) == len(module._COLUMNS)
    recorded = Recorded()
    assert recorded.history.rows() == []
    assert recorded.history.newest() is None
    recorded.pass_()
    assert all(v is None or isinstance(v, int | float) for v in recorded.rows()[0].values())


def test_the_clock_is_one_for_all_processes_and_goes_on() -> None:
    assert steady_clock() <= steady_clock()

"""The scoreboard: figures of many processes in shared memory, each word with one writer."""

from __future__ import annotations

import math
import os
import re
import signal
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from properties import examples

from wsgi_async.scoreboard import table
from wsgi_async.scoreboard.board import LAYOUT, Area, Reading, Scoreboard
from wsgi_async.scoreboard.table import METRICS, Kind, Metric

PROCESSES = 4


@contextmanager
def forked(work: Callable[[], object]) -> Iterator[int]:
    """A process that does this and ends."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    try:
        yield pid
    finally:
        os.waitpid(pid, 0)


def series(kind: Kind) -> list[tuple[Metric, tuple[str, ...]]]:
    return [
        (metric, values) for metric in METRICS if metric.kind is kind for values in metric.series
    ]


# --- Against a model


class Model:
    """What a scoreboard means, without its memory."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, tuple[str, ...]]] = Counter()
        self.values: dict[str, list[float]] = defaultdict(list)
        self.gauges: dict[int, dict[tuple[str, tuple[str, ...]], float]] = {}

    def agrees(self, reading: Reading) -> None:
        for metric, labels in series(Kind.COUNTER):
            assert reading.count(metric, *labels) == self.counts[metric.name, labels]
        for metric, _ in series(Kind.HISTOGRAM):
            found, values = reading.histogram(metric), self.values[metric.name]
            below = [sum(value <= bound for value in values) for bound in metric.bounds]
            assert found.counts == (*below, len(values))
            assert found.sum == pytest.approx(math.fsum(values))
        assert reading.processes == [str(number) for number in sorted(self.gauges)]
        for metric, labels in series(Kind.GAUGE):
            key = metric.name, labels
            known = {str(number): own[key] for number, own in self.gauges.items() if key in own}
            assert dict(reading.gauge(metric, *labels)) == known


NUMBERS = st.integers(0, PROCESSES - 1)
STEPS = st.one_of(
    st.tuples(st.just("begin"), NUMBERS),
    st.tuples(st.just("end"), NUMBERS),
    st.tuples(
        *(st.just("add"), NUMBERS, st.sampled_from(series(Kind.COUNTER))), st.integers(0, 2**45)
    ),
    st.tuples(
        *(st.just("set"), NUMBERS, st.sampled_from(series(Kind.GAUGE))),
        st.floats(allow_nan=False),
    ),
    st.tuples(
        *(st.just("observe"), NUMBERS, st.sampled_from(series(Kind.HISTOGRAM))),
        st.one_of(st.floats(0, 100), st.sampled_from(table.DURATION.bounds)),
    ),
)


@examples(200, st.lists(STEPS, max_size=40))
def test_the_board_is_as_its_model(steps: list[tuple[Any, ...]]) -> None:
    """Whoever counts, in whatever order, and whoever has the number after him."""
    board, model = Scoreboard(PROCESSES), Model()
    for step, number, *more in steps:
        area = board.area(number)
        if step == "end":
            board.ended(number)
            model.gauges.pop(number, None)
            continue
        if step == "begin" or number not in model.gauges:
            area.begin()
            model.gauges[number] = {}
        if more:
            (metric, labels), value = more
            if step == "add":
                area.add(metric, *labels, by=value)
                model.counts[metric.name, labels] += value
            elif step == "set":
                area.set(metric, value, *labels)
                model.gauges[number][metric.name, labels] = value
            else:
                area.histogram(metric).add(value)
                model.values[metric.name].append(value)
        model.agrees(board.read())


def test_no_two_figures_share_a_word() -> None:
    taken: list[int] = []
    for metric in METRICS:
        size = len(metric.bounds) + 2 if metric.bounds else 1
        for values in metric.series:
            begin = LAYOUT.index(metric, values)
            taken += range(begin, begin + size)
    assert sorted(taken) == list(range(LAYOUT.words))


def test_there_are_no_other_series() -> None:
    area = Scoreboard(1).area(0)
    for values in ((), ("BREW", "2xx"), ("GET", "200")):
        with pytest.raises(ValueError, match="wsgi_async_requests_total has no series"):
            area.add(table.REQUESTS, *values)


# --- Who has which area


def test_gauges_of_the_dead_vanish_and_counters_go_on() -> None:
    board = Scoreboard(2)
    for _ in range(2):  # two processes after one another with the same number
        area = board.area(1)
        area.begin()
        assert list(board.read().gauge(table.QUEUED)) == []
        area.set(table.QUEUED, 3.0)
        area.add(table.SENT, by=5)
        assert list(board.read().gauge(table.QUEUED)) == [("1", 3.0)]
        board.ended(1)
        board.ended(1)
        assert list(board.read().gauge(table.QUEUED)) == []
    assert board.read().count(table.SENT) == 10
    assert board.read().processes == []


def test_one_that_dies_before_it_has_begun_leaves_nothing() -> None:
    board = Scoreboard(1)
    board.ended(0)
    assert board.read().processes == []


def test_the_parent_and_the_operations_process_have_areas_of_their_own() -> None:
    board = Scoreboard(1)
    for area in (board.parent, board.operations, board.area(0)):
        area.begin()
        area.set(table.UP, 1.0)
        area.add(table.LOG_DROPPED)
    reading = board.read()
    assert reading.processes == ["0", "parent", "operations"]
    assert dict(reading.gauge(table.UP)) == {"0": 1.0, "parent": 1.0, "operations": 1.0}
    assert reading.count(table.LOG_DROPPED) == 3


def test_a_number_beyond_the_areas_is_not_counted_and_said_once() -> None:
    """It serves all the same."""
    board, said = Scoreboard(2), list[str]()
    for number in (0, 2, 3):
        area = board.area(number, said.append)
        area.begin()
        area.add(table.CUT)
        area.set(table.UP, 1.0)
        area.histogram(table.CPU).add(0.1)
        board.ended(number)
    assert said == ["more than 2 processes: what those beyond them do is not in the metrics"]
    assert board.read().count(table.CUT) == 1
    assert board.read().histogram(table.CPU).counts[-1] == 1


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_areas_that_nobody_uses_take_no_memory() -> None:
    def taken() -> int:
        text = Path("/proc/self/smaps").read_text()
        found = re.findall(r"/dev/zero \(deleted\)\n(?:.*\n){1,4}?Rss: +([0-9]+) kB", text)
        return sum(map(int, found))

    before = taken()
    board = Scoreboard()
    board.area(3).begin()
    board.area(3).add(table.CUT)
    assert board.read().count(table.CUT) == 1
    # The first page, and the one area: pages are up to 64 KiB.
    assert 0 < taken() - before <= 2 * os.sysconf("SC_PAGESIZE") // 1024


# --- Several processes


def test_processes_that_count_at_once_lose_nothing() -> None:
    """And whoever reads meanwhile never sees a figure fall, nor a histogram that disagrees."""
    board, times = Scoreboard(PROCESSES), 3000

    def count(area: Area) -> None:
        area.begin()
        durations = area.histogram(table.DURATION)
        for _ in range(times):
            area.add(table.REQUESTS, "GET", "2xx")
            durations.add(0.02)

    before = board.read()
    areas = [board.area(number) for number in range(PROCESSES)]
    pids = []
    for area in areas:
        pid = os.fork()
        if pid == 0:
            try:
                count(area)
            finally:
                os._exit(0)
        pids.append(pid)
    while pids:
        if os.waitpid(pids[0], os.WNOHANG)[0]:
            pids.pop(0)
        now = board.read()
        for then, later in zip(
            before.histogram(table.DURATION).counts,
            now.histogram(table.DURATION).counts,
            strict=True,
        ):
            assert then <= later
        assert before.count(table.REQUESTS, "GET", "2xx") <= now.count(table.REQUESTS, "GET", "2xx")
        before = now
    total = PROCESSES * times
    reading = board.read()
    assert reading.count(table.REQUESTS, "GET", "2xx") == total
    assert reading.histogram(table.DURATION).counts[-1] == total
    assert reading.histogram(table.DURATION).sum == pytest.approx(0.02 * total)


def test_no_word_is_ever_seen_in_part() -> None:
    """Two values that differ in every byte, by turns: nobody sees a mixture."""
    board = Scoreboard(1)
    area = board.area(0)
    area.begin()
    at = area.index(table.QUEUED)
    one, other = 0x0101010101010101, 0x3E3E3E3E3E3E3E3E
    area.ints[at] = one

    def write() -> None:
        ints = area.ints
        for _ in range(100_000):
            ints[at] = other
            ints[at] = one

    reader = board.area(0).floats
    seen = set()
    with forked(write) as pid:
        while not os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            seen.update(reader[at : at + 1].tolist())
            seen.add(reader[at])
    values = memoryview(bytearray(16))
    values.cast("q")[0], values.cast("q")[1] = one, other
    assert seen <= set(values.cast("d").tolist())


def test_what_a_killed_process_has_counted_is_kept() -> None:
    """With the one that it was about to count, at most."""
    board = Scoreboard(1)
    reading, writing = os.pipe()

    def count() -> None:
        area = board.area(0)
        area.begin()
        while True:
            area.add(table.SENT)
            os.write(writing, b"x")

    with forked(count) as pid:
        os.close(writing)
        told = 0
        while told < 1000:
            told += len(os.read(reading, 1000))
        os.kill(pid, signal.SIGKILL)
        while data := os.read(reading, 65536):
            told += len(data)
    os.close(reading)
    board.ended(0)
    counted = board.read().count(table.SENT)
    assert told <= counted <= told + 1
    successor = board.area(0)
    successor.begin()
    successor.add(table.SENT)
    assert board.read().count(table.SENT) == counted + 1

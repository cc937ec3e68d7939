"""The memory of the application's metrics: who has which part, and what is left of the dead."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence

import pytest
from counted import UNIT
from forked import run_forked

from wsgi_async.operations.app_arena import Arena
from wsgi_async.operations.app_records import Area, Record, record_size


def add(
    left: Iterable[Record], dead: Sequence[tuple[int, Iterable[Record]]], room: int
) -> tuple[list[Record], int]:
    """The simplest of folds."""
    totals: dict[bytes, float] = {}
    for records in (left, *(records for _, records in dead)):
        for key, value, _ in records:
            totals[key] = totals.get(key, 0.0) + value
    return [Record(key, value, 0.0) for key, value in totals.items()], 0


@pytest.fixture
def arena() -> Iterator[Arena]:
    arena = Arena(add, areas=4, area_size=UNIT, left_size=UNIT)
    yield arena
    arena.close()


def claimed(arena: Arena) -> Area:
    area = arena.claim()
    assert area is not None
    return area


def count(arena: Arena, key: bytes, value: float) -> None:
    area = claimed(arena)
    at = area.append(key)
    assert at is not None
    area.values[at] = value


def total(arena: Arena, key: bytes = b"k") -> float:
    """Of who lives, and of who is gone."""
    snapshot = arena.snapshot()
    sources = [snapshot.left, *(records for _, records in snapshot.living)]
    return sum(record.value for records in sources for record in records if record.key == key)


def test_records_are_read_as_they_were_written(arena: Arena) -> None:
    area = claimed(arena)
    random.seed(5)
    written = []
    for number in range(40):
        key = random.randbytes(number)
        at = area.append(key)
        assert at is not None
        area.values[at], area.values[at + 1] = number / 2, number
        written.append((key, number / 2, float(number)))
    [(pid, records)] = arena.snapshot().living
    assert pid == os.getpid()
    assert list(records) == written


def test_what_the_dead_had_is_left(arena: Arena) -> None:
    for value in (1.0, 2.0, 4.0):
        assert run_forked(lambda value=value: count(arena, b"k", value)) == 0
    count(arena, b"k", 8.0)
    snapshot = arena.snapshot()
    assert list(snapshot.left) == [Record(b"k", 7.0, 0.0)]
    assert [pid for pid, _ in snapshot.living] == [os.getpid()]
    assert total(arena) == 15.0  # and nothing is folded twice


def test_areas_of_the_dead_are_used_again_though_nobody_reads(arena: Arena) -> None:
    for _ in range(3 * arena.capacity):
        assert run_forked(lambda: count(arena, b"k", 1.0)) == 0
    assert total(arena) == 3.0 * arena.capacity


def test_a_new_owner_finds_nothing_of_the_last_one(arena: Arena) -> None:
    def fill() -> None:
        area = claimed(arena)
        while area.append(b"x" * 100) is not None:
            pass

    for _ in range(arena.capacity + 1):
        assert run_forked(fill) == 0
    claimed(arena).append(b"k")
    [(_, records)] = arena.snapshot().living
    assert list(records) == [Record(b"k", 0.0, 0.0)]


def test_where_all_areas_are_taken_there_is_none(arena: Arena) -> None:
    def claim_all() -> None:
        for _ in range(arena.capacity):
            claimed(arena)
        assert arena.claim() is None
        arena.refuse()

    assert run_forked(claim_all) == 0
    assert arena.snapshot().refused == 1
    claimed(arena)  # they are free with the end of that process


def test_a_full_area_takes_no_more_and_says_how_much(arena: Arena) -> None:
    area = claimed(arena)
    size = record_size(b"x" * 32)
    taken = (UNIT - 8) // size
    for _ in range(taken):
        assert area.append(b"x" * 32) is not None
    assert [area.append(b"x" * 32) for _ in range(3)] == [None] * 3
    snapshot = arena.snapshot()
    assert snapshot.refused == 3
    assert len(list(snapshot.living[0][1])) == taken


def test_what_was_refused_is_remembered_beyond_the_process(arena: Arena) -> None:
    def fill() -> None:
        area = claimed(arena)
        while area.append(b"x" * 60000) is not None:
            pass

    assert run_forked(fill) == 0
    assert [arena.snapshot().refused for _ in range(2)] == [1, 1]


@pytest.mark.parametrize("moment", ["folding", "written", "in force"])
def test_who_is_killed_while_it_folds_loses_and_doubles_nothing(arena: Arena, moment: str) -> None:
    def die(*args: object) -> tuple[list[Record], int]:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    def fold_and_die() -> None:
        if moment == "folding":
            arena._fold = die
        elif moment == "written":
            # As the word is to be changed by which it comes into force.
            arena._words = Words(arena._words, die)  # type: ignore[assignment]
        else:
            before = arena._free_folded
            calls = iter([before, die])
            arena._free_folded = lambda: next(calls)()  # type: ignore[method-assign]
        arena.snapshot()

    for value in (1.0, 2.0):
        assert run_forked(lambda value=value: count(arena, b"k", value)) == 0
    assert run_forked(fold_and_die) == -signal.SIGKILL
    assert total(arena) == 3.0
    assert run_forked(lambda: count(arena, b"k", 4.0)) == 0
    assert total(arena) == 7.0


class Words:
    """The head of an arena, for a process that is to die when it writes to its first word."""

    def __init__(self, words: memoryview, die: Callable[..., object]) -> None:
        self._words = words
        self._die = die

    def __getitem__(self, index: int | slice) -> object:
        return self._words[index]

    def __setitem__(self, index: int, value: int) -> None:
        if index == 0:
            self._die()
        self._words[index] = value


def test_a_lock_that_is_not_given_back_stops_no_reader(arena: Arena) -> None:
    """Its holder has been stopped, say. What was folded before is read as it is."""
    count(arena, b"k", 8.0)
    assert run_forked(lambda: count(arena, b"k", 1.0)) == 0
    ready, says_ready = os.pipe()
    ends, end = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.close(end)
            with arena._locked(0.0) as is_mine:
                os.write(says_ready, b"y" if is_mine else b"n")
                os.read(ends, 1)
        finally:
            os._exit(0)
    try:
        assert os.read(ready, 1) == b"y"
        snapshot = arena.snapshot(patience=0.01)
        assert not list(snapshot.left)
        assert len(snapshot.living) == 2
        assert total(arena) == 9.0
        assert arena.claim(patience=0.01) is None
    finally:
        for descriptor in (end, ends, ready, says_ready):
            os.close(descriptor)
        os.waitpid(pid, 0)
    assert total(arena) == 9.0
    claimed(arena)


def test_where_the_application_has_closed_the_descriptor_nobody_is_harmed() -> None:
    """Its number may have come to mean a file of the application's own."""
    arena = Arena(add, areas=2, area_size=UNIT, left_size=UNIT)

    def lose() -> None:
        with open(os.devnull) as other:
            os.dup2(other.fileno(), arena.fileno())
        assert arena.claim() is None

    assert run_forked(lose) == 0
    claimed(arena)
    arena.close()


def test_without_memory_of_that_kind_it_is_a_file_without_a_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on macOS."""
    monkeypatch.delattr(os, "memfd_create")
    arena = Arena(add, areas=2, area_size=UNIT, left_size=UNIT)
    assert run_forked(lambda: count(arena, b"k", 1.0)) == 0
    assert total(arena) == 1.0
    arena.close()


def test_what_nobody_writes_takes_no_memory(arena: Arena) -> None:
    large = Arena(add)
    count(large, b"k", 1.0)
    found = os.fstat(large.fileno())
    assert found.st_size > 500 << 20
    assert found.st_blocks * 512 < 1 << 20
    large.close()

"""What a supervisor decides: events and times in, actions out; no process is started."""

from __future__ import annotations

import math
import signal

import pytest
from story import LIMITS, Story

from wsgi_async.processes.fleet import HASTE, LAST_WORDS
from wsgi_async.processes.pauses import STEADY
from wsgi_async.processes.process import Process, ProcessState


def test_the_beginning() -> None:
    story = Story(3)
    assert len(story.spawned) == 3
    assert not story.is_up
    for process in list(story.spawned):
        assert not story.is_up
        story.ready(process)
    assert story.is_up
    assert (story.told, story.killed, story.said) == ([], [], [])
    assert story.fleet.next_time() == LIMITS.beat


def test_who_is_not_wanted_any_more_when_it_is_ready_is_not_admitted() -> None:
    """It accepts only after it was told to, so nobody's request is in it when it is killed."""
    story = Story(2)
    late, *_ = story.spawned
    story.fleet.reload(story.now)
    story.act()
    story.ready(late)
    assert story.admitted == []
    assert (late, signal.SIGTERM) in story.killed
    for process in story.spawned[2:]:
        story.ready(process)
    assert story.admitted == story.spawned[2:] == story.serving()


def test_who_dies_is_replaced_at_once() -> None:
    story = Story.up()
    story.exit(story.serving()[0], 3, "signal 9 (SIGKILL)")
    assert len(story.spawned) == 1
    assert "died: signal 9 (SIGKILL)" in story.said[-1]


def test_numbers_are_used_again() -> None:
    story = Story.up(3)
    gone = story.serving()[1]
    story.exit(gone, 1)
    assert story.spawned[0].number == gone.number


def test_a_successor_has_the_place_of_who_it_replaces() -> None:
    story = Story.up(3)
    assert [process.place for process in story.serving()] == [0, 1, 2]
    gone, asks, _ = story.serving()
    story.exit(gone, 1)
    story.ready(story.spawned[-1])
    assert story.spawned[-1].place == gone.place
    story.fleet.recycle(asks, "its age", story.now)
    story.act()
    assert story.spawned[-1].place == asks.place
    story.ready(story.spawned[-1])
    assert sorted(process.place for process in story.serving()) == [0, 1, 2]


def test_places_are_even_after_each_reload_whoever_lives_on() -> None:
    story = Story.up(3)
    for number in range(4):
        story.fleet.reload(story.now)
        story.act()
        while story.is_reloading:
            booting = [p for p in story.fleet.processes if p.state is ProcessState.BOOTING]
            story.ready(booting[0])
            leaving = [p for p in story.fleet.processes if p.state is ProcessState.LEAVING]
            if number % 2 and leaving:  # as different as leaving takes
                story.exit(leaving[-1])
        assert sorted(process.place for process in story.serving()) == [0, 1, 2]


def test_who_has_the_last_place_goes_first_however_young_others_are() -> None:
    story = Story.up(3)
    asks = story.serving()[1]
    story.fleet.recycle(asks, "its age", story.now)
    story.act()
    story.ready(story.spawned[-1])
    assert [process.place for process in story.serving()] == [0, 2, 1]
    story.fleet.change_wanted(-1, story.now)
    story.act()
    assert sorted(process.place for process in story.serving()) == [0, 1]


def test_a_reload_that_fails_half_way_leaves_no_place_to_two() -> None:
    story = Story.up(3)
    story.exit(story.serving()[0], 1)
    story.ready(story.spawned[-1])
    assert [process.place for process in story.serving()] == [1, 2, 0]
    story.fleet.reload(story.now)
    story.act()
    story.ready(story.spawned[-1])
    story.exit(story.spawned[-1], 3)
    assert not story.is_reloading
    assert sorted(process.place for process in story.serving()) == [0, 1, 2]


def test_one_more_process_has_a_place_of_its_own() -> None:
    story = Story.up(2)
    story.fleet.change_wanted(1, story.now)
    story.act()
    assert story.spawned[-1].place == 2


def test_pauses_double_while_processes_die_young() -> None:
    story = Story.up(1)
    pauses = []
    for _ in range(9):
        story.exit(story.fleet.processes[0], 3)
        began = story.now
        while not story.fleet.processes:
            story.pass_time(0.125)
        pauses.append(story.now - began)
        story.ready(story.fleet.processes[0])
    assert pauses == [0, 0, 0.5, 1, 2, 4, 8, 16, 30]
    story.pass_time(STEADY)
    story.exit(story.fleet.processes[0], 3)
    assert story.fleet.processes  # who served for long died by accident


def test_the_first_that_cannot_start_end_all() -> None:
    story = Story(3)
    first, second, third = story.spawned
    story.exit(second, 3)
    assert {process for process, number in story.killed if number is signal.SIGTERM} == {
        first,
        third,
    }
    assert story.fleet.exit_code is None
    story.exit(first, 3)
    story.exit(third, 3)
    assert story.fleet.exit_code == 3
    assert story.closed == 1
    assert len(story.spawned) == 3


def test_a_first_one_with_a_wrong_configuration() -> None:
    story = Story(1)
    story.exit(story.spawned[0], 1, how="")
    assert story.fleet.exit_code == 1
    assert story.said == []  # it has said why itself


def test_a_later_one_that_cannot_start_ends_nobody() -> None:
    story = Story.up()
    story.exit(story.serving()[0], 3)
    story.exit(story.spawned[-1], 3)
    assert len(story.serving()) == 1
    assert story.fleet.exit_code is None
    story.pass_time(1)
    assert len(story.fleet.processes) == 2


def test_a_boot_that_takes_too_long() -> None:
    story = Story(1)
    story.pass_time(LIMITS.boot - 0.1)
    assert not story.killed
    story.pass_time(0.1)
    assert story.killed == [(story.spawned[0], signal.SIGABRT)]
    story.pass_time(LAST_WORDS)
    assert story.killed[-1] == (story.spawned[0], signal.SIGKILL)
    story.exit(story.spawned[0], 3)
    assert story.fleet.exit_code == 3


@pytest.mark.parametrize("limit", ["boot", "beat"])
def test_limits_may_be_off(limit: str) -> None:
    story = Story(1, **{limit: 0.0})
    if limit == "beat":
        story.ready(story.spawned[0])
    assert story.fleet.next_time() == math.inf


def test_a_blocked_loop() -> None:
    story = Story.up()
    blocked, other = story.serving()
    story.deaf = {blocked}
    story.pass_time(LIMITS.beat - 0.1)
    assert not story.killed
    story.pass_time(0.2)
    assert story.killed == [(blocked, signal.SIGABRT)]
    assert len(story.spawned) == 1  # its successor does not wait for its end
    assert "has been blocked for 30 s" in "".join(story.said)
    story.pass_time(LAST_WORDS)
    assert story.killed[-1] == (blocked, signal.SIGKILL)
    story.exit(blocked, 3)
    story.ready(story.spawned[0])
    assert story.serving() == [other, story.spawned[0]]
    assert story.fleet.next_time() < math.inf


def test_time_in_which_nobody_ran_is_nobodys_fault() -> None:
    """A frozen container, or a terminal's Ctrl-Z and, minutes later, fg."""
    story = Story.up()
    leaver = story.serving()[-1]
    story.fleet.change_wanted(-1, story.now)
    story.fleet.reload(story.now)
    story.act()
    story.now += 600
    story.fleet.overslept(story.now)
    story.fleet.tick(story.now)
    story.act()
    assert not story.killed
    story.pass_time(HASTE - 0.1)
    assert not story.killed
    story.pass_time(0.2)
    booting = story.spawned[0]
    assert story.killed == [(leaver, signal.SIGKILL), (booting, signal.SIGABRT)]


def test_recycling_has_the_successor_ready_first() -> None:
    story = Story.up()
    old, other = story.serving()
    story.fleet.recycle(old, "it is old", story.now)
    story.fleet.recycle(old, "it is old", story.now)
    story.act()
    assert len(story.spawned) == 1
    assert not story.told
    story.ready(story.spawned[0])
    assert story.told == [(old, "retire")]
    assert story.serving() == [other, story.spawned[0]]
    story.exit(old, 0)
    assert len(story.fleet.processes) == 2


def test_who_asks_to_be_replaced_is_heard_once_and_only_while_it_serves() -> None:
    story = Story.up(2)
    first, second = story.fleet.processes
    for _ in range(2):
        story.fleet.recycle(first, "it is old", story.now)
        story.act()
    assert story.said.count("Process 1001 is to be replaced: it is old") == 1
    [successor] = story.spawned
    story.fleet.recycle(successor, "it is young", story.now)  # it does not serve yet
    story.ready(successor)
    assert story.told == [(first, "retire")]
    story.fleet.recycle(first, "again", story.now)  # it leaves already
    story.fleet.drain(story.now)
    story.fleet.recycle(second, "too late", story.now)
    story.act()
    assert not [line for line in story.said if "young" in line or "again" in line or "late" in line]
    assert not second.asked


def test_an_operator_reads_what_becomes_of_processes() -> None:
    story = Story.up(1)
    assert story.said == []  # the first ones are announced together
    [process] = story.fleet.processes
    assert str(process) == "process 1001"
    story.fleet.change_wanted(1, story.now)
    story.act()
    story.ready(story.spawned[-1])
    assert story.said == ["Processes wanted: 2", "Process 1001 is ready"]
    story.said.clear()
    for _ in range(2):
        story.exit(story.spawned[-1])
    assert story.said == [
        "Process 1001 died: somehow",
        "Process 1002 did not start: somehow",
        "The next process is started in 0.5 s",
    ]
    assert str(Process(7, 0, 1, 0.0)) == "process number 7"  # until its pid is known


def test_all_recycle_at_once_and_go_one_by_one() -> None:
    story = Story.up(3)
    old = story.serving()
    for process in old:
        story.fleet.recycle(process, "it is old", story.now)
    story.act()
    for number in range(3):
        assert len(story.spawned) == number + 1
        assert len(story.serving()) == 3
        story.ready(story.spawned[-1])
        assert story.told[-1] == (old[number], "retire")
    assert story.serving() == story.spawned


def test_a_reload_goes_one_by_one() -> None:
    story = Story.up()
    old = story.serving()
    story.fleet.reload(story.now)
    story.act()
    assert story.is_reloading
    for number in range(2):
        assert len(story.spawned) == number + 1
        assert story.spawned[number].generation == 2
        assert len(story.told) == number
        story.ready(story.spawned[number])
    assert story.told == [(old[0], "retire"), (old[1], "retire")]
    assert not story.is_reloading
    assert story.fleet.generations == {2}
    for process in old:
        story.exit(process)
    assert story.fleet.processes == story.spawned


@pytest.mark.parametrize("how", ["exit", "boot timeout"])
def test_a_reload_of_broken_code_leaves_all_as_it_was(how: str) -> None:
    story = Story.up()
    old = story.serving()
    story.fleet.reload(story.now)
    story.act()
    if how == "exit":
        story.exit(story.spawned[0], 3)
    else:
        story.pass_time(LIMITS.boot)
        story.exit(story.spawned[0], 3)
    assert not story.is_reloading
    assert "The reload has failed" in "".join(story.said)
    assert (story.serving(), story.told) == (old, [])
    story.pass_time(100)
    assert len(story.spawned) == 1  # nothing more is tried
    assert story.fleet.generations == {1}
    story.fleet.reload(story.now)
    story.act()
    assert story.spawned[-1].generation == 3
    for _ in range(2):
        story.ready(story.spawned[-1])
    assert not story.is_reloading
    assert story.fleet.generations == {3}


def test_a_reload_that_fails_half_way() -> None:
    story = Story.up()
    old = story.serving()
    story.fleet.reload(story.now)
    story.act()
    story.ready(story.spawned[0])
    story.exit(story.spawned[1], 3)
    assert story.serving() == [old[1], story.spawned[0]]
    story.pass_time(100)
    assert len(story.spawned) == 2


def test_a_reload_during_a_reload() -> None:
    story = Story.up(1)
    story.fleet.reload(story.now)
    story.act()
    story.fleet.reload(story.now)
    story.act()
    first, second = story.spawned
    assert story.killed == [(first, signal.SIGTERM)]
    story.exit(first, 3)
    assert story.is_reloading  # it was killed for this, and has not failed
    story.ready(second)
    assert not story.is_reloading
    assert len(story.spawned) == 2


def test_a_crash_of_an_old_one_during_a_reload() -> None:
    story = Story.up()
    story.fleet.reload(story.now)
    story.act()
    story.exit(story.serving()[0], 3)
    story.ready(story.spawned[0])
    story.ready(story.spawned[1])
    assert [process.generation for process in story.serving()] == [2, 2]
    assert not story.is_reloading


def test_more_and_fewer() -> None:
    story = Story.up()
    story.fleet.change_wanted(1, story.now)
    story.act()
    story.ready(story.spawned[0])
    assert len(story.serving()) == 3
    story.fleet.change_wanted(-1, story.now)
    story.act()
    assert story.told == [(story.spawned[0], "retire")]  # the youngest goes
    story.fleet.change_wanted(-1, story.now)
    story.fleet.change_wanted(-1, story.now)
    story.act()
    assert len(story.serving()) == 1
    assert "the least" in story.said[-1]


def test_a_reload_is_over_when_no_old_process_accepts_any_more() -> None:
    """Who waits for the word "Reloaded", and then asks, is to be answered by the new code."""
    story = Story.up(2)
    first, second = story.deaf = story.serving()
    story.fleet.reload(story.now)
    story.act()
    story.ready(story.spawned[-1])
    story.ready(story.spawned[-1])
    assert story.told == [(first, "retire"), (second, "retire")]
    assert len(story.serving()) == 2
    assert story.is_reloading
    story.fleet.deaf(first, story.now)
    story.act()
    assert story.is_reloading
    story.exit(second, 1, "signal 9 (SIGKILL)")
    assert not story.is_reloading
    assert story.said[-1] == "Reloaded"

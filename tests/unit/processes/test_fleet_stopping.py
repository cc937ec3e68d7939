"""What a supervisor decides when it is to stop, to report, or to hurry."""

from __future__ import annotations

import signal

import pytest
from story import LIMITS, Story

from wsgi_async.processes.fleet import (
    HASTE,
    MARGIN,
)


def test_a_drain() -> None:
    story = Story.up(2, drain_delay=10.0)
    story.fleet.drain(story.now)
    story.act()
    assert [word for _, word in story.told] == ["drain", "drain"]
    story.pass_time(9)
    assert not story.closed
    story.pass_time(1)
    assert story.closed == 1
    first, second = list(story.fleet.processes)
    story.exit(first)
    assert story.fleet.exit_code is None
    story.exit(second)
    assert story.fleet.exit_code == 0
    assert not story.spawned
    assert story.closed == 1


@pytest.mark.parametrize(
    ("limits", "said"),
    [({}, 30.0), ({"drain_delay": 10.0}, 40.0), ({"graceful": 0.0, "drain_delay": 10.0}, 0.0)],
)
def test_after_ctrl_c_it_is_said_once_what_the_stop_waits_for(
    limits: dict[str, float], said: float
) -> None:
    story = Story.up(**limits)
    story.fleet.interrupt(story.now)
    story.pass_time(0.4)
    assert story.patience == []
    story.pass_time(0.2)
    assert story.patience == [said]
    story.pass_time(5)
    assert story.patience == [said]
    story.fleet.interrupt(story.now)
    story.act()
    assert {word for _, word in story.told[-2:]} == {"now"}


def test_nothing_is_said_where_the_stop_waits_for_nobody() -> None:
    for do in ("drain", "stop_now"):
        story = Story.up()
        getattr(story.fleet, do)(story.now)
        story.pass_time(1)
        assert story.patience == []
    story = Story.up()
    story.fleet.interrupt(story.now)
    story.act()
    for process in list(story.fleet.processes):
        story.exit(process)
    assert story.fleet.exit_code == 0
    story = Story.up()
    story.fleet.interrupt(story.now)
    story.fleet.interrupt(story.now)
    story.pass_time(1)
    assert story.patience == []


def test_a_drain_with_one_that_is_stuck() -> None:
    story = Story.up(1)
    stuck = story.serving()[0]
    story.fleet.drain(story.now)
    story.act()
    story.pass_time(LIMITS.graceful + MARGIN - 0.1)
    assert not story.killed
    story.pass_time(0.2)
    assert story.killed == [(stuck, signal.SIGKILL)]
    story.exit(stuck, 3)
    assert story.fleet.exit_code == 1


def test_one_whose_threads_take_nothing_is_killed_and_called_so() -> None:
    story = Story.up(2)
    stalled, _ = story.serving()
    story.deaf = {stalled}
    story.pass_time(10)
    story.fleet.stalled(stalled)
    story.pass_time(19)
    assert story.killed == []
    story.pass_time(2)
    assert story.killed == [(stalled, signal.SIGABRT)]
    said = "".join(story.said)
    assert f"Requests wait in process {stalled.pid} beside a thread that is idle" in said
    assert "blocked" not in said


def test_one_whose_threads_go_on_is_not_called_stalled() -> None:
    story = Story.up(1)
    [process] = story.serving()
    story.fleet.stalled(process)
    story.fleet.beat(process, story.now)
    story.deaf = {process}
    story.pass_time(31)
    assert "has been blocked for 30 s" in "".join(story.said)


def test_a_drain_with_one_whose_loop_is_blocked() -> None:
    story = Story.up(1, graceful=0.0)
    [blocked] = story.deaf = set(story.serving())
    story.fleet.drain(story.now)
    story.act()
    story.pass_time(LIMITS.beat + 0.1)
    assert story.killed == [(blocked, signal.SIGABRT)]
    story.exit(blocked, 3)
    assert story.fleet.exit_code == 1


def test_an_interpreter_that_ends_shows_no_life_and_has_until_its_deadline() -> None:
    story = Story.up(1)
    [fading] = story.deaf = set(story.serving())
    story.fleet.drain(story.now)
    story.act()
    story.fleet.fading(fading)
    story.fleet.beat(fading, story.now)  # of a thread that runs a little longer
    story.pass_time(LIMITS.graceful + MARGIN - 0.1)
    assert not story.killed
    story.pass_time(0.2)
    assert story.killed == [(fading, signal.SIGKILL)]
    assert "blocked" not in "".join(story.said)


def test_a_drain_while_one_boots() -> None:
    story = Story.up(1)
    story.fleet.change_wanted(1, story.now)
    story.act()
    story.fleet.drain(story.now)
    story.act()
    booting = story.spawned[0]
    assert story.killed == [(booting, signal.SIGTERM)]
    story.exit(booting, 3)
    story.exit(story.fleet.processes[0])
    assert story.fleet.exit_code == 0


def test_at_once() -> None:
    story = Story.up(1)
    process = story.serving()[0]
    story.fleet.drain(story.now)
    story.fleet.stop_now(story.now)
    story.act()
    assert [word for _, word in story.told] == ["drain", "now"]
    story.pass_time(HASTE + 0.1)
    assert story.killed == [(process, signal.SIGKILL)]


def test_at_once_is_a_stop_by_itself() -> None:
    """Who boots is ended, who ends is not replaced, and clients are refused from now on."""
    story = Story.up(1)
    [process] = story.fleet.processes
    story.fleet.change_wanted(1, story.now)
    story.act()
    [booting] = story.spawned
    story.fleet.stop_now(story.now)
    story.act()
    story.pass_time(0.1)
    assert story.fleet.is_stopping
    assert (story.told[-1], story.closed) == ((process, "now"), 1)
    assert story.killed == [(booting, signal.SIGTERM)]
    story.exit(process)
    story.exit(booting)
    assert story.spawned == [booting]
    assert story.fleet.exit_code == 0


def test_nothing_starts_during_a_stop() -> None:
    story = Story.up()
    story.fleet.drain(story.now)
    story.fleet.reload(story.now)
    story.fleet.change_wanted(1, story.now)
    story.fleet.recycle(story.fleet.processes[0], "it is old", story.now)
    story.exit(story.fleet.processes[0], 3)
    story.pass_time(1)
    assert not story.spawned


def test_a_report_is_for_those_that_live() -> None:
    """One that boots has the log files of before open."""
    story = Story.up()
    story.fleet.change_wanted(1, story.now)
    story.fleet.report()
    story.act()
    assert [word for _, word in story.told] == ["report", "report", "report"]


def test_in_haste_the_old_ones_leave_at_once() -> None:
    story = Story.up(hasty=True)
    old = story.serving()
    story.fleet.reload(story.now)
    story.act()
    assert story.told == [(old[0], "retire"), (old[1], "retire")]
    assert len(story.spawned) == 2
    for process in list(story.spawned):
        story.ready(process)
    assert not story.is_reloading


@pytest.mark.parametrize("is_first", [True, False])
def test_in_haste_what_cannot_start_waits_for_the_next_change(is_first: bool) -> None:
    story = Story(1, hasty=True) if is_first else Story.up(1, hasty=True)
    if not is_first:
        story.fleet.reload(story.now)
        story.act()
        story.exit(story.fleet.processes[0])
    story.exit(story.spawned[0], 3)
    story.pass_time(100)
    assert (len(story.spawned), story.fleet.exit_code) == (1, None)
    story.fleet.reload(story.now)
    story.act()
    story.ready(story.spawned[1])
    assert story.serving() == [story.spawned[1]]

"""What the parent decides of a process beside those that serve; none is started."""

from __future__ import annotations

import errno
import gc
import math
import selectors
import signal
import subprocess
import sys
import warnings

import pytest
from rawclient import TIMEOUT

from wsgi_async.events import Observer
from wsgi_async.processes.attendants import (
    LEAVES_WITHIN,
    TERMS,
    Attendant,
    Attendants,
    AttendantState,
    Duty,
    Work,
)
from wsgi_async.processes.channel import Channel
from wsgi_async.processes.pauses import LONGEST_PAUSE, STEADY, Pauses


class Told(Observer):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def error(self, message: str, error: BaseException | None = None) -> None:
        self.lines.append(message)


class Started(Attendant):
    """One that is forked without a fork."""

    def begin(self, now: float) -> Channel:
        self.channel, theirs = Channel.pair()
        self.pid = 4711
        self._began = self._heard_at = now
        self.enter(AttendantState.STARTING)
        return theirs


@pytest.fixture
def told() -> Told:
    return Told()


def make(duty: Duty, told: Told) -> Started:
    return Started(duty, lambda channel: 0, told)


def test_pauses_double_from_the_second_failure_on() -> None:
    pauses = Pauses()
    assert [pauses.next() for _ in range(5)] == [0.0, 0.5, 1.0, 2.0, 4.0]
    for _ in range(20):
        pauses.next()
    assert pauses.next() == LONGEST_PAUSE
    pauses.reset()
    assert pauses.next() == 0.0


def test_who_dies_young_is_started_after_pauses_that_double(told: Told) -> None:
    operations = make(Duty.OPERATING, told)
    now = 100.0
    for pause in (0.0, 0.5, 1.0):
        assert operations.due <= now
        operations.begin(now).close()
        operations.ended("signal 9", now + 1)
        assert operations.state is AttendantState.WAITING
        assert (operations.due, operations.pid) == (now + 1 + pause, 0)
        now += 1 + pause
    operations.renew(now)  # by a reload
    assert operations.due < 0
    operations.begin(now).close()
    operations.ended("signal 9", now + STEADY)
    assert operations.due == now + STEADY
    assert operations.restarts == 4
    assert told.lines[1] == ("The operations process ended: signal 9. It is started in 0.5 s")


def test_the_first_word_says_that_it_is_at_work_and_silence_kills(told: Told) -> None:
    operations = make(Duty.OPERATING, told)
    theirs = operations.begin(0.0)
    silence = TERMS[Duty.OPERATING].silence
    assert operations.due == silence
    theirs.say("beat")
    assert [word.name for word in operations.listen(5.0)] == ["beat"]
    assert operations.state is AttendantState.WORKING
    assert operations.due == 5.0 + silence
    operations.excuse(50.0)  # everybody was stopped
    assert operations.due == 50.0 + silence
    theirs.close()
    operations.close()


def test_a_reload_replaces_it_at_once_and_that_is_no_failure(told: Told) -> None:
    operations = make(Duty.OPERATING, told)
    theirs = operations.begin(0.0)
    theirs.say("beat")
    operations.listen(1.0)
    operations.renew(2.0)
    assert operations.state is AttendantState.LEAVING
    assert [word.name for word in theirs.listen()] == ["retire"]
    operations.renew(3.0)  # another one: it is on its way already
    assert operations.due == 2.0 + LEAVES_WITHIN
    operations.ended("exit code 0", 4.0)
    assert (operations.state, operations.due) == (AttendantState.WAITING, 4.0)
    assert (operations.restarts, told.lines) == (0, [])
    operations.begin(4.0).close()
    operations.ended("signal 9", 5.0)
    assert operations.due == 5.0
    theirs.close()


def test_what_one_that_leaves_has_been_asked_is_heard(told: Told) -> None:
    """Whoever asked was told that it is accepted; and saying it does not keep it alive."""
    operations = make(Duty.OPERATING, told)
    theirs = operations.begin(0.0)
    theirs.say("beat")
    operations.listen(1.0)
    theirs.say("scale", "5")
    operations.renew(2.0)
    theirs.say("drain")
    assert [word.name for word in operations.listen(3.0)] == ["scale", "drain"]
    assert operations.state is AttendantState.LEAVING
    assert operations.due == 2.0 + LEAVES_WITHIN
    operations.close()
    theirs.close()


@pytest.mark.parametrize("is_stopping", [False, True])
def test_who_watches_files_is_not_started_again(told: Told, is_stopping: bool) -> None:
    watcher = make(Duty.WATCHING, told)
    watcher.begin(0.0).close()
    assert watcher.due == math.inf
    watcher.ended("exit code 1", 1.0, is_stopping=is_stopping)
    assert (watcher.state, watcher.due) == (AttendantState.OVER, math.inf)
    lament = "Files are not watched any more: restart to have them watched"
    assert told.lines == ([] if is_stopping else [lament])


def test_one_that_cannot_be_forked_waits_for_another_time(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> int:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr("wsgi_async.processes.forking.fork", refuse)
    operations = make(Duty.OPERATING, told)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of sockets that were left open
        assert not operations.start(1.0, lambda: None)
        assert not operations.start(1.0, lambda: None)
        gc.collect()
    assert (operations.state, operations.due) == (AttendantState.WAITING, 1.5)
    assert told.lines[-1] == (
        "The operations process ended: Resource temporarily unavailable. It is started in 0.5 s"
    )


def test_one_that_hangs_is_killed(told: Told) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with child, selectors.DefaultSelector() as selector:
        works: dict[Duty, Work | None] = {Duty.OPERATING: lambda channel: 0}
        attendants = Attendants(works, told, selector, lambda: None)
        [operations] = attendants
        operations.channel, theirs = Channel.pair()
        operations.enter(AttendantState.STARTING)
        operations.pid = child.pid
        silence = TERMS[Duty.OPERATING].silence
        attendants.tick(silence - 0.1)
        assert not told.lines
        assert attendants.next_time() == silence
        attendants.tick(silence)
        assert child.wait(TIMEOUT) == -signal.SIGKILL
        attendants.buried(child.pid, "signal 9", is_stopping=False)
        assert (operations.state, operations.pid) == (AttendantState.WAITING, 0)
        assert f"process {child.pid}) has not shown for 30 s that it lives" in told.lines[0]
        theirs.close()


def test_nobody_is_started_without_work(told: Told) -> None:
    with selectors.DefaultSelector() as selector:
        works: dict[Duty, Work | None] = {Duty.WATCHING: None, Duty.OPERATING: None}
        attendants = Attendants(works, told, selector, lambda: None)
        attendants.begin()
        assert list(attendants) == []
        assert attendants.next_time() == math.inf
        attendants.end()

"""What a supervisor does in moments that real processes cannot be made to meet."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from wsgi_async.events import Observer
from wsgi_async.processes import Channel, Supervisor, TimeLimits
from wsgi_async.processes.process import Process
from wsgi_async.processes.states import FleetState


class Told(Observer):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def error(self, message: str, error: BaseException | None = None) -> None:
        self.lines.append(message)


def test_who_is_up_as_it_is_told_to_stop_does_not_say_that_it_listens() -> None:
    """SIGTERM between the last first process's word and the look at it: the sockets are closed."""
    program: Any = SimpleNamespace(processes=1, limits=TimeLimits(60, 30, 30, 0, 5), preload=False)
    said: list[str] = []
    parent: Any = SimpleNamespace(
        watch=None,
        operate=None,
        take_census=None,
        close_sockets=lambda: said.append("closed"),
        started=lambda processes, loop: said.append("listening"),
    )
    notifier: Any = SimpleNamespace(
        watchdog_interval=None,
        ready=lambda status: said.append("ready"),
        stopping=lambda: said.append("stopping"),
    )
    supervisor = Supervisor(program, parent, Told(), notifier)
    process = Process(0, 0, 1, 0.0)
    supervisor._fleet.processes.append(process)
    supervisor._fleet.ready(process, 1.0)
    assert supervisor._fleet.state is FleetState.UP
    supervisor._fleet.drain(1.0)
    supervisor._fleet.tick(1.0)
    supervisor._act()
    assert said == ["closed", "stopping"]
    supervisor._selector.close()


def test_who_is_told_that_it_listens_finds_it_in_the_census() -> None:
    """A probe may be asked at once."""
    program: Any = SimpleNamespace(processes=1, limits=TimeLimits(60, 30, 30, 0, 5), preload=False)
    ready: list[int] = []
    parent: Any = SimpleNamespace(
        watch=None,
        operate=None,
        take_census=lambda census: ready.append(census.ready),
        started=lambda processes, loop: ready.append(-1),
    )
    notifier: Any = SimpleNamespace(watchdog_interval=None, ready=lambda status: None)
    supervisor = Supervisor(program, parent, Told(), notifier)
    process = Process(0, 0, 1, 0.0)
    supervisor._fleet.processes.append(process)
    supervisor._fleet.ready(process, 1.0)
    supervisor._act()
    assert ready[-2:] == [1, -1], "it is told last"
    supervisor._selector.close()


class Reaping(Supervisor):
    """One to whom the kernel gives a child that was killed, pid 4711."""

    def _ended(self) -> Iterator[tuple[int, int]]:
        yield 4711, 9


def test_a_loaders_child_that_dies_in_the_moment_it_says_who_it_is() -> None:
    """Between the look at its channel and the wait for it: its pid is known by its last word only,
    and the kernel tells of it once."""
    program: Any = SimpleNamespace(processes=1, limits=TimeLimits(60, 30, 30, 0, 5), preload=True)
    parent: Any = SimpleNamespace(
        watch=None,
        operate=None,
        take_census=None,
        forking=lambda number: None,
        gone=lambda number, pid: None,
        wanted=lambda processes, before: None,
        close_sockets=lambda: None,
    )
    notifier: Any = SimpleNamespace(watchdog_interval=None, stopping=lambda: None)
    observer = Told()
    supervisor = Reaping(program, parent, observer, notifier)
    process = Process(0, 0, 1, 0.0)
    supervisor._fleet.processes.append(process)
    ours, theirs = Channel.pair()
    supervisor._watch(process, ours)
    theirs.say("hello", "4711")
    theirs.close()
    supervisor._reap()
    assert process not in supervisor._fleet.processes
    supervisor._act()
    assert supervisor._fleet.exit_code == 3
    assert observer.lines == [
        "Process 4711 did not start: signal 9 (SIGKILL; out of memory, perhaps)"
    ]
    supervisor._selector.close()

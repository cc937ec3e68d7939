"""A fleet of processes as a story: what happens in, what is to be done out."""

from __future__ import annotations

import signal

from wsgi_async.processes.actions import Close, Interrupted, Kill, Note, Spawn, Tell
from wsgi_async.processes.fleet import Fleet, TimeLimits
from wsgi_async.processes.pauses import STEADY
from wsgi_async.processes.process import Process, ProcessState
from wsgi_async.processes.states import FleetState, Reload

LIMITS = TimeLimits(boot=60.0, beat=30.0, graceful=30.0, drain_delay=0.0, linger=5.0)


class Story:
    """A fleet, its clock, and everything it wanted done."""

    def __init__(self, wanted: int = 2, *, hasty: bool = False, **limits: float) -> None:
        self.now = 0.0
        self.fleet = Fleet(wanted, LIMITS._replace(**limits), hasty=hasty)
        self.spawned: list[Process] = []
        self.admitted: list[Process] = []
        """Those that were told to serve."""
        self.told: list[tuple[Process, str]] = []
        """Every other word."""
        self.killed: list[tuple[Process, signal.Signals]] = []
        self.said: list[str] = []
        self.patience: list[float] = []
        """What was said of how long a stop waits."""
        self.closed = 0
        self.fleet.start(self.now)
        self.act()

    def act(self) -> None:
        actions, self.fleet.actions = self.fleet.actions, []
        for action in actions:
            if isinstance(action, Spawn):
                self.spawned.append(action.process)
                action.process.pid = 1000 + len(self.spawned)
            elif isinstance(action, Tell) and action.word == "serve":
                self.admitted.append(action.process)
            elif isinstance(action, Tell):
                self.told.append((action.process, action.word))
                if action.word == "retire" and action.process not in self.deaf:
                    self.fleet.deaf(action.process, self.now)
            elif isinstance(action, Kill):
                self.killed.append((action.process, action.signal))
            elif isinstance(action, Note):
                assert action.level in ("info", "warning", "error")
                self.said.append(action.message)
            elif isinstance(action, Interrupted):
                self.patience.append(action.patience)
            elif isinstance(action, Close):
                self.closed += 1
        assert len({process.number for process in self.fleet.processes}) == len(
            self.fleet.processes
        )
        if self.fleet.actions:
            self.act()

    def ready(self, process: Process) -> None:
        self.fleet.ready(process, self.now)
        self.act()

    def exit(self, process: Process, code: int = 0, how: str = "somehow") -> None:
        self.fleet.exited(process, how, code, self.now)
        self.act()

    def pass_time(self, seconds: float) -> None:
        """As the supervisor does: a tick whenever the fleet asks for one. All of them beat."""
        until = self.now + seconds
        while self.now < until:
            self.now = min(until, max(self.fleet.next_time(), self.now + 0.01))
            for process in self.fleet.processes:
                if process not in self.deaf:
                    self.fleet.beat(process, self.now)
            self.fleet.tick(self.now)
            self.act()

    deaf: set[Process] = set()
    """Those that hear nothing, and say nothing."""

    @property
    def is_up(self) -> bool:
        return self.fleet.state is FleetState.UP

    @property
    def is_reloading(self) -> bool:
        return self.fleet.last_reload is Reload.UNDER_WAY

    def serving(self) -> list[Process]:
        return [process for process in self.fleet.processes if process.state is ProcessState.READY]

    @classmethod
    def up(cls, wanted: int = 2, *, hasty: bool = False, **limits: float) -> Story:
        """A fleet all of whose processes have been ready for a while."""
        story = cls(wanted, hasty=hasty, **limits)
        for process in list(story.spawned):
            story.ready(process)
        assert story.is_up
        story.pass_time(STEADY)
        story.spawned.clear()
        return story

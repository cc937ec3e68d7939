"""What all processes of a server have in common about its operations: made in the parent, before
any process is forked, and handed down by that.

Each part says in which process it is used, and none needs another process to be there.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, MutableMapping
from typing import TYPE_CHECKING

from wsgi_async._imports import StandardFirst
from wsgi_async.config.options import Config
from wsgi_async.config.surfaces import Surface
from wsgi_async.events import FanOut, Observer
from wsgi_async.operations.answers import METRICS, Answers
from wsgi_async.operations.counting import CountingObserver, begin
from wsgi_async.operations.exchange import Answering, Exchange
from wsgi_async.operations.log_level import LogLevel
from wsgi_async.processes import Census, FleetState
from wsgi_async.scoreboard import table
from wsgi_async.scoreboard.board import Scoreboard
from wsgi_async.scoreboard.register import FleetRow, ProcessRow, Register
from wsgi_async.server.insight import Insight

if TYPE_CHECKING:
    from wsgi_async.operations.app_metrics import ApplicationMetrics
    from wsgi_async.operations.journal import Journal
    from wsgi_async.operations.journaling import JournalObserver

    from .dashboard import Dashboard

__all__ = ["Handed", "put_census"]

RECORD_EVERY = 0.25
"""Seconds between two notes of when processes were heard of."""

Warn = Callable[[str], object]


class Handed:
    """*In the parent:* all of it.

    :param config: the options at the start.
    :raises OSError: the system does not give the memory, or the descriptors.
    :raises ConfigError: there is no token in the file that is to have it.
    """

    def __init__(self, config: Config) -> None:
        self.application: ApplicationMetrics | None = None
        """The application's own metrics, where there are metrics."""
        if Surface.METRICS in config.surfaces:
            with StandardFirst():  # prometheus_client is installed, and needed for this alone
                from wsgi_async.operations.app_metrics import ApplicationMetrics

            self.application = ApplicationMetrics(config.metrics_collector)
        self.exchange = Exchange()
        """Where processes that serve are asked."""
        self.board = Scoreboard()
        """What all processes count in."""
        self.register = Register()
        """Which processes there are."""
        self.log_level = LogLevel()
        """From which level on all of them log, where somebody has asked for one."""
        self._followed = self.log_level.asked
        self._recorder = _Recorder(self.register)
        begin(self.board.parent)
        self.journal: Journal | None = None
        """What goes wrong, where somebody is shown it."""
        self.dashboard: Dashboard | None = None
        """What the dashboard alone needs, where there is one."""
        with contextlib.ExitStack() as on_failure:
            on_failure.callback(self.close)
            if {Surface.CONTROL, Surface.DASHBOARD} & set(config.surfaces):
                from wsgi_async.operations.journal import Journal

                self.journal = Journal()
            if Surface.DASHBOARD in config.surfaces:
                from .dashboard import Dashboard

                self.dashboard = Dashboard(config)
            on_failure.pop_all()

    # --- in the parent -----------------------------------------------------------------------

    def take_census(self, census: Census) -> None:
        """Its fleet has changed, perhaps."""
        put_census(self.board, census)
        self._recorder.take(census)
        if self.log_level.asked != self._followed:
            self._followed = self.log_level.asked
            self.log_level.follow()

    def reloaded(self) -> None:
        """The options hold again."""
        self.log_level.forget()
        self.log_level.leave()
        self._followed = ""

    def gone(self, number: int) -> None:
        """A serving process has ended."""
        self.board.ended(number)

    def notes(self, log: Observer) -> Observer:
        """What to tell of the parent: the log, and the journal where there is one."""
        if self.journal is None:
            return log
        from wsgi_async.operations.journaling import NotingObserver

        return FanOut((log, NotingObserver(self.journal.send)), log.error)

    def close(self) -> None:
        """This process has no more to do with it. Harmless if repeated."""
        self.exchange.close()
        if self.application is not None:
            self.application.close()
        if self.journal is not None:
            self.journal.close()

    # --- in serving processes ----------------------------------------------------------------

    def install(self, environ: MutableMapping[str, str], warn: Warn) -> None:
        """*Before the application is imported.*"""
        if self.application is not None:
            self.application.install(environ, warn)

    def observer(self, number: int, warn: Warn) -> CountingObserver:
        """What counts for a process.

        :param number: the process's.
        :param warn: told where there is no room for it.
        """
        return CountingObserver(self.board.area(number, warn))

    def journaling(self, number: int) -> list[JournalObserver]:
        """What tells the journal of a process, if there is one.

        :param number: the process's.
        """
        if self.journal is None:
            return []
        from wsgi_async.operations.journaling import JournalObserver

        self.journal.hold()
        return [JournalObserver(self.journal.send, number)]

    def answer(self, number: int, insight: Callable[[], Insight | None]) -> None:
        """Answer the operations process from now on, in threads.

        :param number: the process's.
        :param insight: its server's; None before that has begun.
        """
        answers = Answers(number, insight).table
        if self.application is not None:
            answers = {**answers, METRICS: self.application.answer}
        self.log_level.follow()
        Answering(self.exchange, number, answers, self.log_level.follow).start()


def put_census(board: Scoreboard, census: Census) -> None:
    """*In the parent:* put its own words on the board."""
    area = board.parent
    area.set(table.WANTED, census.wanted)
    area.set(table.READY, census.ready)
    for state in FleetState:
        area.set(table.FLEET, census.state is state, state.name.lower())
    for restart, count in census.restarts.items():
        area.ints[area.index(table.RESTARTS, restart.value)] = count
    for asker, count in census.reloads.items():
        area.ints[area.index(table.RELOADS, asker.value)] = count
    area.ints[area.index(table.RELOADS_FAILED)] = census.failed_reloads
    area.ints[area.index(table.OPERATIONS_RESTARTS)] = census.operations_restarts


class _Recorder:
    """*In the parent:* writes the register: at once where something has changed, and now and then
    where only signs of life have come, for each of them brings a census of all processes.

    :param clock: seconds, monotonic.
    """

    def __init__(self, register: Register, clock: Callable[[], float] = time.monotonic) -> None:
        self._register = register
        self._clock = clock
        self._written: object = None
        self._write_at = -math.inf

    def take(self, census: Census) -> None:
        """So it is now."""
        fleet = FleetRow(
            census.state.name.lower(),
            census.reload.name.lower(),
            census.wanted,
            census.ready,
            census.generation,
        )
        who = [(each.number, each.pid, each.state) for each in census.processes]
        now = self._clock()
        if (fleet, who) == self._written and now < self._write_at:
            return
        self._written, self._write_at = (fleet, who), now + RECORD_EVERY
        self._register.write(fleet, _rows(census))


def _rows(census: Census) -> Iterator[ProcessRow]:
    for process in census.processes:
        yield ProcessRow(
            process.number,
            process.state.name.lower(),
            process.pid,
            process.place,
            process.generation,
            census.restarts_at.get(process.place, 0),
            process.started_at,
            process.ready_at,
            process.heard_at,
        )

"""What a thread that is no part of the loop can find out of a running server, and have it do: also
where the loop is blocked, of which it is told then, and where.

Whoever asks waits for the loop for half a second at most, and the loop for nobody.
"""

from __future__ import annotations

import asyncio
import enum
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from wsgi_async.connection.connections import Connections
from wsgi_async.connection.exchange import Exchange
from wsgi_async.system.stacks import stack_of
from wsgi_async.threads.pool import Running

from .application_loop import ApplicationLoopSide
from .in_flight import Entry, Table, stack_of_request, take_table, take_table_of_threads
from .interruption import BLOCKED, NO_LOOP, Interruption, interrupt

__all__ = ["PATIENCE", "Insight", "Look", "LoopStanding"]

PATIENCE = 0.5
"""Seconds for which the loop is waited for."""

R = TypeVar("R")


class LoopStanding(enum.Enum):
    """What a loop has to say to who asks."""

    RUNS = "it answers"
    BLOCKED = "it does not answer, for it does something else"
    OVER = "it has ended"


class Look(NamedTuple):
    """What there is to see of a server."""

    table: Table
    loop: LoopStanding
    loop_stack: list[str] | None
    """What a blocked loop is doing, as the lines of a traceback, outermost call first."""
    application_loop_stack: list[str] | None
    """Likewise, where code of the application blocks the application loop; None where none does."""


class _Job(Generic[R]):
    """Something that the loop is to do for another thread: in time, or never."""

    def __init__(self, work: Callable[[], R]) -> None:
        self._work = work
        self._lock = threading.Lock()
        """Held by whoever decides whether it is done."""
        self._is_called_off = False
        self.came_by = threading.Event()
        """Set once the loop has come by, whether it was in time or not."""
        self._outcome: list[R | Exception] = []

    def run(self) -> None:
        """*Loop.*"""
        try:
            with self._lock:
                if not self._is_called_off:
                    self._outcome.append(self._work())
        except Exception as error:  # whoever asked is told
            self._outcome.append(error)
        finally:
            self.came_by.set()

    def is_done_within(self, seconds: float) -> bool:
        """Whether it was done. If not, it will not be."""
        if not self.came_by.wait(seconds):
            with self._lock:  # which is held while it is done
                self._is_called_off = True
        return bool(self._outcome)

    @property
    def result(self) -> R:
        """What came of it, once it was done; or raises that."""
        [outcome] = self._outcome
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


class Insight:
    """See the module. *Any thread* but the loop's.

    :param loop: the server's.
    :param ident: of the thread that runs it.
    :param connections: the server's.
    :param application_loop: the server's side of it.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        ident: int,
        connections: Connections,
        application_loop: ApplicationLoopSide,
    ) -> None:
        self._loop = loop
        self._ident = ident
        self._connections = connections
        self._application_loop = application_loop
        self._overdue: _Job[Any] | None = None
        """The one for which the loop did not come by in time. Until it does no other one waits. Of
        two that are overdue at once, of two threads, either will do."""

    def look(self) -> Look:
        """The requests in flight."""
        connections = self._connections
        done = self._have_done(lambda: take_table(connections, self._loop.time()))
        blocked = self._application_loop.blocked_stack
        if isinstance(done, Table):
            return Look(done, LoopStanding.RUNS, None, blocked)
        stack = stack_of(self._ident) if done is LoopStanding.BLOCKED else None
        # The clock of both kinds of loop is this one. A blocked loop's own time stands still.
        return Look(take_table_of_threads(connections, time.monotonic()), done, stack, blocked)

    def interrupt(self, id: str) -> Interruption:
        """Break a request off, as ``interrupt_late`` does.

        :param id: as it is shown.
        """
        connections = self._connections
        done = self._have_done(lambda: interrupt(connections, id, self._loop.time()))
        if isinstance(done, Interruption):
            return done
        return BLOCKED if done is LoopStanding.BLOCKED else NO_LOOP

    def at_work(self) -> list[tuple[int, int]]:
        """Of each thread that works on a request, the ident and the system's number."""
        return self._connections.gateway.pool.at_work()

    def stacks(self, entries: Sequence[Entry]) -> list[list[str] | None]:
        """What the threads of these requests are doing, or what their asynchronous bodies await, as
        the lines of a traceback, outermost call first; None where a request has neither, or not any
        more."""
        stacks = [stack_of_request(entry) for entry in entries]
        # Who works on it still has done so all the time.
        now = {(thread.ident, thread.task) for thread in self._running()}
        return [
            stack if e.thread is None or (e.thread.ident, e.exchange) in now else None
            for e, stack in zip(entries, stacks, strict=True)
        ]

    def _running(self) -> list[Running[Exchange]]:
        return self._connections.gateway.pool.running()

    def _have_done(self, work: Callable[[], R]) -> R | LoopStanding:
        """Have the loop do something; or else why it has not, and will not."""
        overdue = self._overdue
        if overdue is not None:
            if not overdue.came_by.is_set():
                return LoopStanding.OVER if self._loop.is_closed() else LoopStanding.BLOCKED
            self._overdue = None
        job = _Job(work)
        try:
            self._loop.call_soon_threadsafe(job.run)
        except RuntimeError:  # it is closed
            return LoopStanding.OVER
        if job.is_done_within(PATIENCE):
            return job.result
        self._overdue = job
        return LoopStanding.BLOCKED

"""The subscriber that counts: it fills a process's area of the scoreboard.

All of it runs on the loop, so the area has one writer. What pool threads know of a request comes
with the wake that there is anyway (``ResponseInfo``); what the log's threads drop is asked for.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from wsgi_async.errors import Overload
from wsgi_async.events import CertificateInfo, Observer, RequestInfo, ResponseInfo
from wsgi_async.logs.setup import dropped
from wsgi_async.scoreboard import table
from wsgi_async.scoreboard.board import Area
from wsgi_async.scoreboard.table import ConnectionKind, ThreadKind
from wsgi_async.server.figures import Figures
from wsgi_async.system.usage import open_files, resident_memory

__all__ = ["CountingObserver", "begin"]

FILES_EVERY = 10
"""Of so many calls one counts the descriptors, which may take a while."""

_OVERLOADS = {overload.value: overload.name.lower() for overload in Overload}
"""What a client is told -> the label of what was full."""


def begin(area: Area) -> None:
    """The process of this area begins, whatever it does."""
    area.begin()
    area.set(table.UP, 1.0)
    area.set(table.STARTED, time.time())


class CountingObserver(Observer):
    """Counts what happens in a serving process. *Loop.*

    :param area: of this process, which begins with it.
    """

    wants_timings = True

    def __init__(self, area: Area) -> None:
        begin(area)
        area.set(table.IN_FLIGHT, 0.0)
        self._area = area
        self._ints = area.ints
        self._floats = area.floats
        # Of each method, the place of its first class of status.
        self._methods = {
            method: area.index(table.REQUESTS, method, table.STATUSES[0])
            for method in table.METHODS
        }
        self._other = self._methods[table.OTHER]
        self._in_flight = area.index(table.IN_FLIGHT)
        self._received = area.index(table.RECEIVED)
        self._sent = area.index(table.SENT)
        self._add_duration = area.histogram(table.DURATION).add
        self._add_queue = area.histogram(table.QUEUE).add
        self._add_app = area.histogram(table.APPLICATION).add
        self._add_cpu = area.histogram(table.CPU).add
        self._dropped = dropped()
        self._live_ends: Mapping[str, int] = {}
        self._samples = 0

    # --- events ------------------------------------------------------------------------------

    def request_started(self, request: RequestInfo) -> None:
        self._floats[self._in_flight] += 1.0

    def request_finished(self, request: RequestInfo, response: ResponseInfo) -> None:
        ints, floats = self._ints, self._floats
        floats[self._in_flight] -= 1.0
        ints[self._row(request.method, response.status)] += 1
        if size := response.body_size:
            ints[self._sent] += size
        if received := response.received:
            ints[self._received] += received
        self._add_duration(response.latency if response.was_live else response.duration)
        if (queue := response.queue) is not None:
            self._add_queue(queue)
        if (app := response.app) is not None:
            self._add_app(app)
        if (cpu := response.cpu) is not None:
            self._add_cpu(cpu)
        if not response.complete:
            self._area.add(table.CUT)
        if response.was_spooled:
            self._area.add(table.SPOOLED)
        if response.was_parked:
            self._area.add(table.PARKED)
        if response.is_given_up:
            self._area.add(table.GIVEN_UP)

    def _row(self, method: str, status: int) -> int:
        # PEP 3333 lets an application have any three digits.
        kind = status // 100 if 100 <= status < 600 else 5
        return self._methods.get(method, self._other) + kind - 1

    def request_refused(
        self,
        client: str,
        status: int,
        detail: str,
        request: RequestInfo | None = None,
        *,
        is_running: bool = False,
    ) -> None:
        reason = _OVERLOADS.get(detail) or table.REFUSALS.get(status, table.OTHER)
        self._area.add(table.REFUSED, reason)
        if not is_running:  # else it is told finished too
            self._ints[self._row(request.method if request is not None else "", status)] += 1

    def connection_dropped(self, client: str, why: str) -> None:
        self._area.add(table.DROPPED)

    def certificates(
        self, certificates: tuple[CertificateInfo, ...], *, are_renewed: bool = False
    ) -> None:
        if certificates:
            self._area.set(table.TLS_EXPIRY, min(each.not_after for each in certificates))

    def application_loop_blocked(self, seconds: float, stack: list[str]) -> None:
        self._area.add(table.LOOP_BLOCKS)

    # --- now and then ------------------------------------------------------------------------

    def sample(self, figures: Figures | None) -> None:
        """Note how full the process is, about once in ``SAMPLE_EVERY``.

        :param figures: what ``Server.figures()`` says.
        """
        area = self._area
        area.set(table.MEMORY, resident_memory())
        if self._samples % FILES_EVERY == 0:
            area.set(table.FILES, open_files())
        self._samples += 1
        gone = dropped()
        area.add(table.LOG_DROPPED, by=gone - self._dropped)
        self._dropped = gone
        if figures is None:
            return
        vitals = figures.vitals
        for kind, count in (
            (ThreadKind.BUSY, vitals.busy),
            (ThreadKind.IDLE, max(0, vitals.threads - vitals.busy)),
            (ThreadKind.ASIDE, figures.aside),
            (ThreadKind.LOST, vitals.lost),
        ):
            area.set(table.THREADS, count, kind.value)
        waiting = (
            (ConnectionKind.NEW, figures.new),
            (ConnectionKind.HEAD, figures.heads),
            (ConnectionKind.IDLE, figures.idle),
            (ConnectionKind.LINGERING, figures.lingering),
        )
        for state, count in waiting:
            area.set(table.CONNECTIONS, count, state.value)
        busy = vitals.connections - sum(count for _, count in waiting)
        area.set(table.CONNECTIONS, max(0, busy), ConnectionKind.BUSY.value)
        area.set(table.CONNECTIONS_LIMIT, figures.connections_limit)
        loop = vitals.application_loop
        area.set(table.LIVE, 0 if loop is None else loop.live)
        for end, total in figures.live_ends.items():
            area.add(table.LIVE_ENDED, end, by=total - self._live_ends.get(end, 0))
        self._live_ends = figures.live_ends
        area.set(table.QUEUED, vitals.queued)
        area.set(table.OLDEST_WAIT, vitals.oldest_wait)
        loop = vitals.application_loop
        area.set(table.LOOP_BLOCKED, 0.0 if loop is None else loop.blocked)
        for metric, limit, budget in (
            (table.BUFFERED, table.BUFFER_LIMIT, figures.budgets.memory),
            (table.SPOOL, table.SPOOL_LIMIT, figures.budgets.disk),
            (table.SPOOL_FILES, table.SPOOL_FILES_LIMIT, figures.budgets.files),
        ):
            area.set(metric, budget.used)
            area.set(limit, budget.limit)

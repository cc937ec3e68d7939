"""All connections of one server: the set, its cap, its end. Loop-owned, no I/O.

The server calls :meth:`Connections.tick` four times a second; nothing here makes a timer.
"""

from __future__ import annotations

import asyncio
import enum
import math
from collections.abc import Callable

from wsgi_async.buffers.budgets import Budgets
from wsgi_async.config.options import Config
from wsgi_async.config.response_fields import parse_fields
from wsgi_async.config.tls_options import parse_hosts
from wsgi_async.http.framing import Framer
from wsgi_async.http.limits import Limits
from wsgi_async.http.request import RequestHead
from wsgi_async.http.response import ResponseHead
from wsgi_async.http1.framing import HTTP1Framer
from wsgi_async.threads.pool import Task, ThreadPool

from .completions import Completions
from .dates import Dates
from .departures import Departure, Departures
from .exchange import Exchange
from .gateway import Gateway
from .open_connection import OpenConnection, Wait
from .paces import Paces
from .probes import Probes
from .proxy_fields import FieldsOf, nobody
from .queue_watch import QueueWatch
from .redirects import Redirects
from .request_timeouts import RequestTimeouts
from .server_variables import ServerVariables
from .slow_requests import SlowRequests
from .vitals import LoopVitals, Vitals, take_vitals
from .waits import Waits

__all__ = ["TICK", "Connections", "Phase", "make_framer"]

SERVER = "wsgi_async"
"""What the Server field says, without a version: it would help attackers only."""

TICK = 0.25
"""Seconds between two sweeps."""

REFUSAL_MARGIN = 64
"""Refused connections beyond the cap that get a lingering 503; others are just closed."""

SILENCE = 1.0
"""Seconds without a first byte after which a connection may be closed to make room."""

WARN_EVERY = 60.0
"""Seconds between two warnings that connections are refused."""


class Phase(enum.Enum):
    """How far a server's connections are from their end. It only ever goes forwards."""

    SERVING = "as ever"
    LEAVING = "each response says Connection: close, an idle client may still ask once more"
    """Nothing is cut off: whoever sends a request while the server leaves is answered, and told to
    ask elsewhere next time. New connections are served likewise."""
    DRAINING = "what is in flight is finished, idle and new connections are closed"

    __hash__ = object.__hash__


def make_framer(config: Config) -> HTTP1Framer:
    """What makes bytes of the responses of a server with these options."""
    return HTTP1Framer(*framer_arguments(config))


def framer_arguments(config: Config) -> tuple[str, tuple[tuple[str, str], ...]]:
    """What is in all of its responses, by whatever they are framed: see :class:`.FramedHeads`."""
    return SERVER if config.server_header else "", tuple(parse_fields(config.header))


def _nothing() -> None:
    return None


class Connections:
    """What the connections of one server share.

    :param config: the options.
    :param gateway: where requests go.
    :param io_pool: threads for reads that would have to wait for a disk.
    :param budgets: the bounds of the process.
    :param cap: open connections at most.
    :param refusals: refused connections beyond the cap that get a lingering 503.
    :param proxy_fields: what is done to the fields of proxies.
    """

    def __init__(
        self,
        config: Config,
        gateway: Gateway[Exchange],
        io_pool: ThreadPool[Task],
        budgets: Budgets,
        cap: int,
        refusals: int = REFUSAL_MARGIN,
        proxy_fields: FieldsOf = nobody,
    ) -> None:
        self.config = config
        self.keeps_alive = config.keep_alive > 0
        self.gateway = gateway
        self.io_pool = io_pool
        self.budgets = budgets
        self.cap = cap
        self.refusals = refusals
        self.proxy_fields = proxy_fields
        self.limits = Limits(
            config.limit_request_line,
            config.limit_request_fields,
            config.limit_request_field_size,
            config.max_header_size,
        )
        self.variables_at = ServerVariables(config).at
        self.open: set[OpenConnection] = set()
        self.refused: set[OpenConnection] = set()
        """Those of the open ones that are beyond the cap, and only there to read their 503; where
        there are probes, at their first request, for it may be one."""
        self.on_lost: Callable[[], object] | None = None
        """Called after each connection that is lost, if there is anybody."""
        self.loop_vitals: Callable[[], LoopVitals | None] = _nothing
        """How the application loop is, where there is one."""
        self._none_open = asyncio.Event()
        self.high_water = gateway.bounds.high_water
        self.low_water = self.high_water // 4
        self.waits = Waits(config)
        self.silent = self.waits[Wait.FIRST_BYTE].since
        """Those from which nothing has come yet, and since when."""
        self.paces = Paces(config)
        self.unread: Departures[OpenConnection] = Departures()
        """Connections from which nothing is read at present."""
        self.phase = Phase.SERVING
        self.probes = Probes(config) or None
        """The paths that the loop answers itself, if there are any."""
        self.redirects: Redirects | None = None
        """Where plain HTTP is sent, once :meth:`redirect_to` has said so."""
        self.answers_itself = self.probes is not None
        """Whether the loop answers some requests itself."""
        self._completions = Completions(gateway.pool)
        self.retry_after = self._completions.retry_after
        self.request_timeouts = RequestTimeouts(
            config, gateway.pool, gateway.observer, self.retry_after
        )
        self.queue_watch = QueueWatch(gateway.pool, gateway.observer)
        self._slow_requests: SlowRequests | None = None
        if config.slow_request:
            self._slow_requests = SlowRequests(config.slow_request, gateway.pool, gateway.observer)
        self.framer: Framer = make_framer(config)
        self._began = math.inf
        self.framer_arguments = framer_arguments(config)
        """For framers of other protocols."""
        self.dates = Dates(self.framer)
        """To be told of these."""
        self._warned_at = -math.inf

    def move_over(self, linger: float) -> None:
        """Go on with the connections there are, for a successor accepts the new ones: each
        response says that it was the last, and who stays idle for `linger` seconds is closed."""
        self.phase = Phase.LEAVING
        self.waits.shorten(linger)

    def all_closed(self) -> asyncio.Event:
        """An event that is set once the last connection has closed; for shutdown."""
        if self.open:
            self._none_open.clear()
        else:
            self._none_open.set()
        return self._none_open

    def replaced(self, place: OpenConnection) -> None:
        """Another one stands for its connection from now on: its handshake, or its protocol."""
        self.open.discard(place)
        self.refused.discard(place)

    def forget(self, connection: OpenConnection) -> None:
        """A connection is lost. Harmless if repeated."""
        self.waits.forget(connection)
        self.open.discard(connection)
        if self.refused:
            self.refused.discard(connection)
        if self.paces.looked:
            self.paces.forget(connection)
        if self.unread.descriptors:
            self.unread.discard(connection)
        if self.on_lost is not None:
            self.on_lost()
        if not self.open and self.phase is not Phase.SERVING:
            self._none_open.set()

    def tick(self, now: float, wall: float) -> None:
        """Refresh the Date, count completions, end what has waited too long.

        :param now: the loop's time.
        :param wall: seconds since the epoch.
        """
        self._began = min(self._began, now)
        self.dates.set(wall)
        self._completions.count(now)
        for connection, how in self.unread.look():
            if how is Departure.RESET:
                connection.client_has_gone()
            else:
                connection.client_has_ended()
        self.waits.end(now)
        self.paces.check(now)
        for pool in (self.gateway.pool, self.io_pool):
            pool.mend()
        self.gateway.mailbox.mend()
        self.queue_watch.look(now)
        self.request_timeouts.sweep_queue(now)
        if self._slow_requests is not None:
            self._slow_requests.look(now)

    def redirect_to(self, port: int) -> None:
        """Begin to send plain HTTP elsewhere, as ``redirect_to_https`` says.

        :param port: where TLS is spoken.
        """
        hosts = parse_hosts(self.config.redirect_to_https)
        if hosts:
            self.redirects = Redirects(hosts, port)
            self.answers_itself = True

    def answer_itself(self, exchange: Exchange, now: float) -> tuple[ResponseHead, bytes] | None:
        """The loop's own response to a request; None where it is the application's to answer.

        :raises HTTPError: nobody is to answer it.
        """
        head = exchange.head
        if self.probes is not None and self.probes.wants(head):
            return self._answer_probe(self.probes, head, now)
        if self.redirects is not None:
            scheme = exchange.connection.server_variables["wsgi.url_scheme"]
            return self.redirects.answer(head, scheme, exchange.origin)
        return None

    def _answer_probe(
        self, probes: Probes, head: RequestHead, now: float
    ) -> tuple[ResponseHead, bytes]:
        is_leaving = self.phase is not Phase.SERVING
        return probes.answer(head, self.vitals(now), is_leaving=is_leaving)

    def vitals(self, now: float) -> Vitals:
        """How the server is.

        :param now: the loop's time.
        """
        return take_vitals(
            self.gateway.pool,
            now,
            connections=len(self.open),
            uptime=now - self._began,
            neglected=self.queue_watch.seconds(now),
            application_loop=self.loop_vitals(),
        )

    def make_room(self, newcomer: OpenConnection, now: float) -> bool:
        """Where the cap is passed, close a connection that nobody misses.

        First one that has been silent from its beginning, for a while: a browser's spare one, or
        one of a crowd that wants to push the users out. Else the one that is idle the longest.

        :returns: False where there is none.
        """
        if len(self.open) - len(self.refused) <= self.cap:
            return True
        silent = self.waits[Wait.FIRST_BYTE].oldest(now - SILENCE, self.refused)
        idle = self.waits[Wait.REQUEST].oldest()
        victim = silent if silent is not None else idle
        if victim is None or victim is newcomer:
            return False
        victim.make_way()
        return True

    def warn_full(self, now: float) -> None:
        """Say that connections are refused, at most once a minute."""
        if now - self._warned_at >= WARN_EVERY:
            self._warned_at = now
            self.gateway.observer.warning(
                f"all {self.cap} connections are in use, new ones get 503; "
                "raise --max-connections or the limit of open files (ulimit -n)"
            )

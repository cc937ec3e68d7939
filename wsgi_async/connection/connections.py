"""All connections of one server: the set, its cap, the time limits, the Date. Loop-owned, no I/O.

The server calls :meth:`Connections.tick` four times a second; nothing here makes a timer.
"""

from __future__ import annotations

import asyncio
import enum
import math
from collections import deque
from collections.abc import Callable
from email.utils import formatdate
from functools import lru_cache
from typing import NamedTuple, Protocol

from wsgi_async.buffers.spool import Budgets
from wsgi_async.config.options import Config
from wsgi_async.http.head import Limits, RequestHead
from wsgi_async.http1.framing import Framer, ResponseHead
from wsgi_async.threads.pool import Task, ThreadPool
from wsgi_async.wsgi.environ import server_variables
from wsgi_async.wsgi.file_wrapper import FileWrapper

from .deadlines import Deadlines
from .departures import Departures
from .exchange import Exchange, Gateway
from .probes import Probes, Vitals
from .queue_watch import QueueWatch
from .request_timeouts import RequestTimeouts

__all__ = ["TICK", "Connections", "InFlight", "Phase", "Wait"]

TICK = 0.25
"""Seconds between two sweeps."""

LINGER_TIME = 2.0
"""Seconds for which a closing connection still reads, so that the kernel does not reset it and
the client gets the answer (RFC 9112 §9.6)."""

RATE_WINDOW = 10.0
"""Seconds over which completions are counted for Retry-After."""

RECOVERY = 30
"""Seconds for Retry-After while lost threads keep new requests out: nobody knows how long."""

PACE_CHECK = 1.0
"""Seconds between two looks at how a transfer moves, at most."""

REFUSAL_MARGIN = 64
"""Refused connections beyond the cap that get a lingering 503; others are just closed."""

SILENCE = 1.0
"""Seconds without a first byte after which a connection may be closed to make room."""

WARN_EVERY = 60.0
"""Seconds between two warnings that connections are refused."""


class Wait(enum.Enum):
    """What a connection is waiting for."""

    FIRST_BYTE = "the first byte of all"
    HEAD = "the rest of a request head"
    REQUEST = "another request"
    LINGER = "the client to close"

    __hash__ = object.__hash__  # Enum's own is Python code, and waits change twice a request


class Phase(enum.Enum):
    """How far a server's connections are from their end. It only ever goes forwards."""

    SERVING = "as ever"
    LEAVING = "each response says Connection: close, an idle client may still ask once more"
    """Nothing is cut off: whoever sends a request while the server leaves is answered, and told to
    ask elsewhere next time. New connections are served likewise."""
    DRAINING = "what is in flight is finished, idle and new connections are closed"

    __hash__ = object.__hash__


class InFlight(NamedTuple):
    """What a connection is busy with."""

    exchange: Exchange
    is_receiving: bool
    """Whether the request's body is still being collected."""
    sent: int
    """Bytes of the response's body that were given to the transport."""


def _do_nothing() -> None:
    pass


class OpenConnection(Protocol):
    """A connection, as far as this module knows it; see ``protocol.HTTPProtocol``."""

    @property
    def in_flight(self) -> InFlight | None: ...
    def wait_expired(self, wait: Wait) -> None: ...
    def check_pace(self, now: float) -> bool: ...
    def client_has_gone(self) -> None: ...
    def close_idle(self) -> bool: ...
    def make_way(self) -> None: ...
    def abort(self) -> None: ...


class Connections:
    """What the connections of one server share.

    :param config: the options.
    :param gateway: where requests go.
    :param io_pool: threads for reads that would have to wait for a disk.
    :param budgets: the bounds of the process.
    :param cap: open connections at most.
    :param refusals: refused connections beyond the cap that get a lingering 503.
    """

    def __init__(
        self,
        config: Config,
        gateway: Gateway,
        io_pool: ThreadPool[Task],
        budgets: Budgets,
        cap: int,
        refusals: int = REFUSAL_MARGIN,
    ) -> None:
        self.config = config
        self.keeps_alive = config.keep_alive > 0
        self.gateway = gateway
        self.io_pool = io_pool
        self.budgets = budgets
        self.cap = cap
        self.refusals = refusals
        self.limits = Limits(
            config.limit_request_line,
            config.limit_request_fields,
            config.limit_request_field_size,
            config.max_header_size,
        )
        # One dict for all connections to an address: a kilobyte less for each.
        self.variables_at = lru_cache(maxsize=64)(self._variables_at)
        self.open: set[OpenConnection] = set()
        self.refused: set[OpenConnection] = set()
        """Those of the open ones that are beyond the cap, and only there to read their 503; where
        there are probes, at their first request, for it may be one."""
        self.on_lost: Callable[[], object] = _do_nothing
        """Called after each connection that is lost."""
        self._none_open = asyncio.Event()
        self.waits: dict[Wait, Deadlines[OpenConnection]] = {
            Wait.FIRST_BYTE: Deadlines(config.header_timeout or math.inf),
            Wait.HEAD: Deadlines(config.header_timeout or math.inf),
            Wait.REQUEST: Deadlines(config.keep_alive),
            Wait.LINGER: Deadlines(LINGER_TIME),
        }
        self.moving: dict[OpenConnection, float] = {}
        """Connections in a transfer, and when each was last looked at; oldest look first."""
        self.unread: Departures[OpenConnection] = Departures()
        """Connections from which nothing is read at present."""
        self.phase = Phase.SERVING
        self.probes = Probes(config) or None
        """The paths that the loop answers itself, if there are any."""
        self.request_timeouts = RequestTimeouts(
            config, gateway.pool, gateway.observer, self.retry_after
        )
        self.queue_watch = QueueWatch(gateway.pool, gateway.observer)
        self.framer = Framer(b"Server: wsgi_async\r\n")
        self._began = math.inf
        self._date_second = 0
        self._completions: deque[tuple[float, int]] = deque()
        self._warned_at = -math.inf
        gaps = [gap / 4 for gap in (config.body_timeout, config.send_timeout) if gap]
        self._pace_check = min([PACE_CHECK, *gaps])

    def _variables_at(self, local: object) -> dict[str, object]:
        """What the requests to a local address find in their environ; not to be changed."""
        return server_variables(
            local,
            root_path=self.config.root_path,
            scheme="http",
            threads=self.config.threads,
            file_wrapper=FileWrapper,
            processes=self.config.workers,
        )

    def move_over(self, linger: float) -> None:
        """Go on with the connections there are, for a successor accepts the new ones: each
        response says that it was the last, and who stays idle for `linger` seconds is closed."""
        self.phase = Phase.LEAVING
        for wait in (Wait.FIRST_BYTE, Wait.REQUEST):
            self.waits[wait].timeout = min(self.waits[wait].timeout, linger)

    def all_closed(self) -> asyncio.Event:
        """An event that is set once the last connection has closed; for shutdown."""
        if self.open:
            self._none_open.clear()
        else:
            self._none_open.set()
        return self._none_open

    def forget(self, connection: OpenConnection) -> None:
        """A connection is lost. Harmless if repeated."""
        for deadlines in self.waits.values():
            deadlines.discard(connection)
        self.open.discard(connection)
        self.refused.discard(connection)
        self.moving.pop(connection, None)
        self.unread.discard(connection)
        self.on_lost()
        if not self.open and self.phase is not Phase.SERVING:
            self._none_open.set()

    def tick(self, now: float, wall: float) -> None:
        """Refresh the Date, count completions, end what has waited too long.

        :param now: the loop's time.
        :param wall: seconds since the epoch.
        """
        self._began = min(self._began, now)
        second = int(wall)
        if second != self._date_second:
            self._date_second = second
            self.framer.set_date(f"Date: {formatdate(second, usegmt=True)}\r\n".encode("ascii"))
        self._completions.append((now, self.gateway.pool.completed))
        while self._completions[0][0] < now - RATE_WINDOW:
            self._completions.popleft()
        for connection in self.unread.look():
            connection.client_has_gone()
        for wait, deadlines in self.waits.items():
            for connection in deadlines.expired(now):
                connection.wait_expired(wait)
        self._check_paces(now)
        for pool in (self.gateway.pool, self.io_pool):
            pool.mend()
        self.gateway.mailbox.mend()
        self.queue_watch.look(now)
        self.request_timeouts.sweep_queue(now)

    def _check_paces(self, now: float) -> None:
        due = []
        for connection, seen in self.moving.items():
            if seen > now - self._pace_check:
                break
            due.append(connection)
        for connection in due:
            del self.moving[connection]
            if not connection.check_pace(now):
                continue
            try:
                self.moving[connection] = now
            except MemoryError:
                connection.abort()  # nobody would look at it again

    def watch(self, connection: OpenConnection, now: float) -> None:
        """Have its ``check_pace`` called from time to time, until that returns False."""
        self.moving.setdefault(connection, now)

    def retry_after(self) -> int:
        """Seconds until the queue for threads may be empty, 1 to 60: its length by the rate of
        the last 10 s. While too many threads are lost, half a minute."""
        if self.gateway.pool.is_exhausted:
            return RECOVERY
        queued = self.gateway.pool.queued
        if not self._completions:
            return 1
        began, before = self._completions[0]
        now, count = self._completions[-1]
        done = count - before
        if done <= 0 or now <= began:
            return 60 if queued else 1
        return max(1, min(60, math.ceil(queued * (now - began) / done)))

    def vitals(self, now: float) -> Vitals:
        """How the server is."""
        pool = self.gateway.pool
        oldest = pool.oldest
        return Vitals(
            threads=pool.threads,
            busy=pool.busy,
            lost=pool.lost,
            queued=pool.queued,
            oldest_wait=now - oldest.waits_since if oldest is not None else 0.0,
            connections=len(self.open),
            uptime=now - self._began,
            neglected=self.queue_watch.seconds(now),
        )

    def answer_probe(self, head: RequestHead, now: float) -> tuple[ResponseHead, bytes]:
        """The response to a request that :attr:`probes` wants."""
        assert self.probes is not None
        is_leaving = self.phase is not Phase.SERVING
        return self.probes.answer(head, self.vitals(now), is_leaving=is_leaving)

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

"""A server between its start and its stop: sockets, threads, connections, and how they end.

On the loop. The public :class:`~wsgi_async.server.server.Server` makes one at each start.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import math
import resource
import select
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from wsgi_async.buffers.budgets import Budgets, require_directory
from wsgi_async.config.option import OFF
from wsgi_async.config.options import Config
from wsgi_async.connection.connections import TICK, WARN_EVERY, Connections, Phase
from wsgi_async.connection.exchange import Exchange
from wsgi_async.connection.gateway import Gateway, request_ids
from wsgi_async.connection.introduction import IntroducedProtocol, Introduction
from wsgi_async.connection.kinds import exchange_for, id_field_of
from wsgi_async.connection.probes import NEGLECTED
from wsgi_async.connection.protocol import HTTPProtocol
from wsgi_async.connection.redirects import HTTPS_PORT
from wsgi_async.connection.request_timeouts import SWEEP
from wsgi_async.connection.telling import application_for
from wsgi_async.connection.vitals import LoopVitals
from wsgi_async.events import Observer
from wsgi_async.http.request_id import new_request_id
from wsgi_async.system import forks
from wsgi_async.system.event_loop import hold_loop
from wsgi_async.system.sockets import (
    BoundSocket,
    bind,
    close_all,
    hold,
    https_port,
    listen,
    peer_uid,
)
from wsgi_async.system.spoken import Spoken
from wsgi_async.threads import (
    BlockedWriters,
    Mailbox,
    Overflow,
    Patience,
    ResponseBounds,
    SpoolTurns,
)
from wsgi_async.threads.pool import Call, Task, ThreadPool
from wsgi_async.tls.current import ContextSource
from wsgi_async.tls.facts import ENCRYPTED
from wsgi_async.wsgi.calling import direct
from wsgi_async.wsgi.environ import PEER_UID
from wsgi_async.wsgi.types import Application

from .acceptor import Acceptor, MakeProtocol
from .application_loop import ApplicationLoopSide
from .certificates import Certificates, own_source
from .connection_counts import OwnCount
from .descriptors import plan_descriptors
from .handshakes import Handshakes
from .introductions import Introductions
from .live_responses import LiveResponses
from .preface import Prefaces
from .proxy_fields import proxy_fields
from .repeating import Repeating
from .warm_up import warm_up

if TYPE_CHECKING:
    from .front_servers import FrontServers
    from .insight import Insight

__all__ = ["RunningServer"]

IO_THREADS = 2
"""Threads for reads of files that are not in the page cache."""

ACCEPT_TURNS = 4
"""Turns of the loop from the accept of a connection, through its count, to the end of a close."""

LAST_ACCEPTS = 0.25
"""Seconds in which a server that stops takes the connections that wait already, at most."""

CLOSE_TIME = 1.0
"""Seconds that threads get to close their iterables after the last client was dropped, and in
which a connection that was dropped must be gone."""


class RunningServer:
    """A server between its start and its stop."""

    def __init__(
        self,
        application: Application,
        config: Config,
        observer: Observer,
        max_lost: int,
        context_source: ContextSource | None = None,
    ) -> None:
        self.sockets: list[BoundSocket] = []
        self.no_linger = asyncio.Event()
        """Set to end a stop's wait for idle connections."""
        self.at_once = asyncio.Event()
        """Set to end the graceful part of a stop."""
        self._config = config
        self._protocol = Spoken(config.protocol)
        """What is spoken where a socket does not say."""
        self._observer = observer
        self._loop = loop = asyncio.get_running_loop()
        self._plan = plan = plan_descriptors(
            resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            max_connections=config.max_connections,
        )
        require_directory(config.spool_dir)
        budgets = Budgets(
            memory=config.max_buffer_size,
            disk=config.max_spool_size,
            files=plan.files,
            directory=config.spool_dir,
        )
        failure = budgets.probe_disk()
        if failure is not None:
            observer.warning(
                f"no temporary file can be made ({failure}): slow clients will hold threads; "
                "set --spool-dir"
            )
        self._pool: ThreadPool[Exchange] = ThreadPool(
            config.threads,
            config.queue_size,
            max_lost=max_lost,
            # Who asks for one thread may rely on it that nothing runs on another one.
            max_aside=config.waiting_threads if config.threads > 1 else 0,
            on_error=self._own_error,
            on_returned=Exchange.has_returned,
            soon=loop.call_soon,
        )
        self._io_pool: ThreadPool[Task] = ThreadPool(
            IO_THREADS, 0, name="wsgi_async-io", on_error=self._own_error
        )
        self._turns = SpoolTurns(self._is_crowded, lambda: self._pool.submitted)
        bounds = ResponseBounds(
            overflow=Overflow(config.response_overflow),
            memory=config.response_buffer,
            disk=config.spool_limit,
            budgets=budgets,
            blocked=BlockedWriters(config.threads // 2),
            others_wait=self._others_wait,
            patience=Patience(config.threads // 2),
            turns=self._turns,
            warn=_rarely(observer.error),
            in_background=self._in_background,
            stand_in=self._pool.stand_in,
        )
        id_field = id_field_of(config)
        exchange = exchange_for(observer, config)
        self.live = LiveResponses(
            config, observer, lambda: self.connections.retry_after(), loop.call_soon_threadsafe
        )
        gateway = Gateway(
            application=application_for(exchange, direct(application)),
            pool=self._pool,
            mailbox=Mailbox(loop.call_soon_threadsafe, self._own_error),
            bounds=bounds,
            observer=observer,
            # What goes on to other servers is to be unlike what those have made.
            next_id=request_ids() if id_field is None else new_request_id,
            exchange=exchange,
            id_field=id_field,
            live=self.live,
        )
        self.connections = Connections(
            config,
            gateway,
            self._io_pool,
            budgets,
            cap=plan.connections,
            refusals=plan.refusals,
            proxy_fields=proxy_fields(config, observer),
        )
        self._application_loop = ApplicationLoopSide(observer)
        self.connections.loop_vitals = self._loop_vitals
        self._thread = threading.get_ident()
        self.certificates: Certificates | None = None
        self._handshakes: Handshakes | None = None
        source = context_source or own_source(config, observer)
        if source is not None:
            self.certificates = Certificates(
                loop, source, self._in_background, observer, self._own_error
            )
            self._handshakes = Handshakes(loop, self.connections, self.certificates.current)
        self._prefaces: Prefaces | None = None
        if config.proxy_protocol != OFF:
            self._prefaces = Prefaces(
                loop, self.connections, Introductions(config), self._protocol_maker
            )
        self._holdings: list[forks.Holding] = []
        self._acceptor: Acceptor | None = None
        self._tick = Repeating(loop, TICK, self._look_after, self._own_error)
        self._sweep = Repeating(loop, SWEEP, self._give_up_late, self._own_error)

    @functools.cached_property
    def insight(self) -> Insight:
        """*Any thread.* Made for who asks: most servers need none."""
        from .insight import Insight

        return Insight(self._loop, self._thread, self.connections, self._application_loop)

    @functools.cached_property
    def _front_servers(self) -> FrontServers:
        """Made where one comes: most servers speak HTTP alone."""
        from .front_servers import FrontServers

        return FrontServers(self._loop, self.connections)

    @property
    def lost_threads(self) -> int:
        return self._pool.lost

    @property
    def is_stalled(self) -> bool:
        return self.connections.queue_watch.seconds(self._loop.time()) > NEGLECTED

    @property
    def requests(self) -> int:
        return self._pool.completed

    def _loop_vitals(self) -> LoopVitals | None:
        blocked = self._application_loop.blocked_for
        return None if blocked is None else LoopVitals(blocked, len(self.live))

    def _others_wait(self) -> bool:
        return self._pool.queued > 0

    def _is_crowded(self) -> bool:
        # A disk that cannot keep up may hold a thread for long.
        return self._others_wait() or self._pool.busy > self._config.threads // 2

    def _in_background(self, work: Callable[[], object]) -> None:
        self._io_pool.submit_urgent(Call(work))

    def _own_error(self, error: BaseException) -> None:
        # Whoever calls this goes on, also where there is no memory for a line of the log.
        with contextlib.suppress(Exception):
            self._observer.error("an error inside the server", error)

    async def start(
        self,
        sockets: Sequence[BoundSocket] | None,
        own_count: OwnCount | None,
        permission: Callable[[], Awaitable[object]] | None,
        deaf: Callable[[], object],
    ) -> None:
        """Bind, start the threads, warm up, accept."""
        self._deaf = deaf
        config = self._config
        if sockets is None:
            sockets = bind(
                config.bind,
                socket_mode=config.socket_mode,
                is_tls=self.certificates is not None,
                protocol=self._protocol,
            )
        self.sockets = list(sockets)
        self._holdings = [hold(self.sockets), forks.Holding(in_child=self._disown)]
        try:
            await hold_loop(self._holdings[-1])
            self._tick.start()
            self._pool.start()
            self._io_pool.start()
            await self._application_loop.begin(config.boot_timeout)
            for target in config.warmup:
                await warm_up(target, self._make_warming, config.boot_timeout)
            if config.request_timeout:
                self._sweep.start()  # the warm-up had a time limit of its own
            if config.redirect_to_https:  # the warm-up's own requests are plain HTTP
                self.connections.redirect_to(https_port(self.sockets) or HTTPS_PORT)
            if permission is not None:
                await permission()
            if own_count is None:
                for sock in self.sockets:
                    listen(sock, config.backlog)
            if self.certificates is not None:
                self.certificates.start()
            self._accept(own_count)
        except BaseException:
            self._close_listeners()
            self._stop_ticking()
            for pool in (self._pool, self._io_pool):
                pool.stop(lambda: None)
            self._let_go()
            await self._application_loop.end(0.0, self.at_once)
            raise

    def _disown(self) -> None:
        """*In a process that the application has forked.*"""
        self._application_loop.let_go()
        task = self._pool.own_task()
        if task is not None:
            task.disown()
        # What a thread of the application's own has forked off may know a client too.
        for connection in self.connections.open:
            in_flight = connection.in_flight
            if in_flight is not None and in_flight.exchange is not task:
                in_flight.exchange.disown_client()

    def _let_go(self) -> None:
        for holding in self._holdings:
            holding.release()

    def _make_protocol(self, peer: object) -> HTTPProtocol:
        return HTTPProtocol(self.connections, self._loop, peer)

    def _make_warming(self, peer: object) -> HTTPProtocol:
        """For a request of our own, which is in the clear: what the application is told is what its
        clients' requests will tell it."""
        if self.sockets and all(sock.is_tls for sock in self.sockets):
            introduction = Introduction(peer, tls=ENCRYPTED)
            return IntroducedProtocol(self.connections, self._loop, peer, introduction)
        return self._make_protocol(peer)

    def _begin(self, connection: socket.socket, peer: object) -> MakeProtocol | None:
        """What makes the protocol of a connection that was accepted, where that is not always the
        same; None where it is looked after."""
        spoken = getattr(connection, "protocol", self._protocol)
        if spoken is not Spoken.HTTP:
            return self._front_servers.begin(spoken, connection, peer)
        if self._prefaces is not None:
            return self._prefaces.begin(connection, peer)
        introduction = None
        if getattr(connection, "asks_who", False):
            introduction = Introduction(peer, variables={PEER_UID: peer_uid(connection)})
        return self._protocol_maker(connection, peer, introduction)

    def _protocol_maker(
        self, connection: socket.socket, peer: object, introduction: Introduction | None = None
    ) -> MakeProtocol:
        """What makes the protocol of a connection, with what a proxy has said of it."""
        # Whether it speaks TLS, its listener says; one that somebody else has accepted does where
        # there are certificates.
        if self._handshakes is not None and getattr(connection, "is_tls", True):
            return functools.partial(self._handshakes.begin, peer, introduction)
        if introduction is None:
            return functools.partial(self._make_protocol, peer)
        return functools.partial(
            IntroducedProtocol, self.connections, self._loop, peer, introduction
        )

    async def serve_once(self, connection: socket.socket, peer: object) -> None:
        """See :meth:`Server.serve_once`."""
        self.connections.phase = Phase.LEAVING
        connection.setblocking(False)
        self._holdings.append(forks.Holding(files=lambda: [connection]))
        make_protocol = self._begin(connection, peer)
        if make_protocol is not None:
            await self._loop.connect_accepted_socket(make_protocol, connection)
        await self.connections.all_closed().wait()

    def _accept(self, own_count: OwnCount | None) -> None:
        """Begin to accept: all there are, or a share of them beside other processes."""
        if not self.sockets:
            return
        connections = self.connections
        is_special = any(sock.asks_who for sock in self.sockets)
        if any(sock.protocol is not Spoken.HTTP for sock in self.sockets):
            is_special = bool(self._front_servers)  # made before the first of them comes
        is_introduced = self._prefaces or self._handshakes or is_special
        self._acceptor = acceptor = Acceptor(
            self._loop,
            self.sockets,
            functools.partial(HTTPProtocol, connections, self._loop),
            own_count,
            count_open=lambda: len(connections.open),
            warn=_rarely(self._observer.warning),
            preface=self._begin if is_introduced else None,
            needs_sockets=self._prefaces is not None,
            cap=self._plan.connections,
            at_once=self._plan.unseen // (ACCEPT_TURNS * len(self.sockets)),
        )
        if own_count is not None:
            connections.on_lost = acceptor.lost
        acceptor.start()

    def _close_listeners(self) -> None:
        if self._acceptor is not None:
            self._acceptor.close()
        for sock in self.sockets:
            sock.remove_file()  # while it is open, the inode number of its file is ours
        close_all(self.sockets)

    def tend(self) -> None:
        """See :meth:`Server.tend`."""
        for repeating in (self._tick, self._sweep, self.certificates):
            if repeating is not None:
                repeating.tend()

    def _look_after(self) -> None:
        now = self._loop.time()
        self.connections.tick(now, time.time())
        self.live.sweep(now)
        self._application_loop.look()
        self._turns.fill()
        if self._acceptor is not None:
            self._acceptor.tend()

    def _give_up_late(self) -> None:
        self.connections.request_timeouts.sweep(self._loop.time())

    def _stop_ticking(self) -> None:
        for repeating in (self._tick, self._sweep, self.certificates):
            if repeating is not None:
                repeating.stop()

    async def stop(self, graceful_timeout: float, linger: float) -> int:
        """See :meth:`Server.stop`."""
        deadline = self._loop.time() + graceful_timeout if graceful_timeout else math.inf
        connections = self.connections
        connections.phase = Phase.LEAVING
        # What is complete is to be sent before anybody is dropped.
        last = max(0.0, deadline - self._loop.time() - CLOSE_TIME)
        self.live.end_streams(min(self._config.live_grace, last), self._loop.call_later)
        if not linger:  # there may be nobody else to take them
            await self._accept_last()
        self._close_listeners()
        self._deaf()
        # What has arrived but was not read yet decides whether a connection is idle.
        for _ in range(ACCEPT_TURNS):
            await asyncio.sleep(0)
        if linger:
            connections.move_over(linger)
            until = min(deadline, self._loop.time() + linger + 2 * TICK)
            await self._wait(until, connections.all_closed(), self.no_linger)
        connections.phase = Phase.DRAINING
        in_flight = sum(not connection.close_idle() for connection in list(connections.open))
        self._observer.stopping(in_flight)
        await self._wait(deadline, connections.all_closed(), self.at_once)
        if connections.open:
            self.live.end_all()
        for connection in list(connections.open):
            connection.abort()
        # Each lost connection hands its suspended iterable to the pool to be closed: only after
        # the last of them may the pool end. So does each asynchronous body.
        await _wait_briefly(connections.all_closed())
        await self._wait(deadline, self.live.none_left(), self.at_once)
        self.live.end_all()
        await _wait_briefly(self.live.none_left())
        left = self.live.let_go()
        threads_ended, io_threads_ended = asyncio.Event(), asyncio.Event()
        self._pool.stop(lambda: self._tell(threads_ended))
        self._io_pool.stop(lambda: self._tell(io_threads_ended))
        await self._wait(deadline, threads_ended, self.at_once)
        # What threads still wait for on the application loop is cancelled.
        grace = max(0.0, deadline - self._loop.time())
        has_ended = await self._application_loop.end(grace, self.at_once)
        self.live.close_left()
        await _wait_briefly(threads_ended)
        await _wait_briefly(io_threads_ended)
        self._stop_ticking()
        self._let_go()
        return self._pool.alive + self._pool.lost + left + (not has_ended)

    async def _accept_last(self) -> None:
        """Take the connections that wait: the kernel resets those that it holds for a socket that
        is closed, and their clients may have sent a request already."""
        poll = select.poll()
        for sock in self.sockets:
            poll.register(sock, select.POLLIN)
        until = self._loop.time() + LAST_ACCEPTS
        while poll.poll(0) and not self.at_once.is_set():
            await asyncio.sleep(0)
            if self._loop.time() >= until:
                break

    def _tell(self, event: asyncio.Event) -> None:
        with contextlib.suppress(RuntimeError):  # a thread that returns late finds the loop closed
            self._loop.call_soon_threadsafe(event.set)

    async def _wait(self, deadline: float, *events: asyncio.Event) -> None:
        """Wait for the first of `events`, until the deadline."""
        waits = [asyncio.ensure_future(event.wait()) for event in events]
        timeout = None if deadline == math.inf else max(0.0, deadline - self._loop.time())
        await asyncio.wait(waits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)


async def _wait_briefly(event: asyncio.Event) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), CLOSE_TIME)


def _rarely(say: Callable[[str], None]) -> Callable[[str], None]:
    """Say the same thing, up to its colon, at most once in :data:`WARN_EVERY` seconds: a full disk
    is met by every response. *Any thread.*"""
    said_at: dict[str, float] = {}
    lock = threading.Lock()

    def say_rarely(message: str) -> None:
        topic = message.partition(":")[0]
        now = time.monotonic()
        with lock:
            if now - said_at.get(topic, -math.inf) < WARN_EVERY:
                return
            said_at[topic] = now
        say(message)

    return say_rarely

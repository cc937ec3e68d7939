"""One process's server: sockets, loop, connections, graceful shutdown.

A :class:`Server` touches no process-wide limit, and installs no signal handler unless
``serve_until_signalled`` is called; any number of them may live in one process.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from wsgi_async.config.calls import changed, make_config, refuse
from wsgi_async.config.gateways import trust_notices
from wsgi_async.config.option import Scope
from wsgi_async.config.options import Config
from wsgi_async.connection.connections import Phase
from wsgi_async.errors import ConfigError
from wsgi_async.events import INTERRUPTED_AFTER, FanOut, Observer
from wsgi_async.logs.observer import LogObserver
from wsgi_async.system.event_loop import loop_name, new_event_loop
from wsgi_async.system.greenlets import refuse_greenlets
from wsgi_async.system.sockets import BoundSocket, address_of, close_all
from wsgi_async.tls.current import ContextSource
from wsgi_async.wsgi.types import Application

from . import in_flight as inflight
from .connection_counts import OwnCount
from .figures import Figures, take_figures
from .running_server import RunningServer
from .signal_handling import serve_until_signalled

if TYPE_CHECKING:
    from .insight import Insight

__all__ = ["Server"]


def _nothing() -> None:
    """Nobody is to be told."""


class Server:
    """Serves one WSGI application from one process.

    ::

        async with Server(app, port=0) as server:      # in a loop that is already running
            print(server.port)

        with Server(app, port=0).run_in_thread() as server:
            print(server.port)

    :param application: the WSGI application.
    :param port: TCP port, 0 for any free one; default: that of the command line.
    :param host: default: 127.0.0.1 and [::1]; "" for all interfaces.
    :param config: all options at once, instead of `port`, `host` and `options`.
    :param observer: told what happens; default: a :class:`LogObserver`, which logs to
        ``wsgi_async``. With ``LogObserver(access=True)`` requests go to ``wsgi_async.access``.
    :param observers: told after it, in this order; see :mod:`wsgi_async.events`.
    :param options: the fields of :class:`Config` by name.
    :raises ConfigError: a wrong option.

    A server may be started again after it was stopped. All methods but :meth:`run_in_thread`,
    ``with``, :meth:`subscribe` and :attr:`insight` are for the loop's thread.
    """

    def __init__(
        self,
        application: Application,
        port: int | None = None,
        *,
        host: str | None = None,
        config: Config | None = None,
        observer: Observer | None = None,
        observers: Iterable[Observer] = (),
        **options: Any,
    ) -> None:
        if not callable(application):
            raise ConfigError(f"The application is not callable: {application!r}")
        if config is None:
            config = make_config(port, host, options)
            _refuse_what_nobody_follows(options)
        elif options or port is not None or host is not None:
            raise ConfigError("Give either config or single options")
        elif observer is None:  # a supervised one has the log of its process
            _refuse_what_nobody_follows(changed(config))
        self.application = application
        self.config = config
        if observer is None:
            observer = LogObserver()
        self.observer = FanOut((observer, *observers), LogObserver().error)
        """All that are told what happens, as one."""
        self.addresses: tuple[str, ...] = ()
        """Where it listens, such as ``http://127.0.0.1:8000``."""
        self.port: int | None = None
        """The TCP port it listens on, of the first address that has one."""
        self.is_supervised = False
        """Whether another process watches this one, and replaces it once too many threads are lost:
        then it goes on until so many more are. Set it before the start."""
        self.context_source: ContextSource | None = None
        """Where the contexts for TLS come from, where that is not the files of the options, which
        it looks at itself. Set it before the start."""
        self.stuck_threads = 0
        """After :meth:`stop`: pool threads that never returned from the application."""
        self._running: RunningServer | None = None
        self._requests = 0
        self._reports = inflight.Occasions(inflight.REPORT_EVERY)
        self._stopping: asyncio.Future[int] | None = None
        self._thread: contextlib.ExitStack | None = None

    def subscribe(self, observer: Observer) -> None:
        """*Any thread, before the start:* have one more told what happens, after the others.

        :raises ConfigError: it is no subscriber.
        :raises RuntimeError: it is running already.
        """
        if self._running is not None:
            raise RuntimeError("this server is running already: subscribe before its start")
        self.observer = FanOut((*self.observer.subscribers, observer), LogObserver().error)

    async def start(
        self,
        sockets: Sequence[BoundSocket] | None = None,
        own_count: OwnCount | None = None,
        permission: Callable[[], Awaitable[object]] | None = None,
        deaf: Callable[[], object] = _nothing,
    ) -> None:
        """Bind, start the threads, play ``warmup``, accept. Returns when connections are accepted.

        :param sockets: sockets that are bound already, shared with other processes, and another's
            to remove: those of a supervisor. None: the addresses of the configuration. An empty
            sequence: it accepts nothing itself, see :meth:`serve_once`.
        :param own_count: this process's part of a :class:`ConnectionCounts`, where it is to take
            its share of the connections and no more.
        :param permission: awaited before the first connection is accepted; what it raises ends
            the start.
        :param deaf: called at the stop, once no more connections are accepted.
        :raises ConfigError: an address cannot be had, or gevent has replaced the threads.
        :raises LoadError: the application did not answer its warm-up.
        :raises RuntimeError: it is running already.
        """
        if self._running is not None:
            raise RuntimeError("this server is running already")
        refuse_greenlets()
        max_lost = self.config.threads * (2 if self.is_supervised else 1)
        try:
            self._running = running = RunningServer(
                self.application, self.config, self.observer, max_lost, self.context_source
            )
        except BaseException:
            close_all(sockets or ())  # as it does where it fails later
            raise
        try:
            await running.start(sockets, own_count, permission, deaf)
        except BaseException:
            self._running = None
            raise
        if not self.is_supervised:  # else whoever looks after it has said so
            config = self.config
            for notice in trust_notices(
                config.bind, config.protocol, config.uwsgi_allow_from, is_given=False
            ):
                self.observer.warning(notice)
        self.addresses = tuple(map(address_of, running.sockets))
        tcp = (sock for sock in running.sockets if sock.family != socket.AF_UNIX)
        self.port = next((sock.getsockname()[1] for sock in tcp), None)
        self.observer.started(
            self.addresses, self.config.threads, self.loop_name, self.config.parser
        )

    async def serve_once(self, connection: socket.socket, peer: object = None) -> None:
        """Serve a connection that somebody else has accepted, as the last of this server, and
        return once it is closed; see ``sockets`` of :meth:`start`.

        :param connection: it is this server's from here on. It has one request where
            ``keep_alive`` is 0.
        :param peer: the client's address, as ``accept()`` returned it. None: the connection is
            asked, which cannot tell once it was reset.
        :raises RuntimeError: it is not running.
        """
        if self._running is None:
            raise RuntimeError("this server is not running")
        if peer is None:
            with contextlib.suppress(OSError):
                peer = connection.getpeername()
        await self._running.serve_once(connection, peer)

    @property
    def loop_name(self) -> str:
        """The kind of the loop that is running: ``uvloop`` or ``asyncio``."""
        return loop_name()

    def leave(self) -> None:
        """Go on serving, but say that this will end: ``ready_path`` is 503, and each response
        carries ``Connection: close``."""
        if self._running is not None:
            self._running.connections.phase = Phase.LEAVING

    async def stop(self, *, linger: float = 0.0) -> int:
        """Finish what is in flight, within ``graceful_timeout``, and stop.

        Idle connections are closed at once; one that has sent the first byte of a request head is
        in flight. At the timeout the remaining clients are dropped, and every iterable closed.
        Everybody who calls it waits for the same stop, which is finished also where one of them
        is cancelled.

        :param linger: seconds for which idle connections are kept all the same. Who sends a
            request meanwhile is answered, with ``Connection: close``.
        :returns: the number of threads that never returned from the application.
        """
        running = self._running
        if running is None:
            return 0
        if self._stopping is None:
            self._stopping = asyncio.ensure_future(self._stop(running, linger))
        return await asyncio.shield(self._stopping)

    async def _stop(self, running: RunningServer, linger: float) -> int:
        try:
            self.stuck_threads = await running.stop(self.config.graceful_timeout, linger)
        finally:
            self._requests = running.requests
            self._running = self._stopping = None
        self.observer.stopped(self.stuck_threads)
        return self.stuck_threads

    @property
    def is_tls(self) -> bool:
        """Whether TLS is spoken on sockets of which nothing else is said."""
        return bool(self.config.certfile) or self.context_source is not None

    @property
    def lost_threads(self) -> int:
        """Threads that were given up, see ``request_timeout``, and have not come back."""
        return self._running.lost_threads if self._running is not None else 0

    @property
    def is_stalled(self) -> bool:
        """Whether requests have been waiting for more than a second although a thread is idle."""
        return self._running is not None and self._running.is_stalled

    @property
    def requests(self) -> int:
        """Requests that the application has completed since the last start."""
        return self._running.requests if self._running is not None else self._requests

    def figures(self) -> Figures | None:
        """How full it is; None where it does not run."""
        if self._running is None:
            return None
        return take_figures(self._running.connections, asyncio.get_running_loop().time())

    def describe_in_flight(self) -> list[str]:
        """Lines of text for an operator: how many requests are in flight, and of each its age,
        where it stands, who asks for what, what was sent, and the stack of its thread; at most 200
        requests, the oldest first. Empty where it does not run."""
        running = self._running
        if running is None:
            return []
        return inflight.describe(running.connections, asyncio.get_running_loop().time())

    @property
    def insight(self) -> Insight | None:
        """*Any thread:* finds out what is in flight, also where the loop is blocked. None where it
        does not run."""
        running = self._running
        return None if running is None else running.insight

    def log_in_flight(self) -> None:
        """Log each request in flight, with the stack of its thread."""
        for line in self.describe_in_flight():
            self.observer.info(line)

    def report_in_flight(self) -> None:
        """The same, for a signal: at most once in 10 seconds."""
        if self._running is not None and self._reports.take():
            self.log_in_flight()

    def announce_wait(self) -> None:
        """Ctrl-C has come: tell the observer, if requests are in flight in a moment still."""
        loop, running = asyncio.get_running_loop(), self._running
        delay, limit = self.config.drain_delay, self.config.graceful_timeout

        def tell() -> None:
            if running is None or self._running is not running or running.at_once.is_set():
                return
            if running.connections.open:
                self.observer.interrupted(limit and delay + limit)

        loop.call_later(INTERRUPTED_AFTER, tell)

    def renew_certificates(self) -> None:
        """Look now whether there are new certificates, and not only in a few seconds. Those that
        are in force stay where the files are wrong, which is told."""
        if self._running is not None and self._running.certificates is not None:
            self._running.certificates.renew()

    def tend(self) -> None:
        """Look at whether it looks after its connections, four times a second; for whoever has a
        timer of his own. Memory that runs out may have cost it its own."""
        if self._running is not None:
            self._running.tend()

    def hurry(self) -> None:
        """Let a :meth:`stop` that is under way wait for idle connections no longer."""
        if self._running is not None:
            self._running.no_linger.set()

    def force(self) -> None:
        """Let a :meth:`stop` that is under way drop everybody now."""
        if self._running is not None:
            self._running.no_linger.set()
            self._running.at_once.set()

    async def serve_forever(self) -> None:
        """Start, unless it is started already, and serve until cancelled; then stop."""
        if self._running is None:
            await self.start()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await self.stop()

    async def serve_until_signalled(self) -> int:
        """Start, and stop at SIGTERM or SIGINT; a SIGINT after that, or SIGQUIT, drops everybody.
        SIGUSR1 reopens the log files, if any are the server's, and logs the requests in flight, at
        most once in 10 seconds; with ``certfile`` SIGHUP has the certificates looked at now.

        In a thread other than the main one there are no signals, and only cancelling ends it, or
        the end of the program: an interpreter that ends beneath a running loop may crash in it.

        :returns: what :meth:`stop` returns.
        """
        return await serve_until_signalled(self)

    async def __aenter__(self) -> Server:
        await self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.stop()

    @contextlib.contextmanager
    def run_in_thread(self) -> Iterator[Server]:
        """*Any thread:* serve from a thread with a loop of its own while the block runs.

        :raises ConfigError: an address cannot be had.
        """
        started = threading.Event()
        failures: list[BaseException] = []
        stop: list[Callable[[], object]] = []

        async def serve() -> None:
            stopping = asyncio.Event()
            loop = asyncio.get_running_loop()
            stop.append(lambda: loop.call_soon_threadsafe(stopping.set))
            await self.start()
            started.set()
            await stopping.wait()
            await self.stop()

        def run() -> None:
            try:
                with asyncio.Runner(loop_factory=new_event_loop) as runner:
                    runner.run(serve())
            except BaseException as error:
                failures.append(error)
            finally:
                started.set()

        thread = threading.Thread(target=run, name="wsgi_async-loop", daemon=True)
        thread.start()
        started.wait()
        try:
            if not failures:
                yield self
        finally:
            if not failures:
                with contextlib.suppress(RuntimeError):  # the loop has ended, and is closed
                    stop[0]()
            thread.join()
        if failures:
            raise failures[0]

    def __enter__(self) -> Server:
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.run_in_thread())
            self._thread = stack.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        assert self._thread is not None
        self._thread.close()


def _refuse_what_nobody_follows(options: Mapping[str, object]) -> None:
    refuse(options, Scope.PROCESS)
    refuse(options, Scope.FLEET)

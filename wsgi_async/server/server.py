"""One process's server: sockets, loop, connections, graceful shutdown.

A :class:`Server` touches no process-wide limit, and installs no signal handler unless
``serve_until_signalled`` is called; any number of them may live in one process.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import math
import os
import resource
import select
import signal
import socket
import threading
import time
import weakref
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, NamedTuple

from wsgi_async._imports import preload
from wsgi_async.buffers.spool import Budgets, require_directory
from wsgi_async.config.calls import make_config, refuse
from wsgi_async.config.option import Scope
from wsgi_async.config.options import Config
from wsgi_async.connection.connections import REFUSAL_MARGIN, TICK, WARN_EVERY, Connections, Phase
from wsgi_async.connection.exchange import Exchange, Gateway, request_ids
from wsgi_async.connection.probes import NEGLECTED
from wsgi_async.connection.protocol import HTTPProtocol
from wsgi_async.connection.request_timeouts import SWEEP
from wsgi_async.errors import ConfigError
from wsgi_async.events import Observer
from wsgi_async.logs import observer as logs
from wsgi_async.system import forks
from wsgi_async.system.greenlets import refuse_greenlets
from wsgi_async.system.sockets import BoundSocket, address_of, bind, close_all, hold, listen
from wsgi_async.threads import BlockedWriters, Mailbox, Overflow, ResponseBounds
from wsgi_async.threads.pool import Call, Task, ThreadPool
from wsgi_async.wsgi.response import Application, direct

from . import in_flight as inflight
from .acceptor import Acceptor
from .connection_counts import OwnCount
from .repeating import Repeating
from .stopping import Order, obey
from .warm_up import warm_up

__all__ = ["DescriptorPlan", "Server", "new_event_loop", "plan_descriptors"]

IO_THREADS = 2
"""Threads for reads of files that are not in the page cache."""

ACCEPT_TURNS = 4
"""Turns of the loop from the accept of a connection, through its count, to the end of a close."""

LAST_ACCEPTS = 0.25
"""Seconds in which a server that stops takes the connections that wait already, at most."""

NOTICE = 0.5
"""Seconds after Ctrl-C from which on it is said what the stop waits for."""

CLOSE_TIME = 1.0
"""Seconds that threads get to close their iterables after the last client was dropped, and in
which a connection that was dropped must be gone."""


class DescriptorPlan(NamedTuple):
    """How the process's file descriptors are shared out, so that none is ever refused."""

    connections: int
    files: int
    """Temporary files and files being sent."""
    refusals: int
    """Connections beyond those that are open until they have read their 503."""
    unseen: int
    """Connections that are accepted and not counted yet, or closed and not gone yet."""


def plan_descriptors(limit: int, *, max_connections: int) -> DescriptorPlan:
    """Share out `limit` descriptors; a tenth is left to the application.

    :param limit: the soft RLIMIT_NOFILE.
    :param max_connections: what was asked for; 0 takes what there is.
    :raises ConfigError: `max_connections` cannot be had.
    """
    reserve = max(40, limit // 10)
    files = min(4096, limit // 4)
    refusals = min(REFUSAL_MARGIN, limit // 16)
    unseen = max(16, min(1024, limit // 8))
    possible = limit - reserve - files - refusals - unseen
    if possible < 1:
        raise ConfigError(f"{limit} open files are too few; raise the limit (ulimit -n)")
    if max_connections > possible:
        raise ConfigError(
            f"--max-connections {max_connections} does not fit into {limit} open files, "
            f"which allow {possible}; raise the limit (ulimit -n)"
        )
    return DescriptorPlan(max_connections or possible, files, refusals, unseen)


_LATE = (
    "concurrent.futures.thread",
    "encodings.idna",
    "importlib.metadata",
    "uvloop",
)


def import_late_modules() -> None:
    """Import what this package and the standard library import only when it is needed: by then an
    application's directory may be first on the path."""
    preload(*_LATE)


def new_event_loop() -> asyncio.AbstractEventLoop:
    """A uvloop where it is installed, else asyncio's own loop."""
    import_late_modules()
    try:
        import uvloop
    except ImportError:
        loop = asyncio.new_event_loop()
    else:
        loop = uvloop.new_event_loop()
    _own_loops.add(loop)
    return loop


_own_loops: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()


async def _hold_loop(holding: forks.Holding) -> None:
    """Have a loop of our own not pass on to processes that the application forks. A loop of the
    program around this is the program's."""
    loop = asyncio.get_running_loop()
    if loop not in _own_loops:
        return
    ends = [getattr(loop, name) for name in ("_ssock", "_csock") if hasattr(loop, name)]
    holding.files = lambda: ends
    reader, writer = os.pipe()
    try:
        loop.add_reader(reader, lambda: None)
        for _ in range(2):  # until the loop watches it
            await asyncio.sleep(0)
        holding.descriptors = forks.poller_of(reader)
        loop.remove_reader(reader)
    finally:
        os.close(reader)
        os.close(writer)


def _before_runner(handler: Any) -> Any:
    """What was in force before ``asyncio.Runner`` put its own handler of SIGINT there."""
    of = getattr(getattr(handler, "func", None), "__self__", None)
    return signal.default_int_handler if isinstance(of, asyncio.Runner) else handler


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
    :param options: the fields of :class:`Config` by name.
    :raises ConfigError: a wrong option.

    A server may be started again after it was stopped. All methods but :meth:`run_in_thread` and
    ``with`` are for the loop's thread.
    """

    def __init__(
        self,
        application: Application,
        port: int | None = None,
        *,
        host: str | None = None,
        config: Config | None = None,
        observer: Observer | None = None,
        **options: Any,
    ) -> None:
        if not callable(application):
            raise ConfigError(f"The application is not callable: {application!r}")
        if config is None:
            config = make_config(port, host, options)
        elif options or port is not None or host is not None:
            raise ConfigError("Give either config or single options")
        self.application = application
        self.config = config
        if observer is None:
            refuse(options, Scope.PROCESS)
            refuse(options, Scope.FLEET)
            observer = logs.LogObserver()
        self.observer = observer
        self.addresses: tuple[str, ...] = ()
        """Where it listens, such as ``http://127.0.0.1:8000``."""
        self.port: int | None = None
        """The TCP port it listens on, of the first address that has one."""
        self.is_supervised = False
        """Whether another process watches this one, and replaces it once too many threads are lost:
        then it goes on until so many more are. Set it before the start."""
        self.stuck_threads = 0
        """After :meth:`stop`: pool threads that never returned from the application."""
        self._process: _Process | None = None
        self._requests = 0
        self._stopping: asyncio.Future[int] | None = None
        self._thread: contextlib.ExitStack | None = None

    async def start(
        self,
        sockets: Sequence[BoundSocket] | None = None,
        slot: OwnCount | None = None,
        permission: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        """Bind, start the threads, play ``warmup``, accept. Returns when connections are accepted.

        :param sockets: sockets that are bound already, shared with other processes, and another's
            to remove: those of a supervisor. None: the addresses of the configuration. An empty
            sequence: it accepts nothing itself, see :meth:`serve_once`.
        :param slot: this process's part of a :class:`ConnectionCounts`, where it is to take
            its share of the connections and no more.
        :param permission: awaited before the first connection is accepted; what it raises ends
            the start.
        :raises ConfigError: an address cannot be had, or gevent has replaced the threads.
        :raises LoadError: the application did not answer its warm-up.
        :raises RuntimeError: it is running already.
        """
        if self._process is not None:
            raise RuntimeError("this server is running already")
        refuse_greenlets()
        max_lost = self.config.threads * (2 if self.is_supervised else 1)
        self._process = process = _Process(self.application, self.config, self.observer, max_lost)
        try:
            await process.start(sockets, slot, permission)
        except BaseException:
            self._process = None
            raise
        self.addresses = tuple(map(address_of, process.sockets))
        tcp = (sock for sock in process.sockets if sock.family != socket.AF_UNIX)
        self.port = next((sock.getsockname()[1] for sock in tcp), None)
        if not self.is_supervised:
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
        if self._process is None:
            raise RuntimeError("this server is not running")
        if peer is None:
            with contextlib.suppress(OSError):
                peer = connection.getpeername()
        await self._process.serve_once(connection, peer)

    @property
    def loop_name(self) -> str:
        """The kind of the loop that is running: ``uvloop`` or ``asyncio``."""
        module = type(asyncio.get_running_loop()).__module__
        return "uvloop" if module.startswith("uvloop") else "asyncio"

    def leave(self) -> None:
        """Go on serving, but say that this will end: ``ready_path`` is 503, and each response
        carries ``Connection: close``."""
        if self._process is not None:
            self._process.connections.phase = Phase.LEAVING

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
        process = self._process
        if process is None:
            return 0
        if self._stopping is None:
            self._stopping = asyncio.ensure_future(self._stop(process, linger))
        return await asyncio.shield(self._stopping)

    async def _stop(self, process: _Process, linger: float) -> int:
        try:
            self.stuck_threads = await process.stop(self.config.graceful_timeout, linger)
        finally:
            self._requests = process.requests
            self._process = self._stopping = None
        self.observer.stopped(self.stuck_threads)
        return self.stuck_threads

    @property
    def lost_threads(self) -> int:
        """Threads that were given up, see ``request_timeout``, and have not come back."""
        return self._process.lost_threads if self._process is not None else 0

    @property
    def is_stalled(self) -> bool:
        """Whether requests have been waiting for more than a second although a thread is idle."""
        return self._process is not None and self._process.is_stalled

    @property
    def requests(self) -> int:
        """Requests that the application has completed since the last start."""
        return self._process.requests if self._process is not None else self._requests

    def describe_in_flight(self) -> list[str]:
        """Lines of text for an operator: how many requests are in flight, and of each its age,
        where it stands, who asks for what, what was sent, and the stack of its thread; at most 200
        requests, the oldest first. Empty where it does not run."""
        process = self._process
        if process is None:
            return []
        return inflight.describe(process.connections, asyncio.get_running_loop().time())

    def log_in_flight(self) -> None:
        """Log each request in flight, with the stack of its thread."""
        for line in self.describe_in_flight():
            self.observer.info(line)

    def announce_wait(self) -> None:
        """Ctrl-C has come: tell the observer, if requests are in flight in a moment still."""
        loop, process = asyncio.get_running_loop(), self._process
        delay, limit = self.config.drain_delay, self.config.graceful_timeout

        def tell() -> None:
            if process is None or self._process is not process or process.at_once.is_set():
                return
            if process.connections.open:
                self.observer.interrupted(limit and delay + limit)

        loop.call_later(NOTICE, tell)

    def tend(self) -> None:
        """Look at whether it looks after its connections, four times a second; for whoever has a
        timer of his own. Memory that runs out may have cost it its own."""
        if self._process is not None:
            self._process.tend()

    def hurry(self) -> None:
        """Let a :meth:`stop` that is under way wait for idle connections no longer."""
        if self._process is not None:
            self._process.no_linger.set()

    def force(self) -> None:
        """Let a :meth:`stop` that is under way drop everybody now."""
        if self._process is not None:
            self._process.no_linger.set()
            self._process.at_once.set()

    async def serve_forever(self) -> None:
        """Start, unless it is started already, and serve until cancelled; then stop."""
        if self._process is None:
            await self.start()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await self.stop()

    async def serve_until_signalled(self) -> int:
        """Start, and stop at SIGTERM or SIGINT; a SIGINT after that, or SIGQUIT, drops everybody.
        SIGUSR1 reopens the log files, if any are the server's, and logs the requests in flight.

        In a thread other than the main one there are no signals, and only cancelling ends it, or
        the end of the program: an interpreter that ends beneath a running loop may crash in it.

        :returns: what :meth:`stop` returns.
        """
        loop = asyncio.get_running_loop()
        orders: asyncio.Queue[Order] = asyncio.Queue()

        def drain() -> None:
            orders.put_nowait(Order.DRAIN)
            asked.append(Order.DRAIN)

        def interrupt() -> None:
            orders.put_nowait(Order.NOW if asked else Order.DRAIN)
            if not asked:
                self.announce_wait()
            asked.append(Order.DRAIN)

        def report() -> None:
            logs.reopen()
            self.log_in_flight()

        asked: list[Order] = []
        handlers = {
            signal.SIGTERM: drain,
            signal.SIGINT: interrupt,
            signal.SIGQUIT: lambda: orders.put_nowait(Order.NOW),
            signal.SIGUSR1: report,
        }
        is_main = threading.current_thread() is threading.main_thread()
        previous = {number: signal.getsignal(number) for number in handlers} if is_main else {}
        for number in previous:
            loop.add_signal_handler(number, handlers[number])
            forks.take_signal(number, None, _before_runner(previous[number]))
        thread = threading.current_thread()

        def end_with_program() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(orders.put_nowait, Order.NOW)
            with contextlib.suppress(AssertionError, RuntimeError):  # a thread made in C
                thread.join(CLOSE_TIME)

        if not is_main:
            atexit.register(end_with_program)
        try:
            await self.start()
            return await obey(self, orders, drain_delay=self.config.drain_delay)
        finally:
            await self.stop()
            atexit.unregister(end_with_program)
            for number, handler in previous.items():
                forks.drop_signal(number)
                loop.remove_signal_handler(number)
                if handler is not None:  # None: it was not installed by Python
                    signal.signal(number, handler)

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


class _Process:
    """A server between its start and its stop."""

    def __init__(
        self, application: Application, config: Config, observer: Observer, max_lost: int
    ) -> None:
        self.sockets: list[BoundSocket] = []
        self.no_linger = asyncio.Event()
        """Set to end a stop's wait for idle connections."""
        self.at_once = asyncio.Event()
        """Set to end the graceful part of a stop."""
        self._config = config
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
            on_error=self._own_error,
            on_returned=Exchange.has_returned,
            soon=loop.call_soon,
        )
        self._io_pool: ThreadPool[Task] = ThreadPool(
            IO_THREADS, 0, name="wsgi_async-io", on_error=self._own_error
        )
        bounds = ResponseBounds(
            overflow=Overflow(config.response_overflow),
            memory=config.response_buffer,
            disk=config.spool_limit,
            budgets=budgets,
            blocked=BlockedWriters(config.threads // 2),
            others_wait=lambda: self._pool.queued > 0,
            warn=_rarely(observer.error),
            in_background=lambda work: self._io_pool.submit_urgent(Call(work)),
        )
        gateway = Gateway(
            direct(application),
            self._pool,
            Mailbox(loop.call_soon_threadsafe, self._own_error),
            bounds,
            observer,
            request_ids(),
        )
        self.connections = Connections(
            config, gateway, self._io_pool, budgets, plan.connections, plan.refusals
        )
        self._holdings: list[forks.Holding] = []
        self._acceptor: Acceptor | None = None
        self._tick = Repeating(loop, TICK, self._look_after, self._own_error)
        self._sweep = Repeating(loop, SWEEP, self._give_up_late, self._own_error)

    @property
    def lost_threads(self) -> int:
        return self._pool.lost

    @property
    def is_stalled(self) -> bool:
        return self.connections.queue_watch.seconds(self._loop.time()) > NEGLECTED

    @property
    def requests(self) -> int:
        return self._pool.completed

    def _own_error(self, error: BaseException) -> None:
        # Whoever calls this goes on, also where there is no memory for a line of the log.
        with contextlib.suppress(Exception):
            self._observer.error("an error inside the server", error)

    async def start(
        self,
        sockets: Sequence[BoundSocket] | None,
        slot: OwnCount | None,
        permission: Callable[[], Awaitable[object]] | None,
    ) -> None:
        """Bind, start the threads, warm up, accept."""
        config = self._config
        if sockets is None:
            sockets = bind(config.bind, socket_mode=config.socket_mode)
        self.sockets = list(sockets)
        self._holdings = [hold(self.sockets), forks.Holding(in_child=self._disown)]
        try:
            await _hold_loop(self._holdings[-1])
            self._tick.start()
            self._pool.start()
            self._io_pool.start()
            for target in config.warmup:
                await warm_up(target, self._make_protocol, config.boot_timeout)
            if config.request_timeout:
                self._sweep.start()  # the warm-up had a time limit of its own
            if permission is not None:
                await permission()
            if slot is None:
                for sock in self.sockets:
                    listen(sock, config.backlog)
            self._accept(slot)
        except BaseException:
            self._close_listeners()
            self._stop_ticking()
            for pool in (self._pool, self._io_pool):
                pool.stop(lambda: None)
            self._let_go()
            raise

    def _disown(self) -> None:
        """*In a process that the application has forked.*"""
        task = self._pool.own_task()
        if task is not None:
            task.disown()

    def _let_go(self) -> None:
        for holding in self._holdings:
            holding.release()

    def _make_protocol(self, peer: object) -> HTTPProtocol:
        return HTTPProtocol(self.connections, self._loop, peer)

    async def serve_once(self, connection: socket.socket, peer: object) -> None:
        """See :meth:`Server.serve_once`."""
        self.connections.phase = Phase.LEAVING
        connection.setblocking(False)
        self._holdings.append(forks.Holding(files=lambda: [connection]))
        make_protocol = functools.partial(self._make_protocol, peer)
        await self._loop.connect_accepted_socket(make_protocol, connection)
        await self.connections.all_closed().wait()

    def _accept(self, slot: OwnCount | None) -> None:
        """Begin to accept: all there are, or a share of them beside other processes."""
        if not self.sockets:
            return
        connections = self.connections
        self._acceptor = acceptor = Acceptor(
            self._loop,
            self.sockets,
            self._make_protocol,
            slot,
            count_open=lambda: len(connections.open),
            warn=_rarely(self._observer.warning),
            cap=self._plan.connections,
            at_once=self._plan.unseen // (ACCEPT_TURNS * len(self.sockets)),
        )
        if slot is not None:
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
        for repeating in (self._tick, self._sweep):
            repeating.tend()

    def _look_after(self) -> None:
        self.connections.tick(self._loop.time(), time.time())
        if self._acceptor is not None:
            self._acceptor.tend()

    def _give_up_late(self) -> None:
        self.connections.request_timeouts.sweep(self._loop.time())

    def _stop_ticking(self) -> None:
        for repeating in (self._tick, self._sweep):
            repeating.stop()

    async def stop(self, graceful_timeout: float, linger: float) -> int:
        """See :meth:`Server.stop`."""
        deadline = self._loop.time() + graceful_timeout if graceful_timeout else math.inf
        connections = self.connections
        connections.phase = Phase.LEAVING
        if not linger:  # there may be nobody else to take them
            await self._accept_last()
        self._close_listeners()
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
        for connection in list(connections.open):
            connection.abort()
        # Each lost connection hands its suspended iterable to the pool to be closed: only after
        # the last of them may the pool end.
        await _wait_briefly(connections.all_closed())
        threads_ended, io_threads_ended = asyncio.Event(), asyncio.Event()
        self._pool.stop(lambda: self._tell(threads_ended))
        self._io_pool.stop(lambda: self._tell(io_threads_ended))
        await self._wait(deadline, threads_ended, self.at_once)
        await _wait_briefly(threads_ended)
        await _wait_briefly(io_threads_ended)
        self._stop_ticking()
        self._let_go()
        return self._pool.alive + self._pool.lost

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

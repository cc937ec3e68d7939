"""A server without sockets: connections on fake transports, a real pool, the test as the loop.

Every byte that a connection writes is read by h11 as a client would, and at the end of every
test nothing may be left: no connection, no budget in use, no illegal change of state.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any

from judge import Answer, Judge
from watched_pools import WatchedPool

from wsgi_async.buffers.budgets import Budgets
from wsgi_async.config.options import Config
from wsgi_async.connection.connections import TICK, Connections, Phase
from wsgi_async.connection.gateway import Gateway, request_ids
from wsgi_async.connection.kinds import exchange_for, id_field_of
from wsgi_async.connection.protocol import HTTPProtocol
from wsgi_async.connection.request_timeouts import SWEEP
from wsgi_async.connection.states import ConnectionState
from wsgi_async.connection.telling import application_for
from wsgi_async.events import FanOut, Observer, RequestInfo, ResponseInfo
from wsgi_async.http1 import reader as http1
from wsgi_async.server.proxy_fields import proxy_fields
from wsgi_async.testing import FakeLoop, FakeTransport
from wsgi_async.threads import (
    BlockedWriters,
    Mailbox,
    Overflow,
    Patience,
    ResponseBounds,
    SpoolTurns,
)

TIMEOUT = 10.0
WALL = 784111777.0
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
HELLO = b"hello, world\n"
GET = "GET {} HTTP/1.1\r\nHost: a\r\n\r\n"


def hello(environ: dict[str, Any], start_response: Callable[..., object]) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [HELLO]


def echo(environ: dict[str, Any], start_response: Callable[..., object]) -> list[bytes]:
    """Method, target and body of the request."""
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{environ['REQUEST_METHOD']} {environ['RAW_URI']}\n".encode("latin-1") + body]


class Held:
    """An application that holds its thread until it is let go."""

    def __init__(self, body: bytes = HELLO) -> None:
        self.entered = threading.Semaphore(0)
        self.gate = threading.Semaphore(0)
        self.calls: list[str] = []
        self._body = body

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        self.calls.append(environ["RAW_URI"])
        self.entered.release()
        assert self.gate.acquire(timeout=TIMEOUT)
        start_response("200 OK", [])
        return [self._body]

    def wait_entered(self) -> None:
        assert self.entered.acquire(timeout=TIMEOUT)


def responding(
    status: str = "200 OK",
    fields: list[tuple[str, str]] | None = None,
    chunks: list[bytes] | None = None,
    *,
    stream: bool = False,
) -> Callable[..., Any]:
    """An application with this response: a list, or an iterator of unknown length."""

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        start_response(status, fields or [])
        body = [HELLO] if chunks is None else chunks
        return iter(body) if stream else body

    return application


class Recorder(Observer):
    """Keeps what it is told."""

    wants_requests = True

    def __init__(self) -> None:
        self.finished: list[tuple[RequestInfo, ResponseInfo]] = []
        self.refused: list[int] = []
        self.details: list[str] = []
        self.refused_requests: list[tuple[RequestInfo | None, bool]] = []
        self.dropped: list[str] = []
        self.clients: list[str] = []
        """Who was refused or dropped."""
        self.infos: list[str] = []
        self.app_errors: list[tuple[str, BaseException | None]] = []
        self.app_warnings: list[str] = []
        self.warnings: list[str] = []
        self.errors: list[str] = []
        self.lost: list[tuple[RequestInfo, str, float, list[str]]] = []
        self.returned: queue.Queue[tuple[RequestInfo, float]] = queue.Queue()
        self.capacity: list[tuple[str, int]] = []

    def request_finished(self, request: RequestInfo, response: ResponseInfo) -> None:
        self.finished.append((request, response))

    def request_refused(
        self,
        client: str,
        status: int,
        detail: str,
        request: RequestInfo | None = None,
        *,
        is_running: bool = False,
    ) -> None:
        self.clients.append(client)
        self.refused.append(status)
        self.details.append(detail)
        self.refused_requests.append((request, is_running))

    def info(self, message: str) -> None:
        self.infos.append(message)

    def connection_dropped(self, client: str, why: str) -> None:
        self.clients.append(client)
        self.dropped.append(why)

    def app_error(
        self, request: RequestInfo, message: str, error: BaseException | None = None
    ) -> None:
        self.app_errors.append((message, error))

    def app_warning(self, request: RequestInfo, message: str) -> None:
        self.app_warnings.append(message)

    def thread_lost(
        self, request: RequestInfo, thread: str, seconds: float, stack: list[str]
    ) -> None:
        self.lost.append((request, thread, seconds, stack))

    def thread_returned(self, request: RequestInfo, seconds: float) -> None:
        self.returned.put((request, seconds))

    def threads_exhausted(self, lost: int) -> None:
        self.capacity.append(("exhausted", lost))

    def threads_recovered(self, lost: int) -> None:
        self.capacity.append(("recovered", lost))

    def warning(self, message: str) -> None:
        self.warnings.append(message)

    def error(self, message: str, error: BaseException | None = None) -> None:
        self.errors.append(message)


class Chunks:
    """An iterable that counts its closes, and may hold its thread between two chunks."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self.chunks: Iterator[bytes] = iter(chunks)
        self.closed = 0
        self.closed_by = ""
        self.given = 0
        self.threads: set[str] = set()

    def __iter__(self) -> Chunks:
        return self

    def __next__(self) -> bytes:
        self.threads.add(threading.current_thread().name)
        chunk = next(self.chunks)
        self.given += 1
        return chunk

    def close(self) -> None:
        self.closed += 1
        self.closed_by = threading.current_thread().name


class Client:
    """One connection: the fake transport with its peer, the protocol, the judge."""

    def __init__(
        self, site: Site, make: type[FakeTransport] = FakeTransport, **transport: Any
    ) -> None:
        self.site = site
        self.judge = Judge()
        peer = transport.setdefault("peername", ("127.0.0.1", 50312))
        self.protocol = HTTPProtocol(site.connections, site.loop, peer)  # type: ignore[arg-type]
        self.transport = make(site.loop, self.protocol, **transport)

    def send(self, data: bytes | str, *methods: str) -> None:
        """Send bytes, which begin requests with these methods: so many answers are due."""
        self.judge.methods += methods
        self.transport.receive(data.encode("latin-1") if isinstance(data, str) else data)

    def ask(
        self,
        target: str = "/",
        *fields: str,
        method: str = "GET",
        version: str = "1.1",
        body: bytes = b"",
    ) -> None:
        """Send a request with these header lines beside Host."""
        lines = "".join(f"{line}\r\n" for line in ("Host: a", *fields))
        head = f"{method} {target} HTTP/{version}\r\n{lines}\r\n"
        self.send(head.encode("latin-1") + body, method)

    @property
    def answers(self) -> list[Answer]:
        """The complete answers so far, and a truncated one at the end."""
        self.judge.read(self.transport)
        return [a for a in self.judge.answers if a.is_complete or a.is_truncated]

    @property
    def partial(self) -> Answer:
        """The last answer, however much of it there is."""
        self.judge.read(self.transport)
        return self.judge.answers[-1]

    def wait(self, count: int = 1) -> Answer:
        """The answer of that number, once it is complete."""
        self.site.loop.run_until(lambda: len(self.answers) >= count)
        return self.answers[count - 1]

    def get(self, *args: Any, **kwargs: Any) -> Answer:
        """Ask, and wait for the answer."""
        count = len(self.judge.methods) + 1
        self.ask(*args, **kwargs)
        return self.wait(count)

    @property
    def state(self) -> ConnectionState:
        return self.protocol.state

    @property
    def ends(self) -> bool:
        """Whether the server has ended its side, or will as soon as all is sent."""
        return self.transport.is_closing() or self.state is ConnectionState.LINGERING


class Site:
    """A server's inside: use as a context manager; at its end it checks that nothing is left.

    :param application: a WSGI application.
    :param cap: open connections at most.
    :param files: open temporary files at most.
    :param subscribers: are told what happens after `observer`, through a fan-out.
    :param options: of :class:`Config`.
    """

    def __init__(
        self,
        application: Any = hello,
        *,
        cap: int = 100,
        files: int = 100,
        subscribers: Iterable[Observer] = (),
        **options: Any,
    ) -> None:
        options.setdefault("threads", 2)
        # The clock's hands are moved without giving the threads time to take what is queued.
        options.setdefault("queue_timeout", 0)
        self.config = config = Config(**options)
        self.loop = FakeLoop()
        self.observer = Recorder()
        self.faults: list[BaseException] = []
        self.clients: list[Client] = []
        self.pool = WatchedPool(
            self.loop,
            config.threads,
            config.queue_size,
            max_lost=config.threads,
            on_error=self.faults.append,
        )
        self.io_pool = WatchedPool(self.loop, 1, 0, name="io", on_error=self.faults.append)
        self.mailbox = Mailbox(self.loop.call_soon_threadsafe, self.faults.append)
        self.budgets = Budgets(
            memory=config.max_buffer_size,
            disk=config.max_spool_size,
            files=files,
            directory=config.spool_dir,
        )
        self.budgets.probe_disk()
        bounds = ResponseBounds(
            overflow=Overflow(config.response_overflow),
            memory=config.response_buffer,
            disk=config.spool_limit,
            budgets=self.budgets,
            blocked=BlockedWriters(config.threads // 2),
            others_wait=lambda: self.pool.queued > 0,
            patience=Patience(config.threads // 2),
            turns=SpoolTurns(lambda: self.pool.queued > 0, lambda: self.pool.submitted),
            warn=self.observer.error,
        )
        observer: Observer = self.observer
        if subscribers:
            observer = FanOut((observer, *subscribers), lambda message, error: None)
        exchange = exchange_for(observer, config)
        gateway = Gateway(
            application_for(exchange, application),
            self.pool,
            self.mailbox,
            bounds,
            observer,
            request_ids(),
            exchange=exchange,
            id_field=id_field_of(config),
        )
        self.connections = Connections(
            config,
            gateway,
            self.io_pool,
            self.budgets,
            cap,
            proxy_fields=proxy_fields(config, observer),
        )
        self.tick()

    def connect(self, **transport: Any) -> Client:
        http1._heads.clear()  # what one parser has read must not answer for the other
        client = Client(self, **transport)
        self.clients.append(client)
        return client

    def tick(self) -> None:
        self.connections.tick(self.loop.time(), WALL)

    def sweep(self, seconds: float = 0.0) -> None:
        """Let time pass as the timer of ``request_timeout`` divides it."""
        for _ in range(max(1, round(seconds / SWEEP))):
            self.loop.clock.advance(SWEEP if seconds else 0)
            self.connections.request_timeouts.sweep(self.loop.time())
            self.loop.run_pending()

    def advance(self, seconds: float) -> None:
        """Let time pass as the server's timer divides it, running what is due."""
        for _ in range(round(seconds / TICK)):
            self.loop.clock.advance(TICK)
            self.tick()
            self.loop.run_pending()

    def settle(self) -> None:
        """Run until no thread works and nothing is left to be called."""
        while True:
            self.loop.run_until(lambda: self.pool.is_idle and self.io_pool.is_idle, TIMEOUT)
            if not self.loop.run_pending() and self.pool.is_idle and self.io_pool.is_idle:
                return

    def pool_has_ended(self) -> None:
        """Wait until no thread works, the loop being away meanwhile."""
        with self.pool.has_ended:
            assert self.pool.has_ended.wait_for(lambda: self.pool.is_idle, TIMEOUT)

    def leave(self) -> None:
        """Begin what comes before a graceful stop."""
        self.connections.phase = Phase.LEAVING

    def drain(self) -> None:
        """Begin a graceful stop, as the server does."""
        self.connections.phase = Phase.DRAINING
        for connection in list(self.connections.open):
            connection.close_idle()

    def __enter__(self) -> Site:
        self.pool.start()
        self.io_pool.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self.check()
        finally:
            ended = threading.Event()
            self.pool.stop(ended.set)
            self.io_pool.stop(int)
        assert error is not None or ended.wait(TIMEOUT)

    def check(self) -> None:
        """What must hold at the end of every test."""
        self.loop.run_pending()
        for client in self.clients:
            assert all(client.transport.writes)
            self._check_verdict(client)
            client.transport.reset()
        self.settle()
        for client in self.clients:
            assert client.transport.is_lost
            assert client.state is ConnectionState.CLOSED
        assert self.faults == []
        assert not self.connections.open
        assert not len(self.connections.paces)
        assert not any(map(len, self.connections.waits.values()))
        assert self.budgets.memory.used == 0
        assert self.budgets.disk.used == 0
        assert self.budgets.files.used == 0

    def _check_verdict(self, client: Client) -> None:
        """What the last response said about the connection is what happens to it."""
        answers = client.answers
        if not answers or client.transport.is_lost or client.transport.get_write_buffer_size():
            return
        if not answers[-1].keeps_alive:
            assert client.ends
        elif client.state is ConnectionState.IDLE and not client.transport.is_closing():
            assert answers[-1].is_complete

"""Exchanges with a real pool and without a socket: the test's thread is the loop."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from threadline import KIB, WAIT, Client, Line, no_leaks

from wsgi_async.config.options import Config
from wsgi_async.connection.exchange import Exchange
from wsgi_async.connection.gateway import Gateway, request_ids
from wsgi_async.connection.kinds import exchange_for, id_field_of
from wsgi_async.errors import HTTPError
from wsgi_async.events import Observer, RequestInfo
from wsgi_async.http.admission import admit
from wsgi_async.server.live_responses import LiveResponses
from wsgi_async.threads.pool import Call, ThreadPool
from wsgi_async.wsgi.client_watch import Presence
from wsgi_async.wsgi.environ import server_variables as make_variables
from wsgi_async.wsgi.file_wrapper import FileWrapper

TEXT = [("Content-Type", "text/plain")]
App = Callable[..., Any]


@contextmanager
def newcomers(*kinds: type) -> Iterator[Callable[[], list[Any]]]:
    """Tells which objects of these kinds there are besides those of the beginning, which may be
    other tests'. Meanwhile the collector frees nothing."""

    def there() -> list[Any]:
        return [one for one in gc.get_objects() if issubclass(type(one), kinds)]

    gc.collect()
    before = {id(one): one for one in there()}
    gc.disable()
    try:
        yield lambda: [one for one in there() if id(one) not in before]
    finally:
        gc.enable()


@contextmanager
def exchanges_left() -> Iterator[list[Exchange]]:
    """Those that are there at the end, of a time in which the collector frees nothing."""
    left: list[Exchange] = []
    with newcomers(Exchange) as found:
        yield left
        left += found()


class Notes(Observer):
    """Keeps what the application did."""

    def __init__(self) -> None:
        self.errors: list[tuple[RequestInfo, str, BaseException | None]] = []
        self.lines: list[tuple[RequestInfo, str]] = []
        self.warnings: list[tuple[RequestInfo, str]] = []

    def app_error(
        self, request: RequestInfo, message: str, error: BaseException | None = None
    ) -> None:
        self.errors.append((request, message, error))

    def app_stderr(self, request: RequestInfo, text: str) -> None:
        self.lines.append((request, text))

    def app_warning(self, request: RequestInfo, message: str) -> None:
        self.warnings.append((request, message))


class Connection:
    """The loop's side of one exchange, on a transport that sends only when told."""

    remote_addr, remote_port, client = "192.0.2.1", "1234", "192.0.2.1:1234"
    has_ended_its_side = False
    server_variables = make_variables(
        ("127.0.0.1", 80),
        root_path="",
        scheme="http",
        threads=2,
        file_wrapper=FileWrapper,
    )

    def __init__(self, rig: Rig, method: str, length: int | None) -> None:
        self.rig = rig
        text = f"{method} /p?q HTTP/1.1\r\nHost: a\r\n"
        if length is not None:
            text += f"Content-Length: {length}\r\n"
        head = admit(method, "/p?q", "1.1", text + "\r\n")
        self.exchange = rig.gateway.exchange(rig.gateway, self, head, 0.0)
        self.side = _Side(rig.line, self.exchange)
        self.presence = Presence.HERE

    def exchange_woke(self, exchange: Exchange) -> None:
        assert exchange is self.exchange
        self.side.on_wake()

    def give_up(self, exchange: Exchange, error: HTTPError) -> None:
        raise error

    def presence_for(self, exchange: Exchange) -> Presence:
        return self.presence

    def finish(self) -> Client:
        """Be a client that reads everything, until the response has ended."""
        while self.side.end is None:
            if self.side.unsent:
                self.side.drain()
            else:
                self.rig.line.turn()
        return self.side


class _Side(Client):
    def __init__(self, line: Line, exchange: Exchange) -> None:
        super().__init__(line, exchange.writer)
        self.exchange = exchange

    def resume(self, why: str) -> None:
        self.exchange.resume()

    def leave(self) -> None:
        self.end = self.end or "left"
        self.exchange.let_go("the client has gone")


class Rig:
    """A pool, a thread line and an application."""

    def __init__(
        self,
        line: Line,
        application: App,
        threads: int,
        queue_size: int,
        observer: Observer,
        max_aside: int = 0,
        config: Config | None = None,
    ) -> None:
        self.line = line
        self.observer = observer
        self.errors: list[BaseException] = []
        self.pool = ThreadPool(
            threads, queue_size, name="pool", max_aside=max_aside, on_error=self.errors.append
        )
        line.stand_in = self.pool.stand_in
        self.pool.start()
        config = config or Config()
        self.live = LiveResponses(config, observer, lambda: 1, line.wakes.put)
        self.gateway = Gateway(
            application,
            self.pool,
            line.mailbox,
            line.bounds,
            observer,
            request_ids(),
            exchange=exchange_for(observer, config),
            id_field=id_field_of(config),
            live=self.live,
        )

    def connect(self, method: str = "GET", length: int | None = None) -> Connection:
        return Connection(self, method, length)

    def begin(self, method: str = "GET") -> Connection:
        connection = self.connect(method)
        assert connection.exchange.submit()
        return connection

    def get(self) -> Client:
        return self.begin().finish()

    def settle(self) -> None:
        """Return when no thread has anything to do."""
        done = threading.Event()
        rounds = [0]

        def look() -> None:
            # urgent tasks are served in order; a second round sees what the first has queued
            rounds[0] += 1
            if rounds[0] < 3 or self.pool.busy > 1 or self.pool.queued:
                self.pool.submit_urgent(Call(look))
            else:
                done.set()

        self.pool.submit_urgent(Call(look))
        assert done.wait(WAIT)

    def stop(self) -> None:
        stopped = threading.Event()
        self.pool.stop(stopped.set)
        assert stopped.wait(WAIT)


def be_the_loop(
    rig: Rig,
    connection: Connection,
    goes_on: Callable[[], object] = lambda: False,
    tick: Callable[[], object] = lambda: None,
    why: object = "",
) -> None:
    """Be the loop, which looks after its pool and its mailbox at each tick, and a client that takes
    everything, until all is over.

    :param goes_on: whether it is not, for another reason.
    :param tick: called at each tick.
    :param why: said where that takes too long.
    """
    side = connection.side
    deadline = time.monotonic() + WAIT
    while side.end is None or rig.pool.busy or rig.pool.queued or goes_on():
        assert time.monotonic() < deadline, f"{why}: {side.end}, {goes_on()}"
        if side.unsent:
            side.drain()
        if not rig.line.wakes.empty():
            rig.line.turn()
        rig.pool.mend()
        rig.line.mailbox.mend()
        tick()
        time.sleep(0.0002)


def finish_live(rig: Rig, connection: Connection) -> None:
    """The same, until asynchronous bodies are closed, too."""

    def sweep() -> None:
        if rig.live.bodies is not None:
            rig.live.bodies._swept_at = 0.0
            rig.live.sweep(time.monotonic())

    be_the_loop(rig, connection, lambda: len(rig.live), sweep, "asynchronous bodies")


def rigs(tmp_path: Path) -> Iterator[Callable[..., Rig]]:
    """``make(application, **bounds)``: nothing may be left of it when the test ends."""
    with no_leaks() as make_line:
        rigs: list[Rig] = []

        def start(
            application: App,
            *,
            threads: int = 2,
            queue_size: int = 100,
            observer: Observer | None = None,
            **bounds: Any,
        ) -> Rig:
            line = make_line(tmp_path, **bounds)
            rigs.append(Rig(line, application, threads, queue_size, observer or Notes()))
            return rigs[-1]

        yield start
        for rig in rigs:
            rig.stop()
            while not rig.line.wakes.empty():
                rig.line.turn()


def plain(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", TEXT)
    return [b"hello"]


class Stream:
    """An application that streams without an end, and notes where it is run."""

    def __init__(self, size: int = 64 * KIB, count: int | None = None) -> None:
        self.size = size
        self.count = count
        self.steps: list[str] = []
        self.closes: list[str] = []
        self.closed = threading.Event()
        self.running = threading.Lock()
        self.overlaps = 0

    def __call__(self, environ: Any, start_response: Any) -> Stream:
        start_response("200 OK", TEXT)
        return self

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        with self._alone():
            self.steps.append(threading.current_thread().name)
            if self.count is not None and len(self.steps) > self.count:
                raise StopIteration
            return b"x" * self.size

    def close(self) -> None:
        with self._alone():
            self.closes.append(threading.current_thread().name)
        self.closed.set()

    def _alone(self) -> ExitStack:
        stack = ExitStack()
        if self.running.acquire(blocking=False):
            stack.callback(self.running.release)
        else:
            self.overlaps += 1
        return stack

"""One request from the loop to a pool thread and back, with a real pool and without a socket.

The test's thread is the loop.
"""

from __future__ import annotations

import contextvars
import gc
import io
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from threadline import KIB, MIB, WAIT, Client, Line, no_leaks

from wsgi_async.buffers.spool import BodySpool
from wsgi_async.connection.exchange import Exchange, ExchangeState, Gateway, request_ids
from wsgi_async.errors import ClientDisconnected, HTTPError
from wsgi_async.events import Observer, RequestInfo
from wsgi_async.http.admission import admit
from wsgi_async.threads import LARGE_FILE, RequestBody
from wsgi_async.threads import response_stream as stream_module
from wsgi_async.threads.pool import Call, ThreadPool
from wsgi_async.wsgi.environ import server_variables as make_variables
from wsgi_async.wsgi.file_wrapper import FileWrapper

TEXT = [("Content-Type", "text/plain")]
App = Callable[..., Any]


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
        self.exchange = Exchange(rig.gateway, self, head, 0.0)
        self.side = _Side(rig.line, self.exchange)

    def exchange_woke(self, exchange: Exchange) -> None:
        assert exchange is self.exchange
        self.side.on_wake()

    def give_up(self, exchange: Exchange, error: HTTPError) -> None:
        raise error

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
        self, line: Line, application: App, threads: int, queue_size: int, observer: Observer
    ) -> None:
        self.line = line
        self.observer = observer
        self.errors: list[BaseException] = []
        self.pool = ThreadPool(threads, queue_size, name="pool", on_error=self.errors.append)
        self.pool.start()
        self.gateway = Gateway(
            application, self.pool, line.mailbox, line.bounds, observer, request_ids()
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


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Rig]]:
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


# --- crossings -----------------------------------------------------------------------------------


class Closing:
    """What Flask and Django return: an iterable with a close method, of known length."""

    def __init__(self, chunks: list[bytes]) -> None:
        self.chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.chunks)

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("result", "headers"),
    [
        ([b"hello"], TEXT),
        ([b"he", b"llo"], TEXT),
        (Closing([b"hello"]), [*TEXT, ("Content-Length", "5")]),
    ],
)
def test_a_small_request_is_one_submit_and_one_wake(
    make: Callable[..., Rig], result: Any, headers: Any
) -> None:
    def application(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", headers)
        return result

    rig = make(application)
    client = rig.get()
    assert (bytes(client.body), client.length, client.end) == (b"hello", 5, "finished")
    assert (rig.pool.submitted, rig.line.mailbox.wakes) == (1, 1)


def test_a_full_queue_refuses_and_the_exchange_stays_with_the_loop(
    make: Callable[..., Rig],
) -> None:
    stream = Stream()
    rig = make(stream, threads=1, queue_size=1, overflow="block", memory=64 * KIB)
    running = rig.begin()
    rig.line.turn()
    queued = rig.begin()
    refused = rig.connect()
    assert not refused.exchange.submit()
    assert refused.exchange.state is ExchangeState.BEGUN
    refused.exchange.drop_body()
    for connection in (queued, running):
        connection.side.leave()
    assert stream.closed.wait(WAIT)


def test_what_was_never_submitted_cannot_be_withdrawn(make: Callable[..., Rig]) -> None:
    """A client leaves while its body is being collected: the queue is not touched."""
    rig = make(plain)
    connection = rig.connect()
    assert connection.exchange.state is ExchangeState.BEGUN
    assert not connection.exchange.withdraw()
    assert rig.pool.queued == 0


def test_a_queued_request_can_be_withdrawn_and_one_that_ended_holds_no_response(
    make: Callable[..., Rig],
) -> None:
    gate, began = threading.Event(), threading.Event()

    def application(environ: Any, start_response: Any) -> list[bytes]:
        began.set()
        assert gate.wait(WAIT)
        return plain(environ, start_response)

    rig = make(application, threads=1)
    running = rig.begin()
    assert began.wait(WAIT)
    queued = rig.begin()
    assert queued.exchange.withdraw() is True
    assert running.exchange.withdraw() is False
    gate.set()
    assert running.finish().end == "finished"
    rig.settle()
    assert running.exchange._response is None, "a cycle would be left to the collector"


# --- the request ---------------------------------------------------------------------------------


def echo(environ: Any, start_response: Any) -> list[bytes]:
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("X-Length", environ.get("CONTENT_LENGTH", "none"))])
    return [type(environ["wsgi.input"]).__name__.encode(), b" ", body]


def test_a_large_body_that_nobody_reads_is_not_deleted_on_the_loop(
    make: Callable[..., Rig],
) -> None:
    stream = Stream()
    rig = make(stream, threads=1, overflow="block", memory=64 * KIB)
    later: list[Callable[[], object]] = []
    bounds = replace(rig.line.bounds, in_background=later.append)
    rig.gateway = replace(rig.gateway, bounds=bounds)
    running = rig.begin()
    rig.line.turn()
    for size, calls in ((LARGE_FILE, 0), (LARGE_FILE + 1, 1)):
        queued = rig.connect("POST", size)
        queued.exchange.spool = spool = BodySpool(rig.line.budgets, 1000, size)
        spool.append(bytes(size))
        assert queued.exchange.submit()
        queued.side.leave()
        assert len(later) == calls
        assert rig.line.used[2] == calls
    later.pop()()
    assert rig.line.used[2] == 0
    running.side.leave()
    assert stream.closed.wait(WAIT)


@pytest.mark.parametrize(("size", "kind"), [(10, b"BytesIO"), (5000, b"BufferedRandom")])
def test_a_collected_body_is_a_real_file(make: Callable[..., Rig], size: int, kind: bytes) -> None:
    rig = make(echo)
    connection = rig.connect("POST", size)
    exchange = connection.exchange
    exchange.spool = spool = BodySpool(rig.line.budgets, 1000, 10_000)
    spool.append(b"x" * size)
    assert exchange.submit()
    client = connection.finish()
    assert client.head is not None
    assert client.head.fields == (("X-Length", str(size)),)
    name, _, body = bytes(client.body).partition(b" ")
    assert body == b"x" * size
    assert name in (kind, b"_TemporaryFileWrapper")


def test_a_request_without_a_body_has_an_empty_input(make: Callable[..., Rig]) -> None:
    client = make(echo).get()
    assert bytes(client.body) == b"BytesIO "
    assert client.head is not None
    assert client.head.fields == (("X-Length", "none"),)


def test_a_streamed_body_is_read_as_it_arrives(make: Callable[..., Rig]) -> None:
    rig = make(echo)
    connection = rig.connect("POST", 6)
    exchange = connection.exchange
    exchange.body = stream = RequestBody(rig.line.mailbox, exchange, rig.line.budgets.memory)
    assert exchange.submit()
    rig.line.turn()
    assert stream.is_awaited
    stream.feed(b"abc")
    stream.feed(b"def")
    stream.feed_end()
    assert bytes(connection.finish().body) == b"InputStream abcdef"


def test_a_client_that_vanishes_midway_makes_the_read_raise(make: Callable[..., Rig]) -> None:
    seen: list[BaseException] = []
    notes = Notes()

    def application(environ: Any, start_response: Any) -> list[bytes]:
        try:
            environ["wsgi.input"].read()
        except OSError as error:
            seen.append(error)
            raise
        return []

    rig = make(application, observer=notes)
    connection = rig.connect("POST", 6)
    exchange = connection.exchange
    exchange.body = stream = RequestBody(rig.line.mailbox, exchange, rig.line.budgets.memory)
    assert exchange.submit()
    rig.line.turn()
    stream.feed(b"abc")
    connection.side.leave()
    rig.stop()
    assert isinstance(seen[0], ClientDisconnected)
    assert notes.errors == [], "the client's doing is not the application's error"
    assert rig.line.used == (0, 0, 0)


def test_a_queued_request_whose_client_has_gone_never_reaches_the_application(
    make: Callable[..., Rig],
) -> None:
    calls: list[Any] = []
    gate = threading.Event()
    began = threading.Event()

    def application(environ: Any, start_response: Any) -> list[bytes]:
        calls.append(environ)
        began.set()
        assert gate.wait(WAIT)
        return plain(environ, start_response)

    rig = make(application, threads=1)
    first = rig.begin()
    assert began.wait(WAIT)
    second = rig.connect("POST", 100)
    second.exchange.spool = BodySpool(rig.line.budgets, 10, 1000)
    second.exchange.spool.append(b"x" * 100)
    assert second.exchange.submit()
    assert (rig.pool.queued, rig.line.used) == (1, (0, 100, 1))
    second.side.leave()
    assert (rig.pool.queued, rig.line.used) == (0, (0, 0, 0)), "at once, not when its turn comes"
    gate.set()
    assert first.finish().body == b"hello"
    rig.settle()
    assert len(calls) == 1
    assert rig.line.used == (0, 0, 0)


def test_a_client_that_goes_as_its_thread_comes_is_nobodys_error(make: Callable[..., Rig]) -> None:
    calls: list[Any] = []
    rig = make(lambda *args: calls.append(args) or plain(*args))
    connection = rig.connect()
    assert not connection.exchange.writer.abort()
    assert connection.exchange.submit()
    rig.settle()
    assert (calls, rig.errors) == ([], [])


# --- Context -------------------------------------------------------------------------------------

VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("VARIABLE", default="unset")


def test_every_request_has_a_context_of_its_own(make: Callable[..., Rig]) -> None:
    seen: list[str] = []

    def application(environ: Any, start_response: Any) -> list[bytes]:
        seen.append(VARIABLE.get())
        VARIABLE.set("by a request")
        return plain(environ, start_response)

    VARIABLE.set("by the loop")
    rig = make(application, threads=1)
    for _ in range(3):
        rig.get()
    assert seen == ["unset"] * 3
    assert VARIABLE.get() == "by the loop"


@pytest.mark.parametrize("ending", ["end", "left"])
def test_all_steps_and_close_run_in_the_same_context(make: Callable[..., Rig], ending: str) -> None:
    """Also where they run on different threads."""
    seen: list[tuple[str, str]] = []
    closed = threading.Event()
    blocker = threading.Event()

    class Application:
        def __init__(self, environ: Any, start_response: Any) -> None:
            start_response("200 OK", TEXT)
            VARIABLE.set("0")

        def __iter__(self) -> Iterator[bytes]:
            for step in range(1, 4):
                seen.append((VARIABLE.get(), threading.current_thread().name))
                VARIABLE.set(str(step))
                yield b"x" * (2 * MIB)

        def close(self) -> None:
            seen.append((VARIABLE.get(), threading.current_thread().name))
            closed.set()

    rig = make(Application, overflow="park", threads=2)
    connection = rig.begin()
    side = connection.side
    rig.line.turn()
    rig.settle()
    # The thread that ran the first step is kept busy, so that the next one runs on the other.
    _occupy(rig, seen[0][1], blocker)
    if ending == "left":
        side.leave()
        assert closed.wait(WAIT)
        assert [value for value, _ in seen] == ["0", "1"]
    else:
        connection.finish()
        assert closed.wait(WAIT)
        assert [value for value, _ in seen] == ["0", "1", "2", "3"]
        assert side.end == "finished"
        assert len(side.body) == 6 * MIB
    assert len({name for _, name in seen}) == 2
    blocker.set()


def _occupy(rig: Rig, name: str, until: threading.Event) -> None:
    """Keep the thread of that name busy until then, and no other."""
    others_free = threading.Event()
    for _ in range(rig.pool.threads):
        held = threading.Event()
        found: list[str] = []

        def hold(held: threading.Event = held, found: list[str] = found) -> None:
            found.append(threading.current_thread().name)
            held.set()
            (until if found[0] == name else others_free).wait(WAIT)

        rig.pool.submit_urgent(Call(hold))
        assert held.wait(WAIT)
        if found[0] == name:
            break
    others_free.set()


# --- park ----------------------------------------------------------------------------------------


def test_a_client_that_does_not_read_holds_no_thread(make: Callable[..., Rig]) -> None:
    stream = Stream()
    rig = make(stream, overflow="park", threads=1, memory=128 * KIB)
    connections = [rig.begin() for _ in range(5)]
    rig.line.turn()
    rig.settle()
    assert rig.pool.busy == 0
    done = threading.Event()
    assert rig.pool.submit(Call(done.set))
    assert done.wait(WAIT)
    for connection in connections:
        connection.side.leave()
    rig.settle()
    assert len(stream.closes) == 5


def test_a_slow_client_gets_it_all_and_no_two_steps_overlap(make: Callable[..., Rig]) -> None:
    stream = Stream(size=30_000, count=60)
    rig = make(stream, overflow="park", threads=2, memory=100_000)
    connection = rig.begin()
    side = connection.side
    while side.end is None:
        if side.unsent:
            side.drain(10_000)
        else:
            rig.line.turn()
    assert len(side.body) == 60 * 30_000
    assert stream.closed.wait(WAIT)
    assert (stream.overlaps, len(stream.closes)) == (0, 1)


def test_a_parked_iteration_is_resumed_also_where_the_queue_is_full(
    make: Callable[..., Rig],
) -> None:
    stream = Stream(count=10)
    rig = make(stream, overflow="park", threads=1, queue_size=1, memory=128 * KIB)
    connection = rig.begin()
    rig.line.turn()
    rig.settle()
    gate = threading.Event()
    began = threading.Event()
    rig.pool.submit_urgent(Call(lambda: (began.set(), gate.wait(WAIT))))
    assert began.wait(WAIT)
    assert rig.pool.submit(Call(lambda: None))
    assert rig.pool.full
    connection.side.drain()
    gate.set()
    assert len(connection.finish().body) == 10 * 64 * KIB


@pytest.mark.parametrize("overflow", ["spool", "park", "block"])
@pytest.mark.parametrize("drains", range(4))
def test_close_runs_once_whenever_the_client_leaves(
    make: Callable[..., Rig], overflow: str, drains: int
) -> None:
    stream = Stream(size=20_000, count=None)
    rig = make(stream, overflow=overflow, threads=2, memory=64 * KIB, disk=MIB)
    connection = rig.begin()
    rig.line.turn()
    for _ in range(drains):
        connection.side.drain()
    connection.side.leave()
    assert stream.closed.wait(WAIT)
    rig.settle()
    while not rig.line.wakes.empty():
        rig.line.turn()
    rig.settle()
    assert (stream.overlaps, len(stream.closes)) == (0, 1)
    assert rig.errors == []


@pytest.mark.parametrize("overflow", ["spool", "block"])
def test_without_park_one_thread_does_all_of_it(make: Callable[..., Rig], overflow: str) -> None:
    """Django closes a thread's database connections between requests, from that thread."""
    stream = Stream(size=20_000, count=100)
    rig = make(stream, overflow=overflow, threads=4, memory=64 * KIB)
    rig.begin().finish()
    assert stream.closed.wait(WAIT)
    assert len({*stream.steps, *stream.closes}) == 1


def test_a_client_that_leaves_just_before_its_iteration_parks(
    make: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own thread closes: at shutdown no other may be left."""
    monkeypatch.setattr(stream_module, "SLICE", -1.0)
    stream = Stream()
    stopped = threading.Event()

    def leave_between_write_and_park() -> bool:
        connection.side.leave()
        rig.pool.stop(stopped.set)
        return True

    rig = make(stream, overflow="park", threads=1, others_wait=leave_between_write_and_park)
    connection = rig.connect()
    assert connection.exchange.submit()
    assert stopped.wait(WAIT)
    assert (len(stream.steps), len(stream.closes), stream.overlaps) == (1, 1, 0)


def test_a_client_that_leaves_during_a_step(make: Callable[..., Rig]) -> None:
    in_step, go_on = threading.Event(), threading.Event()
    closes: list[str] = []

    def application(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", TEXT)
        try:
            in_step.set()
            assert go_on.wait(WAIT)
            yield b"for nobody"
        finally:
            closes.append(threading.current_thread().name)

    rig = make(application, threads=1)
    connection = rig.begin()
    assert in_step.wait(WAIT)
    connection.side.leave()
    assert closes == [], "never from the loop while it runs"
    go_on.set()
    rig.stop()
    assert closes == ["pool-1"]


# --- what is told --------------------------------------------------------------------------------


def test_errors_are_told_with_the_request(make: Callable[..., Rig]) -> None:
    error = KeyError("boom")

    def application(environ: Any, start_response: Any) -> list[bytes]:
        environ["wsgi.errors"].write("a line\nand an unfinished one")
        raise error

    notes = Notes()
    rig = make(application, observer=notes)
    client = rig.get()
    rig.settle()
    assert client.head is not None
    assert client.head.status == 500
    [(info, message, told)] = notes.errors
    assert (message, told) == ("the application raised", error)
    assert (info.method, info.target, info.version) == ("GET", "/p?q", "HTTP/1.1")
    assert info.client == "192.0.2.1:1234"
    assert info.fields == (("Host", "a"),)
    assert notes.lines == [(info, "a line"), (info, "and an unfinished one")]


def test_of_a_field_that_is_dropped_an_application_is_warned_once(
    make: Callable[..., Rig],
) -> None:
    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Connection", "keep-alive"), *TEXT])
        try:
            raise LookupError
        except LookupError:
            again = [("TE", "x"), ("connection", "keep-alive")]
            start_response("200 OK", again, sys.exc_info())
        return [b"x"]

    notes, others = Notes(), Notes()
    rig, other = make(application, observer=notes), make(application, observer=others)
    for _ in range(3):
        assert bytes(rig.get().body) == b"x"
    assert [message[:38] for _, message in notes.warnings] == [
        "the hop-by-hop header Connection was n",
        "the hop-by-hop header TE was not sent:",
    ]
    assert notes.warnings[0][0].target == "/p?q"
    assert notes.errors == []
    other.get()
    assert len(others.warnings) == 2, "another server's application is told too"


def test_ids_are_unique_and_one_request_has_one(make: Callable[..., Rig]) -> None:
    def application(environ: Any, start_response: Any) -> list[bytes]:
        environ["wsgi.errors"].write("one\ntwo\n")
        return plain(environ, start_response)

    notes = Notes()
    rig = make(application, observer=notes)
    for _ in range(3):
        rig.get()
    ids = [info.id for info, _ in notes.lines]
    assert ids[0::2] == ids[1::2]
    assert len(set(ids)) == 3
    assert request_ids()() != request_ids()(), "unique across processes"


def test_an_observer_that_raises_leaves_no_client_waiting(make: Callable[..., Rig]) -> None:
    class Hostile(Observer):
        def app_error(self, *args: object, **kwargs: object) -> None:
            raise RuntimeError("the observer failed")

    def application(environ: Any, start_response: Any) -> list[bytes]:
        raise KeyError

    rig = make(application, observer=Hostile())
    connection = rig.connect("POST", 100)
    connection.exchange.spool = BodySpool(rig.line.budgets, 10, 1000)
    connection.exchange.spool.append(b"x" * 100)
    assert connection.exchange.submit()
    client = connection.finish()
    assert (client.end, client.head.status) == ("finished", 500)  # type: ignore[union-attr]
    rig.settle()
    assert [str(error) for error in rig.errors] == ["the observer failed"]
    assert rig.line.used == (0, 0, 0)


def test_a_streamed_body_lets_its_exchange_go(make: Callable[..., Rig]) -> None:
    """A cycle would leave every upload to the collector."""
    rig = make(plain, threads=1)
    connection = rig.connect()
    exchange = connection.exchange
    exchange.body = body = RequestBody(rig.line.mailbox, exchange, rig.line.budgets.memory)
    body.feed_end()
    assert any(value is exchange for value in vars(body).values())
    exchange.submit()
    connection.finish()
    rig.settle()
    assert all(value is not exchange for value in vars(body).values())


def test_what_a_request_held_is_freed_without_the_collector(make: Callable[..., Rig]) -> None:
    class Held:
        pass

    references: list[weakref.ref[Held]] = []

    def application(environ: Any, start_response: Any) -> list[bytes]:
        held = environ["held"] = Held()
        environ["start_response"] = start_response
        references.append(weakref.ref(held))
        return plain(environ, start_response)

    rig = make(application, threads=1)
    gc.collect()
    gc.disable()
    try:
        connection = rig.begin()
        connection.finish()
        rig.settle()
        del connection
        assert [reference() for reference in references] == [None]
    finally:
        gc.enable()


def test_input_is_a_new_object_for_each_request(make: Callable[..., Rig]) -> None:
    inputs: list[io.BytesIO] = []

    def application(environ: Any, start_response: Any) -> list[bytes]:
        inputs.append(environ["wsgi.input"])
        return plain(environ, start_response)

    rig = make(application)
    rig.get()
    rig.get()
    assert inputs[0] is not inputs[1]

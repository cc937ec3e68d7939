"""Cut responses, and clients that go at every point, on fakes: nothing is left over."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from streams import CHUNK, endless, overflows, wait_full
from wire import HELLO, TIMEOUT, Chunks, Client, Held, Site, responding

from wsgi_async.connection.states import ConnectionState
from wsgi_async.errors import ClientDisconnected

# --- cut responses ------------------------------------------------------------------------------


def failing(fields: list[tuple[str, str]]) -> Callable[..., Any]:
    def application(environ: Any, start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", fields)
        yield b"first"
        raise ValueError("secret")

    return application


@pytest.mark.parametrize(
    ("version", "fields", "was_reset"),
    [
        ("1.1", [], False),  # chunked: the last chunk is missing
        ("1.1", [("Content-Length", "10")], False),  # the length is not reached
        ("1.0", [("Content-Length", "10")], False),
        ("1.0", [], True),  # delimited by the end: only a reset tells
    ],
)
def test_a_client_can_tell_that_its_response_was_cut(
    version: str, fields: list[tuple[str, str]], was_reset: bool
) -> None:
    with Site(failing(fields)) as site:
        client = site.connect()
        client.ask("/", "Connection: keep-alive", version=version)
        site.loop.run_until(lambda: client.transport.is_lost)
        assert client.transport.was_reset is was_reset
        assert client.transport.has_ended is not was_reset
        answer = client.partial
        assert not answer.is_complete
        assert answer.is_truncated is not was_reset
        assert bytes(answer.body) in (b"", b"first")
        assert b"secret" not in client.transport.sent
        assert not client.transport.sent.endswith(b"0\r\n\r\n")
        assert site.observer.dropped == ["its response was cut"]
        ((_, response),) = site.observer.finished
        assert not response.complete
        assert [type(error) for _, error in site.observer.app_errors] == [ValueError]


def test_a_unix_socket_knows_no_reset() -> None:
    with Site(failing([])) as site:
        client = site.connect(family=socket.AF_UNIX, peername="", sockname="/run/app.sock")
        client.ask(version="1.0")
        site.loop.run_until(lambda: client.transport.is_lost)
        assert client.transport.socket.options == {}
        assert site.observer.dropped == ["its response was cut"]


def test_a_response_shorter_than_it_promised_is_cut() -> None:
    with Site(responding("200 OK", [("Content-Length", "100")], [b"ab"])) as site:
        client = site.connect()
        client.ask()
        site.loop.run_until(lambda: client.transport.is_lost)
        (answer,) = client.answers
        assert answer.is_truncated
        assert answer.body == b"ab"
        assert not site.connections.open


def test_a_response_longer_than_it_promised_is_shortened() -> None:
    with Site(responding("200 OK", [("Content-Length", "2")], [b"abc"])) as site:
        client = site.connect()
        assert client.get().body == b"ab"
        assert client.get().keeps_alive


def test_a_cut_response_that_is_not_taken_does_not_hold_the_connection_for_ever() -> None:
    def application(environ: Any, start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield CHUNK
        raise ValueError

    with Site(application, send_timeout=5) as site:
        client = site.connect(window=0)
        client.ask()
        site.loop.run_until(lambda: client.state is ConnectionState.CLOSING)
        site.advance(7)
        assert client.transport.is_lost


def test_at_the_end_of_the_graceful_timeout_a_response_is_cut_so_that_one_can_tell() -> None:
    gate = threading.Event()

    def application(environ: Any, start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"first"
        assert gate.wait(TIMEOUT)
        yield b"second"

    with Site(application) as site:
        client, idle = site.connect(), site.connect()
        client.ask(version="1.0")
        site.loop.run_until(lambda: client.partial.body)
        for connection in list(site.connections.open):
            connection.abort()
        site.loop.run_pending()
        assert client.transport.was_reset
        assert idle.transport.is_lost
        assert not idle.transport.was_reset
        gate.set()
        site.settle()
        client.protocol.abort()  # late: nothing


# --- the client goes at every point -------------------------------------------------------------


def begin_body(client: Client) -> None:
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000\r\n\r\n" + "x" * 1000, "POST")


def begin_flushing(client: Client) -> None:
    client.ask("/list")
    client.site.loop.run_until(lambda: client.state is ConnectionState.FLUSHING)


def begin_closing(client: Client) -> None:
    client.ask("/hello", "Connection: close")
    client.site.loop.run_until(lambda: client.state is ConnectionState.CLOSING)


def begin_running(client: Client) -> None:
    client.ask("/hold")


def begin_idle(client: Client) -> None:
    client.ask("/hello")
    client.site.loop.run_until(lambda: client.state is ConnectionState.IDLE)


STATES: list[tuple[ConnectionState, Callable[[Client], object]]] = [
    (ConnectionState.NEW, lambda client: None),
    (ConnectionState.IDLE, begin_idle),
    (ConnectionState.HEAD, lambda client: client.send("GET / HT", "GET")),
    (ConnectionState.BODY, begin_body),
    (ConnectionState.RUNNING, begin_running),
    (ConnectionState.FLUSHING, begin_flushing),
    (ConnectionState.LINGERING, lambda client: client.send("bad\r\n\r\n", "GET")),
    (ConnectionState.CLOSING, begin_closing),
]


class Mixed:
    """``/hold`` holds its thread, ``/list`` is larger than a transport takes."""

    def __init__(self) -> None:
        self.held = Held()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        if environ["PATH_INFO"] == "/hold":
            return self.held(environ, start_response)
        start_response("200 OK", [])
        return [HELLO if environ["PATH_INFO"] == "/hello" else b"x" * 300_000]


@pytest.mark.parametrize("threshold", [500, 500_000])
@pytest.mark.parametrize("how", ["reset", "abort", "timeout"])
@pytest.mark.parametrize(("state", "begin"), STATES, ids=[state.name for state, _ in STATES])
def test_a_client_that_goes_leaves_nothing(
    state: ConnectionState, begin: Callable[[Client], object], how: str, threshold: int
) -> None:
    application = Mixed()
    with Site(application, spool_threshold=threshold) as site:
        client = site.connect(window=0)
        begin(client)
        assert client.state is state
        if state is ConnectionState.BODY:
            assert site.budgets.disk.used + site.budgets.memory.used == 1000
        if how == "reset":
            client.transport.reset()
        elif how == "abort":
            client.protocol.abort()
        else:
            site.advance(200)
        if how != "timeout" or state is not ConnectionState.RUNNING:
            site.loop.run_pending()
            assert client.state is ConnectionState.CLOSED
            assert not site.connections.open
        application.held.gate.release()


def test_a_queued_request_whose_client_has_gone_never_reaches_the_application() -> None:
    application = Held()
    with Site(application, threads=1) as site:
        first, second = site.connect(), site.connect()
        first.ask("/1")
        application.wait_entered()
        second.ask("/2")
        second.transport.reset()
        site.loop.run_pending()
        application.gate.release(2)
        site.settle()
        assert application.calls == ["/1"]


def test_what_a_lost_exchange_writes_goes_nowhere() -> None:
    order, written = threading.Semaphore(0), threading.Event()
    errors: list[BaseException] = []

    def application(environ: Any, start_response: Callable[..., Any]) -> list[bytes]:
        write = start_response("200 OK", [])
        assert order.acquire(timeout=TIMEOUT)
        try:
            for _ in range(10):
                write(CHUNK)
        except ClientDisconnected as error:
            errors.append(error)
            raise
        finally:
            written.set()
        return []

    with Site(application) as site:
        client = site.connect()
        client.ask()
        client.transport.reset()
        site.loop.run_pending()
        order.release()
        site.settle()
        assert client.transport.writes == []
        # it may have been lost before its thread began
        assert errors or site.observer.app_errors == []


def test_a_thread_that_is_late_disturbs_nobody_on_the_same_connection() -> None:
    """The response is complete with its length; what its thread does afterwards is its own."""
    order = threading.Semaphore(0)
    late: list[str] = []

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        if environ["PATH_INFO"] != "/late":
            start_response("200 OK", [])
            return [HELLO]

        def body() -> Iterator[bytes]:
            start_response("200 OK", [("Content-Length", "5")])
            yield b"first"
            assert order.acquire(timeout=TIMEOUT)
            late.append("ran")
            yield b"too much"
            late.append("never")

        return body()

    with Site(application) as site:
        client = site.connect()
        assert client.get("/late").body == b"first"
        assert client.get("/next").body == HELLO
        order.release()
        site.settle()
        assert late == ["ran"]
        assert client.get("/last").body == HELLO
        assert len(client.answers) == 3


@overflows
def test_a_client_that_goes_mid_stream_has_its_iterable_closed_once(overflow: str) -> None:
    application = endless()
    with Site(
        application, response_overflow=overflow, response_buffer=65536, spool_limit=1_000_000
    ) as site:
        client = site.connect(window=100_000)
        client.ask()
        wait_full(client)
        client.transport.reset()
        site.settle()
        assert application.bodies[0].closed == 1
        assert site.observer.app_errors == []


def test_the_loop_is_closed_before_a_thread_is_done() -> None:
    """call_soon_threadsafe raises then; the iterable is closed all the same."""
    gate = threading.Semaphore(0)
    done = threading.Event()

    class Body(Chunks):
        def close(self) -> None:
            super().close()
            done.set()

    def chunks() -> Iterator[bytes]:
        yield b"first"
        assert gate.acquire(timeout=TIMEOUT)
        yield b"second"

    body = Body(chunks())

    def application(environ: Any, start_response: Callable[..., Any]) -> Body:
        start_response("200 OK", [])
        return body

    with Site(application) as site:
        client = site.connect()
        client.ask()
        site.loop.run_until(lambda: client.partial.body)
        site.loop._is_closed = True
        gate.release()
        assert done.wait(TIMEOUT)
        site.loop._is_closed = False
        assert body.closed == 1
        assert site.faults == []

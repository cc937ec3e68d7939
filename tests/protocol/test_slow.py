"""Slow and vanishing clients on fakes: spool, park, block, cut responses, and nothing left over."""

from __future__ import annotations

import errno
import itertools
import os
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from wire import HELLO, TIMEOUT, Chunks, Client, Held, Site, responding

from wsgi_async.connection.states import ConnectionState
from wsgi_async.errors import ClientDisconnected

CHUNK = bytes(range(256)) * 64  # 16 KiB

overflows = pytest.mark.parametrize("overflow", ["spool", "park", "block"])


class Streamer:
    """An application that streams chunks, each connection its own, and remembers the iterables."""

    def __init__(
        self, chunks: Callable[[], Iterable[bytes]], fields: list[tuple[str, str]] | None = None
    ) -> None:
        self.bodies: list[Chunks] = []
        self._chunks = chunks
        self._fields = fields or []

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        start_response("200 OK", self._fields)
        if environ["PATH_INFO"] == "/hello":
            return [HELLO]
        body = Chunks(self._chunks())
        self.bodies.append(body)
        return body


def finite(count: int) -> Streamer:
    return Streamer(lambda: itertools.repeat(CHUNK, count))


def endless() -> Streamer:
    return Streamer(lambda: itertools.repeat(CHUNK))


def wait_full(client: Client) -> None:
    """Until the transport is above its high water."""
    client.site.loop.run_until(lambda: not client.protocol._sender.is_writable)


# --- all of it arrives --------------------------------------------------------------------------


@overflows
@pytest.mark.parametrize("step", [5_000, 70_000, 400_000])
def test_a_slow_client_gets_all_of_it(overflow: str, step: int) -> None:
    application = finite(64)
    with Site(application, response_overflow=overflow, response_buffer=65536) as site:
        client = site.connect(window=0)
        client.ask()
        wait_full(client)
        while not client.answers:
            client.transport.take(step)
            if client.transport.get_write_buffer_size() == 0 and not client.answers:
                site.loop.run_until(
                    lambda: client.transport.get_write_buffer_size() or client.answers
                )
            site.loop.run_pending()
        (answer,) = client.answers
        assert answer.body == CHUNK * 64
        assert answer.keeps_alive
        site.settle()
        assert application.bodies[0].closed == 1
        assert client.get("/hello").body == HELLO


@overflows
def test_a_small_buffer_bounds_what_waits_in_memory(overflow: str) -> None:
    application = finite(64)
    with Site(application, response_overflow=overflow, response_buffer=65536) as site:
        client = site.connect(window=0)
        client.ask()
        wait_full(client)
        if overflow != "block":
            site.settle()
        site.loop.run_pending()
        assert client.transport.get_write_buffer_size() <= 65536 + len(CHUNK) * 2
        assert site.budgets.memory.used <= 65536
        client.transport.take()
        assert client.wait().body == CHUNK * 64


@overflows
def test_a_drained_transport_that_never_was_full_lets_the_thread_go_on(overflow: str) -> None:
    """Below high water a transport never tells how far it is: nobody may wait for its word."""
    application = finite(8)
    with Site(application, response_overflow=overflow, max_buffer_size=1) as site:
        client = site.connect(window=0)
        client.ask()
        for _ in range(12):
            client.transport.take(len(CHUNK))
            site.loop.run_pending()
        client.transport.take()
        assert client.wait().body == CHUNK * 8


# --- spool --------------------------------------------------------------------------------------


def test_in_spool_the_thread_is_free_while_the_client_takes_its_time() -> None:
    application = finite(64)
    with Site(application, threads=1, response_buffer=65536) as site:
        client = site.connect(window=0)
        client.ask()
        site.settle()
        assert application.bodies[0].closed == 1
        assert application.bodies[0].closed_by in application.bodies[0].threads
        assert site.budgets.disk.used > 0
        assert site.budgets.files.used == 1
        assert site.connect().get("/hello").body == HELLO
        client.transport.take()
        assert client.wait().body == CHUNK * 64
        site.settle()
        assert site.budgets.disk.used == site.budgets.files.used == 0


def test_at_the_spools_bound_the_thread_waits() -> None:
    application = finite(64)
    with Site(application, response_buffer=65536, spool_limit=len(CHUNK) * 20) as site:
        client = site.connect(window=0)
        client.ask()
        wait_full(client)
        while not client.answers:
            client.transport.take(50_000)
            if client.transport.get_write_buffer_size() == 0 and not client.answers:
                site.loop.run_until(
                    lambda: client.transport.get_write_buffer_size() or client.answers
                )
            site.loop.run_pending()
        assert client.answers[0].body == CHUNK * 64
        assert site.budgets.disk.peak <= len(CHUNK) * 20


def test_at_a_full_disk_the_thread_waits_and_nothing_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    room = 300_000
    pwrite = os.pwrite
    full = threading.Event()

    def fill(descriptor: int, data: bytes, offset: int) -> int:
        if offset >= room:
            full.set()
            raise OSError(errno.ENOSPC, "No space left on device")
        return pwrite(descriptor, data[: room - offset], offset)

    monkeypatch.setattr(os, "pwrite", fill)
    application = finite(64)
    with Site(application, response_buffer=65536) as site:
        client = site.connect(window=0)
        client.ask()
        wait_full(client)
        assert full.wait(TIMEOUT)
        assert site.connect().get("/hello").body == HELLO
        while not client.answers:
            client.transport.take(50_000)
            if client.transport.get_write_buffer_size() == 0 and not client.answers:
                site.loop.run_until(
                    lambda: client.transport.get_write_buffer_size() or client.answers
                )
            site.loop.run_pending()
        assert client.answers[0].body == CHUNK * 64
        assert not client.answers[0].is_truncated
        site.settle()
        assert application.bodies[0].closed == 1
        assert "No space left on device" in site.observer.errors[0]
        assert site.observer.app_errors == []


def test_without_a_directory_for_files_a_response_blocks() -> None:
    application = finite(64)
    with Site(application, response_buffer=65536, spool_dir="/nonexistent") as site:
        client = site.connect(window=0)
        client.ask()
        wait_full(client)
        client.transport.take()
        assert client.wait().body == CHUNK * 64
        assert site.budgets.files.peak == 0


# --- park ---------------------------------------------------------------------------------------


def test_a_parked_iteration_goes_on_when_its_client_has_taken_enough() -> None:
    application = endless()
    with Site(application, response_overflow="park", threads=1, response_buffer=65536) as site:
        client = site.connect(window=0)
        client.ask()
        for _ in range(5):
            site.settle()  # the thread is free
            (body,) = application.bodies
            given = body.given
            assert body.closed == 0
            site.advance(1)
            assert body.given == given
            client.transport.take(200_000)
            site.settle()
            assert body.given > given
        assert site.budgets.disk.peak == 0
        assert site.connect().get("/hello").body == HELLO


def test_a_parked_iteration_may_go_on_in_another_thread() -> None:
    application = endless()
    threads: dict[str, str] = {}
    held = {"/1": Held(), "/2": Held()}

    def dispatch(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        if environ["PATH_INFO"] not in held:
            return application(environ, start_response)
        threads[environ["PATH_INFO"]] = threading.current_thread().name
        return held[environ["PATH_INFO"]](environ, start_response)

    with Site(dispatch, response_overflow="park", threads=2, response_buffer=65536) as site:
        client = site.connect(window=0)
        client.ask()
        site.settle()
        (body,) = application.bodies
        (first,) = body.threads
        for target, holder in held.items():
            site.connect().ask(target)
            holder.wait_entered()
        (free,) = (target for target in held if threads[target] != first)
        held[free].gate.release()  # the other is kept from it
        given = body.given
        client.transport.take(200_000)
        site.loop.run_until(lambda: body.given > given)
        assert body.threads == {first, threads[free]}
        for holder in held.values():
            holder.gate.release()


def test_a_client_that_goes_while_parked_has_its_iterable_closed_by_a_pool_thread() -> None:
    application = endless()
    with Site(application, response_overflow="park", response_buffer=65536) as site:
        client = site.connect(window=0)
        client.ask()
        site.settle()
        (body,) = application.bodies
        given = body.given
        client.transport.reset()
        site.settle()
        assert body.closed == 1
        assert body.closed_by.startswith("wsgi_async-")
        assert body.given == given
        assert site.budgets.memory.used == 0


def test_many_endless_streams_share_one_thread() -> None:
    application = endless()
    with Site(application, response_overflow="park", threads=1, response_buffer=65536) as site:
        clients = [site.connect(window=0) for _ in range(50)]
        for client in clients:
            client.ask()
        site.settle()
        assert len(application.bodies) == 50
        assert site.connect().get("/hello").body == HELLO
        for client in clients:
            client.transport.take(500_000)
        site.settle()
        assert all(len(client.transport.sent) == 500_000 for client in clients)
        for client in clients:
            client.transport.reset()
        site.settle()
        assert all(body.closed == 1 for body in application.bodies)


# --- block --------------------------------------------------------------------------------------


def test_in_block_the_thread_waits_and_one_too_many_evicts_the_longest_blocked() -> None:
    application = endless()
    with Site(application, response_overflow="block", threads=2, response_buffer=65536) as site:
        blocked = site.connections.gateway.bounds.blocked
        first, second = site.connect(window=0), site.connect(window=0)
        first.ask()
        wait_full(first)
        second.ask()
        site.loop.run_until(lambda: first.protocol._exchange is None)
        assert site.observer.dropped
        assert second.state is ConnectionState.RUNNING
        first.transport.take()
        site.loop.run_until(lambda: first.transport.is_lost)
        (answer,) = first.answers
        assert answer.is_truncated
        site.loop.run_until(lambda: application.bodies[0].closed == 1)
        assert len(blocked) == 1
        assert site.connect().get("/hello").body == HELLO


def test_the_client_of_a_blocked_thread_goes() -> None:
    application = endless()
    with Site(application, response_overflow="block", response_buffer=65536) as site:
        client = site.connect(window=0)
        client.ask()
        wait_full(client)
        client.transport.reset()
        site.settle()
        assert application.bodies[0].closed == 1
        assert len(site.connections.gateway.bounds.blocked) == 0


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

"""Responses that come before their request's body has, and ends that wait for each other."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from exchanges import exchanges_left
from uploads import CHUNKED, EXPECT, POST
from wire import HELLO, TIMEOUT, Site, echo, hello, responding

from wsgi_async.connection.states import ConnectionState
from wsgi_async.connection.upload import UploadState
from wsgi_async.errors import ClientDisconnected

# --- early responses ----------------------------------------------------------------------------


SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.mark.parametrize("after", [0, 10])
def test_an_early_response_says_close_and_reads_no_more_requests(after: int) -> None:
    calls: list[str] = []

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        calls.append(environ["RAW_URI"])
        return hello(environ, start_response)

    size = len(SMUGGLED) * 2
    with Site(application, request_buffering="stream") as site:
        client = site.connect()
        client.send(POST.format("/1") + f"Content-Length: {size}\r\n\r\n", "POST")
        client.transport.receive(SMUGGLED[:after])
        answer = client.wait()
        assert answer.body == HELLO
        assert not answer.keeps_alive
        assert client.state is ConnectionState.LINGERING
        client.transport.receive(SMUGGLED[after:] + SMUGGLED)
        client.transport.receive(SMUGGLED)
        site.settle()
        assert calls == ["/1"]
        assert len(client.answers) == 1
        client.transport.receive_eof()
        site.loop.run_pending()
        assert client.transport.is_lost
        assert not client.transport.was_reset


def test_a_complete_early_response_survives_the_end_of_its_client() -> None:
    """A client that has what it wants stops sending its body; the rest of the answer is due."""
    with Site(responding(chunks=[b"x" * 200_000]), request_buffering="stream") as site:
        client = site.connect(window=1000)
        client.send(POST.format("/") + "Content-Length: 6\r\n\r\n", "POST")
        site.loop.run_until(lambda: client.state is ConnectionState.FLUSHING)
        client.transport.receive_eof()
        client.transport.take()
        answer = client.wait()
        assert answer.is_complete
        assert len(answer.body) == 200_000


def test_a_complete_early_response_is_not_cut_for_a_body_that_stalls() -> None:
    with Site(
        responding(chunks=[b"x" * 200_000]), request_buffering="stream", body_timeout=5
    ) as site:
        client = site.connect(window=1000)
        client.send(POST.format("/") + "Content-Length: 6\r\n\r\n", "POST")
        site.loop.run_until(lambda: client.state is ConnectionState.FLUSHING)
        for _ in range(20):
            site.advance(1)
            client.transport.take(6000)
        client.transport.take()
        assert client.wait().is_complete


def test_a_response_under_way_goes_on_when_the_body_stalls() -> None:
    gate = threading.Event()
    failure: list[BaseException] = []

    def application(environ: Any, start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"first"
        assert gate.wait(TIMEOUT)
        try:
            environ["wsgi.input"].read()
        except ClientDisconnected as error:
            failure.append(error)
        yield b"second"

    with Site(application, request_buffering="stream", body_timeout=5) as site:
        client = site.connect()
        client.send(POST.format("/") + "Content-Length: 6\r\n\r\n", "POST")
        site.loop.run_until(lambda: client.partial.body)
        site.advance(60)
        gate.set()
        answer = client.wait()
        assert answer.is_complete
        assert answer.body == b"firstsecond"
        assert not answer.keeps_alive
        assert len(failure) == 1


@pytest.mark.parametrize("window", [None, 1000])
def test_a_thread_that_reads_on_after_its_response_is_told_that_it_is_over(
    window: int | None,
) -> None:
    errors: list[BaseException] = []

    def application(environ: Any, start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Length", "200000")])
        yield b"x" * 200_000
        try:
            environ["wsgi.input"].read()
        except ClientDisconnected as error:
            errors.append(error)

    with Site(application, request_buffering="stream") as site:
        client = site.connect(window=window)
        posts = threading.Semaphore(0)
        post = site.mailbox.post

        def counted(item: Any) -> None:
            post(item)
            posts.release()

        site.mailbox.post = counted  # type: ignore[method-assign]
        client.send(POST.format("/") + "Content-Length: 6\r\n\r\n", "POST")
        for _ in range(2):  # the response, and the read that waits
            assert posts.acquire(timeout=TIMEOUT)
            if window:
                site.loop.run_pending()
        if window:
            assert client.state is ConnectionState.FLUSHING
            client.transport.take()
        site.settle()
        assert client.answers[0].is_complete
        assert len(errors) == 1
        assert client.state is ConnectionState.LINGERING


def test_time_without_anything_to_take_is_not_held_against_a_reader() -> None:
    """While a body keeps a connection under watch, its response may be silent for long."""
    orders = threading.Semaphore(0)

    def application(environ: Any, start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", [])
        while environ["wsgi.input"].read(1) == b".":
            assert orders.acquire(timeout=TIMEOUT)
            yield b"x" * 30_000

    with Site(application, request_buffering="stream", min_rate=500, body_timeout=0) as site:
        client = site.connect(window=10_000)
        client.send(POST.format("/") + "Content-Length: 100000\r\n\r\n", "POST")
        client.send("." * 50_000)
        orders.release()
        site.loop.run_until(lambda: client.transport.get_write_buffer_size())
        client.transport.take(30_000)
        site.loop.run_pending()
        assert not client.transport.get_write_buffer_size()
        for _ in range(10):
            client.send("." * 4500)
            site.advance(8)
        orders.release()
        site.loop.run_until(lambda: client.transport.get_write_buffer_size())
        site.advance(4)
        assert client.state is ConnectionState.RUNNING
        client.transport.reset()
        orders.release(100_000)


# --- turns, and ends that wait for each other ---------------------------------------------------


def test_after_a_large_read_of_a_chunked_body_the_others_have_their_turn() -> None:
    """libuv reads one socket up to 32 times in a turn, and tiny chunks decode slowly."""
    with Site(echo) as site:
        client = site.connect()
        client.send(CHUNKED, "POST")
        client.transport.receive(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")
        assert not client.transport.is_reading()
        site.loop.run_pending()
        assert client.transport.is_reading()
        client.transport.receive(b"0\r\n\r\n")
        assert client.wait().body.endswith(b"x" * 0x4000)


def test_a_counted_body_is_read_without_pauses() -> None:
    with Site(echo) as site:
        client = site.connect()
        client.send(POST.format("/") + "Content-Length: 50000\r\n\r\n", "POST")
        client.transport.receive(b"x" * 40_000)
        assert client.transport.is_reading()
        client.transport.receive(b"x" * 10_000)
        assert client.wait().body.endswith(b"x" * 50_000)


def test_a_client_whose_100_comes_too_late_has_its_time_too() -> None:
    """The head of the response is out, so there is no 100; the thread must not wait for ever."""
    seen: list[BaseException] = []
    closed = threading.Event()

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", [])
        try:
            yield b"first"
            environ["wsgi.input"].read(1)
        except OSError as error:
            seen.append(error)
            raise
        finally:
            closed.set()

    with Site(application, request_buffering="stream", body_timeout=5) as site:
        client = site.connect()
        client.send(EXPECT, "POST")
        upload = client.protocol._upload
        assert upload is not None
        site.loop.run_until(lambda: upload.state is UploadState.ARRIVING)
        site.advance(6)
        assert closed.wait(TIMEOUT)
        site.settle()
        assert isinstance(seen[0], ClientDisconnected)
        assert client.transport.is_closing()


def test_a_client_that_reads_only_when_it_has_sent_all_gets_its_answer() -> None:
    """The application has read nothing, its buffer is full, and it has answered."""

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", [])
        for _ in range(40):
            yield b"x" * 10_000

    with Site(application, request_buffering="stream") as site:
        client = site.connect(window=0)
        size = 1_000_000
        client.send(POST.format("/") + f"Content-Length: {size}\r\n\r\n", "POST")
        sent = 0
        while sent < size:
            site.loop.run_until(client.transport.is_reading)
            client.transport.receive(b"y" * 50_000)
            sent += 50_000
        client.transport.take()
        site.settle()
        client.transport.take()
        assert client.wait().body == b"x" * 400_000


def test_a_refused_request_leaves_no_cycle_to_the_collector() -> None:
    with Site(max_body_size=10) as site:
        client = site.connect()
        with exchanges_left() as left:
            client.send(POST.format("/") + "Content-Length: 50\r\n\r\n", "POST")
        assert client.answers[0].status == 413
        assert left == []


@pytest.mark.parametrize(
    ("head", "options", "status", "is_known", "is_running"),
    [
        ("bad\r\n\r\n", {}, 400, False, False),
        ("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\n", {}, 413, True, False),
        (
            "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
            {"request_buffering": "stream"},
            400,
            True,
            True,
        ),
    ],
)
def test_a_refusal_is_told_once_with_what_is_known(
    head: str, options: dict[str, str], status: int, is_known: bool, is_running: bool
) -> None:
    """So that the access log has one line for each request, whoever answered it."""
    with Site(echo, max_body_size=10, **options) as site:
        client = site.connect()
        client.send(head, "POST")
        assert client.answers[0].status == status
        site.settle()
        ((request, was_running),) = site.observer.refused_requests
        assert (request is not None, was_running) == (is_known, is_running)
        assert request is None or (request.method, request.target) == ("POST", "/x")
        assert [response.status for _, response in site.observer.finished] == (
            [status] if is_running else []
        )


def test_a_response_that_its_client_does_not_take_is_kept_once() -> None:
    with Site(responding(chunks=[bytes(16384)]), response_buffer=16384) as site:
        client = site.connect(window=0)
        client.ask("/")
        site.settle()
        assert client.state is ConnectionState.FLUSHING
        exchange = client.protocol._exchange
        assert exchange is not None
        assert exchange.writer.whole is not None
        assert exchange.writer.whole[1] == b""


def test_a_client_too_many_leaves_no_cycle_to_the_collector() -> None:
    with Site(cap=1, health_path="/up") as site:
        site.connect().send("GET / HT")
        client = site.connect()
        with exchanges_left() as left:
            client.ask("/")
        assert left == []

"""How a connection ends on fakes: refusals, lingering close, half-close."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from wire import DATE, GET, HELLO, TIMEOUT, Held, Site, echo, responding

from wsgi_async.connection.input import LINGER_SIZE
from wsgi_async.connection.states import ConnectionState

# --- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "status", "options"),
    [
        ("GET / HTTP/1.1\r\n\r\n", 400, {}),
        ("\x16\x03\x01\x02", 400, {}),
        ("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400, {}),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, {}),
        ("CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 501, {}),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501, {}),
        ("GET /" + "a" * 100, 414, {"limit_request_line": 50}),
        (GET.format("/")[:-2] + "A: " + "b" * 100, 431, {"limit_request_field_size": 50}),
        (GET.format("/")[:-2] + "A: b\r\n" * 4 + "\r\n", 431, {"limit_request_fields": 4}),
        (GET.format("/")[:-2] + "A: b\r\n" * 40, 431, {"max_header_size": 100}),
        ("POST / HTTP/1.1\r\nHost: a\r\nExpect: wonders\r\n\r\n", 417, {}),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n", 413, {"max_body_size": 8}),
    ],
)
@pytest.mark.parametrize("parser", ["auto", "h11"])
def test_a_request_that_is_refused(
    raw: str, status: int, options: dict[str, Any], parser: str
) -> None:
    with Site(parser=parser, **options) as site:
        client = site.connect()
        client.send(raw, "GET")
        (answer,) = client.answers
        assert answer.status == status
        assert answer["connection"] == "close"
        assert answer["date"] == DATE
        assert str(status).encode() in answer.body
        assert client.state is ConnectionState.LINGERING
        assert site.observer.refused == [status]
        assert site.pool.submitted == 0


@pytest.mark.parametrize("buffering", ["full", "stream"])
def test_a_refused_head_request_gets_no_body(buffering: str) -> None:
    with Site(max_body_size=8, request_buffering=buffering) as site:
        client = site.connect()
        client.ask("/", "Content-Length: 9", method="HEAD")
        (answer,) = client.answers
        assert answer.status == 413
        assert answer.body == b""
        assert int(answer["content-length"] or 0) > 0


def test_an_error_answer_quotes_nothing_of_the_request() -> None:
    with Site() as site:
        client = site.connect()
        client.send("GET /secret<script> HTTP/1.1\r\nHost: <script>\r\n\r\n", "GET")
        assert b"script" not in client.answers[0].body


# --- lingering close ----------------------------------------------------------------------------


def test_a_refusal_ends_the_servers_side_and_reads_on() -> None:
    with Site() as site:
        client = site.connect()
        client.send("bad\r\n\r\n", "GET")
        assert client.transport.has_ended
        assert not client.transport.is_closing()
        client.transport.receive(b"x" * LINGER_SIZE)
        assert client.transport.is_reading()


def test_what_is_too_much_after_a_refusal_stays_in_the_kernel() -> None:
    """Closing would reset the connection, and a client that still sends lose the answer."""
    with Site() as site:
        client = site.connect()
        client.send("bad\r\n\r\n", "GET")
        client.transport.receive(b"x" * (LINGER_SIZE + 1))
        assert not client.transport.is_reading()
        assert client.state is ConnectionState.LINGERING
        site.advance(1.75)
        assert not client.transport.is_closing()
        site.advance(0.25)
        assert client.transport.is_lost


def test_lingering_ends_when_the_client_ends() -> None:
    with Site() as site:
        client = site.connect()
        client.send("bad\r\n\r\n", "GET")
        client.transport.receive(b"rest")
        client.transport.receive_eof()
        site.loop.run_pending()
        assert client.transport.is_lost
        assert client.transport.has_ended
        assert not client.transport.was_reset


def test_lingering_ends_after_two_seconds() -> None:
    with Site() as site:
        client = site.connect()
        client.send("bad\r\n\r\n", "GET")
        site.advance(1.75)
        assert not client.transport.is_closing()
        site.advance(0.25)
        assert client.transport.is_lost


def test_lingering_begins_when_all_is_sent() -> None:
    with Site(send_timeout=30, min_rate=0) as site:
        client = site.connect(window=10)
        client.send("bad\r\n\r\n", "GET")
        site.advance(10)
        assert not client.transport.is_closing()
        client.transport.take()
        assert client.answers[0].status == 400
        site.advance(4)
        assert client.transport.is_lost


def test_lingering_does_not_wait_for_ever_for_a_client_that_takes_nothing() -> None:
    with Site(send_timeout=5) as site:
        client = site.connect(window=10)
        client.send("bad\r\n\r\n", "GET")
        site.advance(7)
        assert client.transport.is_lost
        assert client.transport.was_reset


def test_what_a_transport_says_at_its_end_is_not_waited_for_for_ever() -> None:
    """Of TLS that is the close_notify, and the kernel may have room for all that came before it."""
    with Site(send_timeout=5) as site:
        client = site.connect()
        transport, write_eof = client.transport, client.transport.write_eof

        def say_more() -> None:
            write_eof()
            transport.get_write_buffer_size = lambda: 1  # type: ignore[method-assign]

        transport.write_eof = say_more  # type: ignore[method-assign]
        client.send("bad\r\n\r\n", "GET")
        site.advance(4)
        assert not transport.is_closing()
        site.advance(3)
        assert transport.is_lost
        assert transport.was_reset


def test_a_shut_down_that_fails_is_no_error() -> None:
    """shutdown(2) says ENOTCONN where the peer's reset has arrived and was not read yet."""

    def fail() -> None:
        raise OSError(107, "Transport endpoint is not connected")

    with Site() as site:
        client = site.connect()
        client.transport.write_eof = fail  # type: ignore[method-assign]
        client.send("bad\r\n\r\n", "GET")
        site.advance(2)
        assert client.transport.is_lost


# --- half-close ---------------------------------------------------------------------------------


def test_a_half_closed_client_gets_its_answer() -> None:
    application = Held()
    with Site(application) as site:
        client = site.connect()
        client.ask()
        application.wait_entered()
        client.transport.receive_eof()
        assert not client.transport.is_closing()
        application.gate.release()
        assert client.wait().body == HELLO
        site.loop.run_pending()
        assert client.transport.is_lost
        assert not client.transport.was_reset


def test_a_half_closed_client_gets_the_answers_to_all_it_asked() -> None:
    application = Held()
    with Site(application) as site:
        client = site.connect()
        for target in "/1", "/2", "/3":
            client.ask(target)
        client.transport.receive_eof()
        for _ in range(3):
            application.gate.release()
        client.wait(3)
        site.loop.run_pending()
        assert client.transport.is_lost


def test_eof_while_a_response_is_sent_leaves_what_is_pipelined() -> None:
    with Site(responding(chunks=[b"x" * 200_000])) as site:
        client = site.connect(window=0)
        client.ask("/1")
        client.ask("/2")
        site.loop.run_until(lambda: client.state is ConnectionState.FLUSHING)
        client.transport.receive_eof()
        client.transport.take()
        client.wait(2)
        assert [len(answer.body) for answer in client.answers] == [200_000] * 2
        site.loop.run_pending()
        assert client.transport.is_lost
        assert [response.complete for _, response in site.observer.finished] == [True] * 2


@pytest.mark.parametrize("asks_first", [False, True])
def test_eof_between_requests_closes(asks_first: bool) -> None:
    with Site() as site:
        client = site.connect()
        if asks_first:
            client.get()
        client.transport.receive_eof()
        site.loop.run_pending()
        assert client.transport.is_lost
        assert site.observer.refused == []


@pytest.mark.parametrize(
    "raw",
    [
        "GET / HT",
        "GET / HTTP/1.1\r\nHost: a\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabc",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
    ],
)
def test_eof_inside_a_request_never_reaches_the_application(raw: str) -> None:
    with Site() as site:
        client = site.connect()
        client.send(raw, "GET")
        client.transport.receive_eof()
        assert client.answers[0].status == 400
        site.loop.run_pending()
        assert client.transport.is_lost
        assert site.pool.submitted == 0


@pytest.mark.parametrize("buffering", ["full", "stream"])
@pytest.mark.parametrize(
    "raw",
    [
        "GET / HT",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabc",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ],
)
def test_eof_inside_a_pipelined_request_never_reaches_the_application(
    raw: str, buffering: str
) -> None:
    application = Held()
    with Site(application, request_buffering=buffering) as site:
        client = site.connect()
        client.ask("/1")
        client.send(raw, "GET")
        client.transport.receive_eof()
        application.gate.release()
        assert client.wait(2).status == 400
        assert client.answers[0].status == 200
        site.loop.run_pending()
        assert client.transport.is_lost
        assert application.calls == ["/1"]


@pytest.mark.parametrize("buffering", ["full", "stream"])
def test_a_complete_pipelined_body_before_eof_is_served(buffering: str) -> None:
    gate = threading.Event()

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        assert gate.wait(TIMEOUT)
        return echo(environ, start_response)

    with Site(application, request_buffering=buffering) as site:
        client = site.connect()
        client.ask("/1")
        client.send("POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", "POST")
        client.transport.receive_eof()
        gate.set()
        assert client.wait(2).body == b"POST /2\nabc"
        site.loop.run_pending()
        assert client.transport.is_lost

"""Connections on fakes: persistence, pipelining, framing, heads, half-close, lingering, states."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from wire import DATE, HELLO, TIMEOUT, Chunks, Held, Site, echo, hello, responding

from wsgi_async.connection.input import LINGER_SIZE
from wsgi_async.connection.protocol import PIPELINE_LIMIT, HTTPProtocol
from wsgi_async.connection.states import NEXT, ConnectionState

GET = "GET {} HTTP/1.1\r\nHost: a\r\n\r\n"


# --- persistence --------------------------------------------------------------------------------


def test_a_connection_carries_one_request_after_another() -> None:
    with Site(echo) as site:
        client = site.connect()
        for number in range(3):
            answer = client.get(f"/{number}")
            assert answer.body == b"GET /%d\n" % number
            assert answer.status == 200
            assert answer.reason == "OK"
            assert answer.keeps_alive
            assert answer["connection"] is None
            assert client.state is ConnectionState.IDLE
        assert not client.ends


@pytest.mark.parametrize(
    ("version", "field", "keeps_alive", "connection"),
    [
        ("1.1", "X-A: b", True, None),
        ("1.1", "Connection: keep-alive", True, None),
        ("1.1", "Connection: close", False, "close"),
        ("1.1", "Connection: foo, Close", False, "close"),
        ("1.0", "X-A: b", False, "close"),
        ("1.0", "Connection: keep-alive", True, "keep-alive"),
        ("1.0", "Connection: keep-alive, close", False, "close"),
    ],
)
def test_persistence_is_as_version_and_connection_ask(
    version: str, field: str, keeps_alive: bool, connection: str | None
) -> None:
    with Site() as site:
        client = site.connect()
        answer = client.get("/", field, version=version)
        assert answer.keeps_alive is keeps_alive
        assert answer["connection"] == connection
        assert answer.body == HELLO
        assert client.ends is not keeps_alive
        if keeps_alive:
            assert client.get("/", field, version=version).body == HELLO


def test_keep_alive_off_closes_after_each_response() -> None:
    with Site(keep_alive=0) as site:
        client = site.connect()
        assert not client.get().keeps_alive
        assert client.state is ConnectionState.LINGERING  # it may be sending its next request


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0\r\nConnection: keep-alive"])
@pytest.mark.parametrize("stream", [False, True])
def test_an_application_that_says_close_is_obeyed(version: str, stream: bool) -> None:
    with Site(responding(fields=[("Connection", "close")], stream=stream)) as site:
        client = site.connect()
        client.send(f"GET / {version}\r\nHost: a\r\n\r\n", "GET")
        answer = client.wait()
        assert (answer.status, answer.body) == (200, HELLO)
        assert [value for name, value in answer.fields if name == "connection"] == ["close"]
        assert client.state is ConnectionState.LINGERING
        assert site.observer.app_warnings == []


@pytest.mark.parametrize("stream", [False, True])
def test_hop_by_hop_fields_of_an_application_change_nothing(stream: bool) -> None:
    """Of an event stream, as half of all snippets write it, and as gunicorn serves it."""
    fields = [
        ("Content-Type", "text/event-stream"),
        ("Connection", "keep-alive"),
        ("Keep-Alive", "timeout=5"),
        ("Transfer-Encoding", "chunked"),
        ("Upgrade", "h2c"),
    ]
    with Site(responding(fields=fields, stream=stream)) as site:
        client = site.connect()
        for number in (1, 2):
            client.ask()
            answer = client.wait(number)
            assert (answer.status, answer.body) == (200, HELLO)
            sent = [name for name, _ in answer.fields]
            framing = "transfer-encoding" if stream else "content-length"
            assert sorted(sent) == sorted(["server", "date", "content-type", framing])
        assert client.state is ConnectionState.IDLE
        assert len(site.observer.app_warnings) == 4
        assert site.observer.app_errors == []


def test_a_client_that_says_close_is_not_lingered_for() -> None:
    with Site() as site:
        client = site.connect()
        client.get("/", "Connection: close")
        assert client.transport.is_closing()
        assert client.state is ConnectionState.CLOSING


# --- framing of responses -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "stream", "fields", "header", "keeps_alive"),
    [
        ("1.1", False, [], ("content-length", "6"), True),
        ("1.1", True, [], ("transfer-encoding", "chunked"), True),
        ("1.1", True, [("Content-Length", "6")], ("content-length", "6"), True),
        ("1.0", False, [], ("content-length", "6"), True),
        ("1.0", True, [], ("connection", "close"), False),
        ("1.0", True, [("Content-Length", "6")], ("content-length", "6"), True),
    ],
)
def test_a_body_is_framed_as_is_known_of_it(
    version: str,
    stream: bool,
    fields: list[tuple[str, str]],
    header: tuple[str, str],
    keeps_alive: bool,
) -> None:
    with Site(responding("200 OK", fields, [b"abc", b"def"], stream=stream)) as site:
        client = site.connect()
        client.ask("/", "Connection: keep-alive", version=version)
        site.settle()
        answer = client.wait()
        assert answer.body == b"abcdef"
        assert answer.is_complete
        assert header in answer.fields
        assert answer.keeps_alive is keeps_alive
        framings = {"content-length", "transfer-encoding"} & {name for name, _ in answer.fields}
        assert len(framings) == (0 if header[0] == "connection" else 1)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("method", "status", "fields", "content_length"),
    [
        ("HEAD", "200 OK", [], None),
        ("HEAD", "200 OK", [("Content-Length", "42")], "42"),
        ("GET", "204 No Content", [], None),
        ("GET", "204 No Content", [("Content-Length", "0")], None),
        ("GET", "205 Reset Content", [], "0"),
        ("GET", "304 Not Modified", [("Content-Length", "42")], "42"),
        ("HEAD", "404 Not Found", [], None),
    ],
)
def test_responses_without_a_body(
    method: str,
    status: str,
    fields: list[tuple[str, str]],
    content_length: str | None,
    stream: bool,
) -> None:
    with Site(responding(status, fields, [b"not sent"], stream=stream)) as site:
        client = site.connect()
        answer = client.get(method=method)
        assert f"{answer.status} {answer.reason}" == status
        assert answer.body == b""
        assert answer.keeps_alive
        assert answer["transfer-encoding"] is None
        if not (status.startswith("304") and stream is False):
            assert answer["content-length"] == content_length
        # the connection is where the client thinks it is
        assert client.get("/next", method=method).status == answer.status


def test_an_empty_body_has_length_zero() -> None:
    with Site(responding(chunks=[])) as site:
        client = site.connect()
        answer = client.get()
        assert answer["content-length"] == "0"
        assert answer.keeps_alive


@pytest.mark.parametrize(
    ("fields", "name", "value"),
    [
        ([], "date", DATE),
        ([], "server", "wsgi_async"),
        ([("Date", "Thu, 01 Jan 1970 00:00:00 GMT")], "date", "Thu, 01 Jan 1970 00:00:00 GMT"),
        ([("server", "mine")], "server", "mine"),
    ],
)
def test_date_and_server_are_there_once(
    fields: list[tuple[str, str]], name: str, value: str
) -> None:
    with Site(responding("200 OK", fields)) as site:
        assert site.connect().get()[name] == value


def test_the_reason_is_the_applications() -> None:
    with Site(responding("299 Rather Good")) as site:
        answer = site.connect().get()
        assert (answer.status, answer.reason) == (299, "Rather Good")


# --- pipelining ---------------------------------------------------------------------------------


def test_two_requests_in_one_receive() -> None:
    with Site(echo) as site:
        client = site.connect()
        client.send(GET.format("/1") + GET.format("/2"), "GET", "GET")
        assert client.wait(2).body == b"GET /2\n"
        assert client.answers[0].body == b"GET /1\n"


def test_pipelined_answers_come_in_order_and_one_at_a_time() -> None:
    application = Held()
    with Site(application, threads=4) as site:
        client = site.connect()
        client.ask("/1")
        application.wait_entered()
        client.ask("/2")
        client.ask("/3")
        assert client.state is ConnectionState.RUNNING
        assert site.pool.submitted == 1
        for number in (1, 2, 3):
            assert application.calls == [f"/{n}" for n in range(1, number + 1)]
            application.gate.release()
            assert client.wait(number).keeps_alive
            if number < 3:
                application.wait_entered()
        assert client.state is ConnectionState.IDLE


def test_a_pipelined_body_belongs_to_its_request() -> None:
    with Site(echo) as site:
        client = site.connect()
        client.send(
            "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
            "POST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ndef\r\n0\r\n\r\n"
            + GET.format("/3"),
            *("POST", "POST", "GET"),
        )
        client.wait(3)
        assert [bytes(a.body) for a in client.answers] == [
            b"POST /1\nabc",
            b"POST /2\ndef",
            b"GET /3\n",
        ]


def test_pipelined_requests_after_close_are_ignored() -> None:
    application = Held()
    with Site(application) as site:
        client = site.connect()
        client.ask("/1", "Connection: close")
        client.transport.receive(GET.format("/2").encode())
        application.gate.release()
        client.wait()
        assert (
            client.state is ConnectionState.LINGERING
        )  # closing now would reset, and lose the answer
        site.settle()
        assert application.calls == ["/1"]
        assert len(client.answers) == 1


def test_an_invalid_request_after_a_valid_one_gets_its_own_answer() -> None:
    with Site(echo) as site:
        client = site.connect()
        client.send(GET.format("/1") + "GET / HTTP/1.1\r\n\r\n", "GET", "GET")
        assert client.wait(2).status == 400
        assert client.answers[0].status == 200
        assert client.answers[0].keeps_alive
        assert site.observer.refused == [400]


def test_reading_pauses_above_the_pipeline_limit_and_goes_on() -> None:
    application = Held()
    request = GET.format("/" + "x" * 1000).encode()
    count = PIPELINE_LIMIT // len(request) + 2
    with Site(application, queue_size=1) as site:
        client = site.connect()
        for _ in range(count):
            client.send(request, "GET")
        assert not client.transport.is_reading()
        client.send(request, "GET")
        assert client.transport.unread == len(request)
        for number in range(count + 1):
            application.gate.release()
            assert client.wait(number + 1).body == HELLO
        site.loop.run_pending()
        assert client.transport.is_reading()
        assert client.transport.unread == 0


def test_what_is_kept_of_a_pipeline_does_not_grow_with_each_answer() -> None:
    """A receive of 256 KiB holds thousands of small requests: one answered is no room for more."""
    request = GET.format("/").encode()
    many = request * (256 * 1024 // len(request))
    with Site() as site:
        client = site.connect()
        client.transport.receive(many)
        client.transport.receive(many)
        client.transport.receive(many)
        unread = client.transport.unread
        client.judge.methods += ["GET"] * 100
        client.wait(100)
        assert client.transport.unread == unread > 0
        client.judge.methods += ["GET"] * 100_000


def test_reading_goes_on_for_a_large_head_behind_a_paused_pipeline() -> None:
    application = Held()
    head = (
        "GET /2 HTTP/1.1\r\nHost: a\r\n"
        + "".join(f"X-{n}: {'y' * 4000}\r\n" for n in range(20))
        + "\r\n"
    ).encode()
    assert len(head) > PIPELINE_LIMIT
    with Site(application, max_header_size=1 << 20) as site:
        client = site.connect()
        client.ask("/1")
        application.wait_entered()
        client.send(head[:-10], "GET")
        assert not client.transport.is_reading()
        client.send(head[-10:])
        application.gate.release()
        application.gate.release()
        client.wait(2)
        assert application.calls == ["/1", "/2"]


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
        assert not client.transport.is_closing()
        client.transport.receive(b"x")
        assert client.transport.is_closing()
        assert client.state is ConnectionState.CLOSING
        client.transport.receive(b"more")


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


# --- leaving and draining -----------------------------------------------------------------------


def test_leaving_answers_idle_and_new_connections_once_more_with_close() -> None:
    with Site(keep_alive=75) as site:
        silent, idle = site.connect(), site.connect()
        assert idle.get().keeps_alive
        site.leave()
        site.loop.run_pending()
        late = site.connect()
        for client in silent, idle, late:
            assert not client.transport.is_closing()
            client.ask()
            client.wait(len(client.judge.methods))
            assert client.answers[-1].body == HELLO
            assert not client.answers[-1].keeps_alive
            assert client.ends


def test_leaving_answers_what_is_pipelined_the_last_with_close() -> None:
    application = Held()
    with Site(application) as site:
        client = site.connect()
        for target in "/1", "/2", "/3":
            client.ask(target)
        application.wait_entered()
        site.leave()
        for _ in range(3):
            application.gate.release()
        client.wait(3)
        assert [answer.keeps_alive for answer in client.answers] == [True, True, False]


def test_leaving_keeps_a_connection_whose_response_did_not_say_close() -> None:
    gate = threading.Event()

    def application(environ: Any, start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"first"
        assert gate.wait(TIMEOUT)

    with Site(application) as site:
        client = site.connect()
        client.ask()
        site.loop.run_until(lambda: client.partial.body)
        site.leave()
        gate.set()
        assert client.wait().keeps_alive
        assert client.state is ConnectionState.IDLE
        assert not client.get().keeps_alive
        assert client.ends


def test_leaving_goes_over_into_draining() -> None:
    with Site() as site:
        idle = site.connect()
        idle.get()
        site.leave()
        site.drain()
        site.loop.run_pending()
        assert idle.transport.is_lost


def test_draining_closes_idle_and_new_connections() -> None:
    with Site() as site:
        new, idle = site.connect(), site.connect()
        idle.get()
        site.drain()
        site.loop.run_pending()
        assert new.transport.is_lost
        assert idle.transport.is_lost
        late = site.connect()
        site.loop.run_pending()
        assert late.transport.is_lost
        assert site.connections.all_closed().is_set()


def test_draining_finishes_a_head_that_has_begun_and_says_close() -> None:
    with Site() as site:
        client = site.connect()
        client.transport.receive(b"GET / HT")
        site.drain()
        assert not client.transport.is_closing()
        client.send("TP/1.1\r\nHost: a\r\n\r\n", "GET")
        answer = client.wait()
        assert answer.body == HELLO
        assert not answer.keeps_alive
        assert client.ends


def test_draining_answers_what_is_pipelined_the_last_with_close() -> None:
    application = Held()
    with Site(application) as site:
        client = site.connect()
        for target in "/1", "/2", "/3":
            client.ask(target)
        application.wait_entered()
        site.drain()
        for _ in range(3):
            application.gate.release()
        client.wait(3)
        assert [answer.keeps_alive for answer in client.answers] == [True, True, False]
        client.transport.receive_eof()
        site.loop.run_pending()
        assert site.connections.all_closed().is_set()


def test_draining_closes_after_a_response_whose_head_was_out() -> None:
    gate = threading.Event()

    def application(environ: Any, start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"first"
        assert gate.wait(TIMEOUT)
        yield b"second"

    with Site(application) as site:
        client = site.connect()
        client.ask()
        site.loop.run_until(lambda: client.partial.body)
        site.drain()
        gate.set()
        answer = client.wait()
        assert answer.is_complete
        assert answer.keeps_alive  # said before the drain began
        site.loop.run_pending()
        assert client.transport.is_lost


# --- states -------------------------------------------------------------------------------------


def test_the_table_has_every_state_and_ends_in_closed() -> None:
    assert set(NEXT) == set(ConnectionState)
    assert NEXT[ConnectionState.CLOSED] == set()
    for state in set(ConnectionState) - {ConnectionState.CLOSED}:
        assert ConnectionState.CLOSED in NEXT[state]
    reachable = {ConnectionState.NEW}
    while following := {t for s in reachable for t in NEXT[s]} - reachable:
        reachable |= following
    assert reachable == set(ConnectionState)


@pytest.mark.parametrize("state", ConnectionState)
def test_a_transition_that_is_not_in_the_table_is_refused(state: ConnectionState) -> None:
    with Site() as site:
        client = site.connect()
        for other in set(ConnectionState) - NEXT[state]:
            client.protocol.state = state
            with pytest.raises(RuntimeError, match=f"from {state.name} to {other.name}"):
                client.protocol._enter(other)
            assert client.state is state
        client.protocol.state = ConnectionState.NEW


def test_a_life_passes_through_the_states(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[ConnectionState] = []
    application = Held(body=b"x" * 200_000)
    with Site(application) as site:
        client = site.connect(window=1000)
        enter = HTTPProtocol._enter

        def watched(protocol: HTTPProtocol, state: ConnectionState) -> None:
            enter(protocol, state)
            seen.append(state)

        monkeypatch.setattr(HTTPProtocol, "_enter", watched)
        client.send("POST / HTTP/1.1\r\n", "POST")
        client.send("Host: a\r\nContent-Length: 3\r\n\r\n")
        client.send("abc")
        application.gate.release()
        site.loop.run_until(lambda: client.state is ConnectionState.FLUSHING)
        assert client.transport.get_write_buffer_size() > 0
        client.transport.take()
        client.wait()
        site.loop.run_until(lambda: client.state is ConnectionState.IDLE)
        client.transport.receive(b"bad\r\n\r\n")
        client.judge.methods.append("GET")
        client.transport.receive_eof()
        site.loop.run_pending()
        assert seen == [
            ConnectionState.HEAD,
            ConnectionState.BODY,
            ConnectionState.RUNNING,
            ConnectionState.FLUSHING,
            ConnectionState.IDLE,
            ConnectionState.LINGERING,
            ConnectionState.CLOSED,
        ]


# --- an application that fails ------------------------------------------------------------------


def test_an_exception_before_the_head_is_a_500_and_the_connection_goes_on() -> None:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        if environ["PATH_INFO"] == "/bad":
            raise ValueError("secret")
        return hello(environ, start_response)

    with Site(application) as site:
        client = site.connect()
        answer = client.get("/bad")
        assert answer.status == 500
        assert answer.keeps_alive
        assert b"secret" not in answer.body
        assert client.get("/good").body == HELLO
        ((message, error),) = site.observer.app_errors
        assert message == "the application raised"
        assert isinstance(error, ValueError)


def test_system_exit_in_the_application_costs_no_thread() -> None:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        raise SystemExit(3)

    with Site(application, threads=1) as site:
        client = site.connect()
        assert client.get().status == 500
        assert client.get().status == 500


def test_the_iterable_is_closed_once_on_a_pool_thread() -> None:
    body = Chunks([b"a", b"b"])

    def application(environ: Any, start_response: Callable[..., Any]) -> Chunks:
        start_response("200 OK", [])
        return body

    with Site(application) as site:
        client = site.connect()
        assert client.get().body == b"ab"
        site.settle()
        assert body.closed == 1
        assert body.closed_by in body.threads


def test_finished_requests_are_told_to_the_observer() -> None:
    with Site() as site:
        client = site.connect()
        client.get("/x?y")
        site.loop.clock.advance(0)
        ((request, response),) = site.observer.finished
        assert (request.method, request.target, request.version) == ("GET", "/x?y", "HTTP/1.1")
        assert request.client == "127.0.0.1:50312"
        assert ("Host", "a") in request.fields
        assert response.status == 200
        assert response.body_size == len(HELLO)
        assert response.complete


@pytest.mark.parametrize(
    ("peer", "local", "client_name", "address"),
    [
        (("127.0.0.1", 5), ("127.0.0.1", 80), "127.0.0.1:5", "127.0.0.1"),
        (("::1", 5, 0, 0), ("::1", 80, 0, 0), "[::1]:5", "::1"),
        ("", "/run/app.sock", "unix", ""),
        (("::ffff:192.0.2.1", 5, 0, 0), ("::ffff:192.0.2.2", 80, 0, 0), None, "192.0.2.1"),
    ],
)
def test_the_client_is_named_in_logs_and_in_the_environ(
    peer: object, local: object, client_name: str | None, address: str
) -> None:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        start_response("200 OK", [])
        return [f"{environ['REMOTE_ADDR']} {environ['SERVER_PORT']}".encode()]

    with Site(application) as site:
        client = site.connect(peername=peer, sockname=local)
        assert client.get().body == f"{address} 80".encode()
        if client_name:
            assert client.protocol.client == client_name

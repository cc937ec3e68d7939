"""Connections on fakes: persistence, framing of responses, pipelining."""

from __future__ import annotations

import pytest
from wire import DATE, GET, HELLO, Held, Site, echo, responding

from wsgi_async.connection.protocol import PIPELINE_LIMIT
from wsgi_async.connection.states import ConnectionState

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

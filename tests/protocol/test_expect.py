"""Expect: 100-continue on fakes: who is asked for a body, when, and who is not."""

from __future__ import annotations

import pytest
from uploads import EXPECT, POST, Reader, both
from wire import TIMEOUT, Site, echo, hello

from wsgi_async.connection.states import ConnectionState
from wsgi_async.errors import ClientDisconnected

# --- Expect -------------------------------------------------------------------------------------


def test_a_collected_body_is_asked_for_once() -> None:
    with Site(echo) as site:
        client = site.connect()
        client.send(EXPECT, "POST")
        assert client.partial.continues == 1
        assert client.transport.writes == [b"HTTP/1.1 100 Continue\r\n\r\n"]
        client.send("ab")
        client.send("cde")
        answer = client.wait()
        assert answer.body == b"POST /\nabcde"
        assert answer.continues == 1
        client.send(EXPECT + "vwxyz", "POST")
        assert client.wait(2).continues == 0


@both
def test_no_100_where_the_body_came_already(buffering: str) -> None:
    with Site(echo, request_buffering=buffering) as site:
        client = site.connect()
        client.send(EXPECT + "a", "POST")
        client.send("bcde")
        answer = client.wait()
        assert answer.body == b"POST /\nabcde"
        assert answer.continues == 0


@both
@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ("Expect: 100-continue\r\nContent-Length: 101\r\n\r\n", 413),
        ("Expect: 100-continue, else\r\nContent-Length: 5\r\n\r\n", 417),
        ("Expect: 200-ok\r\n\r\n", 417),
    ],
)
def test_no_100_before_a_refusal(fields: str, status: int, buffering: str) -> None:
    with Site(echo, max_body_size=100, request_buffering=buffering) as site:
        client = site.connect()
        client.send(POST.format("/") + fields, "POST")
        (answer,) = client.answers
        assert answer.status == status
        assert answer.continues == 0


@both
@pytest.mark.parametrize("body", ["", "Content-Length: 0\r\n"])
def test_no_100_without_a_body(body: str, buffering: str) -> None:
    with Site(echo, request_buffering=buffering) as site:
        client = site.connect()
        client.send(POST.format("/") + f"Expect: 100-continue\r\n{body}\r\n", "POST")
        answer = client.wait()
        assert answer.status == 200
        assert answer.continues == 0


@both
def test_http_1_0_knows_no_100(buffering: str) -> None:
    with Site(echo, request_buffering=buffering) as site:
        client = site.connect()
        client.send(EXPECT.replace("1.1", "1.0"), "POST")
        client.send("abcde")
        answer = client.wait()
        assert answer.body == b"POST /\nabcde"
        assert answer.continues == 0


def test_a_streamed_body_is_asked_for_at_the_first_read() -> None:
    application = Reader()
    with Site(application, request_buffering="stream") as site:
        client = site.connect()
        client.send(EXPECT, "POST")
        assert application.entered.wait(TIMEOUT)
        site.loop.run_pending()
        assert client.transport.writes == []
        application.orders.release()
        site.loop.run_until(lambda: client.partial.continues)
        client.send("abcde")
        application.orders.release(10)
        answer = client.wait()
        assert answer.body == b"abcde"
        assert answer.continues == 1


def test_no_100_after_a_final_head() -> None:
    application = Reader(early_head=True)
    with Site(application, request_buffering="stream") as site:
        client = site.connect()
        client.send(EXPECT, "POST")
        site.loop.run_until(lambda: client.partial.body)
        assert client.partial["connection"] == "close"
        application.orders.release(10)
        site.loop.run_until(lambda: client.protocol._exchange.body.is_awaited)  # type: ignore
        site.loop.run_pending()
        client.send("abcde")
        answer = client.wait()
        assert answer.body == b"earlyabcde"
        assert answer.continues == 0


def test_no_100_where_the_application_does_not_read() -> None:
    with Site(hello, request_buffering="stream") as site:
        client = site.connect()
        client.send(EXPECT, "POST")
        answer = client.wait()
        assert answer.continues == 0
        assert not answer.keeps_alive
        assert client.state is ConnectionState.LINGERING


def test_who_waits_for_a_100_is_not_slow() -> None:
    """The body's time limits begin when the client has been asked for it."""
    application = Reader()
    with Site(application, request_buffering="stream", body_timeout=30, min_rate=0) as site:
        client = site.connect()
        client.send(EXPECT, "POST")
        site.advance(100)
        assert client.transport.writes == []
        application.orders.release(10)
        site.loop.run_until(lambda: client.partial.continues)
        site.advance(25)
        assert client.state is ConnectionState.RUNNING
        site.advance(10)
        assert client.answers[0].status == 408
        site.settle()
        assert isinstance(application.errors[0], ClientDisconnected)


@pytest.mark.parametrize("options", [{"body_timeout": 30, "min_rate": 0}, {"min_rate": 500}])
def test_who_does_not_wait_for_the_100_is_judged_from_its_first_byte(
    options: dict[str, int],
) -> None:
    application = Reader()
    with Site(application, request_buffering="stream", **options) as site:
        client, other = site.connect(), site.connect()
        client.send(EXPECT, "POST")
        other.send(EXPECT, "POST")
        site.advance(100)
        client.send("a")
        other.send("a")
        site.advance(9)
        client.send("b")
        assert client.state is ConnectionState.RUNNING
        site.advance(30)
        assert other.answers[0].status == 408
        application.orders.release(1000)


def test_who_does_not_wait_for_the_100_may_send_its_body() -> None:
    application = Reader()
    with Site(application, request_buffering="stream") as site:
        client = site.connect()
        client.send(EXPECT, "POST")
        site.advance(100)
        client.send("a")
        site.advance(9)
        client.send("bcde")
        application.orders.release(10)
        answer = client.wait()
        assert answer.body == b"abcde"
        assert answer.continues == 0

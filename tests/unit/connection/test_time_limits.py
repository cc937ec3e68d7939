"""Time limits and minimum rates of connections: heads, bodies, responses, and silence."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from wire import HELLO, TIMEOUT, Client, Held, Site, hello, responding

from wsgi_async.connection.deadlines import RATE_GRACE
from wsgi_async.connection.states import ConnectionState

BIG = 300_000


# --- waiting for a head, for another request ----------------------------------------------------


def test_who_never_sends_a_byte_is_closed_silently() -> None:
    with Site(header_timeout=10) as site:
        client = site.connect()
        site.advance(9.75)
        assert not client.transport.is_lost
        site.advance(0.25)
        assert client.transport.is_lost
        assert client.transport.sent == b""
        assert site.observer.refused == []


def test_an_empty_line_is_no_head() -> None:
    with Site(header_timeout=10) as site:
        client = site.connect()
        client.transport.receive(b"\r\n")
        assert client.state is ConnectionState.NEW
        site.advance(10)
        assert client.transport.is_lost
        assert client.transport.sent == b""


def test_a_head_that_does_not_end_is_408_however_it_trickles() -> None:
    with Site(header_timeout=10) as site:
        client = site.connect()
        client.judge.methods.append("GET")
        for byte in b"GET / HTTP/1.1\r\nHost: a\r\nX: 0123456789":
            client.transport.receive(bytes([byte]))
            site.advance(0.5)
        (answer,) = client.answers
        assert answer.status == 408
        assert client.transport.is_lost


def test_the_time_for_a_head_begins_with_its_first_byte() -> None:
    with Site(header_timeout=10, keep_alive=75) as site:
        client = site.connect()
        site.advance(9)
        client.transport.receive(b"G")
        site.advance(9)
        client.send("ET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET")
        client.wait()
        site.advance(70)
        client.transport.receive(b"GET")
        site.advance(9.75)
        assert client.state is ConnectionState.HEAD
        site.advance(0.25)
        client.judge.methods.append("GET")
        assert client.answers[1].status == 408


def test_a_head_timeout_of_zero_is_none() -> None:
    with Site(header_timeout=0) as site:
        client = site.connect()
        client.transport.receive(b"GET / HTTP/1.1\r\n")
        site.advance(1000)
        assert client.state is ConnectionState.HEAD


def test_an_idle_connection_is_closed_silently() -> None:
    with Site(keep_alive=75) as site:
        client = site.connect()
        client.get()
        site.advance(50)
        client.get()
        sent = client.transport.sent
        site.advance(74.75)
        assert client.state is ConnectionState.IDLE
        site.advance(0.25)
        assert client.transport.is_lost
        assert client.transport.has_ended
        assert client.transport.sent == sent


def test_a_running_request_has_no_time_limit() -> None:
    application = Held()
    with Site(application) as site:
        client = site.connect()
        client.ask()
        site.advance(1000)
        assert client.state is ConnectionState.RUNNING
        application.gate.release()
        assert client.wait().body == HELLO


# --- a body that arrives ------------------------------------------------------------------------


def begin_upload(client: Client, size: int = 100_000) -> None:
    client.send(f"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n", "POST")


@pytest.mark.parametrize("buffering", ["full", "stream"])
def test_a_gap_in_a_body_is_408(buffering: str) -> None:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        environ["wsgi.input"].read()
        return hello(environ, start_response)

    with Site(application, request_buffering=buffering, body_timeout=30, min_rate=0) as site:
        client = site.connect()
        begin_upload(client)
        for _ in range(5):
            site.advance(29)
            client.send("x")
        site.advance(28)
        assert client.answers == []
        site.advance(4)
        assert client.answers[0].status == 408
        assert client.ends
        site.settle()
        assert site.observer.refused == [408]


def test_a_body_below_the_minimum_rate_is_408() -> None:
    with Site(min_rate=500, body_timeout=30) as site:
        client = site.connect()
        begin_upload(client)
        for _ in range(30):
            client.send("x" * 600)
            site.advance(1)
        assert client.state is ConnectionState.BODY
        for _ in range(30):
            client.send("x" * 100)
            site.advance(1)
        assert client.answers[0].status == 408


def test_the_rate_is_not_judged_within_the_grace() -> None:
    with Site(min_rate=500) as site:
        client = site.connect()
        begin_upload(client)
        site.advance(RATE_GRACE - 1)
        assert client.state is ConnectionState.BODY
        client.send("x" * 100_000)
        assert client.wait().body == HELLO


@pytest.mark.parametrize("options", [{"body_timeout": 0}, {"send_timeout": 0}])
def test_limits_of_zero_are_none(options: dict[str, int]) -> None:
    options = {"body_timeout": 0, "min_rate": 0, **options}
    with Site(**options) as site:
        client = site.connect()
        begin_upload(client, 10)
        site.advance(200)
        client.send("x" * 10)
        assert client.wait().body == HELLO


def test_a_short_timeout_is_checked_as_often_as_it_needs() -> None:
    with Site(body_timeout=1.25) as site:
        client = site.connect()
        begin_upload(client)
        site.advance(1.75)
        assert client.answers[0].status == 408


def test_a_new_body_has_its_own_time() -> None:
    with Site(min_rate=500, body_timeout=30) as site:
        client = site.connect()
        for number in range(5):
            begin_upload(client, 10)
            site.advance(8)
            client.send("x" * 10)
            client.wait(number + 1)
        assert client.state is ConnectionState.IDLE


# --- a response that is taken -------------------------------------------------------------------


def start_big(site: Site) -> Client:
    client = site.connect(window=0)
    client.ask()
    site.loop.run_until(lambda: client.state is ConnectionState.FLUSHING)
    return client


def test_who_takes_nothing_is_dropped() -> None:
    with Site(responding(chunks=[b"x" * BIG]), send_timeout=60, min_rate=0) as site:
        client = start_big(site)
        for _ in range(4):
            site.advance(58)
            assert client.state is ConnectionState.FLUSHING
            client.transport.take(1)
        site.advance(63)
        assert client.transport.is_lost
        assert client.transport.was_reset
        assert "does not take its response" in site.observer.dropped[0]
        ((_, response),) = site.observer.finished
        assert not response.complete


def test_who_takes_below_the_minimum_rate_is_dropped() -> None:
    with Site(responding(chunks=[b"x" * BIG]), min_rate=500) as site:
        client = start_big(site)
        for _ in range(60):
            client.transport.take(600)
            site.advance(1)
        assert client.state is ConnectionState.FLUSHING
        for _ in range(60):
            client.transport.take(100)
            site.advance(1)
        assert client.transport.was_reset
        assert "below the minimum rate" in site.observer.dropped[0]


def test_a_stalled_stream_is_dropped_and_its_iterable_closed() -> None:
    closed = threading.Event()

    def application(environ: Any, start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", [])
        try:
            yield from itertools.repeat(b"x" * 10_000)
        finally:
            closed.set()

    with Site(application, send_timeout=5, response_overflow="park") as site:
        client = site.connect(window=0)
        client.ask()
        site.settle()
        site.advance(7)
        assert client.transport.was_reset
        assert closed.wait(TIMEOUT)


def test_a_stream_that_never_rests_is_judged_too() -> None:
    """Each write says that there is something to watch; that must not put the judgement off."""
    orders = threading.Semaphore(0)

    def application(environ: Any, start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", [])
        while orders.acquire(timeout=TIMEOUT):
            yield b"x"

    with Site(application, send_timeout=5) as site:
        client = site.connect(window=0)
        client.ask()
        for _ in range(30):
            orders.release()
            size = client.transport.get_write_buffer_size()
            site.loop.run_until(
                lambda size=size: (
                    client.transport.get_write_buffer_size() > size or client.transport.is_lost
                )
            )
            site.advance(0.25)
            if client.transport.is_lost:
                break
        assert client.transport.was_reset
        orders.release(2)


def test_a_silent_event_stream_is_never_killed() -> None:
    orders = threading.Semaphore(0)

    def application(environ: Any, start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/event-stream")])
        for number in itertools.count():
            assert orders.acquire(timeout=TIMEOUT)
            if number == 5:
                return
            yield b"data: tick\n\n"

    with Site(application, send_timeout=5, min_rate=500, body_timeout=5) as site:
        client = site.connect()
        client.ask()
        for count in range(1, 6):
            orders.release()
            site.loop.run_until(
                lambda count=count: client.partial.body == b"data: tick\n\n" * count
            )
            site.advance(300)
            assert client.state is ConnectionState.RUNNING
        orders.release()
        assert client.wait().is_complete


def test_an_idle_connection_that_has_not_taken_its_last_bytes_does_not_stay_for_ever() -> None:
    with Site(keep_alive=10, send_timeout=5) as site:
        client = site.connect(window=20)
        client.ask()
        site.loop.run_until(lambda: client.state is ConnectionState.IDLE)
        assert client.transport.get_write_buffer_size() > 0
        site.advance(20)
        assert client.transport.is_lost

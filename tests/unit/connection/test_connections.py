"""What all connections share: time limits and rates, the cap, Retry-After, the Date, the drain."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from wire import DATE, HELLO, TIMEOUT, WALL, Client, Held, Site, hello, responding

from wsgi_async.connection.connections import REFUSAL_MARGIN, SILENCE, WARN_EVERY, Phase
from wsgi_async.connection.deadlines import RATE_GRACE
from wsgi_async.connection.open_connection import Wait
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


# --- the cap ------------------------------------------------------------------------------------


def test_at_the_cap_the_oldest_idle_connection_is_closed() -> None:
    with Site(cap=3) as site:
        clients = [site.connect() for _ in range(3)]
        for client in (clients[1], clients[0], clients[2]):
            client.get()
            site.loop.clock.advance(1)
        newcomer = site.connect()
        site.loop.run_pending()
        assert [client.transport.is_lost for client in clients] == [False, True, False]
        assert newcomer.get().body == HELLO
        assert site.observer.warnings == []


def test_to_make_room_an_idle_connection_with_bytes_unsent_is_dropped_at_once() -> None:
    """Closing it in order would keep its descriptor for as long as it takes nothing."""
    with Site(cap=1) as site:
        idle = site.connect(window=20)
        idle.ask()
        site.loop.run_until(lambda: idle.state is ConnectionState.IDLE)
        assert idle.transport.get_write_buffer_size() > 0
        newcomer = site.connect()
        site.loop.run_pending()
        assert idle.transport.is_lost
        assert newcomer.get().body == HELLO


def test_who_was_silent_from_the_beginning_goes_before_who_is_idle() -> None:
    with Site(cap=2, header_timeout=30) as site:
        user = site.connect()
        user.get()
        silent = site.connect()
        fresh = site.connect()  # nobody has been silent for long: the idle one has to go
        site.loop.run_pending()
        assert (user.transport.is_lost, silent.transport.is_lost) == (True, False)
        site.loop.clock.advance(SILENCE)
        newcomer = site.connect()
        site.loop.run_pending()
        assert (silent.transport.is_lost, fresh.transport.is_lost) == (True, False)
        assert newcomer.get().body == HELLO


def test_a_crowd_of_silent_connections_does_not_push_the_users_out() -> None:
    with Site(cap=6, header_timeout=30) as site:
        users = [site.connect() for _ in range(3)]
        for user in users:
            user.get()
        for _ in range(20):
            site.connect()
            site.loop.clock.advance(SILENCE)
            site.loop.run_pending()
        for user in users:
            assert user.get().body == HELLO


def test_at_the_cap_without_an_idle_connection_the_newcomer_gets_503() -> None:
    application = Held()
    with Site(application, cap=2) as site:
        clients = [site.connect() for _ in range(2)]
        for client in clients:
            client.ask()
        newcomer = site.connect()
        newcomer.judge.methods.append("GET")
        (answer,) = newcomer.answers
        assert answer.status == 503
        assert answer["retry-after"] == "1"
        assert newcomer.state is ConnectionState.LINGERING
        newcomer.transport.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert newcomer.state is ConnectionState.LINGERING
        application.gate.release(2)
        for client in clients:
            assert client.wait().body == HELLO
        newcomer.transport.receive_eof()
        site.loop.run_pending()
        assert site.connect().transport.sent == b""


def test_far_beyond_the_cap_nobody_is_lingered_for() -> None:
    application = Held()
    with Site(application, cap=1) as site:
        client = site.connect()
        client.ask()
        crowd = [site.connect() for _ in range(REFUSAL_MARGIN + 10)]
        site.loop.run_pending()
        assert len(site.connections.open) == 1 + REFUSAL_MARGIN
        assert sum(newcomer.transport.is_lost for newcomer in crowd) == 10
        application.gate.release()
        for newcomer in crowd:
            newcomer.judge.methods.append("GET")


def test_refusals_are_told_once_a_minute() -> None:
    application = Held()
    with Site(application, cap=1) as site:
        client = site.connect()
        client.ask()
        for _ in range(5):
            site.connect().judge.methods.append("GET")
            site.loop.clock.advance(1)
        assert len(site.observer.warnings) == 1
        assert "--max-connections" in site.observer.warnings[0]
        site.loop.clock.advance(WARN_EVERY)
        for _ in range(2):
            site.connect().judge.methods.append("GET")
        assert len(site.observer.warnings) == 2
        application.gate.release()


# --- the rest -----------------------------------------------------------------------------------


def test_the_date_follows_the_clock_on_the_wall() -> None:
    with Site() as site:
        client = site.connect()
        assert client.get()["date"] == DATE
        site.connections.tick(site.loop.time(), WALL + 0.9)
        assert client.get()["date"] == DATE
        site.connections.tick(site.loop.time(), WALL + 1)
        assert client.get()["date"] == "Sun, 06 Nov 1994 08:49:38 GMT"


def test_all_closed_is_set_by_the_last_connection() -> None:
    with Site() as site:
        first, second = site.connect(), site.connect()
        site.connections.phase = Phase.DRAINING
        event = site.connections.all_closed()
        assert not event.is_set()
        first.transport.reset()
        site.loop.run_pending()
        assert not event.is_set()
        second.transport.reset()
        site.loop.run_pending()
        assert event.is_set()


def test_each_state_waits_for_its_own() -> None:
    with Site() as site:
        waits = site.connections.waits
        client = site.connect()

        def waiting() -> set[Wait]:
            return {wait for wait, deadlines in waits.items() if len(deadlines)}

        assert waiting() == {Wait.FIRST_BYTE}
        client.transport.receive(b"GET ")
        assert waiting() == {Wait.HEAD}
        client.send("/ HTTP/1.1\r\nHost: a\r\n\r\n", "GET")
        assert waiting() == set()
        client.wait()
        assert waiting() == {Wait.REQUEST}
        client.send("bad\r\n\r\n", "GET")
        assert waiting() == {Wait.LINGER}
        client.transport.receive_eof()
        site.loop.run_pending()
        assert waiting() == set()


def test_each_lost_connection_is_told_to_whoever_accepts() -> None:
    with Site() as site:
        told: list[int] = []
        site.connections.on_lost = lambda: told.append(len(site.connections.open))
        clients = [site.connect() for _ in range(3)]
        for client in clients:
            client.transport.reset()
            site.loop.run_pending()
        assert told == [2, 1, 0]

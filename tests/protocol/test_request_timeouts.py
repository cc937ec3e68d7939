"""The deadline of an application, on fakes: who is given up, and when."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from late import LIMIT, Steps, limited
from serving import PACKAGE
from wire import HELLO, TIMEOUT, Chunks, Held

from wsgi_async.connection.exchange import Exchange
from wsgi_async.connection.request_timeouts import SWEEP
from wsgi_async.connection.states import ConnectionState

LATE = "The application did not answer in time"


# --- a running request --------------------------------------------------------------------------


def test_a_late_application_is_answered_for_with_504() -> None:
    application = Steps(b"late")
    with limited(application) as site:
        client = site.connect()
        client.ask("/slow?x")
        application.wait()
        site.sweep(LIMIT)
        assert client.answers == []
        site.sweep(SWEEP)
        [answer] = client.answers
        assert (answer.status, answer.keeps_alive) == (504, False)
        assert LATE.encode() in answer.body
        assert client.ends
        [(request, thread, seconds, stack)] = site.observer.lost
        assert (request.method, request.target) == ("GET", "/slow?x")
        assert thread == "wsgi_async-1"
        assert LIMIT < seconds < LIMIT + 0.25
        assert any("in __next__" in line for line in stack)
        assert not any(str(PACKAGE) in line for line in stack), "only the application's"
        assert (site.pool.alive, site.pool.lost) == (1, 1)
        assert [response.status for _, response in site.observer.finished] == [504]
        application.step()
        returned, _ = site.observer.returned.get(timeout=TIMEOUT)
        assert returned.id == request.id
        assert site.pool.lost == 0
        assert len(application.closed) == 1
        assert client.transport.sent.count(b"HTTP/1.1") == 1
    assert site.observer.app_errors == []


@pytest.mark.parametrize("offset", [0.0, 0.03, 0.099])
@pytest.mark.parametrize("limit", [0.05, 0.2, 1.0, 2.34])
@pytest.mark.parametrize("chunks", [0, 1])
def test_it_is_never_early_and_at_most_a_quarter_second_late(
    limit: float, offset: float, chunks: int
) -> None:
    application = Steps(b"first", b"never")
    with limited(application, request_timeout=limit) as site:
        client = site.connect()
        site.loop.clock.advance(offset)
        client.ask()
        application.wait()
        began = site.loop.time()
        if chunks:
            application.step()
            application.wait()
        while not site.observer.lost:
            site.sweep(SWEEP)
            assert site.loop.time() - began < limit + 0.25
        assert site.loop.time() - began > limit
        application.step()
        site.observer.returned.get(timeout=TIMEOUT)


def test_capacity_stays_while_threads_hang() -> None:
    application = Held()
    with limited(application, threads=2) as site:
        stuck = [site.connect() for _ in range(2)]
        for client in stuck:
            client.ask("/stuck")
        for _ in stuck:
            application.wait_entered()
        late = site.connect()
        site.sweep(5)
        late.ask("/late")
        site.sweep(5.1)
        assert [client.wait().status for client in stuck] == [504, 504]
        application.wait_entered()  # a new thread has begun with what waited
        for _ in range(3):
            application.gate.release()
        assert late.wait().status == 200
        for _ in stuck:
            site.observer.returned.get(timeout=TIMEOUT)


def test_the_wait_for_a_thread_is_included() -> None:
    application = Held()
    with limited(application, threads=1) as site:
        first, second = site.connect(), site.connect()
        first.ask()
        application.wait_entered()
        site.sweep(5)
        second.ask()
        site.sweep(5.1)
        assert first.wait().status == 504
        application.wait_entered()
        site.sweep(4.8)
        assert second.answers == []
        site.sweep(0.2)
        assert second.wait().status == 504
        assert [round(seconds) for _, _, seconds, _ in site.observer.lost] == [10, 10]
        application.gate.release(2)
        for _ in range(2):
            site.observer.returned.get(timeout=TIMEOUT)


def test_a_queued_request_is_answered_without_losing_a_thread() -> None:
    application = Held()
    with limited(application, threads=1) as site:
        running, queued = site.connect(), site.connect()
        running.ask("/running")
        application.wait_entered()
        queued.ask("/queued")
        site.sweep(LIMIT + SWEEP)
        assert queued.wait().status == 504
        assert running.wait().status == 504
        assert [request.target for request, *_ in site.observer.lost] == ["/running"]
        application.gate.release()
        site.observer.returned.get(timeout=TIMEOUT)
        site.settle()
        assert application.calls == ["/running"]


def test_the_upload_is_excluded() -> None:
    application = Held()
    with limited(application, min_rate=0) as site:
        client = site.connect()
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n", "POST")
        for _ in range(4):
            site.sweep(9)
            client.transport.receive(b"x")
        application.wait_entered()
        site.sweep(LIMIT)
        assert client.answers == []
        site.sweep(SWEEP)
        assert client.wait().status == 504
        application.gate.release()
        site.observer.returned.get(timeout=TIMEOUT)


def test_who_answers_in_time_is_left_alone() -> None:
    application = Held()
    with limited(application) as site:
        client = site.connect()
        for count in range(1, 4):
            client.ask()
            application.wait_entered()
            site.sweep(9.9)
            application.gate.release()
            assert client.wait(count).status == 200
            site.settle()
        assert site.observer.lost == []


# --- a response that stalls ---------------------------------------------------------------------


def test_the_clock_runs_anew_for_each_chunk_and_then_the_response_is_cut() -> None:
    application = Steps(b"one", b"two", b"three")
    with limited(application) as site:
        client = site.connect()
        client.ask()
        for count in range(2):
            application.wait()
            site.sweep(9.5)
            application.step()
            site.loop.run_until(lambda count=count: len(client.partial.body) >= 3 * (count + 1))
        application.wait()
        site.sweep(LIMIT + 0.2)
        [answer] = client.answers
        assert answer.is_truncated
        assert bytes(answer.body) == b"onetwo"
        assert len(site.observer.lost) == 1
        site.loop.run_pending()
        assert client.transport.is_lost
        application.step()
        site.observer.returned.get(timeout=TIMEOUT)
        assert len(application.closed) == 1


@pytest.mark.parametrize(
    ("overflow", "counts"), [("park", "parked"), ("spool", "spooled"), ("block", "blocked")]
)
def test_time_in_which_the_client_takes_nothing_is_free(overflow: str, counts: str) -> None:
    body = Chunks([b"x" * 65536] * 40)

    def application(environ: Any, start_response: Callable[..., Any]) -> Chunks:
        start_response("200 OK", [])
        return body

    with limited(
        application, response_overflow=overflow, response_buffer=131072, send_timeout=0, min_rate=0
    ) as site:
        client = site.connect(window=0)
        client.ask()
        if overflow == "block":
            site.loop.run_until(lambda: len(site.connections.gateway.bounds.blocked))
        else:
            site.settle()
        site.sweep(100)
        assert site.observer.lost == []
        client.transport.take()
        assert len(client.wait().body) == 40 * 65536
        site.settle()
        assert (site.observer.lost, body.closed) == ([], 1)


def test_time_in_which_the_application_waits_for_the_body_is_free() -> None:
    began, gate = threading.Event(), threading.Event()

    def application(environ: Any, start_response: Callable[..., Any]) -> list[bytes]:
        body = environ["wsgi.input"].read()
        began.set()
        assert gate.wait(TIMEOUT)
        start_response("200 OK", [])
        return [body]

    with limited(application, request_buffering="stream", min_rate=0) as site:
        client = site.connect()
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n", "POST")
        [(_, exchange)] = [(c, c.in_flight.exchange) for c in site.connections.open if c.in_flight]
        site.loop.run_until(lambda: exchange.body is not None and exchange.body.waits % 2)
        for _ in range(4):
            site.sweep(9)
            client.transport.receive(b"x")
        assert began.wait(TIMEOUT)
        assert site.observer.lost == []
        site.sweep(9.5)
        assert site.observer.lost == []
        site.sweep(0.8)
        assert client.wait().status == 504
        gate.set()
        site.observer.returned.get(timeout=TIMEOUT)


@pytest.mark.parametrize("reads", [True, False])
def test_who_reads_a_body_that_is_still_coming_is_not_late(reads: bool) -> None:
    entered, gate = threading.Semaphore(0), threading.Semaphore(0)

    def application(environ: Any, start_response: Callable[..., Any]) -> list[bytes]:
        for _ in range(8):
            entered.release()
            assert gate.acquire(timeout=TIMEOUT)  # it works on each piece, and never waits for one
            assert not reads or environ["wsgi.input"].read(4)
        start_response("200 OK", [])
        return []

    with limited(application, request_buffering="stream", min_rate=0, body_timeout=0) as site:
        client = site.connect()
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n", "POST")
        assert entered.acquire(timeout=TIMEOUT)
        for _ in range(4):
            client.transport.receive(b"xxxx")
            site.sweep(LIMIT - 1)
            gate.release()
            assert entered.acquire(timeout=TIMEOUT)
            site.sweep(SWEEP)
        assert len(site.observer.lost) == (0 if reads else 1), "what it leaves does not help"
        client.transport.receive(bytes(84))
        site.sweep(SWEEP)
        assert client.answers == ([] if reads else [client.partial])
        gate.release()
        assert entered.acquire(timeout=TIMEOUT)
        site.sweep(LIMIT)  # now the request is complete, and reading is the application's own work
        assert client.answers == ([] if reads else [client.partial])
        site.sweep(SWEEP)
        assert client.wait().status == 504
        gate.release(8)
        site.observer.returned.get(timeout=TIMEOUT)


@pytest.mark.parametrize("overflow", ["spool", "park", "block"])
def test_a_close_that_hangs_costs_its_client_nothing(overflow: str) -> None:
    application = Steps(HELLO)
    application.close_gate = threading.Event()
    with limited(application, response_overflow=overflow) as site:
        client = site.connect()
        client.ask()
        application.wait()
        application.step()
        assert client.wait().body == HELLO
        application.wait()
        site.sweep(LIMIT + 2 * SWEEP)
        assert site.pool.lost == 1
        [(request, _, _, stack)] = site.observer.lost
        assert request.target == "/"
        assert any("in close" in line for line in stack)
        assert client.answers[0].status == 200
        assert client.state is ConnectionState.IDLE
        application.close_gate.set()
        site.observer.returned.get(timeout=TIMEOUT)
        application.step()
        assert client.get().body == HELLO
        site.settle()
        assert len(application.closed) == 2


def test_a_close_that_hangs_leaves_a_response_that_is_still_sent() -> None:
    application = Steps(b"x" * 300_000)
    application.close_gate = threading.Event()
    with limited(application, send_timeout=0, min_rate=0) as site:
        client = site.connect(window=1000)
        client.ask()
        application.wait()
        application.step()
        application.wait()
        site.loop.run_until(lambda: client.transport.sent)
        site.sweep(LIMIT + 2 * SWEEP)
        assert site.pool.lost == 1
        client.transport.take()
        assert len(client.wait().body) == 300_000
        application.close_gate.set()
        site.observer.returned.get(timeout=TIMEOUT)


def test_a_thread_that_hangs_for_a_client_that_has_gone_is_replaced_too() -> None:
    application = Held()
    with limited(application, threads=2) as site:
        client, other = site.connect(), site.connect()
        client.ask()
        application.wait_entered()
        client.transport.reset()
        site.loop.run_pending()
        site.sweep(LIMIT + SWEEP)
        assert len(site.observer.lost) == 1
        application.gate.release(2)
        other.ask()
        assert other.wait().status == 200
        site.observer.returned.get(timeout=TIMEOUT)


def test_a_thread_that_returns_as_it_is_lost_was_not_late_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    application = Held()
    seconds: list[float] = []
    with limited(application) as site:

        def lose(exchange: Exchange) -> int | None:
            ident = type(site.pool).lose(site.pool, exchange)
            application.gate.release()
            seconds.append(site.observer.returned.get(timeout=TIMEOUT)[1])
            return ident

        monkeypatch.setattr(site.pool, "lose", lose)
        client = site.connect()
        client.ask()
        application.wait_entered()
        site.sweep(LIMIT + SWEEP)
        assert len(site.observer.lost) == 1
        assert 0 <= seconds[0] < TIMEOUT
        assert client.wait().status == 200, "it was there before the 504"


def test_what_is_pipelined_behind_a_late_request_is_not_answered() -> None:
    application = Held()
    with limited(application) as site:
        client = site.connect()
        client.ask("/1")
        client.transport.receive(b"GET /2 HTTP/1.1\r\nHost: a\r\n\r\n")
        application.wait_entered()
        site.sweep(LIMIT + SWEEP)
        assert [answer.status for answer in client.answers] == [504]
        assert client.ends
        application.gate.release()
        site.observer.returned.get(timeout=TIMEOUT)
        site.settle()
        assert application.calls == ["/1"]

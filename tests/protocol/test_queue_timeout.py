"""The deadline of the queue, on fakes, and queued requests whose client has gone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from late import Steps, limited
from wire import Chunks, Held, Site, hello

# --- the queue's own deadline -------------------------------------------------------------------


def test_who_waits_too_long_for_a_thread_gets_503_with_retry_after() -> None:
    application = Held()
    with Site(application, threads=1, queue_timeout=30) as site:
        running, queued = site.connect(), site.connect()
        running.ask("/running")
        application.wait_entered()
        queued.ask("/queued")
        site.advance(20)
        later = site.connect()
        later.ask("/later")
        site.advance(10)
        assert queued.answers == []
        site.advance(0.25)
        answer = queued.wait()
        assert answer.status == 503
        assert answer["retry-after"] is not None
        assert running.answers == []
        assert later.answers == []
        assert site.pool.queued == 1
        application.gate.release(2)
        assert running.wait().status == 200
        assert later.wait().status == 200
        assert application.calls == ["/running", "/later"]
        assert site.observer.lost == []


def test_a_body_that_waited_too_long_gives_back_what_it_holds() -> None:
    application = Held()
    with Site(application, threads=1, queue_timeout=5, spool_threshold=10, min_rate=0) as site:
        running, queued = site.connect(), site.connect()
        running.ask()
        application.wait_entered()
        queued.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n", "POST")
        site.advance(10)  # the upload is excluded
        queued.transport.receive(b"x" * 100)
        assert site.budgets.disk.used == 100
        site.advance(5)
        assert queued.answers == []
        site.advance(0.25)
        assert queued.wait().status == 503
        assert site.budgets.disk.used == 0
        application.gate.release()


@pytest.mark.parametrize(
    ("queue_timeout", "request_timeout", "status"), [(5, 10, 503), (20, 10, 504), (10, 10, 503)]
)
def test_the_shorter_one_decides(queue_timeout: int, request_timeout: int, status: int) -> None:
    application = Steps(b"one", *[b"more"] * 100)
    options = {"queue_timeout": queue_timeout, "request_timeout": request_timeout}
    with limited(application, **options) as site:
        running, queued = site.connect(), site.connect()
        running.ask()
        application.wait()
        queued.ask()
        for _ in range(min(queue_timeout, request_timeout) - 1):
            site.sweep(1)
            application.step()  # the one that runs is always in time
            application.wait()
        assert queued.answers == []
        site.sweep(1.1)
        assert queued.wait().status == status
        assert site.observer.lost == []
        application.gate.release(100)
        site.loop.run_until(lambda: running.answers)


def test_without_a_queue_timeout_everybody_waits() -> None:
    application = Held()
    with Site(application, threads=1, queue_timeout=0) as site:
        running, queued = site.connect(), site.connect()
        running.ask()
        application.wait_entered()
        queued.ask()
        site.advance(1000)
        assert queued.answers == []
        application.gate.release(2)
        assert queued.wait().status == 200


def test_a_crowd_that_expires_is_answered_in_the_order_it_came() -> None:
    application = Held()
    with Site(application, threads=1, queue_timeout=5, cap=200) as site:
        running = site.connect()
        running.ask()
        application.wait_entered()
        crowd = [site.connect() for _ in range(100)]
        for client in crowd:
            client.ask()
        assert site.pool.queued == 100
        site.advance(5.25)
        assert site.pool.queued == 0
        assert {client.wait().status for client in crowd} == {503}
        application.gate.release()
        assert running.wait().status == 200


# --- queued requests whose client has gone ------------------------------------------------------


def test_a_queued_request_whose_client_goes_takes_no_place_in_the_queue() -> None:
    application = Held()
    with Site(application, threads=1, queue_size=2) as site:
        running = site.connect()
        running.ask("/running")
        application.wait_entered()
        for number in range(50):
            client = site.connect()
            client.ask(f"/gone{number}")
            assert client.answers == [], "no 503"
            client.transport.reset()
            site.loop.run_pending()
            assert site.pool.queued == 0
        last = [site.connect() for _ in range(2)]
        for client in last:
            client.ask("/stays")
        application.gate.release(3)
        assert [client.wait().status for client in last] == [200, 200]
        assert application.calls == ["/running", "/stays", "/stays"]


def test_a_parked_response_whose_client_goes_is_closed_by_a_thread() -> None:
    body = Chunks([b"x" * 65536] * 40)

    def application(environ: Any, start_response: Callable[..., Any]) -> Any:
        if environ["RAW_URI"] == "/hello":
            return hello(environ, start_response)
        start_response("200 OK", [])
        return body

    with limited(application, response_overflow="park", response_buffer=131072) as site:
        client = site.connect(window=0)
        client.ask()
        site.settle()
        client.transport.reset()
        site.settle()
        assert body.closed == 1

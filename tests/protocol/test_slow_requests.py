"""``--slow-request`` on fakes: who is told of, when, and that it is once."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from typing import Any

from late import Steps
from serving import PACKAGE
from streams import CHUNK, endless
from wire import HELLO, TIMEOUT, Held, Site

from wsgi_async.connection.connections import TICK
from wsgi_async.connection.slow_requests import AT_ONCE
from wsgi_async.events import Observer, RequestInfo

LIMIT = 5.0


class Told(Observer):
    """Keeps what it is told of slow requests."""

    def __init__(self) -> None:
        self.slow: list[tuple[RequestInfo, str, float, list[str]]] = []

    def request_slow(
        self, request: RequestInfo, thread: str, seconds: float, stack: list[str]
    ) -> None:
        self.slow.append((request, thread, seconds, stack))


class Watching(Site):
    def __init__(self, application: Any, **options: Any) -> None:
        options = {"slow_request": LIMIT, "threads": 1, **options}
        self.told = Told()
        super().__init__(application, subscribers=[self.told], **options)

    @property
    def targets(self) -> list[str]:
        return [request.target for request, *_ in self.told.slow]


def test_one_that_is_at_work_is_told_once_with_its_stack() -> None:
    application = Held()
    with Watching(application) as site:
        client = site.connect()
        client.ask("/slow?x")
        application.wait_entered()
        site.advance(LIMIT - TICK)
        assert site.told.slow == []
        site.advance(2 * TICK)
        [(request, thread, seconds, stack)] = site.told.slow
        assert (request.method, request.target) == ("GET", "/slow?x")
        assert thread == "wsgi_async-1"
        assert LIMIT <= seconds <= LIMIT + 2 * TICK
        assert any("in __call__" in line for line in stack)
        assert not any(str(PACKAGE) in line for line in stack), "only the application's"
        site.advance(10 * LIMIT)
        application.gate.release()
        assert client.wait().body == HELLO
        site.settle()
        site.advance(LIMIT)
        assert len(site.told.slow) == 1
        assert request.id == site.observer.finished[0][0].id


def test_it_is_off_by_default() -> None:
    application = Held()
    with Watching(application, slow_request=0) as site:
        client = site.connect()
        client.ask()
        application.wait_entered()
        site.advance(100)
        application.gate.release()
        client.wait()
        assert site.told.slow == []


def test_the_wait_for_a_thread_counts_once_it_has_one() -> None:
    """Before that there is no stack, and who holds the threads is told of instead."""
    application = Held()
    with Watching(application) as site:
        first, second = site.connect(), site.connect()
        first.ask("/first")
        application.wait_entered()
        second.ask("/second")
        site.advance(LIMIT + 1)
        assert site.targets == ["/first"]
        application.gate.release()
        application.wait_entered()
        site.advance(TICK)
        assert site.targets == ["/first", "/second"]
        assert site.told.slow[1][2] > LIMIT
        application.gate.release()
        second.wait()


def test_the_upload_does_not_count() -> None:
    application = Held()
    with Watching(application, min_rate=0, body_timeout=0) as site:
        client = site.connect()
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nx", "POST")
        site.advance(10 * LIMIT)
        client.send("y")
        application.wait_entered()
        site.advance(LIMIT - TICK)
        assert site.told.slow == []
        site.advance(2 * TICK)
        assert site.targets == ["/"]
        application.gate.release()
        client.wait()


def test_who_reads_a_body_as_it_arrives_waits_for_its_client() -> None:
    entered = threading.Event()

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        entered.set()
        body = environ["wsgi.input"].read()
        start_response("200 OK", [])
        return [body]

    options: dict[str, Any] = {"min_rate": 0, "body_timeout": 0, "request_buffering": "stream"}
    with Watching(application, **options) as site:
        client = site.connect()
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nx", "POST")
        assert entered.wait(TIMEOUT)
        site.loop.run_until(lambda: client.protocol._exchange.body.waits % 2)  # type: ignore
        site.advance(10 * LIMIT)
        assert site.told.slow == []
        client.send("y")
        assert client.wait().body == b"xy"


def test_a_thread_that_waits_for_a_slow_client_is_nobodys_business() -> None:
    application = endless()
    options: dict[str, Any] = {"response_overflow": "block", "response_buffer": 65536}
    with Watching(application, send_timeout=0, min_rate=0, **options) as site:
        client = site.connect(window=0)
        client.ask()
        site.loop.run_until(lambda: client.protocol._exchange.writer.waits % 2)  # type: ignore
        site.advance(10 * LIMIT)
        assert site.told.slow == []


def test_time_in_which_it_is_suspended_does_not_count() -> None:
    hold, entered = threading.Event(), threading.Event()

    def application(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield from itertools.repeat(CHUNK, 64)
        entered.set()
        assert hold.wait(TIMEOUT)

    options: dict[str, Any] = {"response_overflow": "park", "response_buffer": 65536}
    with Watching(application, send_timeout=0, min_rate=0, **options) as site:
        client = site.connect(window=0)
        client.ask()
        site.settle()
        site.advance(10 * LIMIT)
        while not entered.is_set():
            client.transport.take(200_000)
            site.loop.run_pending()
            site.loop.run_until(lambda: entered.is_set() or site.pool.is_idle)
        site.advance(LIMIT - TICK)
        assert site.told.slow == []
        site.advance(3 * TICK)
        assert site.targets == ["/"]
        client.transport.take()
        hold.set()
        client.wait()


def test_a_stream_that_was_told_of_is_not_told_of_again_when_it_goes_on() -> None:
    application = Steps(*[b"x" * 100_000] * 3)
    options: dict[str, Any] = {"response_overflow": "park", "response_buffer": 65536}
    with Watching(application, send_timeout=0, min_rate=0, **options) as site:
        client = site.connect(window=0)
        client.ask()
        for _ in application.items:
            application.wait()
            site.advance(2 * LIMIT)
            assert site.targets == ["/"]
            application.step()
            site.settle()  # it is suspended
            site.advance(TICK)
            client.transport.take(client.transport.get_write_buffer_size())
            site.loop.run_pending()
        client.transport.take()
        client.wait()


def test_of_many_a_few_are_told_at_a_time() -> None:
    """Each stack keeps the loop from its clients."""
    application = Held()
    count = 2 * AT_ONCE + 3
    with Watching(application, threads=count) as site:
        clients = [site.connect() for _ in range(count)]
        for number, client in enumerate(clients):
            client.ask(f"/{number}")
            application.wait_entered()
        site.advance(LIMIT - TICK)
        told = []
        for _ in range(5):
            site.advance(TICK)
            told.append(len(site.told.slow))
        assert told[-1] == count
        steps = [after - before for before, after in itertools.pairwise([0, *told])]
        assert max(steps) == AT_ONCE
        assert sorted(site.targets) == sorted(f"/{number}" for number in range(count))
        application.gate.release(count)
        for client in clients:
            client.wait()


def test_one_whose_client_has_gone_is_told_of_too() -> None:
    """It holds its thread all the same."""
    application = Held()
    with Watching(application) as site:
        client = site.connect()
        client.ask()
        application.wait_entered()
        site.advance(1)
        client.transport.reset()
        site.loop.run_until(lambda: site.observer.finished)
        site.advance(LIMIT)
        assert site.targets == ["/"]
        site.advance(LIMIT)
        assert site.targets == ["/"]
        application.gate.release()


def test_of_one_that_is_over_nothing_is_kept() -> None:
    application = Held()
    with Watching(application) as site:
        client = site.connect()
        client.ask()
        application.wait_entered()
        site.advance(LIMIT + 1)
        application.gate.release()
        client.wait()
        site.settle()
        site.advance(TICK)
        slow = site.connections._slow_requests
        assert slow is not None
        assert (slow._told, slow._watched) == (set(), {})

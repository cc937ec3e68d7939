"""The start of a request, and the parts of its time: measured where somebody asks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from exchanges import exchanges_left
from rawclient import TIMEOUT
from timed import Clock, Timed, put_clock
from wire import Held, Site, hello, responding

from wsgi_async.config.options import Config
from wsgi_async.connection.exchange import Exchange
from wsgi_async.connection.kinds import exchange_for
from wsgi_async.connection.own_fields import IdentifiedExchange, ServerTimedExchange
from wsgi_async.connection.timing import StartedExchange, TimedExchange
from wsgi_async.events import FanOut, Observer, RequestInfo, ResponseInfo

clock = pytest.fixture(put_clock)


class Started(Observer):
    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def request_started(self, request: RequestInfo) -> None:
        self.told.append(("started", request.target))


class Both(Started):
    def request_finished(self, request: RequestInfo, response: ResponseInfo) -> None:
        self.told.append(("finished", request.target))


def parts(response: ResponseInfo) -> tuple[float | None, ...]:
    times = (response.upload, response.queue, response.app, response.cpu, response.send)
    return tuple(None if seconds is None else round(seconds, 6) for seconds in times)


# --- nobody asks --------------------------------------------------------------------------------


def fan_out(*subscribers: Observer) -> FanOut:
    return FanOut(subscribers, lambda message, error: None)


def test_the_kind_of_exchange_is_what_is_asked_for() -> None:
    class Finished(Observer):
        def request_finished(self, request: RequestInfo, response: ResponseInfo) -> None:
            pass

    class Deaf(Observer):
        wants_timings = True

    plain = Config()
    for observer in (Observer(), Finished(), fan_out(), fan_out(Finished(), Deaf())):
        assert exchange_for(observer, plain) is Exchange
    assert exchange_for(fan_out(Finished(), Started()), plain) is StartedExchange
    assert exchange_for(fan_out(Finished(), Timed()), plain) is TimedExchange
    both = exchange_for(fan_out(Started(), Timed()), plain)
    assert issubclass(both, StartedExchange)
    assert issubclass(both, TimedExchange)
    for observer in (Observer(), fan_out(Timed())):
        assert exchange_for(observer, Config(server_timing=True)) is ServerTimedExchange
    identified = Config(request_id_header="X-Request-ID")
    assert exchange_for(Observer(), identified) is IdentifiedExchange
    options = Config(request_id_header="X-Request-ID", server_timing=True)
    every = exchange_for(fan_out(Started(), Timed()), options)
    assert issubclass(every, StartedExchange)
    assert issubclass(every, IdentifiedExchange)
    assert issubclass(every, ServerTimedExchange)


def test_what_nobody_asks_for_is_not_known() -> None:
    with Site(hello) as site:
        site.connect().get()
        [(_, response)] = site.observer.finished
    assert parts(response) == (None,) * 5


# --- started ------------------------------------------------------------------------------------


def test_each_that_starts_ends() -> None:
    told = Both()
    with Site(subscribers=[told], health_path="/health") as site:
        client = site.connect()
        client.get("/a")
        client.get("/health")
        client.get("/b")
    assert told.told == [
        (what, target) for target in ("/a", "/health", "/b") for what in ("started", "finished")
    ]


def test_a_health_check_ends_too_if_its_client_is_dropped() -> None:
    """Of several at once the second is answered in the loop's next turn."""
    told = Both()
    with Site(subscribers=[told], health_path="/health") as site:
        client = site.connect()
        request = "GET /health HTTP/1.1\r\nHost: a\r\n\r\n"
        client.transport.receive((request * 2).encode())
        assert told.told == [("started", "/health")]
        client.protocol.abort()  # the end of the graceful timeout
        site.settle()
        [(_, response)] = site.observer.finished
    assert told.told == [("started", "/health"), ("finished", "/health")]
    assert (response.status, response.complete) == (499, False)


def test_one_with_a_body_starts_once_that_is_there() -> None:
    told = Both()
    with Site(subscribers=[told]) as site:
        client = site.connect()
        client.send("POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nx", "POST")
        site.settle()
        assert told.told == []
        client.send(b"x")
        client.wait()
    assert told.told == [("started", "/up"), ("finished", "/up")]


def test_one_that_is_refused_has_not_started() -> None:
    told = Both()
    held = Held()
    with Site(held, threads=1, queue_size=1, max_body_size=5, subscribers=[told]) as site:
        for target in ("/running", "/queued"):
            site.connect().ask(target)
        held.wait_entered()
        assert site.connect().get("/full").status == 503
        large = site.connect()
        large.send("POST /large HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n", "POST")
        assert large.wait().status == 413
        held.gate.release(2)
        site.settle()
    assert told.told[:2] == [("started", "/running"), ("started", "/queued")]
    assert sorted(told.told[2:]) == [("finished", "/queued"), ("finished", "/running")]


# --- timed --------------------------------------------------------------------------------------


def test_the_parts_of_the_time(clock: Clock) -> None:
    """A body that comes slowly, a queue, an application, a client that takes its time."""
    timed = Timed()
    began, go_on = threading.Event(), threading.Event()

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        if environ["PATH_INFO"] == "/first":
            began.set()
            assert go_on.wait(TIMEOUT)
            return [b""]
        clock.work(3, 0.5)
        return [b"x" * 300_000]

    with Site(application, threads=1, subscribers=[timed]) as site:
        site.connect().ask("/first")
        assert began.wait(TIMEOUT)
        client = site.connect(window=0)
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nx", "POST")
        clock.now += 1
        client.send(b"x")
        clock.now += 2
        go_on.set()
        site.settle()
        clock.now += 4
        client.transport.take(1_000_000)
        site.settle()
        assert len(client.answers[0].body) == 300_000
    first, second = timed.ended
    assert parts(first)[:4] == (0, 0, 3, 0)  # how long the loop was away after it is chance
    assert parts(second) == (1, 2, 3, 0.5, 4)
    assert second.duration == 10


def closing(clock: Clock, hold: threading.Event) -> Callable[..., Any]:
    class Body:
        def __iter__(self) -> Iterator[bytes]:
            clock.work(1, 0.25)
            yield b"12345"

        def close(self) -> None:
            assert hold.wait(TIMEOUT)
            clock.work(5, 5)

    def application(environ: dict[str, Any], start_response: Any) -> Body:
        start_response("200 OK", [("Content-Length", "5")])
        return Body()

    return application


def test_what_is_done_after_the_response_is_not_in_it(clock: Clock) -> None:
    """The loop is through with it before the thread is, and knows the processor time all the
    same."""
    timed, hold = Timed(), threading.Event()
    with Site(closing(clock, hold), subscribers=[timed]) as site:
        client = site.connect()
        assert client.get().body == b"12345"
        site.loop.run_until(lambda: timed.ended)
        hold.set()
        site.settle()
    [response] = timed.ended
    assert parts(response) == (0, 0, 1, 0.25, 0)


def test_what_is_done_before_the_end_is_in_it(clock: Clock) -> None:
    timed, hold = Timed(), threading.Event()
    hold.set()
    with Site(closing(clock, hold), subscribers=[timed]) as site:
        client = site.connect()
        client.ask()
        site.pool_has_ended()  # while the loop is away
        clock.now += 2
        site.settle()
        assert len(client.answers) == 1
    [response] = timed.ended
    assert parts(response) == (0, 0, 6, 5.25, 2)


@pytest.mark.parametrize("is_stream", [True, False])
def test_the_time_until_the_first_chunk(clock: Clock, is_stream: bool) -> None:
    """Early hints are none, and neither is the head, which goes with it."""
    timed = Timed()
    seen: list[float | None] = []

    def application(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        times = environ["wsgi_async.times"]
        environ["wsgi.early_hints"]([("Link", "</a>")])
        clock.work(2, 0.5)
        start_response("200 OK", [] if is_stream else [("Content-Length", "1")])
        clock.work(1, 0.5)
        seen.append(times.first)
        yield b"x"
        seen.append(times.first)
        clock.work(4, 0.5)
        if is_stream:
            yield b"y"
            clock.work(8, 0.5)

    with Site(application, subscribers=[timed]) as site:
        site.connect().get()
        site.settle()
    [response] = timed.ended
    assert response.first == 3
    assert seen[0] is None
    if is_stream:
        assert (seen[1], response.app) == (3, 15)


def test_where_there_was_no_chunk_there_is_no_first(clock: Clock) -> None:
    timed, held = Timed(), Held()
    with Site(held, subscribers=[timed], health_path="/health") as site:
        site.connect().get("/health")
        client = site.connect()
        client.ask()
        held.wait_entered()
        client.transport.reset()
        site.loop.run_until(lambda: len(timed.ended) == 2)
        held.gate.release()
        site.settle()
    assert [response.first for response in timed.ended] == [None, None]


def test_a_suspended_iteration_waits_for_its_client(clock: Clock) -> None:
    timed = Timed()

    def application(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        for _ in range(8):
            clock.work(1, 0.25)
            yield b"x" * 65536

    options: dict[str, Any] = {"response_overflow": "park", "response_buffer": 131072}
    with Site(application, subscribers=[timed], **options) as site:
        client = site.connect(window=0)
        client.ask()
        site.settle()
        waited = 0
        while not client.answers:
            clock.now += 10
            waited += 10
            client.transport.take(200_000)
            site.settle()
        assert waited >= 20
    [response] = timed.ended
    assert parts(response) == (0, 0, 8, 2, waited)


def test_a_client_that_leaves_while_the_application_works(clock: Clock) -> None:
    timed, held = Timed(), Held()
    with Site(held, subscribers=[timed]) as site:
        client = site.connect()
        client.ask()
        held.wait_entered()
        clock.now += 7
        client.transport.reset()
        site.loop.run_until(lambda: timed.ended)
        held.gate.release()
        site.settle()
    [response] = timed.ended
    assert (response.status, response.complete) == (499, False)
    assert parts(response) == (0, 0, 7, None, 0)


def test_a_client_that_leaves_the_queue(clock: Clock) -> None:
    timed, held = Timed(), Held()
    with Site(held, threads=1, subscribers=[timed]) as site:
        site.connect().ask()
        held.wait_entered()
        client = site.connect()
        client.ask()
        clock.now += 3
        client.transport.reset()
        site.loop.run_until(lambda: timed.ended)
        held.gate.release()
        site.settle()
    assert parts(timed.ended[0]) == (0, 3, None, None, None)


def test_what_the_loop_answers_has_no_parts(clock: Clock) -> None:
    timed = Timed()
    with Site(subscribers=[timed], health_path="/health") as site:
        site.connect().get("/health")
    assert [parts(response) for response in timed.ended] == [(None,) * 5]


def test_a_struck_thread_is_through(clock: Clock) -> None:
    """What leaves its thread is ended there, and its time with it."""
    timed = Timed()

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        clock.work(2, 1)
        raise SystemExit(1)

    with Site(application, subscribers=[timed]) as site:
        assert site.connect().get().status == 500
        site.settle()
    assert parts(timed.ended[0]) == (0, 0, 2, 1, 0)


@pytest.mark.parametrize("kind", ["list", "stream"])
def test_it_leaves_no_cycle_to_the_collector(kind: str) -> None:
    application = hello if kind == "list" else responding(chunks=[b"x"] * 3, stream=True)
    with Site(application, subscribers=[Timed(), Both()]) as site:
        client = site.connect()
        client.get()
        site.settle()
        with exchanges_left() as left:
            for _ in range(3):
                client.get()
                site.settle()
    assert left == []

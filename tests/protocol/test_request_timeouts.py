"""The deadline of an application and that of the queue, on fakes: who is given up, and when."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from serving import PACKAGE
from wire import HELLO, TIMEOUT, Chunks, Client, Held, Site, hello

from wsgi_async.connection.completions import RECOVERY
from wsgi_async.connection.exchange import Exchange
from wsgi_async.connection.request_timeouts import SWEEP
from wsgi_async.connection.states import ConnectionState
from wsgi_async.errors import ClientDisconnected, RequestTimeout

LIMIT = 10.0
LATE = "The application did not answer in time"

Application = Callable[..., Any]


class Steps:
    """An application whose every step is taken when the test says so.

    An item is a chunk, or the class of an exception to be raised.
    """

    def __init__(self, *items: Any, fields: list[tuple[str, str]] | None = None) -> None:
        self.items = items
        self.fields = fields or []
        self.entered = threading.Semaphore(0)
        self.gate = threading.Semaphore(0)
        self.closed: list[str] = []
        self.close_gate: threading.Event | None = None
        self.seen: list[BaseException] = []

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        self.environ = environ
        start_response("200 OK", self.fields)
        return self._Body(self)

    def wait(self) -> None:
        """Until the application has come to its next step."""
        assert self.entered.acquire(timeout=TIMEOUT)

    def step(self) -> None:
        self.gate.release()

    class _Body:
        def __init__(self, steps: Steps) -> None:
            self.steps = steps
            self.items = iter(steps.items)

        def __iter__(self) -> Any:
            return self

        def __next__(self) -> bytes:
            steps = self.steps
            item = next(self.items)
            steps.entered.release()
            assert steps.gate.acquire(timeout=TIMEOUT)
            if isinstance(item, type):
                raise item
            return item  # type: ignore[no-any-return]

        def close(self) -> None:
            self.steps.closed.append(threading.current_thread().name)
            if self.steps.close_gate is not None:
                self.steps.entered.release()
                assert self.steps.close_gate.wait(TIMEOUT)


def limited(application: Application, **options: Any) -> Site:
    options.setdefault("request_timeout", LIMIT)
    options.setdefault("threads", 1)
    return Site(application, **options)


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


# --- what a lost thread does later --------------------------------------------------------------


@pytest.mark.parametrize(
    "late",
    [b"late", RuntimeError, SystemExit, ClientDisconnected, "not bytes"],
    ids=["writes", "raises", "exits", "disconnects", "breaks the rules"],
)
@pytest.mark.parametrize("head_is_out", [False, True])
def test_what_comes_late_interests_nobody(late: Any, head_is_out: bool) -> None:
    application = Steps(*([b"first"] if head_is_out else []), late, b"more", b"and more")
    with limited(application) as site:
        client = site.connect()
        client.ask()
        application.wait()
        if head_is_out:
            application.step()
            application.wait()
        site.sweep(LIMIT + 3 * SWEEP)
        site.loop.run_pending()
        before = client.transport.sent
        application.gate.release(3)
        site.observer.returned.get(timeout=TIMEOUT)
        site.settle()
        assert client.transport.sent == before
        assert site.observer.app_errors == []
        assert len(application.closed) == 1
        assert site.pool.lost == 0


def test_a_late_write_callable_raises_in_the_application() -> None:
    gate, entered = threading.Event(), threading.Event()
    seen: list[BaseException] = []

    def application(environ: Any, start_response: Callable[..., Any]) -> list[bytes]:
        write = start_response("200 OK", [])
        entered.set()
        assert gate.wait(TIMEOUT)
        try:
            write(b"late")
        except BaseException as error:
            seen.append(error)
            raise
        return []

    with limited(application) as site:
        client = site.connect()
        client.ask()
        assert entered.wait(TIMEOUT)
        site.sweep(LIMIT + SWEEP)
        assert client.wait().status == 504
        gate.set()
        site.observer.returned.get(timeout=TIMEOUT)
        assert isinstance(seen[0], ClientDisconnected)


# --- interrupt_late -----------------------------------------------------------------------------


def spin() -> None:
    while True:
        pass


class Endless:
    """Pure Python that ends only when something is raised in it."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.entered = threading.Event()
        self.seen: list[type[BaseException]] = []
        self.closed = 0

    def __call__(self, environ: Any, start_response: Callable[..., Any]) -> Any:
        start_response("200 OK", [])
        if self.where == "call":
            self.loop()
        return self

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self.where == "next":
            self.loop()
        raise StopIteration

    def close(self) -> None:
        self.closed += 1
        if self.where == "close":
            self.loop()

    def loop(self) -> None:
        try:
            self.entered.set()
            spin()  # CPython 3.13.0: not in this function
        except BaseException as error:
            self.seen.append(type(error))
            raise


@pytest.mark.parametrize("where", ["call", "next", "close"])
def test_an_endless_loop_is_interrupted(where: str) -> None:
    application = Endless(where)
    with limited(application, interrupt_late=True) as site:
        client = site.connect()
        client.ask()
        assert application.entered.wait(TIMEOUT)
        if where == "close":
            assert client.wait().status == 200
        site.sweep(LIMIT + 3 * SWEEP)
        site.observer.returned.get(timeout=TIMEOUT)
        assert application.seen == [RequestTimeout]
        assert application.closed == (where != "call")
        assert client.answers[0].status == (200 if where == "close" else 504)
        assert site.observer.app_errors == []
        site.pool_has_ended()
        assert (site.pool.alive, site.pool.lost) == (1, 0)


def test_who_catches_everything_is_interrupted_once() -> None:
    entered, caught, gate = threading.Event(), threading.Event(), threading.Event()

    def application(environ: Any, start_response: Callable[..., Any]) -> list[bytes]:
        try:
            entered.set()
            spin()
        except BaseException:
            caught.set()
        assert gate.wait(TIMEOUT)
        start_response("200 OK", [])
        return [b"late"]

    with limited(application, interrupt_late=True) as site:
        client = site.connect()
        client.ask()
        assert entered.wait(TIMEOUT)
        site.sweep(LIMIT + SWEEP)
        assert caught.wait(TIMEOUT)
        site.sweep(LIMIT)
        assert site.pool.lost == 1
        gate.set()
        site.observer.returned.get(timeout=TIMEOUT)
        assert len(client.answers) == 1


def test_nothing_is_raised_without_the_option() -> None:
    application = Held()
    with limited(application) as site:
        client = site.connect()
        client.ask()
        application.wait_entered()
        site.sweep(3 * LIMIT)
        assert site.pool.lost == 1
        assert client.wait().status == 504
        application.gate.release()  # else its assertion would say that it was never released
        site.observer.returned.get(timeout=TIMEOUT)
        assert site.observer.app_errors == []


# --- too many lost threads ----------------------------------------------------------------------


def lose_all(site: Site, application: Held) -> list[Client]:
    stuck = [site.connect() for _ in range(site.config.threads)]
    for client in stuck:
        client.ask("/stuck")
        application.wait_entered()
    site.sweep(LIMIT + SWEEP)
    assert [client.wait().status for client in stuck] == [504] * len(stuck)
    return stuck


def test_at_as_many_lost_threads_as_there_are_new_requests_get_503() -> None:
    application = Held()
    with limited(application, threads=2) as site:
        lose_all(site, application)
        assert site.observer.capacity == [("exhausted", 2)]
        for head in ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", None):
            client = site.connect()
            if head is None:
                client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n", "POST")
            else:
                client.send(head, "GET")
            answer = client.wait()
            assert (answer.status, answer["retry-after"]) == (503, str(RECOVERY))
        site.sweep(5)
        site.advance(5)
        assert site.observer.capacity == [("exhausted", 2)], "told once"
        application.gate.release()
        site.observer.returned.get(timeout=TIMEOUT)
        site.sweep(SWEEP)
        assert site.observer.capacity == [("exhausted", 2), ("recovered", 1)]
        application.gate.release(2)
        client = site.connect()
        client.ask()
        assert client.wait().body == HELLO
        site.observer.returned.get(timeout=TIMEOUT)


def test_connections_live_on_while_threads_are_exhausted() -> None:
    application = Held()
    with limited(application, threads=1, health_path="/health") as site:
        idle = site.connect()
        idle.ask("/health")
        idle.wait()
        lose_all(site, application)
        idle.ask("/health")
        assert idle.wait(2).status == 200
        application.gate.release()
        site.observer.returned.get(timeout=TIMEOUT)


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

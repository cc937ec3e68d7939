"""Threads that were given up, on fakes: what they do later, and what follows from many."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from late import LIMIT, Steps, limited
from wire import HELLO, TIMEOUT, Client, Held, Site

from wsgi_async.connection.completions import RECOVERY
from wsgi_async.connection.request_timeouts import SWEEP
from wsgi_async.errors import ClientDisconnected, RequestTimeout

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

"""``wsgi_async.client`` on fakes: what its connection tells it, in the loop's own order."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from exchanges import exchanges_left
from wire import TIMEOUT, Site

from wsgi_async.wsgi.client import Client


class Asking:
    """Registers itself with the client of each request."""

    def __init__(self) -> None:
        self.clients: list[Client] = []
        self.called: list[str] = []
        self.entered = threading.Event()
        self.gate = threading.Event()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        client, path = environ["wsgi_async.client"], environ["PATH_INFO"]
        self.clients.append(client)
        client.on_gone(lambda: self.called.append(path))
        client.on_over(lambda: environ).cancel()
        assert not client.wait(0)
        if path == "/held":
            self.entered.set()
            assert self.gate.wait(TIMEOUT)
        start_response("200 OK", [("Content-Type", "text/plain")])
        if path == "/fails":
            return self.failing()
        if path == "/stream":
            return iter([b"part"] * 3)
        return [path.encode()]

    def failing(self) -> Iterator[bytes]:
        try:
            yield b"first"
            raise ValueError
        finally:
            self.clients[-1].on_gone(lambda: self.called.append("late"))


def test_nothing_of_it_is_left_to_the_collector() -> None:
    application = Asking()
    with Site(application) as site, exchanges_left() as left:
        for target in ("/", "/stream"):
            client = site.connect()
            client.ask(target)
            site.settle()
            client.transport.reset()
            site.settle()
        application.clients.clear()
        client = site.connect()
        client.ask("/held")
        assert application.entered.wait(TIMEOUT)
        client.transport.reset()
        site.loop.run_until(lambda: application.called)
        application.gate.set()
        site.settle()
        assert application.called == ["/held"]
        application.clients.clear()
        del client
        site.clients.clear()
    assert left == []


def test_one_whose_response_the_application_itself_has_cut() -> None:
    """It is not the client that has gone."""
    application = Asking()
    with Site(application) as site:
        client = site.connect()
        client.ask("/fails")
        site.loop.run_until(lambda: client.transport.is_lost)
        site.settle()
    assert application.called == []
    assert not application.clients[0].gone


@pytest.mark.parametrize("leaves", [True, False])
def test_a_response_that_is_not_all_sent_has_not_ended(leaves: bool) -> None:
    """The application has done with it, and its client leaves before it has taken it."""
    application = Asking()

    def large(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        application(environ, start_response)
        return [b"x" * 300_000]

    with Site(large) as site:
        client = site.connect(window=1000)
        client.ask()
        site.settle()
        if not leaves:
            client.transport.take()
            site.settle()
        client.transport.reset()
        site.settle()
        assert application.called == (["/"] if leaves else [])
        assert application.clients[0].gone is leaves


def test_what_a_thread_says_after_the_end_is_not_that_its_client_has_gone() -> None:
    """A generator that goes on beyond its Content-Length: its response has long ended."""
    application = Asking()
    gate = threading.Event()

    def beyond(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        application.clients.append(environ["wsgi_async.client"])
        start_response("200 OK", [("Content-Length", "4")])
        yield b"body"
        assert gate.wait(TIMEOUT)

    with Site(beyond) as site:
        client = site.connect()
        assert client.get().body == b"body"
        exchange = application.clients[0]._reporter
        exchange.connection.exchange_woke(exchange)  # type: ignore[attr-defined]
        gate.set()
        site.settle()
        assert not application.clients[0].gone
        assert application.clients[0].on_gone(print).cancel()

"""What an application writes to wsgi.errors, for a front server's log: where that is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastcgi_clients import FakeFront
from fastcgi_peer import ABORT, Record, request, variables
from wire import HELLO, Held, Site

from wsgi_async.connection.front_errors import FRONT_ERRORS_LIMIT
from wsgi_async.events import RequestInfo


def writing(*lines: str) -> Callable[..., Any]:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        for line in lines:
            environ["wsgi.errors"].write(line)
        start_response("200 OK", [])
        return [HELLO]

    return application


class ErrorsSite(Site):
    """One that keeps what is written to wsgi.errors."""

    def __init__(self, application: Any, **options: Any) -> None:
        super().__init__(application, **options)
        self.logged: list[str] = []

        def app_stderr(request: RequestInfo, text: str) -> None:
            self.logged.append(text)

        self.observer.app_stderr = app_stderr  # type: ignore[method-assign]


def test_it_is_told_where_that_is_asked_for() -> None:
    with ErrorsSite(writing("one\n", "two ", "and\nthree\n"), fastcgi_stderr=True) as site:
        front = FakeFront(site)
        for _ in range(2):
            ended = front.ask()
            assert (ended.body, ended.stderr) == (HELLO, b"one\ntwo and\nthree\n")
        assert site.logged == ["one", "two and", "three"] * 2, "it is in our log all the same"


def test_it_is_not_told_where_nobody_asks() -> None:
    with ErrorsSite(writing("one\n")) as site:
        front = FakeFront(site)
        assert front.ask().stderr == b""
        assert site.logged == ["one"]
        assert front.protocol.errors is None


def test_it_is_told_before_the_response_and_within() -> None:
    gate = Held()

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        print("before", file=environ["wsgi.errors"])
        start_response("200 OK", [])
        yield b"one"
        print("within", file=environ["wsgi.errors"])
        gate({"RAW_URI": ""}, lambda *args: None)
        yield b"two"

    with Site(application, fastcgi_stderr=True) as site:
        front = FakeFront(site)
        front.send(request())
        gate.wait_entered()
        site.loop.run_until(lambda: 1 in front.open and b"within" in front.open[1].stderr)
        assert front.open[1].stderr == b"before\nwithin\n"
        gate.gate.release()
        assert front.wait().body == b"onetwo"


def test_controls_are_shown_and_text_is_utf_8() -> None:
    with Site(writing("a\x1b[31m\rb\té\udc80\n"), fastcgi_stderr=True) as site:
        assert FakeFront(site).ask().stderr == "a\\x1b[31m\\x0db\té\\udc80\n".encode()


@pytest.mark.parametrize("line", ["x" * 1000 + "\n", "\n", "é" * 3000 + "\n"])
def test_it_is_bounded(line: str) -> None:
    with ErrorsSite(writing(*[line] * 10_000), fastcgi_stderr=True) as site:
        front = FakeFront(site)
        stderr = front.ask().stderr
        assert len(stderr) <= FRONT_ERRORS_LIMIT + 100
        assert stderr.endswith(b"(there is more, in the log of the server behind)\n")
        assert stderr.count(b"there is more") == 1
        assert len(site.logged) == 10_000
        assert front.ask().stderr == stderr, "each request has its own bound"


def test_a_late_thread_tells_nothing_in_another_requests_name() -> None:
    gate = Held()

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        if environ["wsgi.input"].read() == b"held":
            gate({"RAW_URI": ""}, lambda *args: None)
            environ["wsgi.errors"].write("late\n")
        start_response("200 OK", [])
        return [HELLO]

    with ErrorsSite(application, fastcgi_stderr=True) as site:
        front = FakeFront(site)
        front.send(request(body=b"held"))
        gate.wait_entered()
        front.send([Record(ABORT, 1)])
        assert front.ask().stderr == b""
        front.send(request(body=b"held"))
        gate.wait_entered()
        gate.gate.release(2)
        assert front.wait(3).stderr == b"late\n"
        site.settle()
        assert site.logged == ["late"] * 2


def test_what_comes_after_the_response_is_in_our_log_alone() -> None:
    class Closing(list[bytes]):
        def close(self) -> None:
            errors.write("closed\n")

    errors: Any = None

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        nonlocal errors
        errors = environ["wsgi.errors"]
        start_response("200 OK", [])
        return Closing([HELLO])

    with ErrorsSite(application, fastcgi_stderr=True) as site:
        front = FakeFront(site)
        for _ in range(2):
            assert (front.ask().body, front.ended[-1][1].stderr) == (HELLO, b"")
            site.settle()
        assert site.logged == ["closed"] * 2


def test_clients_of_http_are_told_nothing() -> None:
    with ErrorsSite(writing("one\n"), fastcgi_stderr=True) as site:
        client = site.connect()
        assert client.get().body == HELLO
        assert site.logged == ["one"]
        assert client.protocol.errors is None


def test_it_is_told_also_where_fields_of_proxies_are_removed() -> None:
    """The head that the application has is not the one that came then."""
    options: dict[str, Any] = {"fastcgi_stderr": True, "forwarded_allow_ips": "10.0.0.1"}
    with Site(writing("one\n"), **options) as site:
        ended = FakeFront(site).ask(variables(HTTP_X_FORWARDED_FOR="203.0.113.7"))
        assert (ended.body, ended.stderr) == (HELLO, b"one\n")

"""``--request-id-header`` on fakes: one name of a request, for everybody who logs it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from timed import Timed
from wire import HELLO, Held, Site, responding

from wsgi_async.events import RequestInfo
from wsgi_async.middleware import RequestId

Application = Callable[..., Any]
MADE = re.compile(r"[0-9a-f]+-[0-9a-f]+")  # the fakes' way
SANE = [
    "a",
    "7f3b-1",
    "0" * 128,
    "Root=1-67891233-abcdef012345678912345678",
    "4bf92f35-77b3-4da6-a3ce-929d0e0e4736",
    "a/b:c@d+e~f_g.h",
]
INSANE = [
    "",
    "a b",
    "0" * 129,
    "a,b",
    'a"b',
    "a]",
    "[a",
    "a\tb",
    "a;b",
    "<a>",
    "a\\b",
    "a%0ab",
    "\xe9",
    "a'b",
]


class Seen:
    """An application that keeps what its environ says of the id."""

    def __init__(self) -> None:
        self.ids: list[tuple[object, object]] = []

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        self.ids.append((environ.get("wsgi_async.request_id"), environ.get("HTTP_X_REQUEST_ID")))
        start_response("200 OK", [])
        return [HELLO]


def identified(application: Application, **options: Any) -> Site:
    return Site(application, request_id_header="X-Request-ID", **options)


@pytest.mark.parametrize("name", SANE)
@pytest.mark.parametrize("field", ["X-Request-ID", "x-request-id"])
def test_a_sane_id_is_taken_and_echoed(name: str, field: str) -> None:
    seen, timed = Seen(), Timed()
    with identified(seen, subscribers=[timed]) as site:
        answer = site.connect().get("/", f"{field}: {name}")
        assert answer.all("x-request-id") == [name]
    assert seen.ids == [(name, name)]
    assert [request.id for request in timed.requests] == [name]
    assert [request.id for request, _ in site.observer.finished] == [name]


@pytest.mark.parametrize("name", INSANE)
@pytest.mark.parametrize("parser", ["auto", "h11"])
def test_anything_else_is_replaced_everywhere(name: str, parser: str) -> None:
    """Nobody gets to see it by this name: it could forge a line of somebody's log."""
    seen = Seen()
    with identified(seen, parser=parser) as site:
        answer = site.connect().get("/", f"X-Request-ID: {name}")
        [made] = answer.all("x-request-id")
        assert made != name
        assert MADE.fullmatch(made)
        assert [request.id for request, _ in site.observer.finished] == [made]
    assert seen.ids == [(made, made)]


@pytest.mark.parametrize(
    "fields", [[], ["X-Request-ID: a", "X-Request-ID: b"], ["X_Request_ID: a"]]
)
def test_where_there_is_not_one_of_them_one_is_made(fields: list[str]) -> None:
    """Of two each log may take another one; with underscores it is not that field."""
    seen = Seen()
    with identified(seen) as site:
        client = site.connect()
        names = [client.get("/", *fields)["x-request-id"] for _ in range(3)]
    assert len(set(names)) == 3
    assert all(map(MADE.fullmatch, names))
    assert seen.ids == [(name, name) for name in names]


def test_it_is_off_by_default() -> None:
    seen = Seen()
    with Site(seen) as site:
        answer = site.connect().get("/", "X-Request-ID: mine")
        assert answer.all("x-request-id") == []
        assert [request.id == "mine" for request, _ in site.observer.finished] == [False]
    assert seen.ids == [(None, "mine")]


def test_the_applications_own_field_stays() -> None:
    application = responding(fields=[("x-request-ID", "its own")])
    with identified(application) as site:
        answer = site.connect().get("/", "X-Request-ID: a")
        assert answer.all("x-request-id") == ["its own"]


@pytest.mark.parametrize(
    "application",
    [
        responding(stream=True),
        responding("304 Not Modified"),
        responding(chunks=[b"x" * 50_000]),
        responding("200 OK", [("Content-Length", str(len(HELLO)))], stream=True),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("server_timing", [False, True])
def test_each_response_has_it_once(
    application: Application, method: str, server_timing: bool
) -> None:
    with identified(application, server_timing=server_timing) as site:
        answer = site.connect().get("/", "X-Request-ID: a-1", method=method)
        assert answer.all("x-request-id") == ["a-1"]
        assert len(answer.all("server-timing")) == server_timing


def test_what_the_server_answers_has_it_too() -> None:
    """So that a client can ask about its 503."""
    held = Held()
    options: dict[str, Any] = {"health_path": "/health", "max_body_size": 5, "queue_size": 1}
    with identified(held, threads=1, **options) as site:
        health = site.connect().get("/health", "X-Request-ID: probe")
        assert health.all("x-request-id") == ["probe"]
        large = site.connect()
        large.ask("/", "X-Request-ID: large", "Content-Length: 9", method="POST")
        assert (large.wait().status, large.wait()["x-request-id"]) == (413, "large")
        running, queued = site.connect(), site.connect()
        running.ask("/", "X-Request-ID: running")
        held.wait_entered()
        queued.ask("/", "X-Request-ID: queued")
        full = site.connect().get("/", "X-Request-ID: full")
        assert (full.status, full["x-request-id"]) == (503, "full")
        held.gate.release(2)
        assert running.wait()["x-request-id"] == "running"
        assert queued.wait()["x-request-id"] == "queued"
        refused = [request for request, _ in site.observer.refused_requests]
        assert [request.id for request in refused if request] == ["large", "full"]


def test_a_head_that_cannot_be_read_has_none() -> None:
    with identified(responding()) as site:
        client = site.connect()
        client.send("GET / HTTP/1.1\r\nHost: a\r\nX-Request-ID: a\r\nNo colon\r\n\r\n", "GET")
        answer = client.wait()
        assert (answer.status, answer.all("x-request-id")) == (400, [])


def test_an_error_of_the_application_is_told_by_it() -> None:
    told: list[str] = []

    class Errors(Timed):
        def app_error(
            self, request: RequestInfo, message: str, error: BaseException | None = None
        ) -> None:
            told.append(request.id)

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        raise ZeroDivisionError

    with identified(application, subscribers=[Errors()]) as site:
        answer = site.connect().get("/", "X-Request-ID: broken-1")
        assert (answer.status, answer["x-request-id"]) == (500, "broken-1")
    assert told == ["broken-1"]


def test_two_requests_on_a_connection_have_two() -> None:
    with identified(responding()) as site:
        client = site.connect()
        request = "GET / HTTP/1.1\r\nHost: a\r\nX-Request-ID: {}\r\n\r\n"
        client.send(request.format("one") + request.format("two"), "GET", "GET")
        client.wait(2)
        assert [answer["x-request-id"] for answer in client.answers] == ["one", "two"]


def test_the_middleware_keeps_the_servers_id() -> None:
    """Whoever has both has one name in all logs, and one field."""
    seen = Seen()
    with identified(RequestId(seen)) as site:
        answer = site.connect().get("/", "X-Request-ID: a b")
        [made] = answer.all("x-request-id")
        assert [request.id for request, _ in site.observer.finished] == [made]
    assert seen.ids == [(made, made)]

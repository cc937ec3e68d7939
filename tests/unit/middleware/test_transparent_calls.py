"""Every middleware, and all at once: start_response, write(), exceptions, wsgiref.validate."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any
from wsgiref.validate import validator

import pytest
from gateway import TEXT, App, Reply, ask
from wrapped import ORIGIN, WRAPPERS, environ, wrapped

from wsgi_async import middleware
from wsgi_async.errors import ApplicationError
from wsgi_async.middleware import (
    CORS,
    HealthChecks,
    HTTPExceptions,
)

ANSWERS = ("errors", "debugging", "all of them")
"""Those that answer an exception."""


# --- start_response and write()


@wrapped
def test_start_response_may_come_with_the_first_chunk(wrap: Callable[[App], App]) -> None:
    class Application:
        def __init__(self, environ: Any, start_response: Any) -> None:
            self.start = start_response

        def __iter__(self) -> Iterator[bytes]:
            self.start("201 Created", [*TEXT, ("X-Seen", "yes")], None)
            yield b"made"

    reply = ask(wrap(Application), environ())
    assert (reply.status, reply.field("X-Seen"), reply.body) == (201, "yes", b"made")


@wrapped
def test_the_applications_headers_are_not_touched(wrap: Callable[[App], App]) -> None:
    headers = [*TEXT, ("Vary", "Accept-Language")]

    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", headers)
        return [b""]

    for _ in range(2):
        reply = ask(wrap(application), environ())
        assert [*reply.fields[:2]] == headers == [*TEXT, ("Vary", "Accept-Language")]


@wrapped
def test_exc_info_replaces_what_is_not_sent(wrap: Callable[[App], App]) -> None:
    def application(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [*TEXT, ("X-Old", "1")])
        yield b""
        try:
            raise KeyError("missing")
        except KeyError:
            start_response("503 Service Unavailable", [*TEXT, ("X-New", "1")], sys.exc_info())
        yield b"sorry"

    reply = ask(wrap(application), environ())
    assert (reply.status, reply.body, reply.reports) == (503, b"sorry", [])
    assert (reply.field("X-Old"), reply.field("X-New")) == ("", "1")


@wrapped
def test_exc_info_is_raised_once_something_is_sent(wrap: Callable[[App], App]) -> None:
    error = KeyError("missing")
    seen = []

    def application(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", TEXT)
        yield b"begun"
        try:
            raise error
        except KeyError:
            try:
                start_response("500 Oh", TEXT, sys.exc_info())
            except KeyError as raised:
                seen.append(raised)
                raise

    reply = ask(wrap(application), environ())
    assert (reply.status, reply.body, reply.end) == (200, b"begun", "cut")
    assert seen == [error]
    assert [found for _, found in reply.reports] == [error]


@wrapped
def test_a_second_start_response_is_refused(wrap: Callable[[App], App]) -> None:
    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", TEXT)
        with pytest.raises(ApplicationError):
            start_response("200 OK", TEXT)
        return [b"first"]

    assert ask(wrap(application), environ()).body == b"first"


@wrapped
def test_write_writes_at_once(wrap: Callable[[App], App]) -> None:
    events: list[str] = []

    def application(environ: Any, start_response: Any) -> list[bytes]:
        write = start_response("200 OK", TEXT)
        for data in (b"a", b"b"):
            events.append(f"writing {data.decode()}")
            write(data)
        return [b"c"]

    reply = ask(wrap(application), environ(), events=events)
    assert events == ["writing a", "sent a", "writing b", "sent b", "sent c"]
    assert reply.calls[:3] == ["start", "write_and_wait", "write_and_wait"]


@wrapped
def test_an_exception_after_write_cuts(wrap: Callable[[App], App]) -> None:
    error = ValueError("oh")

    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", TEXT)(b"begun")
        raise error

    reply = ask(wrap(application), environ())
    assert (reply.status, reply.body, reply.end) == (200, b"begun", "cut")
    assert [found for _, found in reply.reports] == [error]


@pytest.mark.parametrize("name", [name for name in WRAPPERS if name not in ANSWERS])
def test_an_exception_reaches_the_server(name: str) -> None:
    error = ValueError("oh")

    def application(environ: Any, start_response: Any) -> list[bytes]:
        raise error

    assert [found for _, found in ask(WRAPPERS[name](application), environ()).reports] == [error]


@wrapped
@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()], ids=["exit", "interrupt"])
def test_what_is_no_exception_is_nobodys_to_answer(
    wrap: Callable[[App], App], error: BaseException
) -> None:
    def application(environ: Any, start_response: Any) -> list[bytes]:
        raise error

    assert [found for _, found in ask(wrap(application), environ()).reports] == [error]


@pytest.mark.parametrize(
    "give",
    [
        lambda start: None,
        lambda start: "text",
        lambda start: b"bytes",
        lambda start: 7,
        lambda start: ["text"],
        lambda start: iter(["text"]),
        lambda start: iter([7]),
        lambda start: [b"a", bytearray(b"b")],
        lambda start: start("200", tuple(TEXT)) and [],
        lambda start: start("200 OK", [("Name:", "value")]) and [],
        lambda start: start("200 OK", [("Name", 7)]) and [],
        lambda start: start("200 OK", ["Name: value"]) and [],
        lambda start: start("200 OK", [("Name",)]) and [],
        lambda start: start("200 OK", [7]) and [],
        lambda start: start(200, TEXT) and [],
    ],
)
@wrapped
def test_a_mistake_is_the_same_mistake(
    wrap: Callable[[App], App], give: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the server has to say of an application's mistake, it says as if nothing were there."""

    def application(environ: Any, start_response: Any) -> Any:
        try:
            if give.__code__.co_names != ("start",):
                start_response("200 OK", TEXT)
            return give(start_response)
        except Exception as error:
            mistakes.append(str(error))
            raise

    def outcome(app: App) -> list[str]:
        mistakes.clear()
        reply = ask(app, environ())
        return mistakes or [message for message, _ in reply.reports]

    mistakes: list[str] = []
    assert outcome(application) == outcome(wrap(application))


@wrapped
def test_the_environ_is_the_servers(wrap: Callable[[App], App]) -> None:
    seen = []

    def application(environ: Any, start_response: Any) -> list[bytes]:
        seen.append(environ)
        start_response("200 OK", TEXT)
        return []

    given = environ()
    ask(wrap(application), given)
    assert seen[0] is given


# --- wsgiref.validate, around and inside


def lists(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [*TEXT])
    return [b"some", b"thing"]


def lazily(environ: Any, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [*TEXT])
    yield b"some"
    yield b"thing"


def writes(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [*TEXT])(b"some")
    return [b"thing"]


def replaces(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [*TEXT])
    try:
        raise ValueError("oh")
    except ValueError:
        start_response("200 Fine", [*TEXT], sys.exc_info())
    return [b"something"]


@pytest.mark.parametrize("application", [lists, lazily, writes, replaces])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize("layers", ["around", "inside", "both"])
@wrapped
def test_the_validator_finds_nothing(
    wrap: Callable[[App], App],
    layers: str,
    method: str,
    application: App,
    capsys: pytest.CaptureFixture[str],
) -> None:
    app: Any = application
    if layers != "around":
        app = validator(app)
    app = wrap(app)
    if layers != "inside":
        app = validator(app)
    reply: Reply = ask(app, environ(method))
    assert (reply.status, reply.reports) == (200, [])
    if method != "HEAD":
        assert reply.body == b"something"
    # It tells of an iterable that was not closed there.
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("path", "variables", "status"),
    [
        ("/health", {}, 200),
        ("/health", {"REQUEST_METHOD": "POST"}, 405),
        ("/", {"HTTP_AUTHORIZATION": ""}, 401),
        ("/none", {}, 404),
        ("/boom", {}, 500),
        ("/", {"REQUEST_METHOD": "OPTIONS", "HTTP_ACCESS_CONTROL_REQUEST_METHOD": "GET"}, 204),
        (
            "/",
            {
                "REQUEST_METHOD": "OPTIONS",
                "HTTP_ACCESS_CONTROL_REQUEST_METHOD": "GET",
                "HTTP_ORIGIN": "https://other.example",
            },
            403,
        ),
    ],
)
def test_the_validator_finds_nothing_in_their_own_answers(
    path: str, variables: dict[str, str], status: int
) -> None:
    def application(environ: Any, start_response: Any) -> list[bytes]:
        if environ["PATH_INFO"] == "/none":
            raise middleware.HTTPException(404, "not there")
        raise ValueError("oh")

    app = validator(CORS(application, origins=[ORIGIN]))
    for wrap in (
        HTTPExceptions,
        WRAPPERS["errors"],
        WRAPPERS["basicauth"],
        lambda app: HealthChecks(app, {}),
        WRAPPERS["cors"],
    ):
        app = validator(wrap(app))
    for method in ("GET", "HEAD"):
        reply = ask(app, {**environ(method), "PATH_INFO": path, **variables})
        assert (reply.status, reply.reports) == (status, [])
        is_head = method == "HEAD" and "REQUEST_METHOD" not in variables
        assert bool(reply.body) == (not is_head and status != 204)
        assert bool(reply.length) == (status != 204), "also for HEAD"

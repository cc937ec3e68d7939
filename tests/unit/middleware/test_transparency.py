"""Every middleware of the package, and all of them at once, leave an application what it was."""

from __future__ import annotations

import base64
import http.client
import io
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from wsgiref.validate import validator

import pytest
from gateway import TEXT, App, Reply, ask, environ_of, stream
from rawclient import TIMEOUT
from serving import Served

from wsgi_async import middleware
from wsgi_async.errors import ApplicationError
from wsgi_async.middleware import (
    CORS,
    AccessLog,
    BasicAuth,
    ConnectionPool,
    Errors,
    HealthChecks,
    HTTPExceptions,
    Pooled,
    RequestId,
    debugging,
)
from wsgi_async.wsgi.file_wrapper import FileWrapper

ORIGIN = "https://page.example"
ALLOWED = {
    "Authorization": "Basic " + base64.b64encode(b"ada:secret").decode(),
    "Origin": ORIGIN,
    "X-Request-ID": "the-request",
}
VARIABLES = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in ALLOWED.items()}

access_log = logging.Logger("access", logging.INFO)
access_log.addHandler(logging.NullHandler())
error_log = logging.Logger("errors")
error_log.addHandler(logging.NullHandler())


def pooled(application: App) -> App:
    pool = ConnectionPool(object)

    def borrowing(environ: Any, start_response: Any) -> Any:
        environ["wsgi_async.pool"].get()
        return application(environ, start_response)

    def checked(environ: Any, start_response: Any) -> Any:
        assert pool.lent == 0, "the connection of the request before is still lent"
        return outer(environ, start_response)

    outer = Pooled(borrowing, pool)
    return checked


WRAPPERS: dict[str, Callable[[App], App]] = {
    "access": lambda app: AccessLog(app, logger=access_log),
    "basicauth": lambda app: BasicAuth(app, {"ada": "secret"}),
    "cors": lambda app: CORS(app, origins=[ORIGIN], expose=["X-Seen"], credentials=True),
    "errors": lambda app: Errors(app, logger=error_log),
    "debugging": debugging,
    "httpexceptions": HTTPExceptions,
    "healthchecks": lambda app: HealthChecks(app, {"nothing": lambda: None}),
    "pooled": pooled,
    "requestid": RequestId,
}


def all_of_them(application: App) -> App:
    for wrap in SINGLE:
        application = wrap(application)
    return application


SINGLE = tuple(WRAPPERS.values())
WRAPPERS["all of them"] = all_of_them
ANSWERS = ("errors", "debugging", "all of them")
"""Those that answer an exception."""

wrapped = pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)


def environ(method: str = "GET", **variables: Any) -> dict[str, Any]:
    return environ_of("/page?x=1", method, **VARIABLES, **variables)


class Body:
    """An iterable that notes what is done with it."""

    def __init__(self, events: list[str], chunks: list[Any], close: Exception | None = None):
        self._events = events
        self._chunks = iter(chunks)
        self._close = close

    def __iter__(self) -> Iterator[bytes]:
        self._events.append("iter")
        return self

    def __next__(self) -> bytes:
        chunk = next(self._chunks)
        if isinstance(chunk, BaseException):
            raise chunk
        self._events.append(f"made {chunk.decode()}")
        return bytes(chunk)

    def close(self) -> None:
        self._events.append("closed")
        if self._close is not None:
            raise self._close


def of_body(events: list[str], chunks: list[Any], close: Exception | None = None) -> App:
    def application(environ: Any, start_response: Any) -> Body:
        start_response("200 OK", TEXT)
        return Body(events, chunks, close)

    return application


def test_none_is_forgotten_here() -> None:
    classes = {
        name
        for name in middleware.__all__
        if isinstance(getattr(middleware, name), type)
        and "__call__" in vars(getattr(middleware, name))
        and not issubclass(getattr(middleware, name), Exception)
    }
    tested = {
        type(wrap(stream(b""))).__name__
        for name, wrap in WRAPPERS.items()
        if name not in ("pooled", "all of them")
    }
    assert classes - {"Pooled", "HTTPException"} == tested


# --- streaming and close()


@wrapped
def test_each_chunk_is_sent_before_the_next_is_made(wrap: Callable[[App], App]) -> None:
    events: list[str] = []
    reply = ask(wrap(of_body(events, [b"a", b"b", b"c"])), environ(), events=events)
    assert events == [
        *("iter", "made a", "sent a", "made b", "sent b", "made c", "sent c"),
        "closed",
    ]
    assert (reply.status, reply.end, reply.reports) == (200, "finished", [])


@wrapped
def test_an_empty_chunk_is_passed_on(wrap: Callable[[App], App]) -> None:
    """PEP 3333, "Middleware Handling of Block Boundaries": one for each."""
    result = wrap(stream(b"", b"a", b"", b"b"))(environ(), lambda *args: None)
    assert list(result) == [b"", b"a", b"", b"b"]
    result.close()


@wrapped
def test_chunks_reach_a_client_while_the_application_waits(
    wrap: Callable[[App], App], serve: Callable[..., Served]
) -> None:
    gate = threading.Event()

    def application(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", TEXT)
        yield b"first\n"
        assert gate.wait(TIMEOUT)
        yield b"second\n"

    port = serve(wrap(application)).server.port
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    try:
        connection.request("GET", "/", headers=ALLOWED)
        response = connection.getresponse()
        assert response.readline() == b"first\n"
        gate.set()
        assert response.read() == b"second\n"
    finally:
        gate.set()
        connection.close()


@wrapped
def test_close_comes_once_where_the_client_leaves(wrap: Callable[[App], App]) -> None:
    events: list[str] = []
    reply = ask(wrap(of_body(events, [b"a", b"b", b"c"])), environ(), events=events, leaves=True)
    assert events == ["iter", "made a", "sent a", "made b", "closed"]
    assert (reply.end, reply.reports) == ("cut", [])


@wrapped
def test_close_comes_once_where_nobody_iterates(wrap: Callable[[App], App]) -> None:
    events: list[str] = []
    result = wrap(of_body(events, [b"a"]))(environ(), lambda *args: None)
    result.close()
    assert events == ["closed"]


@wrapped
@pytest.mark.parametrize("error", [ValueError("oh"), SystemExit(3)], ids=["error", "exit"])
def test_close_comes_once_where_a_later_chunk_raises(
    wrap: Callable[[App], App], error: BaseException
) -> None:
    events: list[str] = []
    reply = ask(wrap(of_body(events, [b"a", error])), environ(), events=events)
    assert events == ["iter", "made a", "sent a", "closed"]
    assert reply.end == "cut"
    assert [found for _, found in reply.reports] == [error], "the server has to know of it"


@wrapped
def test_close_comes_once_where_the_first_chunk_raises(wrap: Callable[[App], App]) -> None:
    events: list[str] = []
    reply = ask(wrap(of_body(events, [ValueError("oh")])), environ())
    assert events == ["iter", "closed"]
    assert reply.status == 500


@wrapped
def test_what_close_raises_reaches_the_server(wrap: Callable[[App], App]) -> None:
    events: list[str] = []
    error = ValueError("cannot close")
    reply = ask(wrap(of_body(events, [b"a"], error)), environ(), events=events)
    assert events == ["iter", "made a", "sent a", "closed"]
    assert [found for _, found in reply.reports] == [error]
    assert ask(wrap(stream(b"x")), environ()).body == b"x"


@wrapped
def test_nothing_closes_an_iterator_that_the_server_has_not_closed(
    wrap: Callable[[App], App],
) -> None:
    events: list[str] = []
    result = wrap(of_body(events, [b"a", b"b"]))(environ(), lambda *args: None)
    iterator = iter(result)
    assert next(iterator) == b"a"
    del iterator
    assert "closed" not in events
    result.close()
    assert events.count("closed") == 1


# --- what the server treats in its own way


@wrapped
@pytest.mark.parametrize("kind", [list, tuple])
def test_a_list_stays_one(wrap: Callable[[App], App], kind: type) -> None:
    def application(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", TEXT)
        return kind([b"some", b"thing"])

    reply = ask(wrap(application), environ())
    assert (reply.calls, reply.length, reply.body) == (["respond"], 9, b"something")


@wrapped
def test_a_plain_file_is_sent_by_the_server(wrap: Callable[[App], App], tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content of the file")
    files = []

    def application(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", TEXT)
        files.append(path.open("rb"))
        return environ["wsgi.file_wrapper"](files[-1])

    reply = ask(wrap(application), environ())
    assert (reply.calls, reply.body) == (["send_file"], b"content of the file")
    assert files[0].closed


@wrapped
def test_another_file_is_iterated_and_closed(wrap: Callable[[App], App]) -> None:
    file = io.BytesIO(b"not on disk")

    def application(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", TEXT)
        return FileWrapper(file, 4)

    reply = ask(wrap(application), environ())
    assert reply.chunks == [b"not ", b"on d", b"isk"]
    assert file.closed


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

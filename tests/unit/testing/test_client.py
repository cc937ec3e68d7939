"""A client in process, and that it cannot be told from one with a socket."""

from __future__ import annotations

import contextvars
import errno
import io
import json
import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from wsgiref.validate import validator

import pytest
from rawclient import RawClient

import wsgi_async
from wsgi_async.testing import Headers, Response, TestClient, TooManyRedirects, live_server

TEXT = [("Content-Type", "text/plain; charset=utf-8")]


def echo(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """The environ, and the body."""
    shown = {key: value for key, value in environ.items() if isinstance(value, str | int | tuple)}
    shown["body"] = environ["wsgi.input"].read().decode("latin-1")
    shown["types"] = {key: type(value).__name__ for key, value in environ.items()}
    body = json.dumps(shown, sort_keys=True).encode()
    start_response("200 OK", [("Content-Type", "application/json")])
    return [body]


def streamed(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
    start_response("200 Fine", TEXT)
    yield b""
    yield b"one "
    yield b"two"


def counted(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [*TEXT, ("Content-Length", "6"), ("Connection-Note", "x")])
    yield b"abc"
    yield b"def"


def many(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    fields = [("X-Twice", "1"), ("X-Twice", "2"), ("Server", "mine"), ("Vary", "A")]
    start_response("418 I'm a teapot", [*TEXT, *fields])
    return [b"a", b"", b"b" * 300_000]


def written(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    write = start_response("200 OK", TEXT)
    write(b"written ")
    return [b"and returned"]


def no_content(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("204 No Content", [("Content-Length", "0")])
    return []


def reset_content(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("205 Reset Content", [])
    return [b"dropped"]


def not_modified(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("304 Not Modified", [("ETag", '"x"'), ("Content-Length", "100")])
    return []


def empty(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return []


def a_file(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    file = Path(__file__).open("rb")  # noqa: SIM115 (the wrapper closes it)
    file.seek(10)
    start_response("200 OK", TEXT)
    return environ["wsgi.file_wrapper"](file)  # type: ignore[no-any-return]


def part_of_a_file(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    start_response("206 Partial Content", [*TEXT, ("Content-Length", "20")])
    return environ["wsgi.file_wrapper"](Path(__file__).open("rb"))  # type: ignore[no-any-return]


def a_file_in_memory(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    return environ["wsgi.file_wrapper"](io.BytesIO(b"x" * 100_000))  # type: ignore[no-any-return]


def raises(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    raise KeyError("the app's own")


def replaced(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", TEXT)
    try:
        raise ValueError("early")
    except ValueError as error:
        start_response("500 Oops", TEXT, (type(error), error, error.__traceback__))
    yield b"sorry"


APPLICATIONS = [
    echo,
    streamed,
    counted,
    many,
    written,
    no_content,
    reset_content,
    not_modified,
    empty,
    a_file,
    part_of_a_file,
    a_file_in_memory,
    raises,
    replaced,
]

REQUESTS: dict[str, dict[str, Any]] = {
    "get": {"method": "GET", "url": "/a%20b//é;x?q=1&r=%ff", "query": {"s": "ü"}},
    "head": {"method": "HEAD", "url": "/"},
    "options": {"method": "OPTIONS", "url": "*"},
    "form": {"method": "POST", "url": "/", "form": {"a": ["1", "2"]}},
    "empty post": {"method": "POST", "url": "/root/below"},
    "json": {"method": "PUT", "url": "/", "json": {"a": None}},
    "chunked": {"method": "PATCH", "url": "/", "data": [b"ab", b"", b"c" * 70_000]},
    "large": {"method": "POST", "url": "/", "data": b"x" * 90_000},
    "too large": {"method": "POST", "url": "/", "data": b"x" * 200_000},
    "too large, chunked": {"method": "POST", "url": "/", "data": [b"x" * 60_000] * 2},
    "fields": {
        "method": "GET",
        "url": "/",
        "headers": [("X-A", "1"), ("x-a", "2"), ("X_A", "3"), ("Proxy", "p"), ("X-E", "")],
        "cookies": {"a": "b", "c": "d"},
        "auth": ("user", "pass:word"),
    },
    "no host": {"method": "GET", "url": "/", "headers": {"Host": None}},
    "bad host": {"method": "GET", "url": "/", "headers": {"Host": "a b"}},
    "close": {"method": "GET", "url": "/", "headers": {"Connection": "close"}},
    "expects": {"method": "GET", "url": "/", "headers": {"Expect": "much"}},
    "long": {"method": "GET", "url": "/" + "x" * 9000},
    "many fields": {"method": "GET", "url": "/", "headers": {"X": ["1"] * 101}},
    "connect": {"method": "CONNECT", "url": "/"},
}

# What is refused is less than what a closing connection still reads, so that no reset comes before
# the answer was seen.
OPTIONS: dict[str, Any] = {
    "root_path": "/root",
    "threads": 2,
    "max_body_size": 100_000,
    "spool_threshold": 80_000,
}


def told(status: int, reason: str, pairs: Iterable[tuple[str, str]], body: bytes) -> Any:
    """What of a response must be the same; the reason phrase of our own errors included."""
    fields = sorted((k.lower(), "" if k.lower() == "date" else v) for k, v in pairs)
    return status, reason, fields, body


@pytest.mark.parametrize("application", APPLICATIONS, ids=lambda app: app.__name__)
def test_a_live_server_makes_the_same_of_it(application: Callable[..., Any]) -> None:
    """The same bytes to both: the same environ, the same response."""
    import h11

    with live_server(application, **OPTIONS) as live:
        for name, asked in REQUESTS.items():
            if application is not echo and name not in ("get", "head", "close", "form"):
                continue
            with RawClient(("127.0.0.1", live.port)) as raw:
                client = TestClient(
                    application,
                    base_url=live.url,
                    peer=raw.socket.getsockname(),
                    server=("127.0.0.1", live.port),
                    raise_exceptions=False,
                    **OPTIONS,
                )
                ours = client.request(**asked)
                for piece in ours.request.wire():
                    raw.send(piece)
                events = raw._events(asked["method"] if asked["method"] != "CONNECT" else "GET")
                head = next(event for event in events if isinstance(event, h11.Response))
                body = b"".join(bytes(e.data) for e in events if isinstance(e, h11.Data))
            fields = [(k.decode("latin-1"), v.decode("latin-1")) for k, v in head.headers]
            theirs = told(head.status_code, head.reason.decode(), fields, body)
            assert told(ours.status, ours.reason, ours.headers.pairs, ours.body) == theirs, name
            assert ours.is_complete


def reads(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    environ["wsgi.errors"].write("read\n")
    start_response("200 OK", TEXT)
    return [body]


@pytest.mark.parametrize(
    "application",
    [reads, streamed, counted, many, written, replaced, a_file],
    ids=lambda app: app.__name__,
)
def test_a_validator_around_the_application_has_nothing_to_say(
    application: Callable[..., Any],
) -> None:
    response = TestClient(validator(application)).post("/a", data=[b"x", b"y"])
    assert response.is_complete
    assert response.body == TestClient(application).post("/a", data=b"xy").body
    with TestClient(validator(application)).post("/a", data=b"xy", stream=True) as response:
        assert next(response.chunks())


# --- the response -------------------------------------------------------------------------------


def test_a_response() -> None:
    response = TestClient(many).get("/")
    assert (response.status, response.reason) == (418, "I'm a teapot")
    assert response.body == b"a" + b"b" * 300_000
    assert response.text.startswith("ab")
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert response.headers["X-Twice"] == "1, 2"
    assert response.headers.all("x-twice") == ["1", "2"]
    assert "Server" in response.headers
    assert response.headers.get("nothing") is None
    assert response.history == ()
    assert repr(response) == "<418 I'm a teapot: GET http://localhost/>"


def test_headers() -> None:
    headers = Headers([("A", "1"), ("B", "2"), ("a", "3")])
    assert dict(headers) == {"A": "1, 3", "B": "2"}
    assert len(headers) == 2
    assert 1 not in headers
    with pytest.raises(KeyError):
        headers["c"]
    assert repr(headers) == "Headers([('A', '1'), ('B', '2'), ('a', '3')])"


def test_as_a_dict() -> None:
    """What a small client of one's own returns."""
    response = TestClient(streamed).get("/", query_params={"a": "b"})
    assert response["status"] == "200 Fine"
    assert response["headers"]["Content-Type"] == "text/plain; charset=utf-8"
    assert (response["body"], response["text"]) == (b"one two", "one two")
    assert sorted(dict(response)) == ["body", "headers", "status", "text"]
    with pytest.raises(KeyError):
        response["reason"]
    with pytest.raises(TypeError):
        iter(response)  # type: ignore[call-overload]
    answer = TestClient(echo).post("/api", json_data={"message": "x"})
    assert json.loads(answer["text"])["CONTENT_TYPE"] == "application/json"


@pytest.mark.parametrize(
    ("kind", "body", "text"),
    [
        ("text/plain; charset=iso-8859-1", b"\xe9", "é"),
        ('text/html; charset="UTF-16"', "é".encode("utf-16"), "é"),
        ("application/json", b'"\xc3\xa9"', '"é"'),
        (None, b"\xc3\xa9", "é"),
    ],
)
def test_text(kind: str | None, body: bytes, text: str) -> None:
    fields = [("Content-Type", kind)] if kind else []
    assert answering("200 OK", fields, body).get("/").text == text


def test_text_that_is_none() -> None:
    with pytest.raises(UnicodeDecodeError):
        _ = answering("200 OK", TEXT, b"\xff").get("/").text
    with pytest.raises(LookupError):
        _ = answering("200 OK", [("Content-Type", "text/x; charset=klingon")], b"x").get("/").text
    with pytest.raises(json.JSONDecodeError):
        answering("200 OK", TEXT, b"no").get("/").json()


def answering(
    status: str, fields: list[tuple[str, str]], body: bytes = b"", **options: Any
) -> TestClient:
    """A client of an application that always says this."""

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response(status, fields)
        return [body]

    return TestClient(application, **options)


# --- the request --------------------------------------------------------------------------------


def test_every_method() -> None:
    client = TestClient(echo)
    for method in ("get", "post", "put", "patch", "delete", "options"):
        shown = getattr(client, method)("/x").json()
        assert shown["REQUEST_METHOD"] == method.upper()
        assert ("CONTENT_LENGTH" in shown) is (method in ("post", "put", "patch"))
    response = client.head("/x")
    assert (response.body, response.status) == (b"", 200)
    assert "Content-Length" not in response.headers  # the server does not guess it from a HEAD
    assert client.request("PROPFIND").json()["REQUEST_METHOD"] == "PROPFIND"
    assert client.post("/", b"abc").json()["body"] == "abc"
    assert client.get("/", {"q": 1}).json()["QUERY_STRING"] == "q=1"
    with pytest.raises(ValueError, match="not the name"):
        client.request("GET / HTTP/1.1\r\nX:", "/")


def test_the_environ() -> None:
    client = TestClient(
        echo,
        base_url="https://shop.example:8443",
        headers={"X-All": "1", "User-Agent": "mine", "Accept": None},
        auth=("a", "b"),
        peer=("192.0.2.7", 4711),
        root_path="/shop",
        threads=1,
        workers=3,
    )
    shown = client.get("/shop/cart", headers={"x-all": "2"}, environ={"REMOTE_USER": "u"}).json()
    assert {key: value for key, value in shown.items() if key != "types"} == {
        "GATEWAY_INTERFACE": "CGI/1.1",
        "HTTPS": "on",
        "HTTP_AUTHORIZATION": "Basic YTpi",
        "HTTP_HOST": "shop.example:8443",
        "HTTP_USER_AGENT": "mine",
        "HTTP_X_ALL": "2",
        "PATH_INFO": "/cart",
        "QUERY_STRING": "",
        "RAW_URI": "/shop/cart",
        "REMOTE_ADDR": "192.0.2.7",
        "REMOTE_PORT": "4711",
        "REMOTE_USER": "u",
        "REQUEST_METHOD": "GET",
        "REQUEST_URI": "/shop/cart",
        "SCRIPT_NAME": "/shop",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8443",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_SOFTWARE": f"wsgi_async/{wsgi_async.__version__}",
        "body": "",
        "wsgi.input_terminated": True,
        "wsgi.multiprocess": True,
        "wsgi.multithread": False,
        "wsgi.run_once": False,
        "wsgi.url_scheme": "https",
        "wsgi.version": [1, 0],
        "wsgi_async.threads": 1,
    }
    assert client.get("/", auth=("c", "d")).json()["HTTP_AUTHORIZATION"] == "Basic Yzpk"
    shown = TestClient(echo, peer=None).get("http://other.example/x").json()
    assert (shown["REMOTE_ADDR"], shown["HTTP_HOST"]) == ("", "other.example")


def test_a_chunked_body_has_a_length() -> None:
    shown = TestClient(echo).post("/", data=iter([b"ab", b"c"])).json()
    assert (shown["CONTENT_LENGTH"], shown["body"]) == ("3", "abc")
    assert "HTTP_TRANSFER_ENCODING" not in shown


def test_a_large_body_is_a_file() -> None:
    shown = TestClient(echo, spool_threshold=10).post("/", data=b"x" * 11).json()
    assert shown["types"]["wsgi.input"] != "BytesIO"
    assert shown["body"] == "x" * 11


@pytest.mark.parametrize(("options", "status"), [({"max_spool_size": 5}, 503), ({}, 507)])
def test_a_body_that_cannot_be_kept_is_refused_as_by_the_server(
    options: dict[str, int], status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", fail)
    answer = TestClient(echo, spool_threshold=10, **options).post("/", data=b"x" * 11)
    assert (answer.status, answer.headers["Retry-After"]) == (status, "1")


@pytest.mark.parametrize(
    ("fields", "fits"),
    [
        ({"Content-Length": "3"}, True),
        ({"Content-Length": "4"}, False),
        ({"Transfer-Encoding": "chunked"}, False),
    ],
)
def test_framing_is_made_from_the_body(fields: dict[str, str], fits: bool) -> None:
    client = TestClient(echo)
    if fits:
        assert client.post("/", data=b"abc", headers=fields).json()["CONTENT_LENGTH"] == "3"
    else:
        with pytest.raises(ValueError, match="does not fit the body"):
            client.post("/", data=b"abc", headers=fields)


@pytest.mark.parametrize(
    ("options", "error", "why"),
    [
        ({"bind": "127.0.0.1:0"}, wsgi_async.ConfigError, "bind needs a real server"),
        ({"request_timeout": 3}, wsgi_async.ConfigError, r"live_server\(app, request_timeout="),
        ({"tread": 3}, wsgi_async.ConfigError, "No such option: tread. Did you mean threads"),
        ({"base_url": "localhost"}, ValueError, "a path begins with /"),
        ({"base_url": "/x"}, ValueError, "base_url is"),
        ({"base_url": "http://a/b"}, ValueError, "base_url is"),
        ({"headers": {"A": "\n"}}, ValueError, "line break"),
    ],
)
def test_wrong_options(options: dict[str, Any], error: type[Exception], why: str) -> None:
    with pytest.raises(error, match=why):
        TestClient(echo, **options)


def test_an_application_is_callable() -> None:
    with pytest.raises(wsgi_async.ConfigError, match="not callable"):
        TestClient(object())  # type: ignore[arg-type]


# --- cookies and redirects ----------------------------------------------------------------------


def site(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Logs in, and sends people to and fro."""
    path = environ["PATH_INFO"]
    fields = list(TEXT)
    status = "200 OK"
    if path == "/login":
        status = "303 See Other"
        fields += [
            ("Location", "/home?from=login"),
            ("Set-Cookie", "sid=42; Path=/; HttpOnly"),
            ("Set-Cookie", "area=login; Path=/login"),
        ]
    elif path == "/logout":
        fields.append(("Set-Cookie", "sid=; Path=/; Max-Age=0"))
    elif path == "/again":
        status = "307 Temporary Redirect"
        fields.append(("Location", "/home"))
    elif path == "/circle":
        status = "302 Found"
        fields.append(("Location", "circle"))
    elif path == "/away":
        status = "302 Found"
        fields.append(("Location", "https://elsewhere.example/"))
    start_response(status, fields)
    body = environ["wsgi.input"].read()
    line = f"{environ['REQUEST_METHOD']} {path} {environ.get('HTTP_COOKIE', '-')} "
    return [line.encode("latin-1"), body]


def test_cookies_are_kept_from_request_to_request() -> None:
    client = TestClient(site)
    response = client.post("/login", form={"user": "u"})
    assert response.status == 303
    assert response.cookies["sid"].value == "42"
    assert response.cookies["sid"].http_only
    assert client.get("/").text == "GET / sid=42 "
    assert client.get("/login/help").text == "GET /login/help area=login; sid=42 "
    assert client.get("/", cookies={"x": "y", "sid": "7"}).text == "GET / x=y; sid=7 "
    assert client.get("http://other.example/").text == "GET / - "
    assert client.get("/logout").text == "GET /logout sid=42 "
    assert client.get("/").text == "GET / - "
    client.set_cookie("lang", "eo", path="/eo")
    assert client.get("/eo/x").text == "GET /eo/x lang=eo "
    assert client.cookies["lang"].value == "eo"
    with pytest.raises(ValueError, match="line break"):
        client.get("/", cookies={"a": "b\r\nX: y"})


def test_redirects_are_followed_on_demand() -> None:
    client = TestClient(site)
    response = client.post("/login", form={"user": "u"}, follow_redirects=True)
    assert (response.status, response.text) == (200, "GET /home sid=42 ")
    assert response.request.url == "http://localhost/home?from=login"
    assert [past.status for past in response.history] == [303]
    assert response.history[0].text == "POST /login - user=u"
    response = client.put("/again", data=iter([b"a", b"b"]), follow_redirects=True)
    assert response.text == "PUT /home sid=42 ab"
    follower = TestClient(site, follow_redirects=True)
    assert follower.get("/again").text == "GET /home - "
    assert follower.get("/again", follow_redirects=False).status == 307
    assert follower.get("/away").status == 302
    with pytest.raises(TooManyRedirects, match=r"21 redirects in a row.*circle"):
        follower.get("/circle")


# --- streaming ----------------------------------------------------------------------------------


class Source:
    """An iterable that tells what is asked of it."""

    def __init__(self, *chunks: bytes | Exception) -> None:
        self.chunks = list(chunks)
        self.taken = 0
        self.closed = 0

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Source:
        start_response("200 OK", TEXT)
        return self

    def __iter__(self) -> Source:
        return self

    def __next__(self) -> bytes:
        if self.taken == len(self.chunks):
            raise StopIteration
        self.taken += 1
        chunk = self.chunks[self.taken - 1]
        if isinstance(chunk, Exception):
            raise chunk
        return chunk

    def close(self) -> None:
        self.closed += 1


def test_the_application_waits_between_chunks() -> None:
    source = Source(b"a", b"", b"b", b"c")
    response = TestClient(source).get("/", stream=True)
    assert source.taken == 1
    assert response.headers["Transfer-Encoding"] == "chunked"
    chunks = response.chunks()
    assert next(chunks) == b"a"
    assert source.taken == 1
    assert next(chunks) == b"b"
    assert (source.taken, source.closed, response.is_complete) == (3, 0, False)
    assert list(chunks) == [b"c"]
    assert (source.taken, source.closed, response.is_complete) == (4, 1, True)
    assert list(response.chunks()) == [b"a", b"b", b"c"]
    assert response.body == b"abc"
    response.close()
    assert source.closed == 1


def test_a_client_that_leaves_closes_the_iterable() -> None:
    source = Source(b"a", b"b")
    with TestClient(source).get("/", stream=True) as response:
        assert next(response.chunks()) == b"a"
    assert (source.taken, source.closed) == (1, 1)
    assert list(response.chunks()) == [b"a"]
    assert not response.is_complete
    other = Source(b"a", b"b")
    with TestClient(other) as client:
        kept = client.get("/", stream=True)
    assert (other.closed, kept.is_complete) == (1, False)


def test_without_stream_all_is_read() -> None:
    source = Source(b"a", b"b")
    response = TestClient(source).get("/")
    assert (source.taken, source.closed) == (2, 1)
    assert list(response.chunks()) == [b"a", b"b"]


def test_a_file_that_is_left_is_closed() -> None:
    with TestClient(a_file).get("/", stream=True) as response:
        assert next(response.chunks())
    response = TestClient(a_file).get("/", stream=True)
    response.close()
    assert response.body == b""


def test_all_of_it_happens_here_in_one_context() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")
    seen: list[Any] = []

    def application(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        seen.append(variable.get())
        variable.set("by the application")
        start_response("200 OK", TEXT)
        yield b"a"
        seen.extend((variable.get(), threading.current_thread()))
        yield b"b"

    token = variable.set("by the test")
    try:
        TestClient(application).get("/")
        assert seen == ["unset", "by the application", threading.current_thread()]
        assert variable.get() == "by the test"
    finally:
        variable.reset(token)


# --- what goes wrong ----------------------------------------------------------------------------


def broken(*chunks: bytes | Exception, length: int | None = None) -> Callable[..., Any]:
    def application(environ: dict[str, Any], start_response: Any) -> Iterator[Any]:
        environ["wsgi.errors"].write("a note\nand a half")
        fields = [("Content-Length", str(length))] if length is not None else []
        start_response("200 OK", [*TEXT, *fields])
        for chunk in chunks:
            if isinstance(chunk, Exception):
                raise chunk
            yield chunk

    return application


def never_starts(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    return [b"x"]


def gives_text(environ: dict[str, Any], start_response: Any) -> list[str]:
    start_response("200 OK", TEXT)
    return ["text"]


def exits(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    raise SystemExit(3)


class FailsToClose(Source):
    def close(self) -> None:
        raise OSError("cannot close")


@pytest.mark.parametrize(
    ("application", "error", "why", "status", "complete"),
    [
        (raises, KeyError, "the app's own", 500, True),
        (exits, SystemExit, "3", 500, True),
        (broken(OSError("early")), OSError, "early", 500, True),
        (broken(b"a", OSError("late")), OSError, "late", 200, False),
        (never_starts, wsgi_async.ApplicationError, "start_response was not called", 500, True),
        (gives_text, wsgi_async.ApplicationError, "str", 500, True),
        (broken(b"ab", length=3), wsgi_async.ApplicationError, "1 bytes shorter", 200, False),
        (broken(b"ab", length=1), wsgi_async.ApplicationError, "longer than", 200, True),
        (FailsToClose(b"a"), OSError, "cannot close", 200, True),
    ],
)
def test_what_the_application_does_wrong(
    application: Callable[..., Any],
    error: type[BaseException],
    why: str,
    status: int,
    complete: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(error, match=why):
        TestClient(application).get("/")
    if isinstance(application, Source):
        application.taken = 0
    caplog.clear()
    response = TestClient(application, raise_exceptions=False).get("/")
    assert (response.status, response.is_complete) == (status, complete)
    assert len(response.errors) == 1
    assert [r.name for r in caplog.records if "GET /" in r.message] == ["wsgi_async"]
    if status == 500:
        assert response.text == "500 Internal Server Error\n"


def test_the_traceback_leads_to_the_application() -> None:
    with pytest.raises(KeyError) as caught:
        TestClient(raises).get("/")
    assert caught.traceback[-1].name == "raises"


def test_an_error_while_streaming() -> None:
    client = TestClient(broken(b"a", OSError("late")))
    with client.get("/", stream=True) as response, pytest.raises(OSError, match="late"):
        list(response.chunks())
    assert not response.is_complete


def test_what_ends_a_test_is_never_swallowed() -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        TestClient(application, raise_exceptions=False).get("/")


def test_an_application_that_says_the_client_is_gone() -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        raise wsgi_async.ClientDisconnected("so it thinks")

    with pytest.raises(wsgi_async.ClientDisconnected):
        TestClient(application).get("/")


def test_what_is_written_to_wsgi_errors(caplog: pytest.LogCaptureFixture) -> None:
    response = TestClient(broken(b"x")).get("/")
    assert response.stderr == ["a note", "and a half"]
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2


def test_a_refused_request_never_reaches_the_application() -> None:
    response = TestClient(raises).get("/", headers={"Host": "a b"})
    assert (response.status, response.text) == (
        400,
        "400 Bad Request\n\nThe Host field is not a host\n",
    )
    assert response.headers["Connection"] == "close"


def test_clients_may_ask_each_other() -> None:
    inner = TestClient(echo)

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", TEXT)
        return [inner.get("/inner").body]

    assert TestClient(application).get("/outer").json()["PATH_INFO"] == "/inner"


def test_responses_are_what_calls_return() -> None:
    assert isinstance(TestClient(empty).get(), Response)
    assert TestClient.__test__ is False

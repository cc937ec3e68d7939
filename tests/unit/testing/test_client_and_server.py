"""A client in process cannot be told from one with a socket."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from wsgiref.validate import validator

import pytest
from rawclient import RawClient
from shown import TEXT, a_file, echo, empty, many, raises, streamed

from wsgi_async.testing import TestClient, live_server


def counted(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [*TEXT, ("Content-Length", "6"), ("Connection-Note", "x")])
    yield b"abc"
    yield b"def"


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


def part_of_a_file(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    start_response("206 Partial Content", [*TEXT, ("Content-Length", "20")])
    return environ["wsgi.file_wrapper"](Path(__file__).open("rb"))  # type: ignore[no-any-return]


def a_file_in_memory(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    return environ["wsgi.file_wrapper"](io.BytesIO(b"x" * 100_000))  # type: ignore[no-any-return]


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
    "header": ["X-Added: 1", "Content-Type: text/added"],
    "server_header": False,
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

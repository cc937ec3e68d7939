"""Every middleware of the package, and all of them at once, leave a response what it was."""

from __future__ import annotations

import http.client
import io
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from gateway import TEXT, App, ask, stream
from rawclient import TIMEOUT
from serving import Served
from wrapped import ALLOWED, WRAPPERS, environ, wrapped

from wsgi_async import middleware
from wsgi_async.wsgi.file_wrapper import FileWrapper


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

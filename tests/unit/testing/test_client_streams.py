"""A client in process: streams, clients that leave, and what goes wrong."""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from application_loops import ending_with_the_test
from live_bodies import Live
from shown import TEXT, a_file, echo, empty, raises

import wsgi_async
from wsgi_async.testing import Response, TestClient

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


def test_an_asynchronous_body_is_stepped_through_on_the_application_loop(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Chunk by chunk, and cancelled where the client does not take it to its end. Nobody is told
    that it holds a thread: there is no other."""
    log: list[str] = []

    async def ticks() -> AsyncIterator[bytes]:
        try:
            for number in itertools.count():
                yield b"%d " % number
                await asyncio.sleep(0)
        finally:
            log.append(threading.current_thread().name)

    def application(environ: dict[str, Any], start_response: Any) -> Live:
        start_response("200 OK", TEXT)
        return Live(ticks(), log)

    with ending_with_the_test():
        with TestClient(application).get("/", stream=True) as response:
            chunks = response.chunks()
            assert [next(chunks), next(chunks)] == [b"0 ", b"1 "]
        assert log[0] == "wsgi_async-application"
        assert log[1].startswith("closed on MainThread")
        assert TestClient(application).head("/").body == b""
    assert len(log) == 3  # which was never begun
    assert caplog.records == []

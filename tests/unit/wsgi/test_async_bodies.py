"""Asynchronous bodies, as far as no loop is needed: which they are, and each step of one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextvars import Context
from typing import Any

import pytest
from live_bodies import Live, live_app
from responses import Recorder, Reports

from wsgi_async import sse
from wsgi_async.errors import ApplicationError, ClientDisconnected, HTTPError
from wsgi_async.wsgi import calling
from wsgi_async.wsgi.async_bodies import is_async_body, is_event_stream
from wsgi_async.wsgi.calling import Step, WSGIResponse


async def nothing() -> AsyncIterator[bytes]:
    raise AssertionError("nobody asks it")
    yield b""


class Both:
    """Can be iterated either way, as Django's streaming response; what it is for is in it."""

    def __init__(self, is_async: bool) -> None:
        self.is_async = is_async

    def __aiter__(self) -> AsyncIterator[bytes]:
        return nothing()

    def __iter__(self) -> Iterator[bytes]:
        return iter([b"hello"])


class Begun:
    """A response that was begun, and awaits chunks."""

    def __init__(self, application: Any, *, head_only: bool = False, parks: bool = False) -> None:
        self.writer = Recorder(parks=parks)
        self.reports = Reports()
        self.response = WSGIResponse(application, self.writer, self.reports, head_only)
        self.step = Context().run(self.response.begin, {"PATH_INFO": "/"})


def begin(
    fields: list[tuple[str, str]] | None = None,
    status: str = "200 OK",
    body: Any = None,
    **kind: Any,
) -> Begun:
    body = Live(nothing()) if body is None else body
    return Begun(live_app(lambda: body, fields, status), **kind)


def test_what_counts_is_what_the_object_says_of_itself() -> None:
    assert is_async_body(Live(nothing()))
    assert is_async_body(Both(True))
    assert not is_async_body(Both(False))
    assert not is_async_body(nothing())  # it cannot say so
    assert not is_async_body([b"hello"])


def test_one_type_may_be_either() -> None:
    """A type that has both ways is never taken for a plain one, whatever came before."""
    for _ in range(2):
        assert begin(body=Both(False)).writer.body == b"hello"
        assert begin(body=Both(True)).step is Step.LIVE


def test_a_plain_type_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[object] = []

    def look(iterable: object) -> bool:
        looked.append(iterable)
        return False

    monkeypatch.setattr(calling, "is_async_body", look)
    monkeypatch.setattr(calling, "_PLAIN", set())
    for _ in range(3):
        assert begin(body=iter([b"hello"])).writer.body == b"hello"
    assert len(looked) == 1


def test_types_that_are_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calling, "_PLAIN", set())
    for _ in range(calling._PLAIN_LIMIT + 10):
        kind = type("Chunks", (), {"__iter__": lambda self: iter([b"hello"])})
        assert begin(body=kind()).writer.body == b"hello"
    assert len(calling._PLAIN) <= calling._PLAIN_LIMIT


def test_a_type_that_cannot_be_hashed_is_served() -> None:
    class Meta(type):
        __hash__ = None  # type: ignore[assignment]

    kind = Meta("Chunks", (), {"__iter__": lambda self: iter([b"hello"])})
    assert begin(body=kind()).writer.body == b"hello"


@pytest.mark.parametrize(
    "body", [nothing(), type("A", (), {"__aiter__": lambda self: nothing()})()]
)
def test_one_that_does_not_say_so_is_told_what_to_write(body: Any) -> None:
    begun = begin(body=body)
    assert begun.step is Step.DONE
    assert begun.writer.head is not None
    assert begun.writer.head.status == 500
    [(message, _)] = begun.reports
    assert "wrap it: wsgi_async.live(...)" in message


def test_a_generator_where_none_is_taken_is_told_where_it_is() -> None:
    """As with Flask's Response: Python's words do not say what to write."""

    def wrong(body: Any) -> Iterator[bytes]:
        yield from body

    [(message, error)] = begin(body=wrong(nothing())).reports
    assert message == "the application raised"
    assert isinstance(error, TypeError)
    [note] = error.__notes__
    assert "wsgi_async.flask.LiveResponse" in note


@pytest.mark.parametrize("error", [TypeError(), TypeError(5), TypeError("other")])
def test_other_errors_stay_as_they_are(error: Exception) -> None:
    begin().response.fail(error)
    assert not hasattr(error, "__notes__")


def test_an_iterator_that_is_none_is_an_error() -> None:
    class Wrong(Live):
        def __aiter__(self) -> Any:
            return 5

    begun = begin(body=Wrong(nothing()))
    with pytest.raises(TypeError):
        begun.response.go_live()


# --- steps --------------------------------------------------------------------------------------


def test_the_head_goes_with_the_first_chunk() -> None:
    begun = begin()
    response = begun.response
    assert begun.step is Step.LIVE
    assert begun.writer.calls == []
    assert response.take(b"") is Step.LIVE
    assert not response.has_begun
    assert response.take(b"one") is Step.LIVE
    assert response.take(b"two") is Step.LIVE
    response.end()
    assert begun.writer.calls == ["start", "write", "write", "finish"]
    assert begun.writer.body == b"onetwo"
    assert not begun.reports


def test_a_full_writer_is_waited_for() -> None:
    begun = begin(parks=True)
    assert begun.response.take(b"one") is Step.PARKED


@pytest.mark.parametrize("chunk", ["text", 5, None, bytearray(b"x")])
def test_what_is_no_chunk_is_an_error(chunk: Any) -> None:
    response = begin().response
    with pytest.raises(ApplicationError):
        response.take(chunk)


def test_no_head_is_an_error() -> None:
    response = Begun(lambda environ, start_response: Live(nothing())).response
    with pytest.raises(ApplicationError, match="start_response was not called"):
        response.take(b"x")
    with pytest.raises(ApplicationError, match="start_response was not called"):
        response.end()


def test_an_error_before_the_first_chunk_is_a_500_and_later_a_cut() -> None:
    begun = begin()
    begun.response.fail(ValueError("x"))
    assert begun.writer.head is not None
    assert (begun.writer.head.status, begun.writer.end) == (500, "finished")
    begun = begin()
    begun.response.take(b"x")
    begun.response.fail(ValueError("x"))
    assert begun.writer.end == "cut"
    assert [type(error) for _, error in begun.reports] == [ValueError]


def test_where_nobody_is_left_nothing_is_reported() -> None:
    begun = begin()
    begun.response.fail(ClientDisconnected("gone"))
    assert (begun.writer.head, begun.writer.end, list(begun.reports)) == (None, "cut", [])


def test_a_promised_length_is_held_to() -> None:
    begun = begin([("Content-Length", "6")])
    assert begun.response.take(b"abc") is Step.LIVE
    assert begun.response.take(b"def") is Step.LIVE
    assert begun.writer.end == "finished"
    begun.response.end()
    assert begun.writer.calls == ["start", "write", "write_last"]
    begun = begin([("Content-Length", "2")])
    assert begun.response.take(b"abc") is Step.DONE
    assert begun.writer.body == b"ab"
    assert "longer than its Content-Length" in begun.reports[0][0]
    begun = begin([("Content-Length", "4")])
    begun.response.take(b"abc")
    begun.response.end()
    assert begun.writer.end == "cut"
    assert "1 bytes shorter" in begun.reports[0][0]


def test_one_chunk_that_is_all_goes_by_the_pipe_which_waits_for_nobody() -> None:
    """A response that is handed over whole may wait for its client, if it is large."""
    begun = begin([("Content-Length", "3")])
    assert begun.response.take(b"abc") is Step.LIVE
    assert begun.writer.calls == ["start", "write_last"]
    assert begun.response.take(b"d") is Step.DONE


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_where_there_is_to_be_no_body_it_is_never_asked(status: str) -> None:
    body = Live(nothing())
    begun = begin(status=status, body=body, fields=[])
    assert begun.step is Step.DONE
    assert body.closed.is_set()
    assert begun.writer.calls == ["respond"]


def test_nor_for_a_head() -> None:
    body = Live(nothing())
    begun = begin(body=body, head_only=True)
    assert begun.step is Step.DONE
    assert body.closed.is_set()
    assert begun.writer.end == "finished"


def test_after_the_legacy_write_it_goes_on() -> None:
    def application(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])(b"written ")
        return Live(nothing())

    begun = Begun(application)
    assert begun.step is Step.LIVE
    assert begun.response.take(b"chunk") is Step.LIVE
    assert begun.writer.body == b"written chunk"


def test_the_legacy_write_cannot_be_called_by_it() -> None:
    writes: list[Any] = []

    def application(environ: Any, start_response: Any) -> Any:
        writes.append(start_response("200 OK", []))
        return Live(nothing())

    begun = Begun(application)
    begun.response.go_live()
    with pytest.raises(ApplicationError, match="yield what is to be sent"):
        writes[0](b"x")
    assert begun.writer.calls == []


def test_it_is_closed_once() -> None:
    body = Live(nothing())
    begun = begin(body=body)
    begun.response.abandon()
    begun.response.abandon()
    assert len(body.log) == 1


def test_a_refusal_is_the_servers_own_answer_or_a_cut() -> None:
    begun = begin()
    begun.response.refuse(HTTPError(503, "full", retry_after=3))
    assert begun.writer.head is not None
    assert begun.writer.head.status == 503
    assert ("Retry-After", "3") in begun.writer.head.fields
    begun = begin()
    begun.response.take(b"x")
    begun.response.refuse(HTTPError(503, "full"))
    assert begun.writer.end == "cut"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([("Content-Type", "text/event-stream")], True),
        ([("content-type", "Text/Event-Stream; charset=utf-8")], True),
        ([("Content-Type", "text/event-streams")], False),
        ([("Content-Type", "text/plain")], False),
        ([], False),
        ([("Content-Encoding", "gzip"), ("Content-Type", "text/event-stream")], False),
        # What keeps others from compressing it makes it no other thing.
        (list(sse.headers().items()), True),
    ],
)
def test_which_are_event_streams(fields: list[tuple[str, str]], expected: bool) -> None:
    assert is_event_stream(tuple(fields)) is expected
    assert begin(fields).response.is_event_stream is expected


def test_one_with_a_length_is_no_event_stream() -> None:
    fields = [("Content-Type", "text/event-stream"), ("Content-Length", "5")]
    assert not begin(fields).response.is_event_stream

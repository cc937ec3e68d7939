"""PEP 3333 on write(), on errors, and on close(), which comes once on every way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from responses import (
    TEXT,
    Body,
    Recorder,
    Reports,
    call,
    make_environ,
    returning,
    with_length,
    writing,
)

from wsgi_async.errors import ClientDisconnected
from wsgi_async.wsgi.calling import Step, WSGIResponse

# --- write() -------------------------------------------------------------------------------------


def test_write_sends_at_once_and_the_iterable_follows() -> None:
    outcome = call(writing(b"a", b"", b"b", then=iter([b"c", b"d"])))
    assert (outcome.body, outcome.end, outcome.length) == (b"abcd", "finished", None)
    assert outcome.writer.calls == [
        "start",
        "write_and_wait",
        "write_and_wait",
        "write",
        "write",
        "finish",
    ]


def test_write_may_be_called_before_the_iterable_has_begun() -> None:
    def application(environ: Any, start_response: Any) -> Iterator[bytes]:
        write = start_response("200 OK", TEXT)
        write(b"a")
        yield b"b"

    outcome = call(application)
    assert (outcome.body, outcome.end) == (b"ab", "finished")


def test_write_raises_when_the_response_was_sent_at_once() -> None:
    """An application may keep it, and call it when all is over."""
    kept: list[Callable[[bytes], object]] = []

    def application(environ: Any, start_response: Any) -> list[bytes]:
        kept.append(start_response("200 OK", TEXT))
        return [b"a"]

    outcome = call(application)
    assert (outcome.body, outcome.writer.calls) == (b"a", ["respond"])
    with pytest.raises(ClientDisconnected):
        kept[0](b"b")


def test_write_raises_after_a_response_that_was_cut_before_its_head() -> None:
    """As when the application lets out another connection's error."""

    class Upstream:
        def __init__(self, write: Callable[[bytes], object]) -> None:
            self.write = write

        def __iter__(self) -> Iterator[bytes]:
            raise ClientDisconnected("the upstream has gone")

        def close(self) -> None:
            self.write(b"late")

    outcome = call(lambda environ, start_response: Upstream(start_response("200 OK", TEXT)))
    assert (outcome.body, outcome.end) == (b"", "cut")
    assert "start" not in outcome.writer.calls


def test_write_raises_when_the_client_has_gone() -> None:
    seen: list[BaseException] = []

    def application(environ: Any, start_response: Any) -> list[bytes]:
        write = start_response("200 OK", TEXT)
        write(b"a")
        try:
            write(b"b")
        except OSError as error:
            seen.append(error)
            raise
        return []

    outcome = call(application, writer=Recorder(leaves_after=1))
    assert (outcome.body, outcome.end, outcome.reports) == (b"a", "cut", [])
    assert isinstance(seen[0], ClientDisconnected)


# --- errors and close() --------------------------------------------------------------------------


ERRORS = [RuntimeError("x"), SystemExit(3), KeyboardInterrupt(), GeneratorExit(), MemoryError()]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("where", ["call", "iter", "next", "end", "close"])
def test_any_exception_is_contained_and_close_is_called_once(
    error: BaseException, where: str
) -> None:
    body = Body(b"some", fails_in=where, error=error)

    def application(environ: Any, start_response: Any) -> Body:
        start_response("200 OK", TEXT)
        if where == "call":
            raise error
        return body

    outcome = call(application)
    [(message, reported)] = outcome.reports
    assert reported is error
    assert body.closed == (0 if where == "call" else 1)
    if where == "close":
        assert message == "the iterable's close() raised"
        assert (outcome.status, outcome.body, outcome.end) == (200, b"some", "finished")
    elif where == "end":
        assert (outcome.status, outcome.body, outcome.end) == (200, b"some", "cut")
    else:
        assert message == "the application raised"
        assert (outcome.status, outcome.end) == (500, "finished")
        assert outcome.body == b"500 Internal Server Error\n", "nothing of the traceback"
        assert outcome.fields == (("Content-Type", "text/plain; charset=utf-8"),)
        assert outcome.length == len(outcome.body)


def test_an_error_before_start_response_is_500() -> None:
    def application(environ: Any, start_response: Any) -> list[bytes]:
        raise RuntimeError("early")

    assert call(application).status == 500


def test_an_error_after_the_head_was_written_cuts() -> None:
    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", TEXT)(b"sent")
        raise RuntimeError("late")

    outcome = call(application)
    assert (outcome.status, outcome.body, outcome.end) == (200, b"sent", "cut")


def test_an_error_after_the_last_promised_byte_leaves_the_response_complete() -> None:
    body = Body(b"abc", fails_in="end")
    outcome = call(returning(body, headers=with_length(3)))
    assert (outcome.body, outcome.end, body.closed) == (b"abc", "finished", 1)
    assert outcome.messages == ["the application raised"]


def test_a_client_that_leaves_ends_the_iteration_quietly() -> None:
    body = Body(b"a", b"b", b"c", b"d")
    outcome = call(returning(body), writer=Recorder(leaves_after=2))
    assert (outcome.body, outcome.end, outcome.reports) == (b"ab", "cut", [])
    assert (body.taken, body.closed) == (3, 1)


def test_close_is_called_where_the_length_is_reached_or_passed() -> None:
    for chunks in ([b"abc"], [b"abcd", b"e"], [b"a"]):
        body = Body(*chunks)
        call(returning(body, headers=with_length(3)))
        assert body.closed == 1


@pytest.mark.parametrize("kind", [list, tuple])
def test_a_list_with_a_close_method_is_closed(kind: type) -> None:
    class Closing(kind):  # type: ignore[misc]
        closed = 0

        def close(self) -> None:
            type(self).closed += 1

    assert call(returning(Closing([b"a"]))).body == b"a"
    assert Closing.closed == 1


def test_a_close_that_cannot_even_be_looked_up_is_reported() -> None:
    class Hostile(Body):
        @property
        def close(self) -> Any:  # type: ignore[override]
            raise RuntimeError("working outside of request context")

    outcome = call(returning(Hostile(b"a")))
    assert (outcome.body, outcome.end) == (b"a", "finished")
    assert outcome.messages == ["the iterable's close() raised"]


def test_an_iterable_without_close_is_fine() -> None:
    assert call(returning(iter([b"a"]))).reports == []


def test_the_generators_finally_runs_when_it_is_closed() -> None:
    ended: list[str] = []

    def application(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", TEXT)
        try:
            yield b"a"
            yield b"b"
        finally:
            ended.append("finally")

    call(application, "HEAD")
    assert ended == ["finally"]


def test_a_full_writer_suspends_the_iteration_and_close_waits_for_its_end() -> None:
    body = Body(b"a", b"b", b"c")
    outcome = call(returning(body), writer=Recorder(parks=True))
    assert (outcome.body, outcome.end, outcome.parked) == (b"abc", "finished", 3)
    assert body.closed == 1


def test_a_suspended_iteration_counts_its_promised_length() -> None:
    outcome = call(
        returning(Body(b"a", b"b", b"c"), headers=with_length(3)), writer=Recorder(parks=True)
    )
    assert (outcome.body, outcome.end, outcome.parked, outcome.reports) == (
        b"abc",
        "finished",
        2,
        [],
    )


class Rewinding:
    """An iterator that begins anew whenever it is asked for its iterator, as tutorials show it."""

    def __init__(self, *chunks: bytes) -> None:
        self.chunks = chunks
        self.asked = 0
        self.has_ended = False
        self.left: list[bytes] = []

    def __iter__(self) -> Rewinding:
        self.asked += 1
        self.left = list(self.chunks)
        return self

    def __next__(self) -> bytes:
        if self.left:
            return self.left.pop(0)
        assert not self.has_ended, "asked after its end: a cursor would be closed, a queue block"
        self.has_ended = True
        raise StopIteration


@pytest.mark.parametrize("parks", [False, True])
@pytest.mark.parametrize("length", [None, 6])
@pytest.mark.parametrize("chunks", [(), (b"abcdef",), (b"abc", b"def"), (b"", b"ab", b"cd", b"ef")])
def test_an_iterator_is_asked_for_once_and_ends_once(
    chunks: tuple[bytes, ...], length: int | None, parks: bool
) -> None:
    iterator = Rewinding(*chunks)
    length = length and len(b"".join(chunks))
    headers = [] if length is None else [("Content-Length", str(length))]
    outcome = call(returning(iterator, headers=headers), writer=Recorder(parks=parks))
    assert (outcome.status, outcome.body) == (200, b"".join(chunks))
    assert outcome.end == "finished"
    assert outcome.reports == []
    assert iterator.asked == 1
    assert iterator.has_ended


def test_start_response_may_be_called_by_iter() -> None:
    class Late:
        def __init__(self, start_response: Callable[..., Any]) -> None:
            self.start_response = start_response

        def __iter__(self) -> Iterator[bytes]:
            self.start_response("200 OK", [])
            return iter([b"late"])

    outcome = call(lambda environ, start_response: Late(start_response))  # type: ignore[arg-type]
    assert (outcome.status, outcome.body, outcome.reports) == (200, b"late", [])


def test_an_abandoned_iteration_is_closed_and_never_asked_for_more() -> None:
    body = Body(b"a", b"b")
    reports = Reports()
    response = WSGIResponse(returning(body), Recorder(parks=True), reports, head_only=False)
    assert response.begin(make_environ()) is Step.PARKED
    assert (body.taken, body.closed) == (1, 0)
    response.abandon()
    assert (body.taken, body.closed) == (1, 1)
    response.abandon()
    assert body.closed == 1
    assert reports == []


def test_the_environ_belongs_to_the_application() -> None:
    seen: list[dict[str, Any]] = []

    def application(environ: Any, start_response: Any) -> list[bytes]:
        seen.append(environ)
        assert type(environ) is dict
        environ["REQUEST_METHOD"] = "HEAD"
        environ.clear()
        start_response("200 OK", TEXT)
        return [b"still a GET"]

    assert call(application).body == b"still a GET"
    assert seen == [{}]

"""PEP 3333 on what an application returns: chunks, lengths, and responses without a body."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from responses import App, Body, LateClass, call, returning, with_length, writing

from wsgi_async.wsgi.delivery import JOIN_LIMIT

WRONG_CHUNKS = [
    ("text", "yielded str; encode it"),
    ("", "yielded str; encode it"),
    (bytearray(b"x"), "yielded bytearray; convert it with bytes(...)"),
    (memoryview(b"x"), "yielded memoryview; convert it with bytes(...)"),
    (1, "yielded int; the body must be bytes"),
    ([b"x"], "yielded list; the body must be bytes"),
]


@pytest.mark.parametrize(("chunk", "hint"), WRONG_CHUNKS)
@pytest.mark.parametrize("shape", ["list", "tuple", "generator", "write"])
def test_a_chunk_that_is_not_bytes_is_500_with_a_hint(chunk: Any, hint: str, shape: str) -> None:
    application = {
        "list": returning([b"", chunk]),
        "tuple": returning((chunk,)),
        "generator": returning(iter([b"", chunk])),
        "write": writing(chunk),
    }[shape]
    outcome = call(application)
    assert (outcome.status, outcome.body) == (500, b"500 Internal Server Error\n")
    [message] = outcome.messages
    assert hint in message


@pytest.mark.parametrize("shape", ["list", "generator"])
def test_none_as_a_chunk_is_500(shape: str) -> None:
    result = [None] if shape == "list" else iter([None])
    [message] = call(returning(result)).messages
    assert "yielded NoneType" in message


def test_a_wrong_chunk_after_a_good_one_cuts_the_response() -> None:
    outcome = call(returning(iter([b"good", "bad"])))
    assert (outcome.status, outcome.body, outcome.end) == (200, b"good", "cut")
    assert "yielded str" in outcome.messages[0]


@pytest.mark.parametrize(
    ("result", "hint"),
    [
        (None, "returned None; it must return an iterable of bytes"),
        (7, "returned 7; it must return an iterable"),
        (LateClass, "it must return an iterable"),
        ("text", "returned str; encode it and return a list"),
        (b"bytes", "returned bytes; return a list with it, as [b'...']"),
        (bytearray(b"x"), "returned bytearray; return a list"),
    ],
)
def test_what_is_returned_must_be_an_iterable_of_chunks(result: Any, hint: str) -> None:
    outcome = call(returning(result))
    assert (outcome.status, outcome.body) == (500, b"500 Internal Server Error\n")
    [message] = outcome.messages
    assert hint in message


def test_a_coroutine_is_refused_and_closed() -> None:
    async def application(environ: Any, start_response: Any) -> list[bytes]:
        raise AssertionError("nobody awaits it")

    outcome = call(application)  # "never awaited" would be a warning, and a failure here
    assert outcome.status == 500
    assert "must return an iterable" in outcome.messages[0]


def test_a_type_error_of_the_applications_own_iter_is_not_taken_for_a_wrong_type() -> None:
    body = Body(fails_in="iter", error=TypeError("a bug in __iter__"))
    outcome = call(returning(body))
    [(message, error)] = outcome.reports
    assert message == "the application raised"
    assert str(error) == "a bug in __iter__"
    assert body.closed == 1


def test_subclasses_of_bytes_str_and_list_are_what_they_are() -> None:
    class Bytes(bytes):
        pass

    class Str(str):
        __slots__ = ()

    class List(list):  # type: ignore[type-arg]
        pass

    headers = List([("X", Str("1"))])
    outcome = call(returning(List([Bytes(b"a"), b"b"]), Str("200 OK"), headers))
    assert (outcome.status, outcome.body, outcome.reports) == (200, b"ab", [])


# --- Content-Length ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("result", "length"),
    [
        ([b"abc"], 3),
        ([b"a", b"", b"bc"], 3),
        ((b"a", b"bc"), 3),
        ([], 0),
        ((), 0),
        ([b""], 0),
        (iter([]), 0),
        (iter([b"", b""]), 0),
        (iter([b"abc"]), None),
        (Body(b"abc"), None),
        ({b"abc": 1}, None),
    ],
)
def test_a_length_is_derived_from_lists_tuples_and_empty_bodies(
    result: Any, length: int | None
) -> None:
    outcome = call(returning(result))
    assert (outcome.length, outcome.end, outcome.reports) == (length, "finished", [])


def test_a_list_goes_out_in_one_call() -> None:
    assert call(returning([b"a", b"b"])).writer.calls == ["respond"]


def test_a_big_list_is_not_copied_but_its_length_is_known() -> None:
    items = [b"a" * JOIN_LIMIT, b"", b"b" * 10, b"c"]
    outcome = call(returning(items))
    assert outcome.length == JOIN_LIMIT + 11
    assert outcome.body == b"".join(items)
    assert outcome.writer.calls == ["start", "write", "write", "write_last"]
    single = call(returning([b"a" * (2 * JOIN_LIMIT)]))
    assert single.writer.calls == ["respond"]
    assert single.length == 2 * JOIN_LIMIT


def test_a_big_list_keeps_the_length_that_was_promised() -> None:
    items = [b"a" * JOIN_LIMIT, b"b"]
    outcome = call(returning(items, headers=with_length(JOIN_LIMIT)))
    assert (outcome.length, outcome.body) == (JOIN_LIMIT, items[0])
    assert "longer than its Content-Length" in outcome.messages[0]


SHAPES: dict[str, Callable[..., App]] = {
    "list": lambda *chunks, **kw: returning(list(chunks), **kw),
    "tuple": lambda *chunks, **kw: returning(chunks, **kw),
    "generator": lambda *chunks, **kw: returning(iter(chunks), **kw),
    "write": lambda *chunks, **kw: writing(*chunks, **kw),
    "write, then a generator": lambda first, *chunks, **kw: writing(first, then=iter(chunks), **kw),
    "write, then a list": lambda first, *chunks, **kw: writing(first, then=list(chunks), **kw),
}


@pytest.fixture(params=sorted(SHAPES))
def shape(request: pytest.FixtureRequest) -> Callable[..., App]:
    return SHAPES[request.param]


def test_a_length_that_is_kept(shape: Callable[..., App]) -> None:
    outcome = call(shape(b"ab", b"c", headers=with_length(3)))
    assert (outcome.length, outcome.body) == (3, b"abc")
    assert (outcome.end, outcome.reports) == ("finished", [])


def test_the_chunk_that_completes_the_length_ends_the_response() -> None:
    outcome = call(returning(Body(b"ab", b"c"), headers=with_length(3)))
    assert outcome.writer.calls == ["start", "write", "write_last"]


@pytest.mark.parametrize(
    "chunks", [(b"ab", b"c"), (b"abc", b""), (b"", b"a"), (b"ab", b"cd"), (b"", b"abcd")]
)
def test_a_body_that_is_too_short_is_cut(shape: Callable[..., App], chunks: Any) -> None:
    outcome = call(shape(*chunks, headers=with_length(5)))
    body = b"".join(chunks)
    assert (outcome.status, outcome.length, outcome.body) == (200, 5, body)
    assert outcome.end == "cut"
    missing = 5 - len(body)
    assert outcome.messages == [f"the body is {missing} bytes shorter than its Content-Length"]


@pytest.mark.parametrize("result", [[], [b""], (), iter([]), iter([b""])])
@pytest.mark.parametrize("length", [1, 5])
def test_an_empty_body_with_a_promise_is_cut(result: Any, length: int) -> None:
    outcome = call(returning(result, headers=with_length(length)))
    assert (outcome.status, outcome.length, outcome.body, outcome.end) == (200, length, b"", "cut")
    assert outcome.messages == [f"the body is {length} bytes shorter than its Content-Length"]


@pytest.mark.parametrize(
    "chunks", [(b"abcd",), (b"ab", b"cd"), (b"abc", b"d"), (b"abc", b"d", b"e")]
)
@pytest.mark.parametrize("length", [3, 2, 1, 0])
def test_a_body_that_is_too_long_is_trimmed_and_reported_once(
    shape: Callable[..., App], chunks: tuple[bytes, ...], length: int
) -> None:
    outcome = call(shape(*chunks, headers=with_length(length)))
    assert (outcome.status, outcome.length, outcome.body) == (200, length, b"abc"[:length])
    assert outcome.end == "finished"
    assert outcome.messages == ["the body is longer than its Content-Length; the rest was not sent"]


def test_an_endless_body_ends_where_its_length_does() -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield b"xx"

    outcome = call(returning(endless(), headers=with_length(5)))
    assert (outcome.body, outcome.end) == (b"xxxxx", "finished")


# --- bodiless responses --------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["204 No Content", "205 Reset Content", "304 Not Modified"])
def test_responses_without_content_have_none(shape: Callable[..., App], status: str) -> None:
    for chunks in [(b"", b""), (b"body", b"more")]:
        outcome = call(shape(*chunks, status=status))
        assert (outcome.status, outcome.body, outcome.end) == (int(status[:3]), b"", "finished")
        assert outcome.length is None, "RFC 9110 §8.6: not derived from what is not the 200's body"
        assert outcome.reports == []


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_their_iterable_is_left_alone_after_the_first_chunk(status: str) -> None:
    body = Body(b"", b"x", b"y", b"z")
    outcome = call(returning(body, status))
    assert (outcome.body, outcome.end) == (b"", "finished")
    assert (body.taken, body.closed) == (2, 1)


def test_a_304_keeps_the_length_that_the_application_gave() -> None:
    for result in ([], [b""], iter([])):
        outcome = call(returning(result, "304 Not Modified", with_length(99)))
        assert (outcome.length, outcome.end, outcome.reports) == (99, "finished", [])


@pytest.mark.parametrize("status", ["204 No Content", "205 Reset", "304 Not Modified"])
def test_write_raises_nothing_where_a_status_has_no_body(status: str) -> None:
    reached: list[str] = []

    def application(environ: Any, start_response: Any) -> Iterator[bytes]:
        write = start_response(status, [])
        write(b"one")
        write(b"two")
        reached.append("the end")
        return iter([b"three"])

    outcome = call(application)
    assert (outcome.body, outcome.end, outcome.reports) == (b"", "finished", [])
    assert outcome.writer.calls == ["respond"]
    assert reached == ["the end"]


# --- HEAD ----------------------------------------------------------------------------------------


def test_head_takes_the_first_chunk_and_then_closes() -> None:
    body = Body(b"", b"x", b"y", b"z")
    outcome = call(returning(body), "HEAD")
    assert (outcome.status, outcome.length, outcome.body) == (200, None, b"")
    assert outcome.writer.calls == ["respond"]
    assert (body.taken, body.closed) == (2, 1)


@pytest.mark.parametrize("chunks", [(b"ab", b"c"), (b"", b"")])
def test_head_has_no_body_and_derives_no_length(
    shape: Callable[..., App], chunks: tuple[bytes, ...]
) -> None:
    outcome = call(shape(*chunks), "HEAD")
    assert (outcome.status, outcome.length, outcome.body) == (200, None, b"")
    assert (outcome.end, outcome.reports) == ("finished", [])


@pytest.mark.parametrize("chunks", [(b"abc", b"d"), (b"", b""), (b"a" * JOIN_LIMIT, b"b")])
def test_head_keeps_the_length_that_was_promised(
    shape: Callable[..., App], chunks: tuple[bytes, ...]
) -> None:
    outcome = call(shape(*chunks, headers=with_length(1234567)), "HEAD")
    assert (outcome.length, outcome.body, outcome.end) == (1234567, b"", "finished")
    assert outcome.reports == []


def test_a_head_that_fails_is_a_500_without_body() -> None:
    outcome = call(returning(None), "HEAD")
    assert (outcome.status, outcome.body, outcome.length) == (500, b"", 26)

"""``live()``: what it takes, what it refuses in one line, and an end that comes once."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from application_loops import ending_with_the_test

import wsgi_async
from wsgi_async import sse
from wsgi_async.realtime.application_loop import existing


@pytest.fixture(autouse=True)
def own_loop() -> Iterator[None]:
    with ending_with_the_test():
        yield


async def letters() -> AsyncIterator[bytes]:
    for letter in (b"a", b"b", b"c"):
        yield letter


def test_the_server_gets_the_iterator_itself() -> None:
    """What it closes is what runs: nothing of ours is in between."""
    source = letters()
    body = wsgi_async.live(source)
    assert aiter(body) is source
    assert body.is_async
    body.close()
    assert existing() is None  # nothing was begun


def test_everybody_else_gets_chunks() -> None:
    body = wsgi_async.live(letters())
    assert list(body) == [b"a", b"b", b"c"]
    body.close()


class Numbers:
    """An iterable that is no iterator."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        return letters()


def test_an_iterable_is_asked_for_one_iterator_only() -> None:
    body = wsgi_async.live(Numbers())
    assert aiter(body) is aiter(body)


def test_close_is_called_once_however_often_it_is_closed() -> None:
    closed: list[int] = []
    body = wsgi_async.live(letters(), close=lambda: closed.append(1))
    body.close()
    body.close()
    assert closed == [1]


def test_a_body_of_a_body_is_closed_inside_out() -> None:
    closed: list[str] = []
    body = wsgi_async.live(
        wsgi_async.live(letters(), close=lambda: closed.append("inner")),
        close=lambda: closed.append("outer"),
    )
    assert list(body) == [b"a", b"b", b"c"]
    body.close()
    assert closed == ["inner", "outer"]


def test_all_callbacks_are_called_where_one_raises() -> None:
    closed: list[str] = []

    def fail() -> None:
        raise KeyError("first")

    body = wsgi_async.live(wsgi_async.live(letters(), close=fail), close=lambda: closed.append("b"))
    with pytest.raises(KeyError, match="first"):
        body.close()
    assert closed == ["b"]
    body.close()


def test_an_event_stream_is_a_body() -> None:
    assert list(wsgi_async.live(sse.stream(["a"]))) == [b"data: a\n\n"]


async def coroutine() -> bytes:
    return b""


def synchronous() -> Iterator[bytes]:
    yield b""


def with_context(wrapped: Any) -> Any:
    """As Flask's stream_with_context does with what is no iterable."""

    def decorator() -> None: ...

    decorator.__wrapped__ = wrapped  # type: ignore[attr-defined]
    return decorator


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (letters, r"the function letters: call it, letters\(\)"),
        (coroutine, "the function coroutine, in which there is no `yield`"),
        (synchronous(), "a generator, which is synchronous"),
        ([b"a"], "a list, which is synchronous"),
        (b"a", "a bytes, which is synchronous"),
        (with_context(letters()), "stream_with_context"),
        (None, "not a NoneType"),
        (5, "not an int"),
    ],
)
def test_something_else_is_refused_with_what_to_write(body: Any, says: str) -> None:
    with pytest.raises(TypeError, match=says) as raised:
        wsgi_async.live(body)
    assert "\n" not in str(raised.value)


def test_a_coroutine_is_refused_without_a_warning() -> None:
    with pytest.raises(TypeError, match="a coroutine, of coroutine"):
        wsgi_async.live(coroutine())  # type: ignore[arg-type]
    gc.collect()


@pytest.mark.parametrize(("close", "says"), [(5, "not an int"), (coroutine, "async function")])
def test_another_close_is_refused(close: Any, says: str) -> None:
    with pytest.raises(TypeError, match=says):
        wsgi_async.live(letters(), close=close)

"""Event streams: comments in silence, which lose no event; and a source that is always closed."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import itertools
import re
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from event_streams import read

from wsgi_async import sse
from wsgi_async.realtime import sse as realtime_sse
from wsgi_async.realtime import stepping
from wsgi_async.realtime.awaiting import stack_of

WAIT = 20.0
COMMENT = sse.comment()


class Source:
    """Events that come when the test says so, and what became of the source."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Any] = asyncio.Queue()
        self.asked = 0
        self.has_begun = asyncio.Event()
        self.has_ended = asyncio.Event()
        self.ends: list[str] = []
        self.tasks: set[Any] = set()

    async def events(self) -> AsyncIterator[Any]:
        try:
            while True:
                self.tasks.add(asyncio.current_task())
                self.asked += 1
                self.has_begun.set()
                item = await self.queue.get()
                if isinstance(item, BaseException):
                    raise item
                if item is None:
                    return
                yield item
        except GeneratorExit:
            self.ends.append("at the yield")
            raise
        except asyncio.CancelledError:
            self.ends.append("in its await")
            raise
        finally:
            await asyncio.sleep(0)
            self.ends.append("closed")
            self.has_ended.set()


async def body(source: Source) -> None:
    async for _ in sse.stream(source.events()):
        pass


@pytest.mark.asyncio
async def test_no_event_is_lost_or_doubled_by_comments() -> None:
    """The timer fires again and again while the source waits, which must not be broken off."""
    source = Source()
    chunks = aiter(sse.stream(source.events(), keep_alive=0.001))
    got: list[bytes] = []
    for number in range(50):
        while (chunk := await anext(chunks)) != COMMENT:
            got.append(chunk)
        if number % 3 == 0:
            assert await anext(chunks) == COMMENT
        await source.queue.put(str(number))
    await source.queue.put(None)
    got.extend([chunk async for chunk in chunks])
    events = [event.data for event in read(b"".join(got)).events]
    assert events == [str(number) for number in range(50)]
    assert len(source.tasks) == 1  # what it has entered it leaves in the same task
    assert source.ends == ["closed"]


@pytest.mark.asyncio
async def test_a_source_is_not_asked_ahead() -> None:
    """An event that is made long before a slow client takes it is old by then."""
    source = Source()
    chunks = aiter(sse.stream(source.events()))
    for number in range(3):
        source.queue.put_nowait(str(number))
    for number in range(3):
        assert await anext(chunks) == sse.event(str(number))
        for _ in range(5):
            await asyncio.sleep(0)
        assert source.asked == number + 1
    await chunks.aclose()
    assert source.ends == ["at the yield", "closed"]


@pytest.mark.asyncio
async def test_a_stream_without_events_is_opened_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A browser's `onopen` waits for the response's head, which goes with the first chunk."""
    monkeypatch.setattr(realtime_sse, "OPENING", 0.01)
    source = Source()
    chunks = aiter(sse.stream(source.events(), keep_alive=1000, retry=500))
    began = asyncio.get_running_loop().time()
    assert await anext(chunks) == b"retry: 500\n\n"
    assert asyncio.get_running_loop().time() - began < 100
    await chunks.aclose()
    assert source.ends == ["in its await", "closed"]


@pytest.mark.asyncio
async def test_retry_comes_with_the_first_event() -> None:
    assert [chunk async for chunk in sse.stream(["a", "b"], retry=5)] == [
        b"retry: 5\n\ndata: a\n\n",
        b"data: b\n\n",
    ]
    assert [chunk async for chunk in sse.stream([], retry=5)] == [b"retry: 5\n\n"]
    assert [chunk async for chunk in sse.stream([])] == []


@pytest.mark.asyncio
async def test_each_kind_of_item() -> None:
    items = ["a\nb", {"json": [1], "id": 2, "event": "x"}, sse.event("c"), sse.comment("d")]
    assert [chunk async for chunk in sse.stream(items)] == [
        b"data: a\ndata: b\n\n",
        b"event: x\nid: 2\ndata: [1]\n\n",
        b"data: c\n\n",
        b": d\n\n",
    ]


@pytest.mark.parametrize(
    ("item", "error", "says"),
    [
        (b"data: a\n", ValueError, "whole events"),
        ({"price": 1}, ValueError, r"\{'json'"),
        (5, TypeError, "not int"),
        (None, TypeError, "not NoneType"),
    ],
)
@pytest.mark.parametrize("kind", ["async", "sync"])
@pytest.mark.asyncio
async def test_another_item_is_an_error_and_the_source_is_closed(
    item: object, error: type[Exception], says: str, kind: str
) -> None:
    ends: list[str] = []

    def items() -> Iterator[Any]:
        try:
            yield "a"
            yield item
            yield "b"
        finally:
            ends.append("closed")

    async def later() -> AsyncIterator[Any]:
        try:
            yield "a"
            yield item
            yield "b"
        finally:
            ends.append("closed")

    chunks = aiter(sse.stream(items() if kind == "sync" else later()))
    assert await anext(chunks) == b"data: a\n\n"
    with pytest.raises(error, match=says):
        await anext(chunks)
    assert ends == ["closed"]


@pytest.mark.asyncio
async def test_what_a_source_raises_comes_through_after_what_it_made() -> None:
    source = Source()
    source.queue.put_nowait("a")
    source.queue.put_nowait(KeyError("b"))
    chunks = aiter(sse.stream(source.events()))
    assert await anext(chunks) == b"data: a\n\n"
    with pytest.raises(KeyError):
        await anext(chunks)
    assert source.ends == ["closed"]
    with pytest.raises(StopAsyncIteration):
        await anext(chunks)


@pytest.mark.asyncio
async def test_cancelled_while_it_waits_the_source_is_cancelled_there() -> None:
    source = Source()
    task = asyncio.create_task(body(source))
    await source.has_begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert source.ends == ["in its await", "closed"]


@pytest.mark.asyncio
async def test_its_stack_is_that_of_its_source() -> None:
    """Among the requests in flight: not that of what waits for it."""
    source = Source()
    task = asyncio.create_task(body(source))
    await source.has_begun.wait()
    stack = "\n".join(stack_of(task))
    assert stack.index("in body") < stack.index("in events") < stack.index("self.queue.get()")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.asyncio
async def test_a_stream_that_nobody_closes_is_closed_by_the_collector() -> None:
    """A generator around it that is closed at a yield does not close what it iterates."""
    source = Source()

    async def around() -> AsyncIterator[bytes]:
        async for chunk in sse.stream(source.events()):
            yield chunk

    chunks = around()
    source.queue.put_nowait("a")
    assert await anext(chunks) == b"data: a\n\n"
    await chunks.aclose()
    del chunks
    gc.collect()
    await source.has_ended.wait()


@pytest.mark.asyncio
async def test_an_error_of_its_end_is_not_lost() -> None:
    async def events() -> AsyncIterator[str]:
        try:
            yield "a"
        finally:
            raise KeyError("in finally")

    chunks = aiter(sse.stream(events()))
    await anext(chunks)
    with pytest.raises(KeyError, match="in finally"):
        await chunks.aclose()


@pytest.mark.asyncio
async def test_an_iterator_that_is_no_generator() -> None:
    class Numbers:
        def __init__(self) -> None:
            self.left = 3
            self.closed = 0

        def __aiter__(self) -> Numbers:
            return self

        async def __anext__(self) -> str:
            if not self.left:
                raise StopAsyncIteration
            self.left -= 1
            return str(self.left)

        async def aclose(self) -> None:
            self.closed += 1

    numbers = Numbers()
    assert len([chunk async for chunk in sse.stream(numbers)]) == 3
    assert numbers.closed == 1


VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("VARIABLE", default="")


@pytest.mark.asyncio
async def test_a_synchronous_source_has_a_thread_and_one_context() -> None:
    threads, seen = set(), []

    def numbers() -> Iterator[str]:
        before = VARIABLE.set("mine")
        try:
            for number in range(3):
                threads.add(threading.current_thread())
                seen.append(VARIABLE.get())
                yield str(number)
        finally:
            VARIABLE.reset(before)  # raises in another context
            seen.append(VARIABLE.get())

    VARIABLE.set("the view's")
    assert len([chunk async for chunk in sse.stream(numbers())]) == 3
    assert seen == ["mine"] * 3 + ["the view's"]
    (thread,) = threads
    assert thread is not threading.current_thread()


@pytest.mark.asyncio
async def test_comments_come_while_a_synchronous_source_blocks() -> None:
    gate = threading.Event()
    closed = threading.Event()

    def blocked() -> Iterator[str]:
        try:
            yield "a"
            gate.wait(WAIT)
            yield "b"
            yield "never"
        finally:
            closed.set()

    chunks = aiter(sse.stream(blocked(), keep_alive=0.001))
    while (chunk := await anext(chunks)) == COMMENT:  # its thread may be slow to begin
        pass
    assert chunk == b"data: a\n\n"
    assert await anext(chunks) == COMMENT
    assert await anext(chunks) == COMMENT
    gate.set()
    while (chunk := await anext(chunks)) == COMMENT:
        pass
    assert chunk == b"data: b\n\n"
    await chunks.aclose()
    assert closed.is_set()


@pytest.mark.asyncio
async def test_a_synchronous_source_that_blocks_is_closed_when_it_comes_back() -> None:
    """Nothing can break it off; a second cancellation gives it up, and no one hangs."""
    gate, entered, closed = threading.Event(), threading.Event(), threading.Event()

    def blocked() -> Iterator[str]:
        try:
            entered.set()
            gate.wait(WAIT)
            yield "a"
        finally:
            closed.set()

    async def body() -> None:
        async for _ in sse.stream(blocked()):
            raise AssertionError("nobody wants it any more")

    task = asyncio.create_task(body())
    await asyncio.to_thread(entered.wait, WAIT)
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=0.01)
    assert not done
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    gate.set()
    assert await asyncio.to_thread(closed.wait, WAIT)


@pytest.mark.asyncio
async def test_threads_of_synchronous_sources_are_bounded_and_come_back() -> None:
    endless = [aiter(sse.stream(itertools.repeat("a"))) for _ in range(stepping.THREADS)]
    for chunks in endless:
        assert await anext(chunks) == b"data: a\n\n"
    with pytest.raises(RuntimeError, match=f"{stepping.THREADS} synchronous"):
        await anext(aiter(sse.stream(["a"])))
    await endless.pop().aclose()
    assert [chunk async for chunk in sse.stream(["b"])] == [b"data: b\n\n"]
    for chunks in endless:
        await chunks.aclose()


async def coroutine() -> None: ...


async def asynchronous() -> AsyncIterator[str]:
    yield ""


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("data", "not one event, a str"),
        (b"data: a\n\n", "not one event, a bytes"),
        ({"data": "a"}, "not one event, a dict"),
        (asynchronous, r"call it, asynchronous\(\)"),
        (coroutine, r"call it, coroutine\(\)"),
        (5, "not int"),
        (None, "not NoneType"),
    ],
)
def test_another_source_is_refused(source: Any, says: str) -> None:
    with pytest.raises(TypeError, match=says):
        sse.stream(source)


def test_a_coroutine_is_refused_without_a_warning() -> None:
    with pytest.raises(TypeError, match="not coroutine"):
        sse.stream(coroutine())  # type: ignore[arg-type]
    gc.collect()


@pytest.mark.parametrize(
    ("value", "error"),
    [(-1, ValueError), (float("nan"), ValueError), (True, TypeError), ("15", TypeError)],
)
def test_another_keep_alive_is_refused(value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="keep_alive"):
        sse.stream([], keep_alive=value)


@pytest.mark.asyncio
async def test_without_keep_alive_nothing_comes_in_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(realtime_sse, "OPENING", 0.01)
    source = Source()
    chunks = aiter(sse.stream(source.events(), keep_alive=0))
    step = asyncio.ensure_future(anext(chunks))
    done, _ = await asyncio.wait([step], timeout=0.05)
    assert not done
    source.queue.put_nowait("a")
    assert re.fullmatch(rb"data: a\n\n", await step)
    await chunks.aclose()

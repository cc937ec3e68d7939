"""Who watches the dashboard: places, what wakes who waits, and how a stream ends."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any

import pytest
from application_loops import ending_with_the_test
from rawclient import TIMEOUT

from wsgi_async.operations import viewers
from wsgi_async.operations.viewers import LEASE, Feed, Places, Viewer
from wsgi_async.realtime.application_loop import application_loop, existing

FIRST = b"retry: 500\n\nevent: state\ndata: {}\n\n"
NEXT = b"event: state\ndata: {}\n\n"
LAST = b"retry: 500\n\n"


class Time:
    def __init__(self) -> None:
        self.now = 0.0


class Watched:
    """Two places, and what there is to see."""

    def __init__(self) -> None:
        self.time = Time()
        self.feed = Feed()
        self.made = 0
        self.places = Places(self.feed, self.make, 2, lambda: self.time.now)

    def make(self) -> bytes:
        self.made += 1
        return b"{}"

    def take(self) -> Viewer:
        viewer = self.places.take()
        assert viewer is not None
        return viewer


@pytest.fixture
def watched() -> Watched:
    return Watched()


@pytest.fixture
def application_loop_ends() -> Iterator[None]:
    with ending_with_the_test():
        yield


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(coroutine, TIMEOUT))


async def rest_of(events: AsyncIterator[bytes]) -> list[bytes]:
    return [each async for each in events]


async def waiting(events: AsyncIterator[bytes]) -> asyncio.Task[bytes]:
    """Its next event, once it is waited for."""
    task = asyncio.ensure_future(anext(events))
    await asyncio.sleep(0)
    assert not task.done()
    return task


# --- Places


def test_who_has_watched_for_long_gives_way_to_who_comes(watched: Watched) -> None:
    first = watched.take()
    watched.time.now += 1.0
    second = watched.take()
    watched.time.now = LEASE - 0.1
    assert watched.places.take() is None
    watched.time.now = LEASE
    watched.take()
    assert watched.places.take() is None  # the second has one more second
    assert first.is_to_leave
    first.close()
    assert not second.is_to_leave
    assert len(watched.places) == 2


def test_a_place_is_free_once_its_viewer_has_left(watched: Watched) -> None:
    viewers = [watched.take(), watched.take()]
    assert watched.places.take() is None
    for _ in range(2):
        viewers[0].close()
    watched.take()
    assert watched.places.take() is None


# --- What is sent


def test_each_event_is_made_once_for_all_and_they_share_its_bytes(watched: Watched) -> None:
    async def watch() -> None:
        both = [aiter(watched.take()), aiter(watched.take())]
        assert [await anext(events) for events in both] == [FIRST, FIRST]
        for _ in range(3):
            watched.feed.publish()
            one, other = [await anext(events) for events in both]
            assert one == NEXT
            assert one is other  # else who does not read would cost memory of his own

    run(watch())


def test_what_came_while_one_was_sent_is_one_event(watched: Watched) -> None:
    async def watch() -> None:
        events = aiter(watched.take())
        assert await anext(events) == FIRST
        for _ in range(5):
            watched.feed.publish()
        assert await anext(events) == NEXT
        (await waiting(events)).cancel()

    run(watch())


def test_silence_is_broken_by_a_comment(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that has gone without a word is noticed, and a proxy does not give up."""
    monkeypatch.setattr(viewers, "SILENCE", 0.01)

    async def watch() -> None:
        events = aiter(watched.take())
        assert await anext(events) == FIRST
        assert [await anext(events) for _ in range(2)] == [b": nothing new\n\n"] * 2
        watched.feed.publish()
        assert await anext(events) == NEXT

    run(watch())


# --- Who is woken


@pytest.mark.parametrize("end", ["close", "dismiss", "give way"])
def test_who_waits_is_told_at_once_that_it_is_over(watched: Watched, end: str) -> None:
    """And to come again soon, as the last word: a server that stops says later."""

    async def watch() -> None:
        events = aiter(watched.take())
        watched.time.now = LEASE - 1.0
        other = aiter(watched.take())
        assert [await anext(events), await anext(other)] == [FIRST, FIRST]
        task = await waiting(events)
        watched.time.now = LEASE
        ends: dict[str, Callable[[], object]] = {
            "close": watched.feed.close,
            "dismiss": watched.places.dismiss,
            "give way": watched.places.take,
        }
        ends[end]()
        assert await task == LAST
        after = asyncio.ensure_future(rest_of(events))
        await asyncio.sleep(0)
        assert after.done(), "it was suspended between its last word and its end"
        assert after.result() == []
        if end == "give way":
            (await waiting(other)).cancel()
        else:
            assert await rest_of(other) == [LAST]

    run(watch())


def test_another_thread_wakes_a_hundred_that_wait_without_a_thread(
    application_loop_ends: None,
) -> None:
    feed = Feed()
    places = Places(feed, lambda: b"{}", 100)
    seen = threading.Semaphore(0)

    async def watch(viewer: Viewer) -> list[bytes]:
        told = []
        async for event in viewer:
            told.append(event)
            seen.release()
        return told

    def seen_by_all() -> bool:
        return all(seen.acquire(timeout=TIMEOUT) for _ in range(100))

    assert existing() is None, "places alone start no loop"
    feed.publish()
    threads = threading.active_count()
    loop = application_loop()
    watching = []
    for _ in range(100):
        viewer = places.take()
        assert viewer is not None
        watching.append(loop.start(watch(viewer)))
    assert seen_by_all()
    assert threading.active_count() == threads + 1
    feed.publish()
    assert seen_by_all()
    feed.close()
    for one in watching:
        assert one.result(TIMEOUT) == [FIRST, NEXT, LAST]
    assert not feed._waiters


def test_who_is_cancelled_leaves_nothing_behind(watched: Watched) -> None:
    async def watch() -> None:
        events = aiter(watched.take())
        await anext(events)
        task = await waiting(events)
        assert len(watched.feed._waiters) == 1
        task.cancel()
        await asyncio.wait([task])
        assert not watched.feed._waiters
        watched.feed.publish()

    run(watch())
    watched.feed.publish()  # that loop has ended
    run(watch())

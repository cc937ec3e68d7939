"""Very many of Flask's live responses, ended in every way: nothing of them is left."""

from __future__ import annotations

import asyncio
import gc
import itertools
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import flask
import pytest
from application_loops import ending_with_the_test
from rawclient import TIMEOUT, RawClient, request
from serving import one_loop_in_time, serving

from wsgi_async import sse
from wsgi_async.flask import LiveResponse
from wsgi_async.realtime.application_loop import existing
from wsgi_async.realtime.bridge import Bridge
from wsgi_async.realtime.live import Live
from wsgi_async.realtime.sse import EventStream
from wsgi_async.realtime.stepping import AsyncSteps, ThreadSteps

KINDS = (Live, EventStream, AsyncSteps, ThreadSteps, Bridge, LiveResponse)


@pytest.fixture(autouse=True)
def own_loop() -> Iterator[None]:
    with ending_with_the_test():
        yield


def site(opened: list[str], closed: list[str]) -> flask.Flask:
    app = flask.Flask("site")

    async def few() -> AsyncIterator[str]:
        for number in range(3):
            await asyncio.sleep(0)
            yield str(number)

    async def endless() -> AsyncIterator[str]:
        while True:
            yield "a" * 1000
            await asyncio.sleep(0.001)

    async def silent() -> AsyncIterator[str]:
        await asyncio.Event().wait()
        yield ""

    async def failing() -> AsyncIterator[str]:
        yield "a"
        raise KeyError("b")

    def synchronous() -> Iterator[str]:
        for number in itertools.count():
            time.sleep(0.001)
            yield str(number)

    sources = {
        "few": few,
        "endless": endless,
        "silent": silent,
        "failing": failing,
        "synchronous": synchronous,
    }

    @app.get("/<name>")
    def view(name: str) -> Any:
        opened.append(name)
        source: Any = sources[name]()
        return LiveResponse(sse.stream(source, keep_alive=0.01), close=lambda: closed.append(name))

    return app


def end(client: RawClient, number: int) -> None:
    """In one of several ways."""
    way = number % 4
    if way == 0:
        client.reset()
    elif way == 1:
        client.close()
    elif way == 2:
        client.half_close()
        client.read_to_end()  # an event stream is over by that
        client.close()
    else:
        client.send(b"nonsense\r\n\r\n")
        client.close()


def how_many() -> int:
    """Of all objects there are; asked for their types, since some do something if they are asked
    more."""
    return sum(issubclass(type(one), KINDS) for one in gc.get_objects())


@one_loop_in_time
@pytest.mark.parametrize("count", [40, pytest.param(400, marks=pytest.mark.soak)])
def test_streams_leave_nothing(loop: str, count: int) -> None:
    gc.collect()
    before = how_many()
    opened: list[str] = []
    closed: list[str] = []
    names = itertools.cycle(("few", "endless", "silent", "failing", "synchronous"))
    with serving(site(opened, closed), loop=loop, threads=4) as served:
        waiting: list[RawClient] = []
        for number, name in zip(range(count), names, strict=False):
            client = served.client()
            client.send(request(f"/{name}", "HEAD" if number % 17 == 16 else "GET"))
            waiting.append(client)
            if len(waiting) == 20:  # so many at once
                for position, one in enumerate(waiting):
                    if number % 3:
                        one.read_until(b"\r\n\r\n")
                    end(one, position)
                waiting.clear()
        served.wait_until_idle()
        # Who leaves while its request waits for a thread never gets to the application.
        served.wait_until(lambda: len(closed) == len(opened))
        assert sorted(closed) == sorted(opened)
        assert len(opened) > count / 2
        assert _tasks_that_are_left() == []
        assert not [one for one in threading.enumerate() if one.name == "wsgi_async-steps"]
    del client, one, served  # who has noted errors has noted their frames
    gc.collect()
    assert how_many() == before


def _tasks_that_are_left() -> list[str]:
    """On the application loop, after a while."""
    loop = existing()
    assert loop is not None

    async def others() -> list[str]:
        return [str(task) for task in asyncio.all_tasks() - {asyncio.current_task()}]

    deadline = time.monotonic() + TIMEOUT
    while (left := loop.start(others()).result(TIMEOUT)) and time.monotonic() < deadline:
        pass
    return left

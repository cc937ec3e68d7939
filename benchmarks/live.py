"""The applications that hold event streams: the same events, and to each server the form that its
own documentation gives them. Every one answers ``/`` with a constant, for the requests beside them.

An event is its number and the moment at which it was due, by the clock that all processes of a
machine share: whoever reads it knows how late it comes, and whether one is missing.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from benchmarks.apps import BODY

__all__ = ["EVERY", "HELD", "TICKING", "Publisher", "event"]

HELD = "/held"
"""Where a stream has one event at once, and then none for as long as it is held."""
TICKING = "/ticking"
"""Where a stream has its first event at once, and another one every `EVERY` seconds."""
EVERY = 1.0
"""Seconds."""
EVENTS = "text/event-stream"


def data(number: int, due: float) -> str:
    """What an event says."""
    return f"{number} {due:.6f}"


def event(number: int, due: float) -> bytes:
    """A whole event."""
    return f"data: {data(number, due)}\n\n".encode("ascii")


def _seconds_to(due: float) -> float:
    return max(0.0, due - time.monotonic())


async def held() -> AsyncIterator[bytes]:
    yield event(0, time.monotonic())
    await asyncio.Event().wait()


async def ticking() -> AsyncIterator[bytes]:
    begun = time.monotonic()
    for number in itertools.count():
        due = begun + number * EVERY
        await asyncio.sleep(_seconds_to(due))
        yield event(number, due)


def blocking_held() -> Iterator[bytes]:
    yield event(0, time.monotonic())
    threading.Event().wait()


def blocking_ticking() -> Iterator[bytes]:
    begun = time.monotonic()
    for number in itertools.count():
        due = begun + number * EVERY
        time.sleep(_seconds_to(due))
        yield event(number, due)


def _site(answers: dict[str, Callable[[], Any]]) -> Any:
    """A Flask application with these views by their paths, and the constant answer."""
    from flask import Flask, Response

    site = Flask("live")
    site.add_url_rule("/", "constant", lambda: Response(BODY, mimetype="text/plain"))
    for path, view in answers.items():
        site.add_url_rule(path, path.strip("/"), view)
    return site


def _flask() -> Any:
    """For wsgi_async: synchronous views that return async bodies."""
    from wsgi_async.flask import LiveResponse

    return _site(
        {
            HELD: lambda: LiveResponse(held(), mimetype=EVENTS),
            TICKING: lambda: LiveResponse(ticking(), mimetype=EVENTS),
        }
    )


def _blocking() -> Any:
    """For any WSGI server: a generator that waits, on a thread or a greenlet of its own."""
    from flask import Response

    return _site(
        {
            HELD: lambda: Response(blocking_held(), mimetype=EVENTS),
            TICKING: lambda: Response(blocking_ticking(), mimetype=EVENTS),
        }
    )


def _starlette() -> Any:
    """For ASGI: written anew, with coroutines everywhere."""
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse, StreamingResponse
    from starlette.routing import Route

    async def constant(request: Any) -> Any:
        return PlainTextResponse(BODY)

    async def hold(request: Any) -> Any:
        return StreamingResponse(held(), media_type=EVENTS)

    async def tick(request: Any) -> Any:
        return StreamingResponse(ticking(), media_type=EVENTS)

    routes = [Route("/", constant), Route(HELD, hold), Route(TICKING, tick)]
    return Starlette(routes=routes)


class Publisher:
    """A thread that publishes to each of its channels every `EVERY` seconds: what takes the place
    of the bodies where a server holds streams without any.

    :param publish: called with a channel and what the event says.
    """

    def __init__(self, publish: Callable[[str, str], object]) -> None:
        self._publish = publish
        self._channels: list[tuple[float, int, str]] = []
        """A heap: when the next event is due, its number, the channel."""
        self._changed = threading.Condition()
        self._names = itertools.count()
        threading.Thread(target=self._run, name="publisher", daemon=True).start()

    def channel(self) -> tuple[str, float]:
        """A new one: its name, and the moment at which its first event, which is not published,
        is due: now."""
        name, due = f"ticking-{next(self._names)}", time.monotonic()
        with self._changed:
            heapq.heappush(self._channels, (due + EVERY, 1, name))
            self._changed.notify()
        return name, due

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._channels or _seconds_to(self._channels[0][0]):
                    due = self._channels[0][0] if self._channels else None
                    self._changed.wait(None if due is None else _seconds_to(due))
                due, number, name = self._channels[0]
                heapq.heapreplace(self._channels, (due + EVERY, number + 1, name))
            self._publish(name, data(number, due))


def _channels() -> Any:
    """For m0serve: the view answers with the first event and the name of a channel, by which the
    server holds the stream; a thread publishes to each channel."""
    from flask import Response
    from m0serve import m0pub

    publisher = Publisher(m0pub.publish)

    def answer(channel: str, due: float) -> Any:
        fields = {"M0-Hold": "stream", "M0-Channel": channel}
        return Response(event(0, due), mimetype=EVENTS, headers=fields)

    return _site(
        {
            HELD: lambda: answer("held", time.monotonic()),
            TICKING: lambda: answer(*publisher.channel()),
        }
    )


_LAZY = {
    "flask": _flask,
    "blocking": _blocking,
    "starlette": _starlette,
    "channels": _channels,
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(name)
    application = globals()[name] = _LAZY[name]()
    return application

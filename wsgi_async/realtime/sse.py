"""Server-sent events: what a view sends, and a browser's ``EventSource`` reads.

::

    from wsgi_async import sse
    from wsgi_async.flask import LiveResponse

    async def ticks():
        number = 0
        while True:
            await asyncio.sleep(1)
            yield {"json": {"number": number}, "event": "tick", "id": number}
            number += 1

    @app.get("/ticks")
    def view():
        return LiveResponse(sse.stream(ticks()))

With Django ``StreamingHttpResponse(sse.stream(ticks()), headers=sse.headers())``, and from a bare
WSGI application ``wsgi_async.live(sse.stream(ticks()))``.

Synchronous generators will do as well: see :func:`stream`.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    Iterable,
    Mapping,
)
from typing import TYPE_CHECKING, Any, NoReturn

from wsgi_async.wsgi.async_bodies import EVENT_STREAM, UNCHANGED

from .awaiting import Waiter
from .framing import Event, comment, event, framed
from .stepping import AsyncSteps, Steps, ThreadSteps

__all__ = [
    "KEEP_ALIVE",
    "OPENING",
    "Event",
    "EventStream",
    "comment",
    "event",
    "headers",
    "last_event_id",
    "stream",
]

KEEP_ALIVE = 15.0
"""Seconds of silence after which a comment is sent, as the standard advises."""

OPENING = 1.0
"""Seconds after which a stream that has nothing to say yet is opened by a comment."""

_UNSET: Any = object()


def headers() -> dict[str, str]:
    """The response's fields, a new dictionary each time.

    ``X-Accel-Buffering`` has nginx pass on each event at once. The rest is against compression,
    which would hold events back: ``no-transform`` for caches on the way, and a ``Content-Encoding``
    for middleware and for nginx, which leave alone what has one.
    """
    return {
        "Content-Type": EVENT_STREAM,
        "Cache-Control": "no-cache, no-transform",
        "Content-Encoding": UNCHANGED,
        "X-Accel-Buffering": "no",
    }


def last_event_id(environ: Mapping[str, Any]) -> str | None:
    """The ``id`` of the last event that the browser got before it connected anew.

    :param environ: the WSGI environ: Flask's ``request.environ``, Django's ``request.META``.
    :returns: None where it has none.
    """
    value = environ.get("HTTP_LAST_EVENT_ID")
    if not value:
        return None
    # PEP 3333 decodes as latin-1 what browsers encode as UTF-8.
    return str(value).encode("latin-1", "replace").decode("utf-8", "replace")


def stream(
    source: AsyncIterable[Event] | Iterable[Event],
    *,
    keep_alive: float = KEEP_ALIVE,
    retry: int | None = None,
) -> EventStream:
    """The body of an event stream: events one by one, and comments in times of silence.

    A synchronous `source` is gone through on a thread of its own, which is none of the server's
    pool, in a copy of the context; so comments are sent while it waits. It holds that thread, of
    which there are at most :data:`~.stepping.THREADS`; if it blocks when its client leaves, it is
    closed when it comes back. An asynchronous one holds none.

    The source is asked for an event when the one before was taken, and not broken off for a
    comment. It is closed however the stream ends.

    :param source: makes the events, see :data:`Event`; asynchronous or not.
    :param keep_alive: seconds of silence after which a comment is sent; 0: none ever. Without one
        nobody may notice that a client has gone without a word, and proxies end what is silent.
    :param retry: milliseconds after which the browser is to connect anew, told at the beginning.
    :returns: an asynchronous iterable, for ``live()``, ``LiveResponse``, ``StreamingHttpResponse``.
    :raises TypeError: a `source` or a number of another kind.
    :raises ValueError: a negative number.

    The response begins with the first event, or after :data:`OPENING`: what the source raises
    before is still a 500.
    """
    _check_source(source)
    if isinstance(keep_alive, bool) or not isinstance(keep_alive, (int, float)):
        raise TypeError(f"keep_alive must be seconds, not {type(keep_alive).__name__}")
    if not 0 <= keep_alive < float("inf"):
        raise ValueError("keep_alive must be seconds, or 0 for none")
    opening = b"" if retry is None else event(retry=retry)
    return EventStream(source, float(keep_alive), opening)


class EventStream:
    """What :func:`stream` returns: an asynchronous iterable of bytes.

    :param source: see there.
    :param keep_alive: see there.
    :param opening: sent first.
    """

    def __init__(
        self, source: AsyncIterable[Event] | Iterable[Event], keep_alive: float, opening: bytes
    ) -> None:
        self._chunks = _chunks(source, keep_alive, opening)

    def __aiter__(self) -> AsyncGenerator[bytes, None]:
        return self._chunks

    if not TYPE_CHECKING:  # for whom it is not iterable

        def __iter__(self) -> NoReturn:
            """What was given this takes no asynchronous body, as Flask's ``Response``; Django's
            ``StreamingHttpResponse`` tries this, too, and goes on by ``__aiter__``.

            :raises TypeError: always.
            """
            raise TypeError(
                "what sse.stream() returns is asynchronous: return it in a "
                "wsgi_async.flask.LiveResponse (Flask), a StreamingHttpResponse (Django), "
                "or by wsgi_async.live()"
            )


async def _chunks(
    source: AsyncIterable[Event] | Iterable[Event], keep_alive: float, opening: bytes
) -> AsyncGenerator[bytes, None]:
    inbox = _Arrivals()
    steps: Steps
    if isinstance(source, AsyncIterable):
        steps = awaited = AsyncSteps(source, inbox)
        awaited.start("wsgi_async-events")
    else:
        steps = ThreadSteps(source, inbox)
    silence = min(keep_alive, OPENING)
    try:
        steps.ask()
        while True:
            await inbox.wait(silence, steps.task)
            silence = keep_alive
            if inbox.item is not _UNSET:
                item, inbox.item = inbox.item, _UNSET
                chunk = opening + framed(item)
                opening = b""
                del item
                yield chunk
                steps.ask()  # only now: it is not to be ahead of a client that is slow
            elif not inbox.is_over:
                chunk, opening = opening or comment(), b""
                yield chunk
            else:
                break
        if opening and inbox.error is None:
            yield opening
    finally:
        if not inbox.is_over:
            steps.stop()
            await inbox.wait_for_end(steps.patience)
        inbox.raise_error()


class _Arrivals:
    """What has come of the source. *Application loop.*"""

    __slots__ = ("_loop", "_waiter", "error", "is_over", "item")

    def __init__(self) -> None:
        self.item: Any = _UNSET
        self.is_over = False
        self.error: BaseException | None = None
        self._loop = asyncio.get_running_loop()
        self._waiter: Waiter | None = None

    def take(self, item: Any) -> None:
        self.item = item
        self._wake()

    def over(self, error: BaseException | None) -> None:
        self.is_over = True
        self.error = error
        self._wake()

    async def wait(self, seconds: float, task: asyncio.Task[Any] | None) -> None:
        """Until something has come, or for so many seconds, where there are any.

        :param task: what it is waited for.
        """
        if self.is_over or self.item is not _UNSET:
            return
        self._waiter = Waiter(task, self._loop)
        timer = self._loop.call_later(seconds, self._wake) if seconds else None
        try:
            await self._waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()

    async def wait_for_end(self, patience: float | None) -> None:
        """Until the source is closed, or for so many seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while not self.is_over:
                    self.item = _UNSET
                    await self.wait(0, None)

    def raise_error(self) -> None:
        error, self.error = self.error, None
        if error is not None:
            try:
                raise error
            finally:
                error = None  # no cycle by its traceback

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _check_source(source: object) -> None:
    kind = type(source)
    if isinstance(source, (str, bytes, Mapping)):
        raise TypeError(
            f"sse.stream() takes an iterable of events, not one event, a {kind.__name__}"
        )
    if hasattr(kind, "__aiter__") or hasattr(kind, "__iter__"):
        return
    if inspect.iscoroutine(source):
        source.close()  # else Python warns that nobody has awaited it
    elif callable(source):
        name = getattr(source, "__name__", kind.__name__)
        raise TypeError(f"sse.stream() was given the function {name}: call it, {name}()")
    raise TypeError(
        "sse.stream() takes an iterable of events, asynchronous or not, such as what a function "
        f"with `yield` returns, not {kind.__name__}"
    )

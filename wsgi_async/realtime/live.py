"""``live()``: an asynchronous body for an ordinary WSGI application to return."""

from __future__ import annotations

import inspect
import io
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator, MutableSequence
from typing import Any

from .bridge import Bridge

__all__ = ["Live", "live"]


def live(async_iterable: AsyncIterable[bytes], close: Callable[[], object] | None = None) -> Live:
    """An asynchronous body: return it from a WSGI application.

    ::

        def application(environ, start_response):
            start_response("200 OK", [("Content-Type", "text/plain")])
            return live(ticker())

    Here it holds no thread, as long as it lasts. Under any other WSGI server, and inside a wrapper
    that iterates what it is given, it is a body all the same, which holds a thread as any other.

    :param async_iterable: makes the chunks, each of bytes, on the application loop: as a rule what
        an ``async def`` with ``yield`` returns. It may never be begun, as in response to a HEAD.
    :param close: called once, when the response is over, however it came to its end; on a thread
        that may block, not on a loop.
    :returns: an object that is iterable both ways and has a ``close()``.
    :raises TypeError: something else was given.

    *Any thread.*
    """
    callbacks = [] if close is None else [check_callback(close)]
    if isinstance(async_iterable, Live):
        async_iterable.callbacks.extend(callbacks)
        return async_iterable
    return Live(check_body(async_iterable, "live()"), callbacks)


class Live:
    """What :func:`live` returns.

    :param source: the asynchronous iterable.
    :param callbacks: called by ``close()``, in their order; each is taken out when it is called.
    """

    is_async = True
    """Also what Django's response has where its body is asynchronous."""

    def __init__(
        self, source: AsyncIterable[bytes], callbacks: MutableSequence[Callable[[], object]]
    ) -> None:
        self.callbacks = callbacks
        self.source = source
        self._iterator: AsyncIterator[bytes] | None = None
        self._bridges: list[Bridge] = []

    def __aiter__(self) -> AsyncIterator[bytes]:
        """*Application loop:* the iterator of the body itself, the same each time."""
        if self._iterator is None:
            self._iterator = aiter(self.source)
        return self._iterator

    def __iter__(self) -> Iterator[bytes]:
        """*Any thread but the application loop's:* see :func:`.step_through`."""
        bridge = Bridge(self.source)
        self._bridges.append(bridge)
        return bridge

    def fileno(self) -> int:
        """There is none, as with other objects like files that have none.

        Sentry's middleware leaves alone what has this: it would iterate the body otherwise.

        :raises io.UnsupportedOperation: always.
        """
        raise io.UnsupportedOperation("an asynchronous body has no descriptor")

    def close(self) -> None:
        """*Pool thread:* the response is over. What was called once is not called again.

        :raises BaseException: the first of what the callbacks raise, once all are called.
        """
        first: BaseException | None = None
        for waiting in (self._bridges, self.callbacks):
            while True:
                try:
                    done = waiting.pop(0)  # one call: no other thread gets the same
                except IndexError:
                    break
                try:
                    if isinstance(done, Bridge):
                        done.close()
                    else:
                        done()
                except BaseException as error:
                    first = first or error
        if first is not None:
            try:
                raise first
            finally:
                first = None


def check_callback(close: Callable[[], object]) -> Callable[[], object]:
    """
    :raises TypeError: it cannot be called, or would only make a coroutine.
    """
    if not callable(close):
        raise TypeError(f"close must be a function without arguments, not {_named(close)}")
    if inspect.iscoroutinefunction(close):
        raise TypeError(
            "close must not be an async function: it is called on a thread; "
            "lambda: wsgi_async.run(that()), or a `finally` in the body itself"
        )
    return close


def check_body(body: Any, where: str) -> AsyncIterable[bytes]:
    """
    :param where: who was given it, for the message.
    :raises TypeError: it is no asynchronous iterable; the message says what to write.
    """
    if hasattr(type(body), "__aiter__"):
        return body  # type: ignore[no-any-return]
    if inspect.isasyncgenfunction(body):
        raise TypeError(
            f"{where} was given the function {body.__name__}: call it, {body.__name__}()"
        )
    if inspect.iscoroutine(body):
        body.close()  # else Python warns that nobody has awaited it
        raise TypeError(
            f"{where} was given a coroutine, of {body.__qualname__}: "
            "an asynchronous body is an `async def` with `yield`"
        )
    if inspect.iscoroutinefunction(body):
        raise TypeError(
            f"{where} was given the function {body.__name__}, in which there is no `yield`: "
            "an asynchronous body is what an `async def` with `yield` returns"
        )
    if inspect.isasyncgen(getattr(body, "__wrapped__", None)):
        raise TypeError(_OF_FLASK.format(where))
    if hasattr(type(body), "__iter__"):
        raise TypeError(
            f"{where} was given {_named(body)}, which is synchronous: return that as it is, "
            "or for server-sent events wsgi_async.sse.stream(...) of it"
        )
    raise TypeError(
        f"{where} takes an asynchronous iterable of bytes, such as what an `async def` with "
        f"`yield` returns, not {_named(body)}"
    )


_OF_FLASK = (
    "{} was given what stream_with_context makes of an asynchronous generator: that is for "
    "synchronous ones; take what is needed of the request before, as arguments of the generator"
)


def _named(value: object) -> str:
    """What it is, without what is in it: that may be a client's, and long."""
    name = type(value).__name__
    return f"a {name}" if name[:1].lower() not in "aeiou" else f"an {name}"

"""The bridge: an asynchronous body for whoever can iterate only synchronously.

That is any other WSGI server, a test client, and here a wrapper that hides the body: the thread
that asks for a chunk waits until the application loop has made it.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import AsyncIterable, Iterator
from concurrent.futures import Future
from contextvars import copy_context

from wsgi_async.errors import ClientDisconnected
from wsgi_async.wsgi.client import current_client

from . import frameworks
from .application_loop import ApplicationLoop, Started, application_loop
from .executors import CallingThread, context_for_body
from .stepping import AsyncSteps

__all__ = ["CANCELLATIONS", "Bridge", "step_through"]

CANCELLATIONS = 5
"""How often a body is cancelled that does not end, once a second: then it is left to itself."""

_OURS = ("wsgi_async.realtime.", "wsgi_async.django.", *frameworks.BETWEEN)
"""Modules whose frames stand between a wrapper and the bridge."""

_SERVERS = ("wsgi_async.wsgi.calling.", "wsgi_async.testing.", "wsgi_async.compat.cgi.")
"""Those that call the application, and have no better way where they use the bridge."""

_IN_WRAPPER = "Have it pass on what the application returns, or leave it out for such responses"


def step_through(source: AsyncIterable[bytes]) -> Iterator[bytes]:
    """*Any thread but the application loop's:* a synchronous iterator over an asynchronous body.

    :param source: the body. All of it runs in one task on the application loop, which begins with
        the first chunk that is asked for.
    :returns: an iterator whose ``close()`` cancels the body and returns when it has ended. The
        first in a process under a server of ours is told of in the log, with the name of whoever
        asks for it: it holds a thread.

    Where the client has gone, or the request is given up, the thread that waits gets
    :exc:`.ClientDisconnected`. (Another server has no way to say so: it finds out by its next
    write.)
    """
    return Bridge(source)


class Bridge:
    """See :func:`step_through`.

    :param source: the body.
    """

    def __init__(self, source: AsyncIterable[bytes]) -> None:
        self._source: AsyncIterable[bytes] | None = source
        self._walk: _Walk | None = None
        self._has_ended = False
        _name_wrapper()

    def __iter__(self) -> Bridge:
        return self

    def __next__(self) -> bytes:
        """
        :raises ClientDisconnected: see :func:`step_through`.
        :raises RuntimeError: on the application loop itself, or that has ended.
        """
        if self._has_ended:
            raise StopIteration
        walk = self._walk
        if walk is None:
            source, self._source = self._source, None
            assert source is not None
            walk = self._walk = _Walk(source)
        try:
            return walk.step()
        except BaseException as error:
            self._has_ended = walk.has_ended or isinstance(error, StopIteration)
            raise

    def close(self) -> None:
        """Cancel the body, if it has not ended; may be called again.

        :raises RuntimeError: it ignores that.
        :raises Exception: what it raises as it ends.
        """
        self._has_ended = True
        self._source = None
        walk, self._walk = self._walk, None
        if walk is not None:
            walk.close()

    def __del__(self) -> None:
        walk = self._walk
        if walk is not None:  # by somebody who does not close what he iterates
            walk.leave()


class _Walk:
    """A body that has begun. *The thread that iterates*, one at a time."""

    def __init__(self, source: AsyncIterable[bytes]) -> None:
        loop = application_loop()
        if threading.get_ident() == loop.ident:
            raise RuntimeError(
                "an asynchronous body is iterated on the application loop, which cannot wait for "
                "itself: `async for chunk in body`"
            )
        self.has_ended = False
        self._inbox = _Inbox()
        self._calls = CallingThread()
        self._steps = AsyncSteps(source, self._inbox)
        self._loop: ApplicationLoop = loop
        client = current_client()
        self._handle = None if client is None else client.on_over(self._inbox.leave)
        try:
            self._task: Started[None] = loop.start(
                _run(self._steps, self._calls), context=copy_context(), name="wsgi_async-bridge"
            )
        except BaseException:
            self._end()
            raise
        self._task.add_done_callback(self._inbox.done)

    def step(self) -> bytes:
        """The next chunk.

        :raises StopIteration: there is none.
        """
        answer = self._inbox.expect()
        if not answer.done():
            self._loop.call(self._steps.ask)
            self._calls.wait_for(answer)
        try:
            return answer.result()
        except _Over as over:
            self._end()
            error, over.error = over.error, None
        finally:
            del answer
        if error is None:
            raise StopIteration
        try:
            raise error
        finally:
            error = None  # no cycle by its traceback

    def close(self) -> None:
        """Cancel it, and wait until it has ended."""
        try:
            for _ in range(CANCELLATIONS):
                if self._task.done():
                    break
                self._loop.call(self._steps.stop)
                self._calls.wait_for(self._task, 1.0)
            else:
                raise RuntimeError(
                    "an asynchronous body goes on though it was cancelled: is there an `except` "
                    "that catches asyncio.CancelledError? It is left to itself"
                )
        finally:
            self._end()
        error = self._inbox.last_error()
        if error is not None:
            raise error

    def leave(self) -> None:
        """*Any thread:* cancel it, without a wait."""
        self._loop.call(self._steps.stop)
        self._end()

    def _end(self) -> None:
        self.has_ended = True
        handle, self._handle = self._handle, None
        if handle is not None:
            handle.cancel()
        self._calls.end()


async def _run(steps: AsyncSteps, calls: CallingThread) -> None:
    with context_for_body(calls):
        await steps.run()


class _Over(Exception):
    """There are no more chunks.

    :param error: why, if not for being the end.
    """

    def __init__(self, error: BaseException | None) -> None:
        super().__init__()
        self.error = error


class _Inbox:
    """What the application loop has to say to the thread that waits. It refers to neither."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answer: Future[bytes] | None = None
        """What is waited for, until there is an answer."""
        self._error: BaseException | None = None
        """What the body has raised, until somebody is told."""
        self._has_left = False
        self._is_over = False

    def expect(self) -> Future[bytes]:
        """*The thread that iterates:* what becomes of the next step."""
        answer: Future[bytes] = Future()
        with self._lock:
            if self._has_left:
                answer.set_exception(_gone())
            elif self._is_over:
                answer.set_exception(_Over(self._taken()))
            else:
                self._answer = answer
        return answer

    def take(self, item: bytes) -> None:
        """*Application loop.*"""
        with self._lock:
            answer, self._answer = self._answer, None
        if answer is not None:
            answer.set_result(item)

    def over(self, error: BaseException | None) -> None:
        """*Application loop.*"""
        with self._lock:
            self._is_over = True
            self._error = error
            answer, self._answer = self._answer, None
            if answer is not None:
                answer.set_exception(_Over(self._taken()))

    def done(self, task: Future[None]) -> None:
        """*Application loop:* its task has ended, perhaps without having begun."""
        if not self._is_over:
            self.over(RuntimeError("the application loop has ended"))

    def leave(self) -> None:
        """*Any thread:* nobody wants more chunks."""
        with self._lock:
            self._has_left = True
            answer, self._answer = self._answer, None
        if answer is not None:
            answer.set_exception(_gone())

    def last_error(self) -> BaseException | None:
        """*The thread that iterates:* what the body has raised, if nobody was told."""
        with self._lock:
            return self._taken()

    def _taken(self) -> BaseException | None:
        error, self._error = self._error, None
        return error


def _gone() -> ClientDisconnected:
    return ClientDisconnected("the client has gone")


def _name_wrapper() -> None:
    """Where a server of ours is about to hold a thread: say so, and whose doing it is."""
    client = current_client()
    if client is None:
        return
    frame = sys._getframe(1)
    instead = _IN_WRAPPER
    while (caller := frame.f_back) is not None:
        frame = caller
        module = str(frame.f_globals.get("__name__"))
        if f"{module}.".startswith(_SERVERS):
            return
        instead = frameworks.instead_of(module, frame.f_code.co_name) or instead
        if not f"{module}.".startswith(_OURS):
            client.warn(
                "live bridge",
                f"{module}.{frame.f_code.co_qualname} iterates an asynchronous body: it holds a "
                f"thread until its end. {instead}",
            )
            return

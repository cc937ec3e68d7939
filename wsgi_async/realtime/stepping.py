"""The steps of an iterable, each when it is asked for: what takes them, and who is told.

An asynchronous iterable is gone through in one task from its first step to its last, however its
steps are asked for: time limits and groups of tasks that it enters must be left by the task that
entered them. A synchronous one is gone through on a thread of its own, in one context.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterable, Iterable
from contextvars import copy_context
from queue import SimpleQueue
from typing import Any, Protocol

from .frameworks import at_thread_end

__all__ = ["THREADS", "AsyncSteps", "Receiver", "Steps", "ThreadSteps"]

THREADS = 256
"""How many synchronous iterables may be gone through at once in one process."""


class Receiver(Protocol):
    """Told of the steps."""

    def take(self, item: Any) -> None:
        """*Application loop:* what a step that was asked for has come to."""

    def over(self, error: BaseException | None) -> None:
        """*Application loop:* there are no more, and the iterator is closed. Told once, last.

        :param error: what it raised, if it did. None too where it was stopped, and did not mind.
        """


class Steps(Protocol):
    """An iterable, step by step."""

    @property
    def patience(self) -> float | None:
        """Seconds after which one that was stopped may be left to itself; None: never."""

    @property
    def task(self) -> asyncio.Task[Any] | None:
        """*Application loop:* what takes them, where that is a task."""

    def ask(self) -> None:
        """*Application loop:* one step, please; not while another one is being taken."""

    def stop(self) -> None:
        """*Application loop:* no more steps: close it. To be said again to one that does not
        mind."""


class AsyncSteps:
    """The steps of an asynchronous iterable.

    :param source: the iterable. The ``aclose()`` of its iterator, where it has one, is called at
        the end.
    :param receiver: told of them.

    Whoever makes it has :meth:`run` run as a task, or calls :meth:`start`.
    """

    __slots__ = (
        "_has_begun",
        "_is_stopped",
        "_is_wanted",
        "_receiver",
        "_source",
        "_waiter",
        "task",
    )

    patience = None

    def __init__(self, source: AsyncIterable[Any], receiver: Receiver) -> None:
        self.task: asyncio.Task[Any] | None = None
        self._source = source
        self._receiver = receiver
        # An asyncio.Event would be most of what a stream costs that has nothing to say.
        self._is_wanted = False
        self._waiter: asyncio.Future[None] | None = None
        self._has_begun = False
        self._is_stopped = False

    def ask(self) -> None:
        self._is_wanted = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def stop(self) -> None:
        self._is_stopped = True
        # One that is cancelled before it has begun never begins.
        if self._has_begun and self.task is not None:
            self.task.cancel()

    def start(self, name: str) -> None:
        """*Application loop:* have them taken, in a copy of the context.

        :param name: of the task.
        """
        # Whatever it awaits refers to it, and it to this.
        self.task = asyncio.get_running_loop().create_task(self.run(), name=name)

    async def run(self) -> None:
        """*Application loop:* all of it."""
        self.task = asyncio.current_task()
        self._has_begun = True
        error: BaseException | None = None
        try:
            if not self._is_stopped:
                await self._go_through()
        except BaseException as raised:
            if not (self._is_stopped and isinstance(raised, asyncio.CancelledError)):
                error = raised
        self.task = None
        try:
            self._receiver.over(error)
        finally:
            error = None  # its traceback has this frame

    async def _go_through(self) -> None:
        iterator = aiter(self._source)
        try:
            while True:
                if not self._is_wanted:
                    self._waiter = asyncio.get_running_loop().create_future()
                    await self._waiter
                self._is_wanted = False
                try:
                    item = await anext(iterator)
                except StopAsyncIteration:
                    return
                self._receiver.take(item)
                del item  # it may be long until the next one
        finally:
            close = getattr(iterator, "aclose", None)
            if close is not None:
                await close()


class ThreadSteps:
    """The steps of a synchronous iterable, on a thread of its own.

    :param source: the iterable. Its iterator's ``close()``, where it has one, is called at the end,
        on that thread.
    :param receiver: told of them, on the loop that makes this.
    :raises RuntimeError: there are :data:`THREADS` of them.

    *Application loop.* The thread sees a copy of the context it is made in. A step that is being
    taken cannot be broken off: it is stopped after that.
    """

    __slots__ = ("_loop", "_orders", "_receiver", "_source")

    patience = 5.0
    task = None

    def __init__(self, source: Iterable[Any], receiver: Receiver) -> None:
        self._source = source
        self._receiver = receiver
        self._loop = asyncio.get_running_loop()
        self._orders: SimpleQueue[bool] = SimpleQueue()
        _places.take()
        context = copy_context()
        try:
            threading.Thread(
                target=context.run, args=(self._run,), name="wsgi_async-steps", daemon=True
            ).start()
        except BaseException:
            _places.give_back()
            raise

    def ask(self) -> None:
        self._orders.put(True)

    def stop(self) -> None:
        self._orders.put(False)

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            self._go_through()
        except BaseException as raised:
            error = raised
        try:
            at_thread_end()
        except Exception as raised:
            error = error or raised
        _places.give_back()
        self._tell(self._receiver.over, error)
        error = None

    def _go_through(self) -> None:
        iterator = iter(self._source)
        try:
            while self._orders.get():
                try:
                    item = next(iterator)
                except StopIteration:
                    return
                self._tell(self._receiver.take, item)
                del item
        finally:
            close = getattr(iterator, "close", None)
            if close is not None:
                close()

    def _tell(self, what: Any, *args: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(what, *args)
        except RuntimeError:  # the loop has ended: nobody is left to be told
            self._orders.put(False)


class _ThreadCount:
    """Those threads are counted."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken = 0

    def take(self) -> None:
        with self._lock:
            if self._taken >= THREADS:
                raise RuntimeError(
                    f"{THREADS} synchronous iterables are gone through at once, each on its own "
                    "thread; more of them need to be asynchronous: `async def`, with `await`"
                )
            self._taken += 1

    def give_back(self) -> None:
        with self._lock:
            self._taken -= 1


_places = _ThreadCount()


def _after_fork() -> None:
    global _places
    _places = (
        _ThreadCount()
    )  # a child has none of its parent's threads, and somebody may hold the lock


os.register_at_fork(after_in_child=_after_fork)

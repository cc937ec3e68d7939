"""``wsgi_async.spawn``: coroutines that may outlive the request that has started them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

from .application_loop import ApplicationLoop, Started, application_loop
from .coroutines import check_coroutine, name_of
from .executors import within

__all__ = ["MOST", "spawn"]

MOST = 1000
"""Spawned coroutines at once in a process."""

T = TypeVar("T")


class _Spawned(Started[T]):
    """Tells the log of what it raises, and the loop of its end."""

    def __init__(self, loop: ApplicationLoop, name: str, coroutine: Coroutine[Any, Any, T]) -> None:
        super().__init__(loop)
        self._name = name
        self._coroutine = coroutine

    def returned(self, value: T) -> None:
        self._leave()
        super().returned(value)

    def raised(self, error: BaseException) -> None:
        self._coroutine.close()  # it may have been cancelled before it began
        self._leave()
        super().raised(error)
        if not isinstance(error, asyncio.CancelledError):
            self._application_loop.report(f"the spawned coroutine {self._name} failed", error)

    def _leave(self) -> None:
        loop = self._application_loop
        loop.spawned.discard(self)
        loop.changed.set()


def spawn(coroutine: Coroutine[Any, Any, T], *, name: str | None = None) -> Started[T]:
    """*Any thread:* have a coroutine run on the application loop, whatever becomes of the request.

    It sees the context variables of the caller, as they are now. What it raises is logged, with its
    traceback. As the server stops it is awaited, after the last response, for what is left of
    ``graceful_timeout``; then it is cancelled.

    :param name: for the log, and of the task. Default: the coroutine function's.
    :returns: a :class:`concurrent.futures.Future`: ``cancel()`` cancels the coroutine, ``result()``
        waits for it.
    :raises RuntimeError: 1000 (:data:`MOST`) are running in this process: what is started faster
        than it ends needs a queue, and a place where it waits.
    :raises TypeError: it is no coroutine.
    """
    check_coroutine(coroutine, "spawn")
    name = name or name_of(coroutine)
    loop = application_loop()
    started: _Spawned[T] = _Spawned(loop, name, coroutine)
    with loop.lock:
        is_full = len(loop.spawned) >= MOST
        if not is_full:
            loop.spawned.add(started)
    if is_full:
        coroutine.close()
        raise RuntimeError(
            f"{MOST} spawned coroutines are running: spawn() takes no more until some have ended"
        )
    # What it calls by sync_to_async has a thread as a body's has, not that of who has spawned it.
    carried = within(coroutine) if "asgiref.sync" in sys.modules else coroutine
    try:
        loop.begin(carried, started, name=name)
    except BaseException:
        coroutine.close()
        loop.spawned.discard(started)
        raise
    return started

"""The end of an application loop: what was spawned is awaited, then hooks are left, in reverse
order; what is left after that is cancelled.

Code that ignores its cancellation, or blocks the loop, is told of and left to itself: its thread is
a daemon.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import math
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future

from wsgi_async import events

from .loop_states import LoopState
from .loop_thread import ApplicationLoop, Certain

__all__ = ["LAST", "finish", "hurry"]

CLOSE_TIME = 1.0
"""Seconds for each step where no grace is left: for what was cancelled, and for a hook."""

LAST = 3 * CLOSE_TIME
"""Seconds beyond its grace in which a loop that is not blocked has ended."""


class _Verdict(enum.Enum):
    """What comes of the wish to end it."""

    NEEDED = "a server runs in this process"
    ENDING = "somebody else ends it already"
    OVER = "all has ended but its thread"


class _Finish:
    """Told how the end went."""

    def __init__(self, loop: ApplicationLoop) -> None:
        self._loop = loop
        self.over: Future[None] = Certain()

    def returned(self, verdict: _Verdict) -> None:
        if verdict is _Verdict.NEEDED:
            self.over.set_result(None)
            return
        self._loop.ended.add_done_callback(lambda ended: self.over.set_result(None))
        if verdict is _Verdict.OVER:
            self._loop.close()

    def raised(self, error: BaseException) -> None:
        """It is another one's end that has cancelled this, or an error of our own."""
        if not isinstance(error, asyncio.CancelledError):
            self._loop.report("an error at the end of the application loop", error)
            self._loop.close()
        self.returned(_Verdict.ENDING)


def finish(loop: ApplicationLoop, grace: float) -> Future[None]:
    """*Any thread:* end it, unless a server runs in this process.

    :param grace: seconds that what was spawned has to end; infinity for no bound.
    :returns: done when all of it has ended, or is not to. It may never be, where code blocks it.
    """
    end = _Finish(loop)
    try:
        loop.begin(_finish(loop, grace), end)
    except RuntimeError:
        return loop.ended
    return end.over


def hurry(loop: ApplicationLoop) -> None:
    """*Any thread:* let it end without waiting for anything any longer."""
    loop.call(_hurry, loop)


def _hurry(loop: ApplicationLoop) -> None:
    loop.is_hurried = True
    loop.changed.set()


async def _finish(loop: ApplicationLoop, grace: float) -> _Verdict:
    if loop.state is not LoopState.RUNNING:
        return _Verdict.ENDING
    if events.RUNNING:
        return _Verdict.NEEDED
    loop.enter(LoopState.FINISHING)
    deadline = time.monotonic() + grace
    await _end_spawned(loop, deadline)
    await _end_tasks(loop.begun())
    async with loop.entering:
        for stay in reversed(loop.hooks):
            await stay.leave(max(CLOSE_TIME, _left(loop, deadline)))
    await _end_tasks(loop.tasks())
    with contextlib.suppress(TimeoutError, Exception):
        async with asyncio.timeout(CLOSE_TIME):
            await loop.loop.shutdown_asyncgens()
    return _Verdict.OVER


def _left(loop: ApplicationLoop, deadline: float) -> float:
    return 0.0 if loop.is_hurried else max(0.0, deadline - time.monotonic())


async def _end_spawned(loop: ApplicationLoop, deadline: float) -> None:
    await _until_none_is_left(loop, lambda: _left(loop, deadline))
    if not loop.spawned:
        return
    late = set(loop.spawned)
    for started in late:
        started.cancel()
    last = time.monotonic() + CLOSE_TIME
    await _until_none_is_left(loop, lambda: last - time.monotonic())
    stubborn = sum(not started.done() for started in late)
    loop.warn(
        f"spawned coroutines that were cancelled at the end: {len(late)}"
        + (f"; that ignore it: {stubborn}" if stubborn else "")
    )


async def _until_none_is_left(loop: ApplicationLoop, time_left: Callable[[], float]) -> None:
    while loop.spawned and (left := time_left()) > 0:
        loop.changed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if left == math.inf else left):
                await loop.changed.wait()


async def _end_tasks(tasks: Iterable[asyncio.Task[object]]) -> None:
    tasks = set(tasks)
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=CLOSE_TIME)

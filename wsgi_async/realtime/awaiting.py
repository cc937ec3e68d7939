"""What a suspended coroutine, or asynchronous generator, awaits: the stack that none of its threads
has. Any thread; it is a snapshot of something that goes on meanwhile."""

from __future__ import annotations

import asyncio
import gc
from types import AsyncGeneratorType, CoroutineType, FrameType, GeneratorType
from typing import Any

from wsgi_async.system.own_code import is_ours
from wsgi_async.system.stacks import DEPTH, lines_of

__all__ = ["Waiter", "is_running", "stack_of"]


class Waiter(asyncio.Future[None]):
    """A future that a task is to settle, in whose stead it is awaited.

    :param task: that task; None where it is none.
    :param loop: the loop.
    """

    __slots__ = ("task",)

    def __init__(self, task: asyncio.Task[Any] | None, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self.task = task


def stack_of(awaited: object) -> list[str]:
    """The stack of what is awaited in lines, outermost call first, as a traceback shows it.

    :param awaited: a coroutine, a generator, or anything that is awaited, a task among them.
    """
    frames: list[FrameType] = []  # of the application, and what that calls
    seen: set[int] = set()
    at: object = awaited
    while at is not None and id(at) not in seen and len(seen) < 2 * DEPTH:
        seen.add(id(at))
        frame, at = _look(at)
        if frame is not None and (frames or not is_ours(frame.f_code.co_filename)):
            frames.append(frame)
    return lines_of([(frame, frame.f_lineno) for frame in frames[-DEPTH:]])


def is_running(task: asyncio.Task[None]) -> bool:
    """Whether it runs just now: then its thread has its stack."""
    coroutine = task.get_coro()
    return isinstance(coroutine, CoroutineType) and coroutine.cr_running


def _look(at: object) -> tuple[FrameType | None, object]:
    """The frame of something, and what it awaits."""
    if isinstance(at, CoroutineType):
        return at.cr_frame, at.cr_await
    if isinstance(at, AsyncGeneratorType):
        return at.ag_frame, at.ag_await
    if isinstance(at, GeneratorType):
        return at.gi_frame, at.gi_yieldfrom
    if isinstance(at, asyncio.Task):
        return None, at.get_coro()
    if isinstance(at, Waiter):
        return None, at.task
    if isinstance(at, asyncio.Future):
        return None, None
    # What an asynchronous generator is stepped by, and what __await__() of a coroutine returns, do
    # not say whose they are; the collector knows.
    kinds: Any = (AsyncGeneratorType, CoroutineType, GeneratorType, asyncio.Future)
    return None, next((one for one in gc.get_referents(at) if isinstance(one, kinds)), None)

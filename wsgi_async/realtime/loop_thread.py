"""A loop in a thread of its own, and what is started on it from others.

What it holds of the system, no process has that is forked meanwhile, not even one of our own: none
has its thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import os
import select
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

from wsgi_async import events
from wsgi_async.system import forks, stacks
from wsgi_async.system.event_loop import hold_loop, new_event_loop

from .blocking import Blocking, Sight
from .loop_states import NEXT, LoopState

__all__ = [
    "ApplicationLoop",
    "Certain",
    "Outcome",
    "Started",
]

THREAD = "wsgi_async-application"

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)


class Outcome(Protocol[T_contra]):
    """Who is told how a coroutine has ended. *Application loop,* both, and one of them once."""

    def returned(self, value: T_contra) -> None: ...
    def raised(self, error: BaseException) -> None: ...


class Certain(Future[T]):
    """One that nobody who waits for it can cancel."""

    def cancel(self) -> bool:
        return False


class Started(Future[T]):
    """A coroutine that was started: what it returns, or raises. *Any thread.*

    As with any :class:`concurrent.futures.Future` of a loop, ``result()`` waits: not for the loop
    itself, where :func:`asyncio.wrap_future` makes one of it that can be awaited.
    """

    def __init__(self, loop: ApplicationLoop) -> None:
        super().__init__()
        self._application_loop = loop

    def cancel(self) -> bool:
        """Have the coroutine cancelled. It may take a while to end, and this one is done only
        then."""
        return not self.done() and self._application_loop.cancel(self)

    def returned(self, value: T) -> None:
        """*Application loop.*"""
        self.set_running_or_notify_cancel()
        self.set_result(value)

    def raised(self, error: BaseException) -> None:
        """*Application loop.*"""
        if isinstance(error, asyncio.CancelledError):
            super().cancel()
            self.set_running_or_notify_cancel()
        else:
            self.set_running_or_notify_cancel()
            self.set_exception(error)


class Stay(Protocol):
    """A hook that was entered."""

    async def leave(self, limit: float) -> None:
        """*Application loop:* it lets nothing out, and takes no longer than `limit` seconds."""


class ApplicationLoop:
    """The loop with its thread, which is started.

    :param forget: called when it has ended, in its thread.
    :raises RuntimeError: no thread can be started.
    """

    def __init__(self, forget: Callable[[ApplicationLoop], object]) -> None:
        self.loop: asyncio.AbstractEventLoop = new_event_loop()
        self.state = LoopState.RUNNING
        self.lock = threading.RLock()
        """Held while one is added to `spawned`."""
        self.spawned: set[Started[Any]] = set()
        """What is awaited at the end."""
        self.changed = asyncio.Event()
        """*Application loop:* whoever ends it is to look again."""
        self.is_hurried = False
        """*Application loop:* whether it is to end without waiting for anything."""
        self.is_left = False
        """*Any thread:* whether somebody has waited for its end in vain."""
        self.values: dict[object, Any] = {}
        """What the hooks that are entered have yielded. *Application loop;* any thread reads."""
        self.hooks: list[Stay] = []
        """*Application loop:* those that were entered, in that order."""
        self.entering = asyncio.Lock()
        """Held while hooks are entered or left."""
        self.observer: events.Observer | None = None
        """Of the server that was the last one here, while it ends."""
        self.ended: Future[None] = Certain()
        """Done once all of it has ended. *Any thread* may wait for it, but its own."""
        self._forget = forget
        self._tasks: dict[Outcome[Any], asyncio.Task[Any] | None] = {}
        """What was begun; None until the loop gets to it. Whoever takes one out tells it."""
        self._pid = os.getpid()
        self._blocking = Blocking(self.call)
        self._told: BaseException | None = None
        """What a task has raised that ends programs, where somebody was told."""
        self.loop.set_exception_handler(self._unhandled)
        self._holding = forks.Holding(in_child=self._disown, is_threads=True)
        self._is_held = threading.Event()
        """Set once no process that is forked gets anything of it: before any code runs on it."""
        self._thread = threading.Thread(target=self._work, name=THREAD, daemon=True)
        try:
            self._thread.start()
        except BaseException:
            self._holding.release()
            self.loop.close()
            raise
        self._is_held.wait()
        assert self._thread.ident is not None
        self.ident = self._thread.ident
        """Of its thread."""

    # --- any thread --------------------------------------------------------------------------

    def call(self, function: Callable[..., object], *args: object) -> bool:
        """*Any thread:* have the loop call it. False, and nothing is called, where it is closed."""
        try:
            self.loop.call_soon_threadsafe(function, *args)
        except RuntimeError:
            return False
        return True

    def start(
        self,
        coroutine: Coroutine[Any, Any, T],
        *,
        context: contextvars.Context | None = None,
        name: str | None = None,
    ) -> Started[T]:
        """*Any thread:* have a task made of it there.

        :param context: what it runs in: nobody else may be in it. Default: a copy of the caller's.
        :param name: the task's.
        :raises RuntimeError: the loop has ended.
        """
        started: Started[T] = Started(self)
        self.begin(coroutine, started, context=context, name=name)
        return started

    def begin(
        self,
        coroutine: Coroutine[Any, Any, T],
        outcome: Outcome[T],
        *,
        context: contextvars.Context | None = None,
        name: str | None = None,
    ) -> None:
        """*Any thread:* the same; `outcome` is told. What it is told of a task that was cancelled
        is ``asyncio.CancelledError``.

        :raises RuntimeError: the loop has ended.
        """
        if context is None:
            context = contextvars.copy_context()
        self._tasks[outcome] = None
        if not self.call(self._begin, coroutine, outcome, context, name):
            self._tasks.pop(outcome, None)
            coroutine.close()
            raise RuntimeError("the application loop has ended")

    def cancel(self, outcome: Outcome[Any]) -> bool:
        """*Any thread:* cancel what was begun with it. False where the loop is closed."""
        return self.call(self._cancel, outcome)

    def look(self) -> tuple[Sight, float]:
        """*Any thread, several times a second:* whether code blocks it, see :class:`.Blocking`."""
        return self._blocking.look()

    def blocked_for(self) -> float:
        """*Any thread:* for how many seconds code has been blocking it, see :class:`.Blocking`."""
        return self._blocking.seconds

    def stack(self) -> list[str]:
        """*Any thread:* what its thread is doing, see :func:`.stacks.stack_of`."""
        return stacks.stack_of(self.ident)

    def report(self, message: str, error: BaseException | None = None) -> None:
        """*Any thread:* log an error: as a server that runs here does, or else as asyncio does."""
        observer = self._observer
        if observer is not None:
            observer.error(message, error)
        else:
            self.loop.default_exception_handler({"message": message, "exception": error})

    def warn(self, message: str) -> None:
        """*Any thread:* the same for something that is no error."""
        observer = self._observer
        if observer is not None:
            observer.warning(message)
        else:
            self.loop.default_exception_handler({"message": message})

    @property
    def _observer(self) -> events.Observer | None:
        running = events.RUNNING
        return running[0] if running else self.observer

    # --- application loop --------------------------------------------------------------------

    def enter(self, state: LoopState) -> None:
        """*Application loop:* the one place where the state changes."""
        if state not in NEXT[self.state]:
            raise RuntimeError(
                f"an application loop cannot go from {self.state.name} to {state.name}"
            )
        self.state = state

    def close(self) -> None:
        """*Application loop:* end it, once the callback that calls this has returned."""
        self.enter(LoopState.CLOSED)
        self._blocking.end()
        self.loop.stop()

    def begun(self) -> set[asyncio.Task[Any]]:
        """*Application loop:* the tasks of what was begun, but for the one that runs."""
        tasks = {task for task in self._tasks.values() if task is not None}
        return tasks - {asyncio.current_task(self.loop)}

    def tasks(self) -> set[asyncio.Task[Any]]:
        """*Application loop:* all that are not done, but for the one that runs."""
        return asyncio.all_tasks(self.loop) - {asyncio.current_task(self.loop)}

    def _begin(
        self,
        coroutine: Coroutine[Any, Any, T],
        outcome: Outcome[T],
        context: contextvars.Context,
        name: str | None,
    ) -> None:
        try:
            task = self.loop.create_task(coroutine, name=name, context=context)
        except BaseException as error:  # no coroutine at all, or there is no memory
            with contextlib.suppress(BaseException):
                coroutine.close()
            del self._tasks[outcome]
            outcome.raised(error)
            return
        self._tasks[outcome] = task
        task.add_done_callback(functools.partial(self._ended, outcome))

    def _ended(self, outcome: Outcome[T], task: asyncio.Task[T]) -> None:
        del self._tasks[outcome]
        error = _error_of(task)
        if os.getpid() != self._pid:  # it has forked, and comes back in the child too
            forks.leave(None if task.cancelled() else error)
        if error is None:
            outcome.returned(task.result())
            return
        if not isinstance(error, Exception | asyncio.CancelledError):
            self._told = error
        outcome.raised(error)

    def _cancel(self, outcome: Outcome[Any]) -> None:
        task = self._tasks.get(outcome)
        if task is not None:
            task.cancel()

    def _unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """What nobody else has caught: of tasks that nobody awaits, of callbacks."""
        if self._observer is not None:
            message = context.get("message") or "an exception that nobody has caught"
            self.report(f"on the application loop: {message}", context.get("exception"))
        else:
            loop.default_exception_handler(context)

    def _work(self) -> None:
        try:
            try:
                self.loop.run_until_complete(hold_loop(self._holding))
            finally:
                self._is_held.set()
            while self.state is not LoopState.CLOSED:
                # A task that raises SystemExit or KeyboardInterrupt ends it, and nothing else.
                self._go_on(self.loop.run_forever)
        finally:
            self._forget(self)
            self._holding.release()
            self.loop.close()
            while self._tasks:  # what came too late
                outcome, _ = self._tasks.popitem()
                outcome.raised(asyncio.CancelledError("the application loop has ended"))
            self.ended.set_result(None)

    def _go_on(self, run: Callable[[], object]) -> None:
        try:
            run()
        except BaseException as error:
            if os.getpid() != self._pid:
                forks.leave(error)
            self.loop.call_soon(self._report_final, error)  # who waits for it is told before

    def _report_final(self, error: BaseException) -> None:
        told, self._told = self._told, None
        if error is not told:
            self.report("on the application loop: a task has raised what ends programs", error)

    def _disown(self) -> None:
        """*In a process that was forked:* it has no such thread, or is that thread."""
        if threading.get_ident() != self.ident:
            return
        # A coroutine has forked. It goes on up to its next await, and then its process ends: what
        # comes after that is the parent's. The loop is to get there: it has /dev/null to poll.
        for number, kind in self._holding.descriptors.items():
            if kind == "anon_inode:[eventpoll]":
                with select.epoll() as poller:
                    os.dup2(poller.fileno(), number, inheritable=False)
        self.loop.call_soon(self._leave, asyncio.current_task(self.loop))

    def _leave(self, task: asyncio.Task[Any] | None) -> None:
        is_done = task is not None and task.done() and not task.cancelled()
        forks.leave(task.exception() if task is not None and is_done else None)


def _error_of(task: asyncio.Task[Any]) -> BaseException | None:
    """What a task that is done has raised, with the frames of its own alone: any other one would
    have it, and make a cycle."""
    if not task.cancelled():
        return task.exception()
    try:
        task.result()
    except asyncio.CancelledError as error:
        trace = error.__traceback__
        return error.with_traceback(None if trace is None else trace.tb_next)
    return None

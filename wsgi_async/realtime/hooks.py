"""``wsgi_async.on_start``: what lives on the application loop as long as the server serves."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from wsgi_async import events
from wsgi_async.errors import LoadError

from . import awaiting
from .application_loop import ApplicationLoop, Started, application_loop, existing
from .loop_states import LoopState

__all__ = ["Hook", "on_start", "start_all", "start_all_and_wait"]

SLOW = 5.0
"""Seconds after which it is told of a hook that the start waits for."""

T = TypeVar("T")

_hooks: list[Hook[Any]] = []
"""All of this process, in the order of their definition."""


class Hook(Generic[T]):
    """What :func:`on_start` makes of a function: called, it returns what that has yielded."""

    def __init__(self, function: Callable[[], AbstractAsyncContextManager[T]]) -> None:
        functools.update_wrapper(self, function)
        self._function = function

    def __call__(self) -> T:
        """*Any thread:* what it has yielded.

        :raises RuntimeError: it has not started, or it has ended.
        """
        loop = existing()
        if loop is not None:
            value: T = loop.values.get(self, _NONE)
            if value is not _NONE:
                return value
        if events.RUNNING and not _is_in_loop():
            return self.start()  # its module was imported only after the server's start
        raise RuntimeError(
            f"{self.name}() has nothing yet: it starts with the server, before the first request; "
            f"where no server of wsgi_async runs, call {self.name}.start() first"
        )

    if not TYPE_CHECKING:  # who checks types finds that without it, and not with it

        def __getattr__(self, name: str) -> NoReturn:
            """What is wanted is an attribute of what it has yielded.

            :raises AttributeError: always.
            """
            own = self.__dict__.get("__name__", "on_start")
            raise AttributeError(
                f"{own} is what @on_start has made of a function: {own}() is what that yielded, so "
                f"{own}().{name}",
                name=name,
                obj=self,
            )

    @property
    def name(self) -> str:
        return str(getattr(self, "__qualname__", "on_start"))

    def start(self) -> T:
        """*Any thread but a loop's:* enter it, unless it was entered already. For programs without
        a server, which leave it at their end; a server does this by itself.

        :returns: what it has yielded.
        :raises LoadError: it has failed.
        :raises RuntimeError: an event loop runs in this thread.
        """
        if _is_in_loop():
            raise RuntimeError(f"{self.name}.start() waits, and an event loop runs in this thread")
        loop = application_loop()
        loop.start(_enter(loop, self)).result()
        value: T = loop.values[self]
        return value

    def make(self) -> AbstractAsyncContextManager[T]:
        """*Application loop.*

        :raises TypeError: it is no asynchronous context manager.
        """
        manager = self._function()
        if not hasattr(type(manager), "__aenter__"):
            if inspect.iscoroutine(manager):
                manager.close()
            raise TypeError(_wanted(self.name))
        return manager


_NONE: Any = object()


def _wanted(name: str) -> str:
    return (
        f"on_start takes an async generator function with one yield: async def {name}(): ... "
        "yield value; or a function that returns an asynchronous context manager"
    )


def _is_in_loop() -> bool:
    return asyncio._get_running_loop() is not None


def on_start(
    function: Callable[[], AbstractAsyncContextManager[T]] | Callable[[], AsyncIterator[T]],
) -> Hook[T]:
    """Decorate an asynchronous context manager that is entered on the application loop, in each
    process, before it accepts the first connection::

        @wsgi_async.on_start
        async def pool():
            async with asyncpg.create_pool(dsn) as pool:
                yield pool

        def app(environ, start_response):
            rows = wsgi_async.run(pool().fetch("SELECT ..."))

    Several are entered in the order of their definition. They are left in reverse order, after the
    last response and what was spawned. One that fails at its start ends the start as an application
    does that cannot be loaded.

    :param function: an async generator function with one ``yield``, or a function that returns an
        asynchronous context manager; without parameters.
    :returns: what is called, from any thread, for the value that was yielded.
    :raises TypeError: it is neither.
    """
    if inspect.isasyncgenfunction(function):
        function = asynccontextmanager(function)
    if (
        not callable(function)
        or inspect.iscoroutinefunction(function)
        or inspect.isgeneratorfunction(function)
    ):
        raise TypeError(_wanted(getattr(function, "__name__", "hook")))
    try:
        inspect.signature(function).bind()
    except TypeError:
        name = getattr(function, "__qualname__", "hook")
        raise TypeError(f"on_start calls {name}() without arguments, and it wants some") from None
    except ValueError:  # of something written in C it is not known
        pass
    hook: Hook[T] = Hook(function)  # type: ignore[arg-type]
    _hooks.append(hook)
    return hook


class _Stay:
    """A hook that was entered. It is entered and left in one task, as those want that have tasks
    of their own.

    :param entered: done once it has yielded, or failed.
    """

    def __init__(
        self, loop: ApplicationLoop, hook: Hook[Any], entered: asyncio.Future[None]
    ) -> None:
        self._loop = loop
        self._hook = hook
        self._entered = entered
        self._end = asyncio.Event()
        self.name = hook.name
        self.task = loop.loop.create_task(self._run(), name=hook.name)

    async def _run(self) -> None:
        loop, hook = self._loop, self._hook
        try:
            async with hook.make() as value:
                if self._entered.cancelled():  # at the last moment
                    return
                loop.values[hook] = value
                loop.hooks.append(self)
                self._entered.set_result(None)
                await self._end.wait()
        except BaseException as error:
            if self._entered.done():
                if not self._end.is_set() or not isinstance(error, asyncio.CancelledError):
                    loop.report(f"the on_start hook {hook.name} failed", error)
            else:
                self._entered.set_exception(_as_exception(error))
        finally:
            loop.values.pop(hook, None)
            if self in loop.hooks:
                loop.hooks.remove(self)

    async def leave(self, limit: float) -> None:
        """See :class:`.loop_thread.Stay`."""
        self._end.set()
        _, pending = await asyncio.wait({self.task}, timeout=min(limit, _LONG))
        if pending:
            self._loop.warn(f"the on_start hook {self._hook.name} does not end: it is cancelled")
            self.task.cancel()
            await asyncio.wait(pending, timeout=_LAST)


_LONG = 3600.0 * 24 * 365
_LAST = 1.0


def _as_exception(error: BaseException) -> BaseException:
    # A future takes neither of these, and who waits is to be told all the same.
    if isinstance(error, asyncio.CancelledError | StopIteration):
        failure = RuntimeError(f"it was ended by {type(error).__name__}")
        failure.__cause__ = error
        return failure
    return error


async def enter_all(loop: ApplicationLoop, limit: float) -> None:
    """*Application loop:* enter all hooks that are not.

    :param limit: seconds for all of them; 0 for no bound.
    :raises EndingError: the loop takes nothing any more.
    :raises LoadError: one has failed, which is the cause.
    """
    try:
        async with asyncio.timeout(limit or None):
            for hook in _hooks[:]:
                await _enter(loop, hook, min(SLOW, limit / 2) or SLOW)
    except TimeoutError as error:
        late = next((hook.name for hook in _hooks if hook not in loop.values), "")
        raise LoadError(
            f"The on_start hook {late} has not started within {limit:g} s (--boot-timeout)"
        ) from error


async def _enter(loop: ApplicationLoop, hook: Hook[Any], patience: float = SLOW) -> None:
    """
    :param patience: seconds after which it is told of one that has not yielded: who ends a process
        that does not start has only the stacks of its threads, and this one waits in none.
    """
    async with loop.entering:
        if hook in loop.values:
            return
        if loop.state is not LoopState.RUNNING:
            raise EndingError
        entered: asyncio.Future[None] = loop.loop.create_future()
        stay = _Stay(loop, hook, entered)
        timer = loop.loop.call_later(patience, _tell_slow, loop, stay, patience)
        try:
            await entered
        except asyncio.CancelledError:
            stay.task.cancel()
            await asyncio.wait({stay.task}, timeout=_LAST)
            raise
        except BaseException as error:
            raise LoadError(f"The on_start hook {hook.name} failed: {_brief(error)}") from error
        finally:
            timer.cancel()


def _tell_slow(loop: ApplicationLoop, stay: _Stay, seconds: float) -> None:
    stack = "; ".join(line.strip() for line in awaiting.stack_of(stay.task)[-4:])
    loop.warn(
        f"the start waits for the on_start hook {stay.name}, which has not yielded after "
        f"{seconds:g} s: {stack or 'it awaits nothing of Python'}"
    )


class EndingError(RuntimeError):
    """The application loop ends: another one is to be started."""

    def __init__(self) -> None:
        super().__init__("the application loop ends")


def _start(loop: ApplicationLoop, limit: float) -> Started[None]:
    """
    :raises EndingError: see there.
    """
    if loop.state is not LoopState.RUNNING:
        raise EndingError
    try:
        return loop.start(enter_all(loop, limit))
    except RuntimeError:  # it was closed meanwhile
        raise EndingError from None


def _brief(error: BaseException) -> str:
    text = str(error).partition("\n")[0][:200]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


async def start_all(limit: float) -> None:
    """*Loop of a server:* have all hooks entered that are not.

    :param limit: seconds for all of them; 0 for no bound.
    :raises LoadError: one has failed.
    """
    while _hooks:
        loop = application_loop()
        try:
            async with asyncio.timeout(limit + _LAST if limit else None):
                await asyncio.wrap_future(_start(loop, limit))
            return
        except EndingError:
            await asyncio.wrap_future(loop.ended)
        except TimeoutError:  # code blocks that loop, and its own timer
            raise LoadError(
                f"The on_start hooks have not started within {limit:g} s (--boot-timeout): the "
                "application loop is blocked, in "
                + ("; ".join(line.strip() for line in loop.stack()[-2:]) or "code in C")
            ) from None


def start_all_and_wait() -> None:
    """*Any thread but a loop's:* the same, without a bound."""
    while _hooks:
        loop = application_loop()
        if loop.values.keys() >= set(_hooks):
            return
        try:
            _start(loop, 0.0).result()
            return
        except EndingError:
            loop.ended.result()

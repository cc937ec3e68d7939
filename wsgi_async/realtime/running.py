"""``wsgi_async.run``: a thread waits for a coroutine on the application loop.

Nothing from outside can break off a thread that waits for a lock. So whatever ends the wait wakes
it: the coroutine's end, the time limit, and, from the request's client, that the request was given
up. Where something is raised in the thread all the same (Ctrl-C in the main one, a timeout
decorator), it is noticed within a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import math
import sys
import threading
import time
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from wsgi_async.errors import ClientDisconnected, RequestTimeout
from wsgi_async.system.stacks import WAITS
from wsgi_async.wsgi.client import Client, current_client

from . import awaiting
from .application_loop import ApplicationLoop, application_loop
from .coroutines import check_coroutine, name_of
from .executors import CallingThread, within

__all__ = ["CANCEL_TIME", "run"]

CANCEL_TIME = 1.0
"""Seconds that a coroutine gets to end once it was cancelled: then nobody waits for it any more."""

SLICE = 1.0
"""Seconds after which a thread that waits looks whether something was raised in it."""

WARN_EVERY = 10.0
"""Seconds between two lines of the log about coroutines that ignore their cancellation."""

T = TypeVar("T")


class _Wait(Generic[T]):
    """One call of :func:`run`: what its thread waits for."""

    def __init__(self) -> None:
        self.value: T
        self.error: BaseException | None = None
        self.has_ended = False
        self.is_over = False
        """Whether the request was given up, or its client has gone."""
        self._sleeper = threading.Lock()
        self._sleeper.acquire()

    def returned(self, value: T) -> None:
        """*Application loop.*"""
        self.value = value
        self.has_ended = True
        self.wake()

    def raised(self, error: BaseException) -> None:
        """*Application loop.*"""
        self.error = error
        self.has_ended = True
        self.wake()

    def end_with_request(self) -> None:
        """*Any thread.*"""
        self.is_over = True
        self.wake()

    def wake(self) -> None:
        """*Any thread:* have the one that waits look again."""
        with contextlib.suppress(RuntimeError):  # it does so already
            self._sleeper.release()

    # --- the thread that waits -------------------------------------------------------------------

    def wait(self, until: float | None, *, to_the_end: bool = False) -> None:
        """Until it has ended, or the request is over, or the time has come.

        :param until: as of ``time.monotonic()``.
        :param to_the_end: whether it does not matter that the request is over.
        """
        while not self.has_ended and (to_the_end or not self.is_over):
            seconds = SLICE if until is None else min(SLICE, until - time.monotonic())
            if seconds <= 0:
                return
            self.sleep(seconds)

    def sleep(self, seconds: float) -> None:
        """Until somebody wakes it."""
        self._sleeper.acquire(timeout=seconds)

    def carried(self, coroutine: Coroutine[Any, Any, T]) -> Coroutine[Any, Any, T]:
        """What the application loop is given."""
        return coroutine

    def close(self) -> None:
        """Nobody waits any more."""

    def take_error(self) -> BaseException | None:
        """What it has raised: it may have a frame in its traceback that has this one."""
        error, self.error = self.error, None
        return error

    def result(self) -> T:
        """What it has returned, or has raised, whose traceback goes on here."""
        error = self.take_error()
        if error is None:
            return self.value
        try:
            raise error
        finally:
            del error  # it has this frame in its traceback: leave no cycle to the collector


class _CallingWait(_Wait[T]):
    """The same where asgiref is in use: meanwhile the thread runs what the coroutine calls
    synchronously, see :class:`.CallingThread`."""

    def __init__(self) -> None:
        super().__init__()
        self._thread = CallingThread()
        self._woken: Future[None] = Future()
        self._coroutine: Coroutine[Any, Any, T] | None = None

    def raised(self, error: BaseException) -> None:
        if self._coroutine is not None:
            self._coroutine.close()  # it may have been cancelled before it began
        super().raised(error)

    def wake(self) -> None:
        with contextlib.suppress(Exception):  # another one was faster
            self._woken.set_result(None)

    def sleep(self, seconds: float) -> None:
        if self._woken.done():
            self._woken = Future()
            return  # and look: what was told in between has woken the former one
        self._thread.wait_for(self._woken, seconds)

    def carried(self, coroutine: Coroutine[Any, Any, T]) -> Coroutine[Any, Any, T]:
        self._coroutine = coroutine
        return within(coroutine, self._thread)

    def close(self) -> None:
        self._thread.end()


def run(
    coroutine: Coroutine[Any, Any, T], timeout: float | None = None, *, until_gone: bool = False
) -> T:
    """*Pool thread,* or any other without an event loop: run a coroutine on the application loop,
    and wait for it.

    What it awaits may be shared by all requests of the process, as it is always the same loop: an
    HTTP client, a pool of connections (:func:`.on_start` makes them). It sees the context variables
    of the caller, in a copy. Under another WSGI server, in a test and in a script it works too.

    Where the wait ends before the coroutine, that is cancelled, and gets a second to end; one that
    returns all the same by then has the last word at a timeout. With ``request_timeout`` the wait
    ends when the request is given up: :class:`.RequestTimeout` is raised, whatever
    ``interrupt_late`` is.

    :param timeout: in seconds; None for no bound of its own.
    :param until_gone: whether the wait ends when the client of the request goes, too.
    :returns: what the coroutine returns; what it raises is raised here, with its traceback.
    :raises TimeoutError: it has not ended in time.
    :raises ClientDisconnected: the client has gone, with `until_gone`.
    :raises RuntimeError: an event loop runs in this thread: the application loop, or another one,
        which would stand still: ``await`` it there.
    :raises TypeError: it is no coroutine.
    :raises ValueError: the timeout is below 0.
    """
    check_coroutine(coroutine, "run")
    name = name_of(coroutine)
    try:
        loop = _loop_to_run_on(timeout)
    except BaseException:
        coroutine.close()
        raise
    client = current_client()
    wait: _Wait[T] = _Wait() if "asgiref.sync" not in sys.modules else _CallingWait()
    has_begun = False
    alarm = None
    ident = threading.get_ident()
    outer = WAITS.get(ident)  # where it calls this synchronously itself
    try:
        WAITS[ident] = functools.partial(awaiting.stack_of, coroutine)
        until = None if timeout is None else time.monotonic() + timeout
        if client is not None:
            alarm = client.on_over(wait.end_with_request, gone=until_gone)
        if wait.is_over:
            coroutine.close()
        else:
            has_begun = True
            loop.begin(wait.carried(coroutine), wait, name=name)
            wait.wait(until)
            is_in_time = wait.has_ended
            if not is_in_time:
                _call_off(wait, loop, name)
    except BaseException:
        if has_begun:  # something was raised from outside: leave nothing running
            _call_off(wait, loop, name)
        else:
            coroutine.close()
        raise
    finally:
        if alarm is not None:
            alarm.cancel()
        if outer is None:
            WAITS.pop(ident, None)
        else:
            WAITS[ident] = outer
        wait.close()
    if wait.is_over and client is not None:
        raise _reason(client) from wait.take_error()
    if is_in_time or (wait.has_ended and not isinstance(wait.error, asyncio.CancelledError)):
        return wait.result()
    raise TimeoutError(f"{name} has not ended within {timeout:g} s") from wait.take_error()


def _loop_to_run_on(timeout: float | None) -> ApplicationLoop:
    if timeout is not None:
        if not isinstance(timeout, int | float):
            kind = type(timeout).__name__
            raise TypeError(f"run() takes a timeout in seconds, or None, not {kind}")
        if not timeout >= 0:
            raise ValueError(f"run() takes a timeout of 0 seconds or more, not {timeout!r}")
    running = asyncio._get_running_loop()
    loop = application_loop()
    if running is loop.loop:
        raise RuntimeError(
            "run() was called on the application loop, which would wait for itself: "
            "await the coroutine instead"
        )
    if running is not None:
        raise RuntimeError(
            "run() waits, and an event loop runs in this thread, which would stand still: "
            "await the coroutine instead; or, if it needs the application loop, "
            "asyncio.wrap_future(wsgi_async.spawn(coroutine))"
        )
    return loop


def _call_off(wait: _Wait[Any], loop: ApplicationLoop, name: str) -> None:
    """Cancel it, and see whether it ends."""
    global _warned_at
    if wait.has_ended or not loop.cancel(wait):
        return
    wait.wait(time.monotonic() + CANCEL_TIME, to_the_end=True)
    now = time.monotonic()
    if not wait.has_ended and now - _warned_at > WARN_EVERY:
        _warned_at = now
        loop.warn(
            f"the coroutine {name} was cancelled {CANCEL_TIME:g} s ago and has not ended: "
            "run() waits for it no longer"
        )


_warned_at = -math.inf


def _reason(client: Client) -> BaseException:
    if client.is_given_up:
        client.tell_thread()
        return RequestTimeout("the request was given up while run() waited")
    return ClientDisconnected("the client has gone while run() waited")

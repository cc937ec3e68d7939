"""Threads for what asynchronous code of the application calls synchronously, by asgiref's
``sync_to_async``: above all the ORM of Django, whose connections are each a thread's own.

asgiref would run the calls of all bodies in one and the same thread. Here each body has a thread of
a bounded set, from its first call to its end, so that what a call has opened (a cursor, a
transaction) the next one finds; bodies share threads where there are more of them. A thread that no
body has any more closes the connections that Django would close after a request, and ends when it
has been idle for a while.

A thread that waits for a coroutine, in ``run()`` or in the bridge, runs its calls itself: they have
the connection, and are in the transaction, of whoever waits.

Where asgiref is not imported all of this does nothing.
"""

from __future__ import annotations

import contextvars
import os
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from queue import Empty, SimpleQueue
from types import ModuleType
from typing import Any, Protocol, TypeVar

from .sync_threads import THREADS, SyncCall, SyncThread, SyncThreads

__all__ = ["CallingThread", "Executor", "allow", "context_for_body", "within"]

T = TypeVar("T")


class Executor(Protocol):
    """As much of ``concurrent.futures.Executor`` as a loop's ``run_in_executor`` asks for."""

    def submit(self, function: Callable[..., Any], /, *args: Any) -> Future[Any]: ...


class _BodyExecutor:
    """The executor of one body. *Application loop.*"""

    __slots__ = ("_has_ended", "_thread", "_threads")

    def __init__(self, threads: SyncThreads) -> None:
        self._threads = threads
        self._thread: SyncThread | None = None
        self._has_ended = False

    def submit(self, function: Callable[..., Any], /, *args: Any) -> Future[Any]:
        call = SyncCall(function, args)
        thread = self._thread
        if thread is None:
            thread = self._threads.take()
            if self._has_ended:  # a task that the body has left behind
                call.future.add_done_callback(lambda _: self._threads.give_back(thread))
            else:
                self._thread = thread
        thread.calls.put(call)
        return call.future

    def end(self) -> None:
        thread, self._thread = self._thread, None
        self._has_ended = True
        if thread is not None:
            self._threads.give_back(thread)


class CallingThread:
    """The thread that has made this waits for a coroutine, and meanwhile runs what that calls
    synchronously.

    The coroutine runs in ``context_for_body(calling_thread)``, and its thread in :meth:`wait_for`.
    """

    def __init__(self) -> None:
        self._calls: SimpleQueue[SyncCall | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._later: _BodyExecutor | None = None
        self._awaited: Future[Any] | None = None

    def submit(self, function: Callable[..., Any], /, *args: Any) -> Future[Any]:
        """*Application loop.*"""
        with self._lock:
            if self._later is None:
                call = SyncCall(function, args)
                self._calls.put(call)
                return call.future
        return self._later.submit(function, *args)

    def wait_for(self, future: Future[Any], timeout: float | None = None) -> bool:
        """*The thread itself:* wait until `future` is done; False where it is not after so many
        seconds. May be called again, for this future or another one."""
        deadline = None if timeout is None else time.monotonic() + timeout
        if future is not self._awaited:
            self._awaited = future
            future.add_done_callback(self._wake)
        while not future.done():
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return False
            try:
                call = self._calls.get(timeout=left)
            except Empty:
                return False
            if call is not None:
                with _loop_of_asgiref_kept():
                    call.run()
        return True

    def end(self) -> None:
        """*The thread itself:* it does not wait any more. What is called from here on, by tasks
        that are left, goes to a thread of the set."""
        with self._lock:
            if self._later is not None:
                return
            self._later = _BodyExecutor(_current())
            self._later.end()
        while True:
            try:
                call = self._calls.get_nowait()
            except Empty:
                return
            if call is not None:
                later = self._later.submit(call.run)
                later.add_done_callback(_never_lost)

    def _wake(self, future: Future[Any]) -> None:
        self._calls.put(None)


def _never_lost(_: Future[Any]) -> None:
    """What becomes of the call is in a future of its own."""


@contextmanager
def _loop_of_asgiref_kept() -> Iterator[None]:
    """asgiref notes in the thread which loop a call came from, and takes that loop for any
    ``async_to_sync`` there afterwards: an asynchronous view of a later request would run on the
    application loop."""
    here = vars(sys.modules["asgiref.sync"].SyncToAsync.threadlocal)
    before = here.copy()
    try:
        yield
    finally:
        here.clear()
        here.update(before)


_set: SyncThreads | None = None
_allowed = 0
_making = threading.Lock()


def allow(most: int) -> None:
    """*Any thread:* how many threads the options of a server allow (``live_threads``); where a
    process has several servers, the most that one of them does."""
    global _allowed
    with _making:
        _allowed = max(most, _allowed)
        if _set is not None:
            _set.most = _allowed


def _current() -> SyncThreads:
    """*Any thread:* the set of this process."""
    global _set
    with _making:
        if _set is None:
            _set = SyncThreads(_allowed or THREADS)
        return _set


def _after_fork() -> None:
    """*In the child*, which has none of its parent's threads."""
    global _set, _making
    _making = threading.Lock()  # somebody may have held it
    _set = None


os.register_at_fork(after_in_child=_after_fork)


_USED = ("context_to_thread_executor", "thread_sensitive_context", "threadlocal")
"""What is needed of asgiref's SyncToAsync; where it is not so, or not yet imported, asgiref does
what it always does."""


def context_for_body(executor: Executor | None = None) -> AbstractContextManager[object]:
    """*Application loop:* entered in the task of a body, or of another coroutine of the
    application, around all that it does.

    What Django and asgiref keep for a request, as the language, the time zone and the prefix of
    URLs, is seen there as it was when the task's context was copied.

    :param executor: runs what it calls synchronously; None: a thread of the set.
    """
    asgiref = sys.modules.get("asgiref.sync")
    calls = getattr(asgiref, "SyncToAsync", None)
    if not all(hasattr(calls, name) for name in _USED):
        return nullcontext()
    assert asgiref is not None
    return _in_asgiref(asgiref, executor)


async def within(coroutine: Coroutine[Any, Any, T], executor: Executor | None = None) -> T:
    """*Application loop:* what that coroutine returns, awaited in :func:`context_for_body`. Where
    this is never begun the other one is left for the caller to close."""
    with context_for_body(executor):
        return await coroutine


@contextmanager
def _in_asgiref(asgiref: ModuleType, executor: Executor | None) -> Iterator[None]:
    own = None
    if executor is None:
        executor = own = _BodyExecutor(_current())
    if hasattr(asgiref, "_restore_context"):
        # Of late its Locals belong to a thread; this is how it takes them to another one.
        asgiref._restore_context(contextvars.copy_context())
    calling = asgiref.AsyncToSync.executors
    if getattr(calling, "current", None) is not None:
        del calling.current  # a thread that waits for somebody else, and would come first
    call = asgiref.SyncToAsync
    key = asgiref.ThreadSensitiveContext()
    call.context_to_thread_executor[key] = executor  # a weak key
    before = call.thread_sensitive_context.set(key)
    try:
        yield
    finally:
        with suppress(ValueError):  # a coroutine that nobody has run to its end, collected
            call.thread_sensitive_context.reset(before)
        if own is not None:
            own.end()

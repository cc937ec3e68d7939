"""The handlers that an application has given the loggers of this package, in a thread of their own.

Such a handler may wait for another machine, or for ever: the loop, the threads of the pool and the
logs of the server wait for none. The thread is made for the first record that goes to one.
"""

from __future__ import annotations

import contextlib
import enum
import os
import queue
import threading
import time
from collections.abc import Callable

from .sinks import Drops

__all__ = ["GATHER", "MAX_CALLS", "HandlerCalls"]

MAX_CALLS = 10_000
"""Records that wait for handlers of the application, at most."""

GATHER = 0.02
"""Seconds from the first record to the calls for all that have come, and to the write of them: a
thread that woke for each would take the GIL from the loop as often."""


class _Caller(enum.Enum):
    """Who calls them."""

    HERE = enum.auto()
    """Who logs calls."""
    THREAD = enum.auto()
    """The thread does."""
    GIVEN_UP = enum.auto()
    """Nobody does: the thread has not come back from a handler, and who called it would wait for
    its lock as well. What comes now is not counted: the report would be one more."""


class HandlerCalls:
    """Calls, one after the other.

    :param lost: told that one more was dropped. *Any thread.*
    """

    def __init__(self, lost: Callable[[], object]) -> None:
        self._lost = lost
        self.drops = Drops("log of the application's handlers")
        self._caller = _Caller.HERE
        self._lock = threading.RLock()
        self._set_up()
        os.register_at_fork(after_in_child=self._forked)

    def _set_up(self) -> None:
        # A signal handler, or the collector, may log while one is added: that is safe with it.
        self._waiting: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._hurry = threading.Event()
        self._thread: threading.Thread | None = None
        self._is_calling = False

    def start(self) -> None:
        """*Main thread:* have a thread call from now on."""
        with self._lock:
            if self._caller is not _Caller.THREAD:
                self._set_up()
                self._caller = _Caller.THREAD

    def call(self, function: Callable[[], object]) -> None:
        """*Any thread:* have a function called, or drop it."""
        with self._lock:
            caller = self._caller
            if caller is _Caller.THREAD and self._waiting.qsize() < MAX_CALLS:
                self._waiting.put(function)
                if self._thread is None:
                    self._make_thread()
                return
            if caller is _Caller.THREAD:
                self.drops.add(1, "they take too long", is_behind=True)
        if caller is _Caller.HERE:
            function()
        elif caller is _Caller.THREAD:
            self._lost()

    @property
    def are_elsewhere(self) -> bool:
        """*Any thread:* whether it is not for this one to call."""
        return self._caller is not _Caller.HERE and not self.is_here

    @property
    def is_here(self) -> bool:
        """*Any thread:* whether it is the one that calls."""
        return threading.current_thread() is self._thread

    def take_drops(self) -> int:
        """*Any thread:* how many dropped calls to tell of now."""
        with self._lock:
            is_over = self._waiting.empty()
            return self.drops.take(time.monotonic(), is_over=is_over, can_wait=False)

    def end(self, timeout: float) -> bool:
        """*Any thread:* make the calls that wait, for so many seconds at most, and count those that
        are not made then. From now on who logs calls, if all went well.

        :returns: False where the thread has not come back from a call.
        """
        with self._lock:
            thread = self._thread
            if self._caller is not _Caller.THREAD:
                return self._caller is _Caller.HERE
        if thread is not None:
            self._waiting.put(None)
            self._hurry.set()
            thread.join(timeout)
        with self._lock:
            is_alive = thread is not None and thread.is_alive()
            self._caller = _Caller.GIVEN_UP if is_alive else _Caller.HERE
            lost = int(self._is_calling)
            with contextlib.suppress(queue.Empty):
                while True:
                    lost += self._waiting.get_nowait() is not None
            if lost:
                self.drops.add(lost, "they take too long", is_behind=True)
            if is_alive:
                self._waiting.put(None)  # it ends, should it come back after all
        return not is_alive

    def _make_thread(self) -> None:
        thread = threading.Thread(target=self._run, name="wsgi_async-handlers", daemon=True)
        with contextlib.suppress(RuntimeError, MemoryError):  # the next call may have more luck
            thread.start()
            self._thread = thread

    def _run(self) -> None:
        waiting, hurry = self._waiting, self._hurry
        while (function := waiting.get()) is not None:
            hurry.wait(GATHER)
            while function is not None:
                self._is_calling = True
                with contextlib.suppress(BaseException):  # a handler's own is no reason to end
                    function()
                self._is_calling = False
                function = None
                try:
                    function = waiting.get_nowait()
                except queue.Empty:
                    break
            else:
                return

    def _forked(self) -> None:
        """*In a process that was forked:* who held the lock is not here, nor is the thread; what
        waits is the parent's to call."""
        self._lock = threading.RLock()
        self._caller = _Caller.HERE
        self._set_up()

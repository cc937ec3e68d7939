"""A bounded set of threads for calls that are not asynchronous, each with its own bodies."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from queue import Empty, SimpleQueue
from typing import Any

from . import frameworks

__all__ = ["IDLE_TIME", "LONG", "THREADS", "SyncCall", "SyncThread", "SyncThreads"]

THREADS = 8
"""Threads of the set: as many as the pool has where nobody says otherwise, so that a process has at
most twice as many database connections as that has threads."""

IDLE_TIME = 30.0
"""Seconds after which a thread ends that no body has."""

LONG = 1.0
"""Seconds after which a call is taken for one that may go on: new bodies get other threads."""


class SyncCall:
    """A function to be called, and what became of it."""

    __slots__ = ("_args", "_function", "future")

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.future: Future[Any] = Future()
        self._function = function
        self._args = args

    def run(self, returned: Callable[[], None] = lambda: None) -> None:
        """
        :param returned: called when the function has returned, before anybody hears of it.
        """
        future = self.future
        if not future.set_running_or_notify_cancel():
            return
        try:
            try:
                result = self._function(*self._args)
            finally:
                returned()
        except KeyboardInterrupt:  # meant for this thread: it would end the loop
            future.set_exception(CancelledError())
            raise
        except BaseException as error:
            future.set_exception(error)
            del future  # the error's traceback has this frame: leave no cycle to the collector
        else:
            future.set_result(result)


class SyncThread:
    """One thread, and the calls that wait for it.

    :param threads: the set that it belongs to.
    """

    def __init__(self, threads: SyncThreads, name: str) -> None:
        self.bodies = 0
        """How many have it. Under the lock of the set."""
        self.calls: SimpleQueue[SyncCall | None] = SimpleQueue()
        """None: the last body has ended."""
        self.calling_since = math.inf
        """When the call began that it is in."""
        self._threads = threads
        threading.Thread(target=self._main, name=name, daemon=True).start()

    @property
    def load(self) -> int:
        """Bodies that a new one would share it with. A call may go on when its body has ended:
        that was cancelled."""
        return self.bodies or int(self.calling_since != math.inf)

    def _main(self) -> None:
        while True:
            call = None
            try:
                try:
                    call = self.calls.get(timeout=self._threads.idle_time)
                except Empty:
                    if self._threads.leave(self):
                        break
                    continue
                if call is not None:
                    self.calling_since = time.monotonic()
                    frameworks.before_call()
                    call.run(self._is_free)
                elif not self.bodies:
                    frameworks.after_bodies()
            except BaseException as error:  # raised in this thread from outside, say
                if call is not None and not call.future.done():
                    call.future.set_exception(error)
            self._is_free()
        frameworks.at_thread_end()

    def _is_free(self) -> None:
        self.calling_since = math.inf


class SyncThreads:
    """The bounded set.

    :param most: how many threads at most.
    :param idle_time: in seconds; see :data:`IDLE_TIME`.
    """

    def __init__(self, most: int = THREADS, idle_time: float = IDLE_TIME) -> None:
        self.most = most
        self.idle_time = idle_time
        self._lock = threading.Lock()
        self._threads: list[SyncThread] = []
        self._made = 0

    def take(self) -> SyncThread:
        """*Any thread:* one that no body has, else a new one, else the one that fewest have. One
        that has been in a call for long comes last."""
        with self._lock:
            begun = time.monotonic() - LONG
            thread = min(
                self._threads, key=lambda t: (t.calling_since < begun, t.load), default=None
            )
            if thread is None or (thread.load and len(self._threads) < self.most):
                try:
                    thread = SyncThread(self, f"wsgi_async-sync-{self._made + 1}")
                except RuntimeError:  # the system has no more
                    if thread is None:
                        raise
                else:
                    self._made += 1
                    self._threads.append(thread)
            thread.bodies += 1
            return thread

    def give_back(self, thread: SyncThread) -> None:
        """*Any thread:* a body has ended that had it."""
        with self._lock:
            thread.bodies -= 1
            if not thread.bodies:
                thread.calls.put(None)

    def leave(self, thread: SyncThread) -> bool:
        """*Thread of the set:* it is idle. True where it is to end."""
        with self._lock:
            if thread.bodies or not thread.calls.empty():
                return False
            self._threads.remove(thread)
            return True

    def __len__(self) -> int:
        return len(self._threads)

"""Who writes the logs: whoever logs, at once, or in a serving process a thread of its own.

A log may go to a pipe that nobody reads, or to a handler of the application's that waits for
another machine (see ``logs/calls.py``). The loop must wait for neither, and a pool thread need not.

The thread wakes at most once in :data:`GATHER` seconds, and writes at once what has come meanwhile:
one that woke for each line would take the GIL from the loop as often.
"""

from __future__ import annotations

import contextlib
import enum
import os
import threading
import time
from collections.abc import Callable

from wsgi_async.system.forks import is_our_own

from .calls import GATHER, HandlerCalls
from .sinks import Drops, Outlet, Sink, wait_for_any

__all__ = ["FLUSH_TIME", "LogWriter", "Mode"]

RETRY = 0.05
"""Seconds for which the other logs wait, at most, where one takes nothing."""

FLUSH_TIME = 1.0
"""Seconds for which a process that ends waits for its logs, at most."""

PATIENCE = 0.1
"""Seconds for which a process without the thread waits for a log that takes nothing; once, until
it takes something again."""

HANDLERS_SHARE = 0.8
"""How much of that time the application's handlers have; the rest is for what is said of them."""

WRITES = 64
"""Writes to one log before the others have their turn."""


class Mode(enum.Enum):
    """How records are written."""

    DIRECT = enum.auto()
    """By who logs, who waits until it is done: a program that has a server in it, and a process
    that the application has forked."""
    POLLED = enum.auto()
    """By who logs, where the log takes it, and else it is dropped: processes that may have no
    thread (the parent, the loader)."""
    QUEUED = enum.auto()
    """By the thread."""


_DIRECT, _QUEUED = Mode.DIRECT, Mode.QUEUED


class LogWriter:
    """Writes records to sinks, and has handlers of the application called.

    :param tell: told that so many records were dropped, of which log, and why. *Any thread.*
    """

    def __init__(self, tell: Callable[[int, str, str], None]) -> None:
        self._tell = tell
        self._mode = Mode.DIRECT
        # Reentrant: a signal handler, or the collector, may log while a record is added. Guards
        # the sinks, but what `take` has taken: that is the thread's while the mode is QUEUED.
        self._lock = threading.RLock()
        self._sinks: tuple[Outlet, ...] = ()
        self._calls = HandlerCalls(self._call_lost)
        self._dropped_before = 0  # by sinks that are closed
        self._is_awake = False
        self._is_ending = False
        self._set_up()
        os.register_at_fork(after_in_child=self._forked)

    def _set_up(self) -> None:
        self._thread: threading.Thread | None = None
        self._wake = threading.Lock()
        self._wake.acquire()
        self._hurry = threading.Event()
        self._flush_by: float | None = None

    @property
    def mode(self) -> Mode:
        """Set it to DIRECT or POLLED; :meth:`start` makes it QUEUED, :meth:`flush` POLLED."""
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        with self._lock:
            if self._mode is not Mode.QUEUED:
                self._mode = mode

    # --- any thread --------------------------------------------------------------------------

    def add(self, sink: Outlet) -> None:
        """*Any thread:* take care of a sink."""
        with self._lock:
            self._sinks = (*self._sinks, sink)

    def discard(self, sink: Outlet) -> None:
        """*Any thread:* close a sink."""
        with self._lock:
            self._sinks = tuple(other for other in self._sinks if other is not sink)
            self._dropped_before += sink.drops.total
            sink.close()

    def put(self, sink: Outlet, record: bytes) -> None:
        """*Any thread:* have a record written.

        :param record: one or more whole lines.
        """
        with self._lock:
            sink.put(record)
            if self._mode is _QUEUED:
                if not self._is_awake:
                    self._rouse()
                return
            self._serve(sink)
        if sink.drops.count:
            self._report(sink)

    def switch(self, sink: Sink, descriptor: int) -> None:
        """*Any thread:* see :meth:`Sink.switch`."""
        with self._lock:
            sink.switch(descriptor)
            self._serve(sink)

    def call(self, function: Callable[[], object]) -> None:
        """*Any thread:* have a thread call a function; where there is none, it is called now."""
        self._calls.call(function)

    def _call_lost(self) -> None:
        with self._lock:
            if self._mode is Mode.QUEUED:
                self._rouse()

    def lose(self, why: str) -> None:
        """*Any thread:* count a record that a handler of another's could not write."""
        with self._lock:
            self._calls.drops.add(1, why)
        self._call_lost()

    @property
    def dropped(self) -> int:
        """*Any thread:* records that were dropped so far, whether that has been told or not."""
        with self._lock:
            here = sum(sink.drops.total for sink in self._sinks)
            return self._dropped_before + here + self._calls.drops.total

    @property
    def calls_elsewhere(self) -> bool:
        """*Any thread:* whether another one calls what :meth:`call` is given, or nobody."""
        return self._calls.are_elsewhere

    def start(self) -> None:
        """*Main thread:* have a thread write from now on, and another one call."""
        with self._lock:
            if self._mode is Mode.QUEUED:
                return
            self._is_ending = self._is_awake = False  # of a thread that has ended it may be set
            self._set_up()
            self._thread = threading.Thread(target=self._run, name="wsgi_async-log", daemon=True)
            self._mode = Mode.QUEUED
        self._thread.start()
        self._calls.start()

    def flush(self, timeout: float = FLUSH_TIME) -> bool:
        """*Any thread:* write all that waits, make the calls, and end the threads, for so many
        seconds at most, also where it is called again; what is logged after that is written at
        once, or dropped. Nothing where there is no thread.

        :returns: False where a call has not come to its end.
        """
        thread = self._thread
        if thread is threading.current_thread() or self._calls.is_here:
            return True
        if self._flush_by is None:
            self._flush_by = time.monotonic() + timeout
        has_called = self._calls.end(max(0.0, self._flush_by - time.monotonic()) * HANDLERS_SHARE)
        if thread is not None:
            with self._lock:
                self._is_ending = True
                self._rouse()
            self._hurry.set()
            thread.join(max(0.0, self._flush_by - time.monotonic()))
        return has_called

    # --- with the lock -----------------------------------------------------------------------

    def _rouse(self) -> None:
        if not self._is_awake:
            self._is_awake = True
            self._wake.release()

    def _serve(self, sink: Outlet) -> None:
        if self._mode is _QUEUED:
            self._rouse()
        elif self._mode is _DIRECT:
            self._write_all(sink)
        else:
            self._write_polled(sink)

    def _write_all(self, sink: Outlet) -> None:
        while not sink.is_empty and sink.take():
            error = sink.write(whole=True)
            if error is not None:
                sink.failed(error)

    def _report(self, sink: Outlet) -> None:
        if not sink.tells and self._would_be_lost:
            return
        with self._lock:
            count = sink.take_drops(time.monotonic()) if sink.drops.count else 0
        if count:
            self._tell(count, sink.drops.name, sink.drops.why)

    @property
    def _would_be_lost(self) -> bool:
        """Whether what is said now of dropped records would be dropped as well: the log in which it
        is said is behind."""
        return any(sink.tells and not sink.is_empty for sink in self._sinks)

    def _write_polled(self, sink: Outlet) -> None:
        while sink.take():
            # The first of what it does not take waits for it, briefly; the others do not.
            if not sink.takes_more(PATIENCE if sink.is_taking else 0.0):
                sink.drop_all()
                return
            error = sink.write()
            if error is not None:
                sink.failed(error)

    # --- the thread --------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            # What a lack of memory raises costs at most what was being written.
            with contextlib.suppress(Exception):
                self._rest()
                self._write()
                if self._is_ending and self._end():
                    return

    def _rest(self) -> None:
        """Wait until there is something to write, and a little longer for more."""
        full = [sink for sink in self._sinks if not sink.is_empty]
        if full:
            wait_for_any(full, GATHER if self._is_ending else RETRY)
            self._wake.acquire(blocking=False)
        elif not self._is_ending and self._wake.acquire(timeout=-1 if self._is_idle else RETRY):
            self._hurry.wait(GATHER)

    @property
    def _is_empty(self) -> bool:
        return all(sink.is_empty for sink in self._sinks)

    @property
    def _is_idle(self) -> bool:
        """Whether there is nothing to do, nor to say."""
        return self._is_empty and not any(drops.count for drops in self._drops)

    @property
    def _drops(self) -> tuple[Drops, ...]:
        return (self._calls.drops, *(sink.drops for sink in self._sinks))

    def _write(self) -> None:
        """Write what can be."""
        with self._lock:
            self._is_awake = False  # before anything is looked at: what comes later wakes again
        for sink in self._sinks:
            self._write_ready(sink)
            self._report(sink)
        drops = self._calls.drops
        if drops.count and not self._would_be_lost and (lost := self._calls.take_drops()):
            self._tell(lost, drops.name, drops.why)

    def _write_ready(self, sink: Outlet) -> None:
        for _ in range(WRITES):
            with self._lock:
                if not sink.take():
                    return
            if not sink.takes_more():
                return
            error = sink.write()
            if error is not None:
                with self._lock:
                    sink.failed(error)

    def _end(self) -> bool:
        """End, where nothing is left to write; where not, there may be no time for it."""
        with self._lock:
            for sink in self._sinks:
                if sink.is_gone and not sink.is_empty:
                    sink.drop_all()
            if not self._is_empty:
                return False
            self._mode = Mode.POLLED
            self._thread = None
        for drops in self._drops:
            if count := drops.take_all():
                self._tell(count, drops.name, drops.why)
        return True

    def _forked(self) -> None:
        """*In a process that was forked:* who held the lock is not here, nor is the thread; what
        waits is the parent's to write."""
        self._lock = threading.RLock()
        if self._mode is Mode.QUEUED:
            for sink in self._sinks:
                sink.forget()
        if self._mode is Mode.QUEUED or not is_our_own():
            self._mode = Mode.DIRECT
        self._is_awake = self._is_ending = False
        self._set_up()

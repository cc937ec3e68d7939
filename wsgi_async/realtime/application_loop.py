"""The application loop: one in a process, in a thread of its own, started when first asked for.

It is never the loop that owns the sockets: code of the application's may block it, and stops no
ordinary request by that. Whatever a process was forked with, it starts one of its own.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import threading

from wsgi_async import events

from .ending import finish
from .loop_thread import ApplicationLoop, Outcome, Started

__all__ = [
    "ApplicationLoop",
    "Outcome",
    "Started",
    "application_loop",
    "existing",
]

EXIT_GRACE = 5.0
"""Seconds that what was spawned gets at the end of a program in which no server has run."""

_current: ApplicationLoop | None = None
_making = threading.RLock()
"""Held while one is made. Reentrant, for the collector may run an application's ``__del__``
wherever something is made."""
_inherited: list[ApplicationLoop] = []
"""Those of parents: what is not there has no end either."""
_is_over = False


def application_loop() -> ApplicationLoop:
    """*Any thread:* the application loop of this process; started where there is none.

    :raises RuntimeError: the program ends, or no thread can be started.
    """
    current = _current
    return current if current is not None else _make()


def existing() -> ApplicationLoop | None:
    """*Any thread:* the application loop of this process, where there is one."""
    return _current


def _make() -> ApplicationLoop:
    global _current
    with _making:
        if _is_over:
            raise RuntimeError("the program ends: nothing can be started on its application loop")
        if _current is None:
            made = ApplicationLoop(_forget)
            if _current is None:
                _current = made
            else:  # a finalizer was faster
                finish(made, 0.0)
        return _current


def _forget(loop: ApplicationLoop) -> None:
    global _current
    with _making:
        if _current is loop:
            _current = None


def _after_fork() -> None:
    """*In the child.*"""
    global _current, _making
    _making = threading.RLock()  # somebody may have held it
    if _current is not None:
        _inherited.append(_current)
        _current = None


def _at_exit() -> None:
    """An interpreter that ends beneath a running loop may crash in it."""
    global _is_over
    with _making:
        _is_over = True
        loop = _current
    if loop is not None:
        # A server that is still there, in a thread, ends with the program.
        loop.observer = events.RUNNING[0] if events.RUNNING else None
        events.RUNNING.clear()
        grace, last = (0.0, 0.0) if loop.is_left else (EXIT_GRACE, 1.0)
        with contextlib.suppress(TimeoutError):  # code that blocks it: it is left to itself
            finish(loop, grace).result(grace + last)


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)

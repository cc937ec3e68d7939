"""What a client of tests does for the application loop in the place of a server. Where nobody has
imported anything of it, that is nothing."""

from __future__ import annotations

import contextlib
import sys

from wsgi_async import events
from wsgi_async.events import Observer

__all__ = ["begin", "end", "enter_hooks"]

GRACE = 10.0
"""Seconds that spawned coroutines have at the end of a block."""


def begin(observer: Observer) -> None:
    """A block begins, in which errors of that loop are told to this one."""
    events.RUNNING.append(observer)


def enter_hooks() -> None:
    """A request is made: have the hooks of ``on_start`` entered that are not.

    :raises LoadError: one has failed.
    """
    if "wsgi_async.realtime.hooks" in sys.modules:
        from wsgi_async.realtime.hooks import start_all_and_wait

        start_all_and_wait()


def end(observer: Observer) -> None:
    """The block ends, and with it that loop, where no other one needs it.

    :raises TimeoutError: code blocks it.
    """
    with contextlib.suppress(ValueError):
        events.RUNNING.remove(observer)
    if "wsgi_async.realtime.application_loop" not in sys.modules:
        return
    from wsgi_async.realtime.application_loop import existing
    from wsgi_async.realtime.ending import LAST, finish

    loop = existing()
    if loop is not None:
        loop.observer = observer
        finish(loop, GRACE).result(GRACE + LAST)

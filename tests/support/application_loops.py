"""The application loop of the test's process, which ends with the test."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from rawclient import TIMEOUT

from wsgi_async.realtime.application_loop import existing
from wsgi_async.realtime.ending import finish
from wsgi_async.realtime.loop_thread import THREAD

__all__ = ["await_no_loop_thread", "ending_with_the_test", "loop_threads"]


@contextlib.contextmanager
def ending_with_the_test() -> Iterator[None]:
    """What has started in the block ends with it, at once; what other tests have left there, such
    as those that call `run` where no server is, ends before it."""
    _end()
    try:
        yield
    finally:
        _end()


def _end() -> None:
    loop = existing()
    if loop is not None:
        finish(loop, 0.0).result(TIMEOUT)
        await_no_loop_thread()
    assert existing() is None


def loop_threads() -> int:
    """How many threads application loops have."""
    return sum(thread.name == THREAD for thread in threading.enumerate())


def await_no_loop_thread() -> None:
    """Wait for the last moment of a thread whose loop has ended: it says so before it is gone."""
    for thread in threading.enumerate():
        if thread.name == THREAD:
            thread.join(TIMEOUT)
    assert loop_threads() == 0

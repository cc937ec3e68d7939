"""The end of a process, in its time, whatever threads the application has left running.

An interpreter that ends waits, for as long as it takes, for each thread that is no daemon, for
those of ``concurrent.futures`` and for what is registered with ``atexit`` (``multiprocessing``
waits for processes there). All of them get the rest of the grace. Then a thread says who is left,
has the functions of ``atexit`` called if nobody has yet, so that logs and data are written, and
ends the process.

Behind the functions of ``atexit`` the interpreter stops every thread of Python's, that one too,
and takes its objects apart, which calls their ``__del__``. There a thread of C's sees to the end.
"""

from __future__ import annotations

import _thread
import atexit
import faulthandler
import math
import os
import sys
import threading
import time
from collections.abc import Callable

from wsgi_async.errors import EXIT_FAILED
from wsgi_async.system.forks import flush

__all__ = ["LAST", "end_within"]

LAST = 1.5
"""Seconds that what is left gets in any case: an interpreter takes a moment for its end."""

EXIT_FUNCTIONS = 0.5
"""Seconds for the functions of ``atexit``, where a thread has used the time up."""

LONGEST = 1e6
"""Seconds that faulthandler can count, at least."""

_is_awaited = threading.Lock()
"""Held once somebody sees to the end of this process."""


def _nothing() -> bool:
    return False


def end_within(
    seconds: float,
    code: int,
    say: Callable[[str], object],
    *,
    pulse: Callable[[], bool] = _nothing,
    every: float = 1.0,
    fading: Callable[[], object] = _nothing,
    descriptor: int = 2,
) -> None:
    """*Main thread:* see to it that this process ends, at the latest, so many seconds from now. The
    first call counts.

    :param seconds: may be infinite. The functions of ``atexit`` may take a moment more.
    :param code: its exit code; one that is 0 becomes 1 where something was left.
    :param say: told, in one line, what was left. *Any thread.*
    :param pulse: called from time to time; once it has returned True, what is left gets no more
        than a moment.
    :param every: seconds between two of these calls.
    :param fading: called before the functions of ``atexit``: soon there may be no pulse any more.
    :param descriptor: where the stacks go if not even the functions of ``atexit`` end, or what is
        behind them.
    """
    if not _is_awaited.acquire(blocking=False):
        return
    begun = threading.Event()
    deadline = time.monotonic() + seconds

    def begin() -> None:
        begun.set()
        fading()
        if deadline != math.inf:
            _dump_after(max(0.0, deadline - time.monotonic()) + EXIT_FUNCTIONS + LAST, descriptor)

    # The functions are called in the opposite order of their registration: this one first.
    atexit.register(begin)

    def watch() -> None:
        nonlocal deadline
        while (left := deadline - time.monotonic()) > 0:
            if pulse():
                deadline = min(deadline, time.monotonic() + LAST)
            time.sleep(min(left, every))
        _dump_after(EXIT_FUNCTIONS + LAST, descriptor)
        try:
            say(_what_is_left(exits=begun.is_set()))
            if not begun.is_set():
                atexit._run_exitfuncs()
            flush()
        finally:
            os._exit(code or EXIT_FAILED)

    try:
        threading.Thread(target=watch, name="wsgi_async-end", daemon=True).start()
    except Exception:  # an application may have taken from it what it needs: sys.excepthook
        _thread.start_new_thread(watch, ())


def _dump_after(seconds: float, descriptor: int) -> None:
    """Have the stacks written and the process ended by a thread of C's, which works where none of
    Python's does."""
    faulthandler.dump_traceback_later(min(seconds, LONGEST), exit=True, file=descriptor)


def _what_is_left(*, exits: bool) -> str:
    main = threading.main_thread()
    executors = sys.modules.get("concurrent.futures.thread")
    awaited = set(getattr(executors, "_threads_queues", ()))  # daemons or not
    awaited.update(thread for thread in threading.enumerate() if not thread.daemon)
    threads = sorted((t for t in awaited if t.is_alive() and t is not main), key=lambda t: t.name)
    names = ", ".join(f"{thread.name}{_place(thread.ident)}" for thread in threads)
    if exits or not names:
        return f"This process ends in the middle of its exit functions{_place(main.ident)}"
    return f"This process ends, and these threads of the application have not: {names}"


def _place(ident: int | None) -> str:
    """Where a thread is."""
    frame = sys._current_frames().get(ident or 0)
    if frame is None:
        return ""
    code = frame.f_code
    return f" ({os.path.basename(code.co_filename)}, line {frame.f_lineno}, in {code.co_name})"

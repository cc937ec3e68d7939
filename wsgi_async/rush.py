"""When more threads at work would only wait for each other.

In a rush the process uses most of a core, and its answers are quick: the threads hold the GIL in
turn, and what disturbs one of them costs more than it gains. Then a woken thread of the pool wakes
no other, and a thread keeps the GIL for as long as Python lets it by itself (5 ms, in which it
answers dozens). Two processes of Flask on two cores answer 1.1 times as many requests so. Outside
a rush neither is done: requests that wait for a database want many threads at once, and beside long
computations short turns of the GIL keep everybody else quick (with 0.5 ms the 99th percentile of a
trivial request is 24 ms, with 5 ms it is 85).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, Protocol

from .pool import ThreadPool

__all__ = ["Rush", "RushWatch"]

BUSY = 0.5
"""Seconds of CPU time in a second from which on a process may be in a rush."""

QUICK = 0.001
"""Seconds of CPU time for an answer below which it is a quick one, on average."""

SWITCH_INTERVAL = 0.005
"""Seconds for which a thread may hold the GIL in a rush: Python's own default."""

CALM_PERIOD = 0.25
"""Seconds from one look to the next outside a rush; and"""

RUSH_PERIOD = 0.02
"""in one: so long a request may wait beside idle threads where suddenly everything blocks."""


class Rush:
    """Judges one period after the other. Pure.

    :param now: seconds of any clock.
    :param cpu: seconds of CPU time that the process has used.
    :param answered: answers so far.
    """

    def __init__(self, now: float, cpu: float, answered: int) -> None:
        self.is_on = False
        self._last = now, cpu, answered

    def judge(self, now: float, cpu: float, answered: int) -> bool:
        """Whether it is a rush, by what has happened since the last call.

        It begins with a period in which the process was busy with quick answers, and ends with one
        in which they were not quick, or none came.
        """
        (then, cpu_then, answered_then), self._last = self._last, (now, cpu, answered)
        used = cpu - cpu_then
        is_quick = used < (answered - answered_then) * QUICK
        self.is_on = is_quick and (self.is_on or used > (now - then) * BUSY)
        return self.is_on


class Timer(Protocol):
    """What a loop's ``call_later`` returns."""

    def cancel(self) -> None: ...


class RushWatch:
    """Looks, on the loop, whether there is a rush, and adapts the pool to it.

    :param call_later: the loop's.
    :param pool: whose threads it is about.
    :param switches: whether the interpreter's switch interval may be changed: it belongs to the
        whole process.
    """

    def __init__(
        self,
        call_later: Callable[[float, Callable[[], None]], Timer],
        pool: ThreadPool[Any],
        *,
        switches: bool,
    ) -> None:
        self._call_later = call_later
        self._pool = pool
        self._calm_interval = sys.getswitchinterval()
        self._switches = switches and self._calm_interval < SWITCH_INTERVAL
        self._rush = Rush(time.monotonic(), time.process_time(), pool.completed)
        self._timer = call_later(CALM_PERIOD, self._look)

    def stop(self) -> None:
        """*Loop:* look no more."""
        self._timer.cancel()
        self._adapt(False)

    def _look(self) -> None:
        was_on = self._rush.is_on
        is_on = self._rush.judge(time.monotonic(), time.process_time(), self._pool.completed)
        if is_on is not was_on:
            self._adapt(is_on)
        self._timer = self._call_later(RUSH_PERIOD if is_on else CALM_PERIOD, self._look)

    def _adapt(self, is_on: bool) -> None:
        self._pool.is_rushed = is_on
        if self._switches:
            sys.setswitchinterval(SWITCH_INTERVAL if is_on else self._calm_interval)
        if not is_on:
            self._pool.wake()  # what has come meanwhile

"""Work that a loop does again and again, whatever becomes of one time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

__all__ = ["Repeating"]

OVERDUE = 1.0
"""Seconds after which a call that was due is taken to have been lost, if the loop does run."""

_RESERVE = 512 * 1024


class Repeating:
    """Calls a function at intervals. *Loop.*

    The next call is arranged before this one is made. Where there is no memory for that, a reserve
    is given up; where that is not enough, somebody who comes by has to :meth:`tend` it.

    :param loop: calls it.
    :param seconds: from one call to the next.
    :param work: the function.
    :param on_error: told what the function lets out; lets nothing out itself.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        seconds: float,
        work: Callable[[], object],
        on_error: Callable[[BaseException], object],
    ) -> None:
        self._loop = loop
        self._seconds = seconds
        self._work = work
        self._on_error = on_error
        self._timer: asyncio.TimerHandle | None = None
        self._is_on = False
        self._due = 0.0
        self._reserve = b""

    def start(self) -> None:
        """Make the first call now."""
        self._is_on = True
        self._run()

    def stop(self) -> None:
        """Make no more calls. Harmless if repeated."""
        self._is_on = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def tend(self) -> None:
        """Go on, if the next call is long overdue: its timer could not be made."""
        if self._is_on and self._loop.time() > self._due + OVERDUE:
            self.stop()
            self.start()

    def _run(self) -> None:
        try:
            self._arrange()
            if not self._reserve:
                self._reserve = bytes(_RESERVE)
        except MemoryError:
            self._reserve = b""
            self._arrange()
        try:
            self._work()
        except Exception as error:
            self._on_error(error)

    def _arrange(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._due = self._loop.time() + self._seconds
        self._timer = self._loop.call_later(self._seconds, self._run)

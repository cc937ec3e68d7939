"""Whether code blocks a loop: it is asked for a sign of life now and then, and gives none."""

from __future__ import annotations

import enum
import threading
import time
from collections.abc import Callable

__all__ = ["BLOCKED", "Blocking", "Sight"]

BLOCKED = 0.5
"""Seconds for which code may keep the loop to itself before it counts as blocked. With the time
between two looks, a server notices it within a second."""


class Sight(enum.Enum):
    """What is news to who looks."""

    NOTHING = "nothing"
    BLOCKED = "code has been keeping the loop to itself for too long"
    RECOVERED = "it was so, and the loop goes on"


class Blocking:
    """What is known of one loop.

    :param call: has a function called there; False where the loop is closed. *Any thread.*
    """

    def __init__(self, call: Callable[[Callable[[], object]], bool]) -> None:
        self._call = call
        self._lock = threading.Lock()
        """Held while somebody looks."""
        self._asked = 0.0
        """When it was last asked for a sign of life, as of ``time.monotonic()``; 0.0 once it has
        given one."""
        self._lasted = 0.0
        """How long that took, the last time."""
        self._is_told = False
        """Whether somebody was told that it is blocked."""
        self._is_over = False

    def look(self) -> tuple[Sight, float]:
        """*Any thread, several times a second:* whether it has shown life since the last look; have
        it show life again, which costs a wake of its thread.

        :returns: what is news, to all that look, and for how many seconds it was or is blocked.
        """
        with self._lock:
            if not self._asked:
                sight = Sight.RECOVERED if self._is_told else Sight.NOTHING
                self._is_told = False
                lasted = self._lasted  # of the last time: it may show life again within this call
                if not self._is_over:
                    self._asked = time.monotonic()
                    self._call(self._show_life)
                return sight, lasted
            seconds = self.seconds
            if not seconds or self._is_told:
                return Sight.NOTHING, seconds
            self._is_told = True
            return Sight.BLOCKED, seconds

    @property
    def seconds(self) -> float:
        """*Any thread:* seconds for which it has not shown life since it was to: for so long one
        callback has been running, or very many. 0.0 up to :data:`BLOCKED`, and where nobody
        looks."""
        asked = self._asked
        if not asked or self._is_over:
            return 0.0
        seconds = time.monotonic() - asked
        return seconds if seconds > BLOCKED else 0.0

    def end(self) -> None:
        """*The loop:* it ends, and is not asked any more."""
        self._is_over = True

    def _show_life(self) -> None:
        """*The loop.*"""
        self._lasted = time.monotonic() - self._asked
        self._asked = 0.0

"""Answers that are made once for many who ask."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

__all__ = ["FRESH", "Kept"]

FRESH = 0.5
"""Seconds for which an answer is given again, in place of being made anew."""


class Kept:
    """An answer that is made once for all who ask for it at about the same time. *Any thread.*

    :param make: makes it, in the thread of one of them, while the others wait.
    :param seconds: for how long it is good, if nothing new is known.
    """

    def __init__(self, make: Callable[[], bytes], seconds: float = FRESH) -> None:
        self._make = make
        self._seconds = seconds
        self._lock = threading.Lock()
        self._made = b""
        self._of = -1
        self._until = 0.0

    def get(self, number: int = 0) -> bytes:
        """The answer.

        :param number: of what is known: one that was made of another is good no more.
        """
        with self._lock:
            if number != self._of or time.monotonic() >= self._until:
                self._made = self._make()
                self._of = number
                self._until = time.monotonic() + self._seconds
            return self._made

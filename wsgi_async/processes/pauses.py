"""Pauses before what has failed is tried again: none at first, and then each twice the last."""

from __future__ import annotations

__all__ = ["FIRST_PAUSE", "LONGEST_PAUSE", "STEADY", "Pauses"]

STEADY = 10.0
"""Seconds a process must have lived for its death to count as an accident: it is replaced at once.
Who dies sooner is replaced after a pause that doubles each time."""

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0

_MOST = 16
"""Failures that are worth counting."""


class Pauses:
    """The failures that have followed each other so far."""

    def __init__(self) -> None:
        self._failures = 0

    def next(self) -> float:
        """Something has failed: seconds to wait before the next time. The first time it may have
        been an accident, and there may be nobody else: none."""
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** (self._failures - 1))
        pause = pause if self._failures else 0.0
        self._failures = min(self._failures + 1, _MOST)
        return pause

    def reset(self) -> None:
        """It has worked."""
        self._failures = 0

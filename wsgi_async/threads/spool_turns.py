"""Whose response is written to a file next, where other requests need the threads.

What a client does not take can wait, and who asks for something cannot. So as long as nobody comes
each response goes to its file at the pace of its application. Beside others all of them together
have a small share of the time of a processor, in turn: it is enough for what is short to be over
soon, and leaves nearly everything to the others.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

__all__ = ["SpoolTurns", "Turn", "Turning"]

SHARE = 0.005
"""Of the time of one processor, what all responses may have for their files beside others. They
get about twice as much, for what they use between two requests costs them nothing."""

MOST = 0.005
"""Seconds of it that are kept for later, and that may be had in advance."""


class Turning(Protocol):
    """A response that waits for its turn, as far as this module knows it."""

    def call(self) -> None:
        """*Any thread:* it is its turn."""


class SpoolTurns:
    """Which responses are written to their files while others need the threads.

    :param is_crowded: whether something waits for a thread, or few threads are free.
    :param arrivals: how many requests have come so far.
    :param clock: seconds that pass.
    """

    def __init__(
        self,
        is_crowded: Callable[[], bool],
        arrivals: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.is_crowded = is_crowded
        self.arrivals = arrivals
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: OrderedDict[Turning, None] = OrderedDict()
        self._left = MOST
        self._filled_at = clock()

    @property
    def waiting(self) -> int:
        """*Any thread:* how many wait for their turn."""
        return len(self._waiting)

    def may_begin(self) -> bool:
        """*Any thread:* whether there is time for one of them now."""
        return self._left > 0 or not self.is_crowded()

    def spend(self, seconds: float) -> bool:
        """*Pool thread:* take it from what they have, and say whether there is some left."""
        with self._lock:
            self._left -= seconds
            return self._left > 0

    def enter(self, response: Turning) -> None:
        """*Pool thread:* it waits for its turn from now on."""
        with self._lock:
            self._waiting[response] = None

    def leave(self, response: Turning) -> None:
        """*Pool thread:* it does not wait any more."""
        with self._lock:
            self._waiting.pop(response, None)

    def fill(self) -> None:
        """*Loop, with each tick:* give them their share of what has passed, and call one."""
        with self._lock:
            now = self._clock()
            share = (now - self._filled_at) * SHARE
            self._left = min(MOST, max(-MOST, self._left) + share)
            self._filled_at = now
        self.call_next()

    def call_next(self) -> None:
        """*Any thread:* call the one that has waited for the longest, if there is time for it."""
        if not self._waiting or not self.may_begin():
            return
        response = None
        try:
            with self._lock:
                response = next(iter(self._waiting), None)
                if response is not None:
                    del self._waiting[response]
            if response is not None:
                response.call()
        except BaseException:
            if response is not None:
                response.call()  # this thread may have been struck, and nobody else calls it
            raise


class Turn:
    """The time in which one response is written to its file. *Pool thread.*

    :param turns: those of all responses.
    """

    __slots__ = ("_arrived", "_turns", "_used")

    def __init__(self, turns: SpoolTurns) -> None:
        self._turns = turns
        self._arrived = turns.arrivals()
        self._used = time.thread_time()

    def is_over(self) -> bool:
        """Whether it is to wait for its next turn.

        A moment counts if others came in it: whether one of them waits just now is chance, for a
        request may be over in a fraction of what a piece takes to be written.
        """
        turns = self._turns
        used, before = time.thread_time(), self._used
        arrived, seen = turns.arrivals(), self._arrived
        self._used, self._arrived = used, arrived
        if arrived == seen and not turns.is_crowded():
            return False
        return not turns.spend(used - before)

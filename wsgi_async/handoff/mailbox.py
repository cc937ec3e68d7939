"""How any thread wakes the loop."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Protocol

__all__ = ["Mailbox", "Posted"]


class Posted(Protocol):
    """What can be put into a :class:`Mailbox`."""

    def on_wake(self) -> None:
        """*Loop:* called once for each time it was posted."""


class Mailbox:
    """Carries objects from any thread to the loop.

    :param call_soon_threadsafe: the loop's.
    :param on_error: told of what an ``on_wake`` let out. *Loop.*
    """

    def __init__(
        self,
        call_soon_threadsafe: Callable[[Callable[[], None]], object],
        on_error: Callable[[BaseException], None],
    ) -> None:
        self.wakes = 0
        """Times the loop was woken: one crossing of the thread line each."""
        self._call_soon_threadsafe = call_soon_threadsafe
        self._on_error = on_error
        self._lock = threading.Lock()
        self._items: deque[Posted] = deque()
        self._is_woken = False

    def post(self, item: Posted) -> None:
        """*Any thread:* have ``item.on_wake()`` called on the loop. Nothing, if it is closed."""
        # Under load most items come while a wake is on its way, and take no lock: first the item is
        # put there, then the flag is looked at; _drain() does it the other way round.
        self._items.append(item)
        if self._is_woken:
            return
        with self._lock:
            if self._is_woken:
                return
            self._is_woken = True
            self.wakes += 1
        try:
            self._call_soon_threadsafe(self._drain)
        except RuntimeError:
            return  # the loop is closed: nobody is left to be told

    def _drain(self) -> None:
        with self._lock:
            self._is_woken = False
        items = self._items
        # What comes from here on has a wake of its own, and others have their turn first.
        for _ in range(len(items)):
            try:
                items.popleft().on_wake()
            except Exception as error:  # one exchange's fault is not the others'
                self._on_error(error)

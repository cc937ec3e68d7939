"""How any thread wakes the loop."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections import deque
from collections.abc import Callable
from typing import Protocol

__all__ = ["Mailbox", "Posted", "Posting"]


class Posted(Protocol):
    """What can be put into a :class:`Mailbox`."""

    def on_wake(self) -> None:
        """*Loop:* called once for each time it was posted."""


class Posting(Protocol):
    """Has the loop look at something: a mailbox, or what stands before one."""

    def post(self, item: Posted) -> None:
        """*Any thread:* see :meth:`Mailbox.post`."""


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
        self._wake_loop = functools.partial(call_soon_threadsafe, self._drain)
        self._on_error = on_error
        self._items: deque[Posted] = deque()
        # Held from the post that wakes the loop until the loop comes, by no thread in particular.
        self._is_woken = threading.Lock()

    def post(self, item: Posted) -> None:
        """*Any thread:* have ``item.on_wake()`` called on the loop. Nothing, if it is closed."""
        # First the item is put there, then the lock is looked at; _drain() does it the other way
        # round. Under load most items come while a wake is on its way: a look tells that for less
        # than trying to take the lock.
        self._items.append(item)
        if self._is_woken.locked():
            return
        try:
            if not self._is_woken.acquire(False):
                return
            self.wakes += 1
            self._wake_loop()
        except RuntimeError:
            return  # the loop is closed: nobody is left to be told

    def mend(self) -> None:
        """*Loop, now and then:* look into it without having been woken: a thread that was struck
        as it was about to wake the loop keeps all others from doing so."""
        if self._items:
            self._drain()

    def _drain(self) -> None:
        try:  # noqa: SIM105  # a context manager is made anew for each wake
            self._is_woken.release()
        except RuntimeError:
            pass  # mend() has come first; only the loop lets it go
        items = self._items
        # What comes from here on has a wake of its own, and others have their turn first.
        left = len(items)
        while left:  # to make a range costs as much as several rounds
            left -= 1
            try:
                items.popleft().on_wake()
            except Exception as error:  # one exchange's fault is not the others'
                with contextlib.suppress(Exception):  # nor is a log's that cannot take it
                    self._on_error(error)

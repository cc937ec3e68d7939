"""Calls that are nobody's task: what is to be done on a pool thread beside the requests.

They come by the queue of urgent tasks. But all threads may be busy for long, and with just what
such a call would end: the queries of clients that have left. So what nobody has begun by the second
look is called by a spare thread, which ends when nothing waits any more. Such a call is no request:
of those no more run at once than the pool has threads.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

__all__ = ["SPARE_THREADS", "Errand", "Errands"]

SPARE_THREADS = 4
"""Spare threads at once: one that hangs does not keep the others from being called."""


class Errand:
    """A task of a pool, of whatever kind its tasks are.

    :param function: called without arguments, by the first thread that comes for it. It lets
        nothing out.
    """

    __slots__ = ("_claim", "_function")

    turn = 0
    has_begun = True  # it is never withdrawn

    def __init__(self, function: Callable[[], object]) -> None:
        self._function: Callable[[], object] | None = function
        self._claim = threading.Lock()

    @property
    def is_claimed(self) -> bool:
        """*Any thread:* whether a thread has come for it."""
        return self._claim.locked()

    def run(self) -> None:
        """*Pool thread, or a spare one:* call it, unless another one does or has done so."""
        if self._claim.acquire(blocking=False):
            self._call()

    def _call(self) -> None:
        function, self._function = self._function, None  # it may be listed for a while yet
        if function is not None:
            function()

    def abandon(self, turn: int) -> None:
        """*Pool thread:* see :meth:`.Task.abandon`. Struck before it began, it is called now."""
        self._call()


class Errands:
    """Those of one pool that wait for a thread.

    :param name: the pool's: spare threads are called ``name-spare``.
    """

    def __init__(self, name: str) -> None:
        self._name = f"{name}-spare"
        self._waiting: deque[Errand] = deque()
        self._seen: Errand | None = None
        """The one that had waited the longest at the last look."""
        self._threads: list[threading.Thread] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, errand: Errand) -> None:
        """*Any thread:* it waits from now on."""
        self._waiting.append(errand)

    def look(self) -> None:
        """*One thread, now and then:* have a spare thread do what has waited since the last."""
        waiting, seen = self._waiting, self._seen
        while waiting and waiting[0].is_claimed:
            waiting.popleft()
        self._seen = waiting[0] if waiting else None
        if seen is None or self._seen is not seen:
            return
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        if len(self._threads) < SPARE_THREADS:
            thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the system's bound: the pool's own threads come for it some time
                return
            self._threads.append(thread)

    def _work(self) -> None:
        """*Spare thread.*"""
        while True:
            try:
                errand = self._waiting.popleft()
            except IndexError:
                return
            errand.run()

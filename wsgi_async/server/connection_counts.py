"""How many connections each process has open: shared memory between processes that fork.

The parent makes one :class:`ConnectionCounts` before it forks; each child joins with a small number
that no other living one has. Anonymous shared memory holds two words for each process:

* its open connections plus one, or 0 while it takes no new ones;
* how often its loop has looked for connections, which tells a process that is blocked from one
  that has nothing to do.

A word is aligned and written by one process, so there is no lock; whoever reads it takes it for
what was true a moment ago. Nothing here needs a loop or a thread.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence

__all__ = ["ConnectionCounts", "OwnCount"]

CAPACITY = 1024
"""Processes at most, with those that are on their way out."""

_WORD = 8


class ConnectionCounts:
    """The shared memory; each process uses it from one thread.

    :param capacity: processes at most.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        if capacity < 1:
            raise ValueError("counts are for at least one process")
        self.capacity = capacity
        words = memoryview(mmap.mmap(-1, (1 + 2 * capacity) * _WORD)).cast("Q")
        self.used = words[:1]
        """How many words of each are worth looking at."""
        self.opened = words[1 : 1 + capacity]
        self.looked = words[1 + capacity :]

    def clear(self, index: int) -> None:
        """*Parent:* the child with that number has ended, in whatever way. Harmless if repeated."""
        self.opened[index] = 0

    def join(self, index: int) -> OwnCount:
        """*Child:* this process's own part.

        :param index: its number.
        :raises ValueError: it does not fit in.
        """
        return OwnCount(self, index)

    def connections(self) -> dict[int, int]:
        """*Any process:* open connections, by number, of those that take new ones."""
        values = self.opened[: self.used[0]].tolist()
        return {index: value - 1 for index, value in enumerate(values) if value}


class OwnCount:
    """One process's part of the counts, and what it makes of the others'.

    :param counts: the shared memory.
    :param index: the process's number.
    """

    def __init__(self, counts: ConnectionCounts, index: int) -> None:
        if not 0 <= index < counts.capacity:
            raise ValueError(f"counts for {counts.capacity} processes have no place {index}")
        self.index = index
        self._used = counts.used
        self._opened = counts.opened
        self._looked = counts.looked
        self._asleep: dict[int, int] = {}
        """Processes that did not look when there was something to take, and their looks then."""
        self.look()

    def publish(self, count: int) -> None:
        """Say that `count` connections are open, and that this process takes more."""
        self._opened[self.index] = count + 1

    def withdraw(self) -> None:
        """Say that this process takes no more connections."""
        self._opened[self.index] = 0

    def look(self) -> None:
        """Say that this process looks for connections."""
        self._looked[self.index] += 1
        if self._used[0] <= self.index:
            self._widen()

    def _widen(self) -> None:
        """Have all words looked at that are used. Who writes this one last may have read it before
        another process wrote more into it, so each looks again at what it has left behind."""
        used = self.index + 1
        while self._used[0] < used:
            self._used[0] = used
            used = max(index for index, looks in enumerate(self._looked.tolist()) if looks) + 1

    def looks(self) -> list[int]:
        """How often each process has looked."""
        return self._looked[: self._used[0]].tolist()

    def pass_over(self, before: Sequence[int]) -> None:
        """Do not count on processes that have not looked since, until they look again.

        :param before: what :meth:`looks` was when there was something to look for.
        """
        for index, (then, now) in enumerate(zip(before, self.looks(), strict=False)):
            if then == now and index != self.index:
                self._asleep[index] = now

    def share(self, waiting: int) -> int | None:
        """The connections of each process once all that wait are taken, spread evenly.

        It is the average over those that take connections and are not passed over, rounded up.

        :param waiting: connections that wait to be accepted.
        :returns: None where no other process takes any.
        """
        values: list[int] = self._opened[: self._used[0]].tolist()
        for index, looks in list(self._asleep.items()) if self._asleep else ():
            if index >= len(values) or self._looked[index] != looks:
                del self._asleep[index]
            else:
                values[index] = 0
        taking = len(values) - values.count(0)
        if taking < 2 and (not taking or values[self.index]):
            return None
        return -((taking - sum(values) - waiting) // taking)

"""The two queues of a pool: new tasks, of which there is a bound, and urgent ones."""

from __future__ import annotations

from collections import deque
from typing import Generic

from .errands import Errand
from .places import Orphan
from .stand_ins import Permit
from .tasks import T

__all__ = ["TaskQueues"]

REFUSE = -(1 << 62)
"""The room in a queue that takes nothing."""

SPARSE = 64
"""Withdrawn tasks that may stay in the queue until its threads come to them."""


class TaskQueues(Generic[T]):
    """Tasks that wait for a thread. *Any thread, with the pool's lock held.*

    The pool puts tasks in and takes them out itself: what is taken has to be in its thread's place
    with no call between.

    :param size: new tasks that may wait beyond the threads that are free.
    """

    __slots__ = ("_size", "new", "room", "urgent", "urgent_next", "withdrawn")

    def __init__(self, size: int) -> None:
        self._size = size
        self.new: deque[T] = deque()
        """Its first ones may be withdrawn: whoever looks at them or takes one trims first."""
        self.urgent: deque[T | Orphan[T] | Permit | Errand] = deque()
        self.urgent_next = False
        """Whose turn it is: a pendulum between the two queues, and no state of anything."""
        self.withdrawn: set[T] = set()
        """Those of the new ones that are not to be run any more."""
        self.room = size
        """How many new ones may wait."""

    @property
    def waiting(self) -> int:
        """*Any thread, without the lock:* how many wait. The lengths are not of one moment."""
        return max(0, len(self.new) + len(self.urgent) - len(self.withdrawn))

    @property
    def heads(self) -> tuple[T | None, T | Orphan[T] | Permit | Errand | None]:
        """The task that has waited the longest in each; None where there is none."""
        self.trim()
        return (self.new[0] if self.new else None, self.urgent[0] if self.urgent else None)

    def withdraw(self, task: T) -> None:
        """Leave out one of the new ones; or raise what a lack of memory does, with nothing done."""
        # To search for it would take a queue of n clients that all leave n² steps.
        if len(self.withdrawn) >= SPARSE and 2 * len(self.withdrawn) > len(self.new):
            kept, none = deque(task for task in self.new if task not in self.withdrawn), set[T]()
            self.new, self.withdrawn = kept, none
        self.withdrawn.add(task)

    def trim(self) -> None:
        """Let go of the withdrawn tasks at the head of the queue."""
        while self.withdrawn:
            first = self.new[0]
            if first not in self.withdrawn:
                break
            # As where a task is taken, nothing can strike between these two.
            del self.new[0]
            self.withdrawn.discard(first)

    def set_room(self, *, refuses: bool) -> None:
        """Say how many new tasks may wait.

        :param refuses: whether none is to be taken, however few wait.
        """
        self.room = REFUSE if refuses else self._size

"""A thread that waits for a client, and the one that has its place in the pool meanwhile.

A thread that waits for long *stands aside*: another one takes its place, so that the pool has as
many threads as before. It keeps its task to the end, for what that holds may belong to this thread
(locals, a database's connection). But it may run only while one of the pool's threads waits in its
stead, so that no more tasks run at once than the pool has threads: one that sleeps is left asleep,
and where all are busy the next one runs a :class:`Permit`, which comes by the queue of urgent
tasks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

__all__ = ["Permit", "StandIn"]


class Permit:
    """A task of a pool: its thread waits until the one that stands aside waits again, or ends.

    Either of the two may be struck anywhere: the other one goes on all the same.
    """

    __slots__ = ("_granted", "_over")

    has_begun = True  # it is never withdrawn
    turn = 0

    def __init__(self) -> None:
        self._granted = threading.Lock()
        self._granted.acquire()
        self._over = threading.Lock()
        self._over.acquire()

    def run(self) -> None:
        """*Pool thread:* wait in the other one's stead."""
        self.grant()
        self._over.acquire()

    def abandon(self, turn: int) -> None:
        """*Pool thread:* see :meth:`.Task.abandon`."""
        self.grant()

    def grant(self) -> None:
        """*Any thread:* the other one may go on, whoever waits. May be called again."""
        self._open(self._granted)

    def await_grant(self, timeout: float) -> bool:
        """*The thread that stands aside:* wait for its turn, so many seconds at most.

        :returns: whether it has come.
        """
        return self._granted.acquire(timeout=timeout)

    def end(self) -> None:
        """*Any thread:* who waits in the other one's stead may go on. May be called again."""
        self._open(self._over)

    @staticmethod
    def _open(lock: threading.Lock) -> None:
        # Each is taken once, so it does not matter that it may be let go once more. Two threads
        # may do so at once: who looks first whether it is locked may be late.
        try:
            lock.release()
        except RuntimeError:
            return


class StandIn:
    """What a thread that stands aside has of its pool. *That thread.*

    :param claim: wait until one of the pool's threads waits instead.
    :param release: let that one go on.
    """

    __slots__ = ("claim", "release")

    def __init__(self, claim: Callable[[], object], release: Callable[[], object]) -> None:
        self.claim = claim
        self.release = release

"""One thread of a pool: how far it is with its task, what it is to the pool, and all that it holds.

What strikes a thread strikes where a function begins, after a call of C code, or where a loop jumps
back, and nowhere else. So what a thread holds is written down in its :class:`Place`, with no call
between that and its taking.
"""

from __future__ import annotations

import enum
import threading
from typing import Generic

from .errands import Errand
from .stand_ins import Permit
from .tasks import T

__all__ = ["NEXT", "Orphan", "Place", "Stage", "Standing"]


class Stage(enum.Enum):
    """How far a thread is with its task."""

    TAKEN = "it has it"
    CALLED = "it calls it, or has done so"
    OVER = "it has nothing to do with it any more"


_TAKEN = Stage.TAKEN
_CALLED = Stage.CALLED
_OVER = Stage.OVER


class Standing(enum.Enum):
    """What a thread is to its pool."""

    SERVING = "it takes tasks"
    ASIDE = "another one has its place: it finishes its task, and takes no other"
    LOST = "it was given up as it ran one: it takes no other, and an exception may be raised in it"
    SHIELDED = "it was given up, and nothing is raised in it any more: there is at most one"
    TOLD = "it was given up, and it was told that it has returned"

    __hash__ = object.__hash__  # Enum's own is Python code


_SERVING = Standing.SERVING
_ASIDE = Standing.ASIDE
_LOST = Standing.LOST
_SHIELDED = Standing.SHIELDED
_TOLD = Standing.TOLD

NEXT: dict[Standing, set[Standing]] = {
    _SERVING: {_ASIDE, _LOST},
    _ASIDE: {_SERVING, _LOST},
    _LOST: {_SHIELDED, _TOLD},
    _SHIELDED: {_SHIELDED, _TOLD},
    _TOLD: set(),
}


class Orphan(Generic[T]):
    """A task whose thread was struck while it ran it, or a moment before or after that."""

    __slots__ = ("task", "tries", "turn")

    has_begun = True

    def __init__(self, task: T | Permit | Errand, turn: int) -> None:
        self.task = task
        self.turn = turn
        self.tries = 0

    def run(self) -> None:
        self.task.abandon(self.turn)

    def abandon(self, turn: int) -> None:
        self.task.abandon(self.turn)


class Place(Generic[T]):
    """One thread's place in the pool, and all that it holds; guarded by the pool's lock."""

    __slots__ = (
        "counts",
        "held",
        "ident",
        "lost_at",
        "name",
        "next",
        "permit",
        "sleeper",
        "stage",
        "standing",
        "task",
        "thread",
        "turn",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.ident = 0
        self.thread: threading.Thread | None = None
        """None until it is started."""
        self.sleeper = threading.Lock()
        """What it sleeps on."""
        self.sleeper.acquire()
        self.task: T | Orphan[T] | Permit | Errand | None = None
        """What it runs; None while it sleeps."""
        self.turn = 0
        """That of the task when it was taken."""
        self.stage = _OVER
        self.counts = False
        """Whether that will be one more of the completed ones. It says of which queue the task is,
        not how far the thread is with it, and so it is no stage."""
        self.next: threading.Lock | None = None
        """The sleeping thread that it is to wake. Nobody else is woken until it has."""
        self.standing = _SERVING
        self.permit: Permit | None = None
        """What another thread waits with, so that this one may run, since it stands aside."""
        self.held: threading.Lock | None = None
        """Or the sleeper of one that sleeps on meanwhile, whatever there is to do."""
        self.lost_at = 0.0

    def change(self, standing: Standing) -> None:
        """*Whoever settles it, once it is over, else any thread with the pool's lock held:* the one
        place where its standing changes."""
        if standing not in NEXT[self.standing]:
            raise RuntimeError(f"a thread cannot go from {self.standing.name} to {standing.name}")
        self.standing = standing

    @property
    def own_task(self) -> T | None:
        """*Any thread:* what it runs, or has just run, whether it does so or closes it for another
        one. Not what it only waits with, nor an errand."""
        task = self.task
        if isinstance(task, Orphan):
            task = task.task
        return None if isinstance(task, (Permit, Errand)) else task

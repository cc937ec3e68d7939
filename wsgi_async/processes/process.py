"""One serving process, as the parent knows it."""

from __future__ import annotations

import enum
import math

__all__ = ["STATUS_MOVES", "Process", "Status"]


class Status(enum.Enum):
    """Where a process stands."""

    BOOTING = "it loads the application"
    READY = "it accepts connections"
    LEAVING = "it has been told to end"
    DOOMED = "it has been killed, or has ended"


STATUS_MOVES: dict[Status, set[Status]] = {
    Status.BOOTING: {Status.READY, Status.DOOMED},
    Status.READY: {Status.LEAVING, Status.DOOMED},
    # Again, where it is told to make haste.
    Status.LEAVING: {Status.LEAVING, Status.DOOMED},
    Status.DOOMED: {Status.DOOMED},
}


class Process:
    """One serving process, as its supervisor knows it."""

    __slots__ = (
        "asked",
        "beat_at",
        "began",
        "deadline",
        "generation",
        "is_stalled",
        "number",
        "pid",
        "place",
        "status",
    )

    def __init__(self, number: int, place: int, generation: int, now: float) -> None:
        self.number = number
        """A small number that no other living process has."""
        self.place = place
        """Which of the places it has. Who it replaces, perhaps alive still, has the same."""
        self.generation = generation
        self.began = self.beat_at = now
        self.status = Status.BOOTING
        self.deadline = math.inf
        """When one that leaves, or is doomed, must be gone."""
        self.asked = False
        """Whether it asked to be replaced."""
        self.is_stalled = False
        """Whether its last word was that its threads do not take what waits."""
        self.pid = 0
        """0 until it is known."""

    def enter(self, status: Status) -> None:
        """The one place where its status changes."""
        if status not in STATUS_MOVES[self.status]:
            raise RuntimeError(f"{self} cannot go from {self.status.name} to {status.name}")
        self.status = status

    def __str__(self) -> str:
        return f"process {self.pid}" if self.pid else f"process number {self.number}"

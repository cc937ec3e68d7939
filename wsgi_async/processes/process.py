"""One serving process, as the parent knows it."""

from __future__ import annotations

import enum
import math

__all__ = ["PROCESS_MOVES", "Process", "ProcessState"]


class ProcessState(enum.Enum):
    """Where a process stands."""

    BOOTING = "it loads the application"
    READY = "it accepts connections"
    RETIRING = "its successor is ready and it has been told to end, but may accept still"
    LEAVING = "it has been told to end, and accepts no more once it has read that"
    DOOMED = "it has been killed, or has ended"


PROCESS_MOVES: dict[ProcessState, set[ProcessState]] = {
    ProcessState.BOOTING: {ProcessState.READY, ProcessState.DOOMED},
    ProcessState.READY: {ProcessState.RETIRING, ProcessState.LEAVING, ProcessState.DOOMED},
    ProcessState.RETIRING: {ProcessState.LEAVING, ProcessState.DOOMED},
    # Again, where it is told to make haste.
    ProcessState.LEAVING: {ProcessState.LEAVING, ProcessState.DOOMED},
    ProcessState.DOOMED: {ProcessState.DOOMED},
}


class Process:
    """One serving process, as its supervisor knows it."""

    __slots__ = (
        "asked",
        "beat_at",
        "began",
        "deadline",
        "generation",
        "heard_at",
        "is_stalled",
        "number",
        "pid",
        "place",
        "ready_at",
        "started_at",
        "state",
    )

    def __init__(self, number: int, place: int, generation: int, now: float) -> None:
        self.number = number
        """A small number that no other living process has."""
        self.place = place
        """Which of the places it has. Who it replaces, perhaps alive still, has the same."""
        self.generation = generation
        self.began = self.beat_at = self.started_at = now
        self.ready_at = self.heard_at = math.nan
        """When it was ready, and when it last said something; NaN until then. Nothing is decided by
        these, nor by when it was started."""
        self.state = ProcessState.BOOTING
        self.deadline = math.inf
        """When one that leaves, or is doomed, must be gone."""
        self.asked = False
        """Whether it asked to be replaced."""
        self.is_stalled = False
        """Whether its last word was that its threads do not take what waits."""
        self.pid = 0
        """0 until it is known."""

    def enter(self, state: ProcessState) -> None:
        """The one place where its state changes."""
        if state not in PROCESS_MOVES[self.state]:
            raise RuntimeError(f"{self} cannot go from {self.state.name} to {state.name}")
        self.state = state

    def __str__(self) -> str:
        return f"process {self.pid}" if self.pid else f"process number {self.number}"

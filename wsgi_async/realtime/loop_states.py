"""The life of an application loop."""

from __future__ import annotations

import enum

__all__ = ["NEXT", "LoopState"]


class LoopState(enum.Enum):
    """Where an application loop is in its life."""

    RUNNING = "it takes coroutines"
    FINISHING = "nobody needs it any more: what was spawned is awaited, hooks are left"
    CLOSED = "its thread has ended, or is about to"

    __hash__ = object.__hash__


NEXT: dict[LoopState, set[LoopState]] = {
    LoopState.RUNNING: {LoopState.FINISHING},
    LoopState.FINISHING: {LoopState.CLOSED},
    LoopState.CLOSED: set(),
}

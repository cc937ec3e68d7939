"""Where a fleet stands, and its reload; why processes were replaced; and who and how many there
are."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from .process import Process

__all__ = [
    "FLEET_MOVES",
    "RELOAD_MOVES",
    "Asker",
    "Census",
    "FleetState",
    "Reload",
    "Restart",
]


class FleetState(enum.Enum):
    """Where a fleet stands."""

    STARTING = "not all of the first processes have been ready"
    UP = "they have"
    STOPPING = "it starts nobody any more, and ends with the last process"


class Reload(enum.Enum):
    """What there is of a reload. It goes on whether the fleet was up when it was asked for or not,
    and a stop does not end it: so it is no state of the fleet."""

    NONE = "none was asked for, or the last one is complete"
    UNDER_WAY = "processes of an earlier generation are still to be replaced"
    FAILED = "the last one was given up: its code does not start"


FLEET_MOVES: dict[FleetState, set[FleetState]] = {
    FleetState.STARTING: {FleetState.UP, FleetState.STOPPING},
    FleetState.UP: {FleetState.STOPPING},
    FleetState.STOPPING: set(),
}

RELOAD_MOVES: dict[Reload, set[Reload]] = {
    Reload.NONE: {Reload.UNDER_WAY},
    Reload.UNDER_WAY: {Reload.UNDER_WAY, Reload.NONE, Reload.FAILED},
    Reload.FAILED: {Reload.UNDER_WAY},
}


class Restart(enum.Enum):
    """Why a process was replaced, or is to be, without a reload. The values are words of a
    channel, and of the metrics."""

    DIED = "died"
    NOT_STARTED = "not_started"
    BOOT_TIMEOUT = "boot_timeout"
    BLOCKED = "loop_blocked"
    STALLED = "requests_stalled"
    MAX_REQUESTS = "max_requests"
    LIFETIME = "lifetime"
    THREADS_LOST = "threads_lost"
    SIGNAL = "signal"
    OTHER = "other"

    @classmethod
    def of(cls, word: str) -> Restart:
        """What a word means."""
        return next((restart for restart in cls if restart.value == word), cls.OTHER)


class Asker(enum.Enum):
    """Who has asked for a reload."""

    SIGNAL = "signal"
    FILES = "files"
    CONTROL = "control"


class Census(NamedTuple):
    """A fleet as it is now."""

    state: FleetState
    wanted: int
    ready: int
    """Processes that accept connections, or have just been told to, and are not to leave."""
    restarts: Counter[Restart]
    """So far."""
    reloads: Counter[Asker]
    """So far, those that could not be begun included."""
    failed_reloads: int
    operations_restarts: int = 0
    """How often the operations process was started again."""
    reload: Reload = Reload.NONE
    generation: int = 1
    """That of the processes to start."""
    processes: Sequence[Process] = ()
    """Those that live, to be looked at only."""
    restarts_at: Mapping[int, int] = MappingProxyType({})
    """How often who had a place was to be replaced, but for a reload; a place may be missing."""

"""The register: which processes there are, as their parent knows them, in shared memory.

The parent writes it whenever something may have changed, and is the only one; whoever else has it
reads, and needs nobody to answer. It is there for one that hangs, too, and outlives the process
that shows it.

There is a row for each number that a process may have (``Boot.number``), as there is an area of the
scoreboard. A word is never seen in part (see :mod:`.board`), but a row may be: its first word says
so while another process gets it, and a reader who finds that, or at the end another process than at
the beginning, reads it again.

Times are those of ``time.monotonic()``, which is one clock for all processes of a machine.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable
from typing import NamedTuple

from .board import AREAS, WORD
from .table import FLEET_STATES, PROCESS_STATES, RELOAD_STATES

__all__ = ["FleetRow", "ProcessRow", "Register"]

_TRIES = 10
"""Readings of a row, at most, that is being written meanwhile."""


class FleetRow(NamedTuple):
    """The processes as a whole."""

    state: str = FLEET_STATES[0]
    """One of :data:`.table.FLEET_STATES`."""
    reload: str = RELOAD_STATES[0]
    """One of :data:`.table.RELOAD_STATES`."""
    wanted: int = 0
    ready: int = 0
    generation: int = 0


class ProcessRow(NamedTuple):
    """One process."""

    number: int
    state: str
    """One of :data:`.table.PROCESS_STATES`."""
    pid: int
    """0 until it is known."""
    place: int
    generation: int
    restarts: int
    """How often a process at its place was to be replaced, but for a reload."""
    began: float
    """When it was to be started."""
    ready: float
    """When it was ready; NaN until then."""
    heard: float
    """When it last said something; NaN until then."""


_INTS = ("pid", "place", "generation", "restarts")
_FLOATS = ("began", "ready", "heard")
_WORDS = 1 + len(_INTS) + len(_FLOATS)
_FLEET_WORDS = len(FleetRow._fields)
_NOBODY, _CHANGING = 0, -1
"""What the first word of a row is beside the number of a state, which is counted from 1."""


class Register:
    """The memory. Made before the processes are forked that are to have it.

    :param rows: for processes by numbers from 0; further ones are not in it.
    """

    def __init__(self, rows: int = AREAS) -> None:
        memory = memoryview(mmap.mmap(-1, (_FLEET_WORDS + rows * _WORDS) * WORD))
        self._ints, self._floats = memory.cast("q"), memory.cast("d")
        self._rows = rows
        self._written: set[int] = set()

    def write(self, fleet: FleetRow, processes: Iterable[ProcessRow]) -> None:
        """*In the parent:* so it is now.

        :param processes: all that live; the rows of others become empty.
        """
        ints = self._ints
        ints[0] = FLEET_STATES.index(fleet.state)
        ints[1] = RELOAD_STATES.index(fleet.reload)
        ints[2], ints[3], ints[4] = fleet.wanted, fleet.ready, fleet.generation
        written = set()
        for row in processes:
            if row.number < self._rows:
                written.add(row.number)
                self._write(row)
        for number in self._written - written:
            ints[self._begin(number)] = _NOBODY
        self._written = written

    def _write(self, row: ProcessRow) -> None:
        ints, floats, begin = self._ints, self._floats, self._begin(row.number)
        if ints[begin + 1] != row.pid or ints[begin + 3] != row.generation:
            ints[begin] = _CHANGING
        for index, name in enumerate(_INTS, begin + 1):
            ints[index] = getattr(row, name)
        for index, name in enumerate(_FLOATS, begin + 1 + len(_INTS)):
            floats[index] = getattr(row, name)
        ints[begin] = PROCESS_STATES.index(row.state) + 1

    def fleet(self) -> FleetRow:
        """*Any process, any thread:* the processes as a whole."""
        state, reload, wanted, ready, generation = self._ints[:_FLEET_WORDS].tolist()
        return FleetRow(FLEET_STATES[state], RELOAD_STATES[reload], wanted, ready, generation)

    def processes(self) -> list[ProcessRow]:
        """*Any process, any thread:* those that live, by number."""
        rows = map(self._read, range(self._rows))
        return [row for row in rows if row is not None]

    def _read(self, number: int) -> ProcessRow | None:
        begin = self._begin(number)
        for _ in range(_TRIES):
            if self._ints[begin] == _NOBODY:
                return None
            state, *ints = self._ints[begin : begin + 1 + len(_INTS)].tolist()
            floats = self._floats[begin + 1 + len(_INTS) : begin + _WORDS].tolist()
            again = self._ints[begin : begin + 1 + len(_INTS)].tolist()
            if state > 0 and again == [state, *ints]:
                return ProcessRow(number, PROCESS_STATES[state - 1], *ints, *floats)
        return None

    @staticmethod
    def _begin(number: int) -> int:
        return _FLEET_WORDS + number * _WORDS

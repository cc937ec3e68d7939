"""The register: which processes there are, as the parent has written it."""

from __future__ import annotations

import math
import threading

from wsgi_async.processes.process import ProcessState
from wsgi_async.processes.states import FleetState, Reload
from wsgi_async.scoreboard import table
from wsgi_async.scoreboard.register import FleetRow, ProcessRow, Register


def row(number: int, pid: int, state: str = "ready", generation: int = 1) -> ProcessRow:
    return ProcessRow(number, state, pid, number, generation, 0, 1.0, 2.0, math.nan)


def test_what_was_written_is_read() -> None:
    register = Register(4)
    assert (register.fleet(), register.processes()) == (FleetRow(), [])
    fleet = FleetRow("up", "under_way", 3, 2, 7)
    rows = [row(0, 11), row(2, 12, "booting", 7)]
    register.write(fleet, rows)
    assert register.fleet() == fleet
    # NaN is unlike itself.
    assert repr(register.processes()) == repr(rows)


def test_who_is_gone_leaves_an_empty_row_and_who_has_no_row_is_left_out() -> None:
    register = Register(2)
    register.write(FleetRow(), [row(0, 1), row(1, 2), row(2, 3)])
    assert [each.pid for each in register.processes()] == [1, 2]
    register.write(FleetRow(), [row(1, 2)])
    assert [each.pid for each in register.processes()] == [2]


def test_the_words_are_the_parents() -> None:
    assert tuple(state.name.lower() for state in FleetState) == table.FLEET_STATES
    assert tuple(state.name.lower() for state in Reload) == table.RELOAD_STATES
    assert tuple(state.name.lower() for state in ProcessState) == table.PROCESS_STATES


def test_no_row_is_read_that_is_of_two_processes() -> None:
    """One that is replaced while somebody looks: its number and its generation belong together."""
    register, is_over, wrong = Register(1), threading.Event(), []

    def look() -> None:
        while not is_over.is_set():
            wrong.extend(each for each in register.processes() if each.pid != each.generation)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        for number in range(1, 3000):
            register.write(FleetRow(), [row(0, number, generation=number)])
    finally:
        is_over.set()
        thread.join()
    assert wrong == []

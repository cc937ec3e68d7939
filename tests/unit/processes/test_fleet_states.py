"""The tables of the parent: what may become of a fleet, of its reload, and of a process."""

from __future__ import annotations

import enum

import pytest
from state_tables import Table, assert_refused, assert_whole, last_of
from story import LIMITS

from wsgi_async.events import Observer
from wsgi_async.processes.attendants import (
    ATTENDANT_MOVES,
    Attendant,
    AttendantState,
    Duty,
)
from wsgi_async.processes.fleet import Fleet
from wsgi_async.processes.process import PROCESS_MOVES, Process, ProcessState
from wsgi_async.processes.states import FLEET_MOVES, RELOAD_MOVES, FleetState, Reload


@pytest.mark.parametrize(
    ("table", "first", "last"),
    [
        (FLEET_MOVES, FleetState.STARTING, {FleetState.STOPPING}),
        (RELOAD_MOVES, Reload.NONE, set()),
        (PROCESS_MOVES, ProcessState.BOOTING, {ProcessState.DOOMED}),
        (ATTENDANT_MOVES, AttendantState.WAITING, {AttendantState.OVER}),
    ],
)
def test_a_table_has_every_state_and_reaches_it(
    table: Table, first: enum.Enum, last: set[enum.Enum]
) -> None:
    assert_whole(table, first)
    assert last_of(table) == last


@pytest.mark.parametrize("state", FleetState)
def test_a_fleet_refuses_what_is_not_in_its_table(state: FleetState) -> None:
    fleet = Fleet(1, LIMITS)
    assert_refused(FLEET_MOVES, state, fleet, "state", fleet._enter)


@pytest.mark.parametrize("state", Reload)
def test_a_reload_refuses_what_is_not_in_its_table(state: Reload) -> None:
    fleet = Fleet(1, LIMITS)
    assert_refused(RELOAD_MOVES, state, fleet, "last_reload", fleet._enter_reload)


@pytest.mark.parametrize("state", ProcessState)
def test_a_process_refuses_what_is_not_in_its_table(state: ProcessState) -> None:
    process = Process(0, 0, 1, 0.0)
    assert_refused(PROCESS_MOVES, state, process, "state", process.enter)


@pytest.mark.parametrize("state", AttendantState)
def test_an_attendant_refuses_what_is_not_in_its_table(state: AttendantState) -> None:
    attendant = Attendant(Duty.OPERATING, lambda channel: 0, Observer())
    assert_refused(ATTENDANT_MOVES, state, attendant, "state", attendant.enter)


def test_the_code_that_cannot_start_is_told_of_in_development_too() -> None:
    """With --reload the next change is waited for, and until then the last reload has failed."""
    fleet = Fleet(1, LIMITS, hasty=True)
    fleet.start(0.0)
    [process] = fleet.processes
    fleet.ready(process, 0.0)
    fleet.reload(1.0)
    fleet.exited(process, "", 0, 1.0)
    [successor] = fleet.processes
    fleet.exited(successor, "exit code 3", 3, 2.0)
    assert fleet.last_reload is Reload.FAILED
    fleet.reload(3.0)
    assert fleet.last_reload is Reload.UNDER_WAY

"""The tables of the parent: what may become of a fleet, of its reload, and of a process."""

from __future__ import annotations

import enum
from typing import Any

import pytest
from story import LIMITS

from wsgi_async.processes.fleet import FLEET_MOVES, RELOAD_MOVES, Fleet, FleetState, Reload
from wsgi_async.processes.process import PROCESS_MOVES, Process, ProcessState

Table = dict[Any, set[Any]]


@pytest.mark.parametrize(
    ("table", "first", "last"),
    [
        (FLEET_MOVES, FleetState.STARTING, {FleetState.STOPPING}),
        (RELOAD_MOVES, Reload.NONE, set()),
        (PROCESS_MOVES, ProcessState.BOOTING, {ProcessState.DOOMED}),
    ],
)
def test_a_table_has_every_state_and_reaches_it(
    table: Table, first: enum.Enum, last: set[enum.Enum]
) -> None:
    assert set(table) == set(type(first))
    reached = {first}
    while following := {t for state in reached for t in table[state]} - reached:
        reached |= following
    assert reached == set(table)
    assert {state for state in table if not table[state] - {state}} == last


@pytest.mark.parametrize("state", FleetState)
def test_a_fleet_refuses_what_is_not_in_its_table(state: FleetState) -> None:
    fleet = Fleet(1, LIMITS)
    for other in set(FleetState) - FLEET_MOVES[state]:
        fleet.state = state
        with pytest.raises(RuntimeError, match=f"from {state.name} to {other.name}"):
            fleet._enter(other)
        assert fleet.state is state


@pytest.mark.parametrize("state", Reload)
def test_a_reload_refuses_what_is_not_in_its_table(state: Reload) -> None:
    fleet = Fleet(1, LIMITS)
    for other in set(Reload) - RELOAD_MOVES[state]:
        fleet.last_reload = state
        with pytest.raises(RuntimeError, match=f"from {state.name} to {other.name}"):
            fleet._enter_reload(other)
        assert fleet.last_reload is state


@pytest.mark.parametrize("state", ProcessState)
def test_a_process_refuses_what_is_not_in_its_table(state: ProcessState) -> None:
    process = Process(0, 0, 1, 0.0)
    for other in set(ProcessState) - PROCESS_MOVES[state]:
        process.state = state
        with pytest.raises(RuntimeError, match=f"from {state.name} to {other.name}"):
            process.enter(other)
        assert process.state is state


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

"""The states of a pool and of its threads: they change by their tables only."""

from __future__ import annotations

from typing import Any

import pytest
from state_tables import assert_held

from wsgi_async.threads import places as places_module
from wsgi_async.threads import pool as pool_module
from wsgi_async.threads.pool import Call, ThreadPool


def test_the_standings_of_a_thread_change_by_their_table_only() -> None:
    moves, standings = places_module.NEXT, places_module.Standing
    assert set(moves) == set(standings)
    place = places_module.Place[Any]("thread")
    assert place.standing is standings.SERVING
    for standing in standings:
        assert_held(moves, standing, place, "standing", place.change)


def test_the_states_of_a_pool_change_by_their_table_only() -> None:
    moves, states = pool_module._STATES, pool_module._PoolState
    assert set(moves) == set(states)
    pool: ThreadPool[Call] = ThreadPool(1, 0, on_error=pytest.fail)
    assert pool._state is states.OPEN
    for state in states:
        assert_held(moves, state, pool, "_state", pool._enter)

"""What every table of states is held to: it has them all, and what is not in it is refused."""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Mapping
from typing import Any

import pytest

Table = Mapping[Any, Collection[Any]]


def assert_whole(table: Table, first: enum.Enum) -> None:
    """It has every state, and each can be reached."""
    assert set(table) == set(type(first))
    reached = {first}
    while following := {t for state in reached for t in table[state]} - reached:
        reached |= following
    assert reached == set(table)


def last_of(table: Table) -> set[enum.Enum]:
    """The states that no other follows."""
    return {state for state in table if not set(table[state]) - {state}}


def assert_refused(
    table: Table, state: Any, owner: Any, name: str, enter: Callable[[Any], object]
) -> None:
    """What may not follow `state` is refused in words, and changes nothing.

    :param owner: what has the state, as its attribute `name`.
    :param enter: changes it.
    """
    for other in set(table) - set(table[state]):
        setattr(owner, name, state)
        with pytest.raises(RuntimeError, match=f"from {state.name} to {other.name}"):
            enter(other)
        assert getattr(owner, name) is state


def assert_held(
    table: Table, state: Any, owner: Any, name: str, enter: Callable[[Any], object]
) -> None:
    """What may follow follows, and what may not is refused."""
    assert_refused(table, state, owner, name, enter)
    for other in table[state]:
        setattr(owner, name, state)
        enter(other)
        assert getattr(owner, name) is other

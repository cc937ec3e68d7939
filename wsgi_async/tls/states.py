"""Where an encrypted connection stands: its two directions, and its life. What may follow what."""

from __future__ import annotations

import enum
from typing import TypeVar

__all__ = ["IN_NEXT", "LEFT", "LIFE_NEXT", "OUT_NEXT", "InState", "LifeState", "OutState", "check"]


class InState(enum.Enum):
    """What becomes of what arrives."""

    SILENT = "nothing has come yet"
    HANDSHAKE = "keys are being agreed on"
    FLOWING = "it is decrypted and passed on"
    HELD = "it is kept: the protocol does not read"
    RESUMING = "the protocol reads again, and gets in a moment what was kept"
    ENDED = "nothing more is expected"

    __hash__ = object.__hash__  # Enum's own is Python code


class OutState(enum.Enum):
    """What becomes of what is written."""

    FLOWING = "it is encrypted at once"
    FULL = "it waits: the plain transport is above its high water"
    YIELDING = "it waits for its turn: what was written before is being encrypted"
    ENDED = "nothing more may be written"

    __hash__ = object.__hash__


class LifeState(enum.Enum):
    """How far a connection is from its end, seen from here."""

    OPEN = "as ever"
    ENDING = "what was written is sent, and close_notify"
    CLOSING = "the same, and then it is closed"
    CUTTING = "what was written is sent, and it is closed without close_notify"
    LOST = "the plain transport is gone, or about to be"

    __hash__ = object.__hash__


IN_NEXT: dict[InState, set[InState]] = {
    InState.SILENT: {InState.HANDSHAKE, InState.ENDED},
    InState.HANDSHAKE: {InState.FLOWING, InState.ENDED},
    InState.FLOWING: {InState.HELD, InState.ENDED},
    InState.HELD: {InState.FLOWING, InState.RESUMING, InState.ENDED},
    InState.RESUMING: {InState.FLOWING, InState.HELD, InState.ENDED},
    InState.ENDED: set(),
}
OUT_NEXT: dict[OutState, set[OutState]] = {
    OutState.FLOWING: {OutState.FULL, OutState.YIELDING, OutState.ENDED},
    OutState.FULL: {OutState.YIELDING, OutState.ENDED},
    OutState.YIELDING: {OutState.FULL, OutState.FLOWING, OutState.ENDED},
    OutState.ENDED: set(),
}
LIFE_NEXT: dict[LifeState, set[LifeState]] = {
    LifeState.OPEN: {LifeState.ENDING, LifeState.CLOSING, LifeState.CUTTING, LifeState.LOST},
    LifeState.ENDING: {LifeState.CLOSING, LifeState.CUTTING, LifeState.LOST},
    LifeState.CLOSING: {LifeState.LOST},
    LifeState.CUTTING: {LifeState.LOST},
    LifeState.LOST: set(),
}
LEFT = frozenset({LifeState.CLOSING, LifeState.CUTTING, LifeState.LOST})
"""Those in which nothing that arrives is passed on."""


_S = TypeVar("_S", InState, OutState, LifeState)


def check(table: dict[_S, set[_S]], before: _S, after: _S) -> None:
    """
    :raises RuntimeError: `after` may not follow `before`.
    """
    if after not in table[before]:
        raise RuntimeError(f"TLS cannot go from {before.name} to {after.name}")

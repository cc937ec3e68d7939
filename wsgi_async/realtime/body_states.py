"""The life of an asynchronous body, and the ways it may end."""

from __future__ import annotations

import enum

__all__ = ["MOVES", "BodyState", "End"]


class BodyState(enum.Enum):
    """Where an asynchronous body stands. Changed on the application loop; the last one by the pool
    thread that closes it."""

    HANDED = "its thread has given it away, and the application loop has not begun with it"
    RUNNING = "its next chunk is awaited"
    BEHIND = "its client is awaited, to take what there is"
    ENDING = "no more of it is wanted: its generators are being closed"
    CLOSING = "a pool thread is to close what the application has returned, or does"
    OVER = "closed"

    __hash__ = object.__hash__  # Enum's own is Python code


MOVES: dict[BodyState, set[BodyState]] = {
    BodyState.HANDED: {BodyState.RUNNING, BodyState.OVER},
    BodyState.RUNNING: {BodyState.BEHIND, BodyState.ENDING, BodyState.OVER},
    BodyState.BEHIND: {BodyState.RUNNING, BodyState.ENDING, BodyState.OVER},
    BodyState.ENDING: {BodyState.CLOSING, BodyState.OVER},
    BodyState.CLOSING: {BodyState.OVER},
    BodyState.OVER: {BodyState.OVER},
}
"""OVER comes early where the application loop has ended: nobody awaits anything any more."""


class End(enum.Enum):
    """Why no more of it is wanted. The values are a label of metrics."""

    ENDED = "ended"
    """It has come to its end, or the response was complete without it."""
    LEFT = "left"
    """Its client has gone."""
    ERROR = "error"
    TIMEOUT = "timeout"
    """It was later than ``request_timeout`` or ``live_timeout``, or an operator broke it off."""
    STOPPED = "stopped"
    """The server stops."""

    __hash__ = object.__hash__

"""Where a connection can stand, how it may go on from there, and what it waits for."""

from __future__ import annotations

import enum

from .open_connection import Wait

__all__ = ["ENDS", "MOVES", "NEXT", "ConnectionState"]


class ConnectionState(enum.Enum):
    """Where a connection stands."""

    NEW = "nothing received yet"
    IDLE = "between two requests"
    HEAD = "a head has begun"
    BODY = "a body is being collected"
    RUNNING = "a request is with the application"
    FLUSHING = "the response is complete, the transport is above its high water"
    LINGERING = "all is sent, input is read and dropped"
    CLOSING = "all is handed to the transport, which closes when it is sent"
    CLOSED = "the transport is gone"

    __hash__ = object.__hash__  # Enum's own is Python code


ENDS = {ConnectionState.LINGERING, ConnectionState.CLOSING, ConnectionState.CLOSED}
NEXT: dict[ConnectionState, set[ConnectionState]] = {
    ConnectionState.NEW: {
        ConnectionState.HEAD,
        ConnectionState.BODY,
        ConnectionState.RUNNING,
        *ENDS,
    },
    ConnectionState.IDLE: {
        ConnectionState.HEAD,
        ConnectionState.BODY,
        ConnectionState.RUNNING,
        *ENDS,
    },
    # From both of these back to IDLE, where a front server takes its request back.
    ConnectionState.HEAD: {
        ConnectionState.BODY,
        ConnectionState.RUNNING,
        ConnectionState.IDLE,
        *ENDS,
    },
    ConnectionState.BODY: {ConnectionState.RUNNING, ConnectionState.IDLE, *ENDS},
    ConnectionState.RUNNING: {ConnectionState.IDLE, ConnectionState.FLUSHING, *ENDS},
    ConnectionState.FLUSHING: {ConnectionState.IDLE, *ENDS},
    ConnectionState.LINGERING: {ConnectionState.CLOSING, ConnectionState.CLOSED},
    ConnectionState.CLOSING: {ConnectionState.CLOSED},
    ConnectionState.CLOSED: set(),
}
_WAIT_OF = {
    **dict.fromkeys(ConnectionState),
    ConnectionState.NEW: Wait.FIRST_BYTE,
    ConnectionState.HEAD: Wait.HEAD,
    ConnectionState.IDLE: Wait.REQUEST,
    ConnectionState.LINGERING: Wait.LINGER,
}
MOVES = {
    before: {state: (_WAIT_OF[before], _WAIT_OF[state]) for state in following}
    for before, following in NEXT.items()
}
"""For each step that a connection may take, which wait ends with it and which begins."""

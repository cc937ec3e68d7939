"""A connection before its protocol is made: who stands for it among the open ones.

It counts for ``max_connections``, and may have to make room while it is silent. ``header_timeout``
bounds it as it does a head: one limit for the first byte, and one for all the others; the request's
own head has its own again. At a stop, one that has sent nothing is closed, and one that has begun
may still ask once.
"""

from __future__ import annotations

import asyncio
import enum

from wsgi_async.connection.connections import Connections
from wsgi_async.connection.open_connection import InFlight, Wait

__all__ = ["NEXT", "Beginning", "BeginningState"]


class BeginningState(enum.Enum):
    """Where such a connection stands."""

    SILENT = "nothing received yet"
    BEGUN = "a part of what comes first is there"
    OVER = "its protocol is made, or will not be"

    __hash__ = object.__hash__  # Enum's own is Python code


NEXT = {
    BeginningState.SILENT: {BeginningState.BEGUN, BeginningState.OVER},
    BeginningState.BEGUN: {BeginningState.OVER},
    BeginningState.OVER: set[BeginningState](),
}
_WAIT_OF = {BeginningState.SILENT: Wait.FIRST_BYTE, BeginningState.BEGUN: Wait.HEAD}


class Beginning:
    """Stands among the open connections, see ``OpenConnection``. *Loop, all of it.*

    :param shared: what all connections of the server share.
    :param loop: the loop that runs it.
    """

    __slots__ = ("loop", "shared", "state")

    def __init__(self, shared: Connections, loop: asyncio.AbstractEventLoop) -> None:
        self.shared = shared
        self.loop = loop
        self.state = BeginningState.SILENT

    def _enter(self, state: BeginningState) -> None:
        """The one place where the state changes, and with it what is being waited for."""
        if state not in NEXT[self.state]:
            raise RuntimeError(f"a beginning cannot go from {self.state.name} to {state.name}")
        waits = self.shared.waits
        waits[_WAIT_OF[self.state]].discard(self)
        self.state = state
        if state is BeginningState.BEGUN:
            waits[Wait.HEAD].add(self, self.loop.time())

    def join(self) -> None:
        """Stand among the open connections."""
        shared, now = self.shared, self.loop.time()
        shared.open.add(self)
        if self.state is BeginningState.SILENT:
            shared.waits[Wait.FIRST_BYTE].add(self, now)
        if not shared.make_room(self, now):
            # Its protocol will say 503, if it comes to that: nothing can be said before.
            shared.warn_full(now)
            shared.refused.add(self)
            if len(shared.refused) > shared.refusals:
                self.end()

    def end(self) -> None:
        """Close it, with as little as that takes. Harmless if repeated."""
        raise NotImplementedError

    def late(self) -> None:
        """It has begun, and takes too long."""
        raise NotImplementedError

    # --- called by the server's tick, by its shutdown, and by other connections ------------------

    @property
    def in_flight(self) -> InFlight | None:
        """Nothing: no request is here yet."""
        return None

    def wait_expired(self, wait: Wait) -> None:
        """It has waited too long. Of one that was silent nothing is said, as of any connection."""
        if self.state is BeginningState.BEGUN:
            self.late()
        else:
            self.end()

    def check_pace(self, now: float) -> bool:
        """Nothing is transferred."""
        return False

    def client_has_gone(self) -> None:
        """It is read from all the time, and told there."""

    client_has_ended = client_has_gone

    def close_idle(self) -> bool:
        """Close, if nothing has come. False where it has begun."""
        if self.state is BeginningState.SILENT:
            self.end()
        return self.state is BeginningState.OVER

    def make_way(self) -> None:
        """Give the descriptor back for another connection, at once."""
        self.end()

    def abort(self) -> None:
        """Drop it now: the end of the graceful timeout."""
        self.end()

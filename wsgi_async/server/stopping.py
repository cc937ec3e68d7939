"""How a server is told to end, and how it obeys: the same for signals and for a supervisor."""

from __future__ import annotations

import asyncio
import enum
from typing import Protocol

__all__ = ["IDLE_LINGER", "Stop", "obey"]

IDLE_LINGER = 5.0
"""Seconds for which a process that was replaced keeps an idle connection: whoever uses it meanwhile
is answered, with ``Connection: close``, instead of finding it closed in the very moment of sending
the next request, which few clients dare to repeat (RFC 9112 §9.5)."""


class Stop(enum.Enum):
    """Ways to end. The values are the words of a supervisor."""

    DRAIN = "drain"
    """Nobody follows: after --drain-delay idle connections close at once."""
    RETIRE = "retire"
    """A successor accepts already: idle connections are given time to move over."""
    NOW = "now"


class Stoppable(Protocol):
    """A server, as far as this module knows it."""

    def leave(self) -> None: ...
    async def stop(self, *, linger: float = 0.0) -> int: ...
    def hurry(self) -> None: ...
    def force(self) -> None: ...


async def obey(
    server: Stoppable,
    stops: asyncio.Queue[Stop],
    *,
    drain_delay: float,
    linger: float = IDLE_LINGER,
) -> int:
    """Wait until told to stop, and end the server so; what comes later may hurry that.

    :param drain_delay: seconds between DRAIN and the stop.
    :param linger: seconds for which a server that retires keeps idle connections.
    :returns: what ``server.stop()`` returns.
    """
    kind = await stops.get()
    if kind is Stop.DRAIN and drain_delay:
        server.leave()
        kind = await _next(stops, drain_delay) or kind
    stop = asyncio.ensure_future(server.stop(linger=linger if kind is Stop.RETIRE else 0.0))
    hurrying = asyncio.ensure_future(_pass_on(server, stops, kind))
    try:
        return await stop
    finally:
        hurrying.cancel()


async def _next(stops: asyncio.Queue[Stop], delay: float) -> Stop | None:
    try:
        return await asyncio.wait_for(stops.get(), delay)
    except TimeoutError:
        return None


async def _pass_on(server: Stoppable, stops: asyncio.Queue[Stop], kind: Stop) -> None:
    await asyncio.sleep(0)  # the stop has begun
    while True:
        if kind is Stop.NOW:
            server.force()
        elif kind is Stop.DRAIN:
            server.hurry()
        kind = await stops.get()

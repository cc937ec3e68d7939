"""How full a server is, in numbers that it has anyway: nothing is counted for them. On the loop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from wsgi_async.buffers.budgets import Budgets
from wsgi_async.connection.connections import Connections
from wsgi_async.connection.open_connection import Wait
from wsgi_async.connection.vitals import Vitals

__all__ = ["SAMPLE_EVERY", "Figures", "take_figures"]

SAMPLE_EVERY = 1.0
"""Seconds between two looks at how full it is, for who wants to know."""


class Figures(NamedTuple):
    """A server at one moment. Connections that are in none of these states are busy."""

    vitals: Vitals
    aside: int
    """Threads that wait for a client, and whose place another one has."""
    new: int
    """Connections on which nothing has come."""
    heads: int
    """Those on which a head, or what comes before it, has begun."""
    idle: int
    """Those between two requests."""
    lingering: int
    """Those on which all is sent, and whose client is to close."""
    connections_limit: int
    budgets: Budgets
    live_ends: Mapping[str, int]
    """How many asynchronous bodies have ended, by why."""


def take_figures(connections: Connections, now: float) -> Figures:
    """How full the server of these connections is.

    :param now: the loop's time.
    """
    waits, live = connections.waits, connections.gateway.live
    return Figures(
        vitals=connections.vitals(now),
        aside=connections.gateway.pool.aside,
        new=len(waits[Wait.FIRST_BYTE]),
        heads=len(waits[Wait.HEAD]),
        idle=len(waits[Wait.REQUEST]),
        lingering=len(waits[Wait.LINGER]),
        connections_limit=connections.cap,
        budgets=connections.budgets,
        live_ends={} if live is None else live.ends,
    )

"""How a server is: its threads, its queue, its connections, in numbers. Loop-owned, no I/O."""

from __future__ import annotations

from typing import NamedTuple

from wsgi_async.threads.pool import ThreadPool

from .exchange import Exchange

__all__ = ["LoopVitals", "Vitals", "take_vitals"]


class LoopVitals(NamedTuple):
    """How the application loop is."""

    blocked: float
    """Seconds for which code has kept it from everything else; 0.0 where it does not."""
    live: int
    """Asynchronous bodies of this server."""


class Vitals(NamedTuple):
    """A server's state, as the details tell it."""

    threads: int
    busy: int
    """Threads that run the application, lost ones aside."""
    lost: int
    """Threads that were given up, see ``request_timeout``, and have not come back."""
    queued: int
    """Requests and resumed responses that wait for a thread."""
    oldest_wait: float
    """Seconds that the oldest of those requests has waited."""
    connections: int
    uptime: float
    """Seconds since the server began."""
    neglected: float = 0.0
    """Seconds for which tasks have waited while a thread was idle: nothing that may ever be."""
    application_loop: LoopVitals | None = None
    """None where the process has none."""


def take_vitals(
    pool: ThreadPool[Exchange],
    now: float,
    *,
    connections: int,
    uptime: float,
    neglected: float,
    application_loop: LoopVitals | None,
) -> Vitals:
    """How a server is at this time.

    :param pool: its threads.
    :param now: the loop's time.
    :param connections: open ones.
    :param uptime: seconds since it began.
    :param neglected: see :meth:`.queue_watch.QueueWatch.seconds`.
    :param application_loop: how that is, where there is one.
    """
    oldest = pool.oldest
    return Vitals(
        threads=pool.threads,
        busy=pool.busy,
        lost=pool.lost,
        queued=pool.queued,
        oldest_wait=now - oldest.waits_since if oldest is not None else 0.0,
        connections=connections,
        uptime=uptime,
        neglected=neglected,
        application_loop=application_loop,
    )

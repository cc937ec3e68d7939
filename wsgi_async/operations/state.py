"""How the server is, as one value that JSON can be made of: who looks needs nobody to answer.

All of it is in memory that the processes share: the scoreboard, which each of them writes, and the
register, which the parent does. So it is there also while all of them hang. What is not known is
None.
"""

from __future__ import annotations

import math
import time
from typing import Any, NamedTuple

from wsgi_async._version import __version__
from wsgi_async.scoreboard import table
from wsgi_async.scoreboard.board import Reading, Scoreboard
from wsgi_async.scoreboard.register import FleetRow, ProcessRow, Register

__all__ = ["Facts", "fleet_of", "state"]


class Facts(NamedTuple):
    """What does not change while the server runs."""

    pid: int
    """The parent's."""
    started: float
    """In seconds since 1970."""
    name: str
    """What is served, in the operator's words; empty where they have none."""
    addresses: tuple[str, ...]
    """Where it listens, such as ``http://127.0.0.1:8000``."""


def state(board: Scoreboard, register: Register, facts: Facts) -> dict[str, Any]:
    """*Any process, any thread:* all of it, as it is now.

    Times are seconds, with ``now`` and ``started`` since 1970, and ages and ``heard`` until now;
    sizes are bytes.
    """
    reading = board.read()
    now = time.monotonic()
    return {
        "version": __version__,
        "name": facts.name or None,
        "pid": facts.pid,
        "now": round(time.time(), 3),
        "started": round(facts.started, 3),
        "addresses": list(facts.addresses),
        "fleet": fleet_of(register.fleet(), reading),
        "processes": [_process(row, reading, now) for row in register.processes()],
        "totals": _totals(reading),
    }


def fleet_of(row: FleetRow, reading: Reading) -> dict[str, Any]:
    """The processes as a whole."""
    return {
        "state": row.state,
        "reload": row.reload,
        "wanted": row.wanted,
        "ready": row.ready,
        "generation": row.generation,
        "reloads": sum(reading.count(table.RELOADS, *who) for who in table.RELOADS.series),
        "reloads_failed": reading.count(table.RELOADS_FAILED),
        "restarts": {why: reading.count(table.RESTARTS, why) for why in table.RESTARTED},
        "operations_restarts": reading.count(table.OPERATIONS_RESTARTS),
    }


def _process(row: ProcessRow, reading: Reading, now: float) -> dict[str, Any]:
    name = str(row.number)

    def whole(metric: table.Metric, *values: str) -> int | None:
        value = reading.gauge_of(name, metric, *values)
        return None if value is None else int(value)

    counted = [reading.count_of(name, table.REQUESTS, *one) for one in table.REQUESTS.series]
    return {
        "number": row.number,
        "pid": row.pid or None,
        "place": row.place,
        "generation": row.generation,
        "state": row.state,
        "restarts": row.restarts,
        "age": _since(row.began, now),
        "ready": _since(row.ready, now),
        "heard": _since(row.heard, now),
        "requests": None if None in counted else sum(filter(None, counted)),
        "in_flight": whole(table.IN_FLIGHT),
        "threads": {each.value: whole(table.THREADS, each.value) for each in table.ThreadKind},
        "live": whole(table.LIVE),
        "queued": whole(table.QUEUED),
        "oldest_wait": _rounded(reading.gauge_of(name, table.OLDEST_WAIT)),
        "application_loop_blocked": _rounded(reading.gauge_of(name, table.LOOP_BLOCKED)),
        "connections": {
            each.value: whole(table.CONNECTIONS, each.value) for each in table.ConnectionKind
        },
        "memory": whole(table.MEMORY),
        "files": whole(table.FILES),
    }


def _totals(reading: Reading) -> dict[str, Any]:
    """Of all processes that there ever were."""
    [reasons] = table.REFUSED.labels
    return {
        "requests": {
            status: sum(reading.count(table.REQUESTS, method, status) for method in table.METHODS)
            for status in table.STATUSES
        },
        "refused": {reason: reading.count(table.REFUSED, reason) for reason in reasons.values},
        "cut": reading.count(table.CUT),
        "spooled": reading.count(table.SPOOLED),
        "parked": reading.count(table.PARKED),
        "given_up": reading.count(table.GIVEN_UP),
        "live": {end: reading.count(table.LIVE_ENDED, end) for end in table.LIVE_ENDS},
        "received": reading.count(table.RECEIVED),
        "sent": reading.count(table.SENT),
        "log_dropped": reading.count(table.LOG_DROPPED),
        # How many requests took that long at most, in seconds, and at last how many there were.
        "duration": {
            "bounds": list(table.DURATION.bounds),
            "counts": list(reading.histogram(table.DURATION).counts),
        },
    }


def _since(then: float, now: float) -> float | None:
    return None if math.isnan(then) else round(max(0.0, now - then), 3)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)

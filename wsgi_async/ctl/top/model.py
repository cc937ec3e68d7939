"""What ``top`` shows, computed from what the control socket answers. Pure: no clock, no terminal.

An answer may lack anything (another version of the server, a process that is dying): what is not
known is None and shown so, and nothing here raises for it.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from wsgi_async.ctl.in_flight import LOOPS
from wsgi_async.operations.history import percentile

from .reading import Json, lines, number, numbers, part, parts, series, text, texts, whole

__all__ = [
    "CONNECTIONS",
    "STATUSES",
    "THREADS",
    "Picture",
    "Point",
    "ProcessLine",
    "Rates",
    "RequestLine",
    "Trends",
    "as_json",
    "picture",
]

STATUSES = ("1xx", "2xx", "3xx", "4xx", "5xx")
THREADS = ("busy", "aside", "idle", "lost")
CONNECTIONS = ("busy", "head", "new", "idle", "lingering")

KEPT = 600
"""Points of the past that charts can show."""


class Rates(NamedTuple):
    """What happens in a second, between two answers; None where there is one answer only."""

    requests: Mapping[str, float | None]
    """By class of status."""
    all: float | None
    refused: float | None
    cut: float | None
    received: float | None
    """Bytes."""
    sent: float | None


class ProcessLine(NamedTuple):
    """A process that serves, or is to."""

    number: int | None
    pid: int | None
    generation: float | None
    state: str
    age: float | None
    heard: float | None
    """Seconds since its last sign of life."""
    rate: float | None
    """Requests in a second."""
    requests: float | None
    in_flight: float | None
    threads: Mapping[str, float]
    queued: float | None
    oldest_wait: float | None
    connections: float | None
    memory: float | None
    files: float | None
    live: float | None
    """Responses with an asynchronous body."""
    application_loop_blocked: float | None
    """Seconds for which code has blocked its application loop; 0 where it does not."""
    trouble: str = ""
    """What is wrong with it, in a word: ``silent`` or ``blocked``."""


class RequestLine(NamedTuple):
    """A request in flight, or a loop that is blocked."""

    id: str
    age: float | None
    state: str
    pid: int | None
    thread: str
    method: str
    target: str
    client: str
    sent: float | None
    received: float | None
    stack: tuple[str, ...] | None
    """None where it was not asked for, or there is none."""

    @property
    def words(self) -> str:
        """What a filter looks in."""
        return (
            f"{self.pid} {self.state} {self.method} {self.target} {self.client} {self.thread} "
            f"{self.id}"
        ).lower()


LIVE = "live"
"""The state of a request that is meant to be old."""

BLOCKED = "blocked"
"""The state of a row that stands for a blocked loop."""


@dataclass(frozen=True)
class Picture:
    """A server at one moment."""

    name: str = ""
    version: str = ""
    pid: int | None = None
    now: float | None = None
    """Seconds since the epoch, by the server's clock."""
    uptime: float | None = None
    addresses: tuple[str, ...] = ()
    state: str = ""
    reload: str = ""
    wanted: float | None = None
    ready: float | None = None
    generation: float | None = None
    reloads: float | None = None
    reloads_failed: float | None = None
    restarts: Mapping[str, float] = field(default_factory=dict)
    rates: Rates = field(default_factory=lambda: _rates({}, {}, None))
    refused: Mapping[str, float] = field(default_factory=dict)
    """So far, by reason."""
    totals: Mapping[str, float] = field(default_factory=dict)
    """What else is counted, so far."""
    latency: tuple[float | None, ...] = ()
    """Median, 90th and 99th percentile in seconds of what has ended between two answers."""
    threads: Mapping[str, float] = field(default_factory=dict)
    queued: float | None = None
    oldest_wait: float | None = None
    connections: Mapping[str, float] = field(default_factory=dict)
    memory: float | None = None
    files: float | None = None
    processes: tuple[ProcessLine, ...] = ()
    requests: tuple[RequestLine, ...] = ()
    more: int = 0
    """Requests in flight beyond those that are listed."""
    missing: tuple[int, ...] = ()
    """Process ids of those that did not answer."""

    @property
    def in_flight(self) -> int:
        return self.more + sum(row.state != BLOCKED for row in self.requests)


class Point(NamedTuple):
    """What charts show of one moment."""

    all: float | None
    requests: Mapping[str, float | None]
    queued: float | None
    connections: float | None
    memory: float | None
    received: float | None
    sent: float | None
    median: float | None


class Trends:
    """The past, as far as charts can show it. *One thread.*"""

    def __init__(self) -> None:
        self.points: deque[Point] = deque(maxlen=KEPT)

    def add(self, now: Picture) -> None:
        rates = now.rates
        self.points.append(
            Point(
                rates.all,
                rates.requests,
                now.queued,
                sum(now.connections.values()),
                now.memory,
                rates.received,
                rates.sent,
                now.latency[0] if now.latency else None,
            )
        )

    def of(self, name: str) -> list[float | None]:
        """The values of an attribute of the points, or of a class of status."""
        if name in STATUSES:
            return [point.requests.get(name) for point in self.points]
        return [getattr(point, name) for point in self.points]


def picture(before: Json | None, after: Json, requests: Json | None) -> Picture:
    """What two answers to ``/status``, one after the other, and one to ``/requests`` show.

    :param before: None where `after` is the first one. One of another server, or of one that was
        started again, counts as none.
    :param requests: None where it is not known.
    """
    if before is not None and (
        before.get("pid") != after.get("pid") or before.get("started") != after.get("started")
    ):
        before = None
    fleet = part(after, "fleet")
    totals, earlier = part(after, "totals"), part(before or {}, "totals")
    now = number(after, "now")
    then = number(before or {}, "now")
    seconds = now - then if now is not None and then is not None and now > then else None
    started = number(after, "started")
    processes = tuple(_processes(before or {}, after, seconds))
    found = Picture(
        name=text(after, "name"),
        version=text(after, "version"),
        pid=whole(after, "pid"),
        now=now,
        uptime=now - started if now is not None and started is not None else None,
        addresses=texts(after, "addresses"),
        state=text(fleet, "state"),
        reload=text(fleet, "reload"),
        wanted=number(fleet, "wanted"),
        ready=number(fleet, "ready"),
        generation=number(fleet, "generation"),
        reloads=number(fleet, "reloads"),
        reloads_failed=number(fleet, "reloads_failed"),
        restarts=numbers(fleet, "restarts"),
        rates=_rates(earlier, totals, seconds),
        refused=numbers(totals, "refused"),
        totals=numbers(after, "totals"),
        latency=_latency(part(earlier, "duration"), part(totals, "duration")),
        threads=_summed(p.threads for p in processes),
        queued=_sum(p.queued for p in processes),
        oldest_wait=max(
            (p.oldest_wait for p in processes if p.oldest_wait is not None), default=None
        ),
        connections=_summed(numbers(p, "connections") for p in parts(after, "processes")),
        memory=_sum(p.memory for p in processes),
        files=_sum(p.files for p in processes),
        processes=processes,
    )
    return found if requests is None else _with_requests(found, requests)


def as_json(before: Json | None, after: Json, requests: Json | None) -> dict[str, Any]:
    """Both answers as they are, and beside them what happens in a second."""
    found = picture(before, after, requests)
    return {
        "status": after,
        "requests": requests,
        "rates": {**found.rates._asdict(), "requests": dict(found.rates.requests)},
        "latency": dict(zip(("p50", "p90", "p99"), found.latency, strict=False)),
        "processes": {str(p.number): p.rate for p in found.processes if p.number is not None},
    }


def _with_requests(found: Picture, requests: Json) -> Picture:
    rows: list[RequestLine] = []
    more = 0
    blocked: set[int | None] = set()
    for answer in parts(requests, "processes"):
        pid = whole(answer, "pid")
        more += whole(answer, "more") or 0
        for name, what in LOOPS.items():
            loop = part(answer, name)
            if loop.get("blocked"):
                blocked.add(pid)
                rows.append(_blocked_loop(pid, what, lines(loop, "stack")))
        rows += (_request(pid, request) for request in parts(answer, "requests"))
    missing = {whole(silent, "pid") for silent in parts(requests, "missing")}
    return replace(
        found,
        processes=tuple(
            row._replace(
                trouble="silent" if row.pid in missing else BLOCKED if row.pid in blocked else ""
            )
            for row in found.processes
        ),
        requests=tuple(rows),
        more=more,
        missing=tuple(sorted(pid for pid in missing if pid is not None)),
    )


def _request(pid: int | None, request: Json) -> RequestLine:
    return RequestLine(
        text(request, "id"),
        number(request, "age"),
        text(request, "state"),
        pid,
        text(request, "thread"),
        text(request, "method"),
        text(request, "target"),
        text(request, "client"),
        number(request, "sent"),
        number(request, "received"),
        lines(request, "stack"),
    )


def _blocked_loop(pid: int | None, name: str, stack: tuple[str, ...] | None) -> RequestLine:
    what = f"{name} of {pid} does not turn"
    return RequestLine(f"{name} {pid}", None, BLOCKED, pid, "", "", what, "", None, None, stack)


def _processes(before: Json, after: Json, seconds: float | None) -> list[ProcessLine]:
    earlier = {
        (whole(process, "number"), whole(process, "pid")): process
        for process in parts(before, "processes")
    }
    rows = []
    for process in parts(after, "processes"):
        connections = numbers(process, "connections")
        key = whole(process, "number"), whole(process, "pid")
        then = earlier.get(key, {})
        rows.append(
            ProcessLine(
                *key,
                number(process, "generation"),
                text(process, "state"),
                number(process, "age"),
                number(process, "heard"),
                _rate(number(then, "requests"), number(process, "requests"), seconds),
                number(process, "requests"),
                number(process, "in_flight"),
                numbers(process, "threads"),
                number(process, "queued"),
                number(process, "oldest_wait"),
                sum(connections.values()) if connections else None,
                number(process, "memory"),
                number(process, "files"),
                number(process, "live"),
                number(process, "application_loop_blocked"),
            )
        )
    return rows


def _rates(before: Json, after: Json, seconds: float | None) -> Rates:
    def rate(name: str) -> float | None:
        return _rate(number(before, name), number(after, name), seconds)

    then, now = numbers(before, "requests"), numbers(after, "requests")
    requests = {name: _rate(then.get(name), now.get(name), seconds) for name in STATUSES}
    known = [value for value in requests.values() if value is not None]
    refused = _rate(
        sum(numbers(before, "refused").values()), sum(numbers(after, "refused").values()), seconds
    )
    return Rates(
        requests,
        sum(known) if known else None,
        refused,
        rate("cut"),
        rate("received"),
        rate("sent"),
    )


def _rate(before: float | None, after: float | None, seconds: float | None) -> float | None:
    """None as well where it has become less: that is another count."""
    if before is None or after is None or seconds is None or after < before:
        return None
    return (after - before) / seconds


SHARES = (0.5, 0.9, 0.99)


def _latency(before: Json, after: Json) -> tuple[float | None, ...]:
    """Of a histogram: ``{"bounds": [...], "counts": [...]}``, of which a count is how many values
    were at most a bound, and the last one how many there were."""
    bounds = series(after, "bounds")
    then, now = series(before, "counts"), series(after, "counts")
    if not bounds or len(now) != len(bounds) + 1 or len(then) != len(now):
        return ()
    counts = [max(b - a, 0) for a, b in zip(then, now, strict=True)]
    found = (percentile(bounds, counts, share) for share in SHARES)
    return tuple(None if math.isnan(value) else value for value in found)


def _sum(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _summed(several: Iterable[Mapping[str, float]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for known in several:
        for name, value in known.items():
            found[name] = found.get(name, 0) + value
    return found

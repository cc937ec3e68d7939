"""What ``top`` shows, computed from what the control socket answers. Pure: no clock, no terminal.

An answer may lack anything (another version of the server, a process that is dying): what is not
known is None and shown so, and nothing here raises for it.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from .text import clean

__all__ = [
    "CONNECTIONS",
    "STATUSES",
    "THREADS",
    "Json",
    "Picture",
    "Point",
    "ProcessLine",
    "Rates",
    "RequestLine",
    "Trends",
    "as_json",
    "picture",
]

Json = Mapping[str, Any]

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
    fleet = _part(after, "fleet")
    totals, earlier = _part(after, "totals"), _part(before or {}, "totals")
    now = _number(after, "now")
    then = _number(before or {}, "now")
    seconds = now - then if now is not None and then is not None and now > then else None
    started = _number(after, "started")
    processes = tuple(_processes(before or {}, after, seconds))
    addresses = after.get("addresses")
    found = Picture(
        name=_text(after, "name"),
        version=_text(after, "version"),
        pid=_whole(after, "pid"),
        now=now,
        uptime=now - started if now is not None and started is not None else None,
        addresses=tuple(clean(str(a)) for a in _list(addresses)),
        state=_text(fleet, "state"),
        reload=_text(fleet, "reload"),
        wanted=_number(fleet, "wanted"),
        ready=_number(fleet, "ready"),
        generation=_number(fleet, "generation"),
        reloads=_number(fleet, "reloads"),
        reloads_failed=_number(fleet, "reloads_failed"),
        restarts=_numbers(fleet, "restarts"),
        rates=_rates(earlier, totals, seconds),
        refused=_numbers(totals, "refused"),
        totals=_numbers(after, "totals"),
        latency=_latency(_part(earlier, "duration"), _part(totals, "duration")),
        threads=_summed(p.threads for p in processes),
        queued=_sum(p.queued for p in processes),
        oldest_wait=max(
            (p.oldest_wait for p in processes if p.oldest_wait is not None), default=None
        ),
        connections=_summed(_numbers(p, "connections") for p in _parts(after, "processes")),
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
    for answer in _parts(requests, "processes"):
        pid = _whole(answer, "pid")
        more += _whole(answer, "more") or 0
        loop = _part(answer, "loop")
        if loop.get("blocked"):
            blocked.add(pid)
            rows.append(_blocked_loop(pid, loop))
        rows += (_request(pid, request) for request in _parts(answer, "requests"))
    missing = {_whole(silent, "pid") for silent in _parts(requests, "missing")}
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
        _text(request, "id"),
        _number(request, "age"),
        _text(request, "state"),
        pid,
        _text(request, "thread"),
        _text(request, "method"),
        _text(request, "target"),
        _text(request, "client"),
        _number(request, "sent"),
        _number(request, "received"),
        _lines(request.get("stack")),
    )


def _blocked_loop(pid: int | None, loop: Json) -> RequestLine:
    what = f"event loop of {pid} does not turn"
    stack = _lines(loop.get("stack"))
    return RequestLine(f"loop-{pid}", None, BLOCKED, pid, "", "", what, "", None, None, stack)


def _processes(before: Json, after: Json, seconds: float | None) -> list[ProcessLine]:
    earlier = {
        (_whole(process, "number"), _whole(process, "pid")): process
        for process in _parts(before, "processes")
    }
    rows = []
    for process in _parts(after, "processes"):
        connections = _numbers(process, "connections")
        number, pid = _whole(process, "number"), _whole(process, "pid")
        then = earlier.get((number, pid), {})
        rows.append(
            ProcessLine(
                number,
                pid,
                _number(process, "generation"),
                _text(process, "state"),
                _number(process, "age"),
                _number(process, "heard"),
                _rate(_number(then, "requests"), _number(process, "requests"), seconds),
                _number(process, "requests"),
                _number(process, "in_flight"),
                _numbers(process, "threads"),
                _number(process, "queued"),
                _number(process, "oldest_wait"),
                sum(connections.values()) if connections else None,
                _number(process, "memory"),
                _number(process, "files"),
            )
        )
    return rows


def _rates(before: Json, after: Json, seconds: float | None) -> Rates:
    def rate(name: str) -> float | None:
        return _rate(_number(before, name), _number(after, name), seconds)

    then, now = _numbers(before, "requests"), _numbers(after, "requests")
    requests = {name: _rate(then.get(name), now.get(name), seconds) for name in STATUSES}
    known = [value for value in requests.values() if value is not None]
    refused = _rate(
        sum(_numbers(before, "refused").values()), sum(_numbers(after, "refused").values()), seconds
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


QUANTILES = (0.5, 0.9, 0.99)


def _latency(before: Json, after: Json) -> tuple[float | None, ...]:
    """By the buckets of a histogram: ``{"bounds": [...], "counts": [...]}``, with one count more
    for what is beyond the last bound."""
    bounds = [b for b in _list(after.get("bounds")) if isinstance(b, (int, float))]
    then, now = _list(before.get("counts")), _list(after.get("counts"))
    if not bounds or len(now) != len(bounds) + 1 or len(then) != len(now):
        return ()
    counts = [max(b - a, 0) for a, b in zip(then, now, strict=True)]
    return tuple(_quantile(bounds, counts, quantile) for quantile in QUANTILES)


def _quantile(bounds: Sequence[float], counts: Sequence[float], quantile: float) -> float | None:
    """Between the bounds of its bucket in proportion, as Prometheus has it; the last bound at
    most. None where nothing was counted."""
    wanted = quantile * sum(counts)
    if wanted <= 0:
        return None
    below, low = 0.0, 0.0
    for bound, found in zip(bounds, counts, strict=False):
        if below + found >= wanted:
            return low + (bound - low) * (wanted - below) / found
        below, low = below + found, bound
    return low


# --- what may be in an answer, or may not


def _number(part: Json, name: str) -> float | None:
    value = part.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return value


def _whole(part: Json, name: str) -> int | None:
    value = _number(part, name)
    return None if value is None else int(value)


def _text(part: Json, name: str) -> str:
    value = part.get(name)
    return "" if value is None else clean(str(value))


def _part(part: Json, name: str) -> Json:
    value = part.get(name)
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> Sequence[Any]:
    return value if isinstance(value, (list, tuple)) else ()


def _parts(part: Json, name: str) -> list[Json]:
    return [entry for entry in _list(part.get(name)) if isinstance(entry, Mapping)]


def _numbers(part: Json, name: str) -> dict[str, float]:
    found = _part(part, name)
    return {clean(str(key)): number for key in found if (number := _number(found, key)) is not None}


def _lines(value: object) -> tuple[str, ...] | None:
    if value is None:
        return None
    return tuple(clean(str(line).replace("\t", "    ")) for line in _list(value))


def _sum(values: Any) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _summed(parts: Any) -> dict[str, float]:
    found: dict[str, float] = {}
    for part in parts:
        for name, value in part.items():
            found[name] = found.get(name, 0) + value
    return found

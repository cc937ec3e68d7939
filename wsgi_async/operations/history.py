"""An hour of what a server did, second by second, in memory that outlives whoever writes it.

The parent makes a :class:`History` before it forks; the operations process, of which there is one
at a time, writes a row each second, made of two readings of the scoreboard. What it has read last
is in the memory too, so its successor goes on from there: the first row after a pause has the mean
of the pause in its rates, and the seconds in between are rows of nulls. Nothing is counted twice,
and nothing is left out.

**Time.** A row belongs to a second of the clock that counts from the machine's start, also while it
sleeps; its place in the ring follows from that. What a wall clock says of it is found when it is
read: where somebody sets the clock, the hour moves as a whole, with no hole and no second twice.

**Who reads.** A row is there once its second stands in it, and what was read last is in force by
one word, so that neither a thread that reads nor a successor meets a part of one. Rows that are
overwritten next are never read.
"""

from __future__ import annotations

import math
import mmap
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from wsgi_async.scoreboard import table
from wsgi_async.scoreboard.board import PARENT, Reading
from wsgi_async.scoreboard.table import ConnectionKind, Metric, ThreadKind

__all__ = [
    "COLUMNS",
    "MEANINGS",
    "ROWS",
    "STEP",
    "UNITS",
    "History",
    "Row",
    "percentile",
    "steady_clock",
]

ROWS = 3600
"""Seconds that are kept."""

STEP = 1
"""Seconds from one row to the next."""

_SPARE = 64
"""Rows behind the oldest one, which the writer may be about to write."""

_WORD = 8

_TURN, _FIRST, _EPOCH, _HEAD = 0, 1, 2, 8
"""Words of the head: how many rows were written, the second of the first, and what to add for
seconds since 1970; then two places for what was read last, of which the turn says the one in
force. The newest row is of that moment."""

_NONE = math.nan

Row = list[float | None]
"""One second, as :data:`COLUMNS` names it. None: it is not known, or nothing was measured."""


def steady_clock() -> float:
    """Seconds since the machine's start, those in which it slept included where it tells them; the
    same in all processes."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


# --- Columns ------------------------------------------------------------------------------------


class _Rate(NamedTuple):
    """So much a second of what only ever grows."""

    metric: Metric
    labels: tuple[tuple[str, ...], ...] = ((),)
    """The series that are added."""


class _Gauge(NamedTuple):
    """What processes say of themselves, as one."""

    metric: Metric
    labels: tuple[tuple[str, ...], ...] = ((),)
    join: Callable[[Sequence[float]], float] = sum
    of: str = ""
    """The only process that says it; "": all."""


_PERCENTILES = {"p50": 0.50, "p90": 0.90, "p99": 0.99}

_PARTS = {
    "queue": table.QUEUE,
    "app": table.APPLICATION,
    "cpu": table.CPU,
    "client": table.DURATION,
}
"""Where the time of a request goes, each part without the others: see :func:`_parts`."""

_COLUMNS: dict[str, _Rate | _Gauge | None] = {
    "t": None,
    **{
        f"rps_{status}": _Rate(table.REQUESTS, tuple((m, status) for m in table.METHODS))
        for status in table.STATUSES
    },
    "refused": _Rate(table.REFUSED, tuple(table.REFUSED.series)),
    "cut": _Rate(table.CUT),
    **dict.fromkeys(_PERCENTILES),
    **dict.fromkeys(_PARTS),
    "in_flight": _Gauge(table.IN_FLIGHT),
    "live": _Gauge(table.LIVE),
    "busy": _Gauge(table.THREADS, ((ThreadKind.BUSY.value,),)),
    "threads": _Gauge(table.THREADS, ((ThreadKind.BUSY.value,), (ThreadKind.IDLE.value,))),
    "queued": _Gauge(table.QUEUED),
    "oldest_wait": _Gauge(table.OLDEST_WAIT, join=max),
    "connections": _Gauge(table.CONNECTIONS, tuple((kind.value,) for kind in ConnectionKind)),
    "memory": _Gauge(table.MEMORY),
    "received": _Rate(table.RECEIVED),
    "sent": _Rate(table.SENT),
    "processes": _Gauge(table.READY, of=PARENT),
}

COLUMNS = tuple(_COLUMNS)
"""What is in a row, in this order."""

MEANINGS = {
    "t": "the second, since 1970",
    **{f"rps_{status}": f"requests with status {status}" for status in table.STATUSES},
    "refused": "requests that the server itself answered with an error; they have a status too",
    "cut": "responses that were not complete",
    "p50": "half of the requests took no longer, from the complete head to the end of the "
    "response, or to the first chunk of an asynchronous body",
    "p90": "nine of ten",
    "p99": "99 of 100",
    "queue": "of a request, waiting for a thread",
    "app": "with a thread, and without a processor: the application waits",
    "cpu": "with both: the application computes",
    "client": "the rest: the client sends its body, or takes the response",
    "in_flight": "requests with the application, waiting for a thread, or being sent",
    "live": "of those, responses with an asynchronous body, which hold no thread",
    "busy": "threads at work",
    "threads": "threads, at work or idle",
    "queued": "requests and resumed responses that wait for a thread",
    "oldest_wait": "for how long the oldest of them has waited",
    "connections": "open connections",
    "memory": "of all processes (RSS), the parent and the operations process included",
    "received": "bodies of requests",
    "sent": "bodies of responses",
    "processes": "processes that accept connections",
}
"""What each column is."""

UNITS = {
    **dict.fromkeys((*(f"rps_{status}" for status in table.STATUSES), "refused", "cut"), "1/s"),
    **dict.fromkeys((*_PERCENTILES, *_PARTS, "t", "oldest_wait"), "s"),
    **dict.fromkeys(("received", "sent"), "byte/s"),
    "memory": "byte",
}
"""Of those that have one."""

_RATES = {name: each for name, each in _COLUMNS.items() if isinstance(each, _Rate)}
_GAUGES = {name: each for name, each in _COLUMNS.items() if isinstance(each, _Gauge)}
_BUCKETS = len(table.DURATION.bounds) + 1


class Totals(NamedTuple):
    """What only ever grows, as one reading has it."""

    at: float
    """When, by :func:`steady_clock`."""
    rates: tuple[float, ...]
    """In the order of the columns."""
    buckets: tuple[float, ...]
    """Durations that were at most each bound, and all."""
    sums: tuple[float, ...]
    """Seconds of each part."""

    @classmethod
    def of(cls, reading: Reading, at: float) -> Totals:
        rates = (
            float(sum(reading.count(rate.metric, *values) for values in rate.labels))
            for rate in _RATES.values()
        )
        buckets = map(float, reading.histogram(table.DURATION).counts)
        sums = (reading.histogram(metric).sum for metric in _PARTS.values())
        return cls(at, tuple(rates), tuple(buckets), tuple(sums))

    @classmethod
    def nothing(cls, at: float) -> Totals:
        """Before anything was counted."""
        return cls(at, (0.0,) * len(_RATES), (0.0,) * _BUCKETS, (0.0,) * len(_PARTS))

    def pack(self) -> list[float]:
        return [self.at, *self.rates, *self.buckets, *self.sums]

    @classmethod
    def unpack(cls, words: Sequence[float]) -> Totals:
        at, *rest = words
        rates, parts = len(_RATES), len(_RATES) + _BUCKETS
        return cls(at, tuple(rest[:rates]), tuple(rest[rates:parts]), tuple(rest[parts:]))


_TOTALS = len(Totals.nothing(0.0).pack())


def percentile(bounds: Sequence[float], counts: Sequence[float], share: float) -> float:
    """Below which value so large a share of values lies, as a histogram knows it: within a bucket
    they are taken to lie evenly, and those beyond the last bound to lie at it.

    :param bounds: of the buckets but the last, which has none.
    :param counts: how many values were at most each bound, and at last how many there were.
    :param share: above 0, at most 1.
    :returns: NaN where there were none.
    """
    if not counts[-1] > 0:
        return _NONE
    wanted = share * counts[-1]
    lower = below = 0.0
    for bound, count in zip(bounds, counts, strict=False):
        if count >= wanted:
            return lower + (bound - lower) * (wanted - below) / (count - below)
        lower, below = bound, count
    return bounds[-1]


def _make_row(second: int, before: Totals, after: Totals, reading: Reading) -> list[float]:
    """The row of one second, NaN for what is not known."""
    seconds = after.at - before.at
    row = {"t": float(second)}
    for name, old, new in zip(_RATES, before.rates, after.rates, strict=True):
        row[name] = round((new - old) / seconds, 3)
    counts = [new - old for old, new in zip(before.buckets, after.buckets, strict=True)]
    for name, share in _PERCENTILES.items():
        row[name] = round(percentile(table.DURATION.bounds, counts, share), 6)
    row |= _parts([new - old for old, new in zip(before.sums, after.sums, strict=True)], counts[-1])
    for name, gauge in _GAUGES.items():
        found = [
            value
            for values in gauge.labels
            for process, value in reading.gauge(gauge.metric, *values)
            if gauge.of in ("", process)
        ]
        row[name] = round(gauge.join(found), 3) if found else _NONE
    return [row[name] for name in COLUMNS]


def _parts(sums: Sequence[float], count: float) -> dict[str, float]:
    """The means of the parts, which come to the mean of the durations."""
    if not count > 0:
        return dict.fromkeys(_PARTS, _NONE)
    queue, app, cpu, duration = (value / count for value in sums)
    # They are measured by several clocks, and a part of one is not below nothing.
    parts = (queue, max(0.0, app - cpu), cpu, max(0.0, duration - queue - app))
    return {name: round(value, 6) for name, value in zip(_PARTS, parts, strict=True)}


# --- The memory ---------------------------------------------------------------------------------


class History:
    """The memory, in whatever process. Made before the processes are forked that are to have it.

    :param rows: seconds that are kept.
    :param now: when that is, by :func:`steady_clock`.
    """

    def __init__(self, rows: int = ROWS, now: float | None = None) -> None:
        self._rows = rows
        self._ring = rows + _SPARE
        size = _HEAD + 2 * _TOTALS + self._ring * len(COLUMNS)
        memory = memoryview(mmap.mmap(-1, size * _WORD))
        self._words = memory.cast("q")
        self._floats = memory.cast("d")
        self._put_totals(0, Totals.nothing(steady_clock() if now is None else now))

    # --- writing -----------------------------------------------------------------------------

    def is_due(self, now: float) -> bool:
        """*In the operations process:* whether a second has passed since the newest row.

        :param now: by :func:`steady_clock`.
        """
        return not self._words[_TURN] or math.floor(now) > self._newest()

    def write(self, reading: Reading, now: float, wall: float) -> bool:
        """*In the operations process, one thread:* add the row of this second, unless it is there.

        :param now: by :func:`steady_clock`.
        :param wall: the same moment, in seconds since 1970.
        :returns: whether the wall clock was set since the row before.
        """
        turn, second = self._words[_TURN], math.floor(now)
        before = self._totals(turn)
        if not self.is_due(now) or now <= before.at:
            return False
        after = Totals.of(reading, now)
        row = _make_row(second, before, after, reading)
        begin = self._place(second)
        self._floats[begin] = _NONE
        for index, value in enumerate(row[1:], begin + 1):
            self._floats[index] = value
        self._floats[begin] = row[0]  # from now on it is there
        self._put_totals(turn + 1, after)
        was_set = self._set_epoch(math.floor(wall) - second)
        if not turn:
            self._words[_FIRST] = second
        self._words[_TURN] = turn + 1
        return was_set and turn > 0

    def _set_epoch(self, epoch: int) -> bool:
        """A clock that is a little ahead of or behind the other one changes nothing."""
        if abs(epoch - self._words[_EPOCH]) <= 1:
            return False
        self._words[_EPOCH] = epoch
        return True

    def _place(self, second: int) -> int:
        return _HEAD + 2 * _TOTALS + second % self._ring * len(COLUMNS)

    def _totals(self, turn: int) -> Totals:
        begin = _HEAD + turn % 2 * _TOTALS
        return Totals.unpack(self._floats[begin : begin + _TOTALS].tolist())

    def _put_totals(self, turn: int, totals: Totals) -> None:
        begin = _HEAD + turn % 2 * _TOTALS
        for index, value in enumerate(totals.pack(), begin):
            self._floats[index] = value

    # --- reading -----------------------------------------------------------------------------

    def rows(self) -> list[Row]:
        """*Any thread:* all that are kept, the oldest first, one for each second."""
        if not self._words[_TURN]:
            return []
        newest = self._newest()
        oldest = max(self._words[_FIRST], newest - self._rows + 1)
        return [self._row(second) for second in range(oldest, newest + 1)]

    def newest(self) -> Row | None:
        """*Any thread:* the last one; None where there is none."""
        return self._row(self._newest()) if self._words[_TURN] else None

    def _newest(self) -> int:
        """The second of the newest row."""
        return math.floor(self._floats[_HEAD + self._words[_TURN] % 2 * _TOTALS])

    def _row(self, second: int) -> Row:
        begin = self._place(second)
        found, *values = self._floats[begin : begin + len(COLUMNS)].tolist()
        time_of_day = second + self._words[_EPOCH]
        if found != second:  # of another hour: nobody wrote in this one
            return [time_of_day, *[None] * len(values)]
        return [time_of_day, *(None if value != value else value for value in values)]

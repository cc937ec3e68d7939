"""From samples to figures: medians, their spread, and ratios. Never one absolute number."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from benchmarks.harness.record import Row, Run
from benchmarks.harness.servers import is_ours

__all__ = ["Figure", "advantage", "best_peer", "figures", "quantile", "voids"]


class Figure(NamedTuple):
    """One server in one scenario, over all rounds."""

    median: float
    low: float
    high: float
    rounds: int
    p50: float | None
    """Median of the rounds' medians, in milliseconds."""
    p99: float | None
    """Median of the rounds' 99th percentiles, in milliseconds."""
    errors: int
    """Of all rounds."""
    memory: float | None
    """Bytes."""
    extra: Mapping[str, float]
    """Medians."""

    def get(self, name: str) -> float | None:
        """A figure by its name: ``value``, ``p50``, ``p99``, ``memory``, one of `extra`, or the
        quotient of two as ``p99/p50``."""
        above, slash, below = name.partition("/")
        if slash:
            top, bottom = self.get(above), self.get(below)
            return top / bottom if top is not None and bottom else None
        named = {"value": self.median, "p50": self.p50, "p99": self.p99, "memory": self.memory}
        return named[name] if name in named else self.extra.get(name)


def figures(run: Run, scenario: str) -> dict[str, Figure]:
    """By server, in the order of the run; without those whose figures are void."""
    found: dict[str, list[Row]] = {}
    wrong = set()
    for row in run.rows:
        if row.scenario != scenario:
            continue
        if row.wrong:
            wrong.add(row.server)
        if row.value is not None:
            found.setdefault(row.server, []).append(row)
    return {name: _figure(found[name]) for name in run.servers if name in found.keys() - wrong}


def _figure(rows: Sequence[Row]) -> Figure:
    values = [row.value for row in rows if row.value is not None]
    names = {name for row in rows for name in row.extra}
    return Figure(
        median=statistics.median(values),
        low=min(values),
        high=max(values),
        rounds=len(values),
        p50=_median([row.p50 for row in rows]),
        p99=_median([row.p99 for row in rows]),
        errors=sum(row.errors for row in rows),
        memory=_median([row.memory for row in rows]),
        extra={
            name: statistics.median([row.extra[name] for row in rows if name in row.extra])
            for name in sorted(names)
        },
    )


def _median(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return statistics.median(there) if there else None


def voids(run: Run, scenario: str) -> dict[str, str]:
    """Why a server has no figure, or one of fewer rounds; by server."""
    found: dict[str, str] = {}
    for row in run.rows:
        if row.scenario == scenario and row.void is not None and row.server not in found:
            which = "void" if row.wrong else f"round {row.round} void"
            found[row.server] = f"{which}: {row.void}"
    return found


def advantage(ours: float, other: float, more_is_better: bool) -> float:
    """How many times as good `ours` is: above 1 is better, whatever the unit.

    Infinite if the other did nothing at all, 0 if only we did, NaN if neither did anything.
    """
    above, below = (ours, other) if more_is_better else (other, ours)
    if below == 0:
        return math.nan if above == 0 else math.inf
    return above / below


def best_peer(
    found: Mapping[str, Figure], more_is_better: bool, name: str = "value"
) -> tuple[str, float] | None:
    """The best of the servers that are not wsgi_async, and its figure; None without one."""
    peers = [
        (server, value)
        for server, figure in found.items()
        if not is_ours(server) and (value := figure.get(name)) is not None
    ]
    if not peers:
        return None
    return (max if more_is_better else min)(peers, key=lambda peer: peer[1])


def quantile(values: Sequence[float], part: float) -> float:
    """Of the sorted values, by linear interpolation; `part` from 0 to 1."""
    ordered = sorted(values)
    place = part * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)

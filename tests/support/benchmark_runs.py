"""Runs of the benchmarks as the tests need them: with the figures that they ask for."""

from __future__ import annotations

import sys

from benchmarks.harness.record import Kind, Measured, Row, Run
from benchmarks.harness.servers import Interpreter

HERE = Interpreter(sys.executable, "/env/bin", "/env", "CPython 3.11.7", {}, {})
"""This Python, as if nothing were installed."""

PLACE = {
    "date": "2026-01-02 03:04 UTC",
    "python": "CPython 3.11.7",
    "commit": "abc",
    "cpu": "A CPU",
    "cores": "2",
    "pinned": "server on core 0, load on core 1",
    "kernel": "Linux 6",
    "wrk": "4.1.0",
}


def make_run(
    values: dict[str, list[float]],
    *,
    more_is_better: bool = True,
    unit: str = "requests/s",
    environment: dict[str, str] | None = None,
    scenario: str = "hello",
    void: tuple[Row, ...] = (),
) -> Run:
    """One scenario, with the values of each server round by round."""
    count = max(map(len, values.values()), default=1)
    return Run(
        PLACE | (environment or {}),
        rounds=count,
        seconds=2.0,
        threads=8,
        servers={name: Measured("1.0", f"run {name}") for name in values},
        scenarios={scenario: Kind("What it does.", unit, more_is_better)},
        rows=[
            Row(scenario, name, number + 1, value=value, p50=1.0, p99=2.0, memory=10_000_000)
            for name, listed in values.items()
            for number, value in enumerate(listed)
        ]
        + list(void),
    )

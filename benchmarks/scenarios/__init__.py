"""The scenarios, by name: each a kind of work, the same for every server."""

from __future__ import annotations

from benchmarks.harness.model import Scenario
from benchmarks.scenarios import (
    bodies,
    front,
    idle,
    latency,
    live,
    processes,
    secure,
    slow,
    throughput,
    told,
)

__all__ = ["SCENARIOS"]

MODULES = (throughput, bodies, slow, idle, live, latency, processes, secure, told, front)

SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario for module in MODULES for scenario in module.SCENARIOS
}

"""How long a single answer takes: beside much work, and after the start."""

from __future__ import annotations

import http.client
import time

from benchmarks import apps
from benchmarks.harness.model import Load, Running, Sample, Scenario, WrongAnswer
from benchmarks.scenarios import programs
from benchmarks.scenarios.answers import ask, expect

__all__ = ["SCENARIOS"]

BUSY_PATH = "/cpu?ms=50"
BUSY = 4
"""Connections."""
LONGEST_START = 20.0
"""Seconds."""
POLL = 0.001
"""Seconds between two attempts to connect."""


def cpu_mix(server: Running, load: Load) -> Sample:
    expect(ask(server.port), apps.BODY)
    expect(ask(server.port, BUSY_PATH), apps.DONE)
    found = programs.run(server, load, "mix", busy=BUSY_PATH, connections=BUSY)
    return Sample(
        value=found["p99"],
        p50=found["p50"],
        p99=found["p99"],
        errors=int(found["errors"]),
        extra={name: found[name] for name in ("most", "answers", "busy_answers")},
    )


def start(server: Running, load: Load) -> Sample:
    begun = time.perf_counter()
    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=LONGEST_START)
            connection.request("GET", "/")
            received = connection.getresponse().read()
            elapsed = time.perf_counter() - begun
            break
        except (OSError, http.client.HTTPException) as error:
            if time.perf_counter() - begun > LONGEST_START:
                raise WrongAnswer(f"no answer within {LONGEST_START:.0f} s") from error
            time.sleep(POLL)
        finally:
            connection.close()
    expect(received, apps.BODY)
    extra = {}
    imported = ask(server.port, f"/imports/{server.name}")
    if imported != apps.BODY:
        extra["import_ms"] = float(imported)
    return Sample(value=elapsed * 1000, extra=extra)


SCENARIOS = (
    Scenario(
        name="cpu-mix",
        about="A trivial request now and then, beside 4 connections that ask for 50 ms of CPU time "
        "each: the 99th percentile of its latency.",
        application="mixed",
        unit="ms",
        measure=cpu_mix,
        more_is_better=False,
    ),
    Scenario(
        name="start",
        about="From the launch of the process to the first answer.",
        application="start",
        unit="ms",
        measure=start,
        more_is_better=False,
        starts_itself=True,
    ),
)

"""What held event streams cost: threads, memory, the speed of the others, time on the processor."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from benchmarks import live
from benchmarks.harness.model import Load, Running, Sample, Scenario, WrongAnswer
from benchmarks.scenarios import programs
from benchmarks.scenarios.slow import compared

__all__ = ["SCENARIOS", "Events", "Held"]

RESERVE = 1000
"""Descriptors that are left for everything else."""
ENOUGH = 100
"""Streams, to tell what one of them takes."""

APPLICATIONS = {
    "wsgi_async": "live:flask",
    "gunicorn": "live:blocking",
    "gunicorn-gevent": "live:blocking",
    "uvicorn": "live:starlette",
    "m0serve-realtime": "live:channels",
}
"""Each server's form of the same application."""


def allowed(wanted: int) -> int:
    """So many streams, or as many as the limit of descriptors allows, which is said then."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY or limit - RESERVE >= wanted:
        return wanted
    fewer = max(1, limit - RESERVE)
    print(f"{fewer} streams instead of {wanted}: {limit} descriptors are allowed", file=sys.stderr)
    return fewer


def _begun(found: Mapping[str, float]) -> float:
    """How many were begun, at most.

    :raises WrongAnswer: none.
    """
    if not found["most"]:
        raise WrongAnswer("it holds no event stream")
    return found["most"]


@dataclass(frozen=True)
class Held:
    """How many streams a server holds in which nothing happens; and beside them the speed of
    ordinary requests, as a part of what it is without them."""

    streams: int = 10_000

    def __call__(self, server: Running, load: Load) -> Sample:
        found: dict[str, float] = {"asked": allowed(self.streams)}

        def meanwhile() -> Iterator[dict[str, float]]:
            before = server.memory()
            options = {"path": live.HELD, "streams": int(found["asked"])}
            with programs.beside(server, load, "streams", **options) as client:
                found["most"] = _begun(client.ready)
                if found["most"] >= ENOUGH:
                    found["bytes_each"] = max(0, server.memory() - before) / found["most"]
                if client.ready["filled"]:
                    found["begun_per_s"] = found["most"] / client.ready["filled"]
                yield found
                found["ended"] = client.finish()["ended"]

        sample = compared(server, load, meanwhile)
        extra = {**sample.extra, "speed": sample.value}
        del extra["most"]
        ended = int(extra.pop("ended"))
        return Sample(found["most"], sample.p50, sample.p99, sample.errors + ended, extra)


@dataclass(frozen=True)
class Events:
    """What an event costs and how late it comes, where each of many streams has its own, once a
    second."""

    streams: int = 1000
    seconds: float = 10.0
    """At least: an event is rarer than a request."""

    def __call__(self, server: Running, load: Load) -> Sample:
        asked = allowed(self.streams)
        options = {"path": live.TICKING, "streams": asked}
        with programs.beside(server, load, "streams", **options) as client:
            most = _begun(client.ready)
            before = server.cpu()
            time.sleep(max(self.seconds, load.seconds))
            used = server.cpu() - before
            found = client.finish()
        if not found["came"]:
            raise WrongAnswer("no event came in time")
        unheld = asked - found["held"]
        everything = found["due"] + unheld * found["seconds"] / live.EVERY
        return Sample(
            value=used / found["came"] * 1e6,
            p50=found["p50"],
            p99=found["p99"],
            errors=int(found["ended"] + found["due"] - found["came"]),
            extra={
                "held": most,
                "delivered": found["came"] / everything,
                "cpu": used / found["seconds"],
                "client_busy": found["client_busy"],
            },
        )


SCENARIOS = (
    Scenario(
        name="live-held",
        about="Held event streams in which nothing happens, of 10,000 that are asked for: how many "
        "one process holds, the memory of its processes for each, and the part of the speed of 16 "
        "connections with ordinary requests that is left beside them.",
        application="live:flask",
        applications=APPLICATIONS,
        unit="streams",
        measure=Held(),
        servers=tuple(APPLICATIONS),
        also=tuple(APPLICATIONS),
    ),
    Scenario(
        name="live-events",
        about="1,000 event streams with one event a second each, every stream at its own moment: "
        "the time on the processor that the server takes for an event, and how late events come.",
        application="live:flask",
        applications=APPLICATIONS,
        unit="µs/event",
        measure=Events(),
        more_is_better=False,
        servers=tuple(APPLICATIONS),
        also=tuple(APPLICATIONS),
    ),
)

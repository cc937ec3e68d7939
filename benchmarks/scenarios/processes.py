"""Two processes that share an address: how fast they are, and how evenly they share."""

from __future__ import annotations

import contextlib
import http.client
import time
from collections import Counter
from dataclasses import dataclass

from benchmarks import apps
from benchmarks.harness.model import Load, Running, Sample, Scenario, WrongAnswer
from benchmarks.scenarios import wrk
from benchmarks.scenarios.answers import ask, expect
from benchmarks.scenarios.throughput import CONNECTIONS, HEADERS, expect_view

__all__ = ["SCENARIOS", "Spread"]

PROCESSES = 2
START = 20.0
"""Seconds until all of them answer."""
NOTICED = 0.2
"""Seconds in which a server notices that connections were closed."""
TIMEOUT = 10.0

TWO = f"--workers {PROCESSES}"
OPTIONS = dict.fromkeys(("wsgi_async", "wsgi_async-h11", "granian", "gunicorn"), TWO)


class Kept(contextlib.ExitStack):
    """Connections that are kept; all are closed at the end."""

    def open(self, port: int, count: int) -> Counter[int]:
        """Open so many at once; how many each process has got.

        :raises WrongAnswer: one is not answered with the number of a process.
        """
        made = []
        try:
            for _ in range(count):
                made.append(http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT))
                self.callback(made[-1].close)
                made[-1].connect()
            for connection in made:
                connection.request("GET", apps.WHO)
            return Counter(map(_who, made))
        except (OSError, http.client.HTTPException) as error:
            raise WrongAnswer(f"{apps.WHO}: {error!r}") from error


def _who(connection: http.client.HTTPConnection) -> int:
    response = connection.getresponse()
    body = response.read()
    if response.status != 200 or not body.isdigit():
        raise WrongAnswer(f"{apps.WHO}: status {response.status}, {body[:80]!r} is no process")
    return int(body)


def wait_for_all(port: int) -> None:
    """Until each process has answered.

    :raises WrongAnswer: that takes too long.
    """
    deadline = time.monotonic() + START
    seen: set[int] = set()
    while len(seen) < PROCESSES:
        if time.monotonic() > deadline:
            raise WrongAnswer(f"{len(seen)} processes answer instead of {PROCESSES}")
        with Kept() as kept:
            seen |= set(kept.open(port, 8 * PROCESSES))
        time.sleep(NOTICED)
    if len(seen) > PROCESSES:
        raise WrongAnswer(f"{len(seen)} processes answer instead of {PROCESSES}")


def hello(server: Running, load: Load) -> Sample:
    expect(ask(server.port), apps.BODY)
    wait_for_all(server.port)
    return wrk.sample(wrk.run(server, load, connections=CONNECTIONS))


def json_view(server: Running, load: Load) -> Sample:
    expect_view(ask(server.port, "/articles/1/comments?page=2&sort=new", headers=HEADERS))
    wait_for_all(server.port)
    return wrk.sample(wrk.run(server, load, connections=CONNECTIONS, script="varied.lua"))


@dataclass(frozen=True)
class Spread:
    """Who gets the connections: of some that are opened at once, and of some in turn."""

    at_once: tuple[int, ...] = (64, 256, 64)
    in_turn: int = 64

    def __call__(self, server: Running, load: Load) -> Sample:
        wait_for_all(server.port)
        found: dict[str, float] = {"at_once": 0.0, "in_turn": 0.0}
        for count in self.at_once:
            with Kept() as kept:
                spread = kept.open(server.port, count)
            found["at_once"] = max(found["at_once"], _unevenness(spread))
            time.sleep(NOTICED)
        with Kept() as kept:
            spread = Counter()
            for _ in range(self.in_turn):
                spread += kept.open(server.port, 1)
        found["in_turn"] = _unevenness(spread)
        return Sample(value=max(found.values()), extra=found)


def _unevenness(spread: Counter[int]) -> float:
    """What the process with the most has, by an even share."""
    return max(spread.values()) * PROCESSES / spread.total()


SCENARIOS = (
    Scenario(
        name="processes",
        about="The constant answer from two processes, on all cores beside the load; 64 "
        "keep-alive connections.",
        application="processes",
        unit="requests/s",
        measure=hello,
        options=OPTIONS,
        servers=tuple(OPTIONS),
        pinned=False,
    ),
    Scenario(
        name="processes-flask",
        about="The JSON view in Flask from two processes, on all cores beside the load; varied "
        "heads.",
        application="processes_flask",
        unit="requests/s",
        measure=json_view,
        options=OPTIONS,
        servers=tuple(OPTIONS),
        pinned=False,
    ),
    Scenario(
        name="processes-spread",
        about="Kept connections to two processes, 64 and 256 opened at once and 64 in turn: "
        "those of the process that has the most, by an even share; the worst.",
        application="processes",
        unit="ratio",
        measure=Spread(),
        more_is_better=False,
        options=OPTIONS,
        servers=tuple(OPTIONS),
        pinned=False,
    ),
)

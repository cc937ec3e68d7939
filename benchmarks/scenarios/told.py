"""What it costs that somebody is told of each request, by logs, metrics, statsd, times: of the
constant answer and of the view in Flask, which are ``hello`` and ``flask`` without any of it."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from typing import NamedTuple

from benchmarks.harness.model import Load, Running, Sample, Scenario
from benchmarks.scenarios.throughput import hello, json_view

__all__ = ["SCENARIOS", "STATSD_PORT"]

STATSD_PORT = 18125
"""Below those that the kernel gives to clients, as those of the servers are."""

LOG = {
    "wsgi_async": "--access-logfile access.log",
    "gunicorn": "--access-logfile access.log",
    "granian": "--access-log",
}
METRICS = {
    "wsgi_async": "--metrics-bind unix:metrics.sock",
    "granian": "--metrics --metrics-port 19090",
}
STATSD = {
    "wsgi_async": f"--statsd-host 127.0.0.1:{STATSD_PORT}",
    "gunicorn": f"--statsd-host 127.0.0.1:{STATSD_PORT}",
}


class _Who(NamedTuple):
    name: str
    about: str
    options: dict[str, str]


def _with(options: dict[str, str], more: dict[str, str]) -> dict[str, str]:
    return {name: f"{text} {more[name]}" for name, text in options.items() if name in more}


TOLD = (
    _Who("log", "with an access log to a file", LOG),
    _Who(
        "json", "with an access log in JSON", _with(LOG, {"wsgi_async": "--access-logformat json"})
    ),
    _Who("metrics", "with metrics for Prometheus, which nobody scrapes", METRICS),
    _Who("statsd", "with metrics sent to statsd by UDP, which nobody reads", STATSD),
    _Who(
        "both",
        "with an access log, and metrics for Prometheus or, where there are none, statsd",
        _with(LOG, METRICS | {"gunicorn": STATSD["gunicorn"]}),
    ),
    _Who("timing", "with a Server-Timing field", {"wsgi_async": "--server-timing"}),
)


def _heard(measure: Callable[[Running, Load], Sample]) -> Callable[[Running, Load], Sample]:
    """Beside a socket that takes what is sent to statsd: of a port where nobody listens a sender is
    told."""

    def heard(server: Running, load: Load) -> Sample:
        with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as receiver:
            receiver.bind(("127.0.0.1", STATSD_PORT))
            return measure(server, load)

    return heard


def _scenarios(
    prefix: str, what: str, application: str, measure: Callable[[Running, Load], Sample]
) -> list[Scenario]:
    return [
        Scenario(
            name=f"{prefix}-{who.name}",
            about=f"{what} {who.about}.",
            application=application,
            unit="requests/s",
            measure=_heard(measure),
            options=who.options,
            servers=tuple(who.options),
        )
        for who in TOLD
    ]


SCENARIOS = (
    *_scenarios("told", "The constant answer of `hello`,", "hello", hello),
    *_scenarios("told-flask", "The view of `flask`,", "flask", json_view),
)

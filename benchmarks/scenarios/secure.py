"""Over TLS: small answers, new connections with their handshakes, a file, idle connections."""

from __future__ import annotations

import functools

from benchmarks import apps
from benchmarks.harness.model import Load, Running, Sample, Scenario
from benchmarks.scenarios import bodies, programs, throughput
from benchmarks.scenarios.answers import ask, expect
from benchmarks.scenarios.idle import Idle

__all__ = ["SCENARIOS"]

ALSO = ("uvicorn-a2wsgi", "hypercorn")
"""Servers that face the Internet more often than the speed of their WSGI would tell."""
VISITS = 16
"""Connections at once, each with its handshake, one request, and its end."""


def handshakes(server: Running, load: Load) -> Sample:
    """wrk cannot do it: it goes on with the session of the connection before, also where that was
    closed, which saves the server most of the work."""
    expect(ask(server.port, headers={"Connection": "close"}, tls=True), apps.BODY)
    body = apps.BODY.decode("ascii")
    found = programs.run(server, load, "handshakes", body=body, connections=VISITS)
    return Sample(
        value=found["answers"] / found["seconds"],
        p50=found.get("p50"),
        p99=found.get("p99"),
        errors=int(found["errors"]),
        extra={"client_busy": found["busy"]},
    )


_over_tls = functools.partial(Scenario, also=ALSO, tls=True)

SCENARIOS = (
    _over_tls(
        name="tls",
        about="The constant answer over TLS 1.3, 64 keep-alive connections.",
        application="hello",
        unit="requests/s",
        measure=throughput.hello,
    ),
    _over_tls(
        name="tls-flask",
        about="The JSON view in Flask over TLS 1.3; varied heads.",
        application="flask",
        unit="requests/s",
        measure=throughput.json_view,
    ),
    _over_tls(
        name="tls-handshakes",
        about="A new connection with a full handshake of TLS 1.3 for each request, 16 at a time; "
        "no session is gone on with.",
        application="hello",
        unit="requests/s",
        measure=handshakes,
    ),
    _over_tls(
        name="tls-file",
        about="A file of 64 MiB by wsgi.file_wrapper over TLS 1.3, 4 connections.",
        application="file",
        unit="MB/s",
        measure=bodies.file,
    ),
    _over_tls(
        name="tls-idle",
        about="5,000 idle connections over TLS 1.3 that have had one answer each: memory of the "
        "server's processes per connection.",
        application="mixed",
        unit="bytes",
        measure=Idle(connections=5_000),
        more_is_better=False,
    ),
)

"""How many requests per second: small ones, real heads, frameworks, new connections, sleepers."""

from __future__ import annotations

import json

from benchmarks import apps
from benchmarks.harness.model import Load, Running, Sample, Scenario, WrongAnswer
from benchmarks.scenarios import wrk
from benchmarks.scenarios.answers import ask, expect

__all__ = ["CONNECTIONS", "HEADERS", "SCENARIOS", "expect_view", "hello", "json_view"]

CONNECTIONS = 64
HEADERS = {"Cookie": "session=0123456789abcdef; user=u7", "X-Request-ID": "0123456789abcdef"}


def hello(server: Running, load: Load) -> Sample:
    expect(ask(server.port, tls=server.tls), apps.BODY)
    return wrk.sample(wrk.run(server, load, connections=CONNECTIONS))


def varied(server: Running, load: Load) -> Sample:
    expect(ask(server.port, "/articles/1/comments?page=1", headers=HEADERS), apps.BODY)
    return wrk.sample(wrk.run(server, load, connections=CONNECTIONS, script="varied.lua"))


def expect_view(received: bytes) -> None:
    """:raises WrongAnswer: it is not what the view answers to this path and these headers."""
    try:
        found = json.loads(received)
    except ValueError as error:
        raise WrongAnswer(f"not JSON: {received[:80]!r}") from error
    if found != {"path": "articles/1/comments", "page": "2", "user": "u7"}:
        raise WrongAnswer(f"the view says {found!r}")


def json_view(server: Running, load: Load) -> Sample:
    target = "/articles/1/comments?page=2&sort=new"
    expect_view(ask(server.port, target, headers=HEADERS, tls=server.tls))
    return wrk.sample(wrk.run(server, load, connections=CONNECTIONS, script="varied.lua"))


def close(server: Running, load: Load) -> Sample:
    header = {"Connection": "close"}
    expect(ask(server.port, headers=header), apps.BODY)
    options = ["-H", "Connection: close"]
    return wrk.sample(wrk.run(server, load, connections=CONNECTIONS, options=options))


def sleep(server: Running, load: Load) -> Sample:
    expect(ask(server.port), apps.BODY)
    report = wrk.run(server, load, connections=CONNECTIONS)
    possible = server.threads / apps.SLEEP
    return wrk.sample(report, report.rate / possible, rate=report.rate)


SCENARIOS = (
    Scenario(
        name="hello",
        about="A constant answer of 14 bytes, 64 keep-alive connections.",
        application="hello",
        unit="requests/s",
        measure=hello,
    ),
    Scenario(
        name="varied",
        about="The same with heads as browsers send them, each with another path, query, "
        "cookie and request id.",
        application="hello",
        unit="requests/s",
        measure=varied,
    ),
    Scenario(
        name="flask",
        about="A JSON view in Flask that reads path, query and cookie; varied heads.",
        application="flask",
        unit="requests/s",
        measure=json_view,
    ),
    Scenario(
        name="django",
        about="A JSON view in Django that reads path, query and cookie; varied heads.",
        application="django",
        unit="requests/s",
        measure=json_view,
    ),
    Scenario(
        name="close",
        about="A new connection for each request, 64 at a time.",
        application="hello",
        unit="requests/s",
        measure=close,
    ),
    Scenario(
        name="sleep",
        about="An application that sleeps for 20 ms, 64 connections: "
        "the part of threads / 20 ms that is reached.",
        application="sleep",
        unit="ratio",
        measure=sleep,
    ),
)

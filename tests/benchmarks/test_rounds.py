"""Rounds of measurements: who takes turns with whom, and what voids one."""

from __future__ import annotations

import dataclasses
import io
import os
import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from benchmark_runs import HERE

from benchmarks.harness import processes, rounds
from benchmarks.harness.model import Load, Running, Sample, Scenario, WrongAnswer
from benchmarks.harness.servers import Template

LISTEN = """
import socket, sys
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("serving", flush=True)
while True:
    server.accept()[0].close()
"""


def template(code: str, name: str = "fake") -> Template:
    """A server of one's own: a program that is given its port."""
    return Template(name, f"{{python}} -c '{code}' {{port}}", name)


Measure = Callable[[Running, Load], Sample]


def make_plan(tmp_path: Path, measure: Measure, count: int = 2, code: str = LISTEN) -> rounds.Plan:
    """A scenario measured by `measure`, for two servers that do nothing but accept."""
    contenders = [rounds.Contender(name, template(code, name), tmp_path) for name in ("a", "b")]
    one = Scenario("hello", "About.", "hello", "ms", measure)
    return rounds.Plan(contenders, {"hello": one}, HERE, count, 0.1, 8)


def test_servers_take_turns_and_every_other_round_goes_backwards(tmp_path: Path) -> None:
    progress = io.StringIO()
    plan = make_plan(tmp_path, lambda server, load: Sample(server.port, p99=1.5, errors=2))
    rows = list(rounds.measure(plan, progress=progress))
    assert [(row.server, row.round) for row in rows] == [("a", 1), ("b", 1), ("b", 2), ("a", 2)]
    assert all(20_000 <= (row.value or 0) < 30_000 for row in rows)
    lines = progress.getvalue().splitlines()
    assert len(lines) == 4
    assert re.match(
        r"\[1/4, 0 min left\] hello 1/2 a: 2\d,\d00 ms, p99 1\.5 ms, .*2 FAILED", lines[0]
    )


def test_who_has_no_tls_or_is_not_asked_for_does_not_take_part(tmp_path: Path) -> None:
    contenders = [
        rounds.Contender("a", Template("a", "", "", tls="--cert"), tmp_path),
        rounds.Contender("b", Template("b", "", "", no_tls="it has none"), tmp_path),
        rounds.Contender("c", Template("c", "", "", tls="--cert"), tmp_path, only_also=True),
    ]

    def measure(server: Running, load: Load) -> Sample:
        raise AssertionError

    scenarios = {
        "plain": Scenario("plain", "", "", "ms", measure),
        "tls": Scenario("tls", "", "", "ms", measure, tls=True),
        "more": Scenario("more", "", "", "ms", measure, tls=True, also=("c",)),
    }
    plan = rounds.Plan(contenders, scenarios, HERE, 1, 0.1, 8)
    steps = [(scenario.name, contender.label) for scenario, _, contender in plan.steps()]
    assert sorted(steps) == [
        *(("more", "a"), ("more", "c")),
        *(("plain", "a"), ("plain", "b")),
        ("tls", "a"),
    ]
    assert plan.most == 5


@pytest.mark.parametrize("pinned", [True, False])
def test_a_server_and_its_load_have_their_own_cores_unless_they_may_use_all(
    tmp_path: Path, pinned: bool
) -> None:
    pins: list[tuple[str, ...]] = []

    def measure(server: Running, load: Load) -> Sample:
        assert isinstance(server, processes.Server)
        assert server._process is not None
        allowed = os.sched_getaffinity(server._process.pid)
        pins.append(load.pin)
        return Sample(len(allowed))

    plan = make_plan(tmp_path, measure, count=1)
    scenarios = {"hello": dataclasses.replace(plan.scenarios["hello"], pinned=pinned)}
    plan = dataclasses.replace(plan, scenarios=scenarios)
    values = [row.value for row in rounds.measure(plan, progress=io.StringIO())]
    if pinned:
        assert pins == [processes.pins().load] * 2
        assert values == [1 if processes.pins().server else len(os.sched_getaffinity(0))] * 2
    else:
        assert pins == [()] * 2
        assert values == [len(os.sched_getaffinity(0))] * 2


def test_a_wrong_answer_ends_a_servers_rounds(tmp_path: Path) -> None:
    def measure(server: Running, load: Load) -> Sample:
        if server.name == "a":
            raise WrongAnswer("404")
        return Sample(1.0)

    rows = list(rounds.measure(make_plan(tmp_path, measure), progress=io.StringIO()))
    assert [(row.server, row.void, row.wrong) for row in rows] == [
        ("a", "wrong answer: 404", True),
        ("b", None, False),
        ("b", None, False),
    ]


def test_a_client_that_fails_voids_a_round_only(tmp_path: Path) -> None:
    def measure(server: Running, load: Load) -> Sample:
        raise ValueError("nothing came")

    rows = list(rounds.measure(make_plan(tmp_path, measure), progress=io.StringIO()))
    assert [row.void for row in rows] == ["ValueError: nothing came"] * 4


def test_a_measurement_that_does_not_end_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "PATIENCE", -0.9)

    def measure(server: Running, load: Load) -> Sample:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.accept()
        return Sample(1.0)

    rows = list(rounds.measure(make_plan(tmp_path, measure, count=1), progress=io.StringIO()))
    assert [row.void for row in rows] == ["the measurement did not end"] * 2


def test_a_server_that_ends_under_load_is_told_as_such(tmp_path: Path) -> None:
    code = LISTEN.replace("while True:", "for _ in range(2):")

    def measure(server: Running, load: Load) -> Sample:
        # The first connection was the one that waited for the port, and this is the last one.
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
            client.recv(1)
        raise WrongAnswer("cut short")

    plan = make_plan(tmp_path, measure, count=1, code=code)
    rows = list(rounds.measure(plan, progress=io.StringIO()))
    assert [(row.void, row.wrong) for row in rows] == [
        ("the server ended with 0: serving", False)
    ] * 2

"""Measurements where somebody is told of each request: the options that ask for it are there."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest
from benchmark_targets import Target
from tools import python, require_module, require_program, running

from benchmarks.harness import servers
from benchmarks.harness.model import Load, Scenario
from benchmarks.scenarios import SCENARIOS
from wsgi_async.cli import main

TOLD = [scenario for scenario in SCENARIOS.values() if scenario.name.startswith("told")]
LOAD = Load(seconds=0.2, pin=(), python=sys.executable)

each_scenario = pytest.mark.parametrize("scenario", TOLD, ids=lambda scenario: scenario.name)


@each_scenario
def test_the_options_are_there(scenario: Scenario, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*shlex.split(scenario.options["wsgi_async"]), "app", "--print-config"])
    out, err = capsys.readouterr()
    assert (caught.value.code, err) == (0, "")
    assert "# command line" in out


@each_scenario
def test_others_are_measured_where_they_have_it_too(scenario: Scenario) -> None:
    assert (
        set(scenario.servers or ())
        == set(scenario.options)
        <= {"wsgi_async", "gunicorn", "granian"}
    )
    for template in servers.load().values():
        assert template.suits(scenario) is (template.name in scenario.options)


@pytest.mark.soak
@each_scenario
def test_each_is_measured(scenario: Scenario, tmp_path: Path) -> None:
    require_program("wrk")
    require_module("flask")
    require_module("prometheus_client")
    options = shlex.split(scenario.options["wsgi_async"])
    command = python("-m", "wsgi_async", "--bind", "127.0.0.1:0", *options)
    application = f"benchmarks.apps:{scenario.application}"
    with running(*command, application, cwd=tmp_path) as process:
        sample = scenario.measure(Target(int(process.url.rpartition(":")[2])), LOAD)
    assert sample.errors == 0
    assert sample.value > 0

"""Measurements behind nginx: each protocol reaches the application, and what fails is named."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from benchmark_targets import Target
from serving import serving
from tools import require_program

from benchmarks import apps
from benchmarks.harness.model import Load, WrongAnswer
from benchmarks.scenarios import SCENARIOS, front

LOAD = Load(seconds=0.5, pin=(), python=sys.executable)


@pytest.mark.parametrize("protocol", front.PROTOCOLS)
def test_the_view_is_asked_through_nginx(protocol: str) -> None:
    require_program("nginx")
    require_program("wrk")
    scenario = SCENARIOS[f"front-{protocol}"]
    options = scenario.options.get("wsgi_async", "--protocol http").split()
    assert options == ["--protocol", protocol]
    with serving(apps.__getattr__("flask"), threads=2, protocol=protocol) as served:
        sample = scenario.measure(Target(served.address[1]), LOAD)
        assert sample.value > 0
        assert sample.errors == 0
        finished = served.recorder.of("request_finished")
        assert len(finished) >= sample.value * LOAD.seconds


@pytest.mark.parametrize("protocol", front.PROTOCOLS)
def test_a_wrong_answer_is_none(protocol: str) -> None:
    require_program("nginx")
    with serving(apps.hello, threads=2, protocol=protocol) as served:
        server = Target(served.address[1])
        with pytest.raises(WrongAnswer, match="not JSON"):
            SCENARIOS[f"front-{protocol}"].measure(server, LOAD)


def test_a_server_of_another_protocol_is_none() -> None:
    require_program("nginx")
    with serving(apps.hello, threads=2) as served:
        server = Target(served.address[1])
        with pytest.raises(WrongAnswer, match=r"status (400|502)"):
            SCENARIOS["front-uwsgi"].measure(server, LOAD)


def test_without_nginx_there_is_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(front.NoFront, match="not installed"), front.nginx(Target(1), LOAD, "http"):
        pass


def test_what_nginx_says_as_it_ends_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    require_program("nginx")
    monkeypatch.setattr(front, "PARAMS", str(tmp_path))
    with pytest.raises(front.NoFront, match="uwsgi_params"), front.nginx(Target(1), LOAD, "uwsgi"):
        pass

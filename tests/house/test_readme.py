"""The README tells the truth: its commands, options and files exist, and it stays short."""

from __future__ import annotations

import re

import pytest
from prose import HELP, cells, options, section
from tools import ROOT

from wsgi_async.config.other_servers import ABSENT
from wsgi_async.help.tables import options_table

README = (ROOT / "README.md").read_text(encoding="utf-8")
BENCHMARKS = section(README, "benchmarks")
COMING_FROM = section(README, "coming-from")
ACTIONS = "`--help` `--print-config` `--check-config` `--guide`"


def test_it_is_short() -> None:
    assert len(README.replace(BENCHMARKS, "").splitlines()) <= 250


def test_every_example_is_listed() -> None:
    listed = set(re.findall(r"`(?:examples/)?(\w+\.py)`", section(README, "examples")))
    assert listed == {path.name for path in (ROOT / "examples").glob("*.py")}


def test_every_guide_is_listed() -> None:
    listed = re.findall(
        r"\[`([\w-]+)`\]\(wsgi_async/help/([\w-]+)\.md\)", section(README, "guides")
    )
    assert all(name == file for name, file in listed)
    assert sorted(name for name, _ in listed) == sorted(path.stem for path in HELP.glob("*.md"))


def test_there_is_one_command_to_serve_and_one_to_test() -> None:
    commands = re.findall(r"^\$ (python3 -m venv .*)$", README, re.MULTILINE)
    assert len(commands) == 2
    serve, test = commands
    served = re.search(r"examples/\S+\.py", serve)
    assert served is not None
    assert (ROOT / served[0]).is_file()
    assert test.endswith("-m pytest -n auto")


@pytest.mark.parametrize("name", options(README.replace(COMING_FROM, "").replace(BENCHMARKS, "")))
def test_options_that_are_mentioned_exist(name: str) -> None:
    planned = {"--workers"}  # the other option of the same name
    assert f"`{name}`" in options_table() + ACTIONS or name in planned


@pytest.mark.parametrize("server", cells(COMING_FROM))
def test_what_is_lost_is_said_and_true(server: str) -> None:
    lost = dict(zip(cells(COMING_FROM), cells(COMING_FROM, 3), strict=True))[server]
    assert lost
    for name in options(lost):
        assert name in ABSENT, f"{name} is not refused"
        assert f"`{name}`" not in options_table()

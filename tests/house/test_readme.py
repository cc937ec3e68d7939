"""The README tells the truth: its tables come from the code, its commands exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from wsgi_async.cli import options_table, signals_table

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def section(name: str) -> str:
    found = re.search(rf"<!-- {name}:begin -->\n(.*?)\n?<!-- {name}:end -->", README, re.DOTALL)
    assert found is not None, f"README.md has no section {name}"
    return found[1].strip()


def test_the_options_table_is_the_generated_one() -> None:
    expected = options_table().strip()
    assert section("options") == expected, (
        "README.md is out of date; put in the output of "
        "python -c 'from wsgi_async.cli import options_table; print(options_table())'"
    )


def test_the_signals_table_is_the_generated_one() -> None:
    assert section("signals") == signals_table().strip(), (
        "README.md is out of date; put in the output of "
        "python -c 'from wsgi_async.cli import signals_table; print(signals_table())'"
    )


def test_every_example_is_listed() -> None:
    listed = set(re.findall(r"`(?:examples/)?(\w+\.py)`", section("examples")))
    assert listed == {path.name for path in (ROOT / "examples").glob("*.py")}


def test_there_is_one_command_to_serve_and_one_to_test() -> None:
    commands = re.findall(r"^\$ (python3 -m venv .*)$", README, re.MULTILINE)
    assert len(commands) == 2
    serve, test = commands
    served = re.search(r"examples/\S+\.py", serve)
    assert served is not None
    assert (ROOT / served[0]).is_file()
    assert test.endswith("-m pytest -n auto")


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(--[a-z-]+)`", README))))
def test_options_that_are_mentioned_exist(name: str) -> None:
    planned = {"--workers"}  # named under "What it does not do yet"
    shown = options_table() + "`--help` `--print-config` `--check-config`"
    assert f"`{name}`" in shown or name in planned


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:tests|handoff)/\w+\.py)`", README))))
def test_files_that_are_mentioned_exist(path: str) -> None:
    assert (ROOT / path).is_file() or (ROOT / "wsgi_async" / path).is_file()

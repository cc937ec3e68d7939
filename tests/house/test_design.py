"""`wsgi_async/DESIGN.md` tells the truth: what it names exists."""

from __future__ import annotations

import ast
import re

import pytest
from prose import cells, names, section, words
from tools import ROOT

from wsgi_async.help.tables import options_table

PACKAGE = ROOT / "wsgi_async"
TEXT = (PACKAGE / "DESIGN.md").read_text(encoding="utf-8")
WORDS = sorted(set(words(TEXT)))

PATHS = [word for word in WORDS if re.fullmatch(r"[\w.-]+(/[\w.-]+)*(/|\.(py|md))", word)]
COMMANDS = [word for word in WORDS if re.match(r"python |gunicorn |manage\.py ", word)]
OPTIONS = [word for word in WORDS if word.startswith("--")]
NAMES = [
    word.removesuffix("()")
    for word in WORDS
    if word not in PATHS and re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(\(\))?", word)
]
CORE = (
    *("http", "http1", "proxies", "wsgi", "buffers", "threads", "connection", "server"),
    *("config", "system", "processes", "launch", "applications", "logs", "help"),
    *("scoreboard", "operations", "ctl", "realtime", "gateways"),
)
"""Packages whose docstring is the table of their contents."""
OTHERS = {
    *("-", "Connection: close", "bytes=0-0", "module:attr", "ls wsgi_async"),
    "request_buffering=stream",
}
"""What else stands in backticks."""


def test_all_that_is_quoted_is_looked_at() -> None:
    assert set(WORDS) - {*PATHS, *COMMANDS, *OPTIONS} <= OTHERS | {
        form for name in NAMES for form in (name, f"{name}()")
    }


def test_paths_exist() -> None:
    places = PACKAGE, ROOT
    assert [path for path in PATHS if not any((at / path).exists() for at in places)] == []


def test_the_plan_is_the_house() -> None:
    planned = {cell.strip("`") for cell in cells(section(TEXT, "plan"))}
    there = {
        f"{path.name}/" if path.is_dir() else path.name
        for path in PACKAGE.iterdir()
        if (path.is_file() or any(path.glob("*.py")))  # and not what Python has left of a package
        and not path.name.startswith("_")
        and path.name != "DESIGN.md"
        and path.suffix != ".typed"
    }
    assert planned == there


def test_names_exist() -> None:
    others = ("wsgi.", "os.", "sys.")  # PEP 3333's keys, and the standard library
    ours = [name for name in NAMES if not name.startswith(others)]
    assert [name for name in ours if not set(name.split(".")) <= names()] == []


def test_tests_that_are_named_are_tests() -> None:
    tests = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    named = [name for name in NAMES if name.startswith("test_")]
    assert len(named) > 50
    assert [name for name in named if f"def {name}(" not in tests] == []


def test_options_exist() -> None:
    there = options_table() + "`--help` `--version` `--guide`"
    assert [option for option in OPTIONS if f"`{option}`" not in there] == []


def test_every_decision_has_its_number_and_what_shows_it_again() -> None:
    decisions = TEXT.partition("\n## Decisions\n")[2]
    numbers = [int(number) for number in re.findall(r"^(\d+)\. ", decisions, re.MULTILINE)]
    assert numbers == list(range(1, len(numbers) + 1))
    for decision in re.split(r"^(?=\d+\. )", decisions, flags=re.MULTILINE)[1:]:
        assert re.search(r"`(test_\w+|python [^`]+)`", decision), "what holds or repeats it?"


def test_commands_would_measure_something() -> None:
    from benchmarks.micro.cases import BENCHMARKS
    from benchmarks.scenarios import SCENARIOS

    for command in COMMANDS:
        if match := re.search(r"benchmarks\.micro .*--only (\S+)", command):
            assert any(f"{row}.".startswith(f"{match[1]}.") for row in BENCHMARKS), command
        elif match := re.search(r"benchmarks --scenarios (.+)", command):
            assert match[1] in SCENARIOS, command
        elif match := re.fullmatch(r"python -m ([\w.]+)", command):
            module = ROOT / match[1].replace(".", "/")
            assert module.with_suffix(".py").is_file() or (module / "__main__.py").is_file()


@pytest.mark.parametrize("room", CORE)
def test_a_package_names_its_modules_and_nothing_that_is_none(room: str) -> None:
    text = ast.get_docstring(ast.parse((PACKAGE / room / "__init__.py").read_text("utf-8"))) or ""
    named = set(re.findall(r"``([a-z_]\w*)``", text))
    assert named == {path.stem for path in (PACKAGE / room).glob("*.py")} - {"__init__"}

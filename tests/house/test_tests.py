"""The tests mirror the house, their files can be read, and what they share is listed."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tools import ROOT

TESTS = ROOT / "tests"
LONGEST = 520
"""Lines of a file: about 500."""


def rows(heading: str) -> dict[str, str]:
    """A table of tests/README.md: the first column, as code, and the second."""
    text = (TESTS / "README.md").read_text(encoding="utf-8")
    table = re.search(rf"^\| {heading} \|.*\n((?:\|.*\n)+)", text, re.MULTILINE)
    assert table is not None
    return dict(re.findall(r"^\| `([^`]+)` \| (.*) \|$", table[1], re.MULTILINE))


def test_units_are_tested_where_they_live() -> None:
    rooms = {path.name for path in (ROOT / "wsgi_async").iterdir() if path.is_dir()}
    assert {path.name for path in (TESTS / "unit").iterdir() if path.is_dir()} - rooms <= {
        "__pycache__"
    }


def test_no_file_is_too_long() -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in TESTS.rglob("*.py")
    }
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}


def test_each_directory_says_what_runs_there() -> None:
    there = {f"{path.name}/" for path in TESTS.iterdir() if holds_files(path)}
    assert set(rows("Directory")) == there


def holds_files(path: Path) -> bool:
    """Whether it is a directory of ours, and not what Python has left of one that is gone."""
    files = (file for file in path.rglob("*") if file.is_file())
    return any("__pycache__" not in file.parts for file in files)


def test_what_tests_share_is_listed() -> None:
    said = {path.stem: first_words(path) for path in (TESTS / "support").glob("*.py")}
    assert rows("Module") == said


def first_words(path: Path) -> str:
    """The first paragraph of a module's docstring, as Markdown."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert text is not None, f"{path.name} says nothing of itself"
    first = " ".join(text.split("\n\n")[0].split())
    return first.replace("``", "`").replace("|", "\\|").replace(":meth:", "")

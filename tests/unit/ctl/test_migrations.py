"""What `wsgi-asyncctl migrate` says of configurations as people write them.

Each file in `migrations/` is one: what there is (`=== file NAME`), what is asked (`=== migrate
ARGUMENTS`, as on the command line), the report that was looked at, and its exit code. Run as a
program this writes the reports anew.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest

from wsgi_async import cli
from wsgi_async.config.sources import gather
from wsgi_async.ctl.migrate import reporting
from wsgi_async.ctl.migrate.report import Plan
from wsgi_async.ctl.text import Screen

DIRECTORY = Path(__file__).parent / "migrations"
PROCESSORS = 4


class Case(NamedTuple):
    path: Path
    files: dict[str, str]
    arguments: list[str]
    report: str
    code: int

    @property
    def head(self) -> str:
        """All of the file but the report and the code."""
        return re.split("^=== migrate ", self.path.read_text("utf-8"), flags=re.M)[0]


def read(path: Path) -> Case:
    parts = re.split(r"^=== (file|migrate|exit)[ ]?(.*)\n", path.read_text("utf-8"), flags=re.M)[1:]
    entries = list(zip(parts[::3], parts[1::3], parts[2::3], strict=True))
    files = {name: text for kind, name, text in entries if kind == "file"}
    arguments, report = next((name, text) for kind, name, text in entries if kind == "migrate")
    codes = [int(name) for kind, name, _ in entries if kind == "exit"]
    return Case(path, files, shlex.split(arguments), report, codes[0] if codes else -1)


CASES = [read(path) for path in sorted(DIRECTORY.glob("*.txt"))]


def run(case: Case, directory: Path) -> tuple[str, int]:
    for name, text in case.files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text, "utf-8")
    words = case.arguments
    at = words.index("--") if "--" in words else len(words)
    options = {word for word in words[:at] if word.startswith("-")}
    assert options <= {"--execute"}
    report = reporting.report(
        [word for word in words[:at] if word not in options],
        words[at + 1 :],
        Screen(None, False),
        may_execute="--execute" in options,
        directory=directory,
    )
    return "\n".join(report.lines) + "\n", 2 if report.loses_something else 0


@pytest.fixture(autouse=True)
def a_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports do not depend on the one they are made on."""
    monkeypatch.setattr(os, "cpu_count", lambda: PROCESSORS)


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[Plan]:
    """The plans of the reports."""
    plans: list[Plan] = []
    check = reporting.check

    def noting(plan: Plan, name: str) -> None:
        check(plan, name)
        plans.append(plan)

    monkeypatch.setattr(reporting, "check", noting)
    return plans


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.path.stem)
def test_the_report_is_the_one_that_was_looked_at(
    case: Case, tmp_path: Path, checked: list[Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    text, code = run(case, tmp_path)
    assert text == case.report
    assert code == case.code
    # What it tells to write is understood by who is to read it.
    monkeypatch.chdir(tmp_path)
    for plan, block in zip(
        checked, re.split(r"\n\n(?=\S+(?: \S+)*: [^\n]*\n\n)", text), strict=True
    ):
        _loads_as_planned(plan, block)
        _command_line_is_understood(block)


def _proposed(block: str, head: str) -> list[str]:
    """The indented lines below a heading."""
    found = re.search(rf"^{head}[^\n]*:\n((?:  .*\n)+)", block, re.MULTILINE)
    return [line[2:] for line in found[1].splitlines()] if found else []


def _loads_as_planned(plan: Plan, block: str) -> None:
    lines = _proposed(block, r"(?:Or|With|Without it,) wsgi_async\.toml")
    if not plan.options:
        return
    Path("wsgi_async.toml").write_text("\n".join(lines) + "\n", "utf-8")
    table = tomllib.loads(Path("wsgi_async.toml").read_text("utf-8"))
    settings = gather({}, parse=lambda words: {}, environ={}, directory=Path())
    assert set(table) - {"app"} == set(plan.options)
    for name, value in plan.options.items():
        if "..." not in str(table[name]):
            assert settings.values[name].value == value, name
    Path("wsgi_async.toml").unlink()


def _command_line_is_understood(block: str) -> None:
    (line,) = _proposed(block, "The command line") or [""]
    if not line or "$" in line:
        return
    words = shlex.split(line)
    at = next(at for at, word in enumerate(words) if word.rpartition("/")[2] == "wsgi-async")
    with pytest.raises(SystemExit) as ended:
        cli.main([*words[at + 1 :], "--print-config"])
    assert ended.value.code == 0


def refresh() -> None:
    """Write the reports anew."""
    os.cpu_count = lambda: PROCESSORS
    for case in CASES:
        with tempfile.TemporaryDirectory() as directory:
            text, code = run(case, Path(directory))
        asked = shlex.join(case.arguments)
        case.path.write_text(f"{case.head}=== migrate {asked}\n{text}=== exit {code}\n", "utf-8")


if __name__ == "__main__":
    refresh()
    sys.exit()

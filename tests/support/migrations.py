"""Configurations of other servers as people write them, and what `wsgi-asyncctl migrate` says of
them.

A file in `tests/unit/ctl/migrations/` has those of one kind. Each begins with `=== case NAME`; then
come what there is (`=== file NAME`), what is asked, as on the command line, with the report that
was looked at (`=== report ARGUMENTS`) or with what it comes to in short (`=== summary ARGUMENTS`),
and the exit code. Run as a program this writes reports and codes anew.
"""

from __future__ import annotations

import os
import re
import shlex
import tempfile
from pathlib import Path
from typing import NamedTuple

import pytest

from wsgi_async.ctl.migrate import reporting
from wsgi_async.ctl.migrate.report import Plan, Verdict
from wsgi_async.ctl.text import Screen

__all__ = ["FILES", "PROCESSORS", "Case", "Ran", "proposed", "run"]

DIRECTORY = Path(__file__).parents[1] / "unit" / "ctl" / "migrations"
PROCESSORS = 4
MARKER = re.compile(r"^=== (case|file|report|summary|exit)[ ]?(.*)\n", re.MULTILINE)


class Case(NamedTuple):
    name: str
    files: dict[str, str]
    form: str
    arguments: str
    expected: str
    code: int

    def __str__(self) -> str:
        files = "".join(f"=== file {name}\n{text}" for name, text in self.files.items())
        asked = f"=== {self.form} {self.arguments}\n{self.expected}"
        return f"=== case {self.name}\n{files}{asked}=== exit {self.code}\n"


def read(path: Path) -> list[Case]:
    parts = MARKER.split(path.read_text("utf-8"))[1:]
    cases: list[Case] = []
    for kind, name, text in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        if kind == "case":
            cases.append(Case(name, {}, "", "", "", -1))
        elif kind == "file":
            cases[-1].files[name] = text
        elif kind == "exit":
            cases[-1] = cases[-1]._replace(code=int(name))
        else:
            cases[-1] = cases[-1]._replace(form=kind, arguments=name, expected=text)
    return cases


FILES = {path.stem: read(path) for path in sorted(DIRECTORY.glob("*.txt"))}


class Ran(NamedTuple):
    report: str
    summary: str
    code: int
    plans: list[Plan]


def run(case: Case, directory: Path) -> Ran:
    """The report on what is in the directory."""
    for name, text in case.files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text, "utf-8")
    words = shlex.split(case.arguments)
    at = words.index("--") if "--" in words else len(words)
    options = {word for word in words[:at] if word.startswith("-")}
    assert options <= {"--execute"}
    plans: list[Plan] = []
    check = reporting.check

    def noting(plan: Plan, name: str) -> None:
        check(plan, name)
        plans.append(plan)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reporting, "check", noting)
        patch.setattr(os, "cpu_count", lambda: PROCESSORS)
        report = reporting.report(
            [word for word in words[:at] if word not in options],
            words[at + 1 :],
            Screen(None, False),
            may_execute="--execute" in options,
            directory=directory,
        )
    text = "\n".join(report.lines) + "\n"
    summary = "".join(map(summarized, text.split("\n\n\n"), plans))
    return Ran(text, summary, 2 if report.loses_something else 0, plans)


def summarized(block: str, plan: Plan) -> str:
    """What to write, and the settings by what becomes of them."""
    lines = proposed(block, "") or ["nothing"]
    for verdict in Verdict:
        found = [
            ("!" if finding.matters else "") + finding.setting
            for finding in plan.findings
            if finding.verdict is verdict
        ]
        if found:
            lines.append(f"{verdict.value}: {', '.join(found)}")
    return "\n".join(lines) + "\n"


def proposed(block: str, head: str) -> list[str]:
    """The indented lines below the first heading that begins so."""
    found = re.search(rf"^{head}[^\n]*:\n((?:  .*\n)+)", block, re.MULTILINE)
    return [line[2:] for line in found[1].splitlines()] if found else []


def refresh() -> None:
    """Write reports and codes anew."""
    for stem, cases in FILES.items():
        texts = []
        for case in cases:
            with tempfile.TemporaryDirectory() as directory:
                ran = run(case, Path(directory))
            expected = ran.report if case.form == "report" else ran.summary
            texts.append(str(case._replace(expected=expected, code=ran.code)))
        (DIRECTORY / f"{stem}.txt").write_text("".join(texts), "utf-8")


if __name__ == "__main__":
    refresh()

"""What `wsgi-asyncctl migrate` says of configurations as people write them.

A file in `migrations/` has those of one kind. Each begins with `=== case NAME`; then come what
there is (`=== file NAME`), what is asked, as on the command line, with the report that was looked
at (`=== report ARGUMENTS`) or with what it comes to in short (`=== summary ARGUMENTS`), and the
exit code. Run as a program this writes reports and codes anew.
"""

from __future__ import annotations

import os
import re
import shlex
import tempfile
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsgi_async import cli
from wsgi_async.config.sources import gather
from wsgi_async.ctl.migrate import reporting
from wsgi_async.ctl.migrate.report import Plan, Verdict
from wsgi_async.ctl.text import Screen
from wsgi_async.errors import ConfigError

DIRECTORY = Path(__file__).parent / "migrations"
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
CASES = [pytest.param(case, id=f"{stem}-{case.name}") for stem in FILES for case in FILES[stem]]


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


@pytest.mark.parametrize("case", CASES)
def test_the_report_is_the_one_that_was_looked_at(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = run(case, tmp_path)
    assert (ran.report if case.form == "report" else ran.summary) == case.expected
    assert ran.code == case.code
    # What it tells to write is understood by who is to read it.
    monkeypatch.chdir(tmp_path)
    for plan, block in zip(ran.plans, ran.report.split("\n\n\n"), strict=True):
        loads_as_planned(plan, block)
        command_line_is_understood(block)


@given(data=st.data())
def test_a_part_of_a_file_is_read_or_refused_in_one_line(data: st.DataObject) -> None:
    # A report is asked for while somebody writes: nothing ends in a traceback.
    with_files = [case for cases in FILES.values() for case in cases if case.files]
    case = data.draw(st.sampled_from(with_files))
    name = data.draw(st.sampled_from(sorted(case.files)))
    text = case.files[name]
    begin = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(begin, len(text)))
    case = case._replace(
        files={**case.files, name: text[:begin] + text[end:]},
        arguments=case.arguments.replace("--execute ", ""),
    )
    said = ""
    with tempfile.TemporaryDirectory() as directory:
        try:
            run(case, Path(directory))
        except ConfigError as error:
            said = str(error)
    assert "\n" not in said


def proposed(block: str, head: str) -> list[str]:
    """The indented lines below the first heading that begins so."""
    found = re.search(rf"^{head}[^\n]*:\n((?:  .*\n)+)", block, re.MULTILINE)
    return [line[2:] for line in found[1].splitlines()] if found else []


def loads_as_planned(plan: Plan, block: str) -> None:
    if not plan.options:
        return
    lines = proposed(block, r"(?:Or|With|Without it,) [\w.-]+\.toml")
    Path("wsgi_async.toml").write_text("\n".join(lines) + "\n", "utf-8")
    table = tomllib.loads(Path("wsgi_async.toml").read_text("utf-8"))
    settings = gather({}, parse=lambda words: {}, environ={}, directory=Path())
    assert set(table) - {"app"} == set(plan.options)
    for name, value in plan.options.items():
        if "..." not in str(table[name]):
            assert settings.values[name].value == value, name
    Path("wsgi_async.toml").unlink()


def command_line_is_understood(block: str) -> None:
    (line,) = proposed(block, "The command line") or [""]
    if not line or "$" in line:
        return
    words = shlex.split(line.replace("%%", "%"))
    if "-c" in words[:2]:  # a shell's
        words = shlex.split(words[2])
    at = next(at for at, word in enumerate(words) if word.rpartition("/")[2] == "wsgi-async")
    arguments = words[at + 1 :]
    for end in ("|", ">", ">>", "2>&1", "&"):
        arguments = arguments[: arguments.index(end)] if end in arguments else arguments
    with pytest.raises(SystemExit) as ended:
        cli.main([*arguments, "--print-config"])
    assert ended.value.code == 0


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

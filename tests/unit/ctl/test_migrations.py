"""What `wsgi-asyncctl migrate` says of configurations as people write them, and that what it tells
to write is understood by who is to read it."""

from __future__ import annotations

import shlex
import tempfile
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from migrations import FILES, Case, proposed, run

from wsgi_async import cli
from wsgi_async.config.sources import gather
from wsgi_async.ctl.migrate.report import Plan
from wsgi_async.errors import ConfigError

CASES = [pytest.param(case, id=f"{stem}-{case.name}") for stem in FILES for case in FILES[stem]]


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

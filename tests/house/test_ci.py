"""Which interpreters CI runs the short ring on, told by programs that only say who they are."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FINDER = ROOT / ".ci" / "interpreters"
VERSIONS = ["3.11", "3.12", "3.13", "3.14", "3.15"]

pytestmark = pytest.mark.skipif(not FINDER.is_file(), reason="a distribution comes without .ci")


def interpreter(path: Path, says: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{says}\n")
    path.chmod(0o755)
    return path


def found(home: Path, *done: str) -> list[str]:
    path = f"{home}/bin:{home}/shims:/usr/bin:/bin"
    output = subprocess.run(
        [str(FINDER), *done],
        env={"HOME": str(home), "PATH": path},
        capture_output=True,
        check=True,
        text=True,
        timeout=30,
    ).stdout
    return [line for line in output.splitlines() if line.startswith(str(home))]


def test_each_version_is_found_once_wherever_it_is(tmp_path: Path) -> None:
    home = tmp_path / "a home"
    versions = home / ".pyenv" / "versions"
    every = {
        name: interpreter(versions / name / "bin" / "python", f"echo cpython {says}")
        for name, says in (
            ("3.10.2", "3.10"),
            ("3.12.1", "3.12"),
            ("3.12.9", "3.12"),
            ("3.14.0", "3.14"),
            ("3.15-dev", "3.15"),
            ("3.16.0", "3.16"),
        )
    }
    interpreter(home / "bin" / "python3.12", "echo cpython 3.12")
    on_path = interpreter(home / "bin" / "python3.13", "echo cpython 3.13")
    expected = [str(one) for one in (every["3.12.1"], on_path, every["3.14.0"], every["3.15-dev"])]
    assert found(home, "3.11") == expected
    expected.remove(str(every["3.14.0"]))
    assert found(home, "3.11", "3.14") == expected


@pytest.mark.parametrize("says", ["echo no such version >&2; exit 127", "echo pypy 3.12", "exit 1"])
def test_what_does_not_run_gives_way_to_what_does(says: str, tmp_path: Path) -> None:
    interpreter(tmp_path / "shims" / "python3.12", says)
    assert found(tmp_path, "3.11") == []
    good = interpreter(tmp_path / "bin" / "python3.12", "echo cpython 3.12")
    assert found(tmp_path, "3.11") == [str(good)]


def test_what_the_test_command_leaves_out_is_run_too() -> None:
    options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    left_out = re.findall(r"-m 'not (\w+)'", options["addopts"])
    assert left_out == [marker.partition(":")[0] for marker in options["markers"]]
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    for marker in left_out:
        command = f'(cd "$copy" && .venv/bin/python -m pytest -m {marker} '
        # Some apart, and then all the others.
        ways = [line.removeprefix(command) for line in lines if line.startswith(command)]
        assert ways == ['"${apart[@]}")', '-n 2 "${apart[@]/#/--ignore=}")']


def test_every_version_that_is_promised_is_looked_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    classifiers = "\n".join(project["classifiers"])
    assert re.findall(r"Python :: (3\.[0-9]+)$", classifiers, re.MULTILINE) == VERSIONS
    assert project["requires-python"] == f">={VERSIONS[0]}"
    assert f"for version in {' '.join(VERSIONS)};" in FINDER.read_text()

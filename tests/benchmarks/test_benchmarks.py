"""The command `python -m benchmarks`: one very short run, and what a run leaves behind."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from benchmark_runs import make_run

from benchmarks.harness import record, servers
from benchmarks.harness.record import Row
from benchmarks.scenarios import SCENARIOS

ROOT = Path(__file__).resolve().parents[2]


# What a run leaves behind


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    run = make_run({"wsgi_async": [1.5, 0.0], "granian": [3.0]})
    run.skipped["bjoern"] = "not there"
    run.rows.append(Row("hello", "granian", 2, void='it said "no"', wrong=True))
    run.rows.append(Row("hello", "granian", 3, value=1.0, errors=3, extra={"none": 0.0}))
    path = tmp_path / "run.json"
    record.write(run, path)
    assert record.read(path) == run
    assert path.read_text(encoding="utf-8").count("\n  {") == 5
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("OSError: [Errno 2] none: '/home/me/bin/run.py'", "OSError: [Errno 2] none: 'run.py'"),
        ("Traceback:\n  File x\nKeyError: 'a'\n", "KeyError: 'a'"),
        ("wrong answer: GET /articles/1/comments?a=b: status 404", None),
        ("http://127.0.0.1:80/a/b in benchmarks/apps.py is text/plain", None),
        ("ImportError: /env/lib/libev.so.4: no", "ImportError: libev.so.4: no"),
        ("", ""),
    ],
)
def test_what_is_recorded_does_not_tell_where_it_ran(
    tmp_path: Path, text: str, told: str | None
) -> None:
    assert record.pathless(text) == (text if told is None else told)
    run = make_run({"wsgi_async": []}, void=(Row("hello", "wsgi_async", 1, void=text),))
    run.skipped["bjoern"] = text
    record.write(run, tmp_path / "run.json")
    read = record.read(tmp_path / "run.json")
    assert (read.rows[0].void, read.skipped["bjoern"]) == (record.pathless(text),) * 2


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 99}', '{"format": 1, "rows": []}'])
def test_what_is_no_run_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "run.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(record.BadRecord, match=re.escape(str(path))):
        record.read(path)


# The command


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments], cwd=ROOT, capture_output=True, text=True
    )


def test_the_command_measures_and_writes(tmp_path: Path) -> None:
    if shutil.which("wrk") is None:
        pytest.skip("wrk is not installed")
    path = tmp_path / "new" / "run.json"
    options = ["--servers", "wsgi_async", "--scenarios", "hello", "--rounds", "1"]
    done = command(*options, "--seconds", "0.3", "--json", str(path))
    assert done.returncode == 0, done.stderr
    assert f"wsgi_async of {ROOT / 'wsgi_async' / '__init__.py'}\n" in done.stderr
    assert "\n[1/1, 0 min left] hello 1/1 wsgi_async: " in done.stderr
    assert done.stdout.startswith("## hello\n\n| server | requests/s |")
    run = record.read(path)
    (row,) = run.rows
    assert row.value is not None
    assert row.value > 100
    assert row.errors == 0
    assert run.servers["wsgi_async"].command.startswith("python -m wsgi_async --threads 8 ")
    assert json.loads(path.read_text(encoding="utf-8"))["format"] == record.FORMAT


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--servers", "nginx"], "no server 'nginx'; there are wsgi_async,"),
        (["--scenarios", "goodbye"], "no scenario 'goodbye'; there are hello,"),
        (["--python", "/no/such/python"], "--python /no/such/python does not run:"),
        (["--compare", "tests"], "tests is no checkout: it has no wsgi_async"),
        (["--compare", "README.md"], "README.md: not the JSON of a run"),
        (
            ["--compare", ".", "--scenarios", "hello", "--rounds", "9"],
            "this comparison needs at least --rounds 10",
        ),
        (
            ["--compare", ".", "--servers", "no-such"],
            "no server 'no-such'; there are",
        ),
    ],
)
def test_a_wrong_command_is_told_in_one_line(arguments: list[str], problem: str) -> None:
    if shutil.which("wrk") is None:
        pytest.skip("wrk is not installed")
    done = command(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(problem)
    assert done.stderr.count("\n") == 1


def test_a_run_that_is_hung_up_keeps_what_it_has(tmp_path: Path) -> None:
    if shutil.which("wrk") is None:
        pytest.skip("wrk is not installed")
    path = tmp_path / "run.json"
    options = ["--servers", "wsgi_async", "--scenarios", "hello", "--rounds", "500"]
    # Where the tests were started with nohup the signal is ignored, and a child inherits that.
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks", *options, "--seconds", "0.1", "--json", str(path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    signal.signal(signal.SIGHUP, before)
    try:
        assert process.stderr is not None
        # A line is printed before its figure is kept: at the second, the first one is.
        while "[2/500" not in (line := process.stderr.readline()):
            assert line
        assert len(record.read(path).rows) >= 1
        process.send_signal(signal.SIGHUP)
        told = process.communicate(timeout=30)[1]
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 130
    assert "interrupted: what was measured so far is kept" in told
    assert len(record.read(path).rows) >= 1


def test_the_list_names_servers_and_scenarios() -> None:
    done = command("--list")
    assert done.returncode == 0
    listed = {words[0] for line in done.stdout.splitlines() if (words := line.split())}
    assert {*servers.load(), *SCENARIOS} <= listed

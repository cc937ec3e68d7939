"""The micro-benchmarks do what they say, a few operations each. Nothing here looks at a time."""

from __future__ import annotations

import gc
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from benchmarks.micro import heads
from benchmarks.micro.__main__ import choose, main
from benchmarks.micro.benchmark import Benchmark, Opened, WrongResult
from benchmarks.micro.cases import BENCHMARKS
from benchmarks.micro.measuring import (
    count_calls,
    count_instructions,
    measure_times,
    run_checked,
    served_collector,
)
from benchmarks.micro.report import Figures, Report, read, table, write


def calling(calls: int, *, is_right: bool = True) -> Benchmark:
    """An operation that makes so many Python calls."""
    namespace: dict[str, Any] = {}
    exec("def callee(): return 7", namespace)
    callee = namespace["callee"]

    def run(count: int) -> object:
        for _ in range(count * calls):
            result = callee()
        return result

    opened = Opened(run, lambda result: is_right and result == 7)
    return Benchmark("calling", "so many calls", lambda stack: opened)


# --- the benchmarks -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", BENCHMARKS)
def test_each_does_what_it_measures(name: str) -> None:
    with ExitStack() as stack:
        opened = BENCHMARKS[name].open(stack)
        for count in (1, 7, 70):
            assert run_checked(BENCHMARKS[name], opened, count) > 0


WRONG: dict[str, Callable[[Any], object]] = {
    "fast_path.browser": lambda result: (next(heads.hello()), result[1]),
    "http1.h11.short": lambda result: (result[0], None),
    "environ.browser": lambda result: (result[0], {**result[1], "HTTP_COOKIE": "other"}),
    "wsgi.list": lambda step: None,
    "threads.stream": lambda taken: (taken[0], taken[1][1:], True),
    "threads.respond": lambda taken: (None, *taken[1:]),
    "pool.1": lambda left: (left[0], 1),
    "run.ours": lambda result: None,
    "protocol.hello": lambda result: (result[0] + b"more", 0),
    "protocol.browser": lambda result: (result[0], 1),
    "protocol.closing": lambda result: (result[0][:-1], 0),
    "protocol.stream": lambda result: (result[0].replace(b"200 OK", b"500 Oh"), 0),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_result_is_seen(name: str) -> None:
    with ExitStack() as stack:
        opened = BENCHMARKS[name].open(stack)
        result = opened.run(1)
        assert opened.check(result)
        assert not opened.check(WRONG[name](result))


def test_a_wrong_result_voids_the_run() -> None:
    benchmark = calling(1, is_right=False)
    with pytest.raises(WrongResult, match="calling: 7"):
        measure_times([benchmark], 1, batch_time=1)
    with pytest.raises(WrongResult, match="calling: 7"):
        count_calls(benchmark)
    assert sys.getprofile() is None


def test_heads_differ_where_they_are_to_differ() -> None:
    for supply in (heads.short, heads.browser):
        assert len(set(itertools.islice(supply(), heads.DISTINCT))) == heads.DISTINCT
    lane, h11 = (set(itertools.islice(heads.short(place), 10)) for place in ("lane", "h11"))
    assert not lane & h11


# --- measuring ----------------------------------------------------------------------------------


def test_every_round_has_a_batch_of_every_benchmark() -> None:
    chosen = choose(["environ", "http1.hello"])
    times = measure_times(chosen, 3, batch_time=1)
    assert list(times) == ["http1.hello", "environ.hello", "environ.browser"]
    assert all(len(found) == 3 and min(found) > 0 for found in times.values())


def test_the_collector_is_as_it_was_afterwards() -> None:
    with served_collector():
        assert gc.isenabled()
        assert gc.get_freeze_count() > 0
    assert gc.get_freeze_count() == 0


@pytest.mark.skipif(sys.getprofile() is not None, reason="a profiler is at work")
@pytest.mark.skipif(sys.gettrace() is not None, reason="a debugger is at work")
class TestCalls:
    @pytest.mark.parametrize("calls", [1, 3])
    def test_they_are_counted_exactly(self, calls: int) -> None:
        # and one for the function with the loop, which is in no stand-in's file
        assert count_calls(calling(calls), 50) == calls + 1 / 50

    def test_those_of_stand_ins_are_not_counted(self) -> None:
        assert count_calls(BENCHMARKS["protocol.none"], 50) == 0

    @pytest.mark.parametrize("name", ["http1.browser", "wsgi.list", "protocol.browser"])
    def test_they_do_not_wobble(self, name: str) -> None:
        first, second = (count_calls(BENCHMARKS[name], count) for count in (50, 120))
        assert first
        assert first == second

    def test_those_of_other_threads_are_counted(self) -> None:
        here = calling(3)

        def open_elsewhere(stack: ExitStack) -> Opened:
            executor = stack.enter_context(ThreadPoolExecutor(1))
            opened = here.open(stack)
            executor.submit(opened.run, 1).result(10)  # its thread begins now
            return Opened(lambda count: executor.submit(opened.run, count).result(10), opened.check)

        elsewhere = count_calls(here._replace(open=open_elsewhere), 100)
        assert elsewhere is not None
        assert 3 <= elsewhere < 4


VALGRIND = """#!/bin/sh
# Runs the command, and claims 7 instructions for each operation.
[ "$PYTHONHASHSEED" = 0 ] || exit 3
[ "$1" = --tool=callgrind ] || exit 4
shift 2
"$@" || exit 5
for last; do :; done
echo "==1== Collected : $((5000 + 7 * last))" >&2
"""


@pytest.fixture
def valgrind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "valgrind").write_text(VALGRIND)
    (tmp_path / "valgrind").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.usefixtures("valgrind")
class TestInstructions:
    def test_start_up_cancels(self) -> None:
        assert count_instructions(BENCHMARKS["fast_path.short"], 10) == 7

    def test_threads_have_no_count(self) -> None:
        assert count_instructions(BENCHMARKS["pool.8"], 10) is None

    def test_a_failing_benchmark_is_an_error(self) -> None:
        with pytest.raises(subprocess.CalledProcessError) as caught:
            count_instructions(calling(1), 10)  # the other process knows none of that name
        assert "KeyError: 'calling'" in caught.value.stderr


# --- reporting ----------------------------------------------------------------------------------

OLD = Report({"a.b": Figures([2000.0, 4000.0, 3000.0], 20.0, 5000.0), "gone": Figures([1.0])})
NEW = Report({"a.b": Figures([1000.0, 4500.0, 1500.0], 25.0), "new": Figures([12345.0])})


def test_a_report_survives_its_file(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    write(OLD, path)
    assert read(path) == OLD


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1}', '{"format": 0, "results": {}}'])
def test_another_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "figures.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"figures\.json is not what --json writes"):
        read(path)


def test_the_table_shows_figures_and_ratios() -> None:
    rows = {line.split()[0]: line.split()[1:] for line in table(NEW, OLD).splitlines() if line}
    assert rows["a.b"] == ["1.000", "1.500", "25.0", "-", "|", "0.500", "0.500", "1.250", "-"]
    assert rows["new"] == ["12.35", "12.35", "-", "-", "|", "-", "-", "-", "-"]
    assert "gone" not in rows


def test_the_table_says_when_the_old_figures_are_of_something_else() -> None:
    elsewhere = Report(OLD.results, python="CPython 3.9.1")
    assert "The old figures are of CPython 3.9.1" in table(NEW, elsewhere)
    assert "The old figures" not in table(NEW, OLD)
    assert "|" not in table(NEW)


# --- the command line ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["environ"], ["environ.hello", "environ.browser"]),
        (["wsgi.list", "http1.h11"], ["http1.h11.short", "http1.h11.browser", "wsgi.list"]),
        ([], list(BENCHMARKS)),
    ],
)
def test_benchmarks_are_chosen_by_name(names: list[str], chosen: list[str]) -> None:
    assert [benchmark.name for benchmark in choose(names)] == chosen


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--only", "environ.h"], "no benchmark is called environ.h; there are: fast_path.short"),
        (["--rounds", "0"], "--rounds must be at least 1"),
        (["--compare", "nowhere.json"], "No such file"),
    ],
)
def test_wrong_arguments(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert complaint in capsys.readouterr().err


def test_instructions_need_valgrind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit):
        main(["--instructions", "--only", "environ"])
    assert "valgrind is not installed" in capsys.readouterr().err


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--list"])
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(BENCHMARKS)


def test_a_run_is_written_and_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "figures.json"
    only = ["--only", "wsgi.list", "--rounds", "2"]
    main([*only, "--json", str(path)])
    assert len(json.loads(path.read_text())["results"]["wsgi.list"]["times"]) == 2
    capsys.readouterr()
    main([*only, "--compare", str(path)])
    row = capsys.readouterr().out.splitlines()[3].split()
    assert row[0] == "wsgi.list"
    assert "|" in row
    assert row[3] == "-" or row[-2] == "1.000"  # no calls under a debugger, else as many


# --- ways of accepting --------------------------------------------------------------------------


@pytest.mark.soak
@pytest.mark.timeout(120)
def test_ways_of_accepting_are_compared() -> None:
    # Another process, because it forks: this one may have threads.
    command = [sys.executable, "-m", "benchmarks.micro.accepting", "--rounds", "1"]
    ended = subprocess.run(
        [*command, "--ways", "plain", "share", "reuseport"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert ended.returncode == 0, ended.stderr
    title, *rows = ended.stdout.splitlines()
    assert title.split()[:3] == ["at", "once", "64"]
    assert [row.split()[0] for row in rows] == ["plain", "share", "reuseport"]
    left = {row.split()[0]: (int(row.split()[7]), int(row.split()[10])) for row in rows}
    assert left["share"] == (0, 0)
    # Half of what the kernel gave to a process that is stopped or gone, as its hash has it.
    assert all(left["reuseport"])

"""Three measures of an operation: its time, the Python calls in it, the instructions it takes."""

from __future__ import annotations

import contextlib
import gc
import itertools
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

import wsgi_async.testing.fakes

from .benchmark import Benchmark, Opened, WrongResult

__all__ = ["count_calls", "count_instructions", "measure_times", "run_checked"]

WARM_UP = 300
"""Operations before anything is measured: CPython has specialised its bytecode by then, and what
is made once is made."""

BATCH_TIME = 10_000_000
"""Nanoseconds one batch takes, about: two of the interpreter's switch intervals."""

CALLS_COUNT = 200
INSTRUCTIONS_COUNT = 1000


def run_checked(benchmark: Benchmark, opened: Opened, count: int) -> int:
    """Do the operation so many times.

    :returns: nanoseconds, without the look at the result.
    :raises WrongResult: the last result is wrong.
    """
    run = opened.run
    began = time.perf_counter_ns()
    result = run(count)
    took = time.perf_counter_ns() - began
    if not opened.check(result):
        raise WrongResult(f"{benchmark.name}: {result!r:.200}")
    return took


@contextlib.contextmanager
def served_collector() -> Iterator[None]:
    """The garbage collector as ``wsgi_async`` has it on the command line: what has been loaded is
    frozen, the rest is collected as ever."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def measure_times(
    benchmarks: list[Benchmark], rounds: int, *, batch_time: int = BATCH_TIME
) -> dict[str, list[float]]:
    """Nanoseconds of an operation in each of `rounds` batches, by the benchmark's name.

    Each round runs one batch of every benchmark, so that what disturbs the machine for a while
    disturbs all of them.
    """
    with ExitStack() as stack:
        ready = []
        for benchmark in benchmarks:
            opened = benchmark.open(stack)
            run_checked(benchmark, opened, WARM_UP)
            each = run_checked(benchmark, opened, WARM_UP) / WARM_UP
            ready.append((benchmark, opened, max(10, round(batch_time / each))))
        stack.enter_context(served_collector())
        times: dict[str, list[float]] = {benchmark.name: [] for benchmark in benchmarks}
        for _ in range(rounds):
            for benchmark, opened, count in ready:
                times[benchmark.name].append(run_checked(benchmark, opened, count) / count)
    return times


# --- calls --------------------------------------------------------------------------------------

_OURS = (str(Path(__file__).parent) + os.sep, wsgi_async.testing.fakes.__file__)


class _CallCounter:
    """A profiler that counts calls of Python functions in any thread: the server's and the
    standard library's, not those of the benchmarks and their stand-ins."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._counts: dict[str, bool] = {}

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        if event != "call":
            return
        file = frame.f_code.co_filename
        counts = self._counts.get(file)
        if counts is None:
            counts = self._counts[file] = not file.startswith(_OURS)
        if counts:
            next(self._numbers)

    @property
    def calls(self) -> int:
        """So far."""
        return int(repr(self._numbers)[len("count(") : -1])


def count_calls(benchmark: Benchmark, count: int = CALLS_COUNT) -> float | None:
    """Calls of Python functions in one operation; None under a profiler or debugger.

    Exact where the benchmark has one thread; where it has more, a few calls more or less depend
    on who runs first.
    """
    if sys.getprofile() is not None or sys.gettrace() is not None:
        return None
    counter = _CallCounter()
    outer = threading.getprofile()
    # For threads of the benchmark, which are made while it opens.
    threading.setprofile(counter)
    try:
        with ExitStack() as stack:
            opened = benchmark.open(stack)
            run_checked(benchmark, opened, WARM_UP)
            before = counter.calls
            sys.setprofile(counter)
            try:
                result = opened.run(count)
            finally:
                sys.setprofile(None)
            calls = counter.calls - before
            if not opened.check(result):
                raise WrongResult(f"{benchmark.name}: {result!r:.200}")
    finally:
        threading.setprofile(outer)
    return calls / count


# --- instructions -------------------------------------------------------------------------------


def count_instructions(benchmark: Benchmark, count: int = INSTRUCTIONS_COUNT) -> float | None:
    """Machine instructions of one operation, counted by callgrind; None where it has threads.

    Two processes do it `count` and ``2 * count`` times; the difference has no start-up in it.

    :raises OSError: valgrind is not installed.
    :raises subprocess.CalledProcessError: it, or the benchmark in it, failed.
    """
    if benchmark.has_threads:
        return None
    once, twice = (_collected(benchmark.name, times * count) for times in (1, 2))
    return (twice - once) / count


def _collected(name: str, count: int) -> int:
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    command += [sys.executable, "-m", f"{__package__}.once", name, str(count)]
    done = subprocess.run(
        command,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    found = re.search(r"Collected : ([0-9]+)", done.stderr)
    if found is None:
        raise subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
    return int(found[1])

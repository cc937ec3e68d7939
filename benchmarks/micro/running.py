"""``python -m benchmarks.micro.running``: what it costs to wait for a coroutine of another thread's
loop, by ``wsgi_async.run`` and by ``asyncio.run_coroutine_threadsafe``.

Both run on the application loop, and take turns. A coroutine that ends at once shows what the way
there and back takes; the other one awaits a timer of no time, which is a turn of the loop more.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from typing import Any

from wsgi_async.realtime.application_loop import application_loop
from wsgi_async.realtime.running import run

from .benchmark import Benchmark, Opened
from .measuring import measure_times

__all__ = ["AT_ONCE", "BENCHMARKS", "main", "open_asyncio", "open_run"]

Make = Callable[[], Coroutine[Any, Any, int]]


async def at_once() -> int:
    """A coroutine that awaits nothing."""
    return 7


async def a_turn() -> int:
    """A coroutine that lets others go first."""
    await asyncio.sleep(0)
    return 7


def open_run(make: Make, stack: ExitStack) -> Opened:
    """By ``wsgi_async.run``."""
    return _opened(lambda: run(make()))


def open_asyncio(make: Make, stack: ExitStack) -> Opened:
    """By asyncio's own means, on the same loop."""
    loop = application_loop().loop
    return _opened(lambda: asyncio.run_coroutine_threadsafe(make(), loop).result())


def _opened(call: Callable[[], int]) -> Opened:
    def repeat(count: int) -> object:
        for _ in range(count):
            result = call()
        return result

    return Opened(repeat, lambda result: result == 7)


def _benchmark(
    name: str, what: str, make: Make, of: Callable[[Make, ExitStack], Opened]
) -> Benchmark:
    return Benchmark(name, what, lambda stack: of(make, stack), has_threads=True)


AT_ONCE = [
    _benchmark("run.ours", "a coroutine that ends at once, by run()", at_once, open_run),
    _benchmark("run.asyncio", "the same by run_coroutine_threadsafe()", at_once, open_asyncio),
]

BENCHMARKS = [
    *AT_ONCE,
    _benchmark("run.ours.turn", "one that awaits a turn, by run()", a_turn, open_run),
    _benchmark("run.asyncio.turn", "the same by asyncio", a_turn, open_asyncio),
]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.micro.running", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="batches of each (20)")
    options = parser.parse_args(arguments)
    times = measure_times(BENCHMARKS, options.rounds)
    for benchmark in BENCHMARKS:
        each = [nanoseconds / 1000 for nanoseconds in times[benchmark.name]]
        print(
            f"{benchmark.name:18}{statistics.median(each):8.1f} us"
            f"{min(each):8.1f} at best   {benchmark.what}"
        )
    for kind in ("", ".turn"):
        ours, theirs = times[f"run.ours{kind}"], times[f"run.asyncio{kind}"]
        ratio = statistics.median(ours) / statistics.median(theirs)
        print(
            f"run() takes {ratio:.2f} of asyncio's time{' with a turn' if kind else ''}; "
            f"{min(ours) / min(theirs):.2f} at best"
        )


if __name__ == "__main__":
    main()

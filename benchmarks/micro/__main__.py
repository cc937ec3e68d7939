"""``python -m benchmarks.micro``: what each part of the server takes for a request, in memory.

Times are the minimum and the median of short batches, the benchmarks taking turns; compare
minima. Calls are those of Python functions in one operation, the standard library's included,
the stand-ins' not. Instructions need valgrind and ten seconds a row; from run to run they differ
by less than 1 %, times by 10 % and more.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from .benchmark import Benchmark
from .cases import BENCHMARKS
from .measuring import count_calls, count_instructions, measure_times
from .report import Figures, Report, read, table, write

__all__ = ["choose", "main", "measure"]

ROUNDS = 20


def choose(names: list[str]) -> list[Benchmark]:
    """The benchmarks that are meant, in the order of the table.

    :param names: whole names or what they begin with up to a dot: ``http1`` is all of http1.
    :raises ValueError: there is none of such a name.
    """
    chosen = set()
    for name in names:
        found = [known for known in BENCHMARKS if f"{known}.".startswith(f"{name}.")]
        if not found:
            raise ValueError(f"no benchmark is called {name}; there are: {' '.join(BENCHMARKS)}")
        chosen.update(found)
    return [benchmark for name, benchmark in BENCHMARKS.items() if name in chosen or not names]


def measure(benchmarks: list[Benchmark], rounds: int, *, instructions: bool) -> Report:
    """All figures of these benchmarks."""
    times = measure_times(benchmarks, rounds)
    results = {}
    for benchmark in benchmarks:
        counted = None
        if instructions and not benchmark.has_threads:
            print(f"callgrind: {benchmark.name}", file=sys.stderr)
            counted = count_instructions(benchmark)
        calls = count_calls(benchmark)
        results[benchmark.name] = Figures(times[benchmark.name], calls, counted)
    return Report(results)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.micro",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--list", action="store_true", help="name the benchmarks and end")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these, or groups")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"batches of each ({ROUNDS})")
    parser.add_argument("--instructions", action="store_true", help="count them, with callgrind")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    parser.add_argument("--compare", type=Path, metavar="FILE", help="earlier figures, for ratios")
    options = parser.parse_args(arguments)
    try:
        chosen = choose(options.only)
        old = read(options.compare) if options.compare else None
    except (OSError, ValueError) as error:
        parser.error(str(error))
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    if options.instructions and shutil.which("valgrind") is None:
        parser.error("valgrind is not installed (Debian: apt-get install valgrind)")
    if options.list:
        for benchmark in chosen:
            print(f"{benchmark.name:22}{benchmark.what}")
        return
    try:
        report = measure(chosen, options.rounds, instructions=options.instructions)
    except subprocess.CalledProcessError as error:
        sys.exit(f"{error}\n{error.stderr}")
    print(table(report, old))
    if options.json:
        write(report, options.json)


if __name__ == "__main__":
    main()

"""``python -m benchmarks.micro.once NAME COUNT``: the operation, so many times, under callgrind."""

from __future__ import annotations

import sys
from contextlib import ExitStack

from .cases import BENCHMARKS
from .measuring import WARM_UP, run_checked, served_collector


def main(name: str, count: str) -> None:
    benchmark = BENCHMARKS[name]
    with ExitStack() as stack:
        opened = benchmark.open(stack)
        run_checked(benchmark, opened, WARM_UP)
        stack.enter_context(served_collector())
        run_checked(benchmark, opened, int(count))


if __name__ == "__main__":
    main(*sys.argv[1:])

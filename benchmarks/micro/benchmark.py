"""What a benchmark is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import NamedTuple

__all__ = ["Benchmark", "Heads", "Opened", "WrongResult"]

Heads = Callable[[], Iterator[bytes]]
"""A supply of request heads."""


class WrongResult(Exception):
    """An operation did not do what it is measured for: its figures are void."""


class Opened(NamedTuple):
    """A benchmark that is ready to run."""

    run: Callable[[int], object]
    """Does the operation so many times; gives what the last one made."""
    check: Callable[[object], bool]
    """Whether that is right."""


class Benchmark(NamedTuple):
    """One row of the table."""

    name: str
    what: str
    """The operation that is counted."""
    open: Callable[[ExitStack], Opened]
    """Makes what is needed; what has to be closed is left to the stack."""
    has_threads: bool = False
    """Whether more than one thread works: then no count is exact."""

"""The scoreboard: figures of all processes in anonymous shared memory.

The parent makes a :class:`Scoreboard` before it forks. One page of it says which areas have been
used; each area has a word for every figure of :data:`.table.METRICS` (the same layout in all), and
begins on a page of its own, so an area that nobody uses takes no memory.

**Who writes.** A process has the area of its number (``Boot.number``), which no other living one
has, and writes it from one thread; the parent clears what was true of a process only while it
lived, once that has ended and before it gives its number to another one. Counters stay, and whoever
has the number next goes on from there.

**No word is ever seen in part.** It is 8 bytes at a multiple of 8, in memory that is mapped at a
page. An item of a memoryview of format ``q`` or ``d`` is loaded and stored by CPython as one value
of the C type, which on each of the 64-bit machines it runs on is one instruction, and one of an
aligned word is atomic there. :mod:`struct` with a byte order (``<q``) stores byte by byte, and a
copy of many words at once may be made of anything: neither is used here. Adding is a load and a
store, which only the one writer does. The same holds without the GIL.

**Words are not of one moment.** A request that is counted while somebody reads may be in one word
and not yet in another. So a histogram has no word for its count: that is the sum of its buckets.
"""

from __future__ import annotations

import math
import mmap
from bisect import bisect_left
from collections.abc import Callable, Iterator
from typing import NamedTuple

from .table import METRICS, Kind, Metric

__all__ = ["OPERATIONS", "PARENT", "Area", "Buckets", "Histogram", "Reading", "Scoreboard"]

WORD = 8

AREAS = 256
"""Processes that are counted, with those that are on their way out."""

PARENT, OPERATIONS = "parent", "operations"
"""The names of the areas of the processes that serve no requests, beside numbers."""

_NEVER, _ENDED, _UP = 0, 1, 2
"""Whether an area was ever used, and whether its process lives: the words of the first page."""


class _Layout:
    """Where each figure is in an area, in words."""

    def __init__(self) -> None:
        self.indices: dict[str, dict[tuple[str, ...], int]] = {}
        """Of the first word of a series, by the values of its labels."""
        self.gauges: list[int] = []
        position = 0
        for metric in METRICS:
            indices = self.indices[metric.name] = {}
            for values in metric.series:
                indices[values] = position
                if metric.kind is Kind.GAUGE:
                    self.gauges.append(position)
                # Of a histogram: each bucket, the one without a bound, and the sum.
                position += len(metric.bounds) + 2 if metric.kind is Kind.HISTOGRAM else 1
        self.words = position

    def index(self, metric: Metric, values: tuple[str, ...]) -> int:
        try:
            return self.indices[metric.name][values]
        except KeyError:
            raise ValueError(f"{metric.name} has no series {values}") from None


LAYOUT = _Layout()


class Area:
    """The figures of one process, for it to write, from one thread. See the module.

    :param memory: of this area.
    :param presence: the word that says whether it is used.
    :param name: its process, as the label has it.
    """

    __slots__ = ("_presence", "floats", "ints", "name")

    def __init__(self, memory: memoryview, presence: memoryview, name: str) -> None:
        self.ints = memory.cast("q")
        """Its words as integers: counters, and buckets."""
        self.floats = memory.cast("d")
        """The same words as floats: gauges, and sums of histograms."""
        self.name = name
        self._presence = presence

    def begin(self) -> None:
        """The process of this area begins: what is true only while it lives is not known yet."""
        self._clear()
        self._presence[0] = _UP

    def end(self) -> None:
        """*In the parent:* that process has ended, in whatever way. Its counters stay. Harmless if
        repeated, and where it never began."""
        if self._presence[0] == _UP:
            self._presence[0] = _ENDED
            self._clear()

    def _clear(self) -> None:
        for index in LAYOUT.gauges:
            self.floats[index] = math.nan

    def index(self, metric: Metric, *values: str) -> int:
        """Where a figure is among :attr:`ints` and :attr:`floats`: for whoever writes it often.

        :param values: of its labels.
        :raises ValueError: there is none with these.
        """
        return LAYOUT.index(metric, values)

    def add(self, metric: Metric, *values: str, by: int = 1) -> None:
        """Add to a counter.

        :param values: of its labels.
        :raises ValueError: there is none with these.
        """
        self.ints[LAYOUT.index(metric, values)] += by

    def set(self, metric: Metric, value: float, *values: str) -> None:
        """Set a gauge.

        :param value: NaN where it is not known: then it is not shown.
        :param values: of its labels.
        :raises ValueError: there is none with these.
        """
        self.floats[LAYOUT.index(metric, values)] = value

    def histogram(self, metric: Metric) -> Histogram:
        """A histogram, for whoever adds to it often."""
        return Histogram(self, metric)


class Histogram:
    """A histogram of an area. See :meth:`Area.histogram`."""

    __slots__ = ("_begin", "_bounds", "_floats", "_ints", "_sum")

    def __init__(self, area: Area, metric: Metric) -> None:
        self._ints = area.ints
        self._floats = area.floats
        self._bounds = metric.bounds
        self._begin = LAYOUT.index(metric, ())
        self._sum = self._begin + len(metric.bounds) + 1

    def add(self, value: float) -> None:
        """Add a value."""
        self._ints[self._begin + bisect_left(self._bounds, value)] += 1
        self._floats[self._sum] += value


class Buckets(NamedTuple):
    """A histogram as it was read."""

    counts: tuple[int, ...]
    """How many values were at most each bound, and at last how many there were."""
    sum: float


class Reading:
    """What all areas said at about one moment."""

    def __init__(
        self,
        ints: list[int],
        floats: list[float],
        up: dict[str, list[float]],
        counted: dict[str, list[int]],
    ) -> None:
        self._ints = ints
        self._floats = floats
        self._up = up
        self._counted = counted

    @property
    def processes(self) -> list[str]:
        """Those that live, by name: their number, ``parent`` or ``operations``."""
        return list(self._up)

    def count(self, metric: Metric, *values: str) -> int:
        """A counter, of all processes that there ever were."""
        return self._ints[LAYOUT.index(metric, values)]

    def histogram(self, metric: Metric) -> Buckets:
        """A histogram, of all processes that there ever were."""
        begin = LAYOUT.index(metric, ())
        end = begin + len(metric.bounds) + 1
        counts: list[int] = []
        for words in self._ints[begin:end]:
            counts.append(words + (counts[-1] if counts else 0))
        return Buckets(tuple(counts), self._floats[end])

    def gauge(self, metric: Metric, *values: str) -> Iterator[tuple[str, float]]:
        """Each process that lives and knows this figure, by name, with what it is."""
        index = LAYOUT.index(metric, values)
        for name, floats in self._up.items():
            if not math.isnan(floats[index]):
                yield name, floats[index]

    def gauge_of(self, name: str, metric: Metric, *values: str) -> float | None:
        """The same of one process, by its name; None where it does not live, or does not know."""
        floats = self._up.get(name)
        value = math.nan if floats is None else floats[LAYOUT.index(metric, values)]
        return None if math.isnan(value) else value

    def count_of(self, name: str, metric: Metric, *values: str) -> int | None:
        """A counter of the processes that have had this name, the last of which lives; None where
        none does."""
        ints = self._counted.get(name)
        return None if ints is None else ints[LAYOUT.index(metric, values)]


class Scoreboard:
    """The memory. Made before the processes are forked that are to have it.

    :param areas: so many processes are counted, by numbers from 0.
    """

    def __init__(self, areas: int = AREAS) -> None:
        names = [*map(str, range(areas)), PARENT, OPERATIONS]
        first = _pages(len(names) * WORD)
        size = _pages(LAYOUT.words * WORD)
        memory = memoryview(mmap.mmap(-1, first + len(names) * size))
        self._presence = memory[: len(names) * WORD].cast("q")
        self._areas = {
            name: Area(
                memory[begin : begin + LAYOUT.words * WORD],
                self._presence[number : number + 1],
                name,
            )
            for number, (name, begin) in enumerate(
                zip(names, range(first, len(memory), size), strict=True)
            )
        }
        self._has_said = False

    def area(self, number: int, warn: Callable[[str], object] | None = None) -> Area:
        """Where the process of this number counts. For a number beyond the areas it is one that
        nobody reads: the process serves, and is not counted.

        :param number: see ``Boot.number``.
        :param warn: told of that, once by each process.
        """
        area = self._areas.get(str(number))
        if area is not None:
            return area
        if warn is not None and not self._has_said:
            self._has_said = True
            most = len(self._areas) - 2
            warn(f"more than {most} processes: what those beyond them do is not in the metrics")
        return _nobodys(str(number))

    def ended(self, number: int) -> None:
        """*In the parent:* the process of this number has ended; see :meth:`Area.end`."""
        area = self._areas.get(str(number))
        if area is not None:
            area.end()

    @property
    def parent(self) -> Area:
        """The parent's area. It begins it too: what is in one that never began is not read."""
        return self._areas[PARENT]

    @property
    def operations(self) -> Area:
        """That of the process that serves the metrics."""
        return self._areas[OPERATIONS]

    def read(self) -> Reading:
        """*Any process, any thread:* what all say now."""
        ints, floats = [0] * LAYOUT.words, [0.0] * LAYOUT.words
        up: dict[str, list[float]] = {}
        counted: dict[str, list[int]] = {}
        for presence, area in zip(self._presence.tolist(), self._areas.values(), strict=True):
            if presence == _NEVER:
                continue  # to look at its pages would be to have them
            own_ints: list[int] = area.ints.tolist()
            ints = [a + b for a, b in zip(ints, own_ints, strict=True)]
            own: list[float] = [*area.floats.tolist()]
            if presence == _UP:
                up[area.name] = own
                counted[area.name] = own_ints
            floats = [a + b for a, b in zip(floats, own, strict=True)]
        return Reading(ints, floats, up, counted)


def _nobodys(name: str) -> Area:
    memory = memoryview(bytearray((LAYOUT.words + 1) * WORD))
    return Area(memory[WORD:], memory[:WORD].cast("q"), name)


def _pages(size: int) -> int:
    """So many bytes, in whole pages."""
    return -(-size // mmap.PAGESIZE) * mmap.PAGESIZE

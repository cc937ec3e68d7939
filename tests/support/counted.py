"""Processes that count the same by prometheus_client's files and in our memory, side by side."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from rawclient import TIMEOUT

from wsgi_async.operations.app_arena import Arena
from wsgi_async.operations.app_totals import fold, merge
from wsgi_async.operations.app_values import Store, value_class

pytest.importorskip("prometheus_client")

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary, values
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

__all__ = ["MODES", "Counted", "Counting", "Family", "Metrics", "Step", "families", "small_arena"]

UNIT = 65536
MODES = sorted(Gauge._MULTIPROC_MODES)

Step = tuple[str, float]
"""What is counted, and how much."""


class Family(NamedTuple):
    """A metric as it is shown, in no order."""

    kind: str
    help: str
    samples: frozenset[tuple[str, frozenset[tuple[str, str]], float]]


def families(metrics: Iterable[Any]) -> dict[str, Family]:
    """Those that have any samples, by their names."""
    return {
        metric.name: Family(
            metric.type,
            metric.documentation,
            frozenset(
                (sample.name, frozenset(sample.labels.items()), sample.value)
                for sample in metric.samples
            ),
        )
        for metric in metrics
        if metric.samples
    }


def small_arena(areas: int = 8, area_size: int = UNIT, left_size: int = UNIT) -> Arena:
    return Arena(fold, areas=areas, area_size=area_size, left_size=left_size)


class Metrics:
    """One of every kind, with labels and without, of whatever the values are made of now."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self.jobs = Counter("jobs", "Jobs.", ["kind"], registry=registry)
        self.plain = Counter("plain", "Without labels.", registry=registry)
        self.size = Summary("size_bytes", "Sizes.", ["kind"], registry=registry)
        self.took = Histogram("took_seconds", "Times.", buckets=(1, 2, 5), registry=registry)
        self.gauges = {
            mode: Gauge(
                f"g_{mode}", f"By {mode}.", ["kind"], registry=registry, multiprocess_mode=mode
            )
            for mode in MODES
        }

    def take(self, step: Step) -> None:
        what, amount = step
        name, _, kind = what.partition(" ")
        if name == "jobs":
            self.jobs.labels(kind).inc(amount)
        elif name == "plain":
            self.plain.inc(amount)
        elif name == "size":
            self.size.labels(kind).observe(amount)
        elif name == "took":
            self.took.observe(amount)
        elif kind == "up":
            self.gauges[name].labels("up").inc(amount)
        else:
            self.gauges[name].labels(kind).set(amount)


class Counting:
    """*In a process that counts:* both ways, from its beginning."""

    def __init__(self, arena: Arena) -> None:
        self._classes = (values.MultiProcessValue(), value_class(Store(arena, _unheard)))
        made = []
        for kind in self._classes:
            with _made_of(kind):
                made.append(Metrics())
        self.by_files, self.by_memory = made

    def take(self, steps: Sequence[Step]) -> None:
        both = (self.by_files, self.by_memory)
        for step in steps:
            for kind, metrics in zip(self._classes, both, strict=True):
                with _made_of(kind):  # those with a new label are made now
                    metrics.take(step)


@contextlib.contextmanager
def _made_of(kind: type) -> Iterator[None]:
    before = values.ValueClass
    values.ValueClass = kind  # type: ignore[misc]
    try:
        yield
    finally:
        values.ValueClass = before  # type: ignore[misc]


def _unheard(text: str) -> None:
    raise AssertionError(text)


class Counted:
    """Processes that a test forks, and what comes of them either way.

    :param directory: for the files; PROMETHEUS_MULTIPROC_DIR is set to it.
    :param arena: the memory.
    """

    def __init__(self, directory: Path, arena: Arena) -> None:
        self.directory = directory
        self.arena = arena
        self._living: dict[int, int] = {}

    @classmethod
    @contextlib.contextmanager
    def of(cls, directory: Path, arena: Arena | None = None) -> Iterator[Counted]:
        directory.mkdir(exist_ok=True)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PROMETHEUS_MULTIPROC_DIR", str(directory))
            counted = cls(directory, arena or small_arena())
            try:
                yield counted
            finally:
                for pid in list(counted._living):
                    counted.kill(pid)
                counted.arena.close()

    def start(self, steps: Sequence[Step]) -> int:
        """A process that has counted that, and lives on."""
        return self.run(lambda counting: counting.take(steps))

    def run(self, work: Callable[[Counting], object]) -> int:
        """A process that has done that, and lives on."""
        return self.fork(lambda: work(Counting(self.arena)))

    def fork(self, work: Callable[[], object]) -> int:
        """Likewise, without any metrics."""
        done, says_done = os.pipe()
        ends, end = os.pipe()
        pid = os.fork()
        if not pid:
            try:
                for other in (end, *self._living.values()):
                    os.close(other)  # else none of them would ever see the end
                work()
                os.write(says_done, b".")
                os.read(ends, 1)
                os._exit(0)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(1)
        os.close(ends)
        os.close(says_done)
        self._living[pid] = end
        assert select.select([done], [], [], TIMEOUT)[0]
        said = os.read(done, 1)
        os.close(done)
        assert said == b".", f"process {pid} has failed"
        return pid

    def leave(self, pid: int) -> None:
        """Let it end, and say that it has."""
        self._end(pid)
        mark_process_dead(pid, str(self.directory))

    def kill(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)
        self._end(pid)
        mark_process_dead(pid, str(self.directory))

    def _end(self, pid: int) -> None:
        os.close(self._living.pop(pid))
        os.waitpid(pid, 0)

    def by_files(self) -> dict[str, Family]:
        return families(MultiProcessCollector(None, str(self.directory)).collect())

    def by_memory(self) -> dict[str, Family]:
        snapshot = self.arena.snapshot()
        metrics, left_out = merge(snapshot.living, snapshot.left)
        assert not left_out
        return families(metrics)

    def assert_equal(self) -> None:
        assert self.by_memory() == self.by_files()

"""What the records of all processes come to, by prometheus_client's own rules.

They are put before :class:`prometheus_client.multiprocess.MultiProcessCollector` as its files would
be, and its function merges them: counters, histograms and summaries are added up, gauges by their
``multiprocess_mode``. Of who is gone everything stays but the gauges whose mode is ``live...``, as
after ``mark_process_dead()``; gauges of mode ``all``, one for each process, stay for the last
:data:`GONE` of them.

Runs in the operations process, and for a moment in one that needs room and finds none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from prometheus_client.metrics_core import Metric
from prometheus_client.mmap_dict import mmap_key
from prometheus_client.multiprocess import MultiProcessCollector

from .app_records import Record, record_size

__all__ = ["GONE", "MOST", "fold", "key_of", "merge"]

MOST = 100_000
"""Different samples in an exposition, of the application."""

GONE = 64
"""Processes that are gone whose gauges of mode ``all`` are shown."""

_accumulate: Callable[[dict[str, Metric], bool], Iterable[Metric]] = (
    MultiProcessCollector._accumulate_metrics
)


class _Key(NamedTuple):
    """What is known of a sample, besides its value."""

    kind: str
    mode: str
    metric: str
    sample: str
    labels: tuple[tuple[str, str], ...]
    help: str


def key_of(
    kind: str,
    mode: str,
    metric: str,
    sample: str,
    labelnames: Sequence[str],
    labelvalues: Sequence[str],
    help: str,
) -> bytes:
    """The key of a record: the library's own, and what it has in the names of its files.

    :param kind: ``counter``, ``gauge``, ``histogram`` or ``summary``.
    :param mode: a gauge's ``multiprocess_mode``; else empty.
    """
    own: str = mmap_key(metric, sample, list(labelnames), list(labelvalues), help)
    return f"{kind} {mode}\n{own}".encode()


def _parse(key: bytes) -> _Key | None:
    """None where it is none."""
    try:
        head, _, own = key.decode().partition("\n")
        kind, mode = head.split(" ")
        metric, sample, labels, help = json.loads(own)
        if "\\ud" in own:  # half of a pair of surrogates, perhaps, which no exposition can have
            labels = {name: _writable(value) for name, value in labels.items()}
            help = _writable(help)
        return _Key(kind, mode, metric, sample, tuple(sorted(labels.items())), help)
    except (ValueError, TypeError, AttributeError):
        return None


def _writable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


class _Merge:
    """Metrics as the library has read them from its files.

    What comes first says what a metric is: after a reload it may be of another kind, or mode.
    """

    def __init__(self, most: int) -> None:
        self.metrics: dict[str, Metric] = {}
        self.pids: dict[str, None] = {}
        """Processes with a gauge of mode ``all``, in order."""
        self.recent: dict[bytes, Record] = {}
        """Of each gauge of mode ``mostrecent`` the last one: the library's function keeps no
        timestamps."""
        self.left_out = 0
        self._keys: dict[bytes, _Key | None] = {}
        self._most = most

    def add(self, records: Iterable[Record], pid: int | None, *, is_gone: bool = False) -> None:
        """Add what a process has, or has left.

        :param pid: its own; None where it is a label already.
        """
        for record in records:
            key = self._key(record.key)
            if key is None or (is_gone and key.mode.startswith("live")):
                continue
            metric = self._metric(key)
            if metric is None:
                continue
            labels = key.labels
            if key.kind == "gauge":
                if pid is not None:
                    labels += (("pid", str(pid)),)
                if key.mode == "all":
                    self.pids[dict(labels).get("pid", "")] = None
                elif key.mode == "mostrecent" and is_gone:
                    known = self.recent.get(record.key)
                    if known is None or known.timestamp < record.timestamp:
                        self.recent[record.key] = record
                    continue
            # So does the library, whose function takes pairs here and makes a dict of them.
            pairs: Any = labels
            metric.add_sample(key.sample, pairs, record.value, record.timestamp)

    def _key(self, raw: bytes) -> _Key | None:
        try:
            return self._keys[raw]
        except KeyError:
            if len(self._keys) >= self._most:
                self.left_out += 1
                return None
            key = self._keys[raw] = _parse(raw)
            return key

    def _metric(self, key: _Key) -> Metric | None:
        metric = self.metrics.get(key.metric)
        if metric is None:
            try:
                metric = Metric(key.metric, key.help, key.kind)
            except ValueError:
                return None
            setattr(metric, "_multiprocess_mode", key.mode)  # noqa: B010  (it has no such field)
            self.metrics[key.metric] = metric
        elif (metric.type, _mode(metric)) != (key.kind, key.mode):
            return None
        return metric


def _mode(metric: Metric) -> str:
    mode: str = getattr(metric, "_multiprocess_mode", "")
    return mode


def merge(
    living: Iterable[tuple[int, Iterable[Record]]], left: Iterable[Record], most: int = MOST
) -> tuple[list[Metric], int]:
    """The metrics of all processes as one.

    :param living: processes with their records, the newest first.
    :param left: what is left of the others.
    :param most: different samples to look at.
    :returns: besides, how many were not.
    """
    merged = _Merge(most)
    for pid, records in living:
        merged.add(records, pid)
    merged.add(left, None)
    metrics = [metric for metric in _accumulate(merged.metrics, True) if metric.samples]
    return metrics, merged.left_out


def fold(
    left: Iterable[Record], dead: Sequence[tuple[int, Iterable[Record]]], room: int
) -> tuple[list[Record], int]:
    """Make one set of records of what was left and what more are gone have had. See ``Fold``."""
    merged = _Merge(MOST)
    for pid, records in dead:
        merged.add(records, pid, is_gone=True)
    merged.add(left, None, is_gone=True)
    shown = set(list(merged.pids)[:GONE])
    totals: list[Record] = []
    gauges: list[Record] = list(merged.recent.values())
    for metric in _accumulate(merged.metrics, False):
        mode = _mode(metric)
        for sample in metric.samples:
            if mode == "all" and sample.labels.get("pid", "") not in shown:
                continue
            names, values = tuple(sample.labels), tuple(sample.labels.values())
            key = key_of(
                metric.type, mode, metric.name, sample.name, names, values, metric.documentation
            )
            chosen = gauges if metric.type == "gauge" else totals
            chosen.append(Record(key, float(sample.value), 0.0))
    return _fitting([*totals, *gauges], room, merged.left_out)


def _fitting(records: list[Record], room: int, left_out: int) -> tuple[list[Record], int]:
    """Those that there is room for, the first ones first."""
    for index, record in enumerate(records):
        room -= record_size(record.key)
        if room < 0:
            return records[:index], left_out + len(records) - index
    return records, left_out

"""What a process answers: metrics that are in no shared memory, as JSON.

An ``Info`` is in the process that has it, and each process's is shown. A collector that is no
metric of the library's own (or a default one, or a gauge with a function) is asked by its name, in
one process.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from prometheus_client import Info
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector, CollectorRegistry
from prometheus_client.samples import Sample

__all__ = ["asked_of", "infos_of", "union", "unwired"]

MOST_SAMPLES = 20_000
"""Samples of a collector, and of all infos of a process. JSON of more would be too large."""


def _collectors(registry: CollectorRegistry) -> list[tuple[Collector, Sequence[str]]]:
    with registry._lock:
        return list(registry._collector_to_names.items())


def infos_of(registry: CollectorRegistry) -> list[Any]:
    """Its infos, as far as there is room."""
    wired = []
    room = MOST_SAMPLES
    for collector, _ in _collectors(registry):
        if isinstance(collector, Info):
            for metric in collector.collect():
                room -= len(metric.samples)
                if room >= 0:
                    wired.append(_wired(metric))
    return wired


def asked_of(registry: CollectorRegistry, names: Sequence[str]) -> tuple[list[Any], list[str]]:
    """What collectors say that have one of these names: of their class, with its module or
    without, or of a metric.

    :returns: besides, for each that has failed, why.
    """
    wired: list[Any] = []
    failed = []
    for collector, metrics in _collectors(registry) if names else ():
        kind = type(collector)
        known = {kind.__name__, f"{kind.__module__}.{kind.__qualname__}", *metrics}
        if known.isdisjoint(names):
            continue
        try:
            found = list(collector.collect())
            if sum(len(metric.samples) for metric in found) > MOST_SAMPLES:
                raise ValueError(f"more than {MOST_SAMPLES} samples")
            wired += map(_wired, found)
        except Exception as error:  # it is code of the application
            failed.append(f"{kind.__qualname__}.collect() failed: {error!r:.300}")
    return wired, failed


def _wired(metric: Metric) -> list[Any]:
    samples = [
        [
            str(sample.name),
            {str(name): _text(value) for name, value in sample.labels.items()},
            float(sample.value),
            None if sample.timestamp is None else float(sample.timestamp),
        ]
        for sample in metric.samples
    ]
    return [metric.name, _text(metric.documentation), metric.type, metric.unit, samples]


def _text(value: object) -> str:
    return str(value).encode("utf-8", "replace").decode()


def unwired(families: Any) -> Iterator[Metric]:
    """What has come, as far as it can be one of a metric."""
    for family in families or ():
        try:
            name, documentation, kind, unit, samples = family
            metric = Metric(name, documentation, kind, unit)
            metric.samples = [Sample(*sample) for sample in samples]
        except (TypeError, ValueError):
            continue
        yield metric


def union(answers: Iterable[Iterable[Metric]]) -> list[Metric]:
    """Infos of several processes as one: what several say is said once."""
    merged: dict[str, Metric] = {}
    seen: set[tuple[str, tuple[tuple[str, str], ...]]] = set()
    for families in answers:
        for family in families:
            known = merged.setdefault(
                family.name, Metric(family.name, family.documentation, family.type, family.unit)
            )
            for sample in family.samples:
                identity = sample.name, tuple(sorted(sample.labels.items()))
                if identity not in seen:
                    seen.add(identity)
                    known.samples.append(sample)
    return list(merged.values())

"""The scoreboard as Prometheus reads it: its text format, and OpenMetrics for who accepts that.

Text is made by prometheus_client, of families that are made here, so that what it has of an
application stands beside ours in the same form.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

from wsgi_async.errors import ConfigError
from wsgi_async.scoreboard.board import Reading, Scoreboard
from wsgi_async.scoreboard.table import METRICS, PROCESS, Kind, Metric

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric as Family

__all__ = ["Collector", "ScoreboardCollector", "expose", "require_prometheus_client"]


def require_prometheus_client() -> None:
    """Refuse to begin what could expose nothing.

    :raises ConfigError: prometheus_client is not installed.
    """
    if importlib.util.find_spec("prometheus_client") is None:
        raise ConfigError(
            "--metrics-bind needs prometheus-client: pip install 'wsgi_async[metrics]'"
        )


class Collector(Protocol):
    """What gives families of metrics, as prometheus_client's registry wants it."""

    def collect(self) -> Iterable[Family]:
        """What there is now."""


def expose(board: Scoreboard, accept: str, *others: Collector) -> tuple[str, bytes]:
    """*Any thread:* all metrics as text.

    :param board: ours.
    :param accept: the Accept field of who asks: OpenMetrics where it names that, as
        prometheus_client chooses; empty where there is none. One that cannot be read counts as
        none.
    :param others: of these too, behind them.
    :returns: the Content-Type, and the text.
    """
    from prometheus_client import CollectorRegistry
    from prometheus_client.exposition import choose_encoder

    registry = CollectorRegistry(auto_describe=False)
    collectors: list[Any] = [ScoreboardCollector(board), *others]
    for collector in collectors:
        registry.register(collector)
    try:
        encode, content_type = choose_encoder(accept)
    except (TypeError, ValueError):  # the library compares versions that it could not read
        encode, content_type = choose_encoder("")
    text: bytes = encode(registry)
    return str(content_type), text


class ScoreboardCollector:
    """The figures of a scoreboard as families, at each call as they are then.

    :param board: which.
    """

    def __init__(self, board: Scoreboard) -> None:
        self._board = board

    def collect(self) -> Iterator[Family]:
        """One family for each metric; of a gauge that no process knows it has no samples."""
        reading = self._board.read()
        for metric in METRICS:
            yield _MAKERS[metric.kind](metric, reading)


def _counter(metric: Metric, reading: Reading) -> Family:
    from prometheus_client.core import CounterMetricFamily

    labels = [label.name for label in metric.labels]
    family = CounterMetricFamily(metric.name, metric.help, labels=labels, unit=metric.unit)
    for values in metric.series:
        family.add_metric(values, reading.count(metric, *values))
    return family


def _gauge(metric: Metric, reading: Reading) -> Family:
    from prometheus_client.core import GaugeMetricFamily

    labels = [PROCESS, *(label.name for label in metric.labels)]
    family = GaugeMetricFamily(metric.name, metric.help, labels=labels, unit=metric.unit)
    for values in metric.series:
        for process, value in reading.gauge(metric, *values):
            family.add_metric((process, *values), value)
    return family


def _histogram(metric: Metric, reading: Reading) -> Family:
    from prometheus_client.core import HistogramMetricFamily
    from prometheus_client.utils import floatToGoString

    family = HistogramMetricFamily(metric.name, metric.help, labels=[], unit=metric.unit)
    found = reading.histogram(metric)
    bounds = [*map(floatToGoString, metric.bounds), "+Inf"]
    family.add_metric([], list(zip(bounds, found.counts, strict=True)), found.sum)
    return family


_MAKERS = {Kind.COUNTER: _counter, Kind.GAUGE: _gauge, Kind.HISTOGRAM: _histogram}

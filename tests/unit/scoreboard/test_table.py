"""Every metric once, named as Prometheus names them, with labels that no client chooses."""

from __future__ import annotations

import re

import pytest

from wsgi_async.errors import Overload
from wsgi_async.realtime.body_states import End
from wsgi_async.scoreboard import table
from wsgi_async.scoreboard.table import METRICS, Kind, Metric

by_name = pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)


def test_the_table_has_them_all_once() -> None:
    defined = [value for value in vars(table).values() if isinstance(value, Metric)]
    assert sorted(defined) == sorted(METRICS)
    assert len({metric.name for metric in METRICS}) == len(METRICS)


@by_name
def test_names_and_units_are_prometheus_own(metric: Metric) -> None:
    """https://prometheus.io/docs/practices/naming/"""
    assert re.fullmatch(r"wsgi_async(_[a-z]+)+", metric.name)
    assert metric.name.endswith("_total") is (metric.kind is Kind.COUNTER)
    # Reserved: the parts of a histogram, and what OpenMetrics adds.
    suffixes = ("_count", "_sum", "_bucket", "_info", "_created")
    assert not metric.name.removesuffix("_total").endswith(suffixes)
    others = ("milliseconds", "minutes", "kilobytes", "megabytes", "percent", "ms", "kb", "mb")
    assert not set(metric.name.split("_")) & set(others)
    assert metric.unit in ("", "seconds", "bytes")
    assert metric.help.endswith(".")
    assert not re.search(r"[`|*\n\\\"]", metric.help)


@by_name
def test_labels_have_fixed_values(metric: Metric) -> None:
    for label in metric.labels:
        assert label.name not in (table.PROCESS, "le", "quantile")
        assert len(set(label.values)) == len(label.values) > 1
        assert all(re.fullmatch(r"[A-Za-z0-9_]+", value) for value in label.values)
    assert len(metric.series) <= 40


@by_name
def test_histograms_have_bounds_that_rise(metric: Metric) -> None:
    assert bool(metric.bounds) is (metric.kind is Kind.HISTOGRAM)
    assert list(metric.bounds) == sorted(set(metric.bounds))
    if metric.bounds:
        assert not metric.labels
        assert metric.unit == "seconds"


def test_what_the_server_refuses_with_has_a_reason() -> None:
    """Each status that it gives by itself (RFC 9110 §15)."""
    assert {400, 408, 413, 414, 417, 431, 501, 503, 504, 505} <= set(table.REFUSALS)
    assert len(set(table.REFUSALS.values())) == len(table.REFUSALS)
    assert tuple(overload.name.lower() for overload in Overload) == table.OVERLOADS
    assert tuple(end.value for end in End) == table.LIVE_ENDS

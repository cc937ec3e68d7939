"""The scoreboard as Prometheus reads it, judged by prometheus_client's own parsers."""

from __future__ import annotations

import importlib.util
import re
from typing import Any

import pytest
from expositions import OPENMETRICS, exposition, filled_board, parsed
from tools import require_module

from wsgi_async.errors import ConfigError
from wsgi_async.operations import exposition as module
from wsgi_async.operations.exposition import expose, require_prometheus_client
from wsgi_async.scoreboard import table
from wsgi_async.scoreboard.board import Scoreboard
from wsgi_async.scoreboard.table import METRICS, PROCESS, Kind

formats = pytest.mark.parametrize("accept", ["", OPENMETRICS])


@pytest.fixture(autouse=True)
def needs_the_library() -> None:
    require_module("prometheus_client")


def samples(accept: str, text: str | None = None) -> dict[tuple[str, frozenset[Any]], float]:
    """By name and labels."""
    families = parsed(exposition(accept)[1] if text is None else text, accept)
    found = [sample for family in families for sample in family.samples]
    by_key = {(sample.name, frozenset(sample.labels.items())): sample.value for sample in found}
    assert len(by_key) == len(found)
    return by_key


@formats
def test_every_metric_of_the_table_is_there_and_nothing_else(accept: str) -> None:
    families = {family.name: family for family in parsed(exposition(accept)[1], accept)}
    assert set(families) == {metric.name.removesuffix("_total") for metric in METRICS}
    for metric in METRICS:
        family = families[metric.name.removesuffix("_total")]
        assert (family.type, family.documentation) == (metric.kind.value, metric.help)
        assert family.unit == (metric.unit if accept else "")
        assert family.samples, metric.name
        for sample in family.samples:
            labels = {label.name for label in metric.labels}
            labels |= {PROCESS} if metric.kind is Kind.GAUGE else set()
            labels |= {"le"} if sample.name.endswith("_bucket") else set()
            assert set(sample.labels) == labels


@pytest.mark.parametrize("version", ["x", "1e5", "é", "1.0.0.x", "\xb2", "=", "-1"])
def test_an_accept_field_that_cannot_be_read_is_no_error(version: str) -> None:
    """The library raises for some: a scraper would have a 500, and the log a traceback."""
    kind, body = expose(filled_board(), f"{OPENMETRICS};version={version}")
    assert kind.startswith((OPENMETRICS, "text/plain"))
    assert b"wsgi_async_requests_total" in body


def test_both_formats_say_the_same() -> None:
    assert samples("") == samples(OPENMETRICS)


def test_what_was_counted_is_what_is_shown() -> None:
    shown = samples("")

    def value(name: str, **labels: str) -> float:
        return shown[name, frozenset(labels.items())]

    requests = "wsgi_async_requests_total"
    assert value(requests, method="GET", status="2xx") == 1.0
    assert value(requests, method="POST", status="2xx") == 1.0
    assert value(requests, method="GET", status="5xx") == 1.0
    assert value(requests, method="other", status="4xx") == 1.0
    assert value("wsgi_async_refusals_total", reason="bad_request") == 1.0
    assert value("wsgi_async_request_body_bytes_total") == 9.0
    assert value("wsgi_async_response_body_bytes_total") == 30.0
    assert value("wsgi_async_process_up", process="0") == 1.0
    assert value("wsgi_async_process_up", process="parent") == 1.0
    assert value("wsgi_async_process_restarts_total", reason="died") == 1.0


@formats
def test_counts_of_histograms_agree_with_their_buckets(accept: str) -> None:
    shown = samples(accept)
    for metric in METRICS:
        if metric.kind is Kind.HISTOGRAM:
            buckets = {
                float(dict(labels)["le"]): value
                for (name, labels), value in shown.items()
                if name == f"{metric.name}_bucket"
            }
            assert sorted(buckets) == [*metric.bounds, float("inf")]
            rising = [buckets[bound] for bound in sorted(buckets)]
            assert rising == sorted(rising)
            assert shown[f"{metric.name}_count", frozenset()] == rising[-1] == 3.0
            assert shown[f"{metric.name}_sum", frozenset()] > 0


@pytest.mark.parametrize(
    ("accept", "is_openmetrics"),
    [
        ("", False),
        ("*/*", False),
        ("text/plain;version=0.0.4", False),
        ("application/openmetrics-text", True),
        # Prometheus' own.
        (
            "application/openmetrics-text;version=1.0.0;q=0.6,"
            "text/plain;version=0.0.4;q=0.3,*/*;q=0.1",
            True,
        ),
        ("nonsense;;,,q", False),
    ],
)
def test_who_accepts_openmetrics_gets_it(accept: str, is_openmetrics: bool) -> None:
    content_type, text = exposition(accept)
    kind = "application/openmetrics-text" if is_openmetrics else "text/plain"
    assert re.match(rf"{kind}; version=\S+; charset=utf-8", content_type)
    assert text.endswith("# EOF\n") is is_openmetrics


def test_the_dead_are_not_shown_and_what_they_counted_is() -> None:
    board = Scoreboard(2)
    for number in range(2):
        area = board.area(number)
        area.begin()
        area.set(table.MEMORY, 1e6)
        area.add(table.SENT, by=100)
    board.ended(0)
    shown = samples("", expose(board, "")[1].decode())
    sent = "wsgi_async_response_body_bytes_total"
    assert shown[sent, frozenset()] == 200.0
    whose = [dict(labels) for (name, labels) in shown if name == table.MEMORY.name]
    assert whose == [{PROCESS: "1"}]


def test_others_stand_behind_ours() -> None:
    """What an application counts, in the same text."""
    from prometheus_client.core import GaugeMetricFamily

    class Other:
        def collect(self) -> list[Any]:
            return [GaugeMetricFamily("shop_orders", "Orders.", value=3)]

    for accept in ("", OPENMETRICS):
        text = expose(filled_board(), accept, Other())[1].decode()
        names = [family.name for family in parsed(text, accept)]
        assert names[-1] == "shop_orders"
        assert len(names) == len(METRICS) + 1


def test_without_the_library_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    require_prometheus_client()
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    assert importlib.util.find_spec("prometheus_client") is None
    line = r"--metrics-bind needs prometheus-client: pip install 'wsgi_async\[metrics\]'"
    with pytest.raises(ConfigError, match=line):
        require_prometheus_client()

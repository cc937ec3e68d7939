"""examples/deploy/grafana.json and the expressions of the guide: each names what a server exposes,
judged beside the exposition of one that has run."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from expositions import exposition, parsed
from processes import Site
from promql import Matcher, faults, parse
from prose import HELP
from scraping import METRICS, Scraper
from tools import ROOT

from wsgi_async.scoreboard import table

DASHBOARD = json.loads((ROOT / "examples" / "deploy" / "grafana.json").read_text("utf-8"))
ROWS = ["Traffic", "Latency", "Saturation", "Processes"]
PANELS: list[dict[str, Any]] = [each for each in DASHBOARD["panels"] if each["type"] != "row"]
EXPRESSIONS = [(panel["title"], each["expr"]) for panel in PANELS for each in panel["targets"]]
LEGEND = re.compile(r"\{\{(\w+)\}\}")


@pytest.fixture(scope="module")
def families() -> list[Any]:
    return parsed(exposition()[1])


@pytest.mark.parametrize(("title", "expression"), EXPRESSIONS)
def test_each_query_names_what_there_is(title: str, expression: str, families: list[Any]) -> None:
    assert faults(expression, families) == [], title


def test_the_guide_names_what_there_is(families: list[Any]) -> None:
    table = (HELP / "metrics.md").read_text("utf-8").partition("| Expression |")[2]
    expressions = [
        code.replace("\\|", "|")
        for code in re.findall(r"`([^`]+)`", table)
        if code.startswith(("sum", "histogram_quantile", "("))
    ]
    assert len(expressions) == 5
    for expression in expressions:
        assert faults(expression, families) == []


def test_every_metric_is_on_the_dashboard() -> None:
    shown = " ".join(expression for _, expression in EXPRESSIONS)
    assert [each.name for each in table.METRICS if not re.search(rf"\b{each.name}", shown)] == []


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_legend_names_labels_that_are_left(panel: dict[str, Any]) -> None:
    for target in panel["targets"]:
        assert set(LEGEND.findall(target["legendFormat"])) <= parse(target["expr"]).groups


def test_rows_panels_and_variables_fit_together() -> None:
    rows = [each["title"] for each in DASHBOARD["panels"] if each["type"] == "row"]
    assert rows == ROWS
    ids = [each["id"] for each in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for each in DASHBOARD["panels"]:
        at = each["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not taken & cells, each["title"]
        taken |= cells
    variables = {each["name"]: each for each in DASHBOARD["templating"]["list"]}
    text = json.dumps(DASHBOARD)
    used = set(re.findall(r"\$\{?([a-z]\w*)", text))
    assert used == set(variables)
    for panel in PANELS:
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        for target in panel["targets"]:
            matched = parse(target["expr"]).selectors
            assert all(
                {Matcher("job", "=~", "$job"), Matcher("instance", "=~", "$instance")}
                <= set(selector.matchers)
                for selector in matched
            )


def test_variables_are_asked_of_a_metric_that_there_is(families: list[Any]) -> None:
    names = {family.name for family in families}
    for each in DASHBOARD["templating"]["list"]:
        if each["type"] == "query":
            match = re.fullmatch(
                r"label_values\((\w+)(\{.*\})?, (job|instance)\)", each["definition"]
            )
            assert match is not None
            assert match[1] in names
            assert each["query"]["query"] == each["definition"]


def test_each_query_has_an_answer_from_processes(site: Site) -> None:
    """Two of them and their parent, as they are served: in the clear, so without a certificate."""
    with site.serve("--workers", "2", *METRICS) as servers:
        scraper = Scraper.of(servers)
        servers.get("/?x")
        scraper.wait_for_total(2, "wsgi_async_processes_ready")
        scraper.wait_until(lambda: scraper.total("wsgi_async_connections_limit"), "no sample yet")
        found = parsed(scraper.get().body.decode())
    for title, expression in EXPRESSIONS:
        if "tls_certificate" not in expression:
            assert faults(expression, found) == [], title


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("sum(rate(wsgi_async_request_total[5m]))", "there is no wsgi_async_request_total"),
        ('wsgi_async_threads{stat="busy"}', "wsgi_async_threads has no label stat"),
        ('wsgi_async_threads{state="asleep"}', "state of wsgi_async_threads is never asleep"),
        ('wsgi_async_threads{state=~"busy|off"}', "state of wsgi_async_threads is never off"),
        ("sum by (method) (wsgi_async_threads)", "method is no label of these"),
        ("rate(wsgi_async_threads[5m])", "wsgi_async_threads in rate"),
        ("wsgi_async_requests_total", "wsgi_async_requests_total in no function"),
        ("rate(wsgi_async_requests_total)", "wsgi_async_requests_total has no range"),
    ],
)
def test_what_is_wrong_is_found(expression: str, fault: str, families: list[Any]) -> None:
    """Else the tests above would show nothing."""
    assert faults(expression, families) == [fault]


@pytest.mark.parametrize(
    "expression",
    ["sum(a", "sum(a))", "a{b}", "a{b=c", "quantil(0.5, a)", "a ? b", "[5m]", 'a{b="c}'],
)
def test_what_is_no_expression_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match=r"PromQL|function|unbalanced|missing|complete|nothing"):
        parse(expression)

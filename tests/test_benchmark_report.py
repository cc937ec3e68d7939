"""From runs to what a reader sees: targets, tables, plots."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from benchmark_runs import make_run

from benchmarks import plots, publish, record, report, servers
from benchmarks import targets as targeting
from benchmarks.record import Row
from benchmarks.scenarios import SCENARIOS
from benchmarks.targets import BEST, Clause

ROOT = Path(__file__).resolve().parent.parent


def test_every_target_is_of_a_scenario_and_a_server_that_are_there() -> None:
    for clause in targeting.load():
        assert clause.scenario in SCENARIOS
        assert not clause.against or clause.against in {BEST, *servers.load()}
        assert (clause.at_least is None) != (clause.at_most is None)


@pytest.mark.parametrize(
    ("clause", "value", "text", "verdict"),
    [
        (Clause("r", "hello", against="granian", at_least=0.5), 0.6, "0.60x", "yes"),
        (Clause("r", "hello", against="granian", at_least=0.7), 0.6, "0.60x", "no"),
        (
            Clause("r", "hello", against=BEST, at_least=0.5, reach_for=0.6),
            0.6,
            "0.60x (granian)",
            "reached",
        ),
        (Clause("r", "hello", against="bjoern", at_least=1), None, "-", "not measured"),
        (Clause("r", "other", at_least=1), None, "-", "not measured"),
        (Clause("r", "hello", at_least=40, reach_for=70), 60, "60.0", "yes"),
        (Clause("r", "hello", at_most=60), 60, "60.0", "yes"),
        (Clause("r", "hello", figure="p99/p50", at_most=1.5), 2, "2.00", "no"),
        (Clause("r", "hello", figure="p99", against=BEST, at_most=1), 1, "1.00x (granian)", "yes"),
    ],
)
def test_a_target_is_computed_from_the_run(
    clause: Clause, value: float | None, text: str, verdict: str
) -> None:
    run = make_run({"wsgi_async": [50, 60, 70], "wsgi_async-h11": [500], "granian": [100]})
    found = targeting.reached(clause, run)
    assert found.value == value
    assert found.text(clause) == text
    assert clause.verdict(found.value) == verdict


def test_a_target_of_which_less_is_better() -> None:
    run = make_run({"wsgi_async": [10], "granian": [40], "gunicorn": [20]}, more_is_better=False)
    at_least = Clause("r", "hello", against="granian", at_least=2)
    at_most = Clause("r", "hello", against=BEST, at_most=1, reach_for=0.5)
    assert targeting.reached(at_least, run).value == 4
    assert targeting.reached(at_most, run) == (0.5, "gunicorn")
    assert at_most.verdict(0.5) == "reached"


# Reports


def test_a_table_has_the_best_first_and_what_is_void_below() -> None:
    wrong = Row("hello", "bjoern", 1, void="wrong answer: a|b", wrong=True)
    run = make_run({"waitress": [100, 300, 200], "wsgi_async": [900]}, void=(wrong,))
    assert report.scenario_table(run, "hello").splitlines() == [
        "| server | requests/s | lowest to highest | p50 ms | p99 ms | MB | wsgi_async is |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        "| **wsgi_async** | 900 | 900 to 900 | 1.00 | 2.00 | 10.0 |  |",
        "| waitress | 200 | 100 to 300 | 1.00 | 2.00 | 10.0 | 4.50x |",
        "",
        "- bjoern: void: wrong answer: a\\|b",
    ]


def test_a_table_of_which_less_is_better() -> None:
    run = make_run({"wsgi_async": [9], "waitress": [3]}, more_is_better=False, unit="ms")
    lines = report.scenario_table(run, "hello").splitlines()
    assert "ms (less is better)" in lines[0]
    assert lines[2].startswith("| waitress |")
    assert lines[2].endswith("| 0.33x |")


def test_the_targets_say_which_python_falls_short() -> None:
    old = make_run({"wsgi_async": [90], "granian": [100], "waitress": [10]})
    new = make_run(
        {"wsgi_async": [60], "granian": [100], "waitress": [10]},
        environment={"python": "CPython 3.13.0"},
    )
    lines = report.targets_table([old, new]).splitlines()
    assert lines[0].endswith("| reached on 3.11 | reached on 3.13 | met? |")
    hello = next(line for line in lines if line.startswith("| hello |"))
    assert hello.endswith("| 0.90x<br>9.00x | 0.60x<br>6.00x | 3.11 yes, 3.13 no<br>yes |")


def test_every_scenario_is_in_the_report() -> None:
    run = make_run({"wsgi_async": [1.0]})
    run.scenarios = {
        name: record.Kind(one.about, one.unit, one.more_is_better)
        for name, one in SCENARIOS.items()
    }
    listed = report.grouped([run])
    assert sorted(name for names in listed.values() for name in names) == sorted(SCENARIOS)
    text = report.readme([run])
    assert [name for name in SCENARIOS if f"\n### {name}\n" not in text] == []


def test_the_report_is_the_rendering_of_the_committed_runs() -> None:
    text = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    assert text == report.readme(publish.runs()), "run: python -m benchmarks --render"


def test_the_readme_has_the_section_of_the_committed_runs() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text == publish.with_section(text, publish.runs()), "run: python -m benchmarks --render"


def test_the_section_stands_between_its_markers() -> None:
    run = make_run({"wsgi_async": [1.0]})
    text = f"before\n{publish.BEGIN}\nold\n{publish.END}\nafter\n"
    new = publish.with_section(text, [run])
    assert new.startswith(f"before\n{publish.BEGIN}\n![")
    assert new.endswith(f"```\n{publish.END}\nafter\n")
    assert publish.with_section(new, [run]) == new
    assert publish.with_section("no markers", [run]) == "no markers"


def test_plots_are_equal_for_equal_figures_and_small(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    run = make_run({"wsgi_async": [2, 3, 4], "wsgi_async-h11": [1], "granian": [5], "x": [0]})
    written = []
    for name in ("one", "two"):
        directory = tmp_path / name
        directory.mkdir()
        written.append({path.name: path.read_bytes() for path in plots.draw([run], directory)})
    assert written[0] == written[1]
    assert sorted(written[0]) == ["overview.svg", "requests-3.11.svg"]
    for data in written[0].values():
        assert len(data) < 60_000
        ElementTree.fromstring(data)

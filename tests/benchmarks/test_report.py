"""From runs to what a reader sees: targets, tables, plots."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest
from benchmark_runs import make_run

from benchmarks.harness import record, servers
from benchmarks.harness.record import Row, Run
from benchmarks.reporting import overview, panels, plots, publish, report
from benchmarks.reporting import targets as targeting
from benchmarks.reporting.targets import BEST, BEST_THREADED, Clause
from benchmarks.scenarios import SCENARIOS

ROOT = Path(__file__).resolve().parents[2]


def test_every_target_is_of_a_scenario_and_a_server_that_are_there() -> None:
    for clause in targeting.load():
        assert clause.scenario in SCENARIOS
        assert not clause.against or clause.against in {BEST, BEST_THREADED, *servers.load()}
        assert not clause.peers_of or clause.peers_of in SCENARIOS
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
    assert found.verdict(clause) == verdict


def test_a_target_of_which_less_is_better() -> None:
    run = make_run({"wsgi_async": [10], "granian": [40], "gunicorn": [20]}, more_is_better=False)
    at_least = Clause("r", "hello", against="granian", at_least=2)
    at_most = Clause("r", "hello", against=BEST, at_most=1, reach_for=0.5)
    assert targeting.reached(at_least, run).value == 4
    assert targeting.reached(at_most, run)[:2] == (0.5, "gunicorn")
    assert at_most.word(0.5) == "reached"


@pytest.mark.parametrize(
    ("clause", "ours", "text", "verdict"),
    [
        (Clause("r", "hello", against="granian", at_least=1.0), 99.6, "0.996x", "no"),
        (Clause("r", "hello", against="granian", at_least=1.0), 99.4, "0.99x", "no"),
        (Clause("r", "hello", against="granian", at_least=1.0), 99.996, "0.99996x", "no"),
        (Clause("r", "hello", against="granian", at_least=0.5, reach_for=1), 99.6, "0.996x", "yes"),
        (Clause("r", "hello", against="granian", at_least=13), 1260, "12.6x", "no"),
        (Clause("r", "hello", against="granian", at_most=1), 100.4, "1.004x", "no"),
        (Clause("r", "hello", at_least=0.9), 0.8996, "0.8996", "no"),
        (Clause("r", "hello", at_most=2048, reach_for=1331), 1333, "1,333", "yes"),
    ],
)
def test_a_figure_near_its_bound_has_the_digits_that_tell(
    clause: Clause, ours: float, text: str, verdict: str
) -> None:
    found = targeting.reached(clause, make_run({"wsgi_async": [ours], "granian": [100]}))
    assert (found.text(clause), found.verdict(clause)) == (text, verdict)


@pytest.mark.parametrize(
    ("void", "text", "verdict"),
    [
        ([], "3.00x", "yes"),
        ([Row("hello", "wsgi_async", 3, void="it ended")], "3.00x", "no (2 of 3 rounds)"),
        ([Row("hello", "wsgi_async", 3, void="404", wrong=True)], "void", "no (0 of 3 rounds)"),
        ([Row("hello", "granian", 3, void="it ended")], "3.00x", "yes"),
    ],
)
def test_one_good_round_between_crashes_reaches_nothing(
    void: list[Row], text: str, verdict: str
) -> None:
    run = make_run({"wsgi_async": [3, 3, 3], "granian": [1, 1, 1]})
    gone = {(row.server, row.round) for row in void}
    run.rows = [row for row in run.rows if (row.server, row.round) not in gone] + void
    clause = Clause("r", "hello", against="granian", at_least=1.0)
    found = targeting.reached(clause, run)
    assert (found.text(clause), found.verdict(clause)) == (text, verdict)


def test_the_best_threaded_peer_is_none_of_those_with_one_thread() -> None:
    run = make_run({"wsgi_async": [90], "bjoern": [100], "granian": [60], "waitress": [20]})
    run.servers["bjoern"] = replace(run.servers["bjoern"], one_thread=True)
    clause = Clause("r", "hello", against=BEST_THREADED, at_least=1.0)
    assert clause.asked() == "at least 1x best threaded peer"
    found = targeting.reached(clause, run)
    assert (found.text(clause), found.verdict(clause)) == ("1.50x (granian)", "yes")
    assert targeting.reached(replace(clause, against=BEST), run).peer == "bjoern"


@pytest.mark.parametrize(("figure", "reached"), [("value", 0.5), ("onset", 0.25)])
def test_what_only_wsgi_async_has_is_compared_with_the_same_work(
    figure: str, reached: float
) -> None:
    """More is better of both figures, so the best peer is the one with the most."""
    run = make_run({"granian": [0.9], "bjoern": [0.8]}, unit="ratio", scenario="slow-readers")
    parked = make_run({"wsgi_async": [0.45]}, unit="ratio", scenario="slow-readers-park")
    onsets = {"granian": 0.8, "bjoern": 0.4, "wsgi_async": 0.2}
    run.servers |= parked.servers
    run.scenarios |= parked.scenarios
    run.rows = [replace(row, extra={"onset": onsets[row.server]}) for row in run.rows + parked.rows]
    clause = Clause("r", "slow-readers-park", figure, BEST, peers_of="slow-readers", at_least=0.95)
    found = targeting.reached(clause, run)
    assert found.value == pytest.approx(reached)
    assert (found.peer, found.verdict(clause)) == ("granian", "no")


def test_nothing_beside_nothing_is_not_reached() -> None:
    run = make_run({"wsgi_async": [0], "granian": [0]})
    clause = Clause("r", "hello", against="granian", at_least=1.0)
    found = targeting.reached(clause, run)
    assert (found.text(clause), found.verdict(clause)) == ("", "no")


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


def test_a_table_says_which_servers_do_one_thing_at_a_time() -> None:
    run = make_run({"wsgi_async": [9], "bjoern": [3]})
    run.servers["bjoern"] = replace(run.servers["bjoern"], one_thread=True)
    assert "| bjoern (one thread) | 3.00 |" in report.scenario_table(run, "hello")


def test_who_does_not_take_part_is_named_with_the_reason() -> None:
    run = make_run({"wsgi_async": [1.0]})
    kind = replace(run.scenarios["hello"], left_out={"bjoern": "it has no TLS"})
    run.scenarios["hello"] = kind
    assert "\n\nLeft out: bjoern (it has no TLS).\n\n" in report.readme([run])


def test_a_table_of_which_less_is_better() -> None:
    run = make_run({"wsgi_async": [9], "waitress": [3]}, more_is_better=False, unit="ms")
    lines = report.scenario_table(run, "hello").splitlines()
    assert "ms (less is better)" in lines[0]
    assert lines[2].startswith("| waitress |")
    assert lines[2].endswith("| 0.33x |")


def test_the_targets_say_which_python_falls_short() -> None:
    old = make_run({"wsgi_async": [90], "granian": [80], "bjoern": [90]}, scenario="flask")
    new = make_run(
        {"wsgi_async": [60], "granian": [80], "bjoern": [60]},
        scenario="flask",
        environment={"python": "CPython 3.13.0"},
    )
    for run in (old, new):
        run.servers["bjoern"] = replace(run.servers["bjoern"], one_thread=True)
    lines = report.targets_table([old, new]).splitlines()
    assert lines[0].endswith("| reached on 3.11 | reached on 3.13 | met? |")
    flask = next(line for line in lines if line.startswith("| flask |"))
    reached = "| 1.12x (granian)<br>1.00x | 0.75x (granian)<br>1.00x |"
    assert flask.endswith(f"{reached} 3.11 yes, 3.13 no<br>yes |")


def test_the_other_parser_has_its_own_table_in_the_report_only() -> None:
    run = make_run(
        {"wsgi_async": [90], "wsgi_async-h11": [40], "granian": [100], "bjoern": [50]},
        scenario="flask",
    )
    run.servers["bjoern"] = replace(run.servers["bjoern"], one_thread=True)
    head, _, *lines = report.parser_table([run]).splitlines()
    assert head == "| scenario | asked of the default | h11 on 3.11 |"
    assert [line.split()[1] for line in lines] == ["flask"]
    assert lines[0].endswith(" | 0.40x (granian)<br>0.80x |")
    assert lines[-1] in report.readme([run])
    assert lines[-1] not in report.readme_section([run])
    assert report.parser_table([make_run({"wsgi_async": [90], "granian": [100]})]) == ""


def test_a_figure_that_its_client_limits_is_marked() -> None:
    run = make_run({"wsgi_async": [90], "granian": [100]})
    run.rows = [
        replace(row, extra={"client_busy": {"wsgi_async": 0.9, "granian": 0.91}[row.server]})
        for row in run.rows
    ]
    lines = report.scenario_table(run, "hello").splitlines()
    assert lines[2].startswith("| granian | 100 † |")
    assert lines[3].startswith("| **wsgi_async** | 90.0 |")
    assert lines[-1].startswith("† limited by the client, ")
    run.rows = [replace(row, extra={}) for row in run.rows]
    assert "†" not in report.scenario_table(run, "hello")


def test_runs_of_one_python_are_told_apart(tmp_path: Path) -> None:
    run = make_run({"wsgi_async": [90], "granian": [100]})
    new = make_run({"wsgi_async": [90]}, environment={"python": "CPython 3.13.0"})
    assert report.labels([run, run, new]) == ["3.11", "3.11-2", "3.13"]
    text = report.readme([run, run, new])
    assert "| reached on 3.11 | reached on 3.11-2 | reached on 3.13 |" in text
    assert "(results/requests-3.11.svg)" in text
    assert "(results/requests-3.11-2.svg)" in text
    pytest.importorskip("matplotlib")
    names = [path.name for path in plots.draw([run, run], tmp_path)]
    assert names == ["overview.svg", "ratios.svg", "requests-3.11.svg", "requests-3.11-2.svg"]


def texts_of(svg: str) -> list[str]:
    found = ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")
    return [(one.text or "").strip() for one in found]


VOID = Row("hello", "wsgi_async", 1, void="wrong answer", wrong=True)


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (make_run({"wsgi_async": [0], "granian": [5]}), "0 granian"),
        (make_run({"wsgi_async": [0], "granian": [0]}), "0"),
        (make_run({"wsgi_async": [], "granian": [5]}, void=(VOID,)), "void"),
        (make_run({"wsgi_async": [5], "granian": [0]}), "no other does it at all"),
        (make_run({"wsgi_async": [5], "granian": [5]}), "1.00x granian"),
        (make_run({"wsgi_async": [5], "x": [0]}, more_is_better=False, unit="bytes"), "0 x"),
    ],
)
def test_the_ratios_keep_what_wsgi_async_does_not_do(run: Run, words: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    ratios = plots.draw([run], tmp_path)[1].read_text(encoding="utf-8")
    texts = texts_of(ratios)
    assert "hello" in texts
    assert words in texts


def test_the_overview_names_every_server_and_what_it_does(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    run = make_run({"wsgi_async": [5], "bjoern": [7], "granian": [3], "x": []}, scenario="flask")
    run.servers["bjoern"] = replace(run.servers["bjoern"], one_thread=True)
    run.rows.append(Row("flask", "x", 1, void="wrong answer", wrong=True))
    slow = make_run(
        {"wsgi_async": [1.0], "granian": [0.0], "h": []}, unit="ratio", scenario="slow-readers"
    )
    run.scenarios |= slow.scenarios
    run.rows += [replace(row, extra={"onset": 0.9}) for row in slow.rows]
    texts = texts_of(plots.draw([run], tmp_path)[0].read_text(encoding="utf-8"))
    # Once each, from the bottom to the top: with one thread, with threads, ours.
    names = ["bjoern (one thread)", "x", "granian", "wsgi_async"]
    assert [one for one in texts if one in names] == names
    assert {"5.00", "7.00", "3.00", "100%", "0%", "90%", "void", "-"} <= set(texts)
    assert {"Flask", "once settled", "Real applications"} <= set(texts)
    assert "Django" not in texts
    assert any(one.startswith("A longer bar is better.") for one in texts)


def test_a_longer_bar_is_better_also_of_milliseconds() -> None:
    run = make_run(
        {"wsgi_async": [20], "granian": [40], "gunicorn": [0]},
        more_is_better=False,
        unit="ms",
        scenario="cpu-mix",
    )
    run.rows = [row for row in run.rows if row.server != "gunicorn"]
    column = next(one for one in overview.COLUMNS if one.scenario == "cpu-mix")
    assert overview.length(run, column, "wsgi_async") == 1
    assert overview.length(run, column, "granian") == 0.5
    assert overview.length(run, column, "gunicorn") == 0


def test_a_panel_names_what_is_void(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    run = make_run({"wsgi_async": [], "granian": [5]}, void=(VOID,))
    panel = plots.draw([run], tmp_path)[2].read_text(encoding="utf-8")
    texts = texts_of(panel)
    assert {"void", "wsgi_async", "granian"} <= set(texts)


def test_a_plot_may_show_more_than_a_scenario_s_own_figure(tmp_path: Path) -> None:
    """And leaves out a server of which there is no such figure, as one that holds too few."""
    pytest.importorskip("matplotlib")
    run = make_run(
        {"wsgi_async": [400, 500, 600], "gunicorn": [8]}, scenario="live-held", unit="streams"
    )
    extras = {
        "wsgi_async": {"bytes_each": 7777, "speed": 0.987},
        "gunicorn": {"speed": 0.0},
    }
    run.rows = [replace(row, extra=extras[row.server]) for row in run.rows]
    own, each, speed = panels.panels(run, "live-held")
    assert own.values(run) == {"wsgi_async": (500, 400, 600), "gunicorn": (8, 8, 8)}
    assert each.values(run) == {"wsgi_async": (7777, 7777, 7777)}
    assert [one.more_is_better for one in (own, each, speed)] == [True, False, True]
    written = {path.name: path for path in plots.draw([run], tmp_path)}
    texts = texts_of(written["live-3.11.svg"].read_text(encoding="utf-8"))
    assert {"500", "8.00  (62x)", "7,780", "0.987", "0  (∞)"} <= set(texts)
    assert texts.count("gunicorn") == 2
    assert {own.title, each.title, speed.title} <= set(texts)


def test_a_server_that_was_measured_elsewhere_only_is_no_row_of_the_overview(
    tmp_path: Path,
) -> None:
    pytest.importorskip("matplotlib")
    run = make_run({"wsgi_async": [5], "granian": [3]}, scenario="flask")
    other = make_run({"uvicorn": [5]}, scenario="live-held")
    run.servers |= other.servers
    run.scenarios |= other.scenarios
    run.rows += other.rows
    texts = texts_of(plots.draw([run], tmp_path)[0].read_text(encoding="utf-8"))
    assert "granian" in texts
    assert "uvicorn" not in texts


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
    assert sorted(written[0]) == ["overview.svg", "ratios.svg", "requests-3.11.svg"]
    for data in written[0].values():
        assert len(data) < 60_000
        ElementTree.fromstring(data)


def test_scenarios_of_another_day_go_in_beside_the_others() -> None:
    old = make_run({"wsgi_async": [1, 2, 3], "granian": [4, 5, 6]})
    old = record.merged(old, make_run({"wsgi_async": [7, 7, 7]}, scenario="file"))
    new = make_run(
        {"wsgi_async": [8, 8, 8]}, scenario="file", environment={"commit": "def", "date": "later"}
    )
    found = record.merged(old, new)
    assert [row.value for row in found.rows if row.scenario == "file"] == [8, 8, 8]
    assert [row for row in found.rows if row.scenario == "hello"] == old.rows[:6]
    assert found.scenarios["file"].measured == "later, commit def"
    assert found.scenarios["hello"].measured == ""
    assert "Python 3.11, measured later, commit def:" in report.readme([found])


@pytest.mark.parametrize("name", ["python", "cpu"])
def test_what_was_measured_elsewhere_does_not_go_in(name: str) -> None:
    old = make_run({"wsgi_async": [1]})
    new = make_run({"wsgi_async": [1]}, environment={name: "CPython 9.9 of another machine"})
    with pytest.raises(record.BadRecord, match=f"{name}: CPython 9.9"):
        record.merged(old, new)

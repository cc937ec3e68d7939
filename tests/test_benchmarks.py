"""The benchmark harness: statistics, verdicts, reports, and one very short run."""

from __future__ import annotations

import contextlib
import io
import json
import math
import re
import shutil
import socket
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import compare, peers, plots, processes, publish, record, report, rounds, servers
from benchmarks import targets as targeting
from benchmarks.figures import advantage, best_peer, figures, quantile, voids
from benchmarks.launch import SERVERS as LAUNCHED
from benchmarks.model import Load, Running, Sample, Scenario, WrongAnswer
from benchmarks.record import Kind, Measured, Row, Run
from benchmarks.scenarios import SCENARIOS
from benchmarks.servers import Interpreter, Template
from benchmarks.targets import BEST, Clause
from benchmarks.units import figure_text, number, ratio_text

ROOT = Path(__file__).resolve().parent.parent
HERE = Interpreter(sys.executable, "/env/bin", "/env", "CPython 3.11.7", {}, {})
PLACE = {
    "date": "2026-01-02 03:04 UTC",
    "python": "CPython 3.11.7",
    "commit": "abc",
    "cpu": "A CPU",
    "cores": "2",
    "pinned": "server on core 0, load on core 1",
    "kernel": "Linux 6",
    "wrk": "4.1.0",
}


def make_run(
    values: dict[str, list[float]],
    *,
    more_is_better: bool = True,
    unit: str = "requests/s",
    environment: dict[str, str] | None = None,
    scenario: str = "hello",
    void: tuple[Row, ...] = (),
) -> Run:
    """One scenario, with the values of each server round by round."""
    count = max(map(len, values.values()), default=1)
    return Run(
        PLACE | (environment or {}),
        rounds=count,
        seconds=2.0,
        threads=8,
        servers={name: Measured("1.0", f"run {name}") for name in values},
        scenarios={scenario: Kind("What it does.", unit, more_is_better)},
        rows=[
            Row(scenario, name, number + 1, value=value, p50=1.0, p99=2.0, memory=10_000_000)
            for name, listed in values.items()
            for number, value in enumerate(listed)
        ]
        + list(void),
    )


# How figures are written


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (77_123, "77,100"), (1234.5, "1,230"), (12.345, "12.3"), (0.98765, "0.988")],
)
def test_a_number_has_three_digits_that_mean_something(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.987, "0.99x"), (9.994, "9.99x"), (12.6, "13x"), (math.inf, "∞"), (math.nan, "")],
)
def test_a_ratio_is_a_multiple(value: float, text: str) -> None:
    assert ratio_text(value) == text


def test_a_ratio_has_no_unit() -> None:
    assert figure_text(0.5, "ratio") == "0.500"
    assert figure_text(5, "ms") == "5.00 ms"


# The servers and their templates


def test_the_eight_first_servers_are_the_default() -> None:
    assert list(servers.select(None)) == [
        "wsgi_async",
        "wsgi_async-h11",
        "granian",
        "waitress",
        "gunicorn",
        "bjoern",
        "fastwsgi",
        "tornado",
    ]


def test_all_selects_the_others_too() -> None:
    more = list(servers.select(["all"]))[8:]
    assert more == ["gunicorn-sync", "cheroot", "uvicorn-a2wsgi", "hypercorn", "gevent", "uwsgi"]


def test_an_unknown_server_is_named() -> None:
    with pytest.raises(servers.UnknownServer, match=r"'nginx'; there are wsgi_async, "):
        servers.select(["granian", "nginx"])


@pytest.mark.parametrize("name", servers.load())
def test_each_template_says_where_to_listen_and_what_to_serve(name: str) -> None:
    template = servers.load()[name]
    command = template.fill(port=1234, threads=3, app="a:b", options="--x 1", python=HERE)
    assert any("1234" in word for word in command)
    assert "a:b" in command
    assert command[command.index("--x") + 1] == "1"
    assert not any("{" in word for word in command)
    assert template.imports or template.program


def test_a_template_is_filled_word_by_word() -> None:
    template = Template("x", "{python} -m x --port {port} {options} {app}", "x")
    python = Interpreter("/a b/python", "", "", "", {}, {})
    command = template.fill(port=1, threads=2, app="m:a", options="", python=python)
    assert command == ["/a b/python", "-m", "x", "--port", "1", "m:a"]


def test_a_shown_command_does_not_tell_where_it_ran() -> None:
    template = servers.load()["uwsgi"]
    assert template.shown(8).startswith("bin/uwsgi --http 127.0.0.1:PORT ")


def test_what_is_launched_has_a_launcher() -> None:
    commands = [template.command.split() for template in servers.load().values()]
    asked = {words[3] for words in commands if words[1:3] == ["-m", "benchmarks.launch"]}
    assert asked == set(LAUNCHED)


def test_a_missing_server_is_told_by_name_with_the_reason(tmp_path: Path) -> None:
    there = Template("there", "", "pytest", imports="json")
    module = Template("module", "", "no-such-package", imports="no_such_module")
    program = Template("program", "", "x", program="no-such-program")
    found = servers.probe(sys.executable, [there, module, program], tmp_path)
    assert found.problems == {
        "module": "ModuleNotFoundError: No module named 'no_such_module'",
        "program": "no-such-program is not in the scripts of this Python",
    }
    assert found.packages["pytest"] == pytest.__version__
    assert found.version.split()[-1] == ".".join(map(str, sys.version_info[:3]))


def test_each_peer_is_a_line_of_its_own() -> None:
    lines = peers.requirements("# why\na>=1\n\nb[c] d<2  # together\n")
    assert lines == [["a>=1"], ["b[c]", "d<2"]]


def test_every_server_can_be_installed() -> None:
    text = (ROOT / "benchmarks" / "peers.txt").read_text(encoding="utf-8")
    listed = {re.split(r"[<>=\[]", word)[0] for line in peers.requirements(text) for word in line}
    wanted = {template.package for template in servers.load().values()} - {"wsgi_async"}
    assert wanted <= listed


# What a run leaves behind


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    run = make_run({"wsgi_async": [1.5, 0.0], "granian": [3.0]})
    run.skipped["bjoern"] = "not there"
    run.rows.append(Row("hello", "granian", 2, void='it said "no"', wrong=True))
    run.rows.append(Row("hello", "granian", 3, value=1.0, errors=3, extra={"none": 0.0}))
    path = tmp_path / "run.json"
    record.write(run, path)
    assert record.read(path) == run
    assert path.read_text(encoding="utf-8").count("\n  {") == 5


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 99}', '{"format": 1, "rows": []}'])
def test_what_is_no_run_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "run.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(record.BadRecord, match=re.escape(str(path))):
        record.read(path)


# Statistics


def test_a_figure_is_a_median_with_its_spread() -> None:
    figure = figures(make_run({"granian": [3.0, 1.0, 8.0]}), "hello")["granian"]
    assert (figure.median, figure.low, figure.high, figure.rounds) == (3.0, 1.0, 8.0, 3)
    assert figure.get("p99/p50") == 2.0
    assert figure.get("memory") == 10_000_000
    assert figure.get("p99/nothing") is None


def test_a_void_round_leaves_the_others() -> None:
    crash = Row("hello", "granian", 2, void="it ended")
    run = make_run({"granian": [3.0]}, void=(crash,))
    assert figures(run, "hello")["granian"].rounds == 1
    assert voids(run, "hello") == {"granian": "round 2 void: it ended"}


def test_a_wrong_answer_voids_all_rounds() -> None:
    wrong = Row("hello", "granian", 2, void="wrong answer: 500", wrong=True)
    run = make_run({"granian": [3.0], "waitress": [1.0]}, void=(wrong,))
    assert list(figures(run, "hello")) == ["waitress"]
    assert voids(run, "hello") == {"granian": "void: wrong answer: 500"}


@pytest.mark.parametrize(
    ("ours", "other", "more", "expected"),
    [(2, 1, True, 2), (1, 2, True, 0.5), (1, 2, False, 2), (1, 0, True, math.inf), (0, 5, True, 0)],
)
def test_an_advantage_is_above_one_if_better(
    ours: float, other: float, more: bool, expected: float
) -> None:
    assert advantage(ours, other, more) == expected
    assert math.isnan(advantage(0, 0, more))


def test_the_best_peer_is_none_of_ours() -> None:
    run = make_run({"wsgi_async": [9], "wsgi_async-h11": [8], "granian": [3], "bjoern": [5]})
    found = figures(run, "hello")
    assert best_peer(found, True) == ("bjoern", 5)
    assert best_peer(found, False) == ("granian", 3)
    assert best_peer({"wsgi_async": found["wsgi_async"]}, True) is None


def test_quantiles_lie_between_the_values() -> None:
    assert [quantile([4, 1, 2, 3], part) for part in (0, 0.5, 1)] == [1, 2.5, 4]


# Targets


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


# The guard


@pytest.mark.parametrize(
    ("ratios", "verdict"),
    [
        ([0.9, 0.91, 0.95], "slower"),
        ([0.9, 0.91, 1.01], "no difference"),
        ([0.98, 0.98, 0.98], "no difference"),
        ([1.1, 1.2, 1.05], "faster"),
        ([1.1, 1.2, 0.99], "no difference"),
        ([0.5, 0.5], "not judged"),
        ([0.9, 0.91, 0.95, 0.9, 0.92, 0.93, 0.94, 1.2], "slower"),
        ([0.9, 0.91, 0.95, 0.9, 0.92, 1.1, 1.1, 1.2], "no difference"),
    ],
)
def test_the_guard_wants_median_and_spread(ratios: list[float], verdict: str) -> None:
    assert compare.judge("hello", ratios).verdict == verdict


def test_rounds_are_compared_in_pairs() -> None:
    # The machine becomes twice as fast meanwhile: the ranges overlap, the pairs are clear.
    run = make_run({"wsgi_async": [90, 135, 180], compare.OLD: [100, 150, 200]})
    (verdict,) = compare.by_turns(run)
    assert (verdict.verdict, verdict.ratio, verdict.bad) == ("slower", 0.9, True)


@pytest.mark.parametrize(
    ("gone", "verdict", "bad"),
    [("wsgi_async", "void", True), (compare.OLD, "not judged", False)],
)
def test_a_void_scenario_fails_the_guard_if_it_is_new(gone: str, verdict: str, bad: bool) -> None:
    run = make_run({"wsgi_async": [9, 9, 9], compare.OLD: [9, 9, 9]})
    run.rows.append(Row("hello", gone, 3, void="wrong answer", wrong=True))
    (found,) = compare.by_turns(run)
    assert (found.verdict, found.bad) == (verdict, bad)


def test_an_earlier_run_is_compared_by_its_peers() -> None:
    old = make_run({"wsgi_async": [100, 101, 102], "granian": [200, 200, 200]})
    # The machine is half as fast, and wsgi_async a tenth slower beyond that.
    new = make_run({"wsgi_async": [45, 45.5, 46], "granian": [100, 100, 100]})
    (verdict,), warning = compare.with_earlier(new, old)
    assert warning == ""
    assert verdict.verdict == "slower"
    assert verdict.ratio == pytest.approx(45.5 / 101 * 2)
    (verdict,), _ = compare.with_earlier(old, old)
    assert verdict.verdict == "no difference"


@pytest.mark.parametrize(
    ("values", "environment", "problem"),
    [
        ({"wsgi_async": [1.0], "granian": [1.0]}, {"python": "CPython 3.13.0"}, "Python 3.13 then"),
        ({"wsgi_async": [1.0]}, {"cpu": "Another"}, "another machine and no common peer"),
    ],
)
def test_what_is_not_comparable_is_refused(
    values: dict[str, list[float]], environment: dict[str, str], problem: str
) -> None:
    with pytest.raises(compare.Incomparable, match=problem):
        compare.with_earlier(make_run(values), make_run(values, environment=environment))


def test_another_machine_is_compared_with_a_warning() -> None:
    values = {"wsgi_async": [1.0, 1.0, 1.0], "granian": [1.0, 1.0, 1.0]}
    old = make_run(values, environment={"cpu": "Another"})
    (verdict,), warning = compare.with_earlier(make_run(values), old)
    assert warning.startswith("another machine, compared only by granian: cpu 'Another' then")
    assert verdict.verdict == "no difference"


def test_without_a_peer_the_guard_says_so() -> None:
    run = make_run({"wsgi_async": [1.0, 1.0, 1.0]})
    assert "no common peer" in compare.with_earlier(run, run)[1]


# Processes and rounds

LISTEN = """
import socket, sys
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("serving", flush=True)
while True:
    server.accept()[0].close()
"""
HOLD = """
import os, signal, socket, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.fork()
held = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
signal.pause()
"""


def template(code: str, name: str = "fake") -> Template:
    """A server of one's own: a program that is given its port."""
    return Template(name, f"{{python}} -c '{code}' {{port}}", name)


def test_a_server_is_ended_with_all_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "STOP_TIMEOUT", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as listener, contextlib.ExitStack() as stack:
        listener.settimeout(10)
        with processes.Server("fake", 8) as server:
            port = str(listener.getsockname()[1])
            server.start([sys.executable, "-c", HOLD, port], tmp_path)
            both = [stack.enter_context(listener.accept()[0]) for _ in range(2)]
            if Path("/proc/self/smaps_rollup").exists():
                assert server.memory() > 1_000_000
                assert server.descriptors() >= 8
        for held in both:
            held.settimeout(10)
            assert held.recv(1) == b""


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("import sys; sys.exit('no such application')", "ended with 1: no such application"),
        ("import signal; print('loading', flush=True); signal.pause()", "no answer within 0 s"),
    ],
)
def test_a_server_that_does_not_start_is_told_with_its_last_line(
    tmp_path: Path, code: str, problem: str
) -> None:
    with processes.Server("fake", 8) as server:
        server.start([sys.executable, "-c", code], tmp_path)
        with pytest.raises(processes.NotStarted, match=problem):
            server.wait(10 if "exit" in code else 0.2)


def test_a_stage_has_the_package_of_its_checkout(tmp_path: Path) -> None:
    package = tmp_path / "wsgi_async"
    package.mkdir()
    (package / "__init__.py").write_text("", encoding="utf-8")
    code = "import wsgi_async, benchmarks.model; print(wsgi_async.__file__)"
    with processes.stage(tmp_path) as directory:
        command = [sys.executable, "-c", code]
        found = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=True)
        assert Path(found.stdout.strip()).resolve() == package / "__init__.py"


Measure = Callable[[Running, Load], Sample]


def make_plan(tmp_path: Path, measure: Measure, count: int = 2, code: str = LISTEN) -> rounds.Plan:
    """A scenario measured by `measure`, for two servers that do nothing but accept."""
    contenders = [rounds.Contender(name, template(code, name), tmp_path) for name in ("a", "b")]
    one = Scenario("hello", "About.", "hello", "ms", measure)
    return rounds.Plan(contenders, {"hello": one}, HERE, count, 0.1, 8)


def test_servers_take_turns_and_every_other_round_goes_backwards(tmp_path: Path) -> None:
    progress = io.StringIO()
    plan = make_plan(tmp_path, lambda server, load: Sample(server.port, p99=1.5, errors=2))
    rows = list(rounds.measure(plan, progress=progress))
    assert [(row.server, row.round) for row in rows] == [("a", 1), ("b", 1), ("b", 2), ("a", 2)]
    assert all(20_000 <= (row.value or 0) < 30_000 for row in rows)
    lines = progress.getvalue().splitlines()
    assert len(lines) == 4
    assert re.match(
        r"\[1/4, 0 min left\] hello 1/2 a: 2\d,\d00 ms, p99 1\.5 ms, .*2 FAILED", lines[0]
    )


def test_a_wrong_answer_ends_a_servers_rounds(tmp_path: Path) -> None:
    def measure(server: Running, load: Load) -> Sample:
        if server.name == "a":
            raise WrongAnswer("404")
        return Sample(1.0)

    rows = list(rounds.measure(make_plan(tmp_path, measure), progress=io.StringIO()))
    assert [(row.server, row.void, row.wrong) for row in rows] == [
        ("a", "wrong answer: 404", True),
        ("b", None, False),
        ("b", None, False),
    ]


def test_a_client_that_fails_voids_a_round_only(tmp_path: Path) -> None:
    def measure(server: Running, load: Load) -> Sample:
        raise ValueError("nothing came")

    rows = list(rounds.measure(make_plan(tmp_path, measure), progress=io.StringIO()))
    assert [row.void for row in rows] == ["ValueError: nothing came"] * 4


def test_a_measurement_that_does_not_end_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "PATIENCE", -0.9)

    def measure(server: Running, load: Load) -> Sample:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.accept()
        return Sample(1.0)

    rows = list(rounds.measure(make_plan(tmp_path, measure, count=1), progress=io.StringIO()))
    assert [row.void for row in rows] == ["the measurement did not end"] * 2


def test_a_server_that_ends_under_load_is_told_as_such(tmp_path: Path) -> None:
    code = LISTEN.replace("while True:", "for _ in range(2):")

    def measure(server: Running, load: Load) -> Sample:
        # The first connection was the one that waited for the port, and this is the last one.
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
            client.recv(1)
        raise WrongAnswer("cut short")

    plan = make_plan(tmp_path, measure, count=1, code=code)
    rows = list(rounds.measure(plan, progress=io.StringIO()))
    assert [(row.void, row.wrong) for row in rows] == [
        ("the server ended with 0: serving", False)
    ] * 2


# The command


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments], cwd=ROOT, capture_output=True, text=True
    )


def test_the_command_measures_and_writes(tmp_path: Path) -> None:
    if shutil.which("wrk") is None:
        pytest.skip("wrk is not installed")
    path = tmp_path / "new" / "run.json"
    options = ["--servers", "wsgi_async", "--scenarios", "hello", "--rounds", "1"]
    done = command(*options, "--seconds", "0.3", "--json", str(path))
    assert done.returncode == 0, done.stderr
    assert f"wsgi_async of {ROOT / 'wsgi_async' / '__init__.py'}\n" in done.stderr
    assert "\n[1/1, 0 min left] hello 1/1 wsgi_async: " in done.stderr
    assert done.stdout.startswith("## hello\n\n| server | requests/s |")
    run = record.read(path)
    (row,) = run.rows
    assert row.value is not None
    assert row.value > 100
    assert row.errors == 0
    assert run.servers["wsgi_async"].command.startswith("python -m wsgi_async --threads 8 ")
    assert json.loads(path.read_text(encoding="utf-8"))["format"] == record.FORMAT


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--servers", "nginx"], "no server 'nginx'; there are wsgi_async,"),
        (["--scenarios", "goodbye"], "no scenario 'goodbye'; there are hello,"),
        (["--python", "/no/such/python"], "--python /no/such/python does not run:"),
        (["--compare", "tests"], "tests is no checkout: it has no wsgi_async"),
        (["--compare", "README.md"], "README.md: not the JSON of a run"),
    ],
)
def test_a_wrong_command_is_told_in_one_line(arguments: list[str], problem: str) -> None:
    if shutil.which("wrk") is None:
        pytest.skip("wrk is not installed")
    done = command(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(problem)
    assert done.stderr.count("\n") == 1


def test_the_list_names_servers_and_scenarios() -> None:
    done = command("--list")
    assert done.returncode == 0
    listed = {words[0] for line in done.stdout.splitlines() if (words := line.split())}
    assert {*servers.load(), *SCENARIOS} <= listed

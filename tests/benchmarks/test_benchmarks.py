"""The benchmark harness: servers, rounds, statistics, and one very short run."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import math
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from benchmark_runs import make_run

from benchmarks import peers
from benchmarks.harness import processes, record, rounds, servers
from benchmarks.harness.launch import SERVERS as LAUNCHED
from benchmarks.harness.model import Load, Running, Sample, Scenario, WrongAnswer
from benchmarks.harness.record import Row
from benchmarks.harness.servers import Interpreter, Template
from benchmarks.harness.units import figure_text, number, ratio_text
from benchmarks.reporting.figures import advantage, best_peer, figures, quantile, voids
from benchmarks.scenarios import SCENARIOS

ROOT = Path(__file__).resolve().parents[2]
HERE = Interpreter(sys.executable, "/env/bin", "/env", "CPython 3.11.7", {}, {})

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


def test_the_twelve_first_servers_are_the_default() -> None:
    assert list(servers.select(None)) == [
        "wsgi_async",
        "wsgi_async-h11",
        "granian",
        "waitress",
        "gunicorn",
        "bjoern",
        "fastwsgi",
        "tornado",
        "peregrine",
        "m0serve",
        "freastal",
        "fastpysgi",
    ]


def test_all_selects_the_others_too() -> None:
    more = list(servers.select(["all"]))[12:]
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
    asked = {words[3] for words in commands if words[1:3] == ["-m", "benchmarks.harness.launch"]}
    assert asked == set(LAUNCHED)


def test_options_for_servers_of_this_project_are_theirs_alone() -> None:
    log = "--access-logfile '/tmp/{x} y'"
    templates = servers.select(["wsgi_async", "wsgi_async-h11", "gunicorn"], log)
    for name, template in templates.items():
        words = template.fill(port=1, threads=2, app="m:a", options="--last", python=HERE)
        ours = ["--access-logfile", "/tmp/{x} y", "--last", "m:a"]
        assert (words[-4:] == ours) == (name != "gunicorn")
        assert ("/tmp/{x} y" in template.shown(8)) == (name != "gunicorn")


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
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("OSError: [Errno 2] none: '/home/me/bin/run.py'", "OSError: [Errno 2] none: 'run.py'"),
        ("Traceback:\n  File x\nKeyError: 'a'\n", "KeyError: 'a'"),
        ("wrong answer: GET /articles/1/comments?a=b: status 404", None),
        ("http://127.0.0.1:80/a/b in benchmarks/apps.py is text/plain", None),
        ("ImportError: /env/lib/libev.so.4: no", "ImportError: libev.so.4: no"),
        ("", ""),
    ],
)
def test_what_is_recorded_does_not_tell_where_it_ran(
    tmp_path: Path, text: str, told: str | None
) -> None:
    assert record.pathless(text) == (text if told is None else told)
    run = make_run({"wsgi_async": []}, void=(Row("hello", "wsgi_async", 1, void=text),))
    run.skipped["bjoern"] = text
    record.write(run, tmp_path / "run.json")
    read = record.read(tmp_path / "run.json")
    assert (read.rows[0].void, read.skipped["bjoern"]) == (record.pathless(text),) * 2


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


def test_a_server_may_not_take_all_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "MOST_MEMORY", 200 << 20)
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with processes.Server("fake", 8) as server:
        server.start([sys.executable, "-c", "bytearray(300 << 20)"], tmp_path)
        with pytest.raises(processes.NotStarted, match="ended with 1: MemoryError"):
            server.wait(10)
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


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
    code = "import wsgi_async, benchmarks.harness.model; print(wsgi_async.__file__)"
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


@pytest.mark.parametrize("pinned", [True, False])
def test_a_server_and_its_load_have_their_own_cores_unless_they_may_use_all(
    tmp_path: Path, pinned: bool
) -> None:
    pins: list[tuple[str, ...]] = []

    def measure(server: Running, load: Load) -> Sample:
        assert isinstance(server, processes.Server)
        assert server._process is not None
        allowed = os.sched_getaffinity(server._process.pid)
        pins.append(load.pin)
        return Sample(len(allowed))

    plan = make_plan(tmp_path, measure, count=1)
    scenarios = {"hello": dataclasses.replace(plan.scenarios["hello"], pinned=pinned)}
    plan = dataclasses.replace(plan, scenarios=scenarios)
    values = [row.value for row in rounds.measure(plan, progress=io.StringIO())]
    if pinned:
        assert pins == [processes.pins().load] * 2
        assert values == [1 if processes.pins().server else len(os.sched_getaffinity(0))] * 2
    else:
        assert pins == [()] * 2
        assert values == [len(os.sched_getaffinity(0))] * 2


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
        (
            ["--compare", ".", "--scenarios", "hello", "--rounds", "9"],
            "this comparison needs at least --rounds 10",
        ),
        (
            ["--compare", ".", "--servers", "no-such"],
            "no server 'no-such'; there are",
        ),
    ],
)
def test_a_wrong_command_is_told_in_one_line(arguments: list[str], problem: str) -> None:
    if shutil.which("wrk") is None:
        pytest.skip("wrk is not installed")
    done = command(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(problem)
    assert done.stderr.count("\n") == 1


def test_a_run_that_is_hung_up_keeps_what_it_has(tmp_path: Path) -> None:
    if shutil.which("wrk") is None:
        pytest.skip("wrk is not installed")
    path = tmp_path / "run.json"
    options = ["--servers", "wsgi_async", "--scenarios", "hello", "--rounds", "500"]
    # Where the tests were started with nohup the signal is ignored, and a child inherits that.
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks", *options, "--seconds", "0.1", "--json", str(path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    signal.signal(signal.SIGHUP, before)
    try:
        assert process.stderr is not None
        # A line is printed before its figure is kept: at the second, the first one is.
        while "[2/500" not in (line := process.stderr.readline()):
            assert line
        assert len(record.read(path).rows) >= 1
        process.send_signal(signal.SIGHUP)
        told = process.communicate(timeout=30)[1]
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 130
    assert "interrupted: what was measured so far is kept" in told
    assert len(record.read(path).rows) >= 1


def test_the_list_names_servers_and_scenarios() -> None:
    done = command("--list")
    assert done.returncode == 0
    listed = {words[0] for line in done.stdout.splitlines() if (words := line.split())}
    assert {*servers.load(), *SCENARIOS} <= listed

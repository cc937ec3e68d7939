"""The servers that are measured: their templates, and their processes."""

from __future__ import annotations

import contextlib
import re
import resource
import socket
import ssl
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from benchmark_runs import HERE
from tools import require_program

from benchmarks import peers
from benchmarks.harness import certificates, processes, servers
from benchmarks.harness.launch import SERVERS as LAUNCHED
from benchmarks.harness.servers import Interpreter, Template
from benchmarks.scenarios import SCENARIOS

ROOT = Path(__file__).resolve().parents[2]


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
    assert more == [
        "gunicorn-sync",
        "cheroot",
        "uvicorn-a2wsgi",
        "hypercorn",
        "gevent",
        "uwsgi",
        "gunicorn-gevent",
        "uvicorn",
        "m0serve-realtime",
        "uwsgi-socket",
    ]


def test_a_scenario_may_have_others_measured_beside_the_default_ones() -> None:
    more = set(servers.select(None, also=("hypercorn", "granian"))) - set(servers.select(None))
    assert more == {"hypercorn"}


@pytest.mark.parametrize("template", servers.load().values(), ids=lambda template: template.name)
def test_each_template_speaks_tls_or_says_why_not(template: Template) -> None:
    assert bool(template.tls) != bool(template.no_tls)
    plain, over_tls = SCENARIOS["hello"], SCENARIOS["tls"]
    assert template.suits(plain)
    assert template.suits(over_tls) == bool(template.tls)
    assert template.options(plain) == ""
    assert template.options(over_tls) == template.tls
    if template.tls:
        assert template.tls.split()[1::2] == [certificates.CERTIFICATE, certificates.KEY]


def test_options_of_a_scenario_follow_those_for_tls() -> None:
    scenario = replace(SCENARIOS["tls"], options={"gunicorn": "--x 1"})
    assert servers.load()["gunicorn"].options(scenario).endswith("--keyfile key.pem --x 1")


def test_the_certificate_is_one_pair_for_all(tmp_path: Path) -> None:
    require_program("openssl")
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    certificates.copy(first, second)  # where there is none it is no error
    certificates.make(first)
    certificates.copy(first, second)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(second / certificates.CERTIFICATE, second / certificates.KEY)
    assert b"BEGIN PRIVATE KEY" in (second / certificates.KEY).read_bytes()


def test_without_openssl_there_is_no_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(certificates.NoCertificate, match="need openssl"):
        certificates.make(tmp_path)


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


HOLD = """
import os, signal, socket, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.fork()
held = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
signal.pause()
"""


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


@pytest.mark.parametrize("name", ["GUNICORN_CMD_ARGS", "PYTHONDONTWRITEBYTECODE"])
def test_a_server_finds_no_setting_of_the_one_who_measures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Of a checkout alone it would be told to compile everything anew at each start."""
    monkeypatch.setenv(name, "1")
    with processes.Server("fake", 8) as server:
        code = f"import os, sys; sys.exit(str(os.environ.get({name!r})))"
        server.start([sys.executable, "-c", code], tmp_path)
        with pytest.raises(processes.NotStarted, match="ended with 1: None"):
            server.wait(10)


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

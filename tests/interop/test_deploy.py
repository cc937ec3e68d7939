"""What examples/deploy/ says, as far as a machine without containers and service managers can tell:
units that systemd accepts, command lines that are right, and times that fit together."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from rawclient import TIMEOUT, RawClient
from serving import Command
from tools import ROOT, ReservedPort, require_program

from wsgi_async.config.option import parse_duration
from wsgi_async.system.systemd import VARIABLES

DEPLOY = ROOT / "examples" / "deploy"
PRINTED = [
    "nginx.conf",
    *(f"nginx-{name}.conf" for name in ("uwsgi", "fastcgi", "scgi")),
    "Caddyfile",
]
"""Files for somebody else, which say what the server is told."""
SERVICES = [path.name for path in sorted(DEPLOY.glob("*.service"))]

APPLICATION = """
import json, os

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"environ": dict(os.environ), "cwd": os.getcwd()}).encode()]
"""


def unit(name: str = "mysite.service") -> dict[str, str]:
    """The settings of a unit; of a repeated one the last."""
    text = (DEPLOY / name).read_text().replace("\\\n", " ")
    return dict(re.findall(r"^([A-Za-z]+)=(.*)$", text, re.MULTILINE))


def instruction(name: str) -> list[str]:
    """The list that an instruction of the Dockerfile ends with."""
    text = re.sub(r"^#.*\n", "", (DEPLOY / "Dockerfile").read_text(), flags=re.MULTILINE)
    match = re.search(rf"^{name}\b.*?(\[.*?\])$", text.replace("\\\n", ""), re.MULTILINE)
    assert match is not None
    found: list[str] = json.loads(match[1])
    return found


def unwrapped(name: str) -> str:
    """A file whose comments have a command on one line each."""
    return (DEPLOY / name).read_text().replace("\\\n#", "")


def printed(name: str) -> str:
    """The one command that a comment of a file says to run."""
    [found] = re.findall(r"^# +(wsgi-async .*)$", unwrapped(name), re.M)
    return str(found)


def commands() -> dict[str, list[str]]:
    """Each command line of a server, without the program."""
    service = unit()["ExecStart"].replace("${CACHE_DIRECTORY}", "/var/cache/mysite")
    procfile = (DEPLOY / "Procfile").read_text().removeprefix("web: ")
    haproxy = re.findall(r"^#   (wsgi-async .*)$", unwrapped("haproxy.cfg"), re.M)
    found = {
        "mysite.service": shlex.split(service),
        "Procfile": shlex.split(procfile),
        "Dockerfile": instruction("CMD"),
        "haproxy.cfg-a": shlex.split(haproxy[0]),
        "haproxy.cfg-b": shlex.split(haproxy[1]),
        **{name: shlex.split(printed(name)) for name in PRINTED},
    }
    assert all(Path(words[0]).name == "wsgi-async" for words in found.values())
    return {name: words[1:] for name, words in found.items()}


def given(words: list[str], flag: str) -> float:
    """The duration that a command line gives for an option, 0 if none."""
    return parse_duration(words[words.index(flag) + 1]) if flag in words else 0.0


def clean(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    kept = {name: value for name, value in kept.items() if not name.startswith("WSGI_ASYNC_")}
    return {**kept, "PYTHONPATH": str(ROOT), **more}


def test_every_file_is_in_the_table() -> None:
    table = re.findall(r"\[`([^`]+)`\]\(([^)]+)\)", (DEPLOY / "README.md").read_text())
    names = [name for name, link in table if name == link]
    assert sorted([*names, "README.md"]) == sorted(path.name for path in DEPLOY.iterdir())


@pytest.mark.parametrize("where", commands())
def test_command_lines(where: str) -> None:
    words = commands()[where]
    assert words[0] == "mysite.wsgi:application"
    done = subprocess.run(
        [sys.executable, "-m", "wsgi_async", *words, "--print-config"],
        cwd=DEPLOY,
        env=clean(PORT="8123", WEB_CONCURRENCY="3"),
        timeout=TIMEOUT,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    bind = re.search(r"^bind = (.*?) +# (.*)$", done.stdout, re.MULTILINE)
    workers = re.search(r"^workers = (.*?) +# (.*)$", done.stdout, re.MULTILINE)
    assert bind is not None
    assert workers is not None
    if where in ("Procfile", "Dockerfile"):
        assert bind.groups() == ('[":8123"]', "$PORT")
        assert workers.groups() == ("3", "$WEB_CONCURRENCY")


@pytest.mark.parametrize("where", [name for name in commands() if name != "mysite.service"])
def test_the_server_takes_them(where: str, tmp_path: Path) -> None:
    """With an application of that name; the service's directories are where it is installed."""
    (tmp_path / "mysite").mkdir()
    (tmp_path / "mysite" / "wsgi.py").write_text(APPLICATION)
    done = subprocess.run(
        [sys.executable, "-m", "wsgi_async", *commands()[where], "--check-config"],
        cwd=tmp_path,
        env=clean(PORT="8123"),
        timeout=TIMEOUT,
        capture_output=True,
        text=True,
    )
    said = "The configuration and the application mysite.wsgi:application are good\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, said, "")


# --- Times


def test_nobody_is_killed_before_the_graceful_timeout() -> None:
    for service in SERVICES:
        words = shlex.split(unit(service)["ExecStart"])
        graceful = given(words, "--graceful-timeout") + given(words, "--drain-delay")
        assert parse_duration(unit(service)["TimeoutStopSec"]) > graceful + 5
    assert given(commands()["Procfile"], "--graceful-timeout") + 5 <= 30
    text = (DEPLOY / "Dockerfile").read_text()
    match = re.search(r"--stop-timeout ([0-9]+) ", text)
    assert match is not None
    assert int(match[1]) > given(commands()["Dockerfile"], "--graceful-timeout") + 5


def test_haproxy_notices_before_the_drain_delay_ends() -> None:
    text = (DEPLOY / "haproxy.cfg").read_text()
    match = re.search(r"default-server check inter (\S+) fastinter (\S+) fall 2 ", text)
    check = re.search(r"timeout check (\S+)", text)
    assert match is not None
    assert check is not None
    slowest = parse_duration(match[1]) + parse_duration(match[2]) + parse_duration(check[1])
    for name in ("haproxy.cfg-a", "haproxy.cfg-b"):
        assert given(commands()[name], "--drain-delay") > slowest


# --- systemd


@pytest.mark.parametrize("name", SERVICES)
def test_systemd_accepts_the_units(name: str, tmp_path: Path) -> None:
    program = require_program("systemd-analyze")
    told = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    version = re.match(r"systemd ([0-9]+)", told.stdout)
    assert version is not None
    text = (DEPLOY / name).read_text()
    # It looks whether the program is there.
    text = text.replace("/srv/mysite/venv/bin/wsgi-async", sys.executable)
    if int(version[1]) < 253:
        # What the comment says to write then.
        old = re.search(r"^#Type=notify\n#ExecReload=.*\n", text, re.MULTILINE)
        assert old is not None
        assert "\nType=notify-reload\n" in text
        text = text.replace("\nType=notify-reload\n", "\n")
        text = text.replace(old[0], old[0].replace("#", ""))
    service = tmp_path / name
    service.write_text(text)
    sockets = unit(name).get("Requires", "").split()
    units = [service, *(Path(shutil.copy(DEPLOY / each, tmp_path)) for each in sockets)]
    done = subprocess.run(
        [program, "verify", "--man=no", *map(str, units)],
        timeout=TIMEOUT,
        capture_output=True,
        text=True,
    )
    complaints = [line for line in done.stderr.splitlines() if "mysite" in line]
    assert (done.returncode, complaints) == (0, [])


class Manager:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, directory: Path) -> None:
        self.path = f"{directory}/notify"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.settimeout(TIMEOUT)
        self.socket.bind(self.path)

    def wait_for(self, line: str) -> list[str]:
        while line not in (lines := self.socket.recv(65536).decode().split("\n")):
            pass
        return lines


@contextlib.contextmanager
def activated(directory: Path, port: int, environ: Mapping[str, str]) -> Iterator[Command]:
    """The service as systemd starts it, with its own tool: at the first connection, which it has
    waiting in the socket."""
    program = require_program("systemd-socket-activate")
    words = commands()["mysite.service"]
    for name, value in {
        "--chdir": str(directory),
        "--spool-dir": str(directory),
        "--workers": "2",
    }.items():
        words[words.index(name) + 1] = value
    variables = [f"--setenv={name}={value}" for name, value in clean(**environ).items()]
    activate = [program, f"--listen=127.0.0.1:{port}", *variables]
    server = [sys.executable, "-m", "wsgi_async", *words]
    # Command runs Python; this one becomes that program.
    with Command(program=f"import os; os.execv({program!r}, {[*activate, *server]!r})") as command:
        yield command


def test_socket_activation_and_notification(tmp_path: Path) -> None:
    site = tmp_path / "site"
    (site / "mysite").mkdir(parents=True)
    (site / "mysite" / "wsgi.py").write_text(APPLICATION)
    manager = Manager(tmp_path)
    environ = {"NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "400000"}
    with manager.socket, contextlib.ExitStack() as stack:
        with ReservedPort() as reserved:
            port = reserved.number
            command = stack.enter_context(activated(site, port, environ))
            command.wait_for(rf"Listening on 127\.0\.0\.1:{port}")
        with RawClient(("127.0.0.1", port)) as client:
            facts = json.loads(client.get("/").body)
        assert facts["cwd"] == str(site)
        assert not VARIABLES & facts["environ"].keys()
        command.wait_for(rf"Listening on http://127\.0\.0\.1:{port} \(2 processes")
        manager.wait_for("READY=1")
        for _ in range(3):
            manager.wait_for("WATCHDOG=1")
        # What `systemctl reload` does, and waits for.
        command.signal(signal.SIGHUP)
        assert any(line.startswith("MONOTONIC_USEC=") for line in manager.wait_for("RELOADING=1"))
        manager.wait_for("READY=1")
        # New code that does not start must not make systemctl wait for ever.
        (site / "mysite" / "wsgi.py").write_text("broken")
        command.signal(signal.SIGHUP)
        manager.wait_for("RELOADING=1")
        manager.wait_for("READY=1")
        with RawClient(("127.0.0.1", port)) as client:
            assert client.get("/").status == 200
        command.signal(signal.SIGTERM)
        manager.wait_for("STOPPING=1")
        assert command.wait() == 0


# --- Docker


def test_the_health_check(tmp_path: Path) -> None:
    """It fails where nobody listens, and where the answer is not 200."""
    program, *arguments = instruction("HEALTHCHECK")
    assert program == "python"
    (tmp_path / "mysite.py").write_text(APPLICATION)

    def check(port: int) -> int:
        done = subprocess.run(
            [sys.executable, *arguments],
            env={"PORT": str(port), "http_proxy": "http://127.0.0.1:9"},
            timeout=TIMEOUT,
            stderr=subprocess.DEVNULL,
        )
        return done.returncode

    words = commands()["Dockerfile"]
    words[0] = str(tmp_path / "mysite.py")
    with Command(*words, "--port", "0", "--host", "127.0.0.1") as command:
        assert check(command.address[1]) == 0
        command.signal(signal.SIGTERM)
        assert command.wait() == 0
        assert check(command.address[1]) == 1
    words[words.index("--health-path") + 1] = "/elsewhere"
    (tmp_path / "mysite.py").write_text(APPLICATION.replace("200 OK", "404 Not Found"))
    with Command(*words, "--port", "0", "--host", "127.0.0.1") as command:
        assert check(command.address[1]) == 1

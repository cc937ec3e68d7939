"""Debian's HAProxy in front of two servers, as examples/deploy/haproxy.cfg has it."""

from __future__ import annotations

import contextlib
import csv
import re
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import pytest
from counting import Load
from rawclient import TIMEOUT
from serving import Command
from tools import ROOT, ReservedPort, require_program

CONFIG = ROOT / "examples" / "deploy" / "haproxy.cfg"

APPLICATION = """
import os

PID = os.getpid()

def application(environ, start_response):
    body = f"{PID} v1 {environ['QUERY_STRING']}".encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""


class Site:
    """The two servers, as the comment at the head of the configuration starts them."""

    def __init__(self, directory: Path, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self.application = directory / "site_app.py"
        self.application.write_text(APPLICATION)
        self.ports = {name: ReservedPort() for name in ("a", "b")}
        for port in self.ports.values():
            stack.enter_context(port)
        commands = re.findall(r"^#   wsgi-async (.*)$", CONFIG.read_text(), re.MULTILINE)
        self._arguments = dict(zip("ab", map(shlex.split, commands), strict=True))

    def start(self, name: str) -> Command:
        application, bind, address, *options = self._arguments[name]
        assert (application, bind) == ("mysite.wsgi:application", "--bind")
        assert re.fullmatch(r"127\.0\.0\.1:800[12]", address)
        where = f"127.0.0.1:{self.ports[name].number}"
        command = Command(str(self.application), bind, where, *options, "--workers", "2")
        self._stack.enter_context(command)
        self._stack.callback(end, command)
        command.wait_for("Listening on")
        return command


def end(server: Command) -> None:
    """Without waiting for the --drain-delay."""
    if server.process.poll() is None:
        server.signal(signal.SIGQUIT)
        server.wait()


class HAProxy:
    """HAProxy with the example's configuration and other addresses."""

    def __init__(self, program: str, directory: Path, site: Site) -> None:
        self._admin = f"{directory}/admin.sock"
        self._log = directory / "haproxy.log"
        # It inherits its listening socket: connections wait there until it is ready.
        self.listener = socket.create_server(("127.0.0.1", 0))
        number = self.listener.fileno()
        text = CONFIG.read_text()
        for old, new in [
            ("bind :8000", f"bind fd@{number}"),
            ("/run/haproxy/admin.sock mode", f"{self._admin} mode"),
            ("server a 127.0.0.1:8001", f"server a 127.0.0.1:{site.ports['a'].number}"),
            ("server b 127.0.0.1:8002", f"server b 127.0.0.1:{site.ports['b'].number}"),
        ]:
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        path = directory / "haproxy.cfg"
        path.write_text(text)
        self._command = [program, "-db", "-f", str(path)]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> tuple[str, int]:
        return ("127.0.0.1", self.listener.getsockname()[1])

    def start(self) -> None:
        with open(self._log, "wb") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[self.listener.fileno()],
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.listener.close()
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(TIMEOUT)
            finally:
                self._process.kill()
                self._process.wait()

    def figures(self, name: str) -> dict[str, str]:
        """Its statistics of a server, or of both as ``BACKEND``; nothing before it answers."""
        with socket.socket(socket.AF_UNIX) as admin:
            admin.settimeout(TIMEOUT)
            try:
                admin.connect(self._admin)
            except OSError:
                return {"status": "not there"}
            admin.sendall(b"show stat\n")
            with admin.makefile(encoding="ascii") as answer:
                lines = answer.read().removeprefix("# ").splitlines()
        rows = csv.DictReader(filter(None, lines))
        [row] = [row for row in rows if (row["pxname"], row["svname"]) == ("servers", name)]
        return row

    def status(self, name: str) -> str:
        """``UP``, ``DOWN``, or on the way there ``UP 1/2``."""
        return self.figures(name)["status"]

    def wait_until(self, name: str, is_wanted: Callable[[str], bool]) -> None:
        """Look until the server has such a status: HAProxy tells nobody by itself."""
        deadline = time.monotonic() + TIMEOUT
        while not is_wanted(status := self.status(name)):
            assert time.monotonic() < deadline, f"{name} is {status}\n{self._log.read_text()}"
            time.sleep(0.01)

    def wait_until_up(self, name: str) -> None:
        # It takes a server for good until two checks have failed: ask what the last one said.
        self.wait_until(
            name, lambda status: status == "UP" and self.figures(name)["check_code"] == "200"
        )


@pytest.fixture
def stack() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as found:
        yield found


@pytest.fixture
def site(tmp_path: Path, stack: contextlib.ExitStack) -> Site:
    return Site(tmp_path, stack)


@pytest.fixture
def haproxy(tmp_path: Path, stack: contextlib.ExitStack, site: Site) -> HAProxy:
    return stack.enter_context(HAProxy(require_program("haproxy"), tmp_path, site))


@pytest.mark.soak
def test_servers_restarted_one_after_the_other_lose_no_request(
    haproxy: HAProxy, site: Site
) -> None:
    servers = {name: site.start(name) for name in "ab"}
    haproxy.start()
    for name in servers:
        haproxy.wait_until_up(name)
    with Load(haproxy.address, kept=8, fresh=4, pauses=(0, 0.005, 0.05, 0.5)) as load:
        old = load.wait_for_processes(4)
        for name, server in servers.items():
            server.signal(signal.SIGTERM)
            haproxy.wait_until(name, lambda status: status.startswith("DOWN"))
            # HAProxy has noticed while the server still serves.
            assert server.process.poll() is None
            assert server.wait() == 0
            load.wait_for_more()
            site.start(name)
            haproxy.wait_until_up(name)
        # All new processes take part, and no old one.
        load.wait_for_processes(8)
        assert not old & load.seen_from_now(200)
    load.assert_flawless()
    # Nothing was even tried twice.
    figures = haproxy.figures("BACKEND")
    counts = {name: figures[name] for name in ("econ", "eresp", "wretr", "wredis", "hrsp_5xx")}
    assert set(counts.values()) == {"0"}, counts
    for server in servers.values():
        server.assert_clean()


def test_a_server_that_cannot_be_reached_costs_no_request(haproxy: HAProxy, site: Site) -> None:
    """Until HAProxy has noticed, connections that fail are made to the other one."""
    site.start("a")
    with Load(haproxy.address, kept=4, fresh=4) as load:
        # Requests are there before its first check.
        haproxy.start()
        haproxy.wait_until("b", lambda status: status == "DOWN")
        load.wait_for_more()
    load.assert_flawless()
    assert int(haproxy.figures("BACKEND")["wredis"]) > 0

"""Debian's HAProxy in front of two servers, as examples/deploy/haproxy.cfg has it: it ends TLS, the
PROXY protocol tells them who asks, and they are restarted one after the other."""

from __future__ import annotations

import contextlib
import csv
import re
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Self

import pytest
from counting import Load
from front_ends import DEPLOY, HOST, Front, listener, make_certificate, shipped
from rawclient import TIMEOUT, RawClient
from serving import APPS, Command
from tools import ROOT, ReservedPort, require_module, require_program

APPLICATION = """
import os

PID = os.getpid()

def application(environ, start_response):
    body = f"{PID} v1 {environ['QUERY_STRING']}".encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""


CLIENT = "127.0.0.2"
STRANGER = "203.0.113.9"
"""Who a client says it is."""


def printed_commands() -> list[list[str]]:
    """The words after the program, as the comment at the head of the configuration has them."""
    text = (DEPLOY / "haproxy.cfg").read_text().replace("\\\n#", "")
    found = [shlex.split(line) for line in re.findall(r"^#   wsgi-async (.*)$", text, re.MULTILINE)]
    assert len(found) == 2
    return found


class Site:
    """The two servers, as the configuration says that they run."""

    def __init__(self, directory: Path, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        (directory / "site_app.py").write_text(APPLICATION)
        self.application = f"{directory}/site_app.py"
        self.ports = {name: ReservedPort() for name in ("a", "b")}
        for port in self.ports.values():
            stack.enter_context(port)
        self._arguments = dict(zip("ab", printed_commands(), strict=True))

    def start(self, name: str, *more: str) -> Command:
        application, bind, address, *options = self._arguments[name]
        assert (application, bind) == ("mysite.wsgi:application", "--bind")
        assert re.fullmatch(r"127\.0\.0\.1:800[12]", address)
        where = f"127.0.0.1:{self.ports[name].number}"
        env = {"PYTHONPATH": f"{ROOT}:{APPS}"}
        command = Command(self.application, bind, where, *options, "--workers", "2", *more, env=env)
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
        # It inherits its listening sockets: connections wait there until it is ready.
        self.listeners = {"http": listener(), "https": listener()}
        certificate = make_certificate(directory)
        text = shipped(
            "haproxy.cfg",
            {
                "bind :80\n": f"bind fd@{self.listeners['http'].fileno()}\n",
                "bind :443 ": f"bind fd@{self.listeners['https'].fileno()} ",
                "/etc/haproxy/mysite.pem": str(certificate.both),
                "/run/haproxy/admin.sock mode": f"{self._admin} mode",
                "server a 127.0.0.1:8001": f"server a 127.0.0.1:{site.ports['a'].number}",
                "server b 127.0.0.1:8002": f"server b 127.0.0.1:{site.ports['b'].number}",
            },
        )
        path = directory / "haproxy.cfg"
        path.write_text(text)
        self._command = [program, "-db", "-f", str(path)]
        self._process: subprocess.Popen[bytes] | None = None
        ports = {scheme: one.getsockname()[1] for scheme, one in self.listeners.items()}
        self.front = Front(ports, certificate)

    @property
    def address(self) -> tuple[str, int]:
        return ("127.0.0.1", self.front.ports["http"])

    def check(self) -> str:
        """What it says of its configuration, which has to be valid."""
        done = subprocess.run(
            [*self._command[:1], "-c", *self._command[2:]],
            pass_fds=[one.fileno() for one in self.listeners.values()],
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def start(self) -> None:
        with open(self._log, "wb") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[one.fileno() for one in self.listeners.values()],
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for one in self.listeners.values():
            one.close()
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


# --- TLS in front, the PROXY protocol behind


def test_the_configuration_is_valid(haproxy: HAProxy) -> None:
    assert "Warning" not in haproxy.check()


@pytest.mark.parametrize("framework", ["flask", "django"])
@pytest.mark.parametrize(
    "words", [(), ("--forwarded-allow-ips", "127.0.0.1")], ids=["as it is", "not the client's word"]
)
def test_the_application_sees_https_and_the_client(
    words: Sequence[str], framework: str, haproxy: HAProxy, site: Site
) -> None:
    """One redirect for who comes by http, none for who comes by https; and the client is the one
    that HAProxy has seen, whatever it says of itself. X-Forwarded-Proto is the word of HAProxy, at
    the other end of the socket, and not that of the client which it has announced."""
    require_module(framework)
    site.application = f"secure_{framework}:app"
    server = site.start("a", *words)
    haproxy.start()
    haproxy.wait_until_up("a")
    fields = [
        ("X-Forwarded-For", STRANGER),
        ("X-Forwarded-Proto", "http"),
        ("SCRIPT_NAME", "/page"),
        ("PATH_INFO", "/admin"),
    ]
    replies = haproxy.front.browse(f"http://{HOST}/page?a=1", fields=fields, source=CLIENT)
    assert [reply.status for reply in replies] == [301, 200]
    facts = replies[1].facts
    assert (facts["url"], facts["client"]) == (f"https://{HOST}/page?a=1", CLIENT)
    environ = facts["environ"]
    assert (environ["wsgi.url_scheme"], environ["HTTPS"]) == ("https", "on")
    assert "HTTP_X_FORWARDED_FOR" not in environ
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("", "/page")
    # Nor is anybody taken for https who only says so.
    fields = [("X-Forwarded-Proto", "https"), ("Forwarded", f"for={STRANGER};proto=https")]
    assert haproxy.front.ask("http", fields=fields, source=CLIENT).status == 301
    # Nothing was to be told, neither of a field that is not used nor of a check.
    assert not [line for line in server.lines if "[WARNING]" in line or "[ERROR]" in line]


def test_who_comes_without_is_not_served(site: Site) -> None:
    """A server that believes the PROXY protocol takes nobody who does not speak it."""
    server = site.start("a")
    address = ("127.0.0.1", site.ports["a"].number)
    with RawClient(address) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.is_dropped()
    server.wait_for("PROXY")

"""top in a terminal of its own: what it draws, and that it gives the terminal back as it was."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest
from controlling import Control
from rawclient import TIMEOUT
from tools import ROOT, python, require_module, running

SUPPORT = ROOT / "tests" / "support"
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
ENTER, LEAVE = "\x1b[?1049h", "\x1b[?1049l"

TOP = """
import pathlib, sys
from control_answers import Shop
from wsgi_async.ctl.exits import Exit, Failed
from wsgi_async.ctl.top.showing import top
shop, away = Shop(), pathlib.Path("away")
def ask(target):
    if away.exists():
        what = away.read_text()
        raise Failed(Exit.UNREACHABLE, what) if what else ZeroDivisionError("a fault of ours")
    shop.turn(0.05, s2xx=60)
    return shop.ask(target)
sys.exit(top(ask, interval=0.05))
"""
"""top, and a server that is away while there is a file of that name."""

SHELL = """
import os, signal, subprocess, sys, termios
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
os.close(os.open(os.ttyname(0), os.O_RDWR))  # it becomes the terminal of this session
before = termios.tcgetattr(0)
job = subprocess.Popen([sys.executable, "-c", sys.argv[1]], process_group=0)
os.tcsetpgrp(0, job.pid)
while True:
    _, status = os.waitpid(job.pid, os.WUNTRACED)
    same = "as it was" if termios.tcgetattr(0) == before else "changed"
    if not os.WIFSTOPPED(status):
        print(f"<ended {os.waitstatus_to_exitcode(status)}, terminal {same}>", flush=True)
        break
    os.tcsetpgrp(0, os.getpgrp())
    print(f"<stopped, terminal {same}>", flush=True)
    sys.stdin.readline()
    os.tcsetpgrp(0, job.pid)
    os.killpg(job.pid, signal.SIGCONT)
"""
"""What a shell with job control does with one job."""


class Screen:
    """A pseudo-terminal, a shell on it, and the lines that top has drawn."""

    def __init__(self, cwd: Path) -> None:
        self._master, slave = pty.openpty()
        self.resize(80, 24)
        self.output = ""
        self._shell = subprocess.Popen(
            [sys.executable, "-c", SHELL, TOP],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=cwd,
            env={**os.environ, "TERM": "xterm-256color", "PYTHONPATH": f"{ROOT}:{SUPPORT}"},
            start_new_session=True,
        )
        os.close(slave)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._shell.pid, signal.SIGKILL)
        os.close(self._master)  # and whoever is left there is hung up on
        self._shell.wait(TIMEOUT)

    def resize(self, columns: int, rows: int) -> None:
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, size)

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def wait_for(self, *words: str) -> str:
        """Until all of them have come since this was called last; what has, without colours."""
        begun = len(self.output)
        deadline = time.monotonic() + TIMEOUT
        while True:
            told = COLOUR.sub("", self.output[begun:])
            if all(word in told for word in words):
                return told
            assert time.monotonic() < deadline, f"{words} are not in {told!r}"
            if select.select([self._master], [], [], 0.2)[0]:
                try:
                    data = os.read(self._master, 65536)
                except OSError:  # EIO: nobody has it open any more
                    data = b""
                assert data, f"{words} are not in {told!r}"
                self.output += data.decode("utf-8", "replace")

    @property
    def foreground(self) -> int:
        """The process that has the terminal."""
        return os.tcgetpgrp(self._master)

    @property
    def is_left(self) -> bool:
        """Whether all that top has switched on is switched off."""
        last = dict(re.findall(r"\x1b\[\?([0-9]+)([hl])", self.output))
        return last == {"1049": "l", "25": "h", "7": "h"}


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Screen]:
    require_module("rich")
    with Screen(tmp_path) as screen:
        yield screen


def test_it_is_live_and_answers_keys(terminal: Screen, tmp_path: Path) -> None:
    terminal.wait_for(ENTER, "process 4100", "1,200/s", "/reports/yearly")
    terminal.type("\r")
    terminal.wait_for("cursor.execute(QUERY, (year,))")
    terminal.type("\x1b[B")
    terminal.wait_for("nobody works on it yet")
    terminal.type("\x1b")
    terminal.wait_for("Processes")
    terminal.type("/queued\r")
    terminal.wait_for("/queued 3 of 11")
    terminal.type("?")
    terminal.wait_for("Keys of top")
    terminal.type("q ")
    terminal.wait_for("paused")
    terminal.resize(130, 40)
    terminal.wait_for("╭─", "\x1b[40;1H")
    terminal.type(" ")
    (tmp_path / "away").write_text("It was replaced")
    terminal.wait_for("no answer for", "It was replaced")
    (tmp_path / "away").unlink()
    terminal.wait_for("up 4/4")
    terminal.type("q")
    terminal.wait_for("<ended 0, terminal as it was>")
    assert terminal.is_left


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 0), (None, 1)],
    ids=["SIGTERM", "SIGHUP", "SIGINT", "fault"],
)
def test_however_it_ends_the_terminal_is_as_it_was(
    terminal: Screen, tmp_path: Path, number: int | None, code: int
) -> None:
    terminal.wait_for("/reports/yearly")
    if number is None:
        (tmp_path / "away").touch()
    else:
        os.kill(terminal.foreground, number)
    told = terminal.wait_for(f"<ended {code}, terminal as it was>")
    assert terminal.is_left
    if number is None:  # what it says is to be read where one is then
        assert told.index(LEAVE) < told.index("ZeroDivisionError: a fault of ours")


def test_the_terminal_is_given_to_whoever_has_it_while_it_is_stopped(terminal: Screen) -> None:
    terminal.wait_for("/reports/yearly")
    for _ in range(2):
        terminal.type("\x1a")
        terminal.wait_for("<stopped, terminal as it was>")
        assert terminal.is_left
        terminal.type("\n")
        terminal.wait_for(ENTER, "process 4100", "/reports/yearly")  # all of it is drawn again
    terminal.type("\x03")
    terminal.wait_for("<ended 0, terminal as it was>")
    assert terminal.is_left


SHOP = """
import threading
begun, done = threading.Event(), threading.Event()
def app(environ, start_response):
    if environ["PATH_INFO"] == "/hang":
        begun.set()
        done.wait(30)
    if environ["PATH_INFO"] == "/begun":
        begun.wait(30)
    if environ["PATH_INFO"] == "/done":
        done.set()
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""


def test_a_real_server_tells_all_that_is_shown(tmp_path: Path) -> None:
    """And no file of the directory in which it is asked is taken for rich."""
    require_module("rich")
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "rich.py").write_text("raise ImportError('the shadow')")
    options = ("shop:app", "-b", "127.0.0.1:0", "--control-socket", "c", "--threads", "3")
    with running(*python("-m", "wsgi_async", *options), cwd=tmp_path) as server:
        url = server.url

        def get(path: str) -> None:
            with urllib.request.urlopen(url + path, timeout=TIMEOUT) as response:
                assert response.read() == b"ok"

        hanging = threading.Thread(target=get, args=("/hang?year=2026",))
        hanging.start()
        get("/begun")
        Control(tmp_path / "c").wait_until(
            lambda found: found["processes"][0]["threads"]["busy"] == 1,
            "the thread is not counted",  # once a second
        )
        ask = python("-m", "wsgi_async.ctl", "-s", "c", "top", "-i", "100ms")
        with running(*ask, "--json", cwd=tmp_path) as asked:
            assert asked.wait() == 0
            data = json.loads(asked.output)
        with running(*ask, cwd=tmp_path, env={"COLUMNS": "160"}) as asked:
            assert asked.wait() == 0
            text = asked.output
        get("/done")
        hanging.join(TIMEOUT)
    [process] = data["status"]["processes"]
    [request] = data["requests"]["processes"][0]["requests"]
    assert (request["state"], request["target"]) == ("running", "/hang?year=2026")
    assert data["rates"]["all"] == data["rates"]["sent"] == data["processes"]["0"] == 0
    assert data["latency"].keys() == {"p50", "p90", "p99"}
    assert re.search(r"shop:app .* up 1/1", text)
    assert re.search(rf" {process['pid']} ready .* 1/[1-3] ", text)
    assert re.search(r" running .* GET +/hang\?year=2026 +127\.0\.0\.1:", text)
    assert re.search(r"threads .* 1 busy, 0 aside, [0-2] idle, 0 lost", text)

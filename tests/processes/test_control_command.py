"""``wsgi-asyncctl`` and a real server: one of two processes, from its first question to its end."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from control_sockets import Ended, run
from processes import Servers, Site, release
from rawclient import TIMEOUT
from tools import ROOT

from wsgi_async.ctl.exits import Exit
from wsgi_async.ctl.following import Follower, Outcome

Call = Callable[..., Ended]


@pytest.fixture
def socket(site: Site) -> Path:
    return site.directory / "control.sock"


@pytest.fixture
def ctl(socket: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    """The command, in this process, told by a variable where the socket is."""
    monkeypatch.setenv("WSGI_ASYNC_CONTROL_SOCKET", str(socket))
    return lambda *args: run(capsys, *args)


def test_a_server_is_asked_steered_and_ended(
    site: Site, socket: Path, ctl: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid_file = site.directory / "pid"
    options = ("--workers", "2", "--control-socket", str(socket), "--pid", str(pid_file))
    with site.serve(*options) as servers:
        servers.wait_for("Listening on ")
        servers.wait_for(f"can be asked and steered on unix:{socket}")
        it_tells_how_it_is(servers, ctl)
        it_is_found_by_its_pid_file(pid_file, servers, ctl)

        it_shows_a_request_and_breaks_it_off(site.directory / "fifo", servers, ctl)

        it_samples_where_the_time_goes(site.directory / "another-fifo", servers, ctl)

        ended = ctl("scale", "3")
        assert (ended.code, ended.error) == (Exit.DONE, "")
        assert ended.out.startswith("3 processes ready")
        assert len(servers.loaded()) == 3

        site.write("v1")
        ended = ctl("reload")
        assert (ended.code, ended.error) == (Exit.DONE, "")
        assert ended.out.startswith("Reloaded: 3 processes of generation 2 in ")
        assert servers.ask()[1] == "v1"

        site.write("bad", before="raise RuntimeError('broken')")
        ended = ctl("reload")
        assert (ended.code, ended.out) == (Exit.FAILED, "")
        assert "The reload has failed: the processes that serve go on" in ended.error
        assert servers.ask()[1] == "v1"

        it_tells_what_went_wrong(ctl)
        it_drains(site.directory / "other", servers, ctl, monkeypatch)
        assert servers.wait() == 0
    ended = ctl("status")
    assert ended.code == Exit.UNREACHABLE
    assert f"There is no {socket}: does the server run" in ended.error


def it_tells_how_it_is(servers: Servers, ctl: Call) -> None:
    servers.get("/?x")
    text = ctl("status").out
    assert f"process {servers.process.pid}, for " in text
    assert "up, 2 of 2 ready, generation 1" in text
    status = json.loads(ctl("status", "--json").out)
    assert {process["pid"] for process in status["processes"]} == set(servers.loaded())
    assert f"http://127.0.0.1:{servers.address[1]}" in status["addresses"]
    text = ctl("config").out
    assert "workers = 2 " in text
    assert "# command line" in text
    ended = ctl("scale", "100000")
    assert ended.code == Exit.REFUSED
    assert "a number from 1 to " in ended.error


def it_shows_a_request_and_breaks_it_off(fifo: Path, servers: Servers, ctl: Call) -> None:
    os.mkfifo(fifo)
    client, pid = servers.hold(fifo)
    with client:
        answer = json.loads(ctl("requests", "--json").out)
        [[process, request]] = [
            (process, request) for process in answer["processes"] for request in process["requests"]
        ]
        assert (process["pid"], request["state"]) == (pid, "running")
        assert (request["method"], request["target"]) == ("GET", f"/wait?{fifo}")
        text = ctl("requests", "--stacks").out
        assert re.search(r"process_app\.py.*\n .*open\(", text)
        assert ctl("interrupt", "nobody").code == Exit.FAILED
        ended = ctl("interrupt", request["id"])
        assert (ended.code, ended.error) == (Exit.DONE, "")
        assert client.response().status == 504
        release(fifo)
    assert "is logged by 2 processes" in ctl("log-level", "debug").out


def it_samples_where_the_time_goes(fifo: Path, servers: Servers, ctl: Call) -> None:
    os.mkfifo(fifo)
    client, pid = servers.hold(fifo)
    with client:
        profile = json.loads(ctl("profile", "0.3", "-o", str(fifo), "--json").out)
        release(fifo)
        assert client.response().status == 200
    assert profile["missing"] == []
    assert {process["pid"] for process in profile["processes"]} > {pid}
    [stack] = profile["samples"]
    assert re.search(r"\(.*process_app\.py:\d+\)$", stack), "it waits in there"
    assert Path(f"{fifo}.txt").read_text().startswith(stack)
    assert "process_app.py" in Path(f"{fifo}.svg").read_text()
    assert json.loads(Path(f"{fifo}.speedscope.json").read_text())["profiles"]


def it_tells_what_went_wrong(ctl: Call) -> None:
    """Once the process that keeps the journal has taken it in."""
    deadline = time.monotonic() + TIMEOUT
    while "The reload has failed" not in (text := ctl("errors").out):
        assert time.monotonic() < deadline, text
    [line] = [line for line in text.splitlines() if "did not start" in line]
    assert line.split()[1] == "parent"


def it_drains(fifo: Path, servers: Servers, ctl: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """And tells what it waits for meanwhile."""
    os.mkfifo(fifo)
    client, _ = servers.hold(fifo)
    with client:
        ended = ctl("drain", "--no-wait")
        assert (ended.code, ended.error) == (Exit.DONE, "")
        assert ended.out.startswith("asked; now up, 3 of 3 ready")
        servers.wait_for("Stopping; requests in flight: 1")
        assert "fleet     stopping, " in ctl("status").out
        assert f"/wait?{fifo}" in ctl("requests").out
        ended = ctl("reload")
        assert ended.code == Exit.REFUSED
        assert "the server stops" in ended.error
        follow = Follower.drain

        def drain(follower: Follower) -> Outcome:
            release(fifo)
            return follow(follower)

        monkeypatch.setattr(Follower, "drain", drain)
        ended = ctl("drain")
        assert (ended.code, ended.error) == (Exit.DONE, "")
        assert ended.out.startswith("The server has drained and ended")
        assert client.response().status == 200


def it_is_found_by_its_pid_file(pid_file: Path, servers: Servers, ctl: Call) -> None:
    """Also by the command as it is installed, with nothing in the environment."""
    command = [sys.executable, "-m", "wsgi_async.ctl", "-p", str(pid_file), "status", "--json"]
    env = {"PYTHONPATH": str(ROOT)}
    found = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert found.stderr == ""
    assert json.loads(found.stdout)["pid"] == servers.process.pid

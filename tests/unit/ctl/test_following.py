"""Until a reload, a drain or a change of processes is over, whoever answers meanwhile."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from control_sockets import FLEET, STATUS, Asked, ControlSocket, status

from wsgi_async.ctl import following
from wsgi_async.ctl.client import Client
from wsgi_async.ctl.exits import Exit, Failed
from wsgi_async.ctl.following import Follower, Outcome

UNDER_WAY = status(reload="under_way", reloads=3)
DONE = status(reloads=3, generation=4)
GARBAGE: dict[str, Any] = {"error": "the operations process was replaced"}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "_EVERY", 0.001)
    monkeypatch.setattr(following, "_NOBODY", 0.05)


class Story:
    """What ``GET /status`` answers one time after the other, the last one again and again.

    :param statuses: bytes are an answer that broke.
    """

    def __init__(self, *statuses: Any) -> None:
        self._statuses: Iterator[Any] = iter(statuses)
        self._last: Any = statuses[0]

    def __call__(self, asked: Asked) -> tuple[int, Any]:
        assert asked.target == "/status"
        self._last = next(self._statuses, self._last)
        return 200, self._last


def reload(path: Path, *statuses: Any, timeout: float = 20.0) -> Outcome:
    with ControlSocket(path / "c", Story(STATUS, *statuses)) as control:
        return Follower(Client(control.path), timeout).reload(FLEET)


def test_a_reload_is_over_when_all_are_of_the_new_generation(tmp_path: Path) -> None:
    outcome = reload(tmp_path, STATUS, UNDER_WAY, b"no JSON", UNDER_WAY, DONE)
    assert outcome.code is Exit.DONE
    assert outcome.text.startswith("Reloaded: 2 processes of generation 4 in ")


def test_counts_and_states_of_different_moments_deceive_nobody(tmp_path: Path) -> None:
    """It is counted already, and not seen to be under way yet."""
    torn = status(reloads=3)
    outcome = reload(tmp_path, STATUS, torn, UNDER_WAY, torn, UNDER_WAY, DONE)
    assert outcome.text.startswith("Reloaded: 2 processes of generation 4")


@pytest.mark.parametrize(
    "end",
    [
        status(reload="failed", reloads=3, reloads_failed=1),
        status(reload="none", reloads=3, reloads_failed=1),  # the options are wrong
    ],
)
def test_a_reload_that_fails(end: dict[str, Any], tmp_path: Path) -> None:
    outcome = reload(tmp_path, UNDER_WAY, end)
    assert outcome.code is Exit.FAILED
    assert "The reload has failed" in outcome.text


def test_a_server_that_is_stopped_meanwhile(tmp_path: Path) -> None:
    outcome = reload(tmp_path, UNDER_WAY, status(state="stopping", reload="under_way", reloads=3))
    assert outcome.code is Exit.FAILED
    assert "The server is stopping" in outcome.text


def test_what_takes_too_long_goes_on_alone(tmp_path: Path) -> None:
    outcome = reload(tmp_path, UNDER_WAY, timeout=0.05)
    assert outcome.code is Exit.LATE
    assert outcome.text == "Not over after 0.05 s (--timeout); it goes on"


def test_who_may_no_more_is_told_so(tmp_path: Path) -> None:
    answers = iter([(200, STATUS), (403, {"error": "Nobody but root"})])
    with ControlSocket(tmp_path / "c", lambda _: next(answers)) as control:
        follower = Follower(Client(control.path), 20.0)
        with pytest.raises(Failed, match="Nobody but root"):
            follower.reload(FLEET)


def test_processes_are_counted_with_those_that_leave(tmp_path: Path) -> None:
    (one, two), fleet = STATUS["processes"], {**FLEET, "wanted": 1, "ready": 1}
    leaving = {**STATUS, "fleet": fleet}
    alone = {**leaving, "processes": [one]}
    assert two["state"] == "retiring"
    with ControlSocket(tmp_path / "c", Story(STATUS, STATUS, leaving, leaving, alone)) as control:
        outcome = Follower(Client(control.path), 20.0).scale(1)
        assert outcome.status == alone
    assert outcome.code is Exit.DONE
    assert outcome.text.startswith("1 process ready, after ")


SERVER = """
import json, os, sys
from http.server import BaseHTTPRequestHandler
from socketserver import UnixStreamServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({**json.loads(sys.argv[2]), "pid": os.getpid()}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
server = UnixStreamServer(sys.argv[1], Handler)
print("listening", flush=True)
server.serve_forever()
"""


def test_a_drain_is_over_when_the_process_is_gone(tmp_path: Path) -> None:
    """Which leaves its socket file behind here."""
    stopping = json.dumps(status(state="stopping"))
    command = [sys.executable, "-I", "-S", "-c", SERVER, str(tmp_path / "c"), stopping]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"listening\n"
            client = Client(str(tmp_path / "c"))
            follower = Follower(client, 0.05)
            assert follower.drain().code is Exit.LATE
            follower.close()
            follower = Follower(client, 20.0)
            process.kill()
            outcome = follower.drain()
            follower.close()
        finally:
            process.kill()
    assert outcome.code is Exit.DONE
    assert outcome.text.startswith("The server has drained and ended, after ")


def test_where_its_process_is_out_of_sight_nobody_on_the_socket_is_the_end(
    tmp_path: Path,
) -> None:
    control = ControlSocket(tmp_path / "c", Story({**STATUS, "pid": 999_999_999}))
    with control:
        follower = Follower(Client(control.path), 20.0)
    os.unlink(control.path)
    assert follower.drain().code is Exit.DONE

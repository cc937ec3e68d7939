"""What processes answer of their requests while they hang, are blocked or end; and what they are
told, later ones too."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from controlling import Control, control_socket, pair_of
from processes import Life, Servers, Site, release
from rawclient import TIMEOUT, request

PAIR = ("--workers", "2", "--threads", "1")

LEVELS = """
import logging
inner = application
def application(environ, start_response):
    if environ["PATH_INFO"] != "/level":
        return inner(environ, start_response)
    start_response("200 OK", [])
    return [b"%d" % logging.getLogger("wsgi_async").level]
"""
"""Tells the level of the log of the process that answers."""

BLOCKS = """
from wsgi_async import Observer
class Blocks(Observer):
    def request_finished(self, request, response):
        if request.target.startswith("/?/"):
            say(f"blocked in {os.getpid()}")
            open(request.target[2:]).read()
"""
"""A subscriber that has the loop wait for a FIFO, once a request for it has ended."""


control = pytest.fixture(control_socket)


@pytest.fixture
def pair(site: Site, control: Control) -> Iterator[Servers]:
    yield from pair_of(site, control, "--threads", "1")


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    os.mkfifo(path := tmp_path / "fifo")
    return path


def in_flight(control: Control, *, stacks: bool = False) -> dict[str, Any]:
    status, answer = control.ask(f"/requests?stacks={int(stacks)}")
    assert status == 200, answer
    found: dict[str, Any] = answer
    return found


def by_pid(found: dict[str, Any]) -> dict[int, dict[str, Any]]:
    return {answer["pid"]: answer for answer in found["processes"]}


def answers_of(control: Control, *pids: int) -> list[dict[str, Any]]:
    """What these say, with stacks, once each of them has answered within its second."""
    deadline = time.monotonic() + TIMEOUT
    while True:
        answers = by_pid(found := in_flight(control, stacks=True))
        if set(pids) <= answers.keys():
            return [answers[pid] for pid in pids]
        assert time.monotonic() < deadline, found


def wait_for_requests(control: Control, count: int) -> dict[str, Any]:
    """Until so many are in flight."""
    deadline = time.monotonic() + TIMEOUT
    while True:
        found = in_flight(control, stacks=True)
        if sum(len(answer["requests"]) for answer in found["processes"]) == count:
            return found
        assert time.monotonic() < deadline, found


def wait_for_level(servers: Servers, level: int) -> None:
    """Until each of some answers, over connections of their own, tells it."""
    deadline = time.monotonic() + TIMEOUT
    while {int(servers.get("/level")) for _ in range(8)} != {level}:
        assert time.monotonic() < deadline


def test_every_thread_hangs(pair: Servers, control: Control) -> None:
    """Then it is what an operator wants to know most."""
    with ExitStack() as stack:
        count = 0
        while pair.count("^hanging in ") < 2:  # the kernel may give one of them several
            stack.enter_context(pair.client()).send(request("/hang?a=b"))
            count += 1
            wait_for_requests(control, count)
        stack.enter_context(pair.client()).send(request("/?queued", "PUT"))
        found = wait_for_requests(control, count + 1)
        assert set(by_pid(found)) == set(pair.loaded())
        states = []
        for answer in found["processes"]:
            assert (answer["threads"], answer["lost"], answer["more"]) == (1, 0, 0)
            for each in answer["requests"]:
                states.append((each["state"], each["method"], each["target"]))
                is_running = each["state"] == "running"
                assert (each["thread"] is not None) is is_running
                assert any("in hang" in line for line in each["stack"] or ()) is is_running
                assert each["client"].startswith("127.0.0.1:")
                assert 0 <= each["age"] < TIMEOUT
        waiting = [("queued", "GET", "/hang?a=b")] * (count - 2)
        running = [("running", "GET", "/hang?a=b")] * 2
        assert sorted(states) == sorted([*waiting, *running, ("queued", "PUT", "/?queued")])
        answers = in_flight(control)["processes"]
        assert {each["stack"] for answer in answers for each in answer["requests"]} <= {None}


def test_the_loop_of_one_is_blocked(site: Site, control: Control, fifo: Path) -> None:
    site.write("v0", before="import os", after=BLOCKS)
    options = ("--workers=2", "--threads=2", "--subscriber=site_app:Blocks", *control.options)
    with site.serve(*options) as servers:
        servers.wait_for("Listening on ")
        client = servers.client()
        client.send(request(f"/?{fifo}"))
        blocked = int(servers.wait_for(r"^blocked in (\d+)")[1])
        [other] = set(servers.loaded()) - {blocked}
        told, others = (answer["loop"] for answer in answers_of(control, blocked, other))
        assert told["blocked"] is True
        assert any("in request_finished" in line for line in told["stack"])
        assert others == {"blocked": False, "stack": None}
        status, answer = control.ask("/interrupt", {"id": "x-1"})
        assert (status, answer["interrupted"]) == (200, False)
        assert "the loop of this process is blocked" in answer["why"]
        release(fifo)
        with client:
            assert client.response().status == 200
        deadline = time.monotonic() + TIMEOUT
        while answers_of(control, blocked)[0]["loop"]["blocked"]:
            assert time.monotonic() < deadline


def test_during_a_drain(pair: Servers, control: Control, fifo: Path) -> None:
    client, pid = pair.hold(fifo)
    pair.signal(signal.SIGTERM)
    control.wait_until(lambda found: found["fleet"]["state"] == "stopping", "it stops")
    [answer] = answers_of(control, pid)
    [each] = answer["requests"]
    assert each["state"] == "running"
    assert any("in wait" in line for line in each["stack"])
    release(fifo)
    with client:
        assert client.response().status == 200
    assert pair.wait() == 0
    pair.assert_clean()


def test_the_level_of_the_log_is_changed_until_a_reload(site: Site, control: Control) -> None:
    """Also in processes that begin later, whoever forks them."""
    site.write("v0", after=LEVELS)
    with site.serve(*PAIR, "--preload", *control.options) as servers:
        servers.wait_for("Listening on ")
        wait_for_level(servers, logging.INFO)
        status, answer = control.ask("/log-level", {"level": "error"})
        assert (status, answer["level"]) == (200, "error")
        wait_for_level(servers, logging.ERROR)
        victim = Life(int(servers.ask()[0]))
        os.kill(victim.pid, signal.SIGKILL)
        victim.await_end()
        control.wait_until(lambda found: found["fleet"]["ready"] == 2, "it has a successor")
        wait_for_level(servers, logging.ERROR)
        servers.reload()
        wait_for_level(servers, logging.INFO)

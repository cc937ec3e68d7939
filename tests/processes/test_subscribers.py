"""Subscribers from the command line: one in each process that serves."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from processes import Servers, Site

import wsgi_async

HEARD = """
import json, os
from wsgi_async import Observer

def say(event, *facts):
    os.write(2, (f"heard {os.getpid()} " + json.dumps([event, *facts]) + chr(10)).encode())

class Heard(Observer):
    wants_timings = True

    def __init__(self, name="plain"):
        self.name = name

    def started(self, addresses, threads, loop, parser, processes=1):
        say("started", self.name, addresses, threads, processes)

    def stopped(self, stuck_threads):
        say("stopped", self.name, stuck_threads)

    def request_started(self, request):
        say("request_started", self.name, request.target)

    def request_finished(self, request, response):
        say("request_finished", self.name, request.target, response._asdict())

class Broken(Observer):
    def request_started(self, request):
        raise SystemExit("broken")

    def request_finished(self, request, response):
        raise ValueError("broken")

def fails():
    raise KeyError("no statsd")

def nothing():
    pass
"""


@pytest.fixture
def subscribers(site: Site) -> Path:
    path = site.directory / "heard.py"
    path.write_text(HEARD)
    return path


def heard(servers: Servers) -> list[tuple[int, list[Any]]]:
    """Which process has heard what."""
    found = [re.fullmatch(r"heard ([0-9]+) (\[.*)", line) for line in servers.lines]
    return [(int(match[1]), json.loads(match[2])) for match in found if match]


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_each_process_has_its_own(site: Site, subscribers: Path, loop: str) -> None:
    options = ("--workers=2", "--threads=3", "--subscriber=heard:Heard")
    with site.serve(*options, "--subscriber=heard.py:Heard('second')", loop=loop) as servers:
        address = f"http://127.0.0.1:{servers.address[1]}"
        pids = servers.wait_for_pids(2)
        servers.signal(15)
        assert servers.wait() == 0
        facts = heard(servers)
    assert {pid for pid, _ in facts} == set(pids)
    for pid in pids:
        mine = [fact for number, fact in facts if number == pid]
        plain = [[event, *rest] for event, name, *rest in mine if name == "plain"]
        second = [[event, *rest] for event, name, *rest in mine if name == "second"]
        assert [fact[0] for fact in plain] == [fact[0] for fact in second]
        assert plain[0] == ["started", [address], 3, 1]
        assert plain[-1] == ["stopped", 0]
        events = [fact[0] for fact in plain[1:-1]]
        count = len(events) // 2
        assert count
        assert sorted(events) == ["request_finished"] * count + ["request_started"] * count
        assert events[0] == "request_started"
        for event, target, *more in plain[1:-1]:
            assert target == "/?x"
            if event == "request_finished":
                [response] = more
                assert response["status"] == 200
                names = ("upload", "queue", "app", "send")
                assert min(response[name] for name in (*names, "cpu")) >= 0
                assert sum(response[name] for name in names) == pytest.approx(response["duration"])
    # The log is told as ever: the parent says where it listens, once.
    assert servers.count("Listening on ") == 1
    servers.assert_clean()


def test_it_is_made_after_the_fork(site: Site, subscribers: Path) -> None:
    with site.serve("--preload", "--subscriber", "heard:Heard", "-w", "2") as servers:
        pids = servers.wait_for_pids(2)
        started = [pid for pid, fact in heard(servers) if fact[0] == "started"]
    assert sorted(started) == pids


def test_one_that_fails_is_said_once_and_harms_nothing(site: Site, subscribers: Path) -> None:
    with site.serve("--subscriber", "heard:Broken", "--subscriber", "heard:Heard") as servers:
        with servers.client() as client:
            for _ in range(5):
                assert client.get("/?x").status == 200
        servers.signal(15)
        assert servers.wait() == 0
        facts = heard(servers)
    assert servers.count(r"the subscriber heard\.Broken failed in request_started\(\); it is") == 1
    assert servers.count("SystemExit: broken") == 1
    assert servers.count("ValueError") == 0
    assert [fact[0] for _, fact in facts].count("request_finished") == 5


@pytest.mark.parametrize("check", [True, False], ids=["check", "serve"])
@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("heard", "'heard' names no factory: write heard:Factory"),
        ("heard:Herd", "There is no 'Herd' in 'heard'. Did you mean Heard?"),
        ("nowhere:Heard", "No module named 'nowhere'"),
        ("heard:fails", "Calling 'fails' in 'heard' raised KeyError: 'no statsd'"),
        ("heard:nothing", "A subscriber is a wsgi_async.Observer; None has none of its"),
        ("heard:Heard(1, 2)", "raised TypeError"),
    ],
)
def test_one_that_cannot_be_had(
    site: Site, subscribers: Path, spec: str, message: str, check: bool
) -> None:
    with site.serve(*(["--check-config"] if check else []), "--subscriber", spec) as servers:
        assert servers.wait() == 3
    last = servers.lines[-1]
    assert last.startswith(f"wsgi-async: error: --subscriber {spec}: ")
    assert message in last


def test_by_variable(site: Site, subscribers: Path) -> None:
    with site.serve(env={"WSGI_ASYNC_SUBSCRIBER": "heard:Heard"}) as servers:
        servers.ask()
        servers.wait_for(r"^heard .*request_finished")


def test_a_subscriber_may_take_the_logs_over(site: Site, subscribers: Path) -> None:
    """What its module does to logging while it is imported costs no line of the server's."""
    (site.directory / "heard.py").write_text(
        "import logging.config\nlogging.config.dictConfig({'version': 1})\n" + HEARD
    )
    with site.serve("--subscriber", "heard:Heard") as servers:
        servers.ask()
        servers.signal(15)
        assert servers.wait() == 0
    servers.wait_for(r"\] Stopped")


@pytest.mark.parametrize("workers", [1, 2])
def test_those_of_a_program(site: Site, subscribers: Path, workers: int) -> None:
    program = (
        "import sys\nsys.path.insert(0, '')\nimport wsgi_async\n"
        "from heard import Heard, Broken\nfrom site_app import application\n"
        "wsgi_async.serve(application, 0, host='127.0.0.1', "
        f"workers={workers}, observers=[Heard(), Broken()])\n"
    )
    with site.serve(app="", bind="", program=program) as servers:
        pids = servers.wait_for_pids(workers)
        servers.wait_for(r"the subscriber heard\.Broken failed")
        facts = heard(servers)
        servers.signal(15)
        assert servers.wait() == 0
    assert {pid for pid, fact in facts if fact[0] == "started"} == set(pids)


def test_a_program_that_names_none() -> None:
    with pytest.raises(wsgi_async.ConfigError, match=r"not a class: write Observer\(\)"):
        wsgi_async.serve(print, 0, observers=[wsgi_async.Observer])  # type: ignore[arg-type, list-item]

"""``--control-socket``: a server is asked how it is, and steered; who may, and what cannot harm."""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
from controlling import Control, control_socket, pair_of
from forked import run_forked
from processes import Life, Servers, Site, children, reachable, release
from rawclient import RawClient, request

PAIR = ("--workers", "2")


control = pytest.fixture(control_socket)


@pytest.fixture
def pair(site: Site, control: Control) -> Iterator[Servers]:
    yield from pair_of(site, control)


class Steady(NamedTuple):
    """A server that no test changes, and its control socket."""

    servers: Servers
    control: Control


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Steady]:
    """Two processes, for all tests that only ask."""
    directory = tmp_path_factory.mktemp("steady")
    control = Control(directory / "control.sock")
    with Site(directory).serve(*PAIR, *control.options) as servers:
        servers.wait_for("Listening on ")
        yield Steady(servers, control)


def operations_of(servers: Servers) -> int:
    [found] = children(servers.process.pid) - set(servers.loaded())
    return found


# --- What is told


def test_how_the_server_is(steady: Steady) -> None:
    pair, control = steady
    while len({pair.ask()[0] for _ in range(8)}) < 2:
        pass
    found = control.wait_until(
        lambda found: all(each["memory"] and each["requests"] for each in found["processes"]),
        "both have served",
    )
    assert found["pid"] == pair.process.pid
    assert found["name"] == "the application site_app"
    assert found["addresses"] == [f"http://127.0.0.1:{pair.address[1]}"]
    assert (found["fleet"]["state"], found["fleet"]["reload"]) == ("up", "none")
    assert (found["fleet"]["wanted"], found["fleet"]["ready"]) == (2, 2)
    assert {each["pid"] for each in found["processes"]} == set(pair.loaded())
    assert [each["state"] for each in found["processes"]] == ["ready", "ready"]
    assert all(0 <= each["heard"] <= each["age"] for each in found["processes"])
    answered = sum(each["requests"] for each in found["processes"])
    assert sum(found["totals"]["requests"].values()) == answered


def test_prometheus_client_is_not_needed(site: Site, control: Control) -> None:
    program = (
        "import sys\nsys.modules['prometheus_client'] = None\n"
        "from wsgi_async.cli import main\nmain(prog_name='wsgi-async')"
    )
    with site.serve(*control.options, "--dashboard-bind", ":0", program=program) as servers:
        servers.wait_for("Listening on ")
        servers.wait_for(rf"The server can be asked and steered on unix:{control.path}$")
        servers.wait_for("The dashboard is served on http://127.0.0.1:")
        assert control.status()["fleet"]["ready"] == 1


def test_the_options_with_their_origins(steady: Steady) -> None:
    status, answer = steady.control.ask("/config")
    assert status == 200
    assert answer["options"]["workers"] == {"value": 2, "origin": "command line"}
    assert answer["options"]["threads"]["origin"] == "default"


def test_requests_are_shown_with_their_stacks_and_broken_off(steady: Steady, fifo: Path) -> None:
    pair, control = steady
    client, pid = pair.hold(fifo)
    with client:
        status, answer = control.ask("/requests?stacks=1")
        assert (status, answer["missing"]) == (200, [])
        [(held, of)] = [
            (found, each["pid"]) for each in answer["processes"] for found in each["requests"]
        ]
        assert (held["method"], held["target"], of) == ("GET", f"/wait?{fifo}", pid)
        assert any("process_app" in line for line in held["stack"])
        assert control.ask("/interrupt", {"id": "nobody's"})[1]["interrupted"] is False
        status, answer = control.ask("/interrupt", {"id": held["id"]})
        assert (status, answer["interrupted"]) == (200, True), answer
        assert client.response().status == 504
    release(fifo)


def test_a_profile_shows_where_a_thread_is(steady: Steady, fifo: Path) -> None:
    pair, control = steady
    client, _ = pair.hold(fifo)
    with client:
        status, answer = control.ask("/profile", {"seconds": 0.3, "hz": 50})
        assert status == 200, answer
        assert any("process_app" in stack for stack in answer["samples"]), answer
        release(fifo)
        assert client.response().status == 200


def test_who_does_not_answer_is_named(steady: Steady) -> None:
    pair, control = steady
    first, second = pair.loaded()
    os.kill(first, signal.SIGSTOP)
    try:
        answer = control.ask("/requests")[1]
    finally:
        os.kill(first, signal.SIGCONT)
    assert [each["pid"] for each in answer["processes"]] == [second]
    [missing] = answer["missing"]
    assert missing["pid"] == first
    assert missing["heard"] >= 0.9


# --- What it is told to do


def test_a_level_of_the_log_holds_until_a_reload(pair: Servers, control: Control) -> None:
    """For the parent too, and for a process that begins later."""
    status, answer = control.ask("/log-level", {"level": "error"})
    assert (status, answer["level"], answer["missing"]) == (200, "error", [])
    assert set(answer["processes"]) == set(pair.loaded())
    assert control.ask("/log-level", {"level": "loud"})[0] == 400
    before = len(pair.lines)
    control.order("/scale", processes=3)
    control.wait_until(lambda found: found["fleet"]["ready"] == 3, "a third one")
    assert [line for line in pair.lines[before:] if not line.startswith("loaded ")] == []
    pair.reload()
    pair.signal(signal.SIGTERM)
    assert pair.wait() == 0
    assert pair.count("Stopping; ") == 3, "those that began with the reload"


def test_a_reload_has_an_end_that_can_be_seen(site: Site, pair: Servers, control: Control) -> None:
    old = set(pair.loaded())
    site.write("v1")
    before = control.order("/reload")
    found = control.wait_until(
        lambda found: (
            found["fleet"]["reloads"] > before["reloads"] and found["fleet"]["reload"] == "none"
        ),
        "reloaded",
    )
    assert found["fleet"]["reloads_failed"] == 0
    assert not old & {each["pid"] for each in found["processes"] if each["state"] == "ready"}
    pair.wait_for_version("v1")
    pair.wait_for(rf"Asked on --control-socket by uid {os.geteuid()}: reload$")


def test_a_reload_that_fails_says_so(site: Site, pair: Servers, control: Control) -> None:
    site.write("bad", before="raise RuntimeError('broken')")
    before = control.order("/reload")
    found = control.wait_until(
        lambda found: found["fleet"]["reloads_failed"] > before["reloads_failed"], "failed"
    )
    assert (found["fleet"]["reload"], found["fleet"]["ready"]) == ("failed", 2)
    assert pair.ask()[1] == "v0"


def test_more_and_fewer_processes(pair: Servers, control: Control) -> None:
    for wanted in (3, 1):
        assert control.order("/scale", processes=wanted)["wanted"] != wanted
        control.wait_until(
            lambda found, wanted=wanted: (  # type: ignore[misc]  # a default of its own
                found["fleet"]["wanted"] == found["fleet"]["ready"] == wanted
                and len(found["processes"]) == wanted
            ),
            f"{wanted} processes",
        )


def test_what_is_asked_for_at_once_after_a_reload_is_done(pair: Servers, control: Control) -> None:
    """By the process that the reload replaces, which has said that it is accepted."""
    for wanted in (3, 2, 3, 1):
        control.order("/reload")
        control.order("/scale", processes=wanted)
        control.wait_until(
            lambda found, wanted=wanted: found["fleet"]["wanted"] == wanted,  # type: ignore[misc]
            f"{wanted} processes",
        )


def test_a_drain_is_watched_to_its_end(pair: Servers, control: Control, fifo: Path) -> None:
    client, pid = pair.hold(fifo)
    with client:
        assert control.order("/drain")["state"] == "up"
        found = control.wait_until(lambda found: found["fleet"]["state"] == "stopping", "stopping")
        assert pid in {each["pid"] for each in found["processes"]}
        assert control.ask("/scale", {"processes": 5})[0] == 409
        release(fifo)
        assert client.response().status == 200
    assert pair.wait() == 0
    assert not control.path.exists()
    pair.assert_clean()


# --- Who may


def test_the_file_is_its_starters_alone(steady: Steady) -> None:
    found = steady.control.path.stat()
    assert (found.st_uid, found.st_mode & 0o777) == (os.geteuid(), 0o600)


def assert_refused(uid: int, path: Path) -> None:
    """*In a process of its own:* as another user, who may reach the file."""
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)
    with RawClient(str(path)) as client:
        client.send(request("/status"))
        answer = client.response()
    assert (answer.status, answer.fields["content-type"]) == (403, "application/json")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
def test_another_user_is_refused_whatever_the_mode_is() -> None:
    """And the file stays its starter's, who is not who serves."""
    nobody = pwd.getpwnam("nobody")
    with reachable() as directory:
        control = Control(directory / "control.sock")
        opened = ("--control-socket-mode", "0666", "-u", "nobody")
        with Site(directory).serve(*control.options, *opened) as servers:
            servers.wait_for("Listening on ")
            found = control.path.stat()
            assert (found.st_uid, found.st_mode & 0o777) == (os.geteuid(), 0o666)
            assert run_forked(partial(assert_refused, nobody.pw_uid, control.path)) == 0
            assert control.status()["fleet"]["state"] == "up"
            servers.signal(signal.SIGTERM)
            assert servers.wait() == 0
            assert not control.path.exists()
            servers.assert_clean()


# --- What cannot harm


def test_a_file_that_is_in_use_is_one_line_and_code_1(site: Site, control: Control) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(control.path))
        listener.listen()
        with site.serve(*control.options) as servers:
            assert servers.wait() == 1
    [line] = servers.lines
    assert "choose another with --control-socket" in line
    # It is stale now, and in nobody's way.
    with site.serve(*control.options) as servers:
        servers.wait_for("Listening on ")
        assert control.status()["fleet"]["state"] == "up"


def test_garbage_and_silence_keep_nobody_away(pair: Servers, control: Control) -> None:
    with contextlib.ExitStack() as stack:
        for number in range(100):
            client = stack.enter_context(RawClient(str(control.path)))
            if number % 2:
                client.send(b"\x00\xff garbage\r\n\r\n")
        with pair.load() as load:
            load.wait_for_each()
            found = control.wait_until(lambda found: found, "an answer")
            assert found["fleet"]["ready"] == 2
        load.assert_flawless()
    assert control.ask("/scale", [1])[0] == 400


def test_where_it_hangs_or_dies_all_others_serve(pair: Servers, control: Control) -> None:
    with pair.load() as load:
        load.wait_for_each()
        operations = operations_of(pair)
        os.kill(operations, signal.SIGSTOP)
        load.wait_for_each(20)
        os.kill(operations, signal.SIGKILL)
        Life(operations).await_end()
        found = control.status()  # its socket is the parent's: the next one answers
        assert found["fleet"]["operations_restarts"] == 1
        load.wait_for_each()
    load.assert_flawless()
    answered = control.wait_until(
        lambda found: found["totals"]["requests"]["2xx"] == load.responses[200], "none is lost"
    )
    assert answered["fleet"]["ready"] == 2


def test_what_hangs_is_still_told_of(site: Site, control: Control) -> None:
    """All of it is in memory: nobody has to answer."""
    with site.serve(*control.options, loop="asyncio") as servers:
        servers.wait_for("Listening on ")
        [pid] = servers.loaded()
        os.kill(pid, signal.SIGSTOP)
        try:
            found = control.wait_until(
                lambda found: found["processes"][0]["heard"] > 1.5, "not heard of"
            )
            assert found["processes"][0]["pid"] == pid
        finally:
            os.kill(pid, signal.SIGCONT)


def test_without_it_there_is_no_process_more(site: Site) -> None:
    with site.serve(*PAIR) as servers:
        servers.wait_for("Listening on ")
        assert children(servers.process.pid) == set(servers.loaded())


# --- The start


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (("--control-socket", "@x"), "--control-socket takes the path of a socket file"),
        (("--dashboard-bind", "0.0.0.0:0"), "can be reached from elsewhere"),
    ],
)
def test_check_config_says_what_is_wrong(site: Site, args: tuple[str, ...], line: str) -> None:
    with site.serve(*args, "--check-config") as servers:
        assert servers.wait() == 1
    assert line in servers.lines[-1]


def test_a_script_with_several_processes_has_it_too(site: Site, control: Control) -> None:
    program = (
        "import sys\nsys.path.insert(0, '')\n"
        "import site_app, wsgi_async\n"
        "wsgi_async.serve(site_app.application, 0, host='127.0.0.1', workers=2, "
        f"control_socket={str(control.path)!r})\n"
    )
    with site.serve(app="", program=program) as servers:
        servers.wait_for("Listening on ")
        assert control.status()["name"] is None
        options = control.ask("/config")[1]["options"]
        assert options["control_socket"] == {"value": str(control.path), "origin": "call"}
        servers.signal(signal.SIGTERM)
        assert servers.wait() == 0
        servers.assert_clean()

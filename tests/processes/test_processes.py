"""A supervisor and its processes: the start, deaths, numbers, and how connections spread."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import signal
import socket
import time
from collections import Counter
from pathlib import Path

import pytest
from counting import Kind
from processes import Life, Servers, Site, children, release
from rawclient import RawClient, request
from serving import PACKAGE, both_loops

PAIR = ("--workers", "2")


# --- The start


@both_loops
@pytest.mark.parametrize("count", [1, 2])
def test_a_parent_that_loads_nothing_and_children_that_serve(
    site: Site, loop: str, count: int
) -> None:
    with site.serve("--workers", str(count), "--threads", "3", loop=loop) as servers:
        servers.wait_for(
            r"\[INFO\] Listening on http://127\.0\.0\.1:[0-9]+ "
            rf"\({'3 threads' if count == 1 else '2 processes, 3 threads each'}, {loop}, "
            r"parser auto\)$"
        )
        pids = servers.wait_for_pids(count)
        parent = servers.process.pid
        assert children(parent) == set(pids) == set(servers.loaded())
        facts = servers.facts()
        assert facts["parent"] == parent
        assert facts["multiprocess"] is (count > 1)
        status = Path(f"/proc/{parent}/status").read_text()
        assert re.search(r"^Threads:\s+1$", status, re.MULTILINE)
        # It runs no event loop.
        kinds = [os.readlink(entry) for entry in Path(f"/proc/{parent}/fd").iterdir()]
        assert len([kind for kind in kinds if "eventpoll" in kind]) <= 1
        servers.signal(signal.SIGTERM)
        assert servers.wait() == 0
        servers.wait_for(r"\[INFO\] Stopped$")
        servers.assert_clean()


def test_it_says_that_it_listens_when_all_are_ready(site: Site, tmp_path: Path) -> None:
    """The first one serves already, while the second still loads."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    site.write(
        "v1",
        before="import os\n"
        "try:\n"
        "    os.close(os.open('first', os.O_CREAT | os.O_EXCL))\n"
        "except FileExistsError:\n"
        "    os.write(2, b'held\\n')\n"
        f"    open({str(gate)!r}).read()\n",
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number = listener.fileno()
        with site.serve(*PAIR, "-b", f"fd://{number}", fds=(number,)) as servers:
            servers.wait_for("^held$")
            with RawClient(listener.getsockname()) as client:
                first = int(client.get("/?x").body.split()[0])
            assert servers.count("Listening on ") == 0
            release(gate)
            servers.wait_for("Listening on ")
            assert servers.wait_for_pids(1, others=[first])


def test_the_number_of_processes_a_platform_wants(site: Site) -> None:
    with site.serve(env={"WEB_CONCURRENCY": "2"}) as servers:
        servers.wait_for(r"Listening on .* \(2 processes,")
        servers.wait_for_pids(2)
    with site.serve("--workers", "1", env={"WEB_CONCURRENCY": "2"}) as servers:
        servers.wait_for(r"Listening on .* \(8 threads,")


def test_a_script_may_have_several_processes(site: Site) -> None:
    program = (
        "import site_app, wsgi_async\n"
        "wsgi_async.serve(site_app.application, 0, host='127.0.0.1', workers=2)\n"
        "print('done', flush=True)\n"
    )
    with site.serve(app="", program="import sys\nsys.path.insert(0, '')\n" + program) as servers:
        servers.wait_for(r"Listening on .* \(2 processes,")
        pids = servers.wait_for_pids(2)
        assert servers.process.pid not in pids
        assert servers.loaded() == [servers.process.pid]
        servers.signal(signal.SIGTERM)
        assert servers.wait() == 0
        assert servers.process.stdout is not None
        assert servers.process.stdout.read() == "done\n"
        servers.assert_clean()


SCRIPT = """
import logging, sys, threading, wsgi_async
from wsgi_async.errors import WsgiAsyncError
def application(environ, start_response):
    raise OSError("that is what it does")
def serve():
    try:
        wsgi_async.serve(application, 0, host="127.0.0.1", workers=2, **options)
    except WsgiAsyncError as error:
        print(type(error).__name__, error, file=sys.stderr)
options = {}
"""


def test_the_processes_of_a_script_log_where_it_does(site: Site) -> None:
    log = site.directory / "script.log"
    program = f"{SCRIPT}\nlogging.basicConfig(filename={str(log)!r})\nserve()"
    # The address is not on standard error either.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        fd = listener.fileno()
        program = program.replace('0, host="127.0.0.1"', f'bind="fd://{fd}"')
        with site.serve(app="", program=program, bind="", fds=(fd,)) as servers:
            with RawClient(listener.getsockname()) as client:
                assert client.get("/").status == 500
            servers.signal(signal.SIGTERM)
            assert servers.wait() == 0, log.read_text() + "\n".join(servers.lines)
            assert servers.lines == []
    assert "OSError: that is what it does" in log.read_text()


@pytest.mark.parametrize(
    ("how", "error"),
    [
        ("options['warmup'] = '/'; serve()", "LoadError --warmup / was answered with 500"),
        (
            "thread = threading.Thread(target=serve); thread.start(); thread.join()",
            "ConfigError workers above 1 need the main thread: call serve() there",
        ),
    ],
    ids=["warm-up", "thread"],
)
def test_a_script_is_told_why_its_processes_cannot_start(site: Site, how: str, error: str) -> None:
    with site.serve(app="", program=f"{SCRIPT}\n{how}", bind="") as servers:
        assert servers.wait() == 0
        assert servers.lines[-1] == error
        assert servers.count("Traceback") == servers.count("OSError: that is what it does")


# --- Who cannot start


@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["", "preload"])
@pytest.mark.parametrize("count", ["1", "3"])
def test_an_application_that_cannot_be_loaded_ends_it_with_code_3(
    site: Site, count: str, preload: tuple[str, ...]
) -> None:
    site.write_source("import os\nos.write(2, b'attempt\\n')\nraise OSError('no database')\n")
    with site.serve("--workers", count, *preload) as servers:
        assert servers.wait() == 3
        # As many attempts as first processes at the most: nothing is tried again.
        assert 1 <= servers.lines.count("attempt") <= (1 if preload else int(count))
        servers.wait_for("^Traceback")
        servers.wait_for(r'File ".*site_app\.py", line 3')
        servers.wait_for("error: Importing 'site_app' raised OSError: no database$")
        text = "\n".join(servers.lines)
        assert text.count("Traceback (most recent call last)") == 1
        assert "Listening" not in text
        assert str(PACKAGE) not in text


def test_an_application_that_is_not_there_ends_it_with_code_3(site: Site) -> None:
    with site.serve(app="no_such_module") as servers:
        assert servers.wait() == 3
        assert re.search("error: .*no_such_module", servers.lines[-1])


def test_a_process_that_ends_itself_while_it_starts_ends_it_with_code_3(site: Site) -> None:
    site.write_source("import os\nos._exit(7)\n")
    with site.serve(*PAIR) as servers:
        assert servers.wait() == 3
        servers.wait_for(r"rocess [0-9]+ did not start: exit code 7$")


@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["", "preload"])
def test_a_start_that_takes_too_long_ends_it_with_code_3(
    site: Site, preload: tuple[str, ...]
) -> None:
    site.write("v1", before="import time\ntime.sleep(60)")
    with site.serve("--boot-timeout", "500ms", *preload) as servers:
        assert servers.wait() == 3
        servers.wait_for(r"is not ready after 0\.5 s \(--boot-timeout\)$")
        # Where it was: the stack of the import.
        servers.wait_for(r'File ".*site_app\.py", line 2')


def test_a_wrong_option_is_code_1_before_anything_is_loaded(site: Site) -> None:
    with site.serve("--user", "no-such-user") as servers:
        assert servers.wait() == 1
        assert servers.loaded() == []
        assert len(servers.lines) == 1


# --- Deaths


def test_a_killed_process_loses_its_own_requests_only(site: Site, tmp_path: Path) -> None:
    """The load has a request in flight at any time in each of its clients."""
    ledger = tmp_path / "ledger"
    with site.serve(*PAIR, env={"LEDGER": str(ledger)}) as servers:
        pids = servers.wait_for_pids(2)
        victim, survivor = pids
        with servers.load(kept=8, fresh=4, pauses=(0,), path="/sleep") as load:
            load.wait_for_more(100)
            load.wait_until(lambda: {*pids} <= {*load.processes}, "answers of both")
            before = time.monotonic()
            os.kill(victim, signal.SIGKILL)
            servers.wait_for(rf"\[ERROR\] Process {victim} died: signal 9 \(SIGKILL")
            load.wait_for_processes(3)
            load.wait_for_more(100)
            names = {failure.name for failure in load.failures}
        # Each client had one request in flight at the most, and it had begun when the kill came.
        clients = Counter(name.partition("-")[0] for name in names)
        assert names, "nothing was in flight: the test shows nothing"
        assert set(clients.values()) == {1}
        for failure in load.failures:
            assert failure.kind in (Kind.NO_ANSWER, Kind.CUT, Kind.CLOSED_IDLE), str(load)
            assert failure.process in (victim, None), str(load)
            assert failure.at < before + 1.0, str(load)
        entered = dict(reversed(line.split()) for line in ledger.read_text().splitlines())
        assert {int(entered[name]) for name in names & entered.keys()} <= {victim}
        assert set(load.responses) == {200}
        assert survivor in servers.wait_for_pids(2, others=[victim])


def test_a_process_that_ends_itself_is_replaced(site: Site) -> None:
    with site.serve(*PAIR) as servers:
        pids = servers.wait_for_pids(2)
        with servers.client() as client:
            client.send(request("/end"))
            assert client.is_dropped()
        servers.wait_for(r"\[ERROR\] Process [0-9]+ died: exit code 9$")
        [new] = servers.wait_for_pids(1, others=pids)
        servers.wait_for_load(new)


def test_who_dies_again_and_again_is_replaced_ever_more_slowly(site: Site) -> None:
    site.write(
        "v1",
        before="import os, threading",
        after="if os.path.exists('ill'):\n    threading.Timer(0.05, os._exit, [8]).start()",
    )
    with site.serve(*PAIR) as servers:
        healthy = servers.wait_for_pids(2)
        (site.directory / "ill").touch()
        began = time.monotonic()
        os.kill(healthy[0], signal.SIGKILL)
        pauses = [
            float(servers.wait_for(r"The next process is started in ([0-9.]+) s$", count)[1])
            for count in (1, 2, 3)
        ]
        assert pauses == sorted(pauses)
        assert pauses[2] >= 2 * pauses[1] > 0
        assert time.monotonic() - began >= pauses[0] + pauses[1]
        assert servers.ask()[0] == healthy[1]
        (site.directory / "ill").unlink()
        servers.wait_for_pids(1, others=healthy)


def test_a_replacement_that_cannot_load_is_tried_again(site: Site) -> None:
    """Not a reload, and no end: who serves goes on, and once it can be loaded it is."""
    with site.serve(*PAIR) as servers:
        pids = servers.wait_for_pids(2)
        site.write_source("raise OSError('no database')\n")
        os.kill(pids[0], signal.SIGKILL)
        servers.wait_for("OSError: no database", 2)
        assert servers.ask()[0] == pids[1]
        site.write("v2")
        [new] = servers.wait_for_pids(1, others=pids)
        assert new in servers.loaded("v2")


@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["", "preload"])
def test_a_process_that_cannot_be_had_is_tried_again(site: Site, preload: tuple[str, ...]) -> None:
    """No descriptors are left, or no processes: the parent must not end by that."""
    with site.serve(*preload) as servers:
        pids = servers.wait_for_pids(1)
        parent = servers.process.pid
        limits = resource.prlimit(parent, resource.RLIMIT_NOFILE)
        in_use = len(os.listdir(f"/proc/{parent}/fd"))
        resource.prlimit(parent, resource.RLIMIT_NOFILE, (in_use, limits[1]))
        servers.signal(signal.SIGTTIN)
        servers.wait_for("did not start: Too many open files$", 2)
        assert servers.wait_for_pids(1) == pids
        resource.prlimit(parent, resource.RLIMIT_NOFILE, limits)
        servers.wait_for_pids(1, others=pids)
        servers.signal(signal.SIGTERM)
        assert servers.wait() == 0
        servers.assert_clean()


# --- More and fewer


def test_one_more_and_one_less(site: Site) -> None:
    with site.serve() as servers:
        [first] = servers.wait_for_pids(1)
        with servers.load() as load:
            servers.signal(signal.SIGTTIN)
            servers.wait_for("Processes wanted: 2$")
            load.wait_for_processes(2)
            servers.signal(signal.SIGTTIN)
            servers.wait_for("Processes wanted: 3$")
            pids = load.wait_for_processes(3)
            leavers = [Life(pid) for pid in pids]
            servers.signal(signal.SIGTTOU)
            servers.wait_for("Processes wanted: 2$", 2)
            servers.signal(signal.SIGTTOU)
            servers.wait_for("Processes wanted: 1$")
            for _ in range(100):
                if sum(life.is_over(0.1) for life in leavers) == 2:
                    break
            assert {life.pid for life in leavers if not life.is_over()} == {first}
            assert load.seen_from_now() == {first}
            servers.signal(signal.SIGTTOU)
            servers.wait_for("One process is the least there can be$")
            load.wait_for_more()
        load.assert_flawless()
        servers.signal(signal.SIGTERM)
        assert servers.wait() == 0
        servers.assert_clean()


# --- How connections spread


def connect(servers: Servers, count: int, stack: contextlib.ExitStack) -> Counter[int]:
    """Connect so often at once, and see who answers each of these connections."""
    clients = [stack.enter_context(servers.client()) for _ in range(count)]
    for client in clients:
        client.send(request("/?x"))
    answers = Counter(int(client.response().body.split()[0]) for client in clients)
    # They stay where they are.
    again = Counter(int(client.get("/?x").body.split()[0]) for client in clients)
    assert again == answers
    return answers


@both_loops
def test_connections_spread_evenly(site: Site, loop: str) -> None:
    with site.serve(*PAIR, loop=loop) as servers:
        servers.wait_for_pids(2)
        spreads: list[Counter[int]] = []
        # A process that gets no processor for 30 ms while others have some is passed over, and on
        # a machine that is busy with other things that happens.
        for _ in range(4):
            with contextlib.ExitStack() as stack:
                spreads.append(connect(servers, 64, stack))
                # What was opened before stays: of a connection that has closed, a process that
                # has no processor just then cannot tell the others.
                spreads[-1] += connect(servers, 64, stack)
            if is_even(spreads[-1]):
                return
        pytest.fail(f"never even: {spreads}")


def is_even(opened: Counter[int]) -> bool:
    even = opened.total() / 2
    return len(opened) == 2 and all(0.8 * even <= n <= 1.2 * even for n in opened.values())

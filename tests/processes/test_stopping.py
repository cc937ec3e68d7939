"""How a supervisor and its processes end: signals to one or to all, and deaths."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from processes import Life, Servers, Site, children, release
from rawclient import request
from serving import both_loops

PAIR = ("--workers", "2")
FOREVER = ("--graceful-timeout", "1h")
HELD = "import os, time\nos.write(2, b'held\\n')\ntime.sleep(60)"
"""What an application does that takes long to load."""

Send = Callable[[Servers], None]


def to_supervisor(number: signal.Signals) -> Send:
    return lambda servers: servers.signal(number)


def to_group(number: signal.Signals) -> Send:
    return lambda servers: servers.signal_group(number)


graceful = pytest.mark.parametrize(
    "send",
    [
        pytest.param(to_supervisor(signal.SIGTERM), id="TERM"),
        pytest.param(to_supervisor(signal.SIGINT), id="INT"),
        pytest.param(to_group(signal.SIGTERM), id="TERM-group"),
        pytest.param(to_group(signal.SIGINT), id="Ctrl-C"),
    ],
)


def begun(ledger: Path) -> set[str]:
    """The requests that reached the application."""
    return {line.split()[1] for line in ledger.read_text().splitlines()}


@graceful
@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["", "preload"])
def test_what_is_in_flight_is_finished(
    site: Site, tmp_path: Path, fifo: Path, send: Send, preload: tuple[str, ...]
) -> None:
    """Under load: whatever the application has begun is answered, to the last byte."""
    ledger = tmp_path / "ledger"
    environment = {"LEDGER": str(ledger)}
    with site.serve(*PAIR, *FOREVER, *preload, env=environment) as servers:
        pids = servers.wait_for_pids(2)
        lives = [Life(pid) for pid in pids]
        client, holder = servers.hold(fifo)
        with client, servers.load(kept=8, fresh=4, pauses=(0,), path="/sleep") as load:
            load.wait_for_more(50)
            send(servers)
            load.wait_until(lambda: len(load.failures) > 12, "the end of the service")
            load.stop()
            assert servers.process.poll() is None
            release(fifo)
            assert client.response().body.split()[0] == str(holder).encode()
        assert servers.wait() == 0
        assert all(life.is_over() for life in lives)
        lost = begun(ledger) - load.names - {"x"}
        assert not lost, f"{lost}\n{load}"
        assert set(load.responses) == {200}
        servers.wait_for(r"\[INFO\] Stopped$")
        servers.assert_clean()


@both_loops
@pytest.mark.parametrize("workers", ["1", "2"])
def test_connections_that_nobody_has_accepted_yet_are_answered(
    site: Site, loop: str, workers: str
) -> None:
    """The kernel would reset those that wait at a socket when its last process closes it."""
    with site.serve("--workers", workers, loop=loop) as servers:
        pids = servers.wait_for_pids(int(workers))
        with contextlib.ExitStack() as stack:
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            clients = [stack.enter_context(servers.client()) for _ in range(100)]
            for client in clients:
                client.send(request("/?x"))
            servers.signal(signal.SIGTERM)
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
            assert {client.response().status for client in clients} == {200}
        assert servers.wait() == 0
        servers.assert_clean()


def test_before_it_drains_a_load_balancer_may_notice(site: Site) -> None:
    options = ("--drain-delay", "1500ms", "--ready-path", "/readyz", "--health-path", "/healthz")
    with site.serve(*PAIR, *options) as servers:
        servers.wait_for_pids(2)
        with servers.load(kept=6, fresh=3) as load:
            load.wait_for_more()
            with servers.client() as client:
                assert client.get("/readyz").status == 200
            servers.signal(signal.SIGTERM)
            load.wait_until(lambda: load.notices >= 6, "that kept connections are told to go")
            with servers.client() as client:
                assert client.get("/readyz").status == 503
            with servers.client() as client:
                assert client.get("/healthz").status == 200
            with servers.client() as client:
                response = client.get("/?x")
                assert (response.status, response.fields["connection"]) == (200, "close")
            load.wait_for_more()
            load.stop()
        load.assert_flawless()
        assert servers.wait() == 0
        servers.assert_clean()


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (None, to_supervisor(signal.SIGQUIT)),
        (None, to_group(signal.SIGQUIT)),
        (to_supervisor(signal.SIGINT), to_supervisor(signal.SIGINT)),
        (to_group(signal.SIGINT), to_group(signal.SIGINT)),
        (to_supervisor(signal.SIGTERM), to_supervisor(signal.SIGINT)),
        (to_supervisor(signal.SIGTERM), to_supervisor(signal.SIGQUIT)),
    ],
    ids=["QUIT", "QUIT-group", "INT-INT", "Ctrl-C-Ctrl-C", "TERM-INT", "TERM-QUIT"],
)
def test_an_end_at_once(site: Site, first: Send | None, then: Send) -> None:
    """Clients are dropped, and iterables closed."""
    args = (*PAIR, *FOREVER, "--spool-limit", "4M")
    with site.serve(*args) as servers, contextlib.ExitStack() as stack:
        servers.wait_for("Listening on ")
        clients = [stack.enter_context(servers.client(receive_buffer=4096)) for _ in range(4)]
        for client in clients:
            client.send(request("/stream"))
            client.read_until(b"\r\n\r\n")
        began = time.monotonic()
        if first is not None:
            first(servers)
            servers.wait_for("Stopping")
            assert servers.process.poll() is None
        then(servers)
        assert servers.wait() == 0, "\n".join(servers.lines)
        assert time.monotonic() - began < 4
        assert servers.lines.count("stream closed") == 4
        servers.assert_clean()


def test_a_second_sigterm_changes_nothing(site: Site, fifo: Path) -> None:
    """Nor do many, at whatever moment of a process's end."""
    with site.serve(*PAIR, *FOREVER) as servers:
        lives = [Life(pid) for pid in servers.wait_for_pids(2)]
        client, holder = servers.hold(fifo)
        with client:
            servers.signal(signal.SIGTERM)
            servers.wait_for("Stopping")
            for life in lives:
                while life.pid != holder and not life.is_over(0.001):
                    servers.signal_group(signal.SIGTERM)
                    servers.signal_group(signal.SIGUSR1)
            release(fifo)
            assert client.response().status == 200
        assert servers.wait() == 0, "\n".join(servers.lines)
        servers.assert_clean()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT, signal.SIGHUP])
def test_what_a_terminal_sends_to_all_ends_no_process_that_ends_well(
    site: Site, fifo: Path, number: signal.Signals
) -> None:
    """A second Ctrl-C finds processes that have nothing to do any more at any moment of their
    end."""
    with site.serve(*PAIR, *FOREVER) as servers:
        lives = [Life(pid) for pid in servers.wait_for_pids(2)]
        client, holder = servers.hold(fifo)
        with client:
            servers.signal(signal.SIGTERM)
            servers.wait_for("Stopping")
            for life in lives:
                while life.pid != holder and not life.is_over(0.001):
                    os.kill(life.pid, number)
            release(fifo)
            assert client.response().status == 200
        assert servers.wait() == 0, "\n".join(servers.lines)
        servers.assert_clean()


def test_a_stop_during_a_reload(site: Site, tmp_path: Path, fifo: Path) -> None:
    """What is in flight is finished; who still loads is not waited for."""
    with site.serve(*PAIR, *FOREVER) as servers:
        servers.wait_for_pids(2)
        client, _ = servers.hold(fifo)
        with client:
            site.write("v1", before=HELD)
            servers.signal(signal.SIGHUP)
            servers.wait_for("^held$")
            servers.signal(signal.SIGTERM)
            servers.wait_for("Stopping")
            release(fifo)
            assert client.response().status == 200
        assert servers.wait() == 0
        servers.assert_clean()


def test_a_stop_before_all_are_ready(site: Site) -> None:
    site.write("v1", before=HELD)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        with site.serve(*PAIR, *FOREVER) as servers:
            servers.wait_for("^held$", 2)
            servers.signal(number)
            assert servers.wait() == 0
            servers.assert_clean()


# --- Who does not end


def test_who_is_stuck_is_killed(site: Site) -> None:
    """A thread that never returns, and a process that cannot even hear: neither is waited for
    longer than the operator said. All at once, because each takes its time."""
    soon = ("--graceful-timeout", "500ms")
    cases = [
        (soon, "/hang", signal.SIGTERM),
        (soon, "/block", signal.SIGTERM),
        (FOREVER, "/block", signal.SIGQUIT),
    ]
    with contextlib.ExitStack() as stack:
        running = []
        for args, deed, number in cases:
            servers = stack.enter_context(site.serve(*PAIR, *args))
            lives = [Life(pid) for pid in servers.wait_for_pids(2)]
            client = stack.enter_context(servers.client())
            client.send(request(deed))
            servers.wait_for("^(hanging|blocking)")
            running.append((servers, lives, client, number))
        began = time.monotonic()
        for servers, _, _, number in running:
            servers.signal(number)
        for servers, lives, client, _ in running:
            assert servers.wait() == 1, "\n".join(servers.lines)
            assert client.is_dropped()
            assert all(life.is_over() for life in lives)
        assert time.monotonic() - began < 9


# --- The death of the supervisor


@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["", "preload"])
def test_without_a_supervisor_processes_finish_and_go(
    site: Site, fifo: Path, preload: tuple[str, ...]
) -> None:
    with site.serve(*PAIR, *FOREVER, *preload) as servers:
        pids = servers.wait_for_pids(2)
        lives = {pid: Life(pid) for pid in {*pids, *servers.loaded()}}
        client, holder = servers.hold(fifo)
        with client:
            os.kill(servers.process.pid, signal.SIGKILL)
            for pid, life in lives.items():
                if pid != holder:
                    life.await_end()
            assert not lives[holder].is_over()
            with pytest.raises(ConnectionRefusedError):
                servers.client()
            release(fifo)
            response = client.response()
            assert response.body.split()[0] == str(holder).encode()
            assert response.fields["connection"] == "close"
        lives[holder].await_end()
        servers.assert_clean()


@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["", "preload"])
def test_without_a_supervisor_a_process_that_still_loads_goes(
    site: Site, preload: tuple[str, ...]
) -> None:
    """At once: it may load for ever."""
    site.write("v1", before=HELD)
    with site.serve(*preload) as servers:
        servers.wait_for("^held$")
        parent = servers.process.pid
        [pid] = children(parent)
        life = Life(pid)
        os.kill(parent, signal.SIGKILL)
        life.await_end()

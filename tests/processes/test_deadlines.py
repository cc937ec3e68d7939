"""Blocked event loops, hung threads, and what goes on beside them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time

import pytest
from processes import Life, Servers, Site
from rawclient import TIMEOUT, RawClient, request
from serving import both_loops

PAIR = ("--workers", "2")
PROBES = ("--health-path", "/healthz", "--ready-path", "/readyz")
ENOUGH = ("--graceful-timeout", "500ms")
"""Hung threads are not waited for when the test ends."""


# --- The heartbeat


def test_a_process_whose_threads_take_nothing_is_killed_and_replaced(site: Site) -> None:
    with site.serve("--timeout", "1s", "--threads", "2", *PROBES) as servers:
        [deaf] = servers.wait_for_pids(1)
        with servers.client() as client, servers.client() as waiting:
            client.send(request("/deafen"))
            client.response()
            waiting.send(request("/"))
            servers.wait_for(
                rf"\[ERROR\] Requests wait in process {deaf} beside a thread that is idle, and "
                r"have for 1 s \(--timeout\)"
            )
            assert waiting.is_dropped()
        servers.wait_for_pids(1, others=[deaf])
        assert servers.count("has been blocked") == 0


@both_loops
def test_a_blocked_process_is_killed_and_replaced(site: Site, loop: str) -> None:
    with site.serve(*PAIR, "--timeout", "1s", loop=loop) as servers:
        pids = servers.wait_for_pids(2)
        with servers.client() as client:
            client.send(request("/block"))
            blocked = int(servers.wait_for("^blocking ([0-9]+)")[1])
            began = time.monotonic()
            life = Life(blocked)
            servers.wait_for(
                rf"\[ERROR\] The event loop of process {blocked} has been blocked for 1 s "
                r"\(--timeout\)"
            )
            assert time.monotonic() - began < 2
            life.await_end(4)
            assert client.is_dropped()
        [other] = set(pids) - {blocked}
        [new] = servers.wait_for_pids(1, others=pids)
        assert other in servers.wait_for_pids(2)
        # The stacks of all threads: what blocks, and the loop that it blocks.
        servers.wait_for(r'File ".*process_app\.py", line [0-9]+ in block$')
        servers.wait_for(r'File ".*process_app\.py", line [0-9]+ in application$')
        assert servers.count(r"^(Current )?[Tt]hread 0x") >= 2
        servers.wait_for_load(new)


def test_a_busy_thread_is_none_of_the_heartbeats_business(site: Site) -> None:
    """Requests may take longer than --timeout: threads that wait, and one that computes."""
    with site.serve("--timeout", "500ms", *ENOUGH) as servers:
        [pid] = servers.wait_for_pids(1)
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(servers.client()) for _ in range(4)]
            for client in clients[1:]:
                client.send(request("/hang"))
            servers.wait_for("^hanging", 3)
            clients[0].send(request("/spin?2"))
            began = time.monotonic()
            assert clients[0].response().body.split()[0] == str(pid).encode()
            assert time.monotonic() - began > 1
            assert servers.ask()[0] == pid
        assert servers.loaded() == [pid]
        assert servers.count("blocked for") == 0


# --- The deadline of a request


def send_hanging(servers: Servers, stack: contextlib.ExitStack, count: int) -> list[RawClient]:
    before = servers.count("^hanging")
    clients = [stack.enter_context(servers.client()) for _ in range(count)]
    for client in clients:
        client.send(request("/hang?please"))
    servers.wait_for("^hanging", before + count)
    return clients


def meet(servers: Servers) -> None:
    """Two requests that only return if two threads run them at once."""
    with servers.client() as one, servers.client() as other:
        for client in (one, other):
            client.send(request("/meet?x"))
        for client in (one, other):
            assert client.response().status == 200


@both_loops
def test_a_hung_thread_is_answered_for_and_replaced(site: Site, loop: str) -> None:
    args = ("--threads", "3", "--request-timeout", "500ms", *PROBES, *ENOUGH)
    with site.serve(*args, loop=loop) as servers, contextlib.ExitStack() as stack:
        [pid] = servers.wait_for_pids(1)
        began = time.monotonic()
        clients = send_hanging(servers, stack, 2)
        for client in clients:
            response = client.response()
            assert response.status == 504
        assert 0.5 <= time.monotonic() - began < 1.5
        # Each with the request and with the place where it hangs.
        servers.wait_for(r"/hang\?please", 2)
        servers.wait_for(r"process_app\.py\S* line [0-9]+,? in hang", 2)
        # Of three threads two hang, and as many as before serve.
        meet(servers)
        assert servers.ask()[0] == pid
        servers.signal(signal.SIGTERM)
        assert servers.wait() == 1  # threads never returned


def test_health_is_answered_while_every_thread_hangs(site: Site) -> None:
    args = ("--threads", "2", "--ready-max-wait", "200ms", "--queue-timeout", "1h")
    with site.serve(*args, *PROBES, *ENOUGH) as servers, contextlib.ExitStack() as stack:
        servers.wait_for("Listening on ")
        probe = stack.enter_context(servers.client())
        assert probe.get("/healthz").status == 200
        assert probe.get("/readyz").status == 200
        send_hanging(servers, stack, 2)
        waiting = stack.enter_context(servers.client())
        waiting.send(request("/?x"))
        deadline = time.monotonic() + TIMEOUT
        while probe.get("/readyz").status != 503:
            assert time.monotonic() < deadline
        assert probe.get("/healthz").status == 200
        probe.send(request("/healthz", fields=("Accept: application/json",)))
        response = probe.response()
        assert response.fields["content-type"] == "application/json"
        assert isinstance(json.loads(response.body), dict)


@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["", "preload"])
def test_too_many_lost_threads_replace_the_process(site: Site, preload: tuple[str, ...]) -> None:
    args = ("--threads", "2", "--request-timeout", "300ms", *ENOUGH, *preload)
    with site.serve(*args) as servers, contextlib.ExitStack() as stack:
        [pid] = servers.wait_for_pids(1)
        life = Life(pid)
        with servers.load(kept=6, fresh=3) as load:
            load.wait_for_more(20)
            for _ in range(2):  # one after the other: the second thread goes on serving
                [client] = send_hanging(servers, stack, 1)
                assert client.response().status == 504
            servers.wait_for(
                rf"\[INFO\] Process {pid} is to be replaced: 2 of its threads do not return "
            )
            load.wait_for_processes(2)
            load.wait_for_more()
            life.await_end()
            assert pid not in load.seen_from_now()
        # Nobody else noticed.
        load.assert_flawless()
        servers.signal(signal.SIGTERM)
        assert servers.wait() == 0


def test_time_in_the_queue_counts(site: Site) -> None:
    """Whoever waits behind a hung thread has its answer by its own deadline."""
    args = ("--threads", "1", "--request-timeout", "600ms", *ENOUGH)
    with site.serve(*args) as servers, contextlib.ExitStack() as stack:
        servers.wait_for("Listening on ")
        began = time.monotonic()
        [first] = send_hanging(servers, stack, 1)

        waiting = [stack.enter_context(servers.client()) for _ in range(5)]
        for client in waiting:
            client.send(request("/?x"))
        assert first.response().status == 504
        assert {client.response().status for client in waiting} <= {200, 504}
        assert time.monotonic() - began < 3


# --- Time limits and the clock


def test_all_of_them_may_be_stopped_and_go_on(site: Site) -> None:
    """By a terminal's Ctrl-Z and fg, or ``docker pause``: nobody has missed a heartbeat."""
    with site.serve("--workers", "2", "--timeout", "1s") as servers:
        pids = servers.wait_for_pids(2)
        servers.signal_group(signal.SIGSTOP)
        threading.Event().wait(2.5)
        for pid in (servers.process.pid, *pids):
            os.kill(pid, signal.SIGCONT)
            threading.Event().wait(0.1)  # the parent is the first to find that time has passed
        servers.signal(signal.SIGUSR1)
        servers.wait_for("requests in flight: ", 2)
        assert servers.wait_for_pids(2) == pids
        servers.assert_clean()


def test_a_time_limit_of_a_year(site: Site) -> None:
    """More milliseconds than epoll_wait() takes."""
    with site.serve("--timeout", "8760h") as servers:
        [pid] = servers.wait_for_pids(1)
        servers.signal(signal.SIGTTIN)
        servers.wait_for_pids(1, others=[pid])
        servers.signal(signal.SIGTERM)
        assert servers.wait() == 0
        servers.assert_clean()

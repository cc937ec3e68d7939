"""``--dashboard-bind``: figures that are right, and outlive whoever shows them; who may look."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from processes import Life, Servers, Site, children
from rawclient import RawClient, request
from watching import DASHBOARD, Watcher

from wsgi_async.operations.viewers import VIEWERS

PAIR = ("--workers", "2")
TOKEN = "a-token-of-32-characters-or-more"


@pytest.fixture
def pair(site: Site) -> Iterator[Servers]:
    """Two processes that listen, with a dashboard."""
    with site.serve(*PAIR, *DASHBOARD) as servers:
        servers.wait_for("Listening on ")
        yield servers


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text(TOKEN)
    file.chmod(0o600)
    return file


def operations_of(servers: Servers) -> int:
    [found] = children(servers.process.pid) - set(servers.loaded())
    return found


def answered(rows: list[dict[str, float | None]]) -> float:
    """How many requests were answered in these seconds, which follow each other. Where some have no
    values, the next one has the mean of them too."""
    total, seconds = 0.0, 0
    for row in rows:
        seconds += 1
        if (rate := row["rps_2xx"]) is not None:
            total, seconds = total + rate * seconds, 0
    return total


# --- Figures


def test_it_shows_what_a_client_counts(pair: Servers) -> None:
    """Requests in the history beside the load's own count; a row is about a second."""
    watcher = Watcher.of(pair)
    events = watcher.events()
    before = next(events)
    with pair.load() as load:
        load.wait_for_each()
        for _ in range(3):
            next(events)
    load.assert_flawless()
    count = load.responses[200]
    after = watcher.wait_until(
        lambda found: found["totals"]["requests"]["2xx"] >= count, "all are counted"
    )
    assert after["totals"]["requests"]["2xx"] == count + before["totals"]["requests"]["2xx"]
    watcher.wait_until(lambda found: found["now_row"][2] == 0.0, "a second without any")
    rows = watcher.rows()
    # A rate is of the time that has passed, which is a second and however late its writer was.
    assert answered(rows) == pytest.approx(count, rel=0.4)
    busy = [row for row in rows if row["rps_2xx"]]
    assert all(row["p50"] and row["p50"] <= row["p90"] <= row["p99"] for row in busy)  # type: ignore[operator]
    assert rows[-1]["processes"] == 2
    assert rows[-1]["threads"]


def test_the_hour_goes_on_where_its_writer_is_killed_and_where_it_is_replaced(
    pair: Servers,
) -> None:
    watcher = Watcher.of(pair)
    for _ in range(10):
        pair.get("/?x")
    watcher.wait_until(lambda found: found["now_row"] and found["now_row"][2], "a row with them")
    before = watcher.rows()
    victim = operations_of(pair)
    os.kill(victim, signal.SIGKILL)
    Life(victim).await_end()
    for _ in range(20):  # while nobody writes, perhaps
        pair.get("/?x")
    pair.reload()
    last = watcher.wait_until(
        lambda found: sum(found["totals"]["requests"].values()) >= 30, "all are counted"
    )
    watcher.wait_until(
        lambda found: found["now_row"][0] > last["now_row"][0] + 1, "a second after that"
    )
    rows = watcher.rows()
    assert rows[: len(before)] == before
    assert answered(rows[len(before) :]) > 0
    times = [row["t"] for row in rows]
    assert [late - early for early, late in pairwise(times)] == [1] * (len(rows) - 1)  # type: ignore[operator]
    assert watcher.get("state")["fleet"]["reloads"] == 1


def test_errors_of_all_processes_and_of_the_parent_are_kept(site: Site) -> None:
    site.write_source(
        "def application(environ, start_response):\n    raise ValueError(environ['QUERY_STRING'])\n"
    )
    with site.serve(*DASHBOARD) as servers:
        servers.wait_for("Listening on ")
        watcher = Watcher.of(servers)
        with servers.client() as client:
            client.send(request("/<script>?card=4111"))
            assert client.response().status == 500
        with servers.client() as client:
            client.send(b"GET / HTTP/1.1\r\n\r\n")
            assert client.response().status == 400
        os.kill(operations_of_one(servers), signal.SIGKILL)
        kinds = {"application", "refused", "server"}
        found = watcher.wait_until(
            lambda found: {each["kind"] for each in found["errors"]} >= kinds, "all are there"
        )
        texts = [f"{each['process']} {each['text']}" for each in found["errors"]]
        assert "0 the application raised ValueError: GET /<script>?..." in texts
        assert any(text.startswith("0 400: ") for text in texts)
        assert any(
            text.startswith("parent The operations process ended: signal 9") for text in texts
        )
        answer = watcher.ask("/api/state")
        assert b"<" not in answer.body
        assert b"4111" not in answer.body


def operations_of_one(servers: Servers) -> int:
    """Of an application that says nothing of its loading."""
    found = {
        pid
        for pid in children(servers.process.pid)
        if b"site_app" in Path(f"/proc/{pid}/cmdline").read_bytes()
    }
    status = Watcher.of(servers).get("state")
    [operations] = found - {each["pid"] for each in status["processes"]}
    return operations


# --- Who may


def test_a_name_that_leads_here_is_no_host_of_ours(pair: Servers) -> None:
    watcher = Watcher.of(pair)
    with RawClient(watcher.address) as client:
        for path in ("/", "/api/state", "/api/events"):
            client.send(f"GET {path} HTTP/1.1\r\nHost: evil.test\r\n\r\n".encode())
            assert client.response().status == 421


def test_with_the_token_it_is_steered_and_the_token_is_nowhere(
    site: Site, token_file: Path
) -> None:
    options = (*PAIR, *DASHBOARD, "--dashboard-token-file", str(token_file), "--log-format", "json")
    with site.serve(*options) as servers:
        servers.wait_for("Listening on ")
        watcher = Watcher.of(servers)
        assert watcher.ask("/api/state").status == 401
        answer = watcher.ask(f"/?token={TOKEN}")
        assert (answer.status, answer.fields["location"]) == (303, "./")
        # What is wrong with such a request is said without it.
        too_large = watcher.ask(f"/?token={TOKEN}", "POST", body=b"x" * 5000)
        assert too_large.status == 413
        watcher.ask(f"/?token={TOKEN}", "GET", f"X: {'y' * 20000}")
        watcher.ask(f"/?token={TOKEN}x")
        cookie = answer.fields["set-cookie"].partition(";")[0]
        watcher.fields = (f"Cookie: {cookie}",)
        assert watcher.get("state")["actions"] is True
        json_ = ("Content-Type: application/json", "Origin: http://localhost")
        scaled = watcher.ask("/api/scale", "POST", *json_, body=b'{"processes": 1}')
        assert scaled.status == 200, scaled
        watcher.wait_until(lambda found: found["fleet"]["ready"] == 1, "one is ready")
        evil = ("Content-Type: application/json", "Origin: http://evil.test")
        assert watcher.ask("/api/reload", "POST", *evil, body=b"{}").status == 403
        # The cookie is the same server's after a reload, and after the death of who gave it.
        servers.signal(signal.SIGHUP)
        watcher.wait_until(
            lambda found: found["fleet"]["reloads"] == 1 and found["fleet"]["reload"] == "none",
            "reloaded",
        )
        servers.signal(signal.SIGTERM)
        assert servers.wait() == 0
        assert servers.count("refused with 413") == 1
        assert not any(TOKEN in line for line in servers.lines)


def test_a_token_that_others_may_read_is_refused_at_the_start(site: Site, token_file: Path) -> None:
    token_file.chmod(0o644)
    with site.serve(*DASHBOARD, "--dashboard-token-file", str(token_file)) as servers:
        assert servers.wait() == 1
        assert servers.count(f"mode 644.*chmod 600 {token_file}") == 1


def test_where_there_is_no_dashboard_nothing_of_it_is_imported(site: Site) -> None:
    site.write(
        "v0",
        after="import sys\n"
        "say(f\"imported {[n for n in sys.modules if n.startswith('wsgi_async.operations')]}\")",
    )
    with site.serve("--workers", "1") as servers:
        servers.wait_for(r"imported \[\]$")


# --- Who watches


def test_who_watches_holds_no_thread_and_at_a_reload_is_told_to_come_again_soon(
    pair: Servers,
) -> None:
    """In half a second, as the page's text has it: it is the last word, and the stream complete."""
    watcher = Watcher.of(pair)
    threads = Path(f"/proc/{operations_of(pair)}/task")
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(RawClient(watcher.address)) for _ in range(20)]
        before = 0
        for client in clients:
            client.send(watcher.request("/api/events"))
            client.read_until(b"\nretry: 500\n\nevent: state\ndata: {")
            before = before or len(list(threads.iterdir()))
        assert len(list(threads.iterdir())) == before
        pair.reload()
        for client in clients:
            assert client.read_to_end().endswith(b"\nretry: 500\n\n\r\n0\r\n\r\n")
    assert watcher.get("state")["viewers"] == 0
    pair.assert_clean()


def test_who_never_reads_takes_nothing_from_others(pair: Servers) -> None:
    watcher = Watcher.of(pair)
    clients = [RawClient(watcher.address, receive_buffer=2304) for _ in range(VIEWERS)]
    try:
        for client in clients:
            client.send(watcher.request("/api/events"))
        watcher.wait_until(lambda found: found["viewers"] == VIEWERS, "all places are taken")
        assert watcher.ask("/api/events").status == 503
        assert watcher.get("history")["rows"]
        pair.signal(signal.SIGTERM)
        assert pair.wait() == 0
    finally:
        for client in clients:
            client.close()


@pytest.mark.soak
def test_who_never_reads_is_dropped(pair: Servers) -> None:
    watcher = Watcher.of(pair)
    with RawClient(watcher.address, receive_buffer=2304) as client:
        client.send(watcher.request("/api/events"))
        watcher.wait_until(lambda found: found["viewers"] == 1, "there")
        watcher.wait_until(lambda found: found["viewers"] == 0, "dropped")


@pytest.mark.soak
def test_a_thousand_that_never_read_disturb_nobody(pair: Servers) -> None:
    """As many as there are descriptors for, that ask for all there is."""
    watcher = Watcher.of(pair)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft = 2048 if hard == resource.RLIM_INFINITY else min(hard, 2048)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    clients: list[socket.socket] = []
    try:
        for _ in range(min(1000, soft - 200)):
            client = socket.socket()
            clients.append(client)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2304)
            client.setblocking(False)
            client.connect_ex(watcher.address)
        for number, client in enumerate(clients):
            path = ("/api/events", "/api/history", "/api/state", "/")[number % 4]
            try:
                client.send(watcher.request(path) * 3)
            except OSError:  # it waits for a place, or was dropped for the others
                continue
        with pair.load() as load:
            for _ in range(5):
                assert watcher.get("state")["fleet"]["ready"] == 2
                load.wait_for_each()
        load.assert_flawless()
    finally:
        for client in clients:
            client.close()
    pair.signal(signal.SIGTERM)
    assert pair.wait() == 0
    pair.assert_clean()

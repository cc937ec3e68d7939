"""``--metrics-bind``: what all processes have done, told by one that serves none of it."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import resource
import signal
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from expositions import OPENMETRICS, parsed
from processes import Life, Servers, Site, children, reachable, release
from rawclient import RawClient, request
from scraping import METRICS, Scraper, operations_of
from tools import require_module

pytest.importorskip("prometheus_client")

PAIR = ("--workers", "2")
RESTARTS = "wsgi_async_process_restarts_total"
MEMORY = "wsgi_async_process_resident_memory_bytes"
FILES = "wsgi_async_process_open_fds"


@pytest.fixture
def pair(site: Site) -> Iterator[Servers]:
    """Two processes that listen, with their metrics."""
    with site.serve(*PAIR, *METRICS) as servers:
        servers.wait_for("Listening on ")
        yield servers


def ask(servers: Servers, count: int) -> None:
    """So many requests, each over a connection of its own."""
    for _ in range(count):
        servers.get("/?x")


# --- What is told


def test_all_that_both_processes_have_answered_is_one_sum(pair: Servers) -> None:
    scraper = Scraper.of(pair)
    asked = 0
    while len(seen := {pair.ask()[0] for _ in range(8)}) < 2:
        asked += 8
    asked += 8
    scraper.wait_for_total(asked, "wsgi_async_requests_total", method="GET", status="2xx")
    scraper.wait_for_total(asked, "wsgi_async_request_duration_seconds_count")
    assert scraper.total("wsgi_async_processes_wanted") == 2
    assert scraper.total("wsgi_async_processes_ready") == 2
    assert scraper.total("wsgi_async_fleet_state", state="up") == 1
    assert scraper.total("wsgi_async_fleet_state") == 1
    for name in ("0", "1", "parent", "operations"):
        assert scraper.total("wsgi_async_process_up", process=name) == 1
        scraper.wait_until(partial(scraper.total, MEMORY, process=name), f"memory of {name}")
        scraper.wait_until(partial(scraper.total, FILES, process=name), f"files of {name}")
    assert children(pair.process.pid) == {*seen, operations_of(pair)}


def test_by_the_accept_field_it_is_openmetrics(pair: Servers) -> None:
    scraper = Scraper.of(pair)
    plain = scraper.get()
    assert plain.fields["content-type"].startswith("text/plain; version=")
    answer = scraper.get(accept=f"{OPENMETRICS};version=1.0.0,text/plain;q=0.5")
    assert answer.fields["content-type"].startswith(f"{OPENMETRICS}; version=1.0.0")
    assert parsed(answer.body.decode(), OPENMETRICS)
    assert answer.body.endswith(b"# EOF\n")


def test_what_a_killed_process_has_counted_stays(pair: Servers) -> None:
    scraper = Scraper.of(pair)
    ask(pair, 20)
    first, second = pair.loaded()
    scraper.wait_for_total(20, "wsgi_async_requests_total", status="2xx")
    os.kill(first, signal.SIGKILL)
    pair.wait_for("is ready$")
    ask(pair, 20)
    scraper.wait_for_total(40, "wsgi_async_requests_total", status="2xx")
    assert scraper.total(RESTARTS, reason="died") == 1
    assert scraper.total(RESTARTS) == 1
    assert second in children(pair.process.pid)


def test_reloads_lose_no_number(pair: Servers) -> None:
    scraper, operations = Scraper.of(pair), operations_of(pair)
    assert scraper.get("/-/healthy").status == 200
    for number in range(1, 3):
        ask(pair, 10)
        pair.reload()
        scraper.wait_for_total(10 * number, "wsgi_async_requests_total", status="2xx")
    assert scraper.total("wsgi_async_reloads_total", reason="signal") == 2
    assert scraper.total("wsgi_async_reloads_failed_total") == 0
    assert scraper.total(RESTARTS) == 0
    # It has been replaced too, which is no failure.
    Life(operations).await_end()
    assert scraper.total("wsgi_async_operations_restarts_total") == 0
    assert pair.count("The operations process") == 0


def test_why_a_process_was_replaced(pair: Servers) -> None:
    """By words of a table, and not by what is said in the log."""
    scraper = Scraper.of(pair)
    os.kill(pair.ask()[0], signal.SIGTERM)
    scraper.wait_for_total(1, RESTARTS, reason="signal")
    pair.wait_for("is to be replaced: it got SIGTERM")
    assert scraper.total(RESTARTS) == 1


def test_a_reload_that_fails_is_counted(site: Site) -> None:
    with site.serve(*METRICS) as servers:
        scraper = Scraper.of(servers)
        servers.wait_for("Listening on ")
        site.write("bad", before="raise RuntimeError('broken')")
        servers.signal(signal.SIGHUP)
        scraper.wait_for_total(1, "wsgi_async_reloads_failed_total")
        assert scraper.total(RESTARTS, reason="not_started") == 1
        assert scraper.ready() == (200, "ready")


def test_on_the_other_loop(site: Site) -> None:
    with site.serve(*PAIR, *METRICS, loop="asyncio") as servers:
        scraper = Scraper.of(servers)
        ask(servers, 10)
        scraper.wait_for_total(10, "wsgi_async_requests_total", status="2xx")
        os.kill(operations_of(servers), signal.SIGKILL)
        scraper.wait_for_total(1, "wsgi_async_operations_restarts_total")
        servers.signal(signal.SIGTERM)
        assert servers.wait() == 0
        servers.assert_clean()


def test_with_preload_they_count_too(site: Site) -> None:
    with site.serve(*PAIR, *METRICS, "--preload") as servers:
        scraper = Scraper.of(servers)
        ask(servers, 10)
        servers.reload()
        ask(servers, 10)
        scraper.wait_for_total(20, "wsgi_async_requests_total", status="2xx")
        servers.signal(signal.SIGTERM)
        assert servers.wait() == 0
        servers.assert_clean()


# --- Its life


def test_killed_again_and_again_it_costs_no_request(pair: Servers) -> None:
    """Its socket is the parent's, so a scrape that comes meanwhile waits, and is answered."""
    scraper = Scraper.of(pair)
    with pair.load() as load:
        load.wait_for_each()
        for number in range(1, 5):
            os.kill(victim := operations_of(pair), signal.SIGKILL)
            Life(victim).await_end()
            scraper.wait_for_total(number, "wsgi_async_operations_restarts_total")
            load.wait_for_each()
    load.assert_flawless()
    scraper.wait_for_total(load.responses[200], "wsgi_async_requests_total", status="2xx")
    assert pair.count("The operations process ended: signal 9") == 4
    pair.wait_for("It is started at once")
    pair.wait_for("It is started in 0.5 s")  # and then twice that, each time
    pair.signal(signal.SIGTERM)
    assert pair.wait() == 0
    pair.assert_clean()


def test_a_scraper_that_never_reads_disturbs_nobody(pair: Servers) -> None:
    scraper = Scraper.of(pair)
    clients = [RawClient(scraper.address, receive_buffer=4096) for _ in range(16)]
    try:
        with pair.load() as load:
            for client in clients:
                client.socket.settimeout(1.0)
                client.send(request("/metrics") * 100)
            load.wait_for_each(5)
            assert scraper.ready() == (200, "ready")
        load.assert_flawless()
        pair.signal(signal.SIGTERM)
        assert pair.wait() == 0
    finally:
        for client in clients:
            client.close()


def test_who_holds_all_connections_has_nobody_taken_for_dead(pair: Servers) -> None:
    scraper = Scraper.of(pair)
    with contextlib.ExitStack() as stack:

        def hold() -> None:
            stack.enter_context(RawClient(scraper.address)).send(b"GET /metrics HTT")

        def are_taken() -> bool:
            hold()  # some may have been held too long by now
            return scraper.get().status == 503

        for _ in range(63):
            hold()
        scraper.wait_until(are_taken, "all connections taken")
        assert scraper.get("/-/healthy").status == 200


@pytest.mark.parametrize("is_for_all", [False, True], ids=["parent", "group"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_drain_can_be_watched_to_its_end(
    pair: Servers, tmp_path: Path, number: signal.Signals, is_for_all: bool
) -> None:
    """A terminal's Ctrl-C, and systemd's SIGTERM, go to each process of the server."""
    scraper, fifo = Scraper.of(pair), tmp_path / "fifo"
    os.mkfifo(fifo)
    client, _ = pair.hold(fifo)
    operations = Life(operations_of(pair))
    assert scraper.ready() == (200, "ready")
    (pair.signal_group if is_for_all else pair.signal)(number)
    scraper.wait_until(lambda: scraper.ready() == (503, "not ready: the server stops"), "503")
    assert scraper.get("/-/healthy").status == 200
    assert scraper.total("wsgi_async_fleet_state", state="stopping") == 1
    assert not operations.is_over()
    release(fifo)
    with client:
        assert client.response().status == 200
    assert pair.wait() == 0
    assert operations.is_over()
    pair.assert_clean()


def test_nobody_is_ready_until_somebody_serves(site: Site, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    site.write("v1", before=f"open({str(gate)!r}).read()")
    with site.serve(*METRICS) as servers:
        scraper = Scraper.of(servers)
        assert scraper.ready() == (503, "not ready: no process is ready")
        assert scraper.get("/-/healthy").status == 200
        release(gate)
        servers.wait_for("Listening on ")
        scraper.wait_until(lambda: scraper.ready() == (200, "ready"), "ready")


def test_one_that_hangs_holds_up_no_stop(pair: Servers) -> None:
    scraper, operations = Scraper.of(pair), operations_of(pair)
    assert scraper.get("/-/healthy").status == 200
    os.kill(operations, signal.SIGSTOP)
    pair.signal(signal.SIGTERM)
    assert pair.wait() == 0
    assert Life(operations).is_over()


def test_where_the_parent_is_killed_it_ends_too(pair: Servers) -> None:
    scraper, operations = Scraper.of(pair), Life(operations_of(pair))
    assert scraper.get("/-/healthy").status == 200
    pair.signal(signal.SIGKILL)
    operations.await_end()


def test_a_first_start_that_fails_ends_it_at_once(site: Site) -> None:
    site.write("v0", before="raise RuntimeError('broken')\n")
    with site.serve(*PAIR, *METRICS) as servers:
        assert servers.wait() == 3
        assert servers.count("operations process") == 0


def test_it_reopens_its_log(site: Site, tmp_path: Path) -> None:
    log = tmp_path / "error.log"
    with site.serve(*METRICS, "--error-logfile", str(log)) as servers:
        servers.wait_for("^loaded ")
        operations = operations_of(servers)
        log.rename(tmp_path / "old.log")
        servers.signal(signal.SIGUSR1)
        life = Life(operations)
        while str(log) not in open_files(operations):
            assert not life.is_over(0.01)


# --- What it has, and has not


def open_files(pid: int) -> set[str]:
    """What a process has open, sockets as the kernel names them."""
    links = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it is closed by now
            links.add(os.readlink(entry))
    return links


def inode_at(port: int) -> str:
    """The socket that listens on a port of 127.0.0.1."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1] == f"0100007F:{port:04X}" and fields[3] == "0A":
            return f"socket:[{fields[9]}]"
    raise AssertionError(port)


def test_who_has_connected_before_a_reload_is_answered(pair: Servers) -> None:
    """It closes no connection under a scraper that is about to ask."""
    scraper, life = Scraper.of(pair), Life(operations_of(pair))
    with RawClient(scraper.address) as kept, RawClient(scraper.address) as silent:
        assert kept.get("/-/ready").status == 200
        assert scraper.ready() == (200, "ready")  # so the silent one has been accepted too
        pair.signal(signal.SIGHUP)
        pair.wait_for("Reloading$")
        assert [client.get("/metrics").status for client in (kept, silent)] == [200, 200]
    life.await_end()
    pair.wait_for("Reloaded$")
    assert scraper.ready() == (200, "ready")
    assert pair.count("The operations process") == 0


def test_a_reload_has_it_log_where_the_options_say_then(site: Site) -> None:
    file, old, new = (site.directory / name for name in ("wsgi_async.toml", "old.log", "new.log"))
    file.write_text(f"metrics_bind = '127.0.0.1:0'\nerror_logfile = '{old}'\n")
    with site.serve() as servers:
        servers.wait_for("^loaded ")
        life = Life(operations_of(servers))
        file.write_text(f"metrics_bind = '127.0.0.1:0'\nerror_logfile = '{new}'\n")
        servers.signal(signal.SIGHUP)
        life.await_end()
        servers.wait_for("^loaded ", 2)
        looking = Life(servers.process.pid)
        while not any(
            str(new) in open_files(pid)
            for pid in children(servers.process.pid) - set(servers.loaded())
        ):
            assert not looking.is_over(0.01)
        assert old.read_text().count("operations process") == 0


@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["", "preload"])
def test_each_has_its_own_listeners_alone(site: Site, preload: tuple[str, ...]) -> None:
    with site.serve(*PAIR, *METRICS, *preload) as servers:
        port = servers.address[1]
        scraper = Scraper.of(servers)
        assert scraper.get("/-/healthy").status == 200
        assert isinstance(port, int)
        public, private = inode_at(port), inode_at(int(scraper.address[1]))
        serving = servers.wait_for_pids(2)
        [operations] = [
            pid
            for pid in children(servers.process.pid) - set(serving) - set(servers.loaded())
            if private in open_files(pid)
        ]
        assert public not in open_files(operations)
        # Its parent runs neither a loop nor a thread for it.
        status = Path(f"/proc/{servers.process.pid}/status").read_text()
        assert re.search(r"^Threads:\s+1$", status, re.MULTILINE)
        assert sum("eventpoll" in each for each in open_files(servers.process.pid)) <= 1
        for pid in serving:
            assert public in open_files(pid)
            assert private not in open_files(pid)


def test_who_watches_files_has_no_listener(site: Site) -> None:
    """Else clients would connect to a server that stops, and nobody would answer them."""
    require_module("watchfiles")
    with site.serve("--reload", *METRICS) as servers:
        servers.wait_for("Listening on ")
        scraper, port = Scraper.of(servers), servers.address[1]
        assert isinstance(port, int)
        listeners = {inode_at(port), inode_at(int(scraper.address[1]))}
        beside = children(servers.process.pid) - set(servers.loaded())
        assert sorted(len(open_files(pid) & listeners) for pid in beside) == [0, 1]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
def test_it_runs_as_who_serves() -> None:
    nobody = pwd.getpwnam("nobody")
    with reachable() as directory:
        path = directory / "metrics"
        where = ("--metrics-bind", f"unix:{path}")
        with Site(directory).serve(*where, "-u", "nobody") as servers:
            servers.wait_for("Listening on ")
            scraper = Scraper(str(path))
            assert scraper.ready() == (200, "ready")
            found = path.stat()
            assert (found.st_uid, found.st_mode & 0o777) == (nobody.pw_uid, 0o660)
            for _ in range(2):
                operations = operations_of(servers)
                status = Path(f"/proc/{operations}/status").read_text()
                assert f"Uid:\t{nobody.pw_uid}\t{nobody.pw_uid}\t{nobody.pw_uid}\t" in status
                fields = Path(f"/proc/{operations}/stat").read_text().rpartition(")")[2].split()
                assert int(fields[16]) == min(19, os.nice(0) + 5)
                assert f"Gid:\t{nobody.pw_gid}\t{nobody.pw_gid}\t{nobody.pw_gid}\t" in status
                os.kill(operations, signal.SIGKILL)
                Life(operations).await_end()
                assert scraper.ready() == (200, "ready")
            servers.signal(signal.SIGTERM)
            assert servers.wait() == 0
            assert not path.exists()
            servers.assert_clean()


def test_few_descriptors_are_fewer_connections(site: Site) -> None:
    limits = (128, 128)
    setup = partial(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
    with site.serve(*METRICS, setup=setup) as servers:
        scraper = Scraper.of(servers)
        servers.wait_for("Listening on ")
        assert scraper.ready() == (200, "ready")
        assert servers.count("max-connections|operations process") == 0


# --- The start, and what is wrong with it


def test_an_address_in_use_is_one_line_and_code_1(site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        with site.serve("--metrics-bind", address) as servers:
            assert servers.wait() == 1
    [line] = servers.lines
    assert f"Cannot listen on {address}: the address is in use" in line
    assert "choose another with --metrics-bind" in line


@pytest.mark.parametrize("more", [(), ("--check-config",)], ids=["", "check"])
def test_without_prometheus_client_it_does_not_start(site: Site, more: tuple[str, ...]) -> None:
    program = (
        "import sys\nsys.modules['prometheus_client'] = None\n"
        "from wsgi_async.cli import main\nmain(prog_name='wsgi-async')"
    )
    with site.serve(*METRICS, *more, program=program) as servers:
        assert servers.wait() == 1
    assert servers.lines[-1].endswith(
        "--metrics-bind needs prometheus-client: pip install 'wsgi_async[metrics]'"
    )
    assert not [line for line in servers.lines[:-1] if not line.startswith("loaded ")]


def test_a_port_alone_is_this_machines(site: Site) -> None:
    with site.serve("--metrics-bind", ":0") as servers:
        found = servers.wait_for(r"Metrics and probes .* on (.*)$")[1]
        assert all("127.0.0.1" in each or "[::1]" in each for each in found.split(", ")), found


def test_a_reload_cannot_move_it_and_says_so(site: Site) -> None:
    file = site.directory / "wsgi_async.toml"
    file.write_text('metrics_bind = "127.0.0.1:0"\n')
    with site.serve() as servers:
        scraper = Scraper.of(servers)
        servers.wait_for("Listening on ")
        file.write_text("")
        servers.reload()
        servers.wait_for("--metrics-bind has changed: that takes effect at the next start")
        assert scraper.ready() == (200, "ready")


def test_a_script_with_several_processes_has_it_too(site: Site) -> None:
    program = (
        "import sys\nsys.path.insert(0, '')\n"
        "import site_app, wsgi_async\n"
        "wsgi_async.serve(site_app.application, 0, host='127.0.0.1', workers=2, "
        "metrics_bind='127.0.0.1:0')\n"
    )
    with site.serve(app="", program=program) as servers:
        scraper = Scraper.of(servers)
        servers.wait_for("Listening on ")
        ask(servers, 10)
        scraper.wait_for_total(10, "wsgi_async_requests_total", status="2xx")
        servers.signal(signal.SIGTERM)
        assert servers.wait() == 0
        servers.assert_clean()


def test_without_it_nothing_of_it_is_imported(site: Site) -> None:
    names = "operations|scoreboard|prometheus"
    look = f"[name for name in sys.modules if re.search({names!r}, name)]"
    site.write("v0", before=f"import re, sys\nprint('has', {look}, file=sys.stderr)\n")
    with site.serve() as servers:
        assert servers.wait_for(r"^has (.*)$")[1] == "[]"

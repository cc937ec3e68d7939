"""New processes for old ones, under a load that counts: no request is lost by any of it."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from pathlib import Path

import pytest
from processes import Life, Servers, Site, release
from rawclient import request

PAIR = ("--workers", "2")
PAUSES = (0.002, 0.01, 0.05, 0.3, 1.5)
"""Seconds for which a connection of the load is idle; less than a process that leaves waits for
the next request, more than any reload takes."""

both_ways = pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["", "preload"])


# --- SIGHUP


@pytest.mark.soak
@pytest.mark.parametrize(
    ("preload", "loop"), [((), "uvloop"), (("--preload",), "uvloop"), ((), "asyncio")]
)
def test_twenty_reloads_lose_no_request(site: Site, preload: tuple[str, ...], loop: str) -> None:
    with site.serve(*PAIR, *preload, loop=loop) as servers:
        first = servers.wait_for_pids(2)
        with servers.load(kept=10, fresh=5, pauses=PAUSES) as load:
            load.wait_for_version("v0", 50)
            for number in range(1, 21):
                site.write(f"v{number}")
                servers.reload()
                servers.wait_for_version(f"v{number}")
                load.wait_for_version(f"v{number}", 10)
            # Those that were idle all the time too.
            load.wait_for_each(2)
        load.assert_flawless()
        # Kept connections moved over when they were told to.
        assert load.notices >= 20
        for number in range(1, 21):
            assert len(servers.loaded(f"v{number}")) == (1 if preload else 2)
        lives = [Life(pid) for pid in first]
        servers.signal(signal.SIGTERM)
        assert servers.wait() == 0
        assert all(life.is_over() for life in lives)
        servers.assert_clean()


def test_reloads_asked_for_during_a_reload_end_with_the_newest_code(site: Site) -> None:
    with site.serve(*PAIR) as servers:
        servers.wait_for_pids(2)
        with servers.load(kept=6, fresh=3, pauses=PAUSES) as load:
            load.wait_for_more()
            for number in range(1, 11):
                site.write(f"v{number}")
                servers.signal(signal.SIGHUP)
                servers.wait_for(r"\] Reloading$", number)
            servers.wait_for(r"\] Reloaded$")
            servers.wait_for_version("v10")
            load.wait_for_version("v10", 50)
            load.wait_for_each(2)
        load.assert_flawless()
        assert set(servers.wait_for_pids(2)) <= set(servers.loaded("v10"))


def test_one_at_a_time_and_ready_before_an_old_one_goes(site: Site, tmp_path: Path) -> None:
    """While the first new one loads, both of the old code serve; the second waits for it."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    with site.serve(*PAIR) as servers:
        old = servers.wait_for_pids(2)
        lives = [Life(pid) for pid in old]
        site.write("v1", before=f"import os\nos.write(2, b'held\\n')\nopen({str(gate)!r}).read()\n")
        servers.signal(signal.SIGHUP)
        servers.wait_for("^held$")
        assert servers.wait_for_pids(2) == old
        assert servers.lines.count("held") == 1
        release(gate)
        servers.wait_for("^held$", 2)
        [new] = servers.loaded("v1")
        assert servers.wait_for_pids(1, others=old) == [new]
        # One of the old ones has gone, and only one.
        while not any(life.is_over(0.1) for life in lives):
            pass
        [left] = [life.pid for life in lives if not life.is_over()]
        assert servers.wait_for_pids(2) == sorted([left, new])
        release(gate)
        servers.wait_for(r"\] Reloaded$")
        for life in lives:
            life.await_end()
        assert servers.wait_for_pids(2) == sorted(servers.loaded("v1"))


def test_a_request_in_flight_is_finished_by_the_old_code(site: Site, fifo: Path) -> None:
    with site.serve() as servers:
        servers.wait_for("Listening on ")
        client, pid = servers.hold(fifo)
        with client, servers.client() as kept:
            life = Life(pid)
            kept.send(request())
            assert kept.response().body.split()[0] == str(pid).encode()
            site.write("v1")
            servers.reload()
            servers.wait_for_version("v1")
            while True:  # until the old one has been told
                kept.send(request())
                if kept.response().fields.get("connection") == "close":
                    break
            assert not life.is_over()
            release(fifo)
            response = client.response()
            assert response.body.split()[:2] == [str(pid).encode(), b"v0"]
            assert response.fields["connection"] == "close"
        life.await_end()
        servers.assert_clean()


def test_slow_clients_are_served_to_the_end_by_the_old_process(site: Site) -> None:
    """A download of 8 MiB that is hardly begun, and half an upload."""
    with site.serve() as servers:
        [pid] = servers.wait_for_pids(1)
        life = Life(pid)
        with servers.client(receive_buffer=4096) as download, servers.client() as upload:
            download.send(b"GET /large HTTP/1.0\r\n\r\n")
            download.read_until(b"\r\n\r\n")
            upload.send(request("/upload", "POST", body=b"12345")[:-2])
            # That request has reached the process when one sent after it is answered.
            servers.ask()
            servers.reload()
            servers.wait_for_version("v0")
            assert servers.loaded() != [pid]
            upload.send(b"45")
            response = upload.response()
            assert (response.body, response.fields["connection"]) == (b"5", "close")
            assert not life.is_over()
            assert download.read_to_end().count(b"x") == 8 << 20
        life.await_end()
        servers.assert_clean()


@pytest.mark.soak
def test_whatever_an_operator_does_loses_no_request(site: Site) -> None:
    """Every signal that is no end, in quick succession, to the supervisor and to a process."""
    chance = random.Random(4)
    with site.serve(*PAIR) as servers:
        servers.wait_for_pids(2)
        with servers.load(kept=8, fresh=4, pauses=PAUSES) as load:
            load.wait_for_more()
            for number in range(60):
                deed = chance.choice(["HUP", "USR1", "TTIN", "TTOU", "TERM", "INT", "wait"])
                if deed in ("TERM", "INT"):
                    # To one of the processes that serve, which is not who decides.
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(load.seen_from_now(5).pop(), signal.Signals[f"SIG{deed}"])
                elif deed == "wait":
                    load.wait_for_more(chance.randrange(200))
                else:
                    site.write(f"v{number}")
                    servers.signal(signal.Signals[f"SIG{deed}"])
            site.write("last")
            servers.reload()
            load.wait_for_version("last", 20)
            load.wait_for_each(2)
        load.assert_flawless()
        assert servers.count(" (died|did not start|has not ended)") == 0
        servers.wait_for_pids(int(servers.wait_for_last(r"Processes wanted: ([0-9]+)$")[1]))
        servers.signal(signal.SIGTERM)
        assert servers.wait() == 0
        servers.assert_clean()


# --- Code that does not start


def stays(servers: Servers, site: Site, pids: list[int], failure: str) -> None:
    """The reload that is under way fails, nobody notices, and a good one works afterwards."""
    with servers.load(kept=6, fresh=3, pauses=PAUSES[:-1]) as load:
        load.wait_for_more()
        servers.signal(signal.SIGHUP)
        servers.wait_for(failure)
        servers.wait_for("The reload has failed: the processes that serve go on as they are$")
        load.wait_for_more()
        assert load.seen_from_now() <= set(pids)
        assert set(load.versions) == {"v0"}
        site.write("good")
        servers.reload()
        load.wait_for_version("good", 50)
        servers.wait_for_version("good")
        load.wait_for_each(2)
    load.assert_flawless()
    servers.signal(signal.SIGTERM)
    assert servers.wait() == 0


@both_ways
def test_code_that_cannot_be_loaded(site: Site, preload: tuple[str, ...]) -> None:
    with site.serve(*PAIR, *preload) as servers:
        pids = servers.wait_for_pids(2)
        site.write_source("def start():\n    import no_such_module\n\nstart()\n")
        stays(servers, site, pids, "ModuleNotFoundError: No module named 'no_such_module'$")
        servers.wait_for("Traceback")
        servers.wait_for(r'File ".*site_app\.py", line 2, in start$')


@both_ways
def test_code_that_answers_the_warm_up_with_500(site: Site, preload: tuple[str, ...]) -> None:
    with site.serve(*PAIR, *preload, "--warmup", "/warm?x") as servers:
        pids = servers.wait_for_pids(2)
        assert len(set(warmed(servers, "v0"))) == 2
        site.write("bad")
        stays(servers, site, pids, r"--warmup /warm\?x was answered with 500$")
        assert len(set(warmed(servers, "good"))) == 2


def warmed(servers: Servers, version: str) -> list[str]:
    return [line for line in servers.lines if line.startswith(f"warmed up {version} in ")]


def test_code_that_takes_too_long(site: Site) -> None:
    with site.serve(*PAIR, "--boot-timeout", "1s") as servers:
        pids = servers.wait_for_pids(2)
        site.write("v1", before="import time\ntime.sleep(60)")
        stays(servers, site, pids, r"is not ready after 1 s \(--boot-timeout\)$")


def test_code_that_ends_the_process(site: Site) -> None:
    with site.serve(*PAIR) as servers:
        pids = servers.wait_for_pids(2)
        site.write_source("import os\nos._exit(7)\n")
        stays(servers, site, pids, "rocess [0-9]+ did not start: exit code 7$")


def test_after_a_reload_that_failed_an_old_process_may_still_die(site: Site) -> None:
    """With --preload the code that was good is still at hand, whatever is on the disk."""
    with site.serve(*PAIR, "--preload") as servers:
        pids = servers.wait_for_pids(2)
        site.write_source("raise OSError('no database')\n")
        servers.signal(signal.SIGHUP)
        servers.wait_for("The reload has failed")
        os.kill(pids[0], signal.SIGKILL)
        servers.wait_for_pids(1, others=pids)
        assert servers.ask()[1] == "v0"


def test_a_configuration_that_has_become_wrong_reloads_nothing(site: Site) -> None:
    config = site.directory / "wsgi_async.toml"
    config.write_text("workers = 2\n")
    with site.serve() as servers:
        pids = servers.wait_for_pids(2)
        config.write_text("workers = 'many'\n")
        servers.signal(signal.SIGHUP)
        servers.wait_for(r"\[ERROR\] Not reloaded: wsgi_async\.toml: --workers takes ")
        assert servers.wait_for_pids(2) == pids
        config.write_text("workers = 3\n")
        servers.reload()
        assert not {*servers.wait_for_pids(3, others=pids)} & {*pids}


def test_a_number_of_processes_that_is_taken_back_after_a_failure(site: Site) -> None:
    config = site.directory / "wsgi_async.toml"
    config.write_text("workers = 1\n")
    with site.serve() as servers:
        [life] = map(Life, servers.wait_for_pids(1))
        config.write_text("workers = 2\n")
        site.write_source("raise OSError\n")
        servers.signal(signal.SIGHUP)
        servers.wait_for("The reload has failed")
        config.write_text("workers = 1\n")
        site.write("good")
        servers.reload()
        life.await_end()
        # Not that only one has loaded it: the second that was wanted before may have tried again
        # in between.
        last = servers.loaded("good")[-1]
        assert [servers.wait_for_pids(1) for _ in range(5)] == [[last]] * 5


# --- Preload


def test_preload_loads_once_for_all(site: Site) -> None:
    with site.serve("--workers", "3", "--preload") as servers:
        pids = servers.wait_for_pids(3)
        [loader] = servers.loaded()
        assert loader not in pids
        assert loader != servers.process.pid
        assert servers.facts()["parent"] == servers.process.pid
        # A death costs no loading.
        os.kill(pids[0], signal.SIGKILL)
        servers.wait_for_pids(1, others=pids)
        assert servers.loaded() == [loader]
        life = Life(loader)
        site.write("v1")
        servers.reload()
        life.await_end()
        assert len(servers.loaded("v1")) == 1
        servers.wait_for_version("v1")
        servers.signal(signal.SIGTERM)
        assert servers.wait() == 0


def test_what_is_printed_while_it_loads_is_printed_once(site: Site) -> None:
    site.write("v0", before="print('loading')")
    with site.serve(*PAIR, "--preload", env={"PYTHONUNBUFFERED": ""}) as servers:
        servers.wait_for_pids(2)
        servers.signal(signal.SIGTERM)
        assert servers.wait() == 0
        assert servers.process.stdout is not None
        assert servers.process.stdout.read() == "loading\n"


def test_the_death_of_a_loader_disturbs_nobody(site: Site) -> None:
    with site.serve(*PAIR, "--preload") as servers:
        pids = servers.wait_for_pids(2)
        [loader] = servers.loaded()
        with servers.load() as load:
            load.wait_for_more()
            life = Life(loader)
            os.kill(loader, signal.SIGKILL)
            life.await_end()
            load.wait_for_more()
            assert load.seen_from_now() <= set(pids)
        load.assert_flawless()
        os.kill(pids[0], signal.SIGKILL)
        servers.wait_for_pids(1, others=pids)
        assert len(servers.loaded()) == 2


# --- Replacement of single processes


def test_a_process_that_is_told_to_end_is_replaced_first(site: Site) -> None:
    """By an operator who knows its number, not the supervisor's: SIGTERM to it alone."""
    with site.serve(*PAIR) as servers:
        pids = servers.wait_for_pids(2)
        life = Life(pids[0])
        with servers.load(kept=6, fresh=3) as load:
            load.wait_for_more()
            os.kill(pids[0], signal.SIGTERM)
            servers.wait_for(rf"\[INFO\] Process {pids[0]} is to be replaced: it got SIGTERM$")
            load.wait_for_processes(3)
            life.await_end()
            load.wait_for_more()
        load.assert_flawless()
        assert pids[1] in servers.wait_for_pids(2)
        servers.assert_clean()


@both_ways
def test_a_number_of_requests_replaces_a_process(site: Site, preload: tuple[str, ...]) -> None:
    args = ("--max-requests", "150", "--max-requests-jitter", "100")
    with site.serve(*PAIR, *preload, *args) as servers:
        servers.wait_for_pids(2)
        with servers.load(kept=10, fresh=5, pauses=(0.001, 0.002, 0.01, 0.3)) as load:
            load.wait_for_processes(8)
            load.wait_for_more()
        load.assert_flawless()
        servers.wait_for(
            r"\[INFO\] Process [0-9]+ is to be replaced: it has answered [0-9]+ requests$"
        )
        # Each served at least so many, and not all of them the same number.
        done = [
            load.processes[pid]
            for pid in load.processes
            if servers.count(f"Process {pid} is to be replaced")
        ]
        assert len(done) >= 5
        assert min(done) >= 100
        assert servers.count("died") == 0
        servers.signal(signal.SIGTERM)
        assert servers.wait() == 0
        servers.assert_clean()


def test_the_warm_up_does_not_count_as_requests(site: Site) -> None:
    """A process that had its number by the warm-up alone would be replaced without end."""
    with site.serve("--max-requests", "2", "--warmup", "/warm", "--warmup", "/warm") as servers:
        pid, _ = servers.ask()
        servers.signal(signal.SIGUSR1)
        servers.wait_for("requests in flight: 0")
        assert servers.count("is to be replaced") == 0
        assert servers.ask()[0] == pid
        servers.wait_for(f"Process {pid} is to be replaced: it has answered 2 requests$")


def test_age_replaces_a_process(site: Site) -> None:
    with site.serve(*PAIR, "--worker-lifetime", "1s") as servers:
        began = time.monotonic()
        first = servers.wait_for_pids(2)
        with servers.load(kept=6, fresh=3) as load:
            load.wait_for_processes(6)
            assert time.monotonic() - began >= 2.0
        load.assert_flawless()
        assert not set(servers.wait_for_pids(2)) & set(first)
        servers.wait_for(r"\[INFO\] Process [0-9]+ is to be replaced: it is older than 1 s$")
        servers.assert_clean()

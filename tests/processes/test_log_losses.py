"""Logs that take nothing, under a load: no request is lost, and what the logs lose is counted."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import select
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from counting import Load
from processes import Servers, Site
from rawclient import TIMEOUT

root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a file system")


def serve_a_load(servers: Servers, requests: int = 300) -> int:
    """How many were answered: all of them."""
    with servers.load() as load:
        load.wait_for_more(requests)
    load.assert_flawless()
    return sum(load.responses.values())


@contextlib.contextmanager
def unheard(site: Site, *options: str) -> Iterator[tuple[Servers, Load]]:
    """A server that cannot say where it listens, at a socket of ours; and a load on it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number, address = listener.fileno(), listener.getsockname()
        with site.serve("-b", f"fd://{number}", *options, fds=(number,)) as servers:
            yield servers, Load(address)


def write_errors(site: Site, text: str) -> None:
    """Have the application write that, an expression, to its error stream in each request."""
    site.write(
        "v0",
        after="_app = application\n"
        "def application(environ, start_response):\n"
        f"    environ['wsgi.errors'].write({text})\n"
        "    return _app(environ, start_response)\n",
    )


def stop(servers: Servers) -> str:
    """Standard error until its end."""
    servers.signal(signal.SIGTERM)
    assert servers.wait() == 0
    return "\n".join(servers.lines)


def dropped(text: str, log: str) -> int:
    """So many lines of it."""
    found = re.findall(rf"([0-9]+) lines? of the {log} w\S+ dropped: ", text)
    return sum(map(int, found))


# --- Full disks


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_an_access_log_on_a_full_disk(log_format: str, site: Site) -> None:
    options = ("--access-logfile", "/dev/full", "--log-format", log_format, "--workers", "2")
    with site.serve(*options) as servers:
        answered = serve_a_load(servers)
        text = stop(servers)
    assert "dropped: No space left on device" in text
    # Lines that a process drops as it ends, with nobody left to say so, are not in it.
    assert 0 < dropped(text, "access log") <= answered
    assert "Traceback" not in text


def test_an_error_log_on_a_full_disk(site: Site) -> None:
    """Nobody can be told; the site is served all the same, also where each request is a line."""
    write_errors(site, "'a line\\n'")
    options = ("--error-logfile", "/dev/full", "--access-logfile", "-")
    with unheard(site, *options) as (servers, load):
        with load:
            load.wait_for_more(300)
        load.assert_flawless()
        stop(servers)


def test_a_file_that_may_not_grow_has_whole_lines_only(site: Site) -> None:
    """By RLIMIT_FSIZE, as by a quota. Then it is rotated away, and all is well."""
    log = site.directory / "access.log"

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_050, resource.RLIM_INFINITY))

    with site.serve("--access-logfile", str(log), setup=limit) as servers:
        answered = serve_a_load(servers)
        servers.wait_for(r"of the access log w\S+ dropped: File too large")
        log.rename(site.directory / "access.log.1")
        servers.signal(signal.SIGUSR1)
        servers.wait_for("requests in flight: ")
        with servers.client() as client:
            assert client.get("/?later").status == 200
        answered += 1
        text = stop(servers)
    lines = (site.directory / "access.log.1").read_text().splitlines()
    [line] = log.read_text().splitlines()
    assert '"GET /?later HTTP/1.1" 200' in line
    whole = re.compile(r'127\.0\.0\.1 - - \[[^]]+\] "GET /\S+ HTTP/1\.1" 200 [0-9]+ "-" "[^"]*"')
    # What the limit has cut is the last one.
    assert all(whole.fullmatch(each) for each in lines[:-1])
    kept = sum(whole.fullmatch(each) is not None for each in lines)
    assert kept + 1 + dropped(text, "access log") == answered


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "disk"
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(path)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


@root
def test_a_disk_that_is_full_for_a_while(small_disk: Path, site: Site) -> None:
    """Once there is room again lines are written, each on a line of its own, and what is missing
    was said."""
    log, ballast = small_disk / "access.log", small_disk / "ballast"
    with site.serve("--access-logfile", str(log)) as servers:
        answered = serve_a_load(servers, 100)
        with open(ballast, "wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"x" * 1024)
            except OSError:
                pass
        answered += serve_a_load(servers, 600)
        servers.wait_for(r"of the access log w\S+ dropped: No space left on device")
        ballast.unlink()
        answered += serve_a_load(servers, 50)
        text = stop(servers)
        lines = log.read_text().splitlines()
    whole = re.compile(r'127\.0\.0\.1 - - \[[^]]+\] "GET /\S+ HTTP/1\.1" 200 [0-9]+ "-" "[^"]*"')
    kept = sum(whole.fullmatch(line) is not None for line in lines)
    torn = [line for line in lines if line and not whole.fullmatch(line)]
    assert len(torn) < 20
    assert all(whole.match(line) is None for line in torn)  # nothing stands behind another
    assert kept + dropped(text, "access log") == answered


# --- Syslogs


class Collector:
    """A syslog on a stream, in this process: what it has not read waits in the kernel."""

    def __init__(self) -> None:
        self.port = 0
        self.lines: list[bytes] = []
        self._connections: dict[socket.socket, bytes] = {}
        self._listener: socket.socket | None = None

    def start(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port), reuse_port=False)
        self.port = self._listener.getsockname()[1]

    def stop(self) -> None:
        for each in (*self._connections, self._listener):
            if each is not None:
                each.close()
        self._connections.clear()
        self._listener = None

    def read(self, is_enough: str) -> None:
        """Until a message has this text."""
        deadline = time.monotonic() + TIMEOUT
        while not any(is_enough.encode() in line for line in self.lines):
            assert self._listener is not None
            sources = [self._listener, *self._connections]
            ready = select.select(sources, [], [], deadline - time.monotonic())[0]
            assert ready, self.lines[-3:]
            for source in ready:
                if source is self._listener:
                    self._connections[source.accept()[0]] = b""
                elif data := source.recv(1 << 20):
                    *lines, rest = (self._connections[source] + data).split(b"\n")
                    self.lines += lines
                    self._connections[source] = rest
                else:
                    del self._connections[source]
                    source.close()


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    collector.start()
    yield collector
    collector.stop()


def test_a_syslog_that_goes_and_comes_back(collector: Collector, site: Site) -> None:
    address = f"tcp://127.0.0.1:{collector.port}"
    options = ("--log-syslog-to", address, "--access-logfile", "access.log", "--workers", "2")
    with site.serve(*options) as servers:
        serve_a_load(servers)
        collector.read("Listening on ")
        collector.read("GET /")
        collector.stop()
        serve_a_load(servers)
        collector.start()
        before = len(collector.lines)
        answered = serve_a_load(servers)
        with servers.client() as client:
            assert client.get("/?the-last").status == 200
        collector.read("/?the-last")
        assert len(collector.lines) - before > 100
        assert answered >= 300
        stop(servers)
    assert all(re.match(rb"<1[0-9]>1 \d{4}-", line) for line in collector.lines)


def test_a_dead_syslog(site: Site) -> None:
    """It has never been there."""
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    with site.serve("--log-syslog-to", address, "--access-logfile", "access.log") as servers:
        answered = serve_a_load(servers)
        began = time.monotonic()
        text = stop(servers)
        assert time.monotonic() - began < 5.0
    assert dropped(text, "log to syslog") >= answered
    assert (site.directory / "access.log").read_text().count("\n") == answered


def test_a_syslog_that_reads_nothing(collector: Collector, site: Site) -> None:
    """Its connection is accepted by the kernel, which takes some."""
    address = f"tcp://127.0.0.1:{collector.port}"
    write_errors(site, "'x' * 50_000 + '\\n'")
    options = ("--log-syslog-to", address, "--error-logfile", "error.log", "--access-logfile", "-")
    with unheard(site, *options) as (servers, load):
        with load:
            load.wait_for_more(400)
        load.assert_flawless()
        stop(servers)
    text = (site.directory / "error.log").read_text()
    assert dropped(text, "log to syslog") > 0

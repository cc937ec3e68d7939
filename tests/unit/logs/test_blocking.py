"""Servers whose logs nobody reads, and logs that are rotated while they are written."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from pathlib import Path

from processes import Life, Site
from rawclient import TIMEOUT, request

LONG = "User-Agent: " + "x" * 4000


def test_an_access_log_that_nobody_reads_does_not_stop_the_server(site: Site) -> None:
    """It goes to a pipe. What the pipe and the queue do not take is counted and said."""
    count = 2000
    with site.serve("--access-logfile", "-", "--timeout", "3") as servers:
        with servers.client() as client:
            for number in range(count):
                client.send(request(f"/?{number}", fields=(LONG,)))
                assert client.response().status == 200
        dropped = r"\[ERROR\] ([0-9]+) lines? of the access log w\S+ dropped: nobody reads it fast"
        first = int(servers.wait_for(dropped)[1])
        assert servers.process.stdout is not None
        lines: list[str] = []
        reader = threading.Thread(target=lines.extend, args=(servers.process.stdout,))
        reader.start()
        later = int(servers.wait_for(dropped, 2)[1])
        servers.signal(signal.SIGTERM)
        assert servers.wait() == 0
        reader.join(TIMEOUT)
        servers.assert_clean()
    numbers = [int(re.findall(r"GET /\?([0-9]+) ", line)[0]) for line in lines]
    assert numbers == sorted(set(numbers))
    assert 500 < len(numbers) == count - first - later
    assert all("x" * 4000 in line for line in lines)


def test_a_server_whose_logs_nobody_reads_stops_in_time(tmp_path: Path, site: Site) -> None:
    """Neither the parent nor a process waits for them; nor does a reload."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        logs = ("--error-logfile", str(pipe), "--access-logfile", str(pipe))
        port = tmp_path / "unix"
        with site.serve("-b", f"unix:{port}", *logs) as servers:
            servers.wait_for(r"^loaded \S+ in ")
            [pid] = servers.loaded()
            writing = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
            deadline = time.monotonic() + TIMEOUT
            while b"Listening" not in _read(reading):
                assert time.monotonic() < deadline
            try:
                while True:
                    os.write(writing, b"x" * 4096)
            except BlockingIOError:
                os.close(writing)
            servers.signal(signal.SIGHUP)
            servers.wait_for(r"^loaded \S+ in ", 2)
            Life(pid).await_end()
            servers.signal(signal.SIGTERM)
            assert servers.wait() == 0
    finally:
        os.close(reading)


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except BlockingIOError:
        return b""


def test_rotation_under_load_loses_and_repeats_nothing(tmp_path: Path, site: Site) -> None:
    """By two processes, whose lines stay whole."""
    log = tmp_path / "access.log"
    with site.serve("--workers", "2", "--access-logfile", str(log)) as servers:
        servers.wait_for_pids(2)
        with servers.load() as load:
            for number in range(5):
                load.wait_for_more(200)
                log.rename(tmp_path / f"access.log.{number}")
                servers.signal(signal.SIGUSR1)
                _await(log)
            load.wait_for_more(200)
        load.assert_flawless()
        servers.signal(signal.SIGTERM)
        assert servers.wait() == 0
    lines = [
        line for path in tmp_path.glob("access.log*") for line in path.read_text().splitlines()
    ]
    whole = re.compile(r'127\.0\.0\.1 - - \[[^]]+\] "GET /\S+ HTTP/1\.1" 200 [0-9]+ "-" "[^"]*"')
    assert [line for line in lines if not whole.fullmatch(line)] == []
    names = [line.split()[6].removeprefix("/?") for line in lines if "/?x " not in line]
    assert sorted(names) == sorted(load.names)


def _await(path: Path) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not path.exists():
        assert time.monotonic() < deadline

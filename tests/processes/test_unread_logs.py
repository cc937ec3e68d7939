"""Servers whose logs take nothing, a pipe or a handler of the application: they serve, reload and
stop."""

from __future__ import annotations

import fcntl
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from processes import Life, Servers, Site
from rawclient import TIMEOUT, RawClient

PROGRAM = (
    "import os\nwriting = os.open('pipe', os.O_WRONLY)\nos.dup2(writing, 1)\nos.dup2(writing, 2)\n"
    "os.close(writing)\nfrom wsgi_async.cli import main\nmain(prog_name='wsgi-async')"
)


@contextmanager
def unread(site: Site, *options: str) -> Iterator[Servers]:
    """A server both of whose streams are one pipe, which takes 4 KiB."""
    site.write_source(
        "import os\ndef application(environ, start_response):\n"
        "    start_response('200 OK', [])\n    return [b'%d' % os.getpid()]\n"
    )
    os.mkfifo(site.directory / "pipe")
    reading = os.open(site.directory / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        fcntl.fcntl(reading, fcntl.F_SETPIPE_SZ, 4096)
        options = ("-b", "unix:socket", "--access-logfile", "-", *options)
        with site.serve(*options, bind="", program=PROGRAM) as servers:
            yield servers
    finally:
        os.close(reading)


def ask(site: Site, *, other_than: int = 0) -> int:
    """Which process answers: one of those that are not known yet."""
    path = str(site.directory / "socket")
    deadline = time.monotonic() + TIMEOUT
    while True:
        try:
            with RawClient(path) as client:
                pid = int(client.get().body)
            if pid != other_than:
                return pid
        except (FileNotFoundError, ConnectionError):
            pass
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["", "preload"])
def test_a_parent_replaces_a_process_and_stops(preload: tuple[str, ...], site: Site) -> None:
    """What it cannot say of a line that nobody took it does not say again and again."""
    with unread(site, *preload) as servers:
        pid = ask(site)
        for _ in range(100):
            ask(site)
        os.kill(pid, signal.SIGKILL)
        Life(pid).await_end()
        other = ask(site, other_than=pid)
        for number in (signal.SIGUSR2, signal.SIGUSR1, signal.SIGHUP):
            servers.signal(number)
        ask(site, other_than=other)
        servers.signal(signal.SIGTERM)
        assert servers.wait() == 0


@pytest.mark.parametrize("name", ["wsgi_async.access", "wsgi_async"])
def test_a_handler_that_hangs_silences_no_log(name: str, site: Site) -> None:
    site.write_source(
        "import logging, time\nclass Hung(logging.Handler):\n"
        "    def emit(self, record):\n        time.sleep(600)\n"
        f"logging.getLogger({name!r}).addHandler(Hung())\n"
        "def application(environ, start_response):\n    raise KeyError('of the application')\n"
    )
    with site.serve("--access-logfile", "access.log") as servers:
        for _ in range(3):
            with servers.client() as client:
                assert client.get().status == 500
        servers.wait_for("KeyError: 'of the application'$")
        began = time.monotonic()
        servers.signal(signal.SIGTERM)
        assert servers.wait() == 0
        assert time.monotonic() - began < 3.0
        servers.wait_for(r"\[INFO\] Stopping; ")
        servers.wait_for(r"lines? of the log of the application's handlers w\S+ dropped: they take")
        servers.wait_for(r"\[INFO\] Stopped$")

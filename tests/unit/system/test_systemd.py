"""What is read from a service manager, and what it is told."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rawclient import TIMEOUT
from tools import ROOT, python

from wsgi_async.errors import ConfigError
from wsgi_async.system import sockets
from wsgi_async.system.systemd import VARIABLES, Notifier, inherited_sockets

PID = {"LISTEN_PID": "4242"}


# --- Sockets


@pytest.mark.parametrize(
    ("environ", "addresses"),
    [
        ({}, ()),
        ({"LISTEN_FDS": "1"}, ()),
        (PID, ()),
        ({**PID, "LISTEN_FDS": "0"}, ()),
        ({**PID, "LISTEN_FDS": "1"}, ("fd://3",)),
        ({**PID, "LISTEN_FDS": "3", "LISTEN_FDNAMES": "a:b:c"}, ("fd://3", "fd://4", "fd://5")),
        (
            {**PID, "LISTEN_FDS": "4", "LISTEN_FDNAMES": "https:http:https.socket"},
            ("https://fd://3", "http://fd://4", "fd://5", "fd://6"),
        ),
        ({"LISTEN_PID": "4243", "LISTEN_FDS": "1"}, ()),
        ({"LISTEN_PID": " 4242", "LISTEN_FDS": "1"}, ()),
        ({"LISTEN_PID": "4243", "LISTEN_FDS": "many"}, ()),
    ],
)
def test_inherited_sockets(environ: dict[str, str], addresses: tuple[str, ...]) -> None:
    assert inherited_sockets(environ, pid=4242) == addresses


@pytest.mark.parametrize("text", ["", "-1", "+1", "1.0", " 1", "1\n", "٣", "²", "100000", "x"])
def test_a_number_of_sockets_that_is_none(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        inherited_sockets({**PID, "LISTEN_FDS": text}, pid=4242)
    assert str(caught.value) == f"$LISTEN_FDS is the number of sockets passed, not {text!r}"


def test_sockets_are_for_this_process_unless_told_otherwise() -> None:
    assert inherited_sockets({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}) == ("fd://3",)


def test_the_addresses_can_be_bound() -> None:
    """As a manager does it: sockets from descriptor 3 on, and the pid of what it executes."""
    program = """
import os, socket
listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
ports = [listener.getsockname()[1] for listener in listeners]
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="2")
high = [os.dup(listener.detach()) for listener in listeners]
for number, descriptor in enumerate(high, 3):
    os.dup2(descriptor, number)
from wsgi_async.system import sockets
from wsgi_async.system.systemd import inherited_sockets
bound = sockets.bind(inherited_sockets(os.environ))
assert [sock.getsockname()[1] for sock in bound] == ports
assert [sock.fileno() for sock in bound] == [3, 4]
assert not any(sock.get_inheritable() for sock in bound)
sockets.close_all(bound)
"""
    subprocess.run(python("-c", program), cwd=ROOT, check=True, timeout=TIMEOUT)


def test_what_an_application_must_not_see() -> None:
    documented = ["LISTEN_FDNAMES", "LISTEN_FDS", "LISTEN_PID", "NOTIFY_SOCKET"]
    assert {*documented, "WATCHDOG_PID", "WATCHDOG_USEC"} <= VARIABLES


# --- Notifications


class Manager:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, path: str) -> None:
        self.name = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.settimeout(TIMEOUT)
        self.socket.bind("\0" + path[1:] if path.startswith("@") else path)

    @property
    def environ(self) -> dict[str, str]:
        return {"NOTIFY_SOCKET": self.name}

    def receive(self) -> list[str]:
        return self.socket.recv(65536).decode().split("\n")


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    name = f"{tmp_path}/notify" if request.param == "path" else f"@test-{os.getpid()}-{id(request)}"
    found = Manager(name)
    with found.socket:
        yield found


def test_each_message(manager: Manager) -> None:
    notifier = Notifier(manager.environ)
    assert notifier.ready()
    assert manager.receive() == ["READY=1"]
    assert notifier.ready("Serving with 4 processes")
    assert manager.receive() == ["READY=1", "STATUS=Serving with 4 processes"]
    assert notifier.stopping("Draining")
    assert manager.receive() == ["STOPPING=1", "STATUS=Draining"]
    assert notifier.watchdog()
    assert manager.receive() == ["WATCHDOG=1"]


def test_a_reload_has_its_time(manager: Manager) -> None:
    before = time.clock_gettime(time.CLOCK_MONOTONIC)
    assert Notifier(manager.environ).reloading("Reloading")
    first, stamp, status = manager.receive()
    assert (first, status) == ("RELOADING=1", "STATUS=Reloading")
    name, _, microseconds = stamp.partition("=")
    assert name == "MONOTONIC_USEC"
    now = time.clock_gettime(time.CLOCK_MONOTONIC)
    assert before - 0.001 <= int(microseconds) / 1e6 <= now + 0.001


def test_a_status_cannot_be_another_message(manager: Manager) -> None:
    Notifier(manager.environ).ready("a\nMAINPID=1\r\0é\udc80")
    assert manager.receive() == ["READY=1", "STATUS=a MAINPID=1 é\\udc80"]


@pytest.mark.parametrize("name", ["", "/", "@", "relative", "vsock:2:1234", "/no/such/socket"])
def test_nobody_listens(name: str) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": name} if name else {})
    assert not notifier.ready()
    assert not notifier.watchdog()


def test_a_path_that_no_socket_can_have() -> None:
    assert not Notifier({"NOTIFY_SOCKET": "/" + "x" * 500}).ready()


def test_a_manager_that_does_not_read_is_not_waited_for(manager: Manager) -> None:
    notifier = Notifier(manager.environ)
    sent = 0
    while notifier.ready("x" * 1000):
        sent += 1
        assert sent < 100_000, "the queue has no end"
    assert sent > 0
    manager.receive()
    assert notifier.ready()


@pytest.mark.parametrize(
    ("environ", "interval"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "4242"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
    ],
)
def test_how_often_to_be_alive(environ: dict[str, str], interval: float | None) -> None:
    assert Notifier(environ, pid=4242).watchdog_interval == interval


def test_sockets_that_are_not_for_us_bind_as_usual() -> None:
    with pytest.raises(ConfigError, match="fd://3000: there is no such descriptor"):
        sockets.bind(["fd://3000"])

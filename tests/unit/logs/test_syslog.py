"""A syslog, as it is there, dead, slow, and back again."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from log_lines import REQUEST, RESPONSE, error_lines, restored
from rawclient import TIMEOUT

from wsgi_async.config.options import Config
from wsgi_async.errors import ConfigError
from wsgi_async.logs import syslog_handlers
from wsgi_async.logs.handlers import writer
from wsgi_async.logs.observer import LogObserver
from wsgi_async.logs.setup import Mode, configure, flush, reclaim, set_mode, write_by_thread
from wsgi_async.logs.syslog import MAX_HELD
from wsgi_async.logs.syslog_handlers import LARGEST, SyslogSettings
from wsgi_async.system.syslog import SyslogAddress, is_syslog_address, syslog_address

_restore = pytest.fixture(autouse=True)(restored)

DATAGRAM, STREAM = socket.SOCK_DGRAM, socket.SOCK_STREAM
KINDS = ["udp", "tcp", "unix#dgram", "unix#stream"]


class Daemon:
    """A syslog.

    :param kind: one of KINDS.
    """

    def __init__(self, kind: str, directory: Path) -> None:
        self.path = str(directory / "log") if kind.startswith("unix") else ""
        self.is_stream = kind in ("tcp", "unix#stream")
        self.kind = kind
        self._port = 0
        self._taken = b""
        self.messages: list[str] = []
        self._connection: socket.socket | None = None
        self.start()

    def start(self) -> None:
        family = socket.AF_UNIX if self.path else socket.AF_INET
        self._socket = socket.socket(family, STREAM if self.is_stream else DATAGRAM)
        if self.path:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)
            self._socket.bind(self.path)
        else:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind(("127.0.0.1", self._port))
            self._port = self._socket.getsockname()[1]
        if self.is_stream:
            self._socket.listen()

    @property
    def address(self) -> str:
        if self.path:
            return f"unix://{self.path}#{self.kind.partition('#')[2]}"
        return f"{self.kind}://127.0.0.1:{self._port}"

    def stop(self) -> None:
        for each in (self._connection, self._socket):
            if each is not None:
                each.close()
        self._connection = None
        self._taken = b""

    def wait_for(self, is_enough: Callable[[list[str]], object]) -> list[str]:
        """Take messages until there are enough; all so far."""
        deadline = time.monotonic() + TIMEOUT
        while not is_enough(self.messages):
            source = self._connection or self._socket
            left = deadline - time.monotonic()
            assert select.select([source], [], [], left)[0], self.messages[-5:]
            self._take(source)
        return self.messages

    def _take(self, source: socket.socket) -> None:
        if not self.is_stream:
            self.messages.append(source.recv(100_000).decode())
        elif source is self._socket:
            self._connection, _ = source.accept()
        elif data := source.recv(100_000):
            *lines, self._taken = (self._taken + data).split(b"\n")
            self.messages += [line.decode() for line in lines]
        else:
            source.close()
            self._connection = None


@pytest.fixture(params=KINDS)
def daemon(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Daemon]:
    daemon = Daemon(request.param, tmp_path)
    yield daemon
    daemon.stop()


def make(address: str, directory: Path, *, log_format: str = "text", access: bool = True) -> Path:
    """Both logs to a syslog. Returns the error log."""
    error = directory / "error.log"
    configure(
        error_logfile=str(error),
        access_logfile=str(directory / "access.log") if access else "",
        log_level="info",
        log_format=log_format,
        syslog=SyslogSettings(syslog_address(address), "shop", "local3"),
    )
    return error


def texts(messages: list[str]) -> list[str]:
    """What is said, without what stands before it."""
    return [re.split(r" - - |\]: ", message, maxsplit=1)[1] for message in messages]


# --- Addresses


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("udp://localhost:514", SyslogAddress("localhost", 514, "", (DATAGRAM,))),
        ("udp://", SyslogAddress("localhost", 514, "", (DATAGRAM,))),
        ("tcp://Log.example:6514", SyslogAddress("log.example", 6514, "", (STREAM,))),
        ("tcp://[2001:DB8::1]:601", SyslogAddress("2001:db8::1", 601, "", (STREAM,))),
        ("unix:///dev/log#dgram", SyslogAddress("", 0, "/dev/log", (DATAGRAM,))),
        ("unix:///dev/log#stream", SyslogAddress("", 0, "/dev/log", (STREAM,))),
        ("unix:///dev/log", SyslogAddress("", 0, "/dev/log", (DATAGRAM, STREAM))),
        ("unix:/dev/log", SyslogAddress("", 0, "/dev/log", (DATAGRAM, STREAM))),
    ],
)
def test_addresses_are_as_gunicorn_has_them(text: str, expected: SyslogAddress) -> None:
    assert syslog_address(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("loghost", "loghost:514", "http://a", "udp://a:b", "udp://a:0", "udp://a:65536"),
        *("unix:", "unix:///a#x", "tcp://a b", "tcp://a/b"),
        *("unix:/a\0b", f"unix:/{'a' * 108}"),  # no socket can be there
    ],
)
def test_others_are_none(text: str) -> None:
    assert not is_syslog_address(text)


def test_a_wrong_one_is_one_line() -> None:
    with pytest.raises(ConfigError) as caught:
        Config(log_syslog_to="loghost:514")
    assert str(caught.value) == (
        "--log-syslog-to takes udp://HOST:PORT, tcp://HOST:PORT or unix:PATH, not 'loghost:514'"
    )


# --- Messages


@pytest.mark.parametrize("mode", [Mode.POLLED, Mode.QUEUED])
def test_both_logs_go_there(daemon: Daemon, mode: Mode, tmp_path: Path) -> None:
    """By the parent, which has no thread, and by a process that serves."""
    make(daemon.address, tmp_path)
    if mode is Mode.QUEUED:
        write_by_thread()
    else:
        set_mode(mode)
    LogObserver().app_warning(REQUEST, "odd\nish")
    LogObserver(access=True).request_finished(REQUEST, RESPONSE)
    first, second = daemon.wait_for(lambda messages: len(messages) == 2)
    pid = os.getpid()
    if daemon.path:  # as syslog(3)
        stamp = r"[A-Z][a-z]{2} [ 1-3][0-9] \d\d:\d\d:\d\d"
        assert re.fullmatch(rf"<156>{stamp} shop\[{pid}\]: GET /path.*: odd\\x0aish", first)
        assert re.fullmatch(rf'<158>{stamp} shop\.access\[{pid}\]: 127\.0\.0\.1 - .*"', second)
    else:  # RFC 5424
        stamp = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d [!-~]+"
        assert re.fullmatch(rf"<156>1 {stamp} shop {pid} - - GET /path.*: odd\\x0aish", first)
        assert re.fullmatch(rf'<158>1 {stamp} shop\.access {pid} - - 127\..*"', second)
    flush()
    assert (tmp_path / "error.log").read_text().endswith(r": odd\x0aish" + "\n")


def test_each_line_of_a_traceback_is_a_message(daemon: Daemon, tmp_path: Path) -> None:
    make(daemon.address, tmp_path, access=False)
    try:
        raise KeyError("x")
    except KeyError as error:
        LogObserver().error("failed", error)
    messages = daemon.wait_for(lambda messages: messages and "KeyError" in messages[-1])
    assert texts(messages)[:2] == ["failed", "  Traceback (most recent call last):"]
    assert all(message.startswith("<155>") for message in messages)


def test_as_json_it_is_one(daemon: Daemon, tmp_path: Path) -> None:
    make(daemon.address, tmp_path, log_format="json", access=False)
    LogObserver().app_error(REQUEST, "failed", KeyError("x"))
    [message] = daemon.wait_for(bool)
    found = json.loads(texts([message])[0])
    assert found["request_id"] == "r-1"
    assert found["exception"]["type"] == "KeyError"


def test_a_long_line_is_cut(daemon: Daemon, tmp_path: Path) -> None:
    make(daemon.address, tmp_path, access=False)
    write_by_thread()
    LogObserver().warning("é" * LARGEST)
    LogObserver().warning("next")
    long, after = daemon.wait_for(lambda messages: len(messages) == 2)
    assert long.endswith("é [...]")
    assert LARGEST - 2 < len(long.encode()) < LARGEST + 10
    assert after.endswith("next")


def test_the_kind_of_a_unix_socket_is_found_out(tmp_path: Path) -> None:
    for kind in ("unix#stream", "unix#dgram"):
        daemon = Daemon(kind, tmp_path)
        make(f"unix:{daemon.path}", tmp_path, access=False)
        LogObserver().warning("x")
        assert daemon.wait_for(bool)[0].endswith(": x")
        daemon.stop()


# --- Dead, slow, and back


@pytest.mark.parametrize("daemon", ["tcp", "unix#dgram", "unix#stream"], indirect=True)
def test_one_that_comes_back_gets_what_came_meanwhile(daemon: Daemon, tmp_path: Path) -> None:
    make(daemon.address, tmp_path, access=False)
    write_by_thread()
    LogObserver().warning("before")
    daemon.wait_for(bool)
    daemon.stop()
    for number in range(100):
        LogObserver().warning(f"number {number}")
    daemon.start()
    messages = daemon.wait_for(lambda messages: messages[-1].endswith("number 99"))
    found = [text for text in texts(messages) if text.startswith("number")]
    # None twice; of a stream the first may have gone to one that was dying.
    assert found == [f"number {number}" for number in range(100 - len(found), 100)]
    assert len(found) > 90
    flush()
    assert "dropped" not in (tmp_path / "error.log").read_text()


def test_who_logs_does_not_wait_for_one_that_takes_nothing(tmp_path: Path) -> None:
    """A stream whose other side reads nothing. What does not fit is counted, and what was cut in
    the middle comes whole or not at all."""
    daemon = Daemon("tcp", tmp_path)
    error = make(daemon.address, tmp_path, access=False)
    write_by_thread()
    LogObserver().warning("the beginning")
    daemon.wait_for(bool)  # it is connected: what is dropped before that is for another reason
    count = 12 * MAX_HELD // 1000
    began = time.monotonic()
    for number in range(count):
        LogObserver().warning(f"{number} " + "x" * 1000)
    assert time.monotonic() - began < 20
    deadline = time.monotonic() + TIMEOUT
    while not re.search("log to syslog were dropped: nobody reads it", error.read_text()):
        assert time.monotonic() < deadline
        select.select([], [], [], 0.01)
    more = 0

    def log_more(messages: list[str]) -> bool:
        nonlocal more
        more += 1
        LogObserver().warning("again")
        return any(message.endswith("again") for message in messages[-100:])

    daemon.wait_for(log_more)  # it is read again: there is room
    LogObserver().warning("the end")
    messages = daemon.wait_for(lambda messages: messages[-1].endswith("the end"))
    flush()
    told = error.read_text()
    dropped = sum(int(each) for each in re.findall(r"([0-9]+) lines? of the log to sys", told))
    # The error log may be behind as well, and the syslog is told so.
    of_the_other = len(re.findall(r"[0-9]+ lines? of the error log", told))
    found = texts(messages)
    numbered = [text for text in found if re.match(r"[0-9]+ x", text)]
    numbers = [int(text.split()[0]) for text in numbered]
    assert numbers == sorted(set(numbers))
    assert all(text.endswith(" " + "x" * 1000) for text in numbered)
    assert len(found) + dropped == 1 + count + more + 1 + of_the_other
    daemon.stop()


def test_a_dead_one_is_said_and_ends_in_time(tmp_path: Path) -> None:
    """Nobody listens. The error log says how many lines, and a process that ends does not wait."""
    daemon = Daemon("tcp", tmp_path)
    address = daemon.address
    daemon.stop()
    error = make(address, tmp_path, access=False)
    write_by_thread()
    for number in range(10):
        LogObserver().warning(f"number {number}")
    began = time.monotonic()
    writer.flush(TIMEOUT)
    assert time.monotonic() - began < TIMEOUT
    lines = error_lines(error)
    assert lines[:10] == [f"[WARNING] number {number}" for number in range(10)]
    assert lines[10:] == ["[ERROR] 10 lines of the log to syslog were dropped: Connection refused"]


def test_datagrams_that_nobody_hears_are_counted(tmp_path: Path) -> None:
    """The kernel says so of this machine, with the next one."""
    daemon = Daemon("udp", tmp_path)
    daemon.stop()
    error = make(daemon.address, tmp_path, access=False)
    set_mode(Mode.POLLED)
    for number in range(3):
        LogObserver().warning(f"number {number}")
    assert re.search(
        r"\[ERROR\] [12] lines? of the log to syslog w\S+ dropped: Connection refused",
        error.read_text(),
    )


def test_a_parent_drops_at_once_and_connects_again(tmp_path: Path) -> None:
    daemon = Daemon("unix#stream", tmp_path)
    error = make(daemon.address, tmp_path, access=False)
    set_mode(Mode.POLLED)
    daemon.stop()
    os.unlink(daemon.path)
    LogObserver().warning("lost")
    assert error_lines(error) == [
        "[WARNING] lost",
        "[ERROR] 1 line of the log to syslog was dropped: No such file or directory",
    ]
    daemon.start()
    deadline = time.monotonic() + TIMEOUT
    while not select.select([daemon._socket], [], [], 0.05)[0]:
        assert time.monotonic() < deadline
        LogObserver().warning("again")
    assert daemon.wait_for(bool)[0].endswith("again")
    daemon.stop()


def test_a_name_that_cannot_be_found_is_said_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    error = make("udp://nowhere.invalid", tmp_path, access=False)
    LogObserver().warning("told")
    lines = error_lines(error)
    assert "[WARNING] told" in lines
    assert (
        "[WARNING] --log-syslog-to: cannot find nowhere.invalid:514: Name or service not known"
        in lines
    )


def test_a_fork_has_a_connection_of_its_own(tmp_path: Path) -> None:
    """Else messages of two processes would be one within the other."""
    daemon = Daemon("tcp", tmp_path)
    make(daemon.address, tmp_path, access=False)
    LogObserver().warning("parent")
    assert len(daemon.wait_for(bool)) == 1
    first = daemon._connection
    daemon._connection = None  # the next one is waited for
    pid = os.fork()
    if not pid:
        LogObserver().warning("child")
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    messages = daemon.wait_for(lambda messages: len(messages) == 2)
    assert messages[1].endswith("child")
    assert first is not None
    first.close()
    daemon.stop()


def test_an_application_that_closes_all_descriptors(tmp_path: Path) -> None:
    """What has the number then is its own, and gets no message."""
    daemon = Daemon("unix#dgram", tmp_path)
    make(daemon.address, tmp_path, access=False)
    LogObserver().warning("one")
    daemon.wait_for(bool)
    outlet = syslog_handlers._outlet
    assert outlet is not None
    number = outlet.descriptor
    os.close(number)
    reading, writing = os.pipe()
    assert number in (reading, writing)
    reclaim()
    LogObserver().warning("two")
    assert texts(daemon.wait_for(lambda messages: len(messages) == 2))[-1] == "two"
    os.set_blocking(reading, False)
    with pytest.raises(BlockingIOError):
        os.read(reading, 1)
    os.close(reading)
    os.close(writing)
    daemon.stop()

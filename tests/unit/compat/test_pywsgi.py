"""wsgi_async.compat.pywsgi: programs for gevent run with another import line."""

from __future__ import annotations

import http.client
import io
import logging
import signal
import socket
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rawclient import TIMEOUT, RawClient
from tools import ROOT, python, running

from wsgi_async.compat.pywsgi import WSGIServer
from wsgi_async.errors import ConfigError


def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    if environ["PATH_INFO"] == "/error":
        environ["wsgi.errors"].write("noted\n")
        raise ZeroDivisionError("the reason")
    start_response("200 OK", [])
    return [f"{environ['PATH_INFO']} {environ['wsgi_async.threads']}".encode()]


def ask(port: int | None, path: str = "/", host: str = "127.0.0.1") -> tuple[int, bytes]:
    assert port is not None
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT)
    try:
        connection.request("GET", path)
        with connection.getresponse() as response:
            return response.status, response.read()
    finally:
        connection.close()


@pytest.mark.parametrize("listener", [("", 0), ":0", 0, (None, 0)])
def test_starts_on_all_interfaces_and_stops(listener: Any) -> None:
    server = WSGIServer(listener, application, log=None)
    assert (server.started, server.closed, server.server_port) == (False, True, None)
    server.start()
    assert (server.started, server.closed) == (True, False)
    assert ask(server.server_port, "/a")[1] == b"/a 8"
    assert ask(server.server_port, "/a", "::1")[1] == b"/a 8"
    server.stop()
    assert (server.started, server.closed) == (False, True)
    server.start()
    assert ask(server.server_port)[0] == 200
    server.stop()


@pytest.mark.parametrize("listener", [("127.0.0.1", 0), "127.0.0.1:0"])
def test_address_is_known_once_it_is_bound(listener: Any) -> None:
    server = WSGIServer(listener, application, log=None)
    server.init_socket()
    assert server.address == ("127.0.0.1", server.server_port)
    assert server.server_host == "127.0.0.1"
    with server:
        assert ask(server.server_port)[0] == 200


def test_serves_from_a_socket() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    with WSGIServer(listener, application, log=None) as server:
        assert ask(server.server_port)[0] == 200
    assert listener.fileno() == -1


def test_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with (
        WSGIServer(f"unix:{path}", application, log=None) as server,
        RawClient(str(path)) as client,
    ):
        assert client.get().status == 200
        assert server.server_port is None
    assert not path.exists()


@pytest.mark.parametrize(
    ("spawn", "threads"), [(3, 3), (None, 1), ("raw", 8), (SimpleNamespace(size=5), 5)]
)
def test_spawn_is_the_number_of_threads(spawn: Any, threads: int) -> None:
    with WSGIServer(("127.0.0.1", 0), application, spawn=spawn, log=None) as server:
        assert ask(server.server_port)[1] == f"/ {threads}".encode()


def test_environ_is_added_and_the_application_may_come_late() -> None:
    def show(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [environ["x.added"].encode()]

    with WSGIServer(("127.0.0.1", 0), environ={"x.added": "yes"}, log=None) as server:
        assert ask(server.server_port)[0] == 500
        server.application = show
        assert ask(server.server_port)[1] == b"yes"


def test_logs_go_where_they_are_told() -> None:
    access, errors = io.StringIO(), io.StringIO()
    with WSGIServer(("127.0.0.1", 0), application, log=access, error_log=errors) as server:
        assert ask(server.server_port, "/error")[0] == 500
    line = access.getvalue()
    assert line.startswith("127.0.0.1 - - [")
    assert '"GET /error HTTP/1.1" 500 26 0.' in line
    text = errors.getvalue()
    assert text.startswith("noted\nTraceback")
    assert "ZeroDivisionError: the reason" in text


def test_what_the_server_refuses_is_in_the_same_log(caplog: pytest.LogCaptureFixture) -> None:
    """As gevent has it. It was a line of wsgi_async.access, of which the program knows nothing."""
    access = io.StringIO()
    with (
        caplog.at_level(logging.INFO, "wsgi_async.access"),
        WSGIServer(("127.0.0.1", 0), application, log=access) as server,
        RawClient(server.address) as client,
    ):
        client.send(b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n")
        assert client.response().status == 400
    assert access.getvalue().startswith("127.0.0.1 - - [")
    assert '"-" 400 0 0.000000' in access.getvalue()
    assert not [record for record in caplog.records if record.name == "wsgi_async.access"]


class LevelLog:
    """As gevent takes it: what has ``log(level, message)`` and nothing else."""

    def __init__(self) -> None:
        self.lines: list[tuple[int, str]] = []

    def log(self, level: int, message: str) -> None:
        self.lines.append((level, message))


def test_log_may_be_what_takes_a_level() -> None:
    access, errors = LevelLog(), LevelLog()
    with WSGIServer(("127.0.0.1", 0), application, log=access, error_log=errors) as server:
        assert ask(server.server_port, "/%d")[0] == 200
        assert ask(server.server_port, "/error")[0] == 500
    assert [level for level, _ in access.lines] == [20, 20]
    assert '"GET /%d HTTP/1.1" 200' in access.lines[0][1]
    assert {level for level, _ in errors.lines} == {40}
    assert not any(message.endswith("\n") for _, message in (*access.lines, *errors.lines))


def test_log_may_be_a_logger(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("some.access")
    with caplog.at_level(logging.INFO), WSGIServer(0, application, log=logger) as server:
        ask(server.server_port)
    assert any(record.name == "some.access" for record in caplog.records)


def test_stop_drops_who_is_late() -> None:
    begun, release = threading.Event(), threading.Event()

    def hang(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        begun.set()
        release.wait(TIMEOUT)
        start_response("200 OK", [])
        return [b"late"]

    server = WSGIServer(("127.0.0.1", 0), hang, log=None)
    server.start()
    assert server.server_port is not None
    try:
        with RawClient(("127.0.0.1", server.server_port)) as client:
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert begun.wait(TIMEOUT)
            server.stop(timeout=0.01)
            assert client.is_dropped()
    finally:
        release.set()


def test_serve_forever_ends_when_another_thread_stops_it() -> None:
    server = WSGIServer(("127.0.0.1", 0), application, log=None)
    server.start()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    assert ask(server.server_port)[0] == 200
    server.stop()
    thread.join(TIMEOUT)
    assert not thread.is_alive()


def test_address_in_use_is_an_os_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = WSGIServer(taken.getsockname(), application)
        with pytest.raises(OSError, match="in use"):
            server.start()
        assert server.closed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"handler_class": object}, "no request handlers"),
        ({"spawn": "many"}, "spawn takes"),
        ({"spawn": 0}, "spawn takes"),
        ({"listener": object()}, "listener takes"),
        ({"log": 3}, "a log takes"),
        ({"anything": 1}, "no argument anything"),
    ],
)
def test_what_cannot_be_had_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        WSGIServer(**{"listener": 0, "application": application, **arguments})
    assert "\n" not in str(caught.value)


PROGRAM = """
from wsgi_async.compat.pywsgi import WSGIServer
def app(environ, start_response):
    start_response("200 OK", [])
    return [b"hello"]
server = WSGIServer(("127.0.0.1", 0), app)
try:  # it answers from start() on: the signal may come before serve_forever()
    server.start()
    print("Serving on http://127.0.0.1:%d" % server.server_port)
    server.serve_forever()
except KeyboardInterrupt:
    print("interrupted")
"""


def test_control_c_is_a_keyboard_interrupt() -> None:
    with running(*python("-c", PROGRAM), cwd=ROOT) as process:
        assert ask(int(process.url.rpartition(":")[2])) == (200, b"hello")
        process.wait_for('"GET / HTTP/1.1" 200 5')
        process.signal(signal.SIGINT)
        assert process.wait() == 0
        assert process.output.endswith("interrupted\n")
        assert "Warning" not in process.output

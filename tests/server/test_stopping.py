"""How a server ends: whole processes, real signals, requests under way."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import pytest
from rawclient import RawClient, request
from serving import Command, both_loops

BIND = ("-b", "127.0.0.1:0")
FOREVER = ("--graceful-timeout", "1h")
STOPPING = r"Stopping; requests in flight: {}$"

both_signals = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])


def release(fifo: Path) -> None:
    """Let the request that waits for `fifo` go on."""
    os.close(os.open(fifo, os.O_WRONLY))


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


@both_loops
@both_signals
def test_without_requests_it_ends_at_once(loop: str, number: signal.Signals) -> None:
    with Command("stopping_app", *BIND, *FOREVER, loop=loop) as command:
        with command.client() as new, command.client() as idle:
            assert idle.get().status == 200
            command.signal(number)
            assert command.wait() == 0
            assert new.is_dropped()
            assert idle.is_dropped()
        command.wait_for(STOPPING.format(0))
        command.wait_for("Stopped$")
        command.assert_clean()


@both_loops
@both_signals
def test_what_is_in_flight_is_finished(loop: str, number: signal.Signals, fifo: Path) -> None:
    """In flight is what has sent the first byte of a head."""
    with (
        Command("stopping_app", *BIND, *FOREVER, loop=loop) as command,
        contextlib.ExitStack() as s,
    ):
        new, idle, running, in_head, in_new_head, in_body = (
            s.enter_context(command.client()) for _ in range(6)
        )
        running.send(request(f"/wait?{fifo}"))
        in_new_head.send(b"G")
        in_body.send(request("/upload", "POST", body=b"12345")[:-2])
        command.wait_for("waiting")
        assert in_head.get().status == 200
        assert idle.get().status == 200
        in_head.send(b"G")
        command.signal(number)
        command.wait_for(STOPPING.format(4))
        assert new.is_dropped()
        assert idle.is_dropped()
        with pytest.raises(ConnectionRefusedError):
            command.client()
        for client in (in_head, in_new_head):
            client.send(request()[1:])
            response = client.response()
            assert (response.status, response.body) == (200, b"done")
            assert response.fields["connection"] == "close"
            client.close()
        in_body.send(b"45")
        response = in_body.response()
        assert (response.body, response.fields["connection"]) == (b"5", "close")
        in_body.close()
        assert command.process.poll() is None
        release(fifo)
        response = running.response()
        assert (response.body, response.fields["connection"]) == (b"done", "close")
        running.close()
        assert command.wait() == 0
        command.assert_clean()


@both_loops
def test_pipelined_requests_are_answered_the_last_with_close(loop: str, fifo: Path) -> None:
    with (
        Command("stopping_app", *BIND, *FOREVER, loop=loop) as command,
        command.client() as client,
    ):
        client.send(request(f"/wait?{fifo}") + request("/2") + request("/3"))
        command.wait_for("waiting")
        command.signal(signal.SIGTERM)
        command.wait_for(STOPPING.format(1))
        release(fifo)
        responses = [client.response() for _ in range(3)]
        assert [response.status for response in responses] == [200, 200, 200]
        assert [response.fields.get("connection") for response in responses] == [
            None,
            None,
            "close",
        ]
        client.close()
        assert command.wait() == 0
        command.assert_clean()


@both_loops
def test_an_http_1_0_client_that_wants_to_stay_is_told_to_go(loop: str, fifo: Path) -> None:
    with (
        Command("stopping_app", *BIND, *FOREVER, loop=loop) as command,
        command.client() as client,
    ):
        head = f"GET /wait?{fifo} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
        client.send(head.encode())
        command.wait_for("waiting")
        command.signal(signal.SIGTERM)
        command.wait_for(STOPPING.format(1))
        release(fifo)
        assert b"\r\nConnection: close\r\n" in client.read_to_end()
        client.close()
        assert command.wait() == 0


@both_loops
def test_queued_requests_are_answered(loop: str, fifo: Path) -> None:
    args = ("stopping_app", *BIND, *FOREVER, "--threads", "1")
    with Command(*args, loop=loop) as command, contextlib.ExitStack() as stack:
        running, *queued = (stack.enter_context(command.client()) for _ in range(4))
        running.send(request(f"/wait?{fifo}"))
        command.wait_for("waiting")
        for client in queued:
            client.send(request())
        command.signal(signal.SIGTERM)
        command.wait_for(STOPPING.format(4))
        release(fifo)
        for client in (running, *queued):
            assert client.response().body == b"done"
            client.close()
        assert command.wait() == 0
        command.assert_clean()


@both_loops
@pytest.mark.parametrize("overflow", ["spool", "park", "block"])
def test_a_slow_reader_gets_the_rest(loop: str, overflow: str) -> None:
    args = ("stopping_app", *BIND, *FOREVER, "--response-overflow", overflow)
    with (
        Command(*args, loop=loop) as command,
        command.client(receive_buffer=4096) as client,
    ):
        client.send(request("/large"))
        client.read_until(b"\r\n\r\n")
        command.signal(signal.SIGTERM)
        command.wait_for(STOPPING.format(1))
        assert client.read_to_end().count(b"x") == 8 << 20
        client.close()
        command.wait_for("large ended")
        command.wait_for("large closed")
        assert command.wait() == 0
        command.assert_clean()


@both_loops
def test_an_upload_that_the_application_reads_goes_on(loop: str) -> None:
    args = ("stopping_app", *BIND, *FOREVER, "--request-buffering", "stream")
    with Command(*args, loop=loop) as command, command.client() as client:
        client.send(request("/upload", "POST", body=b"12345")[:-2])
        command.wait_for("uploading")
        command.signal(signal.SIGTERM)
        command.wait_for(STOPPING.format(1))
        client.send(b"45")
        assert client.response().body == b"5"
        client.close()
        assert command.wait() == 0
        command.assert_clean()


@both_loops
@pytest.mark.parametrize("overflow", ["spool", "park", "block"])
def test_at_the_timeout_clients_are_dropped_and_iterables_closed(loop: str, overflow: str) -> None:
    """More streams than threads in park, where they may wait without one."""
    streams = 12 if overflow == "park" else 4
    args = ("--graceful-timeout", "100ms", "--response-overflow", overflow, "--spool-limit", "4M")
    with (
        Command("stopping_app", *BIND, *args, loop=loop) as command,
        contextlib.ExitStack() as stack,
    ):
        clients = [stack.enter_context(command.client(receive_buffer=4096)) for _ in range(streams)]
        for client in clients:
            client.send(request("/stream"))
        for client in clients:
            assert client.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 200 ")
        command.wait_for("stream began", streams)
        command.signal(signal.SIGTERM)
        assert command.wait() == 0
        assert command.lines.count("stream closed") == streams
        command.assert_clean()


@both_loops
@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("overflow", ["spool", "park"])
def test_a_second_ctrl_c_does_not_wait(loop: str, first: signal.Signals, overflow: str) -> None:
    args = ("stopping_app", *BIND, *FOREVER, "--response-overflow", overflow)
    with (
        Command(*args, "--spool-limit", "4M", loop=loop) as command,
        command.client(receive_buffer=4096) as client,
    ):
        client.send(request("/stream"))
        client.read_until(b"\r\n\r\n")
        command.signal(first)
        command.wait_for(STOPPING.format(1))
        assert command.process.poll() is None
        command.signal(signal.SIGINT)
        assert command.wait() == 0
        assert command.lines.count("stream closed") == 1
        command.assert_clean()


SERVE = """
import sys
import wsgi_async
from stopping_app import application
wsgi_async.serve(application, 0, graceful_timeout=3600)
"""
SIMPLE = """
import logging
from wsgi_async.compat.simple_server import make_server
from stopping_app import application
logging.basicConfig(level="INFO")
with make_server("", 0, application) as httpd:
    print(f"Listening on http://127.0.0.1:{httpd.server_port}", file=__import__("sys").stderr)
    httpd.serve_forever()
"""


@pytest.mark.parametrize("program", [None, SERVE, SIMPLE], ids=["command", "serve", "simple"])
def test_at_ctrl_c_it_says_how_long_it_waits(program: str | None, fifo: Path) -> None:
    args = () if program else ("stopping_app", *BIND, *FOREVER)
    with Command(*args, program=program) as command, command.client() as client:
        client.send(request(f"/wait?{fifo}"))
        command.wait_for("waiting")
        command.signal(signal.SIGINT)
        seconds = "30" if program is SIMPLE else "3600"
        command.wait_for(
            rf"Waiting for requests in flight, {seconds} s at most \(--graceful-timeout\); "
            "Ctrl-C again drops them now$"
        )
        command.signal(signal.SIGINT)
        assert client.is_dropped()
        release(fifo)
        command.wait()


@both_loops
def test_a_second_sigterm_changes_nothing(loop: str, fifo: Path) -> None:
    with (
        Command("stopping_app", *BIND, *FOREVER, loop=loop) as command,
        command.client() as client,
    ):
        client.send(request(f"/wait?{fifo}"))
        command.wait_for("waiting")
        command.signal(signal.SIGTERM)
        command.wait_for(STOPPING.format(1))
        command.signal(signal.SIGTERM)
        release(fifo)
        assert client.response().body == b"done"
        client.close()
        assert command.wait() == 0


@both_loops
@pytest.mark.parametrize("how", ["timeout", "second Ctrl-C"])
def test_a_stuck_thread_is_exit_code_1_and_a_line(loop: str, how: str) -> None:
    args = ("--graceful-timeout", "100ms") if how == "timeout" else FOREVER
    with (
        Command("stopping_app", *BIND, *args, loop=loop) as command,
        command.client() as client,
    ):
        client.send(request("/stuck"))
        command.wait_for("stuck")
        command.signal(signal.SIGINT)
        if how != "timeout":
            command.wait_for(STOPPING.format(1))
            command.signal(signal.SIGINT)
        assert command.wait() == 1
        assert client.is_dropped()
        command.wait_for(r"\[ERROR\] Stopped; threads still in the application: 1$")
        command.assert_clean()


@both_loops
@both_signals
def test_the_unix_socket_file_is_removed(loop: str, number: signal.Signals, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with Command("stopping_app", "-b", f"unix:{path}", loop=loop) as command:
        command.wait_for("Listening on ")
        with RawClient(str(path)) as client:
            assert client.get().status == 200
            command.signal(number)
            assert command.wait() == 0
        assert not path.exists()
        command.assert_clean()


@both_loops
def test_after_a_kill_the_socket_file_is_replaced(loop: str, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    for number, code in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 0)):
        with Command("stopping_app", "-b", f"unix:{path}", loop=loop) as command:
            command.wait_for("Listening on ")
            with RawClient(str(path)) as client:
                assert client.get().status == 200
            command.signal(number)
            assert command.wait() == code
    assert not path.exists()

"""The PROXY protocol on real sockets: who may not, what is no header, who never ends; and stops."""

from __future__ import annotations

import asyncio
import contextlib
import re
import resource
import socket
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from proxy_headers import LINE, tcp, with_checksum
from rawclient import TIMEOUT, RawClient, request
from serving import Command, Served, both_loops, serving
from tools import ROOT

from wsgi_async.connection import connections
from wsgi_async.server.preface import Preface

SOURCE, DESTINATION = ("203.0.113.7", 56324), ("192.0.2.11", 443)
WRONG_SUM = with_checksum(tcp(SOURCE, DESTINATION))[:-1] + b"!"
CLOSE = request(fields=("Connection: close",))


def remote(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["REMOTE_ADDR"].encode()]


def seen(served: Served) -> list[int]:
    """*Loop:* how much there is of the headers that are awaited."""
    return [len(found._seen) for found in served.connections.open if isinstance(found, Preface)]


def reason(served: Served) -> str:
    """Why the one connection was closed."""
    [(client, why)] = served.recorder.wait_for("connection_dropped")
    assert re.fullmatch(r"127\.0\.0\.1:[0-9]+|unix", client)
    return str(why)


# --- who may ---------------------------------------------------------------------------------


@both_loops
def test_who_may_not_is_closed_before_it_says_anything(loop: str) -> None:
    with serving(
        remote, loop=loop, proxy_protocol="auto", proxy_allow_from=("192.0.2.0/24", "unix")
    ) as served:
        with served.client() as client:
            assert client.is_dropped()
        assert reason(served) == "--proxy-allow-from does not name its address"
        with served.client() as client, contextlib.suppress(ConnectionError):
            client.send(LINE + request())
            assert client.is_dropped()
        served.wait_until_idle()
        assert served.recorder.of("request_finished") == []


def test_unix_sockets_are_named_by_their_own_word(tmp_path: Path) -> None:
    path = str(tmp_path / "server")
    for allowed, may in ((("unix",), True), (("*",), True), (("127.0.0.1",), False)):
        with serving(
            remote, bind=(f"unix:{path}",), proxy_protocol="v1", proxy_allow_from=allowed
        ) as served:
            with RawClient(path) as client, contextlib.suppress(ConnectionError):
                client.send(LINE + request())
                if may:
                    assert client.response().body == b"192.168.0.1"
                else:
                    assert client.is_dropped()
            if not may:
                assert "--proxy-allow-from" in reason(served)


# --- what is no header -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (request(), "no PROXY header came first: it begins with G, as a request"),
        (b"\x16\x03\x01\x02\x00\x01", "no PROXY header came first: it looks like TLS"),
        (b"\x1b[31m\r\n", "no PROXY header came first: it begins with 1b in hexadecimal"),
        (LINE.replace(b"\r\n", b"\n") + request(), "its PROXY header is bad: its line ends in LF"),
        (LINE.replace(b"192", b"592") + request(), "its PROXY header is bad: an address or a port"),
        (WRONG_SUM + request(), "its PROXY header is bad: its checksum is wrong"),
    ],
)
@both_loops
def test_what_is_no_header_is_closed_and_said_why(loop: str, data: bytes, why: str) -> None:
    with serving(remote, loop=loop, proxy_protocol="auto") as served:
        with served.client() as client, contextlib.suppress(ConnectionError):
            client.send(data)
            assert client.is_dropped()
        assert reason(served).startswith(why)
        served.wait_until_idle()
        assert served.recorder.of("request_finished") == []


@pytest.mark.parametrize("data", [LINE[:20] + b"\n", WRONG_SUM])
def test_it_says_the_same_however_it_was_cut(data: bytes) -> None:
    reasons = set()
    for cut in (1, len(data) // 2, len(data) - 1):
        with serving(remote, proxy_protocol="auto") as served:
            with served.client() as client, contextlib.suppress(ConnectionError):
                client.send(data[:cut])
                served.wait_until(lambda served=served, cut=cut: seen(served) == [cut])
                client.send(data[cut:])
                assert client.is_dropped()
            reasons.add(reason(served))
    assert len(reasons) == 1


def test_only_the_version_that_was_asked_for() -> None:
    for version, good, bad in (
        ("v1", LINE, tcp(SOURCE, DESTINATION)),
        ("v2", tcp(SOURCE, DESTINATION), LINE),
    ):
        with serving(remote, proxy_protocol=version) as served:
            with served.client() as client:
                client.send(good + request())
                assert client.response().status == 200
            with served.client() as client, contextlib.suppress(ConnectionError):
                client.send(bad + request())
                assert client.is_dropped()
            assert f"only {version} is accepted" in reason(served)


# --- who leaves, and who never ends --------------------------------------------------------------


@both_loops
def test_who_leaves_before_it_began_is_not_worth_a_line(loop: str) -> None:
    """A load balancer that only wants to know whether the port is open does so each second."""
    with serving(remote, loop=loop, proxy_protocol="auto") as served:
        for _ in range(3):
            served.client().close()
            client = served.client()
            served.wait_until(lambda: seen(served))
            client.reset()
        served.wait_until_idle()
        assert served.recorder.of("connection_dropped") == []


@both_loops
def test_who_leaves_in_the_middle(loop: str) -> None:
    with serving(remote, loop=loop, proxy_protocol="auto") as served:
        with served.client() as client:
            client.send(LINE[:7])
            served.wait_until(lambda: seen(served) == [7])
            client.half_close()
            assert client.is_dropped()
        assert reason(served) == "its PROXY header ended after 7 bytes"
        client = served.client()
        client.send(LINE[:7])
        served.wait_until(lambda: seen(served) == [7])
        client.reset()
        served.wait_until_idle()


@both_loops
def test_the_time_for_a_header_is_that_for_a_head(loop: str) -> None:
    with serving(remote, loop=loop, proxy_protocol="auto", header_timeout=0.4) as served:
        with served.client() as silent, served.client() as slow, served.client() as idle:
            slow.send(LINE[:7])
            idle.send(LINE)
            assert silent.read_to_end() == b""
            assert idle.read_to_end() == b""
            assert slow.is_dropped()
        # Of silent ones nothing is said, with a header or without.
        assert reason(served) == "its PROXY header was not complete in time: 7 bytes have come"
        served.wait_until_idle()


def test_a_header_that_trickles_has_one_limit_for_all_of_it() -> None:
    with serving(remote, proxy_protocol="auto", header_timeout=0.6) as served:
        began = time.monotonic()
        with served.client() as client, contextlib.suppress(ConnectionError):
            client.socket.settimeout(0.05)
            for byte in LINE:  # 47 times 50 ms, if it were not closed before
                client.send(bytes([byte]))
                with contextlib.suppress(TimeoutError):
                    if client.socket.recv(1) == b"":
                        break
        assert "was not complete in time" in reason(served)
        assert time.monotonic() - began < 2.3


@both_loops
def test_a_default_timeout_of_the_applications_holds_up_nobody(loop: str) -> None:
    """What ``socket.setdefaulttimeout()`` says would hold for the sockets that are looked at, too:
    the loop would wait for a silent client, and then close it."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(2 * TIMEOUT)
    try:
        with (
            serving(remote, loop=loop, proxy_protocol="auto") as served,
            served.client() as silent,
            served.client() as client,
        ):
            served.wait_until(lambda: seen(served) == [0, 0])
            for one in (client, silent):
                one.send(LINE + CLOSE)
                assert one.response().body == b"192.168.0.1"
    finally:
        socket.setdefaulttimeout(before)


# --- how many ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("short_linger")
@both_loops
def test_one_over_the_bound_hears_of_it_once_it_has_said_who_it_is(
    loop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "SILENCE", 3600.0)  # all are new
    with (
        serving(remote, loop=loop, proxy_protocol="auto", max_connections=2) as served,
        served.client(),
        served.client(),
        served.client() as third,
    ):
        served.wait_until(lambda: len(seen(served)) == 3)
        third.send(LINE + request())
        assert third.response().status == 503
        served.wait_until(lambda: len(served.connections.open) == 2)


@both_loops
def test_who_is_silent_makes_room(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "SILENCE", 0.0)
    with (
        serving(remote, loop=loop, proxy_protocol="auto", max_connections=2) as served,
        served.client() as first,
    ):
        served.wait_until(lambda: len(seen(served)) == 1)
        with served.client() as begun, served.client() as third:
            begun.send(LINE[:5])
            third.send(LINE + request())
            assert third.response().body == b"192.168.0.1"
            assert first.is_dropped()
            begun.send(LINE[5:] + request())
            assert begun.response().body == b"192.168.0.1"


def test_beyond_all_bounds_they_are_closed_at_once() -> None:
    with serving(remote, proxy_protocol="auto", max_connections=1) as served:
        served.connections.refusals = 3
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(served.client()) for _ in range(10)]
            served.wait_until(lambda: len(served.connections.open) == 4)
            for client in clients[4:]:
                assert client.is_dropped()
        served.wait_until_idle()


@both_loops
def test_a_connection_counts_once_while_its_transport_is_made(loop: str) -> None:
    """At the bound, the one that changes from header to transport must not push another out."""
    with (
        serving(remote, loop=loop, proxy_protocol="auto", max_connections=2) as served,
        served.client() as first,
        served.client() as second,
    ):
        first.send(LINE + request())
        assert first.response().status == 200
        second.send(LINE[:5])
        served.wait_until(lambda: seen(served) == [5])
        second.send(LINE[5:] + request())
        assert second.response().status == 200
        first.send(request())
        assert first.response().status == 200


# --- stops ---------------------------------------------------------------------------------------


def stopping(served: Served) -> Future[Any]:
    return asyncio.run_coroutine_threadsafe(served.server.stop(), served.thread.loop)


@pytest.mark.usefixtures("short_linger")
@both_loops
def test_at_a_stop_who_has_begun_is_served_and_who_is_silent_closed(loop: str) -> None:
    with (
        serving(remote, loop=loop, proxy_protocol="auto") as served,
        served.client() as silent,
        served.client() as begun,
        served.client() as shy,
    ):
        for client in (begun, shy):
            client.send(LINE[:10])
        served.wait_until(lambda: sorted(seen(served)) == [0, 10, 10])
        stopped = stopping(served)
        assert silent.read_to_end() == b""
        begun.send(LINE[10:] + request())
        response = begun.response()
        assert (response.status, response.body) == (200, b"192.168.0.1")
        assert response.fields["connection"] == "close"
        # Whoever only introduces a client is not waited for longer than a moment.
        shy.send(LINE[10:])
        began = time.monotonic()
        assert shy.read_to_end() == b""
        assert time.monotonic() - began < 5
        assert stopped.result(10) == 0


@both_loops
def test_a_stop_does_not_wait_for_ever(loop: str) -> None:
    with (
        serving(
            remote, loop=loop, proxy_protocol="auto", graceful_timeout=0.5, header_timeout=0
        ) as served,
        served.client() as client,
    ):
        client.send(LINE[:10])
        served.wait_until(lambda: seen(served) == [10])
        assert stopping(served).result(10) == 0
        assert client.is_dropped()


@pytest.mark.usefixtures("short_linger")
@both_loops
def test_what_waits_with_its_header_at_a_stop_is_answered(loop: str) -> None:
    with serving(remote, loop=loop, proxy_protocol="auto") as served:

        async def connect_and_stop() -> list[socket.socket]:
            # Nothing here lets the loop turn before the stop.
            clients = []
            for _ in range(20):
                client = socket.create_connection(served.address, 10)
                client.sendall(LINE + request())
                clients.append(client)
            await served.server.stop()
            return clients

        for client in served.thread.run(connect_and_stop(), 30):
            with client:
                assert client.recv(64).startswith(b"HTTP/1.1 200 OK\r\n")


# --- failures, and crowds ------------------------------------------------------------------------


@both_loops
def test_what_fails_as_one_begins_costs_that_one_alone(
    loop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(remote, loop=loop, proxy_protocol="auto") as served:
        with monkeypatch.context() as patch:

            def fail(self: Preface) -> None:
                raise ValueError("as if by chance")

            patch.setattr(Preface, "join", fail)
            with served.client() as client:
                assert client.is_dropped()
        [(_, error)] = served.recorder.wait_for("error")
        assert isinstance(error, ValueError)
        served.recorder._events.clear()
        with served.client() as client:
            client.send(LINE + request())
            assert client.response().status == 200


def test_a_scanner_does_not_fill_the_log() -> None:
    with Command(
        *("hello:application", "--bind", "127.0.0.1:0", "--proxy-protocol"),
        directory=ROOT / "examples",
    ) as command:
        for _ in range(300):
            with command.client() as client, contextlib.suppress(ConnectionError):
                client.send(b"GET /\x1b[31m HTTP/1.1\r\n\r\n")
                assert client.is_dropped()
        with command.client() as client:
            client.send(LINE + request())
            assert client.response().status == 200
        command.wait_for("no PROXY header")
        lines = [line for line in command.lines if "no PROXY header" in line]
        assert len(lines) <= 30
        assert all("\x1b" not in line for line in lines)
        command.assert_clean()


def rss() -> int:
    """Bytes of memory that this process has."""
    text = Path("/proc/self/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0]) * 1024


@both_loops
def test_five_thousand_that_never_end_their_header_disturb_nobody(loop: str) -> None:
    count = 5000
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 2 * count + 4000
    if most > limits[1]:
        pytest.skip(f"needs {most} open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(limits[0], most), limits[1]))
    try:
        with (
            contextlib.ExitStack() as stack,
            serving(remote, loop=loop, proxy_protocol="auto", header_timeout=0) as served,
        ):
            before = rss()
            for number in range(count):
                client = stack.enter_context(served.client())
                client.send(LINE[: number % 20])
            served.wait_until(lambda: len(seen(served)) == count)
            grown = rss() - before
            # The clients of this test are in it too.
            assert grown < count * 6000, f"{grown / count:.0f} bytes for each"
            with served.client() as working:
                working.send(LINE)
                for _ in range(50):
                    assert working.get().body == b"192.168.0.1"
            assert len(seen(served)) == count
            stack.close()
            served.wait_until_idle()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)

"""Connections whose handshake is not over, and those that speak no TLS at all."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import pytest
from certificates import authority
from encrypted import Cut, Encrypted
from loops import Serve, hello
from proxy_headers import line
from rawclient import RawClient, request
from serving import Served, both_loops, serving
from state_tables import assert_held, assert_whole, last_of

from wsgi_async.connection.open_connection import Wait
from wsgi_async.server.beginning import NEXT, BeginningState
from wsgi_async.server.handshakes import Handshake

SILENT, BEGUN, OVER = BeginningState


@pytest.fixture(params=["uvloop", "asyncio"])
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    with serving(hello, loop=request.param, tls=True) as served:
        yield served


def raw(served: Served) -> socket.socket:
    return socket.create_connection(served.address, 25)


def begin(sock: socket.socket, served: Served) -> Encrypted:
    """Half of a ClientHello."""
    assert served.tls is not None
    client = Encrypted(sock, served.tls, shakes_hands=False)
    hello = client.begin()
    sock.sendall(hello[:50])
    client.rest = hello[50:]  # type: ignore[attr-defined]
    return client


def go_on(client: Encrypted) -> RawClient:
    client.wire.sendall(client.rest)  # type: ignore[attr-defined]
    client.shake_hands()
    made = RawClient.__new__(RawClient)
    made.socket = client
    made._received = bytearray()
    return made


def states(served: Served) -> list[BeginningState]:
    return [each.state for each in served.connections.open if isinstance(each, Handshake)]


def dropped(served: Served) -> list[str]:
    return [why for _, why in served.recorder.of("connection_dropped")]


# --- where it stands -------------------------------------------------------------------------


def test_the_table_of_states(served: Served) -> None:
    assert_whole(NEXT, SILENT)
    assert last_of(NEXT) == {OVER}
    with raw(served) as sock:
        served.wait_until(lambda: states(served) == [SILENT])
        [handshake] = [each for each in served.connections.open if isinstance(each, Handshake)]
        client = begin(sock, served)
        served.wait_until(lambda: states(served) == [BEGUN])
        with go_on(client) as whole:
            assert whole.get().body == b"hello"
            assert handshake.state is OVER
            assert states(served) == []
    served.wait_until_idle()

    async def hold() -> None:
        for state in NEXT:
            assert_held(NEXT, state, handshake, "state", handshake._enter)
        served.connections.waits.forget(handshake)

    served.thread.run(hold())


def test_what_it_waits_for_is_what_a_head_waits_for(served: Served) -> None:
    with raw(served) as sock:
        served.wait_until(lambda: waiting(served) == {Wait.FIRST_BYTE: 1})
        client = begin(sock, served)
        served.wait_until(lambda: waiting(served) == {Wait.HEAD: 1})
        with go_on(client) as whole:
            served.wait_until(lambda: waiting(served) == {Wait.FIRST_BYTE: 1})
            whole.get()
            served.wait_until(lambda: waiting(served) == {Wait.REQUEST: 1})


def waiting(served: Served) -> dict[Wait, int]:
    return {wait: len(those) for wait, those in served.connections.waits.items() if those}


@pytest.mark.parametrize("has_begun", [False, True])
@both_loops
def test_header_timeout_bounds_it(serve: Serve, loop: str, has_begun: bool) -> None:
    served = serve(hello, loop=loop, tls=True, header_timeout=0.3)
    with raw(served) as sock:
        if has_begun:
            begin(sock, served)
        assert sock.recv(10) == b""
    served.wait_until_idle()
    late = ["its TLS handshake was not complete in time"]
    assert dropped(served) == (late if has_begun else [])


@both_loops
def test_it_counts_for_the_cap_and_who_is_silent_makes_room(serve: Serve, loop: str) -> None:
    served = serve(hello, loop=loop, tls=True, max_connections=2)
    with raw(served) as silent, raw(served) as begun:
        begin(begun, served)
        served.wait_until(lambda: sorted(states(served), key=str) == [BEGUN, SILENT])
        served.wait_until(lambda: is_old(served))
        with served.client() as client:  # a third
            assert client.get().body == b"hello"
        assert silent.recv(10) == b""
        served.wait_until(lambda: states(served) == [BEGUN])


def is_old(served: Served) -> bool:
    """Silence of a second is long enough to make room."""
    now = served.thread.loop.time()
    return served.connections.waits[Wait.FIRST_BYTE].oldest(now - 1.0) is not None


@both_loops
def test_beyond_the_cap_a_handshake_is_made_to_say_503(serve: Serve, loop: str) -> None:
    served = serve(hello, loop=loop, tls=True, max_connections=1)
    with raw(served) as begun:
        begin(begun, served)
        served.wait_until(lambda: states(served) == [BEGUN])
        with served.client() as client:
            assert client.get().status == 503


# --- how it ends -----------------------------------------------------------------------------


@both_loops
def test_at_a_stop_who_has_begun_is_served_and_who_is_silent_closed(loop: str) -> None:
    with serving(hello, loop=loop, tls=True) as served, raw(served) as silent, raw(served) as sock:
        client = begin(sock, served)
        served.wait_until(lambda: sorted(states(served), key=str) == [BEGUN, SILENT])
        stopping = asyncio.run_coroutine_threadsafe(served.server.stop(), served.thread.loop)
        assert silent.recv(10) == b""
        with go_on(client) as whole:
            answer = whole.get()
            assert answer.body == b"hello"
            assert answer.fields["connection"] == "close"
            assert whole.socket.recv(10) == b""
            assert whole.socket.said_goodbye  # type: ignore[union-attr]
        stopping.result(30)


@both_loops
def test_at_a_stop_who_never_ends_its_handshake_is_dropped(loop: str) -> None:
    with serving(hello, loop=loop, tls=True, graceful_timeout=0.3) as served, raw(served) as sock:
        begin(sock, served)
        served.wait_until(lambda: states(served) == [BEGUN])
        served.stop()
        assert sock.recv(10) == b""


def test_a_failed_handshake_is_one_line_with_its_reason(served: Served) -> None:
    with raw(served) as sock, pytest.raises(ssl.SSLCertVerificationError):
        Encrypted(sock, ssl.create_default_context())
    with raw(served) as sock:
        sock.sendall(b"\x16\x03\x01\x00\x05hello")
        assert sock.recv(100)[:1] == b"\x15"  # an alert
        assert sock.recv(100) == b""
    [(client, first), (_, second)] = served.recorder.wait_for("connection_dropped", 2)
    assert client.startswith("127.0.0.1:")
    failed = "its TLS handshake has failed: "
    assert first.startswith(f"{failed}the client ")  # it says so, or leaves
    assert second == f"{failed}unexpected message"
    served.wait_until_idle()


def test_who_leaves_before_a_byte_is_not_mentioned(served: Served) -> None:
    """Load balancers look so whether a port is open."""
    with raw(served):
        served.wait_until(lambda: states(served) == [SILENT])
    served.wait_until_idle()
    assert dropped(served) == []
    with raw(served) as sock:
        begin(sock, served)
        served.wait_until(lambda: states(served) == [BEGUN])
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    served.wait_until_idle()
    assert dropped(served) == ["its TLS handshake has failed: the client closed the connection"]


def test_garbage_after_the_handshake_ends_the_connection_alone(served: Served) -> None:
    with served.client() as client:
        assert client.get().body == b"hello"
        assert isinstance(client.socket, Encrypted)
        client.socket.wire.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
        with pytest.raises((ssl.SSLError, Cut)):
            client.socket.recv(100)
    served.wait_until_idle()


# --- no TLS ----------------------------------------------------------------------------------


def test_plain_http_is_told_the_scheme(served: Served) -> None:
    with RawClient(served.address) as client:
        client.send(request("/path", "POST", body=b"x" * 100))
        answer = client.response()
    assert answer.status == 400
    assert answer.fields["content-type"].startswith("text/plain")
    assert b"this port speaks HTTPS" in answer.body
    assert b"https://" in answer.body
    [(client_name, status, detail)] = served.recorder.wait_for("request_refused")
    assert client_name.startswith("127.0.0.1:")
    assert (status, detail) == (
        400,
        "This is plain HTTP, and this port speaks HTTPS: ask for https://",
    )
    served.wait_until_idle()


def test_plain_http_of_one_byte_at_a_time(served: Served) -> None:
    with RawClient(served.address) as client:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in request():
            client.send(bytes([byte]))
        assert client.response().status == 400
    served.wait_until_idle()


def test_other_bytes_are_no_request(served: Served) -> None:
    with RawClient(served.address) as client:
        client.send(b"\x00\x01 nothing known\r\n\r\n")
        assert client.response().status == 400
    served.wait_until_idle()


@both_loops
def test_tls_on_a_plain_port_is_said_so(serve: Serve, loop: str) -> None:
    served = serve(hello, loop=loop)
    with raw(served) as sock, pytest.raises(ssl.SSLError):
        Encrypted(sock, authority().client())
    [(_, status, detail)] = served.recorder.wait_for("request_refused")
    assert status == 400
    assert "it looks like TLS, and this port speaks plain HTTP" in detail


# --- with a PROXY header before --------------------------------------------------------------

SOURCE, DESTINATION = ("192.168.0.1", 56324), ("192.168.0.11", 443)
LINE = line(SOURCE, DESTINATION)


@pytest.fixture(params=["uvloop", "asyncio"])
def introduced(request: pytest.FixtureRequest) -> Iterator[Served]:
    with serving(tell, loop=request.param, tls=True, proxy_protocol="v1") as served:
        yield served


def tell(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    names = ("REMOTE_ADDR", "SERVER_PORT", "wsgi.url_scheme", "SSL_PROTOCOL", "HTTPS")
    return ["|".join(str(environ.get(name)) for name in names).encode()]


def test_a_proxys_header_goes_before_the_handshake(introduced: Served) -> None:
    with introduced.client(opening=LINE) as client:
        assert client.get().body == b"192.168.0.1|443|https|TLSv1.3|on"
    introduced.wait_until_idle()


def test_a_header_that_is_cut_and_a_handshake_that_is(introduced: Served) -> None:
    with raw(introduced) as sock:
        sock.sendall(LINE[:10])
        introduced.wait_until(lambda: len(introduced.connections.open) == 1)
        sock.sendall(LINE[10:])
        introduced.wait_until(lambda: states(introduced) == [SILENT])
        assert len(introduced.connections.open) == 1
        client = begin(sock, introduced)
        introduced.wait_until(lambda: states(introduced) == [BEGUN])
        with go_on(client) as whole:
            assert whole.get().body == b"192.168.0.1|443|https|TLSv1.3|on"
            assert len(introduced.connections.open) == 1
    introduced.wait_until_idle()


def test_at_a_stop_a_client_that_was_just_introduced_is_served(introduced: Served) -> None:
    with raw(introduced) as sock:
        sock.sendall(LINE[:10])
        introduced.wait_until(lambda: len(introduced.connections.open) == 1)
        stopping = asyncio.run_coroutine_threadsafe(
            introduced.server.stop(), introduced.thread.loop
        )
        introduced.recorder.wait_for("stopping")
        sock.sendall(LINE[10:])
        with go_on(begin(sock, introduced)) as whole:
            assert whole.get().status == 200
        stopping.result(30)


def test_failures_name_the_client_that_the_proxy_has_named(introduced: Served) -> None:
    with raw(introduced) as sock:
        sock.sendall(LINE + b"\x16\x03\x01\x00\x05hello")
        assert sock.recv(100)[:1] == b"\x15"
    [(client, _)] = introduced.recorder.wait_for("connection_dropped")
    assert client == "192.168.0.1:56324"
    with RawClient(introduced.address, opening=LINE) as plain:
        plain.send(request())
        assert plain.response().status == 400
    [(client, _, _)] = introduced.recorder.wait_for("request_refused")
    assert client == "192.168.0.1:56324"


@both_loops
def test_a_connection_that_somebody_else_accepted_speaks_tls_too(loop: str) -> None:
    """``handle_request()`` of the standard library's server, which accepts by itself."""
    with serving(hello, loop=loop, tls=True, keep_alive=0) as served:
        ours, theirs = socket.socketpair()
        ours.settimeout(25)
        once = asyncio.run_coroutine_threadsafe(
            served.server.serve_once(theirs, ""), served.thread.loop
        )
        with go_on(begin(ours, served)) as client:
            assert client.get().body == b"hello"
        once.result(25)

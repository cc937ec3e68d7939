"""What else comes to a port with TLS, and TLS where none is: who is told what, and how often."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import ssl
import time
from collections.abc import Iterator
from typing import Any

import pytest
from certificates import authority, local_pair
from proxy_headers import line, tcp
from rawclient import TIMEOUT, RawClient, request
from serving import Command, Served, both_loops, serving
from shown import echo

from wsgi_async.connection.connections import Connections

PAIR = local_pair().flags


def hello_of(name: str | None = "localhost") -> bytes:
    """A client's first flight."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    connection = authority().client().wrap_bio(incoming, outgoing, server_hostname=name)
    with contextlib.suppress(ssl.SSLWantReadError):
        connection.do_handshake()
    return outgoing.read()


HELLO = hello_of()


def plain(served: Served) -> RawClient:
    """A client without TLS."""
    return served.client(tls=None)


def works(served: Served) -> None:
    with served.client() as client:
        assert client.get("/").status == 200


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    with serving(echo, loop=request.param, tls=True) as served:
        yield served


# --- plain HTTP --------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PROPFIND"])
def test_plain_http_is_told_of_the_scheme(method: str, served: Served) -> None:
    with plain(served) as client:
        client.send(request("/secret?x", method))
        response = client.response(method)
        assert client.read_to_end() == b""
    assert response.status == 400
    assert response.fields["content-type"].startswith("text/plain")
    assert response.fields["connection"] == "close"
    assert b"https" in response.body.lower()
    assert b"secret" not in response.body
    works(served)
    finished = served.recorder.wait_for("request_finished")
    assert {info.target for info, _ in finished} == {"/"}


def test_plain_http_in_pieces_and_with_much_behind_it(served: Served) -> None:
    """Who sends an upload by mistake can read what is wrong."""
    with plain(served) as client:
        client.send(b"G")
        client.send(b"ET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.response().status == 400
    with plain(served) as client, contextlib.suppress(BrokenPipeError, ConnectionResetError):
        client.send(request("/", "POST", body=b"x" * 300_000))
        assert client.response("POST").status == 400
    served.wait_until_idle()


def test_what_is_neither_is_closed(served: Served) -> None:
    for data in (b"\0" * 50, b"\x80\x2e\x01\x00\x02" + bytes(50), b"\x16\x03\x01\xff", b"\xff" * 9):
        with plain(served) as client, contextlib.suppress(ConnectionError):
            client.send(data)
            client.half_close()
            client.read_to_end()
    served.wait_until_idle()
    works(served)


@both_loops
def test_a_hello_where_no_tls_is_spoken_is_said_so(loop: str) -> None:
    with Command("quick:app", "-b", "127.0.0.1:0", loop=loop) as command:
        with (
            socket.create_connection(command.address, TIMEOUT) as wire,
            pytest.raises(ssl.SSLError),
        ):
            authority().client().wrap_socket(wire, server_hostname="localhost")
        command.wait_for("TLS")
        with command.client() as client:
            assert client.get().status == 200
        command.assert_clean()


# --- the log -----------------------------------------------------------------------------------


@both_loops
def test_a_failed_handshake_is_one_line_with_its_reason_and_no_traceback(loop: str) -> None:
    with Command("quick:app", "-b", "127.0.0.1:0", *PAIR, loop=loop) as command:
        address = command.address
        before = len(command.lines)
        stranger = ssl.create_default_context()
        with socket.create_connection(address, TIMEOUT) as wire:
            port = wire.getsockname()[1]
            with pytest.raises(ssl.SSLCertVerificationError):
                stranger.wrap_socket(wire, server_hostname="localhost")
        said = command.wait_for(rf"\[INFO\].*127\.0\.0\.1:{port}\b.*")[0]
        assert re.search("certificate", said), said
        with command.client() as client:
            assert client.get().status == 200
        command.assert_clean()
        told = [text for text in command.lines[before:] if str(port) in text]
        assert len(told) == 1


def test_failed_handshakes_do_not_fill_the_log() -> None:
    """So many a second at most, whoever knocks."""
    with Command("quick:app", "-b", "127.0.0.1:0", *PAIR) as command:
        address = command.address
        before = len(command.lines)
        began = time.monotonic()
        for _ in range(100):
            with RawClient(address) as client, contextlib.suppress(ConnectionError):
                client.send(b"\x16\x03\x01\x00\x05hello")
                client.half_close()
                client.read_to_end()
        seconds = time.monotonic() - began
        with command.client() as client:
            assert client.get().status == 200
        told = [text for text in command.lines[before:] if "handshake has failed" in text]
        assert 1 <= len(told) <= 10 * (seconds + 2)
        command.assert_clean()


# --- who takes long ----------------------------------------------------------------------------


@both_loops
@pytest.mark.parametrize("sent", [0, 1, 5, 100, None])
def test_a_handshake_that_stalls_has_the_time_of_a_head(loop: str, sent: int | None) -> None:
    with serving(echo, loop=loop, tls=True, header_timeout=0.4) as served:
        with plain(served) as stalled:
            stalled.send(HELLO if sent is None else HELLO[:sent])
            works(served)
            with contextlib.suppress(ConnectionError):
                while stalled.socket.recv(65536):
                    pass
        served.wait_until_idle()
        assert served.recorder.of("error") == []


def test_a_handshake_that_trickles_has_one_limit_for_all_of_it() -> None:
    with serving(echo, tls=True, header_timeout=0.6) as served:
        began = time.monotonic()
        with plain(served) as client, contextlib.suppress(ConnectionError):
            client.socket.settimeout(0.05)
            for byte in HELLO:  # hundreds of times 50 ms, if it were not closed before
                client.send(bytes([byte]))
                with contextlib.suppress(TimeoutError):
                    if client.socket.recv(1) == b"":
                        break
        assert time.monotonic() - began < 4
        served.wait_until_idle()


@both_loops
def test_the_head_has_a_time_of_its_own_after_the_handshake(loop: str) -> None:
    with (
        serving(echo, loop=loop, tls=True, header_timeout=0.4) as served,
        served.client() as client,
    ):
        client.send(request()[:10])
        assert client.response().status == 408
        assert client.read_to_end() == b""
        assert client.socket.said_goodbye


@both_loops
def test_handshakes_count_among_the_connections(loop: str) -> None:
    """And make room, as who is silent does."""
    with serving(echo, loop=loop, tls=True, max_connections=2, header_timeout=60) as served:
        with contextlib.ExitStack() as stack:
            for _ in range(12):
                client = stack.enter_context(plain(served))
                client.send(HELLO[:50])
            connections: Connections = served.connections
            served.wait_until(lambda: 2 <= len(connections.open) <= 12 + 2)
        served.wait_until_idle()
        works(served)


# --- a proxy in front --------------------------------------------------------------------------


@both_loops
def test_a_proxy_may_introduce_its_client_before_tls_begins(loop: str) -> None:
    """As HAProxy does in TCP mode with ``send-proxy``."""
    source, destination = ("203.0.113.7", 56324), ("192.0.2.11", 443)
    with serving(echo, loop=loop, tls=True, proxy_protocol="auto") as served:
        for header in (line(source, destination), tcp(source, destination)):
            with served.client(opening=header) as client:
                environ = facts(client)
                assert (environ["REMOTE_ADDR"], environ["REMOTE_PORT"]) == ("203.0.113.7", "56324")
                assert environ["wsgi.url_scheme"] == "https"
                assert environ["SSL_TLS_SNI"] == "localhost"
                assert facts(client)["REMOTE_ADDR"] == "203.0.113.7"
            # In one segment with the hello, as a proxy that is quick sends it.
            with plain(served) as client:
                client.send(header + HELLO)
                assert client.receive(1) == b"\x16"
            with plain(served) as client:
                client.send(header + request())
                assert client.response().status == 400
        served.wait_until_idle()


def facts(client: RawClient) -> dict[str, Any]:
    response = client.get("/")
    assert response.status == 200
    found: dict[str, Any] = json.loads(response.body)
    return found


@both_loops
def test_without_the_header_that_is_wanted_no_handshake_is_begun(loop: str) -> None:
    with serving(echo, loop=loop, tls=True, proxy_protocol="auto") as served:
        with plain(served) as client, contextlib.suppress(ConnectionError):
            client.send(HELLO)
            assert client.read_to_end() == b""
        served.wait_until_idle()

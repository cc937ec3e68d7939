"""How connections over TLS begin, go on and end on real sockets: each end is told from a cut."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import ssl
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import h11
import pytest
from certificates import authority
from encrypted import Cut, Record, records
from rawclient import TIMEOUT, RawClient, request
from serving import Served, serving

gate = threading.Semaphore(0)
calls: list[str] = []


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    path = environ["PATH_INFO"]
    calls.append(path)
    if path == "/cut":
        start_response("200 OK", [])
        return cut()
    if path == "/wait":
        assert gate.acquire(timeout=TIMEOUT)
    body = environ["wsgi.input"].read()
    start_response("200 OK", [])
    return [hashlib.sha256(body).hexdigest().encode() if body else path.encode()]


def cut() -> Iterator[bytes]:
    yield b"the beginning"
    raise RuntimeError("the end never comes")


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    with serving(application, loop=request.param, tls=True) as served:
        yield served


@pytest.fixture(params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def tls(request: pytest.FixtureRequest) -> ssl.SSLContext:
    """A client's context that speaks this version alone."""
    return authority().client(lowest=request.param, highest=request.param)


# --- the client's end --------------------------------------------------------------------------


def test_a_client_that_has_said_close_notify_is_answered(
    served: Served, tls: ssl.SSLContext
) -> None:
    """It is half-close, as of TCP; the loops' own transports would close the connection."""
    with served.client(tls=tls) as client:
        client.send(request("/a") + request("/wait") + request("/c"))
        client.half_close()
        # The loop has seen that end once it has answered others that came later.
        with served.client() as other:
            for _ in range(3):
                assert other.get("/b").body == b"/b"
        gate.release()
        assert [client.response().body for _ in range(3)] == [b"/a", b"/wait", b"/c"]
        assert client.read_to_end() == b""
        assert client.socket.said_goodbye


def test_an_upload_may_end_with_close_notify(served: Served, tls: ssl.SSLContext) -> None:
    body = bytes(range(256)) * 2000
    with served.client(tls=tls) as client:
        socket = client.socket
        sent = socket.encrypt(request("/", "POST", body=body)) + socket.goodbye()
        socket.wire.sendall(sent)
        assert client.response("POST").body == hashlib.sha256(body).hexdigest().encode()


def test_what_follows_close_notify_is_ignored(served: Served, tls: ssl.SSLContext) -> None:
    """RFC 8446 §6.1. It might be anything, a request that somebody else has put there included."""
    calls.clear()
    with served.client(tls=tls) as client, served.client(tls=tls) as other:
        client.socket.wire.sendall(
            client.socket.encrypt(request("/a"))
            + client.socket.goodbye()
            + request("/plain")
            + other.socket.encrypt(request("/other"))
        )
        assert client.response().body == b"/a"
        assert client.read_to_end() == b""
        assert client.socket.said_goodbye
    assert calls == ["/a"]


def test_a_request_that_is_cut_by_close_notify_reaches_no_application(
    served: Served, tls: ssl.SSLContext
) -> None:
    with served.client(tls=tls) as client:
        client.send(request("/half", "POST", body=b"12345")[:-2])
        client.half_close()
        assert client.response("POST").status == 400
        assert client.is_dropped()
    assert "/half" not in calls


def test_who_ends_tcp_without_close_notify_is_answered_too(
    served: Served, tls: ssl.SSLContext
) -> None:
    """Many clients do; a request is whole by its own framing."""
    with served.client(tls=tls) as client:
        client.send(request("/a"))
        client.socket.wire.shutdown(socket.SHUT_WR)
        assert client.response().body == b"/a"
        assert client.read_to_end() == b""


# --- the server's end --------------------------------------------------------------------------


def test_the_last_response_is_followed_by_close_notify(served: Served, tls: ssl.SSLContext) -> None:
    for data in (request(fields=("Connection: close",)), b"GET / HTTP/1.0\r\n\r\n", b"bad\r\n\r\n"):
        with served.client(tls=tls) as client:
            client.send(data)
            client.response()
            assert client.read_to_end() == b""
            assert client.socket.said_goodbye


def test_a_response_that_was_cut_has_no_close_notify_behind_it(
    served: Served, tls: ssl.SSLContext
) -> None:
    """Of HTTP/1.0 nothing else tells it from a whole one (RFC 9112 §9.8)."""
    with served.client(tls=tls) as client:
        client.send(b"GET /cut HTTP/1.0\r\n\r\n")
        client.read_until(b"the beginning")
        with pytest.raises(ConnectionResetError):
            client.read_to_end()
        assert not client.socket.said_goodbye
    with served.client(tls=tls) as client:
        client.send(request("/cut"))
        with pytest.raises(Cut):
            client.response()
        assert not client.socket.said_goodbye


def test_an_idle_connection_is_ended_with_close_notify(tls: ssl.SSLContext) -> None:
    """At the end of its time, and at a stop."""
    with serving(application, tls=True, keep_alive=0.2) as served, served.client(tls=tls) as client:
        assert client.get("/a").status == 200
        assert client.read_to_end() == b""
        assert client.socket.said_goodbye
    with serving(application, tls=True) as served, served.client(tls=tls) as client:
        assert client.get("/a").status == 200
        served.stop()
        assert client.read_to_end() == b""
        assert client.socket.said_goodbye


def test_a_client_that_has_never_asked_gets_close_notify_at_the_end_of_its_time() -> None:
    with serving(application, tls=True, header_timeout=0.3) as served, served.client() as client:
        assert client.read_to_end() == b""
        assert client.socket.said_goodbye


# --- ends that are none ------------------------------------------------------------------------


def test_garbage_after_the_handshake_ends_the_connection_alone(
    served: Served, tls: ssl.SSLContext
) -> None:
    calls.clear()
    for garbage in (
        request("/plain"),  # what was never encrypted
        b"\x17\x03\x03\x00\x20" + bytes(32),  # a record that was never sealed
        b"\x17\x03\x03\xff\xff" + bytes(100),  # one that is too long
        b"\x16\x03\x03\x00\x04\x01\x00\x00\x00",  # another hello
        bytes(5),
    ):
        with served.client(tls=tls) as client:
            assert client.get("/good").body == b"/good"
            with contextlib.suppress(OSError):
                client.socket.wire.sendall(garbage)
            assert drops(client)
    assert set(calls) == {"/good"}
    served.wait_until_idle()


def drops(client: RawClient) -> bool:
    """Wait until the server ends the connection, with an alert or without."""
    try:
        return client.is_dropped()
    except ssl.SSLError as error:
        return "ALERT" in str(error.reason)


def test_a_record_that_was_changed_reaches_no_application(
    served: Served, tls: ssl.SSLContext
) -> None:
    calls.clear()
    with served.client(tls=tls) as client:
        sealed = bytearray(client.socket.encrypt(request("/changed")))
        sealed[-1] ^= 1
        client.socket.wire.sendall(sealed)
        assert drops(client)
    # One that is sent twice is not taken twice, nor is one taken out of its turn.
    with served.client(tls=tls) as client:
        client.get("/first")
        sealed = client.socket.encrypt(request("/twice"))
        with contextlib.suppress(OSError):
            client.socket.wire.sendall(sealed + sealed)
        with contextlib.suppress(ssl.SSLError, h11.RemoteProtocolError, ConnectionError):
            client.response()
            client.read_to_end()
    assert calls.count("/changed") == 0
    assert calls.count("/twice") <= 1
    served.wait_until_idle()


def test_resets(served: Served, tls: ssl.SSLContext) -> None:
    """In the handshake, after it, within a request, and while a response is made."""
    for flight in (1, 60, None):
        client = served.client(tls=None)
        hello = hello_of(tls)
        client.send(hello if flight is None else hello[:flight])
        if flight is None:
            client.receive(5)  # the server has answered
        client.reset()
    client = served.client(tls=tls)
    client.reset()
    client = served.client(tls=tls)
    client.send(request("/half", "POST", body=b"12345")[:-2])
    client.reset()
    client = served.client(tls=tls)
    client.send(request("/wait"))
    served.wait_until(lambda: calls[-1:] == ["/wait"])
    client.reset()
    gate.release()
    served.wait_until_idle()
    with served.client(tls=tls) as client:
        assert client.get("/a").status == 200


def hello_of(context: ssl.SSLContext, name: str | None = "localhost") -> bytes:
    """A client's first flight."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    connection = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with contextlib.suppress(ssl.SSLWantReadError):
        connection.do_handshake()
    return outgoing.read()


# --- bytes and records -------------------------------------------------------------------------


def test_each_byte_may_come_by_itself(served: Served, tls: ssl.SSLContext) -> None:
    """The handshake, a request in two records, and the goodbye."""
    with socket.create_connection(served.address, TIMEOUT) as wire:
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        connection = tls.wrap_bio(incoming, outgoing, server_hostname="localhost")

        def drip() -> None:
            for byte in outgoing.read():
                wire.sendall(bytes([byte]))

        while True:
            try:
                connection.do_handshake()
                break
            except ssl.SSLWantReadError:
                drip()
                incoming.write(wire.recv(65536))
        half = len(request("/drip")) // 2
        connection.write(request("/drip")[:half])
        connection.write(request("/drip")[half:])
        drip()
        got = b""
        while not got.endswith(b"/drip"):
            try:
                got += connection.read(65536)
            except ssl.SSLWantReadError:
                incoming.write(wire.recv(65536))
        assert got.startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_request_may_be_spread_over_many_tiny_records(
    served: Served, tls: ssl.SSLContext
) -> None:
    body = bytes(range(256)) * 8
    sent = request("/", "POST", body=body)
    with served.client(tls=tls) as client:
        client.socket.wire.sendall(b"".join(client.socket.encrypt(bytes([one])) for one in sent))
        assert client.response("POST").body == hashlib.sha256(body).hexdigest().encode()


def test_a_small_response_is_one_record(served: Served, tls: ssl.SSLContext) -> None:
    """Each record costs 22 bytes and more, and a turn of the cipher."""
    with served.client(tls=tls) as client:
        client.get("/a")  # in 1.3 the tickets came along
        client.send(request("/b"))
        wire = client.socket.wire.recv(65536)
        assert [kind for kind, _ in records(wire)] == [Record.DATA]
        assert b"/b" in client.socket.decrypt(wire)

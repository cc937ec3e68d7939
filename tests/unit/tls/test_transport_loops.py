"""The same over real sockets, on either loop: a client of OpenSSL's in a thread, blocking."""

from __future__ import annotations

import asyncio
import contextlib
import random
import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from rawclient import TIMEOUT
from secure import TLS_1_2, TLS_1_3, Recording, client_context, server_context
from serving import LoopThread, both_loops

from wsgi_async.tls.transport import TLSTransport

versions = pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3], ids=["1.2", "1.3"])


class Side:
    """The server's side, and what its client's socket is."""

    def __init__(self, thread: LoopThread, protocol: asyncio.Protocol) -> None:
        self.thread = thread
        self.protocol = protocol
        self.failed: list[str] = []
        theirs, self.socket = socket.socketpair()
        theirs.setblocking(False)
        self.transport = thread.run(self._connect(theirs))

    async def _connect(self, theirs: socket.socket) -> TLSTransport:
        loop = asyncio.get_running_loop()
        transport = TLSTransport(loop, server_context(), self)
        await loop.connect_accepted_socket(lambda: transport, theirs)
        return transport

    def client(self, version: ssl.TLSVersion = TLS_1_3) -> ssl.SSLSocket:
        self.socket.settimeout(TIMEOUT)
        return client_context(version).wrap_socket(
            self.socket, server_hostname="localhost", suppress_ragged_eofs=False
        )

    def call(self, function: Callable[[], Any]) -> Any:
        """On the loop."""

        async def calling() -> Any:
            return function()

        return self.thread.run(calling())

    def connection_begins(self, transport: TLSTransport) -> None:
        pass

    def handshake_begins(self) -> None:
        pass

    def handshake_done(self, transport: TLSTransport) -> asyncio.Protocol:
        return self.protocol

    def handshake_failed(self, why: str) -> None:
        self.failed.append(why)

    def without_tls(self, plain: asyncio.Transport) -> asyncio.Protocol:
        return self.protocol


class Echo(Recording):
    """Gives everything back, at a pace of its own, and ends when the client has."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.random = random.Random(seed)
        self.lost = threading.Event()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        assert self.transport.is_reading()
        while data:
            size = self.random.choice([1, 100, 16_384, 16_385, 70_000, 300_000])
            self.transport.write(data[:size])
            data = data[size:]
        if not self.random.randrange(3):
            self.transport.pause_reading()
            asyncio.get_running_loop().call_soon(self.transport.resume_reading)

    def pause_writing(self) -> None:
        super().pause_writing()
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.transport.resume_reading()

    def eof_received(self) -> bool:
        super().eof_received()
        self.transport.write(b"end")
        self.transport.close()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.lost.set()


@pytest.fixture(params=["uvloop", "asyncio"])
def thread(request: pytest.FixtureRequest) -> Iterator[LoopThread]:
    thread = LoopThread(request.param)
    yield thread
    thread.close()


@versions
def test_the_same_bytes_come_back_at_any_pace(thread: LoopThread, version: ssl.TLSVersion) -> None:
    for seed in range(4):
        echo = Echo(seed)
        side = Side(thread, echo)
        sent = random.Random(seed).randbytes(1_000_000)
        with side.client(version) as client:
            assert exchange(client, sent, random.Random(seed)) == sent
        assert echo.lost.wait(TIMEOUT)
        assert echo.received == sent


def exchange(client: ssl.SSLSocket, data: bytes, pace: random.Random) -> bytes:
    """Send it all, and read as much. By one thread: OpenSSL's objects are for one at a time."""
    client.setblocking(False)
    got = bytearray()
    left = memoryview(data)
    piece = left[:0]
    while len(got) < len(data):
        waits = 0
        try:
            # What would have blocked has to come again as it was.
            piece = piece or left[: pace.choice([1, 1000, 50_000, 400_000])]
            if piece:
                size = client.send(piece)
                piece, left = piece[size:], left[size:]
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            waits += 1
        try:
            got += client.recv(pace.choice([1, 5000, 65536]))
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            waits += 1
        if waits == 2 or (waits and not left):
            readable, writable, _ = select.select([client], [client] * bool(left), [], TIMEOUT)
            assert readable or writable
    client.settimeout(TIMEOUT)
    return bytes(got)


def test_a_half_closed_client_gets_its_answer(thread: LoopThread) -> None:
    """What neither loop's own TLS does. `ssl` has no half-close; memory BIOs have."""
    echo = Echo(0)
    side = Side(thread, echo)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with side.socket as sock:
        sock.settimeout(TIMEOUT)
        while True:
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                sock.sendall(outgoing.read())
                incoming.write(sock.recv(65536))
        client.write(b"question")
        with contextlib.suppress(ssl.SSLWantReadError):
            client.unwrap()
        sock.sendall(outgoing.read())
        got = b""
        while data := sock.recv(65536):
            incoming.write(data)
            with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLZeroReturnError):
                while part := client.read():
                    got += part
    assert got == b"questionend"
    assert echo.lost.wait(TIMEOUT)
    assert echo.told == ["made", "eof", "lost"]


def test_a_client_sees_whether_it_was_an_end_or_a_cut(thread: LoopThread) -> None:
    for end in ("close", "abort"):
        protocol = Echo(0)
        side = Side(thread, protocol)
        with side.client() as client:
            client.sendall(b"x")
            assert client.recv(10) == b"x"
            side.call(getattr(side.transport, end))
            if end == "close":
                assert client.recv(10) == b""
            else:
                with pytest.raises(ssl.SSLEOFError):
                    client.recv(10)
        assert protocol.lost.wait(TIMEOUT)


def test_an_alert_reaches_the_client(thread: LoopThread) -> None:
    protocol = Echo(0)
    side = Side(thread, protocol)
    with side.client() as client:
        client.sendall(b"x")
        assert client.recv(10) == b"x"
        with socket.socket(fileno=client.detach()) as raw:
            raw.settimeout(TIMEOUT)
            raw.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
            assert raw.recv(100)[:1] in (b"\x15", b"\x17")  # 1.3 encrypts alerts too
            assert raw.recv(100) == b""
    assert protocol.lost.wait(TIMEOUT)
    assert "decryption failed" in str(protocol.error)


def test_much_at_once_is_bounded_and_all_of_it_comes(thread: LoopThread) -> None:
    """A client that reads slowly: what waits is what was written, not a second copy of it."""
    protocol = Echo(0)
    side = Side(thread, protocol)
    data = random.Random(1).randbytes(20_000_000)
    with side.client() as client:
        client.sendall(b"x")
        assert client.recv(10) == b"x"
        side.call(lambda: side.transport.write(data))
        assert side.call(lambda: side.transport._plain.get_write_buffer_size()) < 2_000_000
        assert side.call(side.transport.get_write_buffer_size) > 10_000_000
        side.call(side.transport.close)
        got = bytearray()
        while part := client.recv(65536):
            got += part
        assert got == data
    assert protocol.lost.wait(TIMEOUT)


@both_loops
def test_plain_bytes_go_to_who_understands_them(loop: str) -> None:
    thread = LoopThread(loop)
    try:
        protocol = Echo(0)
        side = Side(thread, protocol)
        with side.socket as client:
            client.settimeout(TIMEOUT)
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert client.recv(100) == b"GET / HTTP/1.0\r\n\r\n"
            client.shutdown(socket.SHUT_WR)
            assert client.recv(100) == b"end"
        assert protocol.lost.wait(TIMEOUT)
        assert side.failed == []
    finally:
        thread.close()

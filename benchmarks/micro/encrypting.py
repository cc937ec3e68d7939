"""A small exchange over TLS: by our transport, and by OpenSSL's own objects alone.

Both have a client's half in them, which encrypts the request and decrypts the answer: the
difference is what our transport, and Python's way to OpenSSL, add to it.
"""

from __future__ import annotations

import asyncio
import ssl
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, suppress
from itertools import repeat
from pathlib import Path
from typing import Any, cast

from benchmarks.harness import certificates

from .benchmark import Opened

__all__ = ["ANSWER", "REQUEST", "Answering", "contexts", "open_bare", "open_transport"]

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nhello, world\n"


class Client:
    """A client's half, in memory.

    :param deliver: gives the server's half what it sends, and returns what comes back.
    """

    def __init__(self, context: ssl.SSLContext, deliver: Callable[[bytes], bytes]) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")
        self._deliver = deliver

    def shake_hands(self) -> None:
        for _ in range(3):
            with suppress(ssl.SSLWantReadError):
                self._object.do_handshake()
            sent = self._outgoing.read()
            if sent:
                self._incoming.write(self._deliver(sent))

    def ask(self) -> bytes:
        self._object.write(REQUEST)
        self._incoming.write(self._deliver(self._outgoing.read()))
        return self._object.read(65536)


def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's, with a certificate of its own making, and a client's that trusts it."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        certificates.make(directory)
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(directory / certificates.CERTIFICATE, directory / certificates.KEY)
        client = ssl.create_default_context(cafile=directory / certificates.CERTIFICATE)
    return server, client


def _opened(client: Client) -> Opened:
    client.shake_hands()

    def run(count: int) -> object:
        ask = client.ask
        answer = b""
        for _ in repeat(None, count):
            answer = ask()
        return answer

    return Opened(run, lambda answer: answer == ANSWER)


def open_bare(stack: ExitStack) -> Opened:
    """By OpenSSL's objects alone: four calls, and one that finds no more to read."""
    context, clients = contexts()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(incoming, outgoing, server_side=True)
    state = {"is_flowing": False}

    def deliver(data: bytes) -> bytes:
        incoming.write(data)
        if state["is_flowing"]:
            server.read(16384)
            server.write(ANSWER)
            return outgoing.read()
        with suppress(ssl.SSLWantReadError):
            server.do_handshake()
            state["is_flowing"] = True
        return outgoing.read()

    return _opened(Client(clients, deliver))


class Answering(asyncio.Protocol):
    """Answers each read."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._transport.write(ANSWER)

    # --- where it is our TLS that asks for it

    def connection_begins(self, transport: object) -> None:
        pass

    def handshake_begins(self) -> None:
        pass

    def handshake_done(self, transport: object) -> asyncio.Protocol:
        return self

    def handshake_failed(self, why: str) -> None:
        pass  # its client says so too

    def without_tls(self, plain: asyncio.Transport) -> asyncio.Protocol:
        raise AssertionError("the client speaks TLS")


class Plain(asyncio.Transport):
    """A plain transport that keeps what is written until it is fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: Any) -> None:
        self.written += data

    def fetch(self) -> bytes:
        written, self.written = self.written, b""
        return written


def open_transport(stack: ExitStack) -> Opened:
    """By our transport, beneath a protocol that only answers."""
    from wsgi_async.tls.transport import TLSTransport

    context, clients = contexts()
    loop = asyncio.SelectorEventLoop()
    stack.callback(loop.close)
    transport, plain = TLSTransport(loop, context, Answering()), Plain()
    transport.connection_made(plain)

    def deliver(data: bytes) -> bytes:
        transport.data_received(data)
        return plain.fetch()

    return _opened(Client(clients, deliver))

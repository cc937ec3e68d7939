"""A TLS transport on a fake one, and a client of OpenSSL's at its other end, in memory."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ssl
from collections.abc import Callable
from typing import Any, cast

from certificates import authority, local_pair

from wsgi_async.testing import FakeLoop, FakeTransport
from wsgi_async.tls.transport import TLSTransport

__all__ = ["TLS_1_2", "TLS_1_3", "Recording", "Secure", "client_context", "server_context"]

TLS_1_2, TLS_1_3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


@functools.cache
def server_context() -> ssl.SSLContext:
    """One with a certificate for this machine."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pair = local_pair()
    context.load_cert_chain(pair.certificate, pair.key)
    return context


@functools.cache
def client_context(version: ssl.TLSVersion = TLS_1_3) -> ssl.SSLContext:
    """One that speaks this version alone."""
    return authority().client(lowest=version, highest=version)


class Recording(asyncio.Protocol):
    """Keeps what its transport tells."""

    stays = True
    """Whether it goes on once the client has ended."""

    def __init__(self) -> None:
        self.transport = cast("asyncio.Transport", None)
        self.received = bytearray()
        self.told: list[str] = []
        self.error: Exception | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.told.append("made")

    def data_received(self, data: bytes) -> None:
        assert data
        self.received += data

    def eof_received(self) -> bool:
        self.told.append("eof")
        return self.stays

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.told.append("lost")
        self.error = exc


class Secure:
    """Both sides of a connection.

    :param protocol: that of the server's side.
    :param make: makes the server's transport, of the loop, the context and the owner: this.
    """

    def __init__(
        self,
        protocol: asyncio.Protocol | None = None,
        *,
        version: ssl.TLSVersion = TLS_1_3,
        context: ssl.SSLContext | None = None,
        client: ssl.SSLContext | None = None,
        session: ssl.SSLSession | None = None,
        make: Callable[..., TLSTransport] = TLSTransport,
        **plain: Any,
    ) -> None:
        self.loop = FakeLoop()
        self.protocol = protocol if protocol is not None else Recording()
        self.told: list[str] = []
        self.without: list[asyncio.Protocol] = []
        self.transport = make(self.loop, context or server_context(), self)
        self.plain = FakeTransport(self.loop, self.transport, **plain)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = client or client_context(version)
        self.client = client.wrap_bio(
            self.incoming, self.outgoing, server_hostname="localhost", session=session
        )
        self._seen = 0
        self.got = bytearray()
        """What the client has read."""

    # --- the server's side -----------------------------------------------------------------------

    def connection_begins(self, transport: TLSTransport) -> None:
        self.told.append("begins")

    def handshake_begins(self) -> None:
        self.told.append("shakes")

    def handshake_done(self, transport: TLSTransport) -> asyncio.Protocol:
        self.told.append("done")
        return self.protocol

    def handshake_failed(self, why: str) -> None:
        self.told.append(f"failed: {why}")

    def without_tls(self, plain: asyncio.Transport) -> asyncio.Protocol:
        self.without.append(Recording())
        return self.without[-1]

    # --- the client's ----------------------------------------------------------------------------

    def flight(self) -> bytes:
        """What the client has to send, once it has read what has come."""
        self.arrive()
        with contextlib.suppress(ssl.SSLWantReadError):
            self.client.do_handshake()
        return self.outgoing.read()

    def arrive(self) -> None:
        """What the server has sent reaches the client."""
        sent = self.plain.sent
        self.incoming.write(sent[self._seen :])
        self._seen = len(sent)

    def shake_hands(self, send: Callable[[bytes], object] | None = None) -> Secure:
        """All of the handshake."""
        send = send or self.plain.receive
        while flight := self.flight():
            send(flight)
        assert self.told[-1] == "done", self.told
        return self

    def encrypted(self, data: bytes) -> bytes:
        """These bytes as the client sends them."""
        if data:
            self.client.write(data)
        return self.outgoing.read()

    def send(self, data: bytes) -> None:
        self.plain.receive(self.encrypted(data))

    def close_notify(self) -> bytes:
        """The client's, which has read all that has come."""
        self.read()
        with contextlib.suppress(ssl.SSLError):
            self.client.unwrap()
        return self.outgoing.read()

    def read(self) -> str:
        """Have the client read all there is: ``open``, ``ended`` (by close_notify), or why not."""
        self.arrive()
        try:
            while part := self.client.read(65536):
                self.got += part
        except ssl.SSLWantReadError:
            return "open"
        except ssl.SSLZeroReturnError:
            return "ended"
        except ssl.SSLError as error:
            return str(error.reason)
        return "ended"

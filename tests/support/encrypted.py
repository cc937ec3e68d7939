"""A socket's face over TLS, whose every record a test can hold, change, and end in its own way."""

from __future__ import annotations

import contextlib
import enum
import select
import socket
import ssl
import struct
from typing import Any

__all__ = ["Cut", "Encrypted", "Record", "records"]

MOST = 65536
"""Bytes of one read from the wire."""


class Record(enum.IntEnum):
    """Kinds of record (RFC 8446 §5.1)."""

    CHANGE = 20
    ALERT = 21
    HANDSHAKE = 22
    DATA = 23


class Cut(ConnectionResetError):
    """TCP has ended without a ``close_notify``: what came before may not be all."""


def records(data: bytes) -> list[tuple[int, bytes]]:
    """Whole records of TLS: what each says that it is, and its bytes with their head."""
    found: list[tuple[int, bytes]] = []
    while data:
        kind, _, size = struct.unpack("!BHH", data[:5])
        assert len(data) >= 5 + size, "a record is cut"
        found.append((kind, data[: 5 + size]))
        data = data[5 + size :]
    return found


class Encrypted:
    """The client's side of TLS over a connected socket; used in place of it.

    An `SSLSocket` cannot say ``close_notify`` and read on, nor tell how TCP has ended.

    :param wire: connected, with a timeout; closed with this.
    :param context: the client's.
    :param name: asked for as SNI, and what the certificate must be for; None for no SNI.
    :param session: one to resume.
    :param shakes_hands: whether the handshake is made at once.
    """

    def __init__(
        self,
        wire: socket.socket,
        context: ssl.SSLContext,
        name: str | None = "localhost",
        *,
        session: ssl.SSLSession | None = None,
        shakes_hands: bool = True,
    ) -> None:
        self.wire = wire
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._in, self._out, server_hostname=name, session=session)
        self._early = b""  # read by is_silent
        self._ended = False
        self.said_goodbye = False
        """Whether the server has said ``close_notify``."""
        if shakes_hands:
            self.shake_hands()

    def shake_hands(self) -> None:
        """The whole handshake.

        :raises ssl.SSLError: it has failed.
        """
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                self._fetch()
            else:
                self._flush()
                return

    def begin(self) -> bytes:
        """The first flight of the client, not sent."""
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return self._out.read()
        raise AssertionError("a handshake of one side")

    # --- as a socket

    def sendall(self, data: bytes) -> None:
        self.wire.sendall(self.encrypt(data))

    send = sendall

    def recv(self, size: int) -> bytes:
        """What has come, at most `size` bytes; b"" after the server's ``close_notify``.

        :raises Cut: TCP has ended without one.
        """
        if self._early:
            data, self._early = self._early[:size], self._early[size:]
            return data
        while True:
            try:
                data = self.tls.read(size)
            except ssl.SSLWantReadError:
                # What OpenSSL answers by itself (KeyUpdate) goes first.
                self._flush()
                self._fetch()
            except ssl.SSLZeroReturnError:
                data = b""
                break
            except ssl.SSLEOFError as error:
                raise Cut(str(error)) from None
            else:
                break
        if not data:
            self.said_goodbye = True
        return data

    def is_silent(self) -> bool:
        """Whether nothing has come but what TLS has to say by itself; nothing is waited for."""
        poll = select.poll()
        poll.register(self.wire, select.POLLIN)
        while not self._early:
            try:
                self._early = self.tls.read(MOST)
            except ssl.SSLWantReadError:
                if not poll.poll(0):
                    return True
                self._fetch()
            except ssl.SSLError:  # it has ended
                break
            else:
                break
        return False

    def shutdown(self, how: int) -> None:
        """Say ``close_notify``, as far as the client's side is ended; TCP stays as it is."""
        if how != socket.SHUT_RD:
            self.wire.sendall(self.goodbye())

    def close(self) -> None:
        self.wire.close()

    def fileno(self) -> int:
        return self.wire.fileno()

    def settimeout(self, value: float | None) -> None:
        self.wire.settimeout(value)

    def setsockopt(self, *args: Any) -> None:
        self.wire.setsockopt(*args)

    def getsockname(self) -> Any:
        return self.wire.getsockname()

    def getpeername(self) -> Any:
        return self.wire.getpeername()

    # --- beneath

    def encrypt(self, data: bytes) -> bytes:
        """The records of `data`, not sent."""
        self.tls.write(data)
        return self._out.read()

    def goodbye(self) -> bytes:
        """A ``close_notify``, not sent."""
        with contextlib.suppress(ssl.SSLWantReadError):  # the server's has not come
            self.tls.unwrap()
        return self._out.read()

    def decrypt(self, data: bytes) -> bytes:
        """What came by another way than :meth:`recv`."""
        self._in.write(data)
        parts: list[bytes] = []
        while True:
            try:
                part = self.tls.read(MOST)
            except (ssl.SSLWantReadError, ssl.SSLZeroReturnError):
                return b"".join(parts)
            if not part:
                return b"".join(parts)
            parts.append(part)

    def _flush(self) -> None:
        data = self._out.read()
        if data:
            self.wire.sendall(data)

    def _fetch(self) -> None:
        data = self.wire.recv(MOST)
        if data:
            self._in.write(data)
        elif self._ended:
            raise Cut("the connection has ended, and was read on")
        else:
            self._ended = True
            self._in.write_eof()

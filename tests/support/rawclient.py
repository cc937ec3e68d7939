"""A client of raw sockets: sends any bytes, reads responses strictly (h11 is the judge)."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
from collections.abc import Iterator
from typing import NamedTuple

import h11
from encrypted import Encrypted

__all__ = ["TIMEOUT", "Address", "RawClient", "Response", "request"]

TIMEOUT = 25.0
"""Seconds after which a test gives up waiting; never waited for when all is well."""

Address = tuple[str, int] | str
"""``(host, port)``, or a unix socket's path, ``\\0name`` in the abstract namespace."""


class Response(NamedTuple):
    """One response, its body decoded."""

    status: int
    reason: str
    fields: dict[str, str]
    """By lower-case name; repeated fields joined with ``, ``."""
    body: bytes


def request(
    target: str = "/", method: str = "GET", *, body: bytes = b"", fields: tuple[str, ...] = ()
) -> bytes:
    """A plain request as bytes; `fields` are lines such as ``"Connection: close"``."""
    lines = [f"{method} {target} HTTP/1.1", "Host: test", *fields]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


class RawClient:
    """One connection. Every operation ends with an error after :data:`TIMEOUT`.

    :param address: where to connect.
    :param receive_buffer: SO_RCVBUF in bytes, so that a client that does not read soon holds the
        server up; set before connecting.
    :param tls: a client's context, to speak TLS: ends and resets are then those of TLS.
    :param name: asked for as SNI.
    :param opening: sent before TLS begins.
    """

    socket: socket.socket | Encrypted

    def __init__(
        self,
        address: Address,
        *,
        receive_buffer: int | None = None,
        tls: ssl.SSLContext | None = None,
        name: str | None = "localhost",
        opening: bytes = b"",
    ) -> None:
        if isinstance(address, str):
            family = socket.AF_UNIX
        else:
            family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self._received = bytearray()
        try:
            self.socket.settimeout(TIMEOUT)
            if receive_buffer is not None:
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            self.socket.connect(address)
            if opening:
                self.socket.sendall(opening)
            if tls is not None:
                self.socket = Encrypted(self.socket, tls, name)
        except BaseException:
            self.socket.close()
            raise

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def reset(self) -> None:
        """Close so that the server sees a reset, not an end."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def half_close(self) -> None:
        """Send no more; go on reading."""
        self.socket.shutdown(socket.SHUT_WR)

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def get(self, target: str = "/") -> Response:
        """A whole exchange."""
        self.send(request(target))
        return self.response()

    def response(self, method: str = "GET") -> Response:
        """The next final response; interim ones are skipped.

        :raises h11.RemoteProtocolError: it is not HTTP, or was cut.
        """
        head: h11.Response | None = None
        body: list[bytes] = []
        for event in self._events(method):
            if isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body.append(bytes(event.data))
        assert head is not None
        fields: dict[str, str] = {}
        for raw_name, raw_value in head.headers:
            name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
            fields[name] = f"{fields[name]}, {value}" if name in fields else value
        return Response(head.status_code, head.reason.decode("latin-1"), fields, b"".join(body))

    def _events(self, method: str) -> Iterator[h11.Event]:
        judge = h11.Connection(h11.CLIENT)
        judge.send(h11.Request(method=method, target="/", headers=[("Host", "test")]))
        judge.send(h11.EndOfMessage())
        if self._received:
            judge.receive_data(bytes(self._received))
            self._received.clear()
        while True:
            event = judge.next_event()
            if event is h11.NEED_DATA:
                judge.receive_data(self.socket.recv(65536))
                continue
            assert isinstance(event, h11.Event)
            yield event
            if isinstance(event, h11.EndOfMessage):
                self._received = bytearray(judge.trailing_data[0])
                return

    def receive(self, size: int) -> bytes:
        """Exactly `size` bytes.

        :raises EOFError: the server closed before.
        """
        while len(self._received) < size:
            self._receive_more()
        data = bytes(self._received[:size])
        del self._received[:size]
        return data

    def read_until(self, marker: bytes) -> bytes:
        """Everything up to and with `marker`."""
        start = 0
        while (found := self._received.find(marker, start)) < 0:
            start = max(0, len(self._received) - len(marker))
            self._receive_more()
        return self.receive(found + len(marker))

    def _receive_more(self) -> None:
        data = self.socket.recv(65536)
        if not data:
            raise EOFError(bytes(self._received[-200:]))
        self._received += data

    def read_to_end(self) -> bytes:
        """Everything until the server closes.

        :raises ConnectionResetError: it reset the connection.
        """
        while data := self.socket.recv(65536):
            self._received += data
        return self.receive(len(self._received))

    def pieces(self) -> Iterator[bytes]:
        """The same, piece by piece."""
        if self._received:
            yield self.receive(len(self._received))
        while data := self.socket.recv(65536):
            yield data

    def is_dropped(self) -> bool:
        """Wait for the end of the connection, orderly or not; True unless bytes came instead."""
        with contextlib.suppress(ConnectionResetError):
            return not self._received and self.socket.recv(1) == b""
        return True

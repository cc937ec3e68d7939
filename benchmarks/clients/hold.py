"""Opens many connections, makes one request on each, and keeps them."""

from __future__ import annotations

import argparse
import contextlib
import resource
import select
import selectors
import socket
import ssl
import time

from benchmarks.clients import secure, wire

__all__ = ["Holder"]

TOGETHER = 64
"""Connections that are being made or wait for their answer at a time."""
STALLED = 1.5
"""Seconds without an answer after which the server is held to be full."""
FILLING = 15.0
"""Seconds for making them all. What is not made by then counts as refused."""
LONGEST = 120.0
"""Seconds."""


class Holder:
    """Kept connections: each has had one answer.

    :ivar refused: how many were not made, closed, or not answered.
    """

    def __init__(self, port: int, tls: bool = False) -> None:
        self.kept: list[socket.socket] = []
        self.refused = 0
        self._port = port
        self._context = secure.context() if tls else None
        self._selector = selectors.DefaultSelector()

    def fill(self, connections: int, seconds: float) -> None:
        """Make so many, or as many as there can be, in so many seconds at most."""
        wanted = connections
        end = time.monotonic() + seconds
        while wanted or self._selector.get_map():
            while wanted and len(self._selector.get_map()) < TOGETHER:
                wanted -= 1
                self._begin()
            events = self._selector.select(STALLED)
            if not events or time.monotonic() > end:
                break
            for key, _ in events:
                self._answer(key.fileobj, key.data)  # type: ignore[arg-type]
        self.refused += wanted
        for key in list(self._selector.get_map().values()):
            self._refuse(key.fileobj)  # type: ignore[arg-type]

    def drop_closed(self) -> int:
        """Forget those that the server closed meanwhile; how many there still are."""
        poll = select.poll()
        by_number = {sock.fileno(): sock for sock in self.kept}
        for number in by_number:
            poll.register(number, select.POLLIN)
        for number, _ in poll.poll(0):
            sock = by_number.pop(number)
            sock.close()
            self.refused += 1
        self.kept = list(by_number.values())
        return len(self.kept)

    def close(self) -> None:
        for sock in self.kept:
            wire.abort(sock)
        self.kept.clear()

    def _begin(self) -> None:
        try:
            sock = wire.connect(self._port, timeout=STALLED)
            if self._context is not None:
                sock = secure.secured(sock, self._context)
        except OSError:
            self.refused += 1
            return
        try:
            sock.sendall(wire.request())
            sock.setblocking(False)
        except OSError:
            self.refused += 1
            sock.close()
            return
        self._selector.register(sock, selectors.EVENT_READ, bytearray())

    def _answer(self, sock: socket.socket, received: bytearray) -> None:
        """Small as it is, an answer comes in one piece, or its head and then its body.

        :param received: what came before; what comes now is added.
        """
        head = None
        with contextlib.suppress(OSError, ValueError):
            try:
                while piece := sock.recv(65536):
                    received += piece
                    if not isinstance(sock, ssl.SSLSocket):
                        break  # over TLS there may be another record, which select does not see
            except secure.UNREADY:
                piece = b"nothing yet"
            parsed = wire.Head.parse(received)
            if piece and parsed is None:
                return
            if parsed is not None:
                head, size = parsed
                if head.length is not None and len(received) < size + head.length:
                    if piece:
                        return
                    head = None
        if head is None or head.status != 200 or head.close:
            self._refuse(sock)
            return
        self._selector.unregister(sock)
        self.kept.append(sock)

    def _refuse(self, sock: socket.socket) -> None:
        self._selector.unregister(sock)
        wire.abort(sock)
        self.refused += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--connections", type=int, required=True)
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    holder = Holder(options.port, options.tls)
    holder.fill(options.connections, seconds=FILLING)
    wire.say(held=holder.drop_closed(), refused=holder.refused)
    wire.until_told(LONGEST)
    wire.say(held=holder.drop_closed(), refused=holder.refused)
    holder.close()


if __name__ == "__main__":
    main()

"""Asks on a new TLS connection each time, with a full handshake, over some connections at once."""

from __future__ import annotations

import argparse
import selectors
import ssl
import time
from collections.abc import Iterator

from benchmarks.clients import secure, wire
from benchmarks.clients.mix import percentile

__all__ = ["Visit", "run"]

TIMEOUT = 5.0
"""Seconds for a connection to be made, and without anything from the server."""
MOST_ERRORS = 100
REQUEST = wire.request().replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")


class Visit:
    """One connection: handshake, request, response.

    :raises OSError: there is no connection.
    """

    def __init__(self, port: int, context: ssl.SSLContext, body: bytes) -> None:
        self.begun = time.perf_counter()
        self.sock = context.wrap_socket(
            wire.connect(port, timeout=TIMEOUT), do_handshake_on_connect=False
        )
        self.sock.setblocking(False)
        self._body = body
        self._steps = self._visit()

    def step(self) -> bool:
        """Go on, as far as there is something to read; whether that was the end.

        :raises OSError: the connection failed.
        :raises ValueError: the response is not the right one.
        """
        return next(self._steps)

    def _visit(self) -> Iterator[bool]:
        yield from self._until_done()
        if self.sock.session_reused:
            raise ValueError("the server went on with a session instead of a new handshake")
        self.sock.sendall(REQUEST)  # fits into the buffer of a connection with nothing to send
        received = b""
        while True:
            try:
                piece = self.sock.recv(65536)
            except secure.UNREADY:
                yield False
                continue
            received += piece
            parsed = wire.Head.parse(received)
            if parsed is None:
                if not piece:
                    raise ConnectionError("closed before a response")
                continue
            head, size = parsed
            complete = not piece if head.length is None else len(received) - size >= head.length
            if complete:
                break
            if not piece:
                raise ConnectionError("closed before the end of a response")
        if head.status != 200 or received[size:] != self._body:
            raise ValueError(f"status {head.status}, {received[size : size + 80]!r}")
        self.sock.close()
        yield True

    def _until_done(self) -> Iterator[bool]:
        while True:
            try:
                self.sock.do_handshake()
                return
            except secure.UNREADY:
                yield False


class Visits:
    """So many at once, until the time is over."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.times: list[float] = []
        self.errors = 0
        self._port: int = options.port
        self._body: bytes = options.body.encode("ascii")
        self._context = secure.context()
        self._selector = selectors.DefaultSelector()

    def begin(self) -> None:
        """:raises OSError: the server does not take connections any more."""
        visit = Visit(self._port, self._context, self._body)
        self._selector.register(visit.sock, selectors.EVENT_READ, visit)
        self.go_on(visit)

    def go_on(self, visit: Visit) -> None:
        """:raises ValueError: a response was wrong."""
        number = visit.sock.fileno()
        try:
            if not visit.step():
                return
            self.times.append(time.perf_counter() - visit.begun)
        except OSError:
            self.errors += 1
        # By its number: it has closed itself.
        self._selector.unregister(number)
        visit.sock.close()

    def work(self, deadline: float, connections: int) -> None:
        """:raises ValueError: a response was wrong."""
        while self.errors < MOST_ERRORS and (left := deadline - time.perf_counter()) > 0:
            try:
                while len(self._selector.get_map()) < connections:
                    self.begin()
            except OSError:
                self.errors += 1
                continue
            for key, _ in self._selector.select(left):
                self.go_on(key.data)

    def close(self) -> None:
        for key in list(self._selector.get_map().values()):
            wire.abort(key.data.sock)
        self._selector.close()


def run(options: argparse.Namespace) -> dict[str, float]:
    """:raises ValueError: a response was wrong."""
    visits = Visits(options)
    begun, used = time.perf_counter(), time.process_time()
    try:
        visits.work(begun + options.seconds, options.connections)
    finally:
        seconds, used = time.perf_counter() - begun, time.process_time() - used
        visits.close()
    found = {
        "answers": float(len(visits.times)),
        "errors": float(visits.errors),
        "seconds": seconds,
        "busy": used / seconds,
    }
    for name, part in (("p50", 0.5), ("p99", 0.99)):
        if visits.times:
            found[name] = percentile(visits.times, part) * 1000
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--tls", action="store_true", required=True, help="which it does anyway")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--body", required=True, help="of a right response")
    options = parser.parse_args()
    wire.run_and_say(run, options)


if __name__ == "__main__":
    main()

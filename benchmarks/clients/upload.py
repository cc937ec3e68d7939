"""Uploads the same body again and again over a few connections, as fast as it can."""

from __future__ import annotations

import argparse
import contextlib
import socket
import threading
import time

from benchmarks.clients import wire

__all__ = ["run"]

PIECE = memoryview(bytes(1 << 20))
OVERTIME = 15.0
"""Seconds that uploads may take which were begun in time."""
MOST_ERRORS = 10
"""Of one connection."""


class Uploads:
    """What the connections have done together. All methods: any thread."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.count = 0
        self.errors = 0
        self.wrong: str | None = None
        self.begun = self.ended = time.perf_counter()
        self.used = time.process_time()
        """CPU time of this process before them: its start is no part of the load."""
        self._lock = threading.Lock()
        self._port: int = options.port
        self._size: int = options.size
        self._until: float = self.begun + options.seconds
        self._last: float = self._until + OVERTIME

    def work(self) -> None:
        """Upload on one connection at a time until the time is over."""
        failed = 0
        sock: socket.socket | None = None
        while time.perf_counter() < self._until and failed < MOST_ERRORS and not self.wrong:
            try:
                if sock is None:
                    sock = wire.connect(self._port, timeout=self._left())
                reusable = self._upload(sock)
            except OSError:
                failed += 1
                reusable = False
            except ValueError as error:
                self.wrong = str(error)
                reusable = False
            if not reusable and sock is not None:
                wire.abort(sock)
                sock = None
        if sock is not None:
            wire.abort(sock)
        with self._lock:
            self.errors += failed

    def _left(self) -> float:
        return max(0.1, self._last - time.perf_counter())

    def _upload(self, sock: socket.socket) -> bool:
        """One upload; whether the connection can be used again.

        :raises OSError: the connection failed or was too slow.
        :raises ValueError: the answer is wrong.
        """
        sock.sendall(wire.request(method="POST", body_size=self._size))
        left = self._size
        with contextlib.suppress(BrokenPipeError):  # then there may be an answer already
            while left:
                sock.settimeout(self._left())
                piece = PIECE[: min(left, len(PIECE))]
                sock.sendall(piece)
                left -= len(piece)
        head, body = _response(sock)
        if head.status != 200 or body != b"%d" % self._size:
            raise ValueError(f"status {head.status}, {body[:80]!r}")
        with self._lock:
            self.count += 1
            self.ended = time.perf_counter()
        return not head.close


def _response(sock: socket.socket) -> tuple[wire.Head, bytes]:
    """A small response with a Content-Length, or one that ends with the connection."""
    received = bytearray()
    while True:
        parsed = wire.Head.parse(received)
        if parsed is not None:
            head, size = parsed
            if head.length is not None and len(received) - size >= head.length:
                return head, bytes(received[size : size + head.length])
        piece = sock.recv(65536)
        if piece:
            received += piece
        elif parsed is not None and head.length is None:
            return head, bytes(received[size:])
        else:
            raise ConnectionError("closed before the end of a response")


def run(options: argparse.Namespace) -> dict[str, float]:
    """:raises ValueError: a response was wrong."""
    uploads = Uploads(options)
    threads = [threading.Thread(target=uploads.work) for _ in range(options.connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if uploads.wrong:
        raise ValueError(uploads.wrong)
    return {
        "bytes": uploads.count * options.size,
        "errors": uploads.errors,
        "seconds": uploads.ended - uploads.begun,
        "busy": (time.process_time() - uploads.used) / (time.perf_counter() - uploads.begun),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--size", type=int, required=True, help="of the body, in bytes")
    options = parser.parse_args()
    wire.run_and_say(run, options)


if __name__ == "__main__":
    main()

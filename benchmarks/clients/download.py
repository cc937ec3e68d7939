"""Downloads the same body again and again over a few connections, as fast as it can."""

from __future__ import annotations

import argparse
import contextlib
import selectors
import socket
import time

from benchmarks.clients import secure, wire

__all__ = ["Body", "Download", "run"]

LAST_CHUNK = b"\r\n0\r\n\r\n"
OVERHEAD = 1.05
"""How many times longer a body may be by its chunks' frames."""
MOST_ERRORS = 100


class Body:
    """The body of a response as it arrives: when it ends, and whether it is the right one.

    :param size: how long it has to be, in bytes and without frames.
    :param end: its last bytes.
    """

    def __init__(self, head: wire.Head, size: int, end: bytes) -> None:
        self._head = head
        self._size = size
        self._end = end
        self._count = 0
        self._tail = b""

    def receive(self, piece: memoryview) -> bool:
        """Take a piece; whether the body ends with it."""
        self._count += len(piece)
        kept = len(self._end) + len(LAST_CHUNK)
        self._tail = (self._tail + bytes(piece[-kept:]))[-kept:]
        if self._head.chunked:
            return self._tail.endswith(LAST_CHUNK)
        return self._head.length is not None and self._count >= self._head.length

    def check(self) -> None:
        """:raises ValueError: size or end are not as they must be."""
        framed = self._head.chunked
        tail = self._tail.removesuffix(LAST_CHUNK) if framed else self._tail
        most = self._size * OVERHEAD + 1024 if framed else self._size
        if not self._size <= self._count <= most or not tail.endswith(self._end):
            raise ValueError(f"a body of {self._count} bytes that ends with {tail!r}")


class Download:
    """One connection, registered with a selector, and the response that is read from it."""

    def __init__(self, selector: selectors.BaseSelector, options: argparse.Namespace) -> None:
        self._selector = selector
        self._port = options.port
        self._context = secure.context() if options.tls else None
        self._size = options.size
        self._end = options.end.encode("ascii")
        self._request = wire.request(options.path)
        self._received = bytearray()
        """What came of a head."""
        self._head: wire.Head | None = None
        self._body: Body | None = None
        self._sock: socket.socket | None = None

    def begin(self) -> None:
        """Ask, on a new connection if there is none.

        :raises OSError: it fails.
        """
        self._head = self._body = None
        self._received.clear()
        if self._sock is None:
            self._sock = wire.connect(self._port, timeout=5)
            if self._context is not None:
                self._sock = secure.secured(self._sock, self._context)
            self._sock.sendall(self._request)
            self._sock.setblocking(False)
            self._selector.register(self._sock, selectors.EVENT_READ, self)
        else:  # a small request fits into the buffer of a connection with nothing to send
            self._sock.sendall(self._request)

    def close(self) -> None:
        if self._sock is not None:
            self._selector.unregister(self._sock)
            wire.abort(self._sock)
            self._sock = None

    def step(self, buffer: memoryview) -> int:
        """Read once, over TLS a record at most, and ask anew after the end of a response.

        :returns: the bytes that were read.
        :raises OSError: the connection failed.
        :raises ValueError: the response is not the right one.
        """
        assert self._sock is not None
        try:
            count = self._sock.recv_into(buffer)
        except secure.UNREADY:  # a part of a record
            return 0
        if count == 0:
            if self._body is None:
                raise ConnectionError("closed before a response")
            self._end_of_response(reusable=False)
            return 0
        piece = buffer[:count]
        if self._body is None:
            self._received += piece
            parsed = wire.Head.parse(self._received)
            if parsed is None:
                return count
            self._head, size = parsed
            if self._head.status != 200:
                raise ValueError(f"status {self._head.status}")
            self._body = Body(self._head, self._size, self._end)
            piece = memoryview(bytes(self._received))[size:]
        if self._body.receive(piece):
            assert self._head is not None
            self._end_of_response(reusable=not self._head.close)
        return count

    def _end_of_response(self, reusable: bool) -> None:
        assert self._body is not None
        self._body.check()
        if not reusable:
            self.close()
        self.begin()


def run(options: argparse.Namespace) -> dict[str, float]:
    """:raises ValueError: a response was wrong."""
    buffer = memoryview(bytearray(1 << 18))
    selector = selectors.DefaultSelector()
    downloads = [Download(selector, options) for _ in range(options.connections)]
    received = errors = 0
    begun, used = time.perf_counter(), time.process_time()
    deadline = begun + options.seconds
    try:
        for download in downloads:
            download.begin()
        while errors < MOST_ERRORS and (left := deadline - time.perf_counter()) > 0:
            for key, _ in selector.select(left):
                try:
                    received += key.data.step(buffer)
                except OSError:
                    errors += 1
                    key.data.close()
                    key.data.begin()
    except OSError:  # it does not take connections any more
        errors += 1
    finally:
        seconds = time.perf_counter() - begun
        for download in downloads:
            with contextlib.suppress(KeyError):
                download.close()
    return {
        "bytes": received,
        "errors": errors,
        "seconds": seconds,
        "busy": (time.process_time() - used) / seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--path", default="/")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--size", type=int, required=True, help="of the body, in bytes")
    parser.add_argument("--end", required=True, help="last characters of the body")
    options = parser.parse_args()
    wire.run_and_say(run, options)


if __name__ == "__main__":
    main()

"""``python -m benchmarks.micro.tls_layers``: our TLS beside that of the loops themselves.

What one thread takes of a processor for an exchange of a few bytes and for a megabyte, each on a
connection that is kept, and for a handshake with its connection: a client in a process of its own
asks, the loop answers from memory, and nothing else of the server is there. The layers take turns;
compare within one run. The last column is ours by that loop's own.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import ssl
import statistics
import sys
import time
import traceback
from collections.abc import Callable

from wsgi_async.system.event_loop import new_event_loop
from wsgi_async.tls.transport import TLSTransport

from .encrypting import ANSWER, REQUEST, Answering, contexts

__all__ = ["main"]

LARGE = b"GET /1m HTTP/1.1\r\nHost: a\r\n\r\n"
BLOCK = bytes(64 * 1024)
BLOCKS = 16
TIMEOUT = 60.0


class TimedAnswering(Answering):
    """Answers each read: with a few bytes, or with a megabyte as a file is sent, block by block."""

    first_at: float | None = None
    """The thread's processor time as the first request of a run came."""

    _left = 0
    _is_writable = True

    def data_received(self, data: bytes) -> None:
        if TimedAnswering.first_at is None:
            TimedAnswering.first_at = time.thread_time()
        if data == LARGE:
            self._left = BLOCKS
            self._send()
        else:
            self._transport.write(ANSWER)

    def _send(self) -> None:
        while self._left and self._is_writable:
            self._left -= 1
            self._transport.write(BLOCK)

    def pause_writing(self) -> None:
        self._is_writable = False

    def resume_writing(self) -> None:
        self._is_writable = True
        self._send()


class Layer:
    """A loop of one kind that serves, by one kind of TLS or by none.

    :param kind: of the loop: ``uvloop`` or ``asyncio``.
    :param context: None for no TLS.
    """

    def __init__(self, kind: str, context: ssl.SSLContext | None, *, is_ours: bool) -> None:
        self.loop = new_event_loop() if kind == "uvloop" else asyncio.SelectorEventLoop()
        self.name = f"{kind}, {'plain' if context is None else 'ours' if is_ours else 'its own'}"
        self._context = context
        self._is_ours = is_ours
        self._read, self._written = os.pipe()
        self.loop.add_reader(self._read, self._client_has_ended)

    def connect(self, sock: socket.socket) -> None:
        """Serve a connection."""
        sock.setblocking(False)
        self.loop.create_task(self._connect(sock))

    async def _connect(self, sock: socket.socket) -> None:
        connect, context = self.loop.connect_accepted_socket, self._context
        if context is None:
            await connect(TimedAnswering, sock)
        elif self._is_ours:
            await connect(lambda: TLSTransport(self.loop, context, TimedAnswering()), sock)
        else:
            await connect(TimedAnswering, sock, ssl=context)

    def run(
        self, client: Callable[[], object], sockets: list[socket.socket], *, requests_only: bool
    ) -> float:
        """Processor seconds of this thread until the client, in a process of its own, has ended.

        :param requests_only: from the first request on, else from the beginning.
        """
        pid = os.fork()
        if not pid:
            code = 1
            try:
                client()
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os.write(self._written, b"x")
                os._exit(code)
        for sock in sockets:
            self.connect(sock)
        before, TimedAnswering.first_at = time.thread_time(), None
        self.loop.run_forever()
        ended = time.thread_time()
        _, status = os.waitpid(pid, 0)
        if status:
            raise SystemExit("the client has failed")
        asked = TimedAnswering.first_at if requests_only else None
        return ended - (asked or before)

    def _client_has_ended(self) -> None:
        os.read(self._read, 1)
        self.loop.stop()

    def close(self) -> None:
        """Close the loop."""
        self.loop.remove_reader(self._read)
        self.loop.close()
        os.close(self._read)
        os.close(self._written)


def _asking(
    sock: socket.socket, context: ssl.SSLContext | None, request: bytes, size: int, count: int
) -> None:
    """So many requests on one connection."""
    sock.settimeout(TIMEOUT)
    if context is not None:
        sock = context.wrap_socket(sock, server_hostname="localhost")
    buffer = memoryview(bytearray(256 * 1024))
    for _ in range(count):
        sock.sendall(request)
        left = size
        while left:
            got = sock.recv_into(buffer)
            if not got:
                raise SystemExit("the connection has ended")
            left -= got


def exchanges(
    layer: Layer, context: ssl.SSLContext | None, request: bytes, size: int, count: int
) -> float:
    """Microseconds for each of so many exchanges on one connection."""
    theirs, ours = socket.socketpair()

    def client() -> None:
        _asking(ours, context, request, size, count)

    with ours:
        return layer.run(client, [theirs], requests_only=True) / count * 1e6


def handshakes(layer: Layer, context: ssl.SSLContext | None, count: int) -> float:
    """Microseconds for each of so many connections, with one exchange each."""
    pairs = [socket.socketpair() for _ in range(count)]

    def client() -> None:
        for ours, _ in pairs:
            with ours:
                _asking(ours, context, REQUEST, len(ANSWER), 1)

    try:
        return layer.run(client, [theirs for _, theirs in pairs], requests_only=False) / count * 1e6
    finally:
        for ours, _ in pairs:
            ours.close()


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.micro.tls_layers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="of each figure (5)")
    parser.add_argument("--count", type=int, default=2000, metavar="N", help="exchanges (2000)")
    parser.add_argument("--loops", nargs="+", default=["uvloop", "asyncio"], metavar="LOOP")
    options = parser.parse_args(arguments)
    if options.rounds < 1 or options.count < 10:
        parser.error("at least one round of 10 exchanges")
    count = options.count
    print(f"{'us of processor':20}{'exchange':>12}{'1 MB':>12}{'handshake':>12}")
    server, client = contexts()
    for kind in options.loops:
        layers = [Layer(kind, None, is_ours=False)]
        layers += [Layer(kind, server, is_ours=is_ours) for is_ours in (True, False)]
        rows: dict[str, list[tuple[float, ...]]] = {layer.name: [] for layer in layers}
        for _ in range(options.rounds):  # in turns: what else the machine does meets all
            for layer in layers:
                theirs = None if layer is layers[0] else client
                rows[layer.name].append(
                    (
                        exchanges(layer, theirs, REQUEST, len(ANSWER), count),
                        exchanges(layer, theirs, LARGE, BLOCKS * len(BLOCK), count // 10),
                        handshakes(layer, theirs, count // 10),
                    )
                )
        medians = [
            list(map(statistics.median, zip(*rows[layer.name], strict=True))) for layer in layers
        ]
        for layer, row in zip(layers, medians, strict=True):
            print(f"{layer.name:20}" + "".join(f"{value:12,.1f}" for value in row))
        ratios = [ours / own for ours, own in zip(medians[1], medians[2], strict=True)]
        print(f"{'ours by its own':20}" + "".join(f"{value:12.2f}" for value in ratios))
        for layer in layers:
            layer.close()
    sys.stdout.flush()


if __name__ == "__main__":
    main()

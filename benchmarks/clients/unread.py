"""Asks for large responses over many connections, and reads nothing of them."""

from __future__ import annotations

import argparse
import contextlib
import select
import socket

from benchmarks.clients import wire

__all__ = ["ask", "ended"]

RECEIVE_BUFFER = 65536
"""Bytes of a response that the kernel takes for a connection."""
LONGEST = 120.0
"""Seconds."""


def ask(port: int, path: str, connections: int) -> list[socket.socket]:
    """The connections on which the request was sent."""
    asked = []
    for _ in range(connections):
        with contextlib.suppress(OSError):
            sock = wire.connect(port, timeout=1, receive_buffer=RECEIVE_BUFFER)
            sock.sendall(wire.request(path))
            asked.append(sock)
    return asked


def ended(asked: list[socket.socket]) -> list[int]:
    """Descriptors of the connections that the server has closed or reset; that is to be seen
    without reading."""
    poll = select.poll()
    for sock in asked:
        poll.register(sock, select.POLLRDHUP)
    return [descriptor for descriptor, _ in poll.poll(0)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", default="/")
    parser.add_argument("--connections", type=int, required=True)
    options = parser.parse_args()
    asked = ask(options.port, options.path, options.connections)
    wire.say(held=len(asked))
    wire.until_told(LONGEST)
    wire.say(held=len(asked) - len(ended(asked)))
    for sock in asked:
        wire.abort(sock)


if __name__ == "__main__":
    main()

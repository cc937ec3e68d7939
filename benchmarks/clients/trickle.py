"""Sends heads of requests one byte at a time over many connections, and never ends one."""

from __future__ import annotations

import argparse
import contextlib
import select
import socket
import sys
import time

from benchmarks.clients import wire

__all__ = ["Trickle"]

INTERVAL = 1.0
"""Seconds between two bytes of one connection."""
LONGEST = 120.0
"""Seconds."""


class Trickle:
    """The connections; those that the server closed are gone."""

    def __init__(self, port: int, connections: int) -> None:
        self.open: list[socket.socket] = []
        for _ in range(connections):
            with contextlib.suppress(OSError):
                sock = wire.connect(port, timeout=1)
                sock.sendall(wire.request()[:-2] + b"X-Slow: ")
                sock.setblocking(False)
                self.open.append(sock)

    def send(self, begin: int, end: int) -> None:
        """A byte on each of the connections `begin` to `end`."""
        for sock in self.open[begin:end]:
            try:
                sock.send(b"s")
            except BlockingIOError:
                pass
            except OSError:
                self.open.remove(sock)
                sock.close()

    def run(self) -> None:
        """Send, evenly spread over each interval, until standard input is closed."""
        begun = time.monotonic()
        turn = 0
        steps = 50
        while (now := time.monotonic()) < begun + LONGEST:
            due = begun + turn * INTERVAL / steps
            if select.select([sys.stdin], [], [], max(0.0, due - now))[0]:
                return
            share = -(-len(self.open) // steps)
            first = turn % steps * share
            self.send(first, first + share)
            turn += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--connections", type=int, required=True)
    options = parser.parse_args()
    trickle = Trickle(options.port, options.connections)
    wire.say(held=len(trickle.open))
    trickle.run()
    wire.say(held=len(trickle.open))


if __name__ == "__main__":
    main()

"""Opens event streams, as many as are asked for or the server begins, and reads them all.

It says how many are held, and once it is told to end what came of the events that were due since:
how many, and how late. An event has to be as `benchmarks.live` writes it.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import re
import resource
import selectors
import socket
import sys
import time
from typing import IO

from benchmarks import live
from benchmarks.clients import wire
from benchmarks.clients.mix import percentile

__all__ = ["Stream", "Streams"]

TOGETHER = 64
"""Streams that have been asked for and have not begun, at a time."""
STALLED = 1.5
"""Seconds in which no other stream begins after which the server is held to be full."""
FILLING = 40.0
"""Seconds for all of them. What has not begun by then is not held."""
ROOM = 24
"""Connections that are given back to a server that is full, for those of others; never more than a
tenth of what it holds."""
LATE = 1.0
"""Seconds after the end in which what was due before it still counts."""
LONGEST = 120.0
"""Seconds that it waits to be told."""

LAST_CHUNK = b"\r\n0\r\n\r\n"
EVENT = re.compile(rb"data: ([0-9]+) ([0-9]+\.[0-9]+)\n\n")


class Stream:
    """One, from its request on.

    :ivar sock: non-blocking.
    :ivar first: when its first event was due; None until it has come.
    :ivar number: of the last event.
    """

    __slots__ = ("_has_head", "_rest", "first", "number", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.first: float | None = None
        self.number = -1
        self._has_head = False
        self._rest = b""

    def receive(self, piece: bytes) -> list[float]:
        """When the events that are whole with this piece were due.

        :raises ValueError: this is no such stream, or an event came twice or too late.
        """
        received = self._rest + piece
        if not self._has_head:
            parsed = wire.Head.parse(received)
            if parsed is None:
                self._rest = received
                return []
            head, size = parsed
            if head.status != 200 or live.EVENTS.encode() not in received[:size]:
                raise ValueError(f"status {head.status}, {received[size : size + 80]!r}")
            self._has_head = True
            received = received[size:]
        dues = []
        read = 0
        for found in EVENT.finditer(received):
            read = found.end()
            number, due = int(found[1]), float(found[2])
            if number <= self.number:
                raise ValueError(f"event {number} after event {self.number}")
            self.number = number
            if self.first is None:
                self.first = due
            dues.append(due)
        # What may be the beginning of an event; the framing between two needs not be kept for ever.
        self._rest = received[read:][-200:]
        return dues

    @property
    def has_ended(self) -> bool:
        """By its framing: the connection may be kept."""
        return self._rest.endswith(LAST_CHUNK)

    def due_between(self, begin: float, end: float) -> int:
        """How many of its events are."""
        if self.first is None:
            return 0
        last = math.floor((end - self.first) / live.EVERY)
        return max(0, last - max(0, math.ceil((begin - self.first) / live.EVERY)) + 1)


class Streams:
    """All of them, and the one loop that reads them.

    :ivar held: those that have begun and have not ended.
    :ivar filled: seconds from the first request to the last stream that began.
    :ivar ended: how many that had begun have ended.
    :ivar delays: seconds, of the events due since `since`.
    """

    def __init__(self, port: int, path: str) -> None:
        self.held: set[Stream] = set()
        self.filled = 0.0
        self.ended = 0
        self.since = math.inf
        self.until = math.inf
        self.delays: list[float] = []
        self._port = port
        self._request = wire.request(path)
        self._waiting: set[Stream] = set()
        self._answered = False
        self._told: IO[str] | None = None
        self._selector = selectors.DefaultSelector()

    def fill(self, wanted: int, seconds: float = FILLING) -> bool:
        """Open so many, or as many as the server begins.

        :returns: whether these are all.
        :raises ValueError: the first one is no such stream.
        """
        begun = last = time.monotonic()
        end = begun + seconds
        left = wanted
        while left or self._waiting:
            while left and len(self._waiting) < TOGETHER:
                left -= 1
                self._open()
            before = len(self.held)
            self.read(STALLED / 10)
            now = time.monotonic()
            if len(self.held) > before:
                last = now
            if now > end or now - last > STALLED:
                break
        self.filled = last - begun
        for stream in [*self._waiting]:
            self._drop(stream)
        return len(self.held) == wanted

    def make_room(self) -> None:
        """Close some, so that others find a place."""
        for stream in [*self.held][: min(ROOM, len(self.held) // 10)]:
            self._drop(stream)

    def read(self, timeout: float) -> bool:
        """Take what there is, or wait for it so many seconds.

        :returns: False if it was told to end.
        """
        for key, mask in self._selector.select(timeout):
            stream = key.data
            if stream is None:
                return False
            if mask & selectors.EVENT_WRITE:
                self._ask(stream)
            else:
                self._take(stream)
        return True

    def read_until_told(self, told: IO[str], seconds: float) -> None:
        """Until that file ends, at most so long; `since` is its beginning, `until` its end."""
        self.since = time.monotonic()
        self._selector.register(told, selectors.EVENT_READ)
        last = self.since + seconds
        while self.read(1.0) and time.monotonic() < last:
            pass
        self._selector.unregister(told)
        self.until = time.monotonic()

    def read_late(self) -> None:
        """What was due before `until`, and comes only now."""
        end = self.until + LATE
        while (left := end - time.monotonic()) > 0:
            self.read(left)

    def close(self) -> None:
        for stream in [*self.held, *self._waiting]:
            self._drop(stream)

    def _open(self) -> None:
        try:
            stream = Stream(wire.connect(self._port, timeout=0))
        except OSError:
            return
        self._waiting.add(stream)
        self._selector.register(stream.sock, selectors.EVENT_WRITE, stream)

    def _ask(self, stream: Stream) -> None:
        try:
            stream.sock.send(self._request)
        except OSError:
            self._drop(stream)
            return
        self._selector.modify(stream.sock, selectors.EVENT_READ, stream)

    def _take(self, stream: Stream) -> None:
        try:
            piece = stream.sock.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        now = time.monotonic()
        if not piece:
            self._end(stream)
            return
        try:
            dues = stream.receive(piece)
        except ValueError:
            # A server that is full may say so; that it has begun no stream at all is no such word.
            if not self._answered or stream in self.held:
                raise
            self._drop(stream)
            return
        if dues and stream in self._waiting:
            self._answered = True
            self._waiting.remove(stream)
            self.held.add(stream)
        self.delays += [now - due for due in dues if self.since <= due <= self.until]
        if stream.has_ended:
            self._end(stream)

    def _end(self, stream: Stream) -> None:
        self.ended += stream in self.held
        self._drop(stream)

    def _drop(self, stream: Stream) -> None:
        self._selector.unregister(stream.sock)
        self.held.discard(stream)
        self._waiting.discard(stream)
        wire.abort(stream.sock)


def run(options: argparse.Namespace) -> None:
    """:raises ValueError: an answer was wrong."""
    streams = Streams(options.port, options.path)
    all_held = streams.fill(options.streams)
    most = len(streams.held)
    if not all_held:
        streams.make_room()
    wire.say(most=most, held=len(streams.held), filled=streams.filled)
    busy = time.process_time()
    streams.read_until_told(sys.stdin, LONGEST)
    busy = time.process_time() - busy
    streams.read_late()
    seconds = streams.until - streams.since
    found = {
        "held": len(streams.held),
        "ended": streams.ended,
        "seconds": seconds,
        "client_busy": busy / seconds,
        "due": sum(one.due_between(streams.since, streams.until) for one in streams.held),
        "came": len(streams.delays),
    }
    if streams.delays:
        found["p50"] = percentile(streams.delays, 0.5) * 1000
        found["p99"] = percentile(streams.delays, 0.99) * 1000
    wire.say(**found)
    streams.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--streams", type=int, required=True)
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        run(options)
    except ValueError as error:
        raise SystemExit(f"wrong answer: {error}") from None


if __name__ == "__main__":
    main()

"""Responses without a loop: lines in a directory, and a thread that writes where it may block."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from threadline import HEAD, KIB, WAIT, Client, Line, no_leaks

Make = Callable[..., Line]


def lines(tmp_path: Path) -> Iterator[Make]:
    """``make(**bounds)``: a line that must have nothing left of it when the test ends."""
    with no_leaks() as make_line:
        yield lambda **options: make_line(tmp_path, **options)


class Producer(threading.Thread):
    """Runs a function on a pool thread's side, and keeps what it raised."""

    def __init__(self, work: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self._work = work
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self.error = error

    def result(self) -> BaseException | None:
        self.join(WAIT)
        assert not self.is_alive(), "the producer is stuck"
        return self.error


def write_all(client: Client, chunks: list[bytes]) -> None:
    client.writer.start(HEAD, None)
    for chunk in chunks:
        client.pipe.write(chunk)
    client.pipe.finish()


def blocked(line: Line, count: int = 1) -> None:
    """Return when that many writers hold a thread."""
    deadline = time.monotonic() + WAIT
    while len(line.bounds.blocked) != count:
        assert time.monotonic() < deadline
        time.sleep(0.0005)


def fill(client: Client, line: Line) -> None:
    """Write to the writer until it can take no more without waiting: room 1 MiB."""
    client.writer.start(HEAD, None)
    for _ in range(line.bounds.memory // (64 * KIB)):
        assert client.pipe.write(b"x" * (64 * KIB))


def drain_all(client: Client, line: Line) -> None:
    while client.end is None:
        if client.unsent:
            client.drain()
        else:
            line.turn()

"""How many lines were dropped is known at once, and for good: also of logs that are closed."""

from __future__ import annotations

import os

from wsgi_async.logs.sinks import Sink
from wsgi_async.logs.thread import LogWriter, Mode


def test_lines_that_nobody_takes_are_counted_before_anybody_is_told() -> None:
    told: list[int] = []
    writer = LogWriter(lambda count, name, why: told.append(count))
    writer.mode = Mode.POLLED
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    while True:
        try:
            os.write(writing, b"x" * 4096)
        except BlockingIOError:
            break
    sink = Sink(writing, "access log")
    writer.add(sink)
    for _ in range(5):
        writer.put(sink, b"a line\n")
    assert writer.dropped == 5
    assert sum(told) < 5  # at most one in a minute is told while it goes on
    writer.discard(sink)
    os.close(reading)
    assert writer.dropped == 5


def test_a_log_that_is_taken_drops_none() -> None:
    writer = LogWriter(lambda count, name, why: None)
    reading, writing = os.pipe()
    sink = Sink(writing, "access log")
    writer.add(sink)
    writer.put(sink, b"a line\n")
    assert (os.read(reading, 100), writer.dropped) == (b"a line\n", 0)
    writer.discard(sink)
    os.close(reading)

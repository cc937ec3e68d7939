"""``python -m benchmarks.micro.crossings``: how often one thread wakes another, for each request.

A real server in this process, by its own counters: tasks that a thread of the pool is given, times
the server's loop is woken, and times the application loop is. What is nobody's, as an application
loop where no body is asynchronous, is a dash. Of event streams a line is what one takes to begin,
and one what an event takes: of a stream that is alone, and of many whose events come together, so
that one waking serves several of them. What an event seems to take of the application loop is the
server's look at it, a few times a second, whatever the number of events.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import itertools
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from benchmarks import apps, live
from benchmarks.clients.streams import Streams
from wsgi_async.server.server import Server
from wsgi_async.testing import live_server

__all__ = ["Counts", "Row", "main", "measure"]

REQUESTS = 200
STREAMS = 50
EVERY = 0.05
"""Seconds between two events of a stream here."""
SECONDS = 2.0
"""Of events."""
APPLICATION_LOOP = "wsgi_async.realtime.application_loop"


class Counts(NamedTuple):
    """So far, or of one operation."""

    tasks: float
    """Given to threads of the pool."""
    wakes: float
    """Of the server's loop, by other threads."""
    calls: float | None
    """To the application loop, by other threads; None where there is none."""

    def since(self, before: Counts, operations: int) -> Counts:
        calls = None if self.calls is None else (self.calls - (before.calls or 0)) / operations
        tasks, wakes = self.tasks - before.tasks, self.wakes - before.wakes
        return Counts(tasks / operations, wakes / operations, calls)


class Row(NamedTuple):
    """A line of the table."""

    what: str
    counts: Counts


class Counter:
    """Of one server.

    :param server: it is running.
    """

    def __init__(self, server: Server) -> None:
        running = server._running
        assert running is not None
        self._gateway = running.connections.gateway

    def now(self) -> Counts:
        mailbox: Any = self._gateway.mailbox
        is_there = APPLICATION_LOOP in sys.modules
        return Counts(self._gateway.pool.submitted, mailbox.wakes, _called() if is_there else None)


_calls = itertools.count()


def _called() -> int:
    return int(repr(_calls)[len("count(") : -1])


def _count_calls() -> None:
    """Count them from now on, in this process."""
    from wsgi_async.realtime.application_loop import ApplicationLoop

    call = ApplicationLoop.call

    def counting(self: ApplicationLoop, *args: Any) -> bool:
        next(_calls)
        return call(self, *args)

    ApplicationLoop.call = counting  # type: ignore[method-assign]


def requests(application: Callable[..., Any], count: int) -> Counts:
    """Of one request on a kept connection, whose client waits for each answer."""
    with live_server(application) as served:
        connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=10)
        with contextlib.closing(connection):

            def ask(times: int) -> None:
                for _ in range(times):
                    connection.request("GET", "/")
                    connection.getresponse().read()

            ask(3)
            counter = Counter(served.server)
            before = counter.now()
            ask(count)
            return counter.now().since(before, count)


def streams(application: Callable[..., Any], count: int, seconds: float) -> Iterator[Row]:
    """Of each of so many streams, and of each of their events."""
    with live_server(application, graceful_timeout=1.0) as served:
        counter = Counter(served.server)
        client = Streams(served.port, live.TICKING)
        try:
            before = counter.now()
            if not client.fill(count):
                raise RuntimeError(f"{len(client.held)} streams of {count} have begun")
            yield Row(f"one of {count} event streams begins", counter.now().since(before, count))
            before, client.since = counter.now(), time.monotonic()
            while time.monotonic() < client.since + seconds:
                client.read(EVERY)
            yield Row("an event of it", counter.now().since(before, max(1, len(client.delays))))
        finally:
            client.close()


def measure(count: int, stream_count: int, seconds: float) -> Iterator[Row]:
    """All rows; what is without an application loop comes first."""
    yield Row("hello", requests(apps.hello, count))
    yield Row("flask", requests(live.blocking, count))
    live.EVERY = EVERY
    application = live.flask
    _count_calls()
    yield from streams(application, 1, seconds)
    yield from streams(application, stream_count, seconds)
    yield Row("flask, after them", requests(application, count))


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.micro.crossings",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--requests", type=int, default=REQUESTS, help=f"of each ({REQUESTS})")
    parser.add_argument("--streams", type=int, default=STREAMS, help=f"at once ({STREAMS})")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"of events ({SECONDS})")
    options = parser.parse_args(arguments)
    print(f"{'':34}{'pool':>8}{'loop':>8}{'application loop':>18}")
    for what, counts in measure(options.requests, options.streams, options.seconds):
        calls = "-" if counts.calls is None else f"{counts.calls:.2f}"
        print(f"{what:34}{counts.tasks:8.2f}{counts.wakes:8.2f}{calls:>18}", flush=True)


if __name__ == "__main__":
    main()

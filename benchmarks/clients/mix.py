"""Asks for much CPU time over some connections, and beside them for something trivial, rarely."""

from __future__ import annotations

import argparse
import contextlib
import http.client
import math
import threading
import time
from collections.abc import Iterator

from benchmarks.clients import wire

__all__ = ["Asker", "percentile"]

PAUSE = 0.005
"""Seconds between a trivial answer and the next request, and after any failure."""
OVERTIME = 5.0
"""Seconds that an answer may take, and what a failure counts as: a connection that is refused at
once must not look like a quick answer."""


def percentile(values: list[float], part: float) -> float:
    """The least of the values that at least this part of them does not exceed."""
    return sorted(values)[max(0, math.ceil(len(values) * part) - 1)]


class Asker:
    """Asks on one connection, again and again.

    :ivar times: seconds of each answer, `OVERTIME` for one that did not come.
    :ivar wrong: what was wrong with an answer; it has ended then.
    """

    def __init__(self, port: int, path: str, until: float) -> None:
        self.times: list[float] = []
        self.errors = 0
        self.wrong: str | None = None
        self._connection = http.client.HTTPConnection(wire.HOST, port, timeout=OVERTIME)
        self._path = path
        self._until = until

    def run(self, pause: float) -> None:
        """Until the time is over, with a pause of so many seconds after each answer."""
        while self.wrong is None and (begun := time.perf_counter()) < self._until:
            try:
                self._connection.request("GET", self._path)
                response = self._connection.getresponse()
                received = response.read()
            except (OSError, http.client.HTTPException):
                self.errors += 1
                self._connection.close()
                self.times.append(OVERTIME)
                time.sleep(max(pause, PAUSE))
                continue
            if response.status != 200:
                self.wrong = f"GET {self._path}: status {response.status}, {received[:80]!r}"
            self.times.append(time.perf_counter() - begun)
            time.sleep(pause)
        self._connection.close()


@contextlib.contextmanager
def _running(askers: list[Asker]) -> Iterator[None]:
    threads = [threading.Thread(target=asker.run, args=(0.0,)) for asker in askers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for thread in threads:
            thread.join()


def run(options: argparse.Namespace) -> dict[str, float]:
    """Milliseconds of the trivial answers; one that failed counts as `OVERTIME`.

    :raises ValueError: a response was wrong.
    """
    until = time.perf_counter() + options.seconds
    busy = [Asker(options.port, options.busy, until) for _ in range(options.connections)]
    trivial = Asker(options.port, options.path, until)
    with _running(busy):
        trivial.run(PAUSE)
    for asker in (trivial, *busy):
        if asker.wrong is not None:
            raise ValueError(asker.wrong)
    return {
        "p50": percentile(trivial.times, 0.5) * 1000,
        "p99": percentile(trivial.times, 0.99) * 1000,
        "most": max(trivial.times) * 1000,
        "answers": len(trivial.times),
        "busy_answers": sum(len(asker.times) for asker in busy),
        "errors": trivial.errors + sum(asker.errors for asker in busy),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", default="/")
    parser.add_argument("--busy", required=True, help="path of what takes CPU time")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--connections", type=int, default=4, help="of the busy ones")
    options = parser.parse_args()
    wire.run_and_say(run, options)


if __name__ == "__main__":
    main()

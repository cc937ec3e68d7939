"""``python -m benchmarks.micro.sampling``: what a profile costs, and whom.

Threads are in an application, under as many calls as a framework makes: they all compute, or they
all wait. ``CPU`` is the sampler's own, in percent of a processor; ``a sample`` is that for each one
that was taken, in microseconds; ``missed`` are those that came too late for it had to wait for the
GIL, which is theirs to give. ``work`` is what the threads have done by what they do without it:
both take turns, and it wobbles by some percent.
"""

from __future__ import annotations

import argparse
import statistics
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from wsgi_async.operations.sampling import BEGIN, TAKE, Sampler
from wsgi_async.wsgi.calling import WSGIResponse

__all__ = ["main"]

CALLS = 30
"""From the application to where a thread is, as in Flask with a database."""

BLOCK = 2_000
"""Turns of a loop: some 0.1 ms."""


class _Nobody:
    """A writer and a reporter that are told of an application without a response."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args: None


class Threads:
    """Threads in an application.

    :param count: how many.
    :param waits: whether they wait, or compute.
    """

    def __init__(self, count: int, *, waits: bool) -> None:
        self._waits = waits
        self._over = threading.Event()
        self._entered = threading.Semaphore(0)
        self.blocks = [0] * count
        self._threads = [
            threading.Thread(target=self._run, args=(number,)) for number in range(count)
        ]
        for thread in self._threads:
            thread.start()
            self._entered.acquire()

    def _run(self, number: int) -> None:
        nobody: Any = _Nobody()
        WSGIResponse(self._application, nobody, nobody, False).begin({"number": number})

    def _application(self, environ: dict[str, Any], start_response: object) -> Iterable[bytes]:
        self._call(environ["number"], CALLS)
        return []

    def _call(self, number: int, left: int) -> None:
        if left:
            self._call(number, left - 1)
            return
        self._entered.release()
        if self._waits:
            self._over.wait()
        while not self._over.is_set():
            for _ in range(BLOCK):
                pass
            self.blocks[number] += 1

    @property
    def numbers(self) -> list[tuple[int, int]]:
        return [(each.ident or 0, each.native_id or 0) for each in self._threads]

    def end(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()


def _profile(threads: Threads, seconds: float, hz: float) -> dict[str, Any]:
    sampler = Sampler(lambda: threads.numbers)
    what = {"id": "one", "seconds": seconds, "hz": hz}
    sampler.answer({"do": BEGIN, **what})
    time.sleep(seconds)
    return sampler.answer({"do": TAKE, **what})


def _blocks(threads: Threads, work: Callable[[], object]) -> float:
    """Blocks that they do in a second meanwhile."""
    before, began = sum(threads.blocks), time.monotonic()
    work()
    return (sum(threads.blocks) - before) / (time.monotonic() - began)


def _row(count: int, hz: float, seconds: float, rounds: int, *, waits: bool) -> str:
    threads = Threads(count, waits=waits)
    found: list[dict[str, Any]] = []
    ratios: list[float] = []
    try:
        for _ in range(rounds):
            without = _blocks(threads, lambda: time.sleep(seconds))
            having = _blocks(threads, lambda: found.append(_profile(threads, seconds, hz)))
            ratios.append(having / without if without else 1.0)
    finally:
        threads.end()
    cost = statistics.median(100 * each["cost"] / each["seconds"] for each in found)
    each_one = statistics.median(1e6 * each["cost"] / each["taken"] for each in found)
    missed = statistics.median(
        100 * each["missed"] / (each["taken"] + each["missed"]) for each in found
    )
    name = f"{count} wait" if waits else f"{count} compute"
    work = "" if waits else f"{statistics.median(ratios):8.3f}"
    return f"{name:<12}{hz:6.0f}{cost:8.2f} %{each_one:10.0f}{missed:8.1f} %{work}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.micro.sampling")
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each profile")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    print(f"{'threads':<12}{'Hz':>6}{'CPU':>10}{'a sample':>10}{'missed':>10}{'work':>8}")
    for waits in (True, False):
        for hz in (100, 250):
            row = _row(options.threads, hz, options.seconds, options.rounds, waits=waits)
            print(row, flush=True)


if __name__ == "__main__":
    main()

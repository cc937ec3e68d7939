"""*In a process that serves:* where its threads are in the application, many times a second.

A thread of its own takes the stacks of the pool's threads, and counts them. It is begun by one
question and its result is taken by another one (``profiles``), so that neither has to wait.

What such a thread can know, and what not:

* It runs only when it gets the GIL. Where code in C holds that for long, several samples are
  missed, and are counted as such. The next one, if there is one, counts for them too: it sees the
  thread at the place where it was held up, or near it.
* CPython cannot tell whether another thread computes or waits. But Linux tells how much CPU time
  each has used, and so a sample is followed by a second look, :data:`LOOK` seconds later. The part
  of that time which the thread has spent computing is the sample's. One that waits for the GIL
  counts as waiting, which is what it does.

Whoever holds a frame holds what is in its variables. So frames are let go before the GIL is.
"""

from __future__ import annotations

import json
import math
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from .sampled_stacks import OTHER, Stacks

__all__ = ["ASK", "BEGIN", "TAKE", "Sampler", "Ticks"]

ASK = "profile"
"""What processes are asked for it; and what they are to do:"""
BEGIN, TAKE = "begin", "take"

LOOK = 0.001
"""Seconds after a sample at which it is looked how much CPU time the thread has used since."""

MOST_TEXT = 3 << 20
"""Bytes of the answer's stacks: the rarest ones beyond it are :data:`OTHER`."""

KEPT = 15.0
"""Seconds for which a profile that is done waits to be taken."""

LONGEST_SLEEP = 0.1
"""Seconds after which it is looked whether to end early."""

ENDING = 5.0
"""Seconds for the thread to end, where it is to: it may have to wait for the GIL."""

Threads = Callable[[], Iterable[tuple[int, int]]]
"""*Any thread:* the ident and the native id of each thread that is of interest."""


def cpu_clock(native_id: int) -> int:
    """The number of the clock of a thread's CPU time, for ``time.clock_gettime``.

    It is made as the kernel and the C library do it (MAKE_THREAD_CPUCLOCK). The library's function,
    which ``time.pthread_getcpuclockid`` calls, may crash where the thread has just ended; with this
    one there is an error.
    """
    return ~native_id << 3 | 6


class Ticks:
    """When samples are due.

    :param began: when the first one is, in seconds.
    :param hz: how many a second.
    """

    def __init__(self, began: float, hz: float) -> None:
        self.interval = 1.0 / hz
        self._began = began
        self._passed = 0

    def wait(self, now: float) -> float:
        """Seconds until the next one; less than that where it is late."""
        return self._began + self._passed * self.interval - now

    def take(self, now: float) -> int:
        """Take the one that is due now. How many are due, with those that nobody took before."""
        passed = max(int((now - self._began) / self.interval), self._passed) + 1
        due, self._passed = passed - self._passed, passed
        return due

    def left(self, end: float) -> int:
        """How many were due before that, and nobody took them."""
        return max(math.ceil((end - self._began) / self.interval - 1e-6) - self._passed, 0)


class _Sampling:
    """One profile. *Its own thread,* but for what says otherwise.

    :param threads: the threads that are of interest.
    :param name: by which it is known.
    :param seconds: for how long.
    :param hz: samples a second.
    """

    def __init__(self, threads: Threads, name: str, seconds: float, hz: float) -> None:
        self.name = name
        self.seconds = seconds
        self.ends_at = time.monotonic() + seconds
        self.is_to_end = False
        """*Any thread:* set to end it early."""
        self.is_over = threading.Event()
        self.is_taken = threading.Event()
        self._threads = threads
        self._hz = hz
        self._stacks = Stacks()
        self._tells_cpu = sys.platform == "linux"
        self._taken = self._missed = 0
        self._cost = self._lasted = 0.0

    def run(self) -> None:
        """Sample until its end."""
        began, cost = time.monotonic(), time.thread_time()
        self.ends_at = began + self.seconds
        ticks = Ticks(began, self._hz)
        try:
            while not self.is_to_end and (now := time.monotonic()) < self.ends_at:
                wait = ticks.wait(now)
                if wait > 0:
                    time.sleep(min(wait, LONGEST_SLEEP))
                    continue
                due = ticks.take(now)
                self._taken += 1
                self._missed += due - 1
                self._sample(due)
        finally:
            now = time.monotonic()
            self._missed += ticks.left(min(now, self.ends_at))
            self._lasted = now - began
            self._cost = time.thread_time() - cost
            self.is_over.set()

    def _sample(self, ticks: int) -> None:
        threads = list(self._threads())  # first: who waits for a lock lets go of the GIL
        seen = self._look(threads)
        if not self._tells_cpu:
            for key, _ in seen:
                self._stacks.add(key, ticks, 0.0)
        elif seen:
            before, since = [_used(each) for _, each in seen], time.monotonic()
            time.sleep(LOOK)
            after, passed = [_used(each) for _, each in seen], time.monotonic() - since
            for (key, _), used, now in zip(seen, before, after, strict=True):
                computing = (now - used) / passed
                self._stacks.add(key, ticks, min(max(computing, 0.0), 1.0))

    def _look(self, threads: Sequence[tuple[int, int]]) -> list[tuple[tuple[int, ...], int]]:
        """The stacks of those who are in an application, with their native ids."""
        frames = sys._current_frames()
        found = []
        try:
            for ident, native_id in threads:
                key = self._stacks.key_of(frames.get(ident))
                if key is not None:
                    found.append((key, native_id))
        finally:
            # This function's own frame is among them: they would be left to the garbage collector.
            frames.clear()
        return found

    def result(self) -> dict[str, Any]:
        """*Any thread, once it is over:* what came of it, as JSON has it."""
        stacks: list[tuple[str, int, float | None]] = []
        size, others, computing_others = 0, 0, 0.0
        for text, samples, computing in self._stacks.listed():
            size += len(json.dumps(text)) + 30
            if size > MOST_TEXT or text == OTHER:
                others += samples
                computing_others += computing
            else:
                stacks.append((text, samples, self._cpu(computing)))
        if others:
            stacks.append((OTHER, others, self._cpu(computing_others)))
        return {
            "stacks": stacks,
            "taken": self._taken,
            "missed": self._missed,
            "cost": round(self._cost, 6),
            "seconds": round(self._lasted, 6),
        }

    def _cpu(self, computing: float) -> float | None:
        return round(computing / self._hz, 6) if self._tells_cpu else None


def _used(native_id: int) -> float:
    """Seconds of CPU time of a thread; none where it has ended."""
    try:
        return time.clock_gettime(cpu_clock(native_id))
    except OSError:
        return 0.0


class Sampler:
    """Takes profiles of this process, one at a time.

    :param threads: see :data:`Threads`.
    """

    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        self._lock = threading.Lock()
        self._current: _Sampling | None = None
        """The one that is being taken, or waits to be."""

    def answer(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """*In the thread that answers:* begin a profile, or end one and tell what came of it.

        :param question: ``do``, :data:`BEGIN` or :data:`TAKE`; ``id``, by which it is known; to
            begin, ``seconds`` and ``hz`` as well.
        :returns: ``why`` that was not done, in a line, or ""; where it was taken, what came of it.
        """
        if question["do"] == TAKE:
            return self._take(question["id"])
        return self._begin(question["id"], question["seconds"], question["hz"])

    def _begin(self, name: str, seconds: float, hz: float) -> dict[str, Any]:
        with self._lock:
            current = self._current
            if current is not None and not current.is_over.is_set():
                left = max(current.ends_at - time.monotonic(), 1.0)
                return {"why": f"another profile is being taken, for {left:.0f} s more"}
            sampling = _Sampling(self._threads, name, seconds, hz)
            threading.Thread(
                target=self._run, args=(sampling,), name="wsgi_async-sampler", daemon=True
            ).start()
            self._current = sampling
            if current is not None:
                current.is_taken.set()
        return {"why": ""}

    def _run(self, sampling: _Sampling) -> None:
        """*The thread that samples.*"""
        sampling.run()
        sampling.is_taken.wait(KEPT)
        with self._lock:
            if self._current is sampling:
                self._current = None

    def _take(self, name: str) -> dict[str, Any]:
        with self._lock:
            current = self._current
            if current is None or current.name != name:
                return {"why": "there is no such profile, for this process began after it"}
            self._current = None
            current.is_to_end = True
        current.is_taken.set()
        if not current.is_over.wait(ENDING):
            return {"why": f"the thread that samples has not ended within {ENDING:g} s"}
        return {"why": "", **current.result()}

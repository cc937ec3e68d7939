"""A thread pool that notes what it runs, and tasks that wait at a gate."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator

from wsgi_async.threads.pool import Call, ThreadPool

WAIT = 10.0


def until(condition: Callable[[], object]) -> None:
    """Look again and again: a thread that goes to sleep tells nobody."""
    deadline = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.0005)


class Gate(Call):
    """A task that says when it has begun, and ends when it is let."""

    def __init__(self) -> None:
        super().__init__(self.wait)
        self.began = threading.Event()
        self.opened = threading.Event()
        self.thread = ""

    def wait(self) -> None:
        self.thread = threading.current_thread().name
        self.began.set()
        assert self.opened.wait(WAIT)


class Rig:
    """A running pool, and the errors that its tasks let out."""

    def __init__(
        self,
        threads: int,
        queue_size: int,
        name: str = "test",
        max_lost: int = 0,
        max_aside: int = 0,
    ) -> None:
        self.errors: queue.Queue[BaseException] = queue.Queue()
        self.returned: queue.Queue[Call] = queue.Queue()
        self.late: list[float] = []
        self.pool: ThreadPool[Call] = ThreadPool(
            threads,
            queue_size,
            name=name,
            max_lost=max_lost,
            max_aside=max_aside,
            on_error=self.errors.put,
            on_returned=self._has_returned,
        )
        self.stopped = threading.Event()
        self.gates: list[Gate] = []

    def _has_returned(self, task: Call, seconds: float) -> None:
        self.late.append(seconds)
        self.returned.put(task)

    def wait_until_idle(self) -> None:
        """Return when every thread sleeps: only then does a queue_size of 0 accept anything."""
        until(lambda: not self.pool.busy)

    def gate(self, *, urgent: bool = False) -> Gate:
        """A gate that has begun on a thread of its own."""
        gate = Gate()
        self.gates.append(gate)
        if urgent:
            self.pool.submit_urgent(gate)
        else:
            assert self.pool.submit(gate)
        assert gate.began.wait(WAIT)
        return gate

    def occupy(self) -> list[Gate]:
        """Have every thread run a gate."""
        return [self.gate() for _ in range(self.pool.threads)]

    def flush(self) -> None:
        """Return when everything that was submitted before has run."""
        done = threading.Event()
        self.pool.submit_urgent(Call(done.set))
        assert done.wait(WAIT)


def pools() -> Iterator[Callable[..., Rig]]:
    rigs: list[Rig] = []

    def start(threads: int = 1, queue_size: int = 10, name: str = "test", **bounds: int) -> Rig:
        rig = Rig(threads, queue_size, name, **bounds)
        rigs.append(rig)
        rig.pool.start()
        rig.wait_until_idle()
        return rig

    yield start
    for rig in rigs:
        for gate in rig.gates:
            gate.opened.set()
        if not rig.stopped.is_set():
            rig.pool.stop(rig.stopped.set)
            assert rig.stopped.wait(WAIT)
        assert rig.errors.empty()

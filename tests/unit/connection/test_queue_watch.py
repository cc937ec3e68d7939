"""Tasks that wait beside an idle thread, and those for which all threads are busy."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from wire import Held, Site

from wsgi_async.connection.queue_watch import CROWDED, WARN_EVERY, QueueWatch
from wsgi_async.events import Observer
from wsgi_async.threads.pool import Call, ThreadPool

WAIT = 10.0


class Waiting(Call):
    """A task that has waited since time 0."""

    waits_since = 0.0


class Warnings(Observer):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def warning(self, message: str) -> None:
        self.texts.append(message)


class Rig:
    """A pool whose threads are woken when the test says so, and who looks at it."""

    def __init__(self, threads: int) -> None:
        self.wakes: list[Callable[[], object]] = []
        self.pool: ThreadPool[Any] = ThreadPool(
            threads, 10, max_lost=2, on_error=pytest.fail, soon=self.wakes.append
        )
        self.pool.start()
        self.until(lambda: not self.pool.busy)
        self.observer = Warnings()
        self.queue_watch = QueueWatch(self.pool, self.observer)
        self.gates: list[threading.Event] = []

    def until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + WAIT
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.0005)

    def wake(self) -> None:
        wakes, self.wakes[:] = self.wakes[:], []
        for wake in wakes:
            wake()

    def occupy(self) -> list[Waiting]:
        """Have every thread run something."""
        tasks = []
        for _ in range(self.pool.threads):
            gate, began = threading.Event(), threading.Event()
            self.gates.append(gate)
            tasks.append(Waiting(lambda gate=gate, began=began: (began.set(), gate.wait(WAIT))))
            assert self.pool.submit(tasks[-1])
            self.wake()
            assert began.wait(WAIT)
        return tasks

    def look(self, now: float) -> float:
        self.queue_watch.look(now)
        return self.queue_watch.seconds(now)


@pytest.fixture
def make() -> Iterator[Callable[[int], Rig]]:
    rigs: list[Rig] = []

    def start(threads: int) -> Rig:
        rigs.append(Rig(threads))
        return rigs[-1]

    yield start
    for rig in rigs:
        for gate in rig.gates:
            gate.set()
        rig.wake()
        stopped = threading.Event()
        rig.pool.stop(stopped.set)
        assert stopped.wait(WAIT)


@pytest.mark.parametrize("urgent", [False, True])
@pytest.mark.parametrize("threads", [1, 3])
def test_a_task_that_waits_beside_an_idle_thread(
    make: Callable[[int], Rig], threads: int, urgent: bool
) -> None:
    rig = make(threads)
    assert rig.look(0.0) == 0.0
    if urgent:
        rig.pool.submit_urgent(Waiting(int))
    else:
        assert rig.pool.submit(Waiting(int))
    assert [rig.look(now) for now in (1.0, 1.5, 3.0)] == [0.0, 0.5, 2.0]
    rig.wake()
    rig.until(lambda: not rig.pool.busy)
    assert rig.look(4.0) == 0.0
    assert rig.observer.texts == []


def test_a_queue_that_moves_is_not_neglected(make: Callable[[int], Rig]) -> None:
    rig = make(2)
    rig.occupy()
    first, second = Waiting(int), Waiting(int)
    assert rig.pool.submit(first)
    assert rig.pool.submit(second)
    rig.gates[0].set()
    rig.until(lambda: not rig.pool.queued)
    assert rig.pool.submit(Waiting(int))
    assert rig.look(1.0) == 0.0
    rig.wake()
    rig.until(lambda: rig.pool.busy == 1)
    assert rig.pool.submit(Waiting(int))
    assert rig.look(9.0) == 0.0
    assert rig.look(9.5) == 0.5


def test_threads_that_are_merely_all_busy_neglect_nobody(make: Callable[[int], Rig]) -> None:
    rig = make(2)
    rig.occupy()
    assert rig.pool.submit(Waiting(int))
    assert [rig.look(now) for now in (0.5, 10.0, 100.0)] == [0.0] * 3


def test_a_lost_thread_is_not_idle(make: Callable[[int], Rig]) -> None:
    rig = make(1)
    [task] = rig.occupy()
    rig.pool.lose(task)
    rig.until(lambda: len(rig.pool._sleepers) == 1)
    rig.occupy()
    assert rig.pool.submit(Waiting(int))
    assert [rig.look(now) for now in (0.5, 10.0)] == [0.0] * 2


def test_the_operator_is_told_once_a_minute_which_option_to_change(
    make: Callable[[int], Rig],
) -> None:
    rig = make(2)
    rig.occupy()
    assert rig.pool.submit(Waiting(int))
    rig.look(CROWDED)
    assert rig.observer.texts == [], "a burst is nobody's business"
    rig.look(CROWDED + 0.25)
    said = "1 request waits for a thread, the oldest for 1.2 s: all 2 threads are busy; "
    assert rig.observer.texts == [said + "raise --threads"]
    assert rig.pool.submit(Waiting(int))
    rig.look(WARN_EVERY + 1.0)
    assert len(rig.observer.texts) == 1
    rig.look(WARN_EVERY + 1.25)
    assert len(rig.observer.texts) == 2
    assert rig.observer.texts[1].startswith("2 requests wait for a thread, the oldest for 61.2 s")


def test_nobody_is_told_where_nobody_waits(make: Callable[[int], Rig]) -> None:
    rig = make(1)
    rig.occupy()
    rig.look(100.0)
    assert rig.observer.texts == []


def test_a_server_says_so_itself() -> None:
    application = Held()
    with Site(application, ready_path="/readyz", threads=1) as site:
        probe = site.connect()
        assert probe.get("/readyz").body == b"ready\n"
        site.pool._waking = deaf = threading.Lock()  # as if a thread had died on its way
        site.connect().ask()
        for _ in range(6):
            site.advance(0.25)
        assert probe.get("/readyz").body == b"stalled\n"
        assert site.pool._waking is deaf
        site.pool._waking = None
        application.gate.release(2)
        site.connect().ask()
        site.settle()
        site.advance(0.25)
        assert probe.get("/readyz").body == b"ready\n"

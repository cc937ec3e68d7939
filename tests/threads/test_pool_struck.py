"""Whatever strikes a pool thread, wherever it is: one thread is replaced, and nothing is lost."""

from __future__ import annotations

import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest
from striking import Striker, StruckError

from wsgi_async.system.stacks import raise_in
from wsgi_async.threads import places, stand_ins, task_queues, tasks
from wsgi_async.threads import pool as pool_module
from wsgi_async.threads.pool import TRIES, Call, ThreadPool

MODULES = (pool_module, places, stand_ins, task_queues, tasks)
WAIT = 10.0
THREADS = 2


class Work(Call):
    """A task that counts what is done with it, and may wait, raise, or do nothing."""

    def __init__(self, do: Callable[[], object] = int) -> None:
        super().__init__(self._do)
        self.do = do
        self.ran = self.abandoned = 0

    def _do(self) -> None:
        self.ran += 1
        self.do()

    def abandon(self, turn: int) -> None:
        self.abandoned += 1


class Rig:
    """A pool, and the loop that looks after it."""

    def __init__(self) -> None:
        self.errors: list[BaseException] = []
        self.returned: list[Call] = []
        self.pool: ThreadPool[Call] = ThreadPool(
            THREADS,
            50,
            name="struck",
            max_lost=2,
            max_aside=2,
            on_error=self.errors.append,
            on_returned=lambda task, seconds: self.returned.append(task),
        )
        self.tasks: list[Work] = []
        self.stopped = threading.Event()
        self.news = 0

    def submit(self, do: Callable[[], object] = int, *, urgent: bool = False) -> Work:
        task = Work(do)
        self.tasks.append(task)
        if urgent:
            self.pool.submit_urgent(task)
        else:
            assert self.pool.submit(task)
            self.news += 1
        return task

    def until(self, condition: Callable[[], object]) -> None:
        """Be the loop, which mends its pool at each tick."""
        deadline = time.monotonic() + WAIT
        while not condition():
            assert time.monotonic() < deadline
            self.pool.mend()
            time.sleep(0.0005)

    def settle(self) -> None:
        self.until(lambda: not self.pool.busy and not self.pool.queued)

    def check_that_all_threads_work(self) -> None:
        for _ in range(2):
            barrier = threading.Barrier(THREADS + 1)
            for number in range(THREADS):
                task = Call(lambda barrier=barrier: barrier.wait(WAIT))
                if number % 2:
                    self.pool.submit_urgent(task)
                else:
                    assert self.pool.submit(task)
                    self.news += 1
            barrier.wait(WAIT)
        self.settle()

    def check_the_counters(self) -> None:
        pool = self.pool
        assert (pool.alive, pool.busy, pool.queued, pool.lost) == (THREADS, 0, 0, 0)
        assert (pool.aside, pool._extra) == (0, None)
        assert (pool._waking, len(pool._sleepers), len(set(pool._sleepers))) == (None, 2, 2)
        assert pool.completed == self.news
        assert all(place.next is None and place.task is None for place in pool._places)
        assert {place.name for place in pool._places} <= {
            thread.name for thread in threading.enumerate()
        }

    def stop(self) -> None:
        self.pool.stop(self.stopped.set)
        self.until(self.stopped.is_set)
        assert (self.pool.alive, self.pool.lost) == (0, 0)


def fail() -> None:
    raise ValueError("a task's own")


def many_tasks(rig: Rig) -> None:
    """A thread that sleeps is woken, wakes the next one, and takes from either queue."""
    for _ in range(2):
        rig.submit()
        rig.submit(urgent=True)
        rig.submit(fail)
        rig.submit(urgent=True)
        rig.submit()
        rig.settle()


def a_lost_thread(rig: Rig) -> None:
    """A thread is given up, replaced, and returns."""
    opened, began = threading.Event(), threading.Event()

    def hang() -> None:
        began.set()
        opened.wait(WAIT)

    task = rig.submit(hang)
    rig.until(lambda: began.is_set() or task.abandoned)
    rig.pool.lose(task)
    rig.submit()
    opened.set()
    rig.until(lambda: not rig.pool.lost)
    rig.settle()


def a_thread_aside(rig: Rig) -> None:
    """Another one takes its place, and waits in its stead as it goes on."""
    opened = threading.Event()

    def wait() -> None:
        stand_in = rig.pool.stand_in()
        assert stand_in is not None
        for _ in range(2):
            stand_in.release()
            opened.wait(WAIT)
            stand_in.claim()

    task = rig.submit(wait)
    rig.until(lambda: rig.pool.aside or task.abandoned)
    rig.submit()
    opened.set()
    rig.until(lambda: not rig.pool.aside)
    rig.settle()


@pytest.mark.parametrize(
    "scene", [many_tasks, a_lost_thread, a_thread_aside], ids=lambda scene: scene.__name__
)
def test_wherever_a_thread_is_struck(scene: Callable[[Rig], None]) -> None:
    places: Counter[str] = Counter()
    for at in range(1, 2000):
        striker, rig = Striker(*MODULES, at=at), Rig()
        with striker.armed():
            rig.pool.start()
            rig.until(lambda rig=rig: len(rig.pool._sleepers) == THREADS)
            scene(rig)
            striker.is_paused = True
            rig.check_that_all_threads_work()
            rig.check_the_counters()
            striker.is_paused = False
            rig.stop()
        assert len(striker.deaths) <= 1, striker
        assert all(task.ran <= 1 for task in rig.tasks), striker
        lost = [task for task in rig.tasks if not task.ran]
        assert len(lost) <= (striker.where == "run"), f"it was not run; {striker}"
        assert all(task.abandoned for task in lost), striker
        strangers = [error for error in rig.errors if not isinstance(error, ValueError)]
        assert [type(error) for error in strangers] in ([], [StruckError]), striker
        places[striker.where] += 1
        if not striker.where:
            break
    assert places[""] == 1, "all points were tried"
    assert {"_work", "_serve", "_settle", "_wake_next", "run"} <= places.keys()
    assert places["_serve"] > 10


def test_wherever_a_thread_is_struck_as_its_pool_stops() -> None:
    """Also where it lets go of what was withdrawn: who waits behind that must not wait for ever."""
    places: Counter[str] = Counter()
    for at in range(1, 2000):
        striker, rig = Striker(*MODULES, at=at), Rig()
        with striker.armed():
            striker.is_paused = True
            rig.pool.start()
            gates = [threading.Event() for _ in range(THREADS)]
            for gate in gates:
                rig.submit(lambda gate=gate: gate.wait(WAIT))
            rig.until(lambda rig=rig: rig.pool.busy == THREADS and not rig.pool.queued)
            waiting = [rig.submit() for _ in range(5)]
            gone, kept = waiting[::2], waiting[1::2]
            assert all(rig.pool.withdraw(task) for task in gone)
            striker.is_paused = False
            rig.pool.stop(rig.stopped.set)
            for gate in gates:
                gate.set()
            rig.until(rig.stopped.is_set)
        assert len(striker.deaths) <= 1, striker
        assert not any(task.ran for task in gone), f"it was withdrawn; {striker}"
        assert all(task.ran <= 1 for task in kept), striker
        lost = [task for task in kept if not task.ran]
        assert len(lost) <= (striker.where == "run"), f"it was not run; {striker}"
        assert all(task.abandoned for task in lost), striker
        assert (rig.pool.alive, rig.pool.lost, rig.pool.queued) == (0, 0, 0), striker
        assert not rig.pool._queues.withdrawn, striker
        places[striker.where] += 1
        if not striker.where:
            break
    assert places[""] == 1, "all points were tried"
    assert {"trim", "_serve", "_settle", "_tell_end", "run"} <= places.keys()


def test_a_task_that_cannot_even_be_abandoned_costs_a_few_threads() -> None:
    class Hopeless(Work):
        def abandon(self, turn: int) -> None:
            super().abandon(turn)
            raise KeyError

    rig = Rig()
    rig.pool.start()
    task = Hopeless(fail)
    assert rig.pool.submit(task)
    rig.news += 1
    rig.until(lambda: len(rig.errors) > TRIES)
    rig.settle()
    rig.check_that_all_threads_work()
    rig.check_the_counters()
    rig.stop()
    assert [type(error) for error in rig.errors] == [KeyError] * (TRIES + 1)
    assert task.ran == 1


def test_threads_are_struck_for_real(request: pytest.FixtureRequest) -> None:
    """Each at any moment, as timeout decorators of applications do it: often too late."""
    rig = Rig()
    rig.pool.start()
    choice = random.Random(12)
    over = threading.Event()
    strikes = 0
    # Some strike where nothing can be raised: in what the collector calls, such as hypothesis's
    # callback, and in what tells of that.
    for module, name in ((threading, "excepthook"), (sys, "unraisablehook")):
        request.addfinalizer(partial(setattr, module, name, getattr(module, name)))
        setattr(module, name, lambda args: None)

    def strike() -> None:
        nonlocal strikes
        while not over.wait(0.0003 * choice.random()):
            with rig.pool._lock:
                idents = [place.ident for place in rig.pool._places if place.ident]
            if idents:
                raise_in(choice.choice(idents), StruckError)
                strikes += 1

    thread = threading.Thread(target=strike)
    thread.start()
    end = time.monotonic() + 2.0
    while time.monotonic() < end:
        if not rig.pool.full:
            rig.submit(urgent=choice.random() < 0.3)
        if choice.random() < 0.02:
            rig.settle()
        rig.pool.mend()
    over.set()
    thread.join(WAIT)
    rig.settle()
    for _ in range(20):  # what is on its way to a thread that sleeps strikes it once it wakes
        rig.submit()
        rig.submit(urgent=True)
        rig.settle()
    rig.check_that_all_threads_work()
    rig.check_the_counters()
    assert strikes > 50
    assert all(task.ran <= 1 for task in rig.tasks)
    assert all(task.ran or task.abandoned for task in rig.tasks)
    rig.stop()

"""Threads that are lost and replaced, and interrupts that hit nobody else."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable

import pytest
from pools import WAIT, Gate, Rig, pools, until

from wsgi_async.errors import RequestTimeout
from wsgi_async.system.stacks import raise_in
from wsgi_async.threads.pool import Call

make = pytest.fixture(pools)


# --- running, lose -------------------------------------------------------------------------------


def test_running_tells_which_thread_has_which_task(make: Callable[..., Rig]) -> None:
    rig = make(threads=3)
    first, second = rig.gate(), rig.gate(urgent=True)
    running = {found.task: found for found in rig.pool.running()}
    assert running.keys() == {first, second}
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for gate in first, second:
        assert running[gate].name == gate.thread
        assert names[running[gate].ident] == gate.thread
        assert not running[gate].is_lost
    first.opened.set()
    second.opened.set()
    rig.wait_until_idle()
    assert rig.pool.running() == []


def test_a_lost_thread_is_replaced_and_takes_no_other_task(make: Callable[..., Rig]) -> None:
    rig = make(threads=2, max_lost=2)
    stuck, other = rig.occupy()
    ident = rig.pool.lose(stuck)
    assert ident in {thread.ident for thread in threading.enumerate()}
    assert (rig.pool.alive, rig.pool.lost) == (2, 1)
    assert [found.is_lost for found in rig.pool.running() if found.task is stuck] == [True]
    newcomer = rig.gate()
    assert newcomer.thread == "test-3"
    assert rig.pool.submit(task := Call(int))
    stuck.opened.set()
    assert rig.returned.get(timeout=WAIT) is stuck
    assert 0 <= rig.late[0] < WAIT
    assert (rig.pool.alive, rig.pool.lost) == (2, 0)
    assert not task.has_begun, "it waits, although the lost thread is free"
    other.opened.set()
    newcomer.opened.set()


def test_a_thread_that_has_finished_its_task_is_not_lost(make: Callable[..., Rig]) -> None:
    rig = make(max_lost=1)
    gate = rig.gate()
    gate.opened.set()
    rig.wait_until_idle()
    assert rig.pool.lose(gate) is None
    queued, [busy] = Call(int), rig.occupy()
    assert rig.pool.submit(queued)
    assert rig.pool.lose(queued) is None
    assert (rig.pool.alive, rig.pool.lost) == (1, 0)
    busy.opened.set()


def test_a_thread_is_lost_once(make: Callable[..., Rig]) -> None:
    rig = make(max_lost=2)
    gate = rig.gate()
    assert rig.pool.lose(gate) is not None
    assert rig.pool.lose(gate) is None
    assert (rig.pool.alive, rig.pool.lost) == (1, 1)


def test_a_replacement_begins_with_what_is_queued(make: Callable[..., Rig]) -> None:
    rig = make(max_lost=1, queue_size=1)
    stuck = rig.gate()
    done = threading.Event()
    assert rig.pool.submit(Call(done.set))
    rig.pool.lose(stuck)
    assert done.wait(WAIT)


def test_what_a_lost_task_raises_is_not_reported(make: Callable[..., Rig]) -> None:
    rig = make(max_lost=1)
    opened, began = threading.Event(), threading.Event()

    def fail() -> None:
        began.set()
        assert opened.wait(WAIT)
        raise RuntimeError

    task = Call(fail)
    assert rig.pool.submit(task)
    assert began.wait(WAIT)
    rig.pool.lose(task)
    opened.set()
    assert rig.returned.get(timeout=WAIT) is task
    assert rig.errors.empty()
    assert rig.pool.completed == 1


def test_at_the_bound_of_lost_threads_nothing_is_accepted(make: Callable[..., Rig]) -> None:
    rig = make(threads=2, max_lost=2)
    lost = rig.occupy()
    for gate in lost:
        assert not rig.pool.is_exhausted
        rig.pool.lose(gate)
    assert rig.pool.is_exhausted
    assert rig.pool.full
    assert not rig.pool.submit(Call(int))
    rig.flush()  # what was begun goes on
    lost[0].opened.set()
    rig.returned.get(timeout=WAIT)
    assert not rig.pool.is_exhausted
    assert not rig.pool.full
    done = threading.Event()
    assert rig.pool.submit(Call(done.set))
    assert done.wait(WAIT)


def test_beyond_the_bound_a_thread_is_replaced_when_one_returns(make: Callable[..., Rig]) -> None:
    rig = make(threads=2, max_lost=1)
    first, second = rig.occupy()
    third = Gate()
    assert rig.pool.submit(third)
    rig.gates.append(third)
    rig.pool.lose(first)
    assert third.began.wait(WAIT)
    rig.pool.lose(second)
    assert (rig.pool.alive, rig.pool.lost) == (1, 2)
    rig.pool.lose(third)
    assert (rig.pool.alive, rig.pool.lost) == (0, 3)
    ran = threading.Event()
    rig.pool.submit_urgent(Call(ran.set))
    for count, gate in enumerate((second, first, third), 1):
        gate.opened.set()
        rig.returned.get(timeout=WAIT)
        assert (rig.pool.alive, rig.pool.lost) == (min(2, count), 3 - count)
    assert ran.wait(WAIT)


def test_a_thread_that_cannot_be_started_is_tried_again(
    make: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make(threads=2, max_lost=2)
    first, second = rig.occupy()
    start = threading.Thread.start

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert rig.pool.lose(first) is not None
    assert isinstance(rig.errors.get(timeout=WAIT), RuntimeError)
    assert (rig.pool.alive, rig.pool.lost) == (1, 1)
    monkeypatch.setattr(threading.Thread, "start", start)
    first.opened.set()
    rig.returned.get(timeout=WAIT)
    assert rig.pool.alive == 2
    second.opened.set()


def test_stop_does_not_wait_for_lost_threads(make: Callable[..., Rig]) -> None:
    rig = make(threads=2, max_lost=2)
    stuck, other = rig.occupy()
    rig.pool.lose(stuck)
    rig.pool.stop(rig.stopped.set)
    other.opened.set()
    assert rig.stopped.wait(WAIT)
    assert (rig.pool.alive, rig.pool.lost) == (0, 1)
    stuck.opened.set()
    assert rig.returned.get(timeout=WAIT) is stuck
    assert (rig.pool.alive, rig.pool.lost) == (0, 0), "it is not replaced any more"


def test_the_last_thread_may_be_lost_during_a_stop(make: Callable[..., Rig]) -> None:
    rig = make(threads=1, max_lost=1)
    [stuck] = rig.occupy()
    rig.pool.stop(rig.stopped.set)
    assert not rig.stopped.is_set()
    rig.pool.lose(stuck)
    assert rig.stopped.wait(WAIT)
    assert (rig.pool.alive, rig.pool.lost) == (0, 1)


def test_what_is_queued_at_a_stop_is_run_by_the_replacement(make: Callable[..., Rig]) -> None:
    rig = make(threads=1, max_lost=1)
    [stuck] = rig.occupy()
    ran = threading.Event()
    rig.pool.submit_urgent(Call(ran.set))
    rig.pool.stop(rig.stopped.set)
    rig.pool.lose(stuck)
    assert ran.wait(WAIT)
    assert rig.stopped.wait(WAIT)


# --- interrupt -----------------------------------------------------------------------------------


def raise_late(ident: int) -> bool:
    raise_in(ident, RequestTimeout)
    return True


class Spin(Call):
    """Pure Python that never ends by itself."""

    def __init__(self) -> None:
        super().__init__(self.spin)
        self.began = threading.Event()
        self.struck = 0

    def spin(self) -> None:
        try:
            self.began.set()
            self.loop()  # CPython 3.13.0: not in this function
        except RequestTimeout:
            self.struck += 1
            raise

    def loop(self) -> None:
        while True:
            pass


def test_a_lost_thread_can_be_interrupted_once(make: Callable[..., Rig]) -> None:
    rig = make(max_lost=1)
    task = Spin()
    assert rig.pool.submit(task)
    assert task.began.wait(WAIT)
    assert rig.pool.interrupt(task, raise_late) is None, "it is not lost"
    rig.pool.lose(task)
    asked: list[int] = []
    assert rig.pool.interrupt(task, lambda ident: bool(asked.append(ident))) is False
    assert rig.pool.interrupt(task, raise_late) is True
    assert rig.pool.interrupt(task, raise_late) is None
    assert rig.returned.get(timeout=WAIT) is task
    assert task.struck == len(asked) == 1
    assert rig.pool.interrupt(task, raise_late) is None
    assert (rig.pool.alive, rig.pool.lost, rig.pool.completed) == (1, 0, 1)
    rig.flush()


def test_an_interrupt_that_comes_too_late_hits_nobody_else(make: Callable[..., Rig]) -> None:
    """Threads are struck at every moment around the end of their tasks."""
    rounds = 400
    rig = make(threads=2, max_lost=2 * rounds, queue_size=rounds)
    ends: Counter[str] = Counter()
    for number in range(rounds):
        opened, began = threading.Event(), threading.Event()

        def run(
            began: threading.Event = began, opened: threading.Event = opened, number: int = number
        ) -> None:
            began.set()
            opened.wait(WAIT)
            for _ in range(number % 40 * 5):
                pass

        task = Call(run)
        assert rig.pool.submit(task)
        assert began.wait(WAIT)
        assert rig.pool.lose(task) is not None
        opened.set()
        for _ in range(number % 20 * 10):
            pass
        ends[str(rig.pool.interrupt(task, raise_late))] += 1
        if number % 10 == 0:
            rig.flush()
    returned = {rig.returned.get(timeout=WAIT) for _ in range(rounds)}
    assert len(returned) == rounds
    rig.wait_until_idle()
    assert (rig.pool.alive, rig.pool.lost, rig.pool.completed) == (2, 0, rounds)
    assert rig.errors.empty()
    assert ends["True"] > 0


class Striking:
    """A lock that lets a thread be struck as it is let go: the earliest and the worst moment."""

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock
        self.strike: Callable[[], object] | None = None

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()
        if self.strike is not None and threading.current_thread().name.startswith("test-"):
            self.strike()


def test_a_thread_struck_before_it_wakes_the_next_is_counted_and_wakes_it() -> None:
    rig = Rig(threads=2, queue_size=10, max_lost=2)
    pool = rig.pool
    lock = pool._lock = Striking(pool._lock)  # type: ignore[assignment]
    pool.start()
    rig.wait_until_idle()
    struck: list[Call] = []

    def strike() -> None:
        """The thread has a task, and is to wake the other one."""
        mine = (place for place in pool._places if place.ident == threading.get_ident())
        place = next(mine, None)
        if place is not None and place.task is not None and place.next is not None:
            lock.strike = None
            struck.append(place.task)
            assert pool.lose(place.task) is not None
            raise RequestTimeout("now")

    done = threading.Event()
    lock.strike = strike
    with pool._lock:  # two in the queue before a thread comes
        pool._queues.new.extend([Call(lambda: None), Call(done.set)])
        sleeper = pool._sleeper_to_wake()
    assert sleeper is not None
    sleeper.release()
    assert done.wait(WAIT)
    assert rig.returned.get(timeout=WAIT) is struck[0]
    rig.wait_until_idle()
    assert not struck[0].has_begun
    assert (pool.completed, pool._waking) == (2, None)
    pool.stop(rig.stopped.set)
    assert rig.stopped.wait(WAIT)


def test_threads_are_lost_while_everything_else_goes_on(make: Callable[..., Rig]) -> None:
    rig = make(threads=4, max_lost=1000, queue_size=10_000)
    ran: Counter[int] = Counter()
    lock = threading.Lock()

    def run(number: int) -> None:
        with lock:
            ran[number] += 1

    tasks = [Call(lambda number=number: run(number)) for number in range(6000)]
    over = threading.Event()
    lost = 0

    def lose() -> None:
        nonlocal lost
        while not over.is_set():
            for found in rig.pool.running():
                if not found.is_lost and lost < 500 and rig.pool.lose(found.task) is not None:
                    lost += 1
                    rig.pool.interrupt(found.task, raise_late)

    loser = threading.Thread(target=lose)
    loser.start()
    for number, task in enumerate(tasks):
        if number % 3:
            assert rig.pool.submit(task)
        else:
            rig.pool.submit_urgent(task)
    rig.flush()
    until(lambda: not rig.pool.queued)
    over.set()
    loser.join(WAIT)
    for _ in range(lost):
        rig.returned.get(timeout=WAIT)
    rig.wait_until_idle()
    assert (rig.pool.alive, rig.pool.lost) == (4, 0)
    assert set(ran.values()) <= {1}
    assert len(tasks) - len(ran) <= lost, "only what was struck has not run"
    assert rig.pool.completed == 4000

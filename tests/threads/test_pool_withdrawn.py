"""Tasks that are withdrawn: they are not run, and give their places back."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable

import pytest
from pools import WAIT, Gate, Rig, pools, until

from wsgi_async.threads.pool import Call, ThreadPool
from wsgi_async.threads.task_queues import TaskQueues

make = pytest.fixture(pools)


def test_a_withdrawn_task_is_not_run_and_gives_its_place_back(make: Callable[..., Rig]) -> None:
    rig = make(queue_size=3)
    [gate] = rig.occupy()
    ran: list[int] = []
    tasks = [Call(lambda number=number: ran.append(number)) for number in range(5)]
    assert [rig.pool.submit(task) for task in tasks[:3]] == [True] * 3
    assert rig.pool.full
    assert rig.pool.oldest is tasks[0]
    assert rig.pool.withdraw(tasks[1])
    assert not rig.pool.full
    assert rig.pool.queued == 2
    assert rig.pool.submit(tasks[3])
    assert not rig.pool.submit(tasks[4])
    assert rig.pool.withdraw(tasks[0])
    assert rig.pool.oldest is tasks[2], "a withdrawn task waits for nothing"
    assert rig.pool.submit(tasks[4])
    assert rig.pool.full
    gate.opened.set()
    rig.flush()
    rig.wait_until_idle()
    assert ran == [2, 3, 4]
    assert rig.pool.completed == 4
    assert rig.pool.oldest is None


def test_memory_that_runs_out_as_withdrawn_tasks_are_let_go_leaves_the_queue_in_order(
    make: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are not run, and do not count as waiting; the thread that was struck is replaced."""
    rig = make(queue_size=3)
    [gate] = rig.occupy()
    ran: list[str] = []
    tasks = [Call(lambda: ran.append("withdrawn")), Call(lambda: ran.append("next"))]
    for task in tasks:
        rig.pool.submit(task)
    assert rig.pool.withdraw(tasks[0])

    def fail(queues: TaskQueues[Call]) -> None:
        monkeypatch.undo()
        raise MemoryError

    monkeypatch.setattr(TaskQueues, "trim", fail)
    gate.opened.set()
    rig.flush()
    rig.wait_until_idle()
    assert ran == ["next"]
    assert isinstance(rig.errors.get(timeout=WAIT), MemoryError)
    assert rig.pool.queued == 0
    assert rig.pool.oldest is None
    assert not rig.pool.full


def test_lengths_of_different_moments_are_no_error(make: Callable[..., Rig]) -> None:
    """Whoever asks how many wait holds no lock: a thread may be between two steps."""
    rig = make()
    rig.pool._queues.withdrawn.add(Call(int))
    assert rig.pool.queued == 0
    rig.pool._queues.withdrawn.clear()


def test_no_thread_is_woken_for_what_is_withdrawn() -> None:
    """It would find nothing to do, and take the GIL from those that have."""
    wakes: list[Callable[[], object]] = []
    stopped = threading.Event()
    pool: ThreadPool[Call] = ThreadPool(2, 10, on_error=print, soon=wakes.append)
    pool.start()
    until(lambda: not pool.busy)
    gate, gone = Gate(), Call(int)
    assert pool.submit(gate)
    assert pool.submit(gone)
    assert pool.withdraw(gone)
    [wake] = wakes
    wake()
    assert gate.began.wait(WAIT)
    assert pool._waking is None
    assert pool._queues.withdrawn == {gone}, "nobody has come by"
    assert (pool.busy, pool.queued) == (1, 0)
    gate.opened.set()
    pool.stop(stopped.set)
    assert stopped.wait(WAIT)


def test_what_has_begun_cannot_be_withdrawn(make: Callable[..., Rig]) -> None:
    rig = make()
    gate = rig.gate()
    assert not rig.pool.withdraw(gate)
    gate.opened.set()
    rig.wait_until_idle()
    assert not rig.pool.withdraw(gate)
    assert rig.pool.queued == 0


def test_what_was_withdrawn_cannot_be_withdrawn_again(make: Callable[..., Rig]) -> None:
    rig = make()
    [gate] = rig.occupy()
    first, task = Call(int), Call(int)
    assert rig.pool.submit(first)
    assert rig.pool.submit(task)
    assert rig.pool.withdraw(task)
    assert not rig.pool.withdraw(task)
    assert rig.pool.queued == 1
    gate.opened.set()


def test_clients_that_come_and_go_beside_hung_threads_do_not_fill_the_memory(
    make: Callable[..., Rig],
) -> None:
    rig = make(queue_size=1000)
    [gate] = rig.occupy()
    stays = Call(int)
    assert rig.pool.submit(stays)
    for _ in range(20):
        crowd = [Call(int) for _ in range(999)]
        assert all(rig.pool.submit(task) for task in crowd)
        assert rig.pool.full
        for task in reversed(crowd):
            assert rig.pool.withdraw(task)
            task.has_begun = True
    assert rig.pool.queued == 1
    assert rig.pool.oldest is stays
    assert len(rig.pool._queues.new) < 200
    gate.opened.set()
    rig.wait_until_idle()
    assert rig.pool.completed == 2


def test_a_task_is_either_run_or_withdrawn(make: Callable[..., Rig]) -> None:
    rig = make(threads=4, queue_size=10_000)
    ran: Counter[int] = Counter()
    withdrawn: Counter[int] = Counter()
    lock = threading.Lock()

    def run(number: int) -> None:
        with lock:
            ran[number] += 1

    def work(base: int) -> None:
        tasks = {
            number: Call(lambda number=number: run(number)) for number in range(base, base + 2000)
        }
        for number, task in tasks.items():
            assert rig.pool.submit(task)
            chosen = number - number % 7 // 2
            if number % 3 == 0 and chosen >= base and rig.pool.withdraw(tasks[chosen]):
                with lock:
                    withdrawn[chosen] += 1
                tasks[chosen].has_begun = True

    threads = [threading.Thread(target=work, args=(base,)) for base in (0, 10_000, 20_000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    rig.pool.stop(rig.stopped.set)
    assert rig.stopped.wait(WAIT)
    assert set(ran.values()) == {1}
    assert set(withdrawn.values()) <= {1}
    assert not ran.keys() & withdrawn.keys()
    assert len(ran) + len(withdrawn) == 6000
    assert rig.pool.completed == len(ran)
    assert rig.pool.queued == 0

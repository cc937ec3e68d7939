"""The bounded thread pool: bounds, order, wake-ups, stops, and what survives a failing task."""

from __future__ import annotations

import functools
import queue
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from pools import WAIT, Gate, Rig, pools, until

from wsgi_async.threads.pool import Call, ThreadPool

make = pytest.fixture(pools)


def test_threads_are_daemons_with_names(make: Callable[..., Rig]) -> None:
    rig = make(threads=3, name="named")
    names = {thread.name: thread.daemon for thread in threading.enumerate()}
    assert [names.get(f"named-{number}") for number in (1, 2, 3)] == [True] * 3
    assert {gate.thread for gate in rig.occupy()} == {"named-1", "named-2", "named-3"}


class Turn:
    """A pool whose tasks come from a loop, and the end of that loop's turn."""

    def __init__(self, threads: int) -> None:
        self.callbacks: list[Callable[[], object]] = []
        self.pool: ThreadPool[Call] = ThreadPool(
            threads, 10, on_error=pytest.fail, soon=self.callbacks.append
        )
        self.stopped = threading.Event()
        self.pool.start()
        until(lambda: not self.pool.busy)

    def end(self) -> None:
        callbacks, self.callbacks[:] = self.callbacks[:], []
        for callback in callbacks:
            callback()


@pytest.fixture
def turns() -> Iterator[Callable[[int], Turn]]:
    made: list[Turn] = []

    def start(threads: int) -> Turn:
        made.append(Turn(threads))
        return made[-1]

    yield start
    for turn in made:
        turn.pool.stop(turn.stopped.set)
        assert turn.stopped.wait(WAIT)


def test_a_loop_has_one_thread_woken_at_the_end_of_its_turn(
    turns: Callable[[int], Turn],
) -> None:
    turn = turns(2)
    ran: queue.Queue[int] = queue.Queue()
    for number in range(3):
        assert turn.pool.submit(Call(functools.partial(ran.put, number)))
    turn.pool.submit_urgent(Call(functools.partial(ran.put, 3)))
    assert (len(turn.callbacks), turn.pool.queued, ran.qsize()) == (1, 4, 0)
    turn.end()
    assert {ran.get(timeout=WAIT) for _ in range(4)} == {0, 1, 2, 3}


def test_nobody_else_is_woken_before_the_one_that_is_has_come(
    turns: Callable[[int], Turn],
) -> None:
    """Also where a thread that was at work takes the task meanwhile."""
    turn = turns(2)
    gate = Gate()
    assert turn.pool.submit(gate)
    turn.end()
    assert gate.began.wait(WAIT)
    first, second = threading.Event(), threading.Event()
    assert turn.pool.submit(Call(first.set))
    assert len(turn.callbacks) == 1
    gate.opened.set()
    assert first.wait(WAIT)
    until(lambda: turn.pool.busy == 1)
    assert turn.pool.submit(Call(second.set))
    assert len(turn.callbacks) == 1
    turn.end()
    assert second.wait(WAIT)


def test_a_loop_that_is_closed_has_no_further_turn() -> None:
    def closed(callback: object) -> None:
        raise RuntimeError("Event loop is closed")

    pool: ThreadPool[Call] = ThreadPool(1, 10, on_error=pytest.fail, soon=closed)
    pool.start()
    ran = threading.Event()
    until(lambda: not pool.busy)
    assert pool.submit(Call(ran.set))
    assert ran.wait(WAIT)
    stopped = threading.Event()
    pool.stop(stopped.set)
    assert stopped.wait(WAIT)


def test_at_most_that_many_run_at_once(make: Callable[..., Rig]) -> None:
    rig = make(threads=2)
    first, second = rig.occupy()
    third = Gate()
    assert rig.pool.submit(third)
    assert (rig.pool.busy, rig.pool.queued) == (2, 1)
    assert not third.began.is_set()
    third.opened.set()
    first.opened.set()
    assert third.began.wait(WAIT)
    second.opened.set()


def test_tasks_run_in_the_order_they_came(make: Callable[..., Rig]) -> None:
    rig = make()
    [gate] = rig.occupy()
    ran: list[int] = []
    for number in range(10):
        assert rig.pool.submit(Call(lambda number=number: ran.append(number)))
    gate.opened.set()
    rig.flush()
    while len(ran) < 10:
        rig.flush()
    assert ran == list(range(10))


@pytest.mark.parametrize("queue_size", [0, 1, 3])
def test_the_queue_refuses_beyond_its_bound_and_does_nothing(
    make: Callable[..., Rig], queue_size: int
) -> None:
    rig = make(threads=2, queue_size=queue_size)
    assert not rig.pool.full
    gates = rig.occupy()
    ran: list[int] = []
    for number in range(queue_size):
        assert not rig.pool.full
        assert rig.pool.submit(Call(lambda number=number: ran.append(number)))
    assert rig.pool.full
    before = rig.pool.submitted
    assert not rig.pool.submit(Call(lambda: ran.append(-1)))
    assert (rig.pool.submitted, rig.pool.queued) == (before, queue_size)
    for gate in gates:
        gate.opened.set()
    rig.flush()
    rig.wait_until_idle()
    assert sorted(ran) == list(range(queue_size))
    assert not rig.pool.full


def test_free_threads_count_on_top_of_the_queue(make: Callable[..., Rig]) -> None:
    """A burst on an idle server is not refused because its threads have not woken yet."""
    rig = make(threads=3, queue_size=0)
    gates = [Gate() for _ in range(3)]
    rig.gates = gates
    assert [rig.pool.submit(gate) for gate in gates] == [True] * 3
    assert not rig.pool.submit(Gate())
    assert all(gate.began.wait(WAIT) for gate in gates)


def test_urgent_tasks_are_never_refused(make: Callable[..., Rig]) -> None:
    rig = make(threads=1, queue_size=0)
    [gate] = rig.occupy()
    ran: list[int] = []
    assert rig.pool.full
    for number in range(100):
        rig.pool.submit_urgent(Call(lambda number=number: ran.append(number)))
    assert rig.pool.queued == 100
    assert rig.pool.full, "their queue does not count"
    gate.opened.set()
    rig.flush()
    assert ran == list(range(100))


def test_the_two_queues_are_served_alternately(make: Callable[..., Rig]) -> None:
    rig = make()
    [gate] = rig.occupy()
    ran: list[str] = []
    done = threading.Event()
    for number in range(4):
        assert rig.pool.submit(Call(lambda number=number: ran.append(f"new {number}")))
    for number in range(4):
        rig.pool.submit_urgent(Call(lambda number=number: ran.append(f"urgent {number}")))
    for number in range(4, 6):
        assert rig.pool.submit(Call(lambda number=number: ran.append(f"new {number}")))
    assert rig.pool.submit(Call(done.set))
    gate.opened.set()
    assert done.wait(WAIT)
    expected = [f"{kind} {number}" for number in range(4) for kind in ("urgent", "new")]
    assert ran == [*expected, "new 4", "new 5"]


def test_neither_queue_starves_the_other(make: Callable[..., Rig]) -> None:
    """Tasks that submit themselves again for ever, in either queue, do not hold the other up."""
    rig = make(threads=1, queue_size=10)
    stop = threading.Event()

    def resume_for_ever() -> None:
        if not stop.is_set():
            rig.pool.submit_urgent(Call(resume_for_ever))

    rig.pool.submit_urgent(Call(resume_for_ever))
    for _ in range(20):
        done = threading.Event()
        assert rig.pool.submit(Call(done.set))
        assert done.wait(WAIT)
    stop.set()


@pytest.mark.parametrize("threads", [1, 2, 8, 32])
def test_tasks_that_wait_for_each_other_all_start(make: Callable[..., Rig], threads: int) -> None:
    """Wake-ups are chained: a lost link would leave a thread asleep beside work."""
    rig = make(threads=threads, queue_size=threads)
    for _ in range(20):
        barrier = threading.Barrier(threads + 1)
        for number in range(threads):
            task = lambda barrier=barrier: barrier.wait(WAIT)  # noqa: E731
            if number % 2:
                rig.pool.submit_urgent(Call(task))
            else:
                assert rig.pool.submit(Call(task))
        barrier.wait(WAIT)


def test_a_task_that_submits_and_waits_wakes_another_thread(make: Callable[..., Rig]) -> None:
    rig = make(threads=2)
    outer = threading.Event()

    def task() -> None:
        inner = threading.Event()
        assert rig.pool.submit(Call(inner.set))
        assert inner.wait(WAIT)
        outer.set()

    assert rig.pool.submit(Call(task))
    assert outer.wait(WAIT)


def test_the_most_recently_idle_thread_is_woken_first(make: Callable[..., Rig]) -> None:
    rig = make(threads=3)
    gates = rig.occupy()
    for busy, gate in zip((2, 1, 0), gates, strict=True):
        gate.opened.set()
        until(lambda busy=busy: rig.pool.busy == busy)
    assert rig.gate().thread == gates[-1].thread


@pytest.mark.parametrize(
    "error", [RuntimeError("x"), SystemExit(1), KeyboardInterrupt(), GeneratorExit()], ids=repr
)
def test_a_task_that_raises_costs_nobody_a_thread(
    make: Callable[..., Rig], error: BaseException
) -> None:
    rig = make(threads=1)

    def fail() -> None:
        raise error

    for _ in range(3):
        assert rig.pool.submit(Call(fail))
        assert rig.errors.get(timeout=WAIT) is error
    rig.flush()
    rig.wait_until_idle()
    assert rig.pool.alive == 1
    assert (rig.pool.submitted, rig.pool.completed) == (4, 3)  # one of them was urgent


def test_a_report_that_fails_costs_nobody_a_thread() -> None:
    def report(error: BaseException) -> None:
        raise SystemExit

    stopped = threading.Event()
    pool = ThreadPool(1, 10, on_error=report)
    pool.start()
    assert pool.submit(Call(lambda: 1 / 0))
    done = threading.Event()
    assert pool.submit(Call(done.set))
    assert done.wait(WAIT)
    pool.stop(stopped.set)
    assert stopped.wait(WAIT)


def test_what_a_task_holds_is_let_go_when_it_has_run(make: Callable[..., Rig]) -> None:
    class Held:
        def __call__(self) -> None:
            pass

    rig = make()
    held = Held()
    reference = weakref.ref(held)
    assert rig.pool.submit(Call(held))
    del held
    rig.wait_until_idle()
    assert reference() is None


def test_the_counters(make: Callable[..., Rig]) -> None:
    rig = make(threads=2, queue_size=5)
    pool = rig.pool
    assert (pool.submitted, pool.completed, pool.queued, pool.busy, pool.alive) == (0, 0, 0, 0, 2)
    gates = rig.occupy()
    assert (pool.submitted, pool.completed, pool.queued, pool.busy) == (2, 0, 0, 2)
    assert pool.submit(Call(lambda: None))
    pool.submit_urgent(Call(lambda: None))
    assert (pool.submitted, pool.completed, pool.queued, pool.busy) == (4, 0, 2, 2)
    for gate in gates:
        gate.opened.set()
    rig.wait_until_idle()
    assert (pool.submitted, pool.completed, pool.queued, pool.busy) == (4, 3, 0, 0)


def test_only_new_tasks_are_counted_as_completed(make: Callable[..., Rig]) -> None:
    rig = make(threads=1)
    [gate] = rig.occupy()
    for _ in range(3):
        assert rig.pool.submit(Call(lambda: None))
    for _ in range(5):
        rig.pool.submit_urgent(Call(lambda: None))
    gate.opened.set()
    rig.wait_until_idle()
    assert (rig.pool.submitted, rig.pool.completed) == (9, 4)


# --- stop ----------------------------------------------------------------------------------------


def test_stop_with_nothing_to_do(make: Callable[..., Rig]) -> None:
    rig = make(threads=3, name="gone")
    rig.pool.stop(rig.stopped.set)
    assert rig.stopped.wait(WAIT)
    assert (rig.pool.alive, rig.pool.busy) == (0, 0)


def test_stop_runs_what_is_queued_first(make: Callable[..., Rig]) -> None:
    rig = make(threads=2)
    gates = rig.occupy()
    ran: list[str] = []
    assert rig.pool.submit(Call(lambda: ran.append("new")))
    rig.pool.submit_urgent(Call(lambda: ran.append("urgent")))
    rig.pool.stop(rig.stopped.set)
    rig.pool.submit_urgent(Call(lambda: ran.append("late")))
    assert not rig.stopped.is_set()
    for gate in gates:
        gate.opened.set()
    assert rig.stopped.wait(WAIT)
    assert sorted(ran) == ["late", "new", "urgent"]
    assert rig.pool.submitted - rig.pool.completed == 2, "the urgent ones are not counted"


def test_stop_is_not_told_while_a_thread_is_stuck(make: Callable[..., Rig]) -> None:
    rig = make(threads=3)
    stuck = rig.gate()
    rig.pool.stop(rig.stopped.set)
    until(lambda: rig.pool.alive == 1)
    assert not rig.stopped.is_set()
    assert (rig.pool.alive, rig.pool.busy) == (1, 1)
    stuck.opened.set()
    assert rig.stopped.wait(WAIT)


def test_a_pool_that_never_started_stops_at_once() -> None:
    stopped = threading.Event()
    ThreadPool(2, 0, on_error=pytest.fail).stop(stopped.set)
    assert stopped.is_set()


# --- all at once ---------------------------------------------------------------------------------


def test_nothing_is_lost_and_nothing_runs_twice(make: Callable[..., Rig]) -> None:
    rig = make(threads=4, queue_size=50)
    pool = rig.pool
    submitters, each = 4, 1500
    ran: Counter[tuple[int, int]] = Counter()
    refused: Counter[int] = Counter()
    lock = threading.Lock()
    active = 0
    most = 0

    def task(key: tuple[int, int]) -> None:
        nonlocal active, most
        with lock:
            active += 1
            most = max(most, active)
        with lock:
            ran[key] += 1
            active -= 1

    def submit(number: int) -> None:
        for index in range(each):
            key = (number, index)
            if index % 3 == 0:
                pool.submit_urgent(Call(lambda key=key: task(key)))
            elif not pool.submit(Call(lambda key=key: task(key))):
                with lock:
                    refused[number] += 1

    threads = [threading.Thread(target=submit, args=(n,)) for n in range(submitters)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    pool.stop(rig.stopped.set)
    assert rig.stopped.wait(WAIT)
    assert set(ran.values()) == {1}
    assert sum(ran.values()) + sum(refused.values()) == submitters * each
    assert pool.submitted == sum(ran.values())
    assert pool.completed == sum(count for (_, index), count in ran.items() if index % 3)
    assert pool.queued == 0
    assert most <= 4

"""The bounded thread pool: bounds, order, wake-ups, and what survives a failing task."""

from __future__ import annotations

import functools
import queue
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from wsgi_async.errors import RequestTimeout
from wsgi_async.system.stacks import raise_in
from wsgi_async.threads.pool import Call, ThreadPool

WAIT = 10.0


def until(condition: Callable[[], bool]) -> None:
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
        self, threads: int, queue_size: int, name: str = "test", max_lost: int = 0
    ) -> None:
        self.errors: queue.Queue[BaseException] = queue.Queue()
        self.returned: queue.Queue[Call] = queue.Queue()
        self.late: list[float] = []
        self.pool: ThreadPool[Call] = ThreadPool(
            threads,
            queue_size,
            name=name,
            max_lost=max_lost,
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


@pytest.fixture
def make() -> Iterator[Callable[..., Rig]]:
    rigs: list[Rig] = []

    def start(threads: int = 1, queue_size: int = 10, name: str = "test", max_lost: int = 0) -> Rig:
        rig = Rig(threads, queue_size, name, max_lost)
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


# --- withdraw ------------------------------------------------------------------------------------


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
    assert len(rig.pool._new) < 200
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
        pool._new.extend([Call(lambda: None), Call(done.set)])
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

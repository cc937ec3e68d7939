"""Threads that stand aside: others have their place, and no more tasks run at once than before."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from pools import WAIT, Rig, pools, until
from striking import StruckError

from wsgi_async.system.stacks import raise_in
from wsgi_async.threads import pool as pool_module
from wsgi_async.threads.places import Place
from wsgi_async.threads.pool import Call
from wsgi_async.threads.stand_ins import Permit, StandIn

make = pytest.fixture(pools)


class Waiter(Call):
    """A task that stands aside, waits until it is let, goes on, and does so again."""

    def __init__(self, rig: Rig, times: int = 1) -> None:
        super().__init__(self.work)
        self.rig = rig
        self.times = times
        self.waits = threading.Semaphore(0)
        self.lets = threading.Semaphore(0)
        self.runs = threading.Semaphore(0)
        self.goes_on = threading.Semaphore(0)
        self.thread: list[int] = []
        self.stand_in: StandIn | None = None

    def work(self) -> None:
        self.stand_in = self.rig.pool.stand_in()
        for _ in range(self.times):
            self.thread.append(threading.get_ident())
            if self.stand_in is not None:
                self.stand_in.release()
            self.waits.release()
            assert self.lets.acquire(timeout=WAIT)
            if self.stand_in is not None:
                self.stand_in.claim()
            self.runs.release()
            assert self.goes_on.acquire(timeout=WAIT)

    def wait(self) -> None:
        """Until it waits."""
        assert self.waits.acquire(timeout=WAIT)

    def end(self) -> None:
        for _ in range(self.times):
            self.lets.release()
            self.goes_on.release()


def aside(rig: Rig, count: int = 1, times: int = 1) -> list[Waiter]:
    waiters = []
    for _ in range(count):
        waiter = Waiter(rig, times)
        assert rig.pool.submit(waiter)
        waiter.wait()
        waiters.append(waiter)
    return waiters


def test_another_thread_takes_the_place_of_one_that_stands_aside(make: Callable[..., Rig]) -> None:
    rig = make(max_aside=10)
    waiters = aside(rig, 10)
    rig.flush()
    assert (rig.pool.aside, rig.pool.alive) == (10, 11)
    rig.wait_until_idle()
    assert {found.task for found in rig.pool.running()} == set(waiters)
    assert not any(found.is_lost for found in rig.pool.running())
    for waiter in waiters:
        waiter.end()
    until(lambda: rig.pool.alive == 1)
    assert (rig.pool.aside, rig.pool.completed) == (0, 10), "each thread ends with its task"
    rig.flush()


def test_its_task_stays_on_its_thread(make: Callable[..., Rig]) -> None:
    """What the application keeps in thread-locals is there, and nobody else has used them."""
    rig = make(threads=2, max_aside=1)
    [waiter] = aside(rig, times=5)
    waiter.end()
    until(lambda: rig.pool.alive == 2)
    assert len(waiter.thread) == 5
    assert len(set(waiter.thread)) == 1


def test_no_more_tasks_run_at_once_than_there_are_threads(make: Callable[..., Rig]) -> None:
    rig = make(threads=2, max_aside=2)
    waiters = aside(rig, 2)
    first, second = rig.occupy()
    waiters[0].lets.release()
    until(lambda: rig.pool.queued == 1)
    assert not waiters[0].runs.acquire(blocking=False), "both threads are busy"
    first.opened.set()
    assert waiters[0].runs.acquire(timeout=WAIT)
    until(lambda: rig.pool.busy == 2)
    late = Call(int)
    assert rig.pool.submit(late)
    assert rig.pool.queued == 1
    assert not late.has_begun, "a thread waits for the one that runs"
    waiters[0].goes_on.release()
    until(lambda: late.has_begun)
    second.opened.set()
    waiters[1].end()
    until(lambda: rig.pool.alive == 2)


def test_at_the_bound_a_thread_keeps_its_place(make: Callable[..., Rig]) -> None:
    rig = make(threads=3, max_aside=1)
    first, second = aside(rig, 2)
    assert first.stand_in is not None
    assert second.stand_in is None
    assert (rig.pool.aside, rig.pool.alive) == (1, 4)
    first.end()
    until(lambda: rig.pool.aside == 0)
    second.end()
    [third] = aside(rig)
    assert third.stand_in is not None, "there is room again"
    third.end()


def test_it_keeps_its_place_where_no_thread_can_be_started(
    make: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make(threads=2, max_aside=2)

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    [waiter] = aside(rig)
    assert waiter.stand_in is None
    assert isinstance(rig.errors.get(timeout=WAIT), RuntimeError)
    assert (rig.pool.aside, rig.pool.alive) == (0, 2)
    monkeypatch.undo()
    waiter.end()
    rig.wait_until_idle()
    rig.pool.mend()
    assert rig.pool.alive == 2
    [waiter] = aside(rig)
    assert waiter.stand_in is not None
    waiter.end()


def test_the_loop_does_not_wait_for_threads_that_others_start(make: Callable[..., Rig]) -> None:
    """Many may stand aside at once, and a thread says that it has started when its turn comes."""
    rig = make()
    with rig.pool._starting:
        loop = threading.Thread(target=rig.pool.mend)
        loop.start()
        loop.join(WAIT)
        assert not loop.is_alive()


def test_a_lost_thread_has_no_place_to_give(make: Callable[..., Rig]) -> None:
    rig = make(threads=2, max_lost=1, max_aside=1)
    began, lost = threading.Event(), threading.Event()
    found: list[object] = []

    def work() -> None:
        began.set()
        assert lost.wait(WAIT)
        found.append(rig.pool.stand_in())

    task = Call(work)
    assert rig.pool.submit(task)
    assert began.wait(WAIT)
    rig.pool.lose(task)
    lost.set()
    assert rig.returned.get(timeout=WAIT) is task
    assert found == [None]


def test_one_that_stands_aside_can_be_lost_and_costs_no_place(make: Callable[..., Rig]) -> None:
    """It hangs once it has gone on: ``--request-timeout``."""
    rig = make(threads=1, max_lost=1, max_aside=1)
    [waiter] = aside(rig)
    waiter.lets.release()
    assert waiter.runs.acquire(timeout=WAIT)
    assert rig.pool.busy == 1
    assert rig.pool.lose(waiter) == waiter.thread[0]
    assert (rig.pool.alive, rig.pool.lost, rig.pool.aside) == (1, 1, 0)
    rig.flush()
    waiter.goes_on.release()
    assert rig.returned.get(timeout=WAIT) is waiter
    assert (rig.pool.alive, rig.pool.lost) == (1, 0)


def test_a_stop_waits_for_it(make: Callable[..., Rig]) -> None:
    rig = make(threads=2, max_aside=2)
    waiters = aside(rig, 2)
    rig.pool.stop(rig.stopped.set)
    until(lambda: rig.pool.alive == 2)
    assert not rig.stopped.is_set()
    for waiter in waiters:
        waiter.end()
    assert rig.stopped.wait(WAIT)
    assert (rig.pool.alive, rig.pool.aside) == (0, 0)


def test_nobody_stands_aside_any_more_once_the_pool_stops(make: Callable[..., Rig]) -> None:
    rig = make(threads=2, max_aside=2)
    gate = rig.gate()
    waiter = Waiter(rig)
    rig.pool.submit_urgent(blocker := Call(lambda: gate.opened.wait(WAIT)))
    assert rig.pool.submit(waiter)
    rig.pool.stop(rig.stopped.set)
    gate.opened.set()
    waiter.wait()
    assert waiter.stand_in is None
    assert blocker.has_begun
    waiter.end()
    assert rig.stopped.wait(WAIT)


def test_where_all_threads_wait_for_what_it_holds_it_goes_on(
    make: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database's connection out of a pool that has no more of them, for one."""
    monkeypatch.setattr(pool_module, "CLAIM_TIME", 0.01)
    rig = make(threads=2, max_aside=3)
    waiters = aside(rig, 3)
    gates = rig.occupy()
    for waiter in waiters:
        waiter.lets.release()
    until(lambda: rig.pool._extra is not None)
    until(lambda: any(waiter.runs._value for waiter in waiters))
    [first] = [waiter for waiter in waiters if waiter.runs.acquire(blocking=False)]
    others = [waiter for waiter in waiters if waiter is not first]
    assert not any(waiter.runs.acquire(timeout=0.1) for waiter in others), "one, and no more"
    first.goes_on.release()
    until(lambda: any(waiter.runs._value for waiter in others))
    for gate in gates:
        gate.opened.set()
    for waiter in others:
        assert waiter.runs.acquire(timeout=WAIT)
        waiter.goes_on.release()
    until(lambda: rig.pool.alive == 2)
    assert rig.pool._extra is None
    rig.wait_until_idle()


def test_a_thread_that_sleeps_is_left_asleep_in_its_stead(make: Callable[..., Rig]) -> None:
    """It costs no switch of threads; and what comes is served by the others alone."""
    rig = make(threads=2, max_aside=1)
    [waiter] = aside(rig)
    rig.wait_until_idle()
    waiter.lets.release()
    assert waiter.runs.acquire(timeout=WAIT)
    assert rig.pool.busy == 1
    assert all(place.task is None for place in rig.pool._places), "nobody was woken for it"
    gate = rig.gate()
    late = Call(int)
    assert rig.pool.submit(late)
    assert rig.pool.neglected() is None, "no thread is idle, though one sleeps"
    assert not late.has_begun
    waiter.goes_on.release()
    until(lambda: late.has_begun)
    gate.opened.set()
    rig.wait_until_idle()
    assert len(rig.pool._sleepers) == len(set(rig.pool._sleepers)) == 2


def test_at_a_stop_it_goes_on_whoever_is_busy(
    make: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads that hang in the application must not keep others from closing what they have."""
    monkeypatch.setattr(pool_module, "CLAIM_TIME", 3600.0)
    rig = make(threads=2, max_aside=3)
    waiters = aside(rig, 3)
    gates = rig.occupy()
    for waiter in waiters:
        waiter.lets.release()
    until(lambda: rig.pool.queued == 3)
    rig.pool.stop(rig.stopped.set)
    for waiter in waiters:
        assert waiter.runs.acquire(timeout=WAIT)
        waiter.goes_on.release()
    until(lambda: rig.pool.aside == 0)
    assert not rig.stopped.is_set()
    for gate in gates:
        gate.opened.set()
    assert rig.stopped.wait(WAIT)


def test_one_that_has_ended_has_nobody_wait(make: Callable[..., Rig]) -> None:
    """Its response may go on in another thread (``park``): nobody would let them go again."""
    rig = make(threads=2, max_aside=1)
    [waiter] = aside(rig)
    waiter.end()
    until(lambda: rig.pool.alive == 2)
    rig.wait_until_idle()
    assert waiter.stand_in is not None
    waiter.stand_in.release()
    waiter.stand_in.claim()
    for gate in rig.occupy():
        gate.opened.set()


def test_at_a_stop_the_one_that_was_left_asleep_ends_too(make: Callable[..., Rig]) -> None:
    rig = make(threads=2, max_aside=1)
    [waiter] = aside(rig)
    rig.wait_until_idle()
    waiter.lets.release()
    assert waiter.runs.acquire(timeout=WAIT)
    rig.pool.stop(rig.stopped.set)
    until(lambda: rig.pool.alive == 2)
    assert not rig.stopped.is_set()
    waiter.goes_on.release()
    assert rig.stopped.wait(WAIT)
    assert rig.pool.alive == 0


def test_one_that_is_struck_where_it_was_left_asleep_is_never_woken_again(
    make: Callable[..., Rig],
) -> None:
    """Nobody would wake on it, and until somebody does no other thread is woken."""
    rig = make(threads=2, max_aside=1)
    [waiter] = aside(rig)
    rig.wait_until_idle()
    waiter.lets.release()
    assert waiter.runs.acquire(timeout=WAIT)
    [held] = [place for place in rig.pool._places if place.sleeper not in rig.pool._sleepers]
    raise_in(held.ident, StruckError)
    held.sleeper.release()  # as it is struck before it sleeps
    assert isinstance(rig.errors.get(timeout=WAIT), StruckError)
    until(lambda: held not in rig.pool._places)
    waiter.goes_on.release()
    until(lambda: rig.pool.aside == 0)
    rig.wait_until_idle()
    assert set(rig.pool._sleepers) == {place.sleeper for place in rig.pool._places}
    for gate in rig.occupy():
        gate.opened.set()


def test_one_that_is_struck_as_it_gives_way_wakes_the_next_all_the_same(
    make: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its task may go on for long, and nobody else would be woken meanwhile."""
    rig = make(threads=2, max_aside=1)
    [waiter] = aside(rig)
    rig.wait_until_idle()
    waiter.lets.release()
    assert waiter.runs.acquire(timeout=WAIT)
    gate, late = rig.gate(), Call(int)
    assert rig.pool.submit(late)
    wake_next, strikes = rig.pool._wake_next, [StruckError]

    def struck(place: Place[Call]) -> None:
        if strikes:
            raise strikes.pop()
        wake_next(place)

    monkeypatch.setattr(rig.pool, "_wake_next", struck)
    assert waiter.stand_in is not None
    with pytest.raises(StruckError):
        waiter.stand_in.release()
    until(lambda: late.has_begun)
    gate.opened.set()
    waiter.goes_on.release()


def test_where_too_many_are_lost_to_be_replaced_a_thread_keeps_its_place(
    make: Callable[..., Rig],
) -> None:
    """Else views that hang behind slow clients would leave no thread to serve the others."""
    rig = make(threads=2, max_lost=1, max_aside=2)
    waiters = [Waiter(rig) for _ in range(4)]
    for waiter in waiters:
        rig.pool.submit_urgent(waiter)
        waiter.wait()
        if waiter.stand_in is not None:
            assert rig.pool.lose(waiter) is not None
        assert len(rig.pool._places) == 2
        assert rig.pool.alive + rig.pool.lost <= 5, "threads + max_lost + max_aside"
    assert [waiter.stand_in is not None for waiter in waiters] == [True, True, False, False]
    for waiter in waiters:
        waiter.end()
    until(lambda: (rig.pool.alive, rig.pool.lost) == (2, 0))


def test_one_that_is_lost_is_not_the_one_more_that_may_run(
    make: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may hang, and others may hold what all wait for."""
    monkeypatch.setattr(pool_module, "CLAIM_TIME", 0.2)
    rig = make(threads=1, max_lost=2, max_aside=1)
    [waiter] = aside(rig)
    gate = rig.gate()
    waiter.lets.release()
    until(lambda: rig.pool.queued == 1)
    assert rig.pool.lose(waiter) is not None
    assert waiter.runs.acquire(timeout=WAIT)
    assert rig.pool._extra is None
    waiter.goes_on.release()
    gate.opened.set()


def test_two_may_end_a_permit_at_once() -> None:
    """The loop that gives its thread up, and that thread."""

    class Lock:
        def locked(self) -> bool:
            return True  # a moment before somebody else lets it go

        def release(self) -> None:
            raise RuntimeError("release unlocked lock")

    permit = Permit()
    permit._over = Lock()  # type: ignore[assignment]
    permit.end()

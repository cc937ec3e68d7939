"""Calls that are nobody's task: on a pool thread, or on a spare one where all are busy."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pools import WAIT, Rig, until

from wsgi_async.threads.errands import SPARE_THREADS, Errand, Errands


@contextmanager
def running(threads: int) -> Iterator[Rig]:
    rig = Rig(threads, 10)
    rig.pool.start()
    try:
        yield rig
    finally:
        for gate in rig.gates:
            gate.opened.set()
        rig.pool.stop(rig.stopped.set)
        assert rig.stopped.wait(WAIT)
        assert rig.errors.empty()


class Note:
    """Notes the thread that it is called on, and waits at a gate."""

    def __init__(self, gate: threading.Event | None = None) -> None:
        self.threads: list[str] = []
        self.began = threading.Event()
        self._gate = gate

    def __call__(self) -> None:
        self.threads.append(threading.current_thread().name)
        self.began.set()
        if self._gate is not None:
            assert self._gate.wait(WAIT)


def spare() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.endswith("-spare")]


def test_a_thread_of_the_pool_that_is_free_comes_for_it() -> None:
    with running(2) as rig:
        rig.gate()
        note = Note()
        rig.pool.submit_errand(Errand(note))
        assert note.began.wait(WAIT)
        rig.pool.mend()
        rig.pool.mend()
        assert note.threads[0] in ("test-1", "test-2")
        assert not spare()


def test_it_is_no_task() -> None:
    """Who looks for requests finds none in it."""
    gate = threading.Event()
    with running(1) as rig:
        note = Note(gate)
        rig.pool.submit_errand(Errand(note))
        assert note.began.wait(WAIT)
        assert rig.pool.running() == []
        assert rig.pool.at_work() == []
        assert rig.pool.busy == 1
        gate.set()
        rig.wait_until_idle()
        assert rig.pool.completed == 0


def test_where_all_are_busy_a_spare_thread_does_by_the_second_look() -> None:
    with running(2) as rig:
        gates = [rig.gate(), rig.gate()]
        notes = [Note(), Note()]
        for note in notes:
            rig.pool.submit_errand(Errand(note))
        rig.pool.mend()
        assert not spare()
        rig.pool.mend()
        for note in notes:
            assert note.began.wait(WAIT)
        until(lambda: not spare())  # it ends where nothing waits
        for gate in gates:
            gate.opened.set()
        rig.wait_until_idle()  # the pool's own come for them too
        assert [note.threads for note in notes] == [["test-spare"]] * 2


def test_those_that_hang_hold_a_thread_each_and_no_more_than_a_few() -> None:
    gate = threading.Event()
    with running(1) as rig:
        blocker = rig.gate()
        notes = [Note(gate) for _ in range(SPARE_THREADS + 3)]
        for note in notes:
            rig.pool.submit_errand(Errand(note))
        for _ in range(3 * SPARE_THREADS):
            rig.pool.mend()
            until(lambda: len([n for n in notes if n.began.is_set()]) >= len(spare()))
        assert len(spare()) == SPARE_THREADS
        blocker.opened.set()  # the rest is done by the pool's own thread, one after the other
        until(lambda: len([n for n in notes if n.began.is_set()]) == SPARE_THREADS + 1)
        gate.set()
        for note in notes:
            assert note.began.wait(WAIT)
        until(lambda: not spare())
        rig.wait_until_idle()
        assert [len(note.threads) for note in notes] == [1] * len(notes)


def test_each_is_done_once_whoever_comes_for_it() -> None:
    for _ in range(200):
        note = Note()
        errand = Errand(note)
        threads = [threading.Thread(target=errand.run) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT)
        assert len(note.threads) == 1


def test_where_no_thread_can_be_started_the_pool_comes_in_the_end(
    monkeypatch: object,
) -> None:
    started: list[Callable[[], object]] = []

    class Refused(threading.Thread):
        def start(self) -> None:
            started.append(self.run)
            raise RuntimeError("can't start new thread")

    errands = Errands("test")
    original, threading.Thread = threading.Thread, Refused  # type: ignore[misc]
    try:
        errands.add(Errand(print))
        for _ in range(4):
            errands.look()
    finally:
        threading.Thread = original  # type: ignore[misc]
    assert len(started) == 3
    assert len(errands) == 1


def test_one_whose_thread_is_struck_before_it_has_begun_is_done_all_the_same() -> None:
    note = Note()
    errand = Errand(note)
    assert errand._claim.acquire(blocking=False)  # as run() does, and is struck then
    errand.abandon(0)
    errand.abandon(0)
    errand.run()
    assert len(note.threads) == 1

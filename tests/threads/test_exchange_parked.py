"""The steps of one iteration: their Context, their turns, and who closes what is parked."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from exchanges import TEXT, Rig, Stream, plain, rigs
from threadline import KIB, MIB, WAIT

from wsgi_async.threads import response_producer as producer_module
from wsgi_async.threads.pool import Call

make = pytest.fixture(rigs)


# --- Context -------------------------------------------------------------------------------------


VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("VARIABLE", default="unset")


def test_every_request_has_a_context_of_its_own(make: Callable[..., Rig]) -> None:
    seen: list[str] = []

    def application(environ: Any, start_response: Any) -> list[bytes]:
        seen.append(VARIABLE.get())
        VARIABLE.set("by a request")
        return plain(environ, start_response)

    VARIABLE.set("by the loop")
    rig = make(application, threads=1)
    for _ in range(3):
        rig.get()
    assert seen == ["unset"] * 3
    assert VARIABLE.get() == "by the loop"


@pytest.mark.parametrize("ending", ["end", "left"])
def test_all_steps_and_close_run_in_the_same_context(make: Callable[..., Rig], ending: str) -> None:
    """Also where they run on different threads."""
    seen: list[tuple[str, str]] = []
    closed = threading.Event()
    blocker = threading.Event()

    class Application:
        def __init__(self, environ: Any, start_response: Any) -> None:
            start_response("200 OK", TEXT)
            VARIABLE.set("0")

        def __iter__(self) -> Iterator[bytes]:
            for step in range(1, 4):
                seen.append((VARIABLE.get(), threading.current_thread().name))
                VARIABLE.set(str(step))
                yield b"x" * (2 * MIB)

        def close(self) -> None:
            seen.append((VARIABLE.get(), threading.current_thread().name))
            closed.set()

    rig = make(Application, overflow="park", threads=2)
    connection = rig.begin()
    side = connection.side
    rig.line.turn()
    rig.settle()
    # The thread that ran the first step is kept busy, so that the next one runs on the other.
    _occupy(rig, seen[0][1], blocker)
    if ending == "left":
        side.leave()
        assert closed.wait(WAIT)
        assert [value for value, _ in seen] == ["0", "1"]
    else:
        connection.finish()
        assert closed.wait(WAIT)
        assert [value for value, _ in seen] == ["0", "1", "2", "3"]
        assert side.end == "finished"
        assert len(side.body) == 6 * MIB
    assert len({name for _, name in seen}) == 2
    blocker.set()


def _occupy(rig: Rig, name: str, until: threading.Event) -> None:
    """Keep the thread of that name busy until then, and no other."""
    others_free = threading.Event()
    for _ in range(rig.pool.threads):
        held = threading.Event()
        found: list[str] = []

        def hold(held: threading.Event = held, found: list[str] = found) -> None:
            found.append(threading.current_thread().name)
            held.set()
            (until if found[0] == name else others_free).wait(WAIT)

        rig.pool.submit_urgent(Call(hold))
        assert held.wait(WAIT)
        if found[0] == name:
            break
    others_free.set()


# --- park ----------------------------------------------------------------------------------------


def test_a_client_that_does_not_read_holds_no_thread(make: Callable[..., Rig]) -> None:
    stream = Stream()
    rig = make(stream, overflow="park", threads=1, memory=128 * KIB)
    connections = [rig.begin() for _ in range(5)]
    rig.line.turn()
    rig.settle()
    assert rig.pool.busy == 0
    done = threading.Event()
    assert rig.pool.submit(Call(done.set))
    assert done.wait(WAIT)
    for connection in connections:
        connection.side.leave()
    rig.settle()
    assert len(stream.closes) == 5


def test_a_slow_client_gets_it_all_and_no_two_steps_overlap(make: Callable[..., Rig]) -> None:
    stream = Stream(size=30_000, count=60)
    rig = make(stream, overflow="park", threads=2, memory=100_000)
    connection = rig.begin()
    side = connection.side
    while side.end is None:
        if side.unsent:
            side.drain(10_000)
        else:
            rig.line.turn()
    assert len(side.body) == 60 * 30_000
    assert stream.closed.wait(WAIT)
    assert (stream.overlaps, len(stream.closes)) == (0, 1)


def test_a_parked_iteration_is_resumed_also_where_the_queue_is_full(
    make: Callable[..., Rig],
) -> None:
    stream = Stream(count=10)
    rig = make(stream, overflow="park", threads=1, queue_size=1, memory=128 * KIB)
    connection = rig.begin()
    rig.line.turn()
    rig.settle()
    gate = threading.Event()
    began = threading.Event()
    rig.pool.submit_urgent(Call(lambda: (began.set(), gate.wait(WAIT))))
    assert began.wait(WAIT)
    assert rig.pool.submit(Call(lambda: None))
    assert rig.pool.full
    connection.side.drain()
    gate.set()
    assert len(connection.finish().body) == 10 * 64 * KIB


@pytest.mark.parametrize("overflow", ["spool", "park", "block"])
@pytest.mark.parametrize("drains", range(4))
def test_close_runs_once_whenever_the_client_leaves(
    make: Callable[..., Rig], overflow: str, drains: int
) -> None:
    stream = Stream(size=20_000, count=None)
    rig = make(stream, overflow=overflow, threads=2, memory=64 * KIB, disk=MIB)
    connection = rig.begin()
    rig.line.turn()
    for _ in range(drains):
        connection.side.drain()
    connection.side.leave()
    assert stream.closed.wait(WAIT)
    rig.settle()
    while not rig.line.wakes.empty():
        rig.line.turn()
    rig.settle()
    assert (stream.overlaps, len(stream.closes)) == (0, 1)
    assert rig.errors == []


@pytest.mark.parametrize("overflow", ["spool", "block"])
def test_without_park_one_thread_does_all_of_it(make: Callable[..., Rig], overflow: str) -> None:
    """Django closes a thread's database connections between requests, from that thread."""
    stream = Stream(size=20_000, count=100)
    rig = make(stream, overflow=overflow, threads=4, memory=64 * KIB)
    rig.begin().finish()
    assert stream.closed.wait(WAIT)
    assert len({*stream.steps, *stream.closes}) == 1


def test_a_client_that_leaves_just_before_its_iteration_parks(
    make: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own thread closes: at shutdown no other may be left."""
    monkeypatch.setattr(producer_module, "SLICE", -1.0)
    stream = Stream()
    stopped = threading.Event()

    def leave_between_write_and_park() -> bool:
        connection.side.leave()
        rig.pool.stop(stopped.set)
        return True

    rig = make(stream, overflow="park", threads=1, others_wait=leave_between_write_and_park)
    connection = rig.connect()
    assert connection.exchange.submit()
    assert stopped.wait(WAIT)
    assert (len(stream.steps), len(stream.closes), stream.overlaps) == (1, 1, 0)


def test_a_client_that_leaves_during_a_step(make: Callable[..., Rig]) -> None:
    in_step, go_on = threading.Event(), threading.Event()
    closes: list[str] = []

    def application(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", TEXT)
        try:
            in_step.set()
            assert go_on.wait(WAIT)
            yield b"for nobody"
        finally:
            closes.append(threading.current_thread().name)

    rig = make(application, threads=1)
    connection = rig.begin()
    assert in_step.wait(WAIT)
    connection.side.leave()
    assert closes == [], "never from the loop while it runs"
    go_on.set()
    rig.stop()
    assert closes == ["pool-1"]

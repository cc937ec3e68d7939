"""Asynchronous bodies where they meet the threads: the hand-over, the pipe, the close. The test's
thread is the server's loop; the application loop is a real one."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from application_loops import ending_with_the_test
from exchanges import Rig, finish_live, rigs
from live_bodies import MARK, Live, Tap, live_app
from pools import until
from threadline import KIB, MIB, WAIT

from wsgi_async.realtime.application_loop import application_loop
from wsgi_async.realtime.body_states import MOVES, BodyState


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Rig]]:
    with ending_with_the_test():
        application_loop()  # what it has open is not the rig's
        yield from rigs(tmp_path)


def crossings(rig: Rig) -> int:
    return rig.pool.submitted + rig.line.mailbox.wakes


def test_the_first_chunk_is_two_crossings_and_each_further_one_a_wake(
    make: Callable[..., Rig],
) -> None:
    """As for any small response; the thread is free before."""
    tap = Tap()
    rig = make(live_app(lambda: Live(tap.chunks())), threads=1)
    connection = rig.begin()
    assert tap.begun.wait(WAIT)
    rig.settle()
    before = rig.pool.submitted - 1  # what settling has submitted
    assert rig.line.mailbox.wakes == 0
    for number in range(1, 4):
        tap.give(b"chunk")
        rig.line.turn()
        assert (rig.pool.submitted - 1, rig.line.mailbox.wakes) == (before, number)
    assert connection.side.body == b"chunk" * 3
    tap.give(None)
    finish_live(rig, connection)


def test_chunks_without_a_pause_cost_one_wake(make: Callable[..., Rig]) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(1000):
            yield b"x" * 10

    closed = Live(chunks())
    rig = make(live_app(lambda: closed))
    connection = rig.begin()
    until(lambda: connection.exchange.writer.has_ended)
    assert rig.line.mailbox.wakes == 1
    finish_live(rig, connection)
    assert connection.side.body == b"x" * 10_000
    assert closed.closed.is_set()


def test_the_body_has_a_copy_of_the_context_and_close_the_context_itself(
    make: Callable[..., Rig],
) -> None:
    """What either changes the other does not see: no Context is entered by two threads."""
    seen: list[str] = []

    async def chunks() -> AsyncIterator[bytes]:
        seen.append(f"body {MARK.get()}")
        MARK.set("changed by the body")
        yield b"x"
        seen.append(f"body {MARK.get()}")

    class Closing(Live):
        def close(self) -> None:
            seen.append(f"close {MARK.get()}")
            super().close()

    rig = make(live_app(lambda: Closing(chunks())))
    connection = rig.begin()
    finish_live(rig, connection)
    assert seen == ["body /p", "body changed by the body", "close /p"]


@pytest.mark.parametrize("overflow", ["spool", "park", "block"])
def test_no_more_waits_than_the_room_and_one_chunk(make: Callable[..., Rig], overflow: str) -> None:
    """And it is asked again only once the client has taken enough."""
    size, room = 10 * KIB, 64 * KIB
    tap = Tap()
    rig = make(live_app(lambda: Live(tap.chunks())), overflow=overflow, memory=room)
    tap.give(*[b"x" * size] * 100, None)
    connection = rig.begin()
    side = connection.side
    until(lambda: connection.exchange.writer.is_parked)
    assert room < tap.asked * size <= room + size
    rounds = 0
    while side.end is None:
        asked = tap.asked
        _turns(rig)
        until(lambda: connection.exchange.writer.is_parked or tap.asked == 100)
        assert side.unsent + connection.side.pipe._queued <= room + size
        assert tap.asked - asked <= (room + size) // size
        side.drain()
        rounds += 1
        assert rounds < 100
    finish_live(rig, connection)
    assert len(side.body) == 100 * size
    assert rig.line.budgets.disk.peak == 0


def test_where_the_budget_is_used_up_it_goes_on_with_little(make: Callable[..., Rig]) -> None:
    tap = Tap()
    rig = make(live_app(lambda: Live(tap.chunks())), process_memory=1, memory=MIB)
    tap.give(*[b"x" * 5 * KIB] * 20, None)
    connection = rig.begin()
    until(lambda: connection.exchange.writer.is_parked)
    assert tap.asked == 4  # 16 KiB are free of charge
    finish_live(rig, connection)
    assert len(connection.side.body) == 100 * KIB


def test_who_leaves_as_it_is_handed_over_has_it_closed_once(make: Callable[..., Rig]) -> None:
    """At every moment of it, as often as chance has it."""
    for round_ in range(150):
        tap = Tap()
        body = Live(tap.chunks(), tap.log)
        rig = make(live_app(lambda body=body: body), threads=1)
        connection = rig.begin()
        moment = time.perf_counter() + round_ % 50 * 2e-5
        while time.perf_counter() < moment:
            pass
        connection.side.leave()
        finish_live(rig, connection)
        closes = sum("closed on" in line for line in tap.log)
        assert closes <= 1
        assert closes == 1 or not tap.begun.is_set()
        assert rig.observer.errors == []  # type: ignore[attr-defined]


def test_where_the_application_loop_has_ended_it_is_closed(make: Callable[..., Rig]) -> None:
    """Its client is cut off, and nothing hangs."""
    tap = Tap()
    body = Live(tap.chunks(), tap.log)
    rig = make(live_app(lambda: body))
    connection = rig.begin()
    assert tap.begun.wait(WAIT)
    loop = application_loop()
    loop.call(_end, loop)
    loop.ended.result(WAIT)
    connection.side.leave()
    finish_live(rig, connection)
    assert body.closed.is_set()


def _end(loop: Any) -> None:
    loop.enter(type(loop.state).FINISHING)
    loop.close()


def _turns(rig: Rig) -> None:
    while not rig.line.wakes.empty():
        rig.line.turn()


def test_states_go_by_their_table() -> None:
    assert MOVES.keys() == set(BodyState)
    reached = {BodyState.HANDED}
    for _ in BodyState:
        reached |= {after for before in reached for after in MOVES[before]}
    assert reached == set(BodyState)

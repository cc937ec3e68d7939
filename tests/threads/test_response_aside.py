"""A response that is ahead of its client leaves its thread's place to others, and stays whole."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from exchanges import Notes, Rig
from pools import until
from producers import Make, Producer, drain_all, lines
from threadline import HEAD, KIB, MIB, WAIT, Client, Line, no_leaks

from wsgi_async.errors import ClientDisconnected
from wsgi_async.threads import response_producer as producer_module
from wsgi_async.threads.stand_ins import StandIn

make = pytest.fixture(lines)
BLOCK = b"x" * (64 * KIB)


class Crowd:
    """Whether others wait for a thread, and what the threads do about it."""

    def __init__(self) -> None:
        self.waits = True
        self.aside = 0
        self.story: list[str] = []

    def stand_in(self) -> StandIn:
        self.aside += 1
        return StandIn(lambda: self.story.append("claim"), lambda: self.story.append("release"))


def crowded(make: Make, **options: Any) -> tuple[Line, Crowd]:
    """A line beside others who wait, with no time for files beside them."""
    crowd = Crowd()
    line = make(others_wait=lambda: crowd.waits, **options)
    line.stand_in = crowd.stand_in
    turns = line.bounds.turns
    turns._clock, turns._filled_at, turns._left = lambda: 0.0, 0.0, 0.0
    return line, crowd


def turn_if_woken(line: Line) -> None:
    if line.wakes.empty():
        time.sleep(0.0005)
    else:
        line.turn()


def produce(client: Client, blocks: int, write: str = "write") -> Producer:
    def work() -> None:
        pipe = client.writer.start(HEAD, None)
        for _ in range(blocks):
            getattr(pipe, write)(BLOCK)
        pipe.finish()

    return Producer(work)


def test_beside_others_it_waits_for_its_client_and_takes_no_disk(make: Make) -> None:
    line, crowd = crowded(make)
    client = Client(line)
    producer = produce(client, 256)
    line.turn()
    until(lambda: line.bounds.turns.waiting)
    assert crowd.aside == 1
    assert line.used[1:] == (0, 0)
    assert client.pipe.progress[0] <= 2 * MIB
    drain_all(client, line)
    assert producer.result() is None
    assert client.body == BLOCK * 256
    assert crowd.aside == 1, "it stays aside to its end"
    assert line.budgets.disk.peak == 0
    assert crowd.story == ["release", "claim"] * (len(crowd.story) // 2)
    assert not line.bounds.turns.waiting


def test_it_is_written_to_its_file_once_nobody_waits_any_more(make: Make) -> None:
    """The application's own resources are given back, however slow the client is."""
    line, crowd = crowded(make)
    client = Client(line)
    producer = produce(client, 256)
    line.turn()
    until(lambda: line.bounds.turns.waiting)
    crowd.waits = False
    line.bounds.turns.fill()
    assert producer.result() is None
    assert line.budgets.disk.used > 14 * MIB
    drain_all(client, line)
    assert client.body == BLOCK * 256


def test_who_is_written_to_a_file_stops_where_others_come(make: Make) -> None:
    line, crowd = crowded(make)
    crowd.waits = False
    client = Client(line)
    reached, going_on = threading.Event(), threading.Event()

    def work() -> None:
        pipe = client.writer.start(HEAD, None)
        for number in range(256):
            if number == 128:
                reached.set()
                assert going_on.wait(WAIT)
            pipe.write(BLOCK)
        pipe.finish()

    producer = Producer(work)
    line.turn()
    assert reached.wait(WAIT)
    assert line.budgets.disk.used > 6 * MIB
    assert crowd.aside == 0
    crowd.waits = True
    going_on.set()
    until(lambda: line.bounds.turns.waiting)
    used = line.budgets.disk.used
    assert crowd.aside == 1
    line.bounds.turns.fill()
    assert line.bounds.turns.waiting
    assert line.budgets.disk.used == used, "no time has passed, so there is none for it"
    line.bounds.turns._left = 1e-6
    line.bounds.turns.call_next()
    until(lambda: line.budgets.disk.used > used)
    until(lambda: line.bounds.turns.waiting)
    drain_all(client, line)
    assert producer.result() is None
    assert client.body == BLOCK * 256


def test_the_end_of_one_calls_the_next(make: Make) -> None:
    """Else as many as wait would take as many ticks."""
    line, crowd = crowded(make)
    clients = [Client(line) for _ in range(5)]
    producers = [produce(client, 64) for client in clients]
    while line.bounds.turns.waiting < 5:
        turn_if_woken(line)
    crowd.waits = False
    line.bounds.turns.fill()
    assert all(producer.result() is None for producer in producers)
    for client in clients:
        drain_all(client, line)
        assert client.body == BLOCK * 64


def test_who_has_filled_his_file_calls_the_next(make: Make) -> None:
    """It needs its turn no more, and may wait for its client for as long as that likes."""
    line, crowd = crowded(make, disk=MIB)
    clients = [Client(line) for _ in range(5)]
    producers = [produce(client, 64) for client in clients]
    while line.bounds.turns.waiting < 5:
        turn_if_woken(line)
    crowd.waits = False
    line.bounds.turns.fill()
    until(lambda: not line.bounds.turns.waiting)
    until(lambda: line.budgets.disk.used > 4 * MIB)
    for client, producer in zip(clients, producers, strict=True):
        drain_all(client, line)
        assert producer.result() is None
        assert client.body == BLOCK * 64


@pytest.mark.parametrize("overflow", ["spool", "park", "block"])
def test_the_write_callable_has_its_thread_replaced_too(make: Make, overflow: str) -> None:
    line, crowd = crowded(make, overflow=overflow)
    client = Client(line)
    producer = produce(client, 64, "write_and_wait")
    line.turn()
    until(lambda: crowd.story)
    assert crowd.aside == 1
    assert len(line.bounds.blocked) == 0, "it holds no thread"
    drain_all(client, line)
    assert producer.result() is None
    assert client.body == BLOCK * 64
    assert line.budgets.disk.peak == 0


def test_what_is_parked_leaves_what_its_thread_has_of_the_pool(make: Make) -> None:
    """It goes on in another thread, which has a place of its own, or none."""
    line, crowd = crowded(make, overflow="park")
    client = Client(line)

    def work() -> None:
        pipe = client.writer.start(HEAD, None)
        for _ in range(64):
            pipe.write_and_wait(BLOCK)
        assert pipe._stand_in is not None
        assert pipe.park()

    producer = Producer(work)
    line.turn()
    until(lambda: crowd.story)
    deadline = time.monotonic() + WAIT
    while client.resumes.empty():
        assert time.monotonic() < deadline
        if client.unsent:
            client.drain()
        else:
            turn_if_woken(line)
    assert producer.result() is None
    assert crowd.aside == 1
    assert client.pipe._stand_in is None
    client.pipe.finish()
    drain_all(client, line)
    assert client.body == BLOCK * 64


def test_a_full_disk_has_its_thread_replaced_too(make: Make) -> None:
    line, crowd = crowded(make, disk=2 * MIB)
    crowd.waits = False
    client = Client(line)
    producer = produce(client, 256)
    line.turn()
    until(lambda: crowd.story)
    assert len(line.bounds.blocked) == 0
    drain_all(client, line)
    assert producer.result() is None
    assert client.body == BLOCK * 256


@pytest.mark.parametrize("overflow", ["spool", "block"])
def test_a_client_that_leaves_ends_the_wait(make: Make, overflow: str) -> None:
    line, crowd = crowded(make, overflow=overflow)
    client = Client(line)
    producer = produce(client, 256)
    line.turn()
    until(lambda: crowd.story)
    client.leave()
    assert isinstance(producer.result(), ClientDisconnected)
    assert crowd.story == ["release", "claim"], "it runs to its end in its turn"
    client.pipe.cut()
    assert client.pipe._stand_in is None


def test_without_a_stand_in_it_goes_to_its_file_as_ever(make: Make) -> None:
    line, _ = crowded(make)
    line.stand_in = lambda: None
    client = Client(line)
    producer = produce(client, 256)
    line.turn()
    assert producer.result() is None
    assert line.budgets.disk.used > 14 * MIB
    drain_all(client, line)
    assert client.body == BLOCK * 256


def test_half_of_the_threads_may_wait_a_moment_beside_others(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that is quick needs only that; but they must not all wait."""
    monkeypatch.setattr(producer_module, "SPOOL_GRACE", WAIT)
    line, crowd = crowded(make, patience=2)
    clients = [Client(line) for _ in range(3)]
    producers = []
    for client in clients:
        producers.append(produce(client, 64))
        until(lambda client=client: client.writer.pipe is not None)
        line.turn()
    until(lambda: crowd.aside == 1)
    assert line.bounds.patience.is_exhausted
    for client in clients:
        drain_all(client, line)
    assert all(producer.result() is None for producer in producers)
    assert not line.bounds.patience.is_exhausted


@pytest.mark.parametrize("overflow", ["spool", "block"])
@pytest.mark.parametrize("seed", range(6))
def test_nothing_is_lost_or_doubled_whoever_comes_and_goes(
    make: Make, monkeypatch: pytest.MonkeyPatch, overflow: str, seed: int
) -> None:
    """RAM, turns, file, RAM again, in random portions, while others come and go."""
    monkeypatch.setattr(producer_module, "SPOOL_GRACE", 0.001)
    chance = random.Random(seed)
    line, crowd = crowded(
        make,
        overflow=overflow,
        memory=chance.choice([1, 3000, 40_000, 200_000]),
        disk=chance.choice([20_000, 500_000]),
    )
    client = Client(line)
    data = chance.randbytes(1_500_000)
    cuts = sorted(chance.sample(range(1, len(data)), 60))
    chunks = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]

    def work() -> None:
        pipe = client.writer.start(HEAD, None)
        for chunk in chunks:
            pipe.write(chunk)
        pipe.finish()

    producer = Producer(work)
    deadline = time.monotonic() + WAIT
    while client.end is None:
        assert time.monotonic() < deadline
        crowd.waits = chance.random() < 0.5
        line.bounds.turns.fill()
        if client.unsent:
            client.drain(chance.choice([None, 100, 5000, 70_000]))
        elif not line.wakes.empty() or producer.is_alive():
            time.sleep(0.0002)
            if not line.wakes.empty():
                line.turn()
    assert producer.result() is None
    assert client.body == data


def test_an_exchange_keeps_its_thread_and_another_has_its_place(tmp_path: Path) -> None:
    """All steps and close() are on one thread, as ever in ``spool``."""
    seen: list[int] = []

    class Body:
        def __iter__(self) -> Any:
            for _ in range(64):
                seen.append(threading.get_ident())
                yield BLOCK

        def close(self) -> None:
            seen.append(threading.get_ident())

    def application(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return Body() if len(connections) < 4 else [b"quick"]

    connections: list[Any] = []
    with no_leaks() as make_line:
        line = make_line(tmp_path, others_wait=lambda: True)
        line.bounds.turns._left = 0.0
        rig = Rig(line, application, 1, 10, Notes(), max_aside=3)
        for number in range(3):
            connections.append(rig.begin())
            line.turn()
            until(lambda number=number: rig.pool.aside > number)
        connections.append(None)
        assert rig.get().body == b"quick"
        assert len(set(seen)) == 3
        before = [id(connection.exchange._context) for connection in connections[:3]]
        for connection in connections[:3]:
            assert connection.finish().body == BLOCK * 64
        rig.settle()
        until(lambda: rig.pool.alive == 1)
        rig.stop()
    assert len(before) == 3
    assert len(set(seen)) == 3
    assert all(seen.count(ident) == 65 for ident in set(seen))

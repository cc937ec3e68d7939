"""A client that leaves while its response is made: who writes is told, and nothing is left."""

from __future__ import annotations

import os
import queue
import random
import threading
from typing import Any

import pytest
from producers import Make, Producer, blocked, fill, lines, write_all
from threadline import HEAD, KIB, MIB, WAIT, Client

from wsgi_async.errors import ClientDisconnected
from wsgi_async.threads import response_producer as producer_module

make = pytest.fixture(lines)


# --- clients that leave --------------------------------------------------------------------------


@pytest.mark.parametrize("overflow", ["spool", "park", "block"])
def test_a_client_that_leaves_early_ends_every_kind_of_write(make: Make, overflow: str) -> None:
    line = make(overflow=overflow)
    client = Client(line)
    client.writer.start(HEAD, None)
    client.pipe.write(b"x")
    client.leave()
    assert client.writer.gone
    for write in (client.pipe.write, client.pipe.write_and_wait):
        with pytest.raises(ClientDisconnected):
            write(b"y")
    client.writer.cut()


def test_a_client_that_leaves_while_a_stream_is_opened_is_always_noticed(make: Make) -> None:
    for _ in range(300):
        line = make(overflow="park")
        client = Client(line)
        start = threading.Barrier(2)

        def produce(client: Client = client, start: Any = start) -> None:
            start.wait(WAIT)
            pipe = client.writer.start(HEAD, None)
            start.wait(WAIT)
            pipe.write(b"x")

        producer = Producer(produce)
        start.wait(WAIT)
        client.leave()
        start.wait(WAIT)
        assert isinstance(producer.result(), ClientDisconnected)
        assert not client.pipe.park()
        client.writer.cut()


@pytest.mark.parametrize("size", [1, 20 * KIB, 5 * MIB])
@pytest.mark.parametrize("overflow", ["spool", "park", "block"])
def test_a_whole_response_for_nobody_is_dropped(make: Make, overflow: str, size: int) -> None:
    for send in ("respond", "write_last"):
        line = make(overflow=overflow)
        client = Client(line)
        client.leave()
        if send == "respond":
            client.writer.respond(HEAD, b"x" * size, None)
        else:
            client.writer.start(HEAD, None)
            client.pipe.write_last(b"x" * size)
        assert client.body == b""
        assert line.wakes.empty()
        assert line.used == (0, 0, 0)


def test_a_whole_response_and_a_client_that_leaves_race(make: Make) -> None:
    for _ in range(300):
        line = make()
        client = Client(line)
        start = threading.Barrier(2)

        def produce(client: Client = client, start: Any = start) -> None:
            start.wait(WAIT)
            client.writer.respond(HEAD, b"x", 1)
            client.writer.cut()

        producer = Producer(produce)
        start.wait(WAIT)
        client.leave()
        assert producer.result() is None
        while not line.wakes.empty():
            line.turn()
        assert (client.end, client.body) == ("left", b"")
        assert client.resumes.empty()
        assert client.writer.has_ended


def test_a_client_that_leaves_frees_a_blocked_thread(make: Make) -> None:
    line = make(overflow="block")
    client = Client(line)
    fill(client, line)
    producer = Producer(lambda: client.pipe.write(b"y"))
    blocked(line)
    client.leave()
    assert isinstance(producer.result(), ClientDisconnected)
    client.writer.cut()


def test_a_client_that_leaves_ends_the_spooling(make: Make, monkeypatch: Any) -> None:
    monkeypatch.setattr(producer_module, "SPOOL_GRACE", 0.0)
    line = make(overflow="spool", memory=64 * KIB)
    client = Client(line)
    client.writer.start(HEAD, None)
    for _ in range(30):
        client.pipe.write(b"x" * 10_000)
    assert line.used[2] == 1
    client.leave()
    with pytest.raises(ClientDisconnected):
        client.pipe.write(b"x")
    assert line.used[2] == 1, "the thread may still be writing"
    client.writer.cut()
    assert line.used == (0, 0, 0)


def test_a_client_that_leaves_during_the_write_to_the_file(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(producer_module, "SPOOL_GRACE", 0.0)
    line = make(overflow="spool", memory=64 * KIB)
    client = Client(line)
    client.writer.start(HEAD, None)
    for _ in range(10):
        client.pipe.write(b"x" * 10_000)
    pwrite = os.pwrite

    def leave_and_write(*args: Any) -> int:
        client.leave()
        return pwrite(*args)

    monkeypatch.setattr(os, "pwrite", leave_and_write)
    with pytest.raises(ClientDisconnected):
        client.pipe.write(b"x")
    client.writer.cut()


def test_a_client_that_leaves_when_all_is_written_has_its_file_closed(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(producer_module, "SPOOL_GRACE", 0.0)
    line = make(overflow="spool", memory=64 * KIB)
    client = Client(line)
    write_all(client, [b"x" * 10_000] * 30)
    line.turn()
    assert line.used[2] == 1
    client.leave()
    assert line.used == (0, 0, 0)
    client.leave()


@pytest.mark.parametrize("overflow", ["spool", "park", "block"])
@pytest.mark.parametrize("seed", range(6))
def test_a_client_that_leaves_at_any_moment_leaves_nothing_behind(
    make: Make, monkeypatch: pytest.MonkeyPatch, seed: int, overflow: str
) -> None:
    monkeypatch.setattr(producer_module, "SPOOL_GRACE", 0.001)
    chance = random.Random(seed)
    for _ in range(5):
        line = make(overflow=overflow, memory=40_000, disk=100_000)
        client = Client(line)
        closes: list[str] = []

        def produce(client: Client = client, closes: list[str] = closes) -> None:
            writer = client.writer
            try:
                pipe = writer.start(HEAD, None)
                for _ in range(40):
                    if pipe.write(b"x" * 9000):
                        continue
                    if not pipe.park() or client.resumes.get(timeout=WAIT) == "close":
                        return
                pipe.write_last(b"end")
            except ClientDisconnected:
                pass
            finally:
                closes.append("closed")
                writer.cut()

        producer = Producer(produce)
        for _ in range(chance.randrange(12)):
            if client.end is None and client.unsent and chance.random() < 0.6:
                client.drain(chance.randint(1, 20_000))
            elif client.end is None:
                try:
                    line.wakes.get(timeout=0.01)()
                except queue.Empty:
                    break
        client.leave()
        assert producer.result() is None
        while not line.wakes.empty():
            line.turn()
        assert closes == ["closed"]
        assert line.used == (0, 0, 0)


def test_a_closed_loop_is_no_error(make: Make) -> None:
    """At shutdown the loop may go first: asyncio then raises from call_soon_threadsafe."""
    line = make()

    def closed(callback: object) -> None:
        raise RuntimeError("Event loop is closed")

    line.mailbox._call_soon_threadsafe = closed
    client = Client(line)
    client.writer.start(HEAD, None)
    client.pipe.write(b"x")
    client.pipe.write_last(b"y")
    other = Client(line)
    other.writer.respond(HEAD, b"x", None)

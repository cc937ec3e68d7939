"""A response in order, at any pace and at every bound: memory, disk, threads that block."""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path

import pytest
from producers import Make, Producer, blocked, drain_all, fill, lines, write_all
from threadline import HEAD, KIB, MIB, WAIT, Client, no_leaks

from wsgi_async.errors import ClientDisconnected
from wsgi_async.threads import response_producer as producer_module

make = pytest.fixture(lines)


# --- order, whatever happens ---------------------------------------------------------------------


@pytest.mark.parametrize("process_memory", [256 * MIB, 0], ids=["budget", "no budget"])
@pytest.mark.parametrize("overflow", ["spool", "park", "block"])
@pytest.mark.parametrize("seed", range(8))
def test_nothing_is_lost_or_doubled_at_any_pace(
    make: Make, monkeypatch: pytest.MonkeyPatch, seed: int, overflow: str, process_memory: int
) -> None:
    """RAM, file, RAM again, in random portions, against a client of random speed. A client that
    waits for ever without unsent bytes and without a wake would show as ``queue.Empty``."""
    monkeypatch.setattr(producer_module, "SPOOL_GRACE", 0.001)
    chance = random.Random(seed)
    line = make(
        overflow=overflow,
        memory=chance.choice([1, 3000, 40_000, 200_000]),
        disk=chance.choice([20_000, 500_000]),
        process_memory=process_memory,
    )
    client = Client(line)
    data = chance.randbytes(1_500_000)
    cuts = sorted(chance.sample(range(1, len(data)), 60))
    chunks = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    counted = chance.random() < 0.5
    legacy = chance.random() < 0.2

    def produce() -> None:
        pipe = client.writer.start(HEAD, None)
        for chunk in chunks[:-1]:
            if legacy:
                pipe.write_and_wait(chunk)
            elif not pipe.write(chunk):
                assert pipe.park()
                assert client.resumes.get(timeout=WAIT) == "go on"
        if counted:
            pipe.write_last(chunks[-1])
        else:
            pipe.write_and_wait(chunks[-1])
            pipe.finish()

    producer = Producer(produce)
    fast = chance.random() < 0.5
    while client.end is None:
        if client.unsent and (line.wakes.empty() or chance.random() < 0.5):
            client.drain(None if fast else chance.randint(1, 30_000))
        else:
            line.turn()
    assert producer.result() is None
    assert client.end == "finished"
    assert client.body == data
    assert client.resumes.empty()
    assert line.warnings == []


def test_spool_then_memory_then_spool_again(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(producer_module, "SPOOL_GRACE", 0.0)
    line = make(overflow="spool", memory=64 * KIB)
    client = Client(line)
    sent = bytearray()
    client.writer.start(HEAD, None)
    seen_on_disk = []
    for round_ in range(3):
        for number in range(20):
            chunk = bytes([round_ * 20 + number]) * 10_000
            sent += chunk
            client.pipe.write(chunk)
        seen_on_disk.append(line.budgets.disk.used)
        while client.unsent or not line.wakes.empty():
            if line.wakes.empty():
                client.drain()
            else:
                line.turn()
        assert client.body == sent, "all of it, before the producer goes on"
    assert min(seen_on_disk) > 100_000, "each round overflowed anew"
    assert line.budgets.files.peak == 1, "one file serves them all"
    client.pipe.finish()
    line.turn()
    assert client.end == "finished"


def test_the_account_holds_bytes_until_the_transport_has_drained_them(make: Make) -> None:
    line = make(overflow="park")
    client = Client(line)
    fill(client, line)
    client.pipe.take()
    assert client.pipe.write(b"y") is False, "taken by the loop is not sent"
    client.pipe.settle(MIB, writable=False)
    assert client.pipe.write(b"y") is False
    client.pipe.take()
    client.pipe.settle(0, writable=True)
    assert client.pipe.write(b"y"), "now it is"
    client.leave()
    client.writer.cut()


# --- bounds --------------------------------------------------------------------------------------


def test_at_the_spools_bound_the_thread_waits_and_then_goes_on(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(producer_module, "SPOOL_GRACE", 0.001)
    line = make(overflow="spool", memory=64 * KIB, disk=300 * KIB)
    client = Client(line)
    data = random.Random(3).randbytes(2 * MIB)
    producer = Producer(
        lambda: write_all(client, [data[n : n + 10_000] for n in range(0, len(data), 10_000)])
    )
    blocked(line)
    assert line.budgets.disk.used <= 300 * KIB
    drain_all(client, line)
    assert producer.result() is None
    assert client.body == data
    assert line.budgets.disk.peak <= 300 * KIB
    assert line.warnings == []


@pytest.mark.parametrize(
    "bounds", [{"process_disk": 10_000}, {"process_disk": 0}, {"files": 0}], ids=str
)
def test_at_the_process_bounds_a_response_blocks_and_completes(
    make: Make, monkeypatch: pytest.MonkeyPatch, bounds: dict[str, int]
) -> None:
    monkeypatch.setattr(producer_module, "SPOOL_GRACE", 0.001)
    line = make(overflow="spool", memory=64 * KIB, **bounds)
    client = Client(line)
    producer = Producer(lambda: write_all(client, [b"x" * 10_000] * 60))
    blocked(line)
    drain_all(client, line)
    assert producer.result() is None
    assert len(client.body) == 600_000
    assert line.budgets.disk.peak <= line.budgets.disk.limit


def test_without_any_disk_a_response_blocks_and_nobody_is_warned_again(make: Make) -> None:
    line = make(overflow="spool", memory=64 * KIB)
    line.budgets.has_disk = False
    client = Client(line)
    producer = Producer(lambda: write_all(client, [b"x" * 10_000] * 60))
    blocked(line)
    drain_all(client, line)
    assert producer.result() is None
    assert line.warnings == []
    assert line.budgets.files.peak == 0


def test_a_directory_that_has_gone_is_told_and_the_response_blocks(tmp_path: Path) -> None:
    with no_leaks() as make:
        line = make(tmp_path / "gone", overflow="spool", memory=64 * KIB)
        client = Client(line)
        producer = Producer(lambda: write_all(client, [b"x" * 10_000] * 30))
        blocked(line)
        drain_all(client, line)
        assert producer.result() is None
        assert len(client.body) == 300_000
        assert "cannot make a temporary file for a response" in line.warnings[0]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO])
@pytest.mark.parametrize("room", [0, 25_000, 200_000])
def test_at_a_disk_that_takes_no_more_the_thread_waits_and_then_goes_on(
    make: Make, monkeypatch: pytest.MonkeyPatch, code: int, room: int
) -> None:
    """As at a bound of our own; a pwrite() that meets the end first writes what has room."""
    monkeypatch.setattr(producer_module, "SPOOL_GRACE", 0.001)
    pwrite = os.pwrite

    def fill(descriptor: int, data: bytes, offset: int) -> int:
        if offset >= room:
            raise OSError(code, os.strerror(code))
        return pwrite(descriptor, data[: room - offset], offset)

    monkeypatch.setattr(os, "pwrite", fill)
    line = make(overflow="spool", memory=64 * KIB)
    client = Client(line)
    data = random.Random(3).randbytes(2 * MIB)
    producer = Producer(
        lambda: write_all(client, [data[n : n + 10_000] for n in range(0, len(data), 10_000)])
    )
    blocked(line)
    assert line.budgets.disk.used == room // 10_000 * 10_000
    drain_all(client, line)
    assert producer.result() is None
    assert client.end == "finished"
    assert client.body == data
    assert all(os.strerror(code) in warning for warning in line.warnings)
    assert line.warnings[0].startswith("a temporary file takes no more of a response")


def test_a_file_that_cannot_be_emptied_is_no_end_either(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int, length: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(producer_module, "SPOOL_GRACE", 0.001)
    monkeypatch.setattr(os, "ftruncate", fail)
    line = make(overflow="spool", memory=64 * KIB, disk=100 * KIB)
    client = Client(line)
    producer = Producer(lambda: write_all(client, [b"x" * 10_000] * 60))
    blocked(line)
    while len(line.bounds.blocked):
        if client.unsent:
            client.drain()
        else:
            line.turn()
    blocked(line)
    drain_all(client, line)
    assert producer.result() is None
    assert (len(client.body), client.end) == (600_000, "finished")
    assert "cannot make a temporary file for a response" in line.warnings[0]


def test_whoever_leaves_while_the_disk_is_full_frees_the_thread(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(producer_module, "SPOOL_GRACE", 0.001)

    def fail(*args: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", fail)
    line = make(overflow="spool", memory=64 * KIB)
    client = Client(line)
    producer = Producer(lambda: write_all(client, [b"x" * 10_000] * 60))
    blocked(line)
    client.leave()
    assert isinstance(producer.result(), ClientDisconnected)
    client.writer.cut()


def test_the_process_budget_bounds_what_all_hold(make: Make) -> None:
    line = make(overflow="park", process_memory=MIB)
    clients = [Client(line) for _ in range(10)]
    for client in clients:
        client.writer.start(HEAD, None)
        while client.pipe.write(b"x" * 4096):
            pass
    assert line.budgets.memory.peak <= MIB
    held = [4096 * len(client.pipe.take()[0]) for client in clients]
    assert sum(held) <= MIB + 10 * (16 * KIB + 4096)
    assert max(held) > 10 * min(held), "first come, first served"
    for client in clients:
        client.leave()
        client.writer.cut()


@pytest.mark.parametrize("overflow", ["park", "block"])
@pytest.mark.parametrize("unsent", [8 * KIB + 1, 16 * KIB, 16 * KIB + 1, 64 * KIB])
def test_without_budget_a_writer_still_hears_of_the_room_there_is(
    make: Make, overflow: str, unsent: int
) -> None:
    """A transport tells when it falls to its low water, and not again when it is empty: who
    waits for less than that waits for ever."""
    line = make(overflow=overflow, process_memory=0)
    client = Client(line)

    def produce() -> None:
        client.writer.start(HEAD, None)
        for _ in range(3):
            if not client.pipe.write(b"x" * unsent):
                assert client.pipe.park()
                assert client.resumes.get(timeout=WAIT) == "go on"
        client.pipe.finish()

    producer = Producer(produce)
    drain_all(client, line)
    assert producer.result() is None
    assert len(client.body) == 3 * unsent


# --- threads that block --------------------------------------------------------------------------


def test_one_more_than_half_of_the_threads_evicts_the_longest_blocked(make: Make) -> None:
    line = make(overflow="block", blocked=2, memory=64 * KIB)
    clients, producers = [], []
    for number in range(4):
        client = Client(line)
        clients.append(client)
        producers.append(Producer(lambda client=client: write_all(client, [b"x" * 30_000] * 4)))
        blocked(line, min(number + 1, 2))
        if number >= 2:
            evicted = producers[number - 2].result()
            assert isinstance(evicted, ClientDisconnected)
            clients[number - 2].writer.cut()
    assert [producer.is_alive() for producer in producers] == [False, False, True, True]
    while not line.wakes.empty():
        line.turn()
    assert [client.end for client in clients] == ["cut", "cut", None, None]
    for client, producer in zip(clients[2:], producers[2:], strict=True):
        drain_all(client, line)
        assert producer.result() is None
        assert len(client.body) == 120_000


def test_an_evicted_response_keeps_its_file_until_the_loop_lets_go(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop may be sending from it: its number would be another file's at once."""
    monkeypatch.setattr(producer_module, "SPOOL_GRACE", 0.0)
    line = make(overflow="spool", memory=64 * KIB)
    client = Client(line)
    client.writer.start(HEAD, None)
    for _ in range(20):
        client.pipe.write(b"x" * 10_000)
    assert line.budgets.files.used == 1
    client.pipe.evict()
    client.writer.cut()
    assert line.budgets.files.used == 1
    while not line.wakes.empty():
        line.turn()
    assert client.end == "cut"
    assert line.budgets.files.used == 0


def test_one_thread_alone_may_always_block(make: Make) -> None:
    line = make(overflow="block", blocked=0, memory=64 * KIB)
    client = Client(line)
    producer = Producer(lambda: write_all(client, [b"x" * 30_000] * 6))
    blocked(line)
    drain_all(client, line)
    assert producer.result() is None
    assert client.end == "finished"

"""Files on the thread line: descriptors of the writer's own, their order, and their end."""

from __future__ import annotations

import contextlib
import os
import queue
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from producers import Make, drain_all, lines
from state_tables import Table, assert_whole
from threadline import HEAD, KIB, WAIT, Client, HeldToTables

from wsgi_async.threads import Producer as Production
from wsgi_async.threads import response_account as account_module
from wsgi_async.threads import response_producer as producer_module
from wsgi_async.threads.response_states import CONSUMER_MOVES, PRODUCER_MOVES, Consumer

make = pytest.fixture(lines)


# --- files ---------------------------------------------------------------------------------------


def test_a_response_that_comes_at_once_is_progress(make: Make) -> None:
    client = Client(make())
    before = client.writer.progress
    assert before == (0, 0, Production.RUNNING)
    client.writer.respond(HEAD, b"x", 1)
    assert client.writer.progress == (0, 0, Production.FINISHED)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "data"
    file.write_bytes(bytes(range(256)) * 4000)
    return file


@pytest.mark.parametrize(("offset", "count"), [(0, 1_024_000), (5, 1000), (1_024_000, 0)])
def test_a_file_is_sent_from_a_descriptor_of_the_writers_own(
    make: Make, path: Path, offset: int, count: int
) -> None:
    line = make()
    client = Client(line)
    with path.open("rb") as file:
        assert client.writer.send_file(HEAD, file.fileno(), offset, count)
    assert line.used == (0, 0, 1)
    line.turn()
    drain_all(client, line)
    assert client.body == path.read_bytes()[offset : offset + count]
    assert line.mailbox.wakes == 1
    # What is read ahead counts like any other byte in RAM, beyond what is free of charge.
    assert (line.budgets.memory.peak > 0) is (count > account_module.FREE_MEMORY)


def test_without_memory_a_file_is_read_in_small_blocks(make: Make, path: Path) -> None:
    line = make(process_memory=0)
    client = Client(line)
    with path.open("rb") as file:
        assert client.writer.send_file(HEAD, file.fileno(), 0, 1_024_000)
    client.pipe.take()
    extent = client.pipe.extent()
    assert extent is not None
    assert client.pipe.block_size(extent.size) == account_module.FREE_MEMORY
    client.leave()


def test_a_thousand_chunks_that_wait_are_joined(make: Make) -> None:
    line = make()
    client = Client(line)
    client.writer.start(HEAD, None)
    chunks = [b"%04d" % number for number in range(3 * account_module.LOOSE_CHUNKS + 5)]
    for chunk in chunks:
        assert client.pipe.write(chunk)
    assert len(client.pipe._chunks) == 3 + 5
    client.pipe.finish()
    line.turn()
    assert bytes(client.body) == b"".join(chunks)


def test_who_keeps_taking_is_not_evicted_for_others(make: Make) -> None:
    """Of two threads that wait only one may, but neither client has stopped."""
    line = make(overflow="block", blocked=1, memory=64 * KIB)
    with ThreadPoolExecutor(2) as pool:
        clients = [Client(line) for _ in range(2)]
        data = bytes(range(256)) * 4096

        def produce(client: Client) -> None:
            client.writer.start(HEAD, None)
            for start in range(0, len(data), 8 * KIB):
                client.pipe.write(data[start : start + 8 * KIB])
            client.pipe.finish()

        producers = [pool.submit(produce, client) for client in clients]
        while not all(client.end == "finished" for client in clients):
            with contextlib.suppress(queue.Empty):
                line.wakes.get(timeout=0.01)()
            for client in clients:
                client.drain()
        for client, producer in zip(clients, producers, strict=True):
            producer.result(WAIT)
            assert client.body == data


def test_a_file_needs_room_in_the_budget(make: Make, path: Path) -> None:
    line = make(files=0)
    client = Client(line)
    with path.open("rb") as file:
        assert not client.writer.send_file(HEAD, file.fileno(), 0, 10)
    assert line.wakes.empty()
    client.writer.respond(HEAD, b"instead", None)
    line.turn()
    assert client.body == b"instead"


def test_a_file_that_cannot_be_duplicated_is_declined(make: Make) -> None:
    line = make()
    client = Client(line)
    assert not client.writer.send_file(HEAD, 10**6, 0, 10)
    assert line.used == (0, 0, 0)


@pytest.mark.parametrize("moment", ["before", "after", "midway"])
def test_a_file_is_closed_when_the_client_leaves(make: Make, path: Path, moment: str) -> None:
    line = make()
    client = Client(line)
    if moment == "before":
        client.leave()
    with path.open("rb") as file:
        assert client.writer.send_file(HEAD, file.fileno(), 0, 1_024_000)
    if moment == "midway":
        line.turn()
        assert client.body
    client.leave()
    assert line.used == (0, 0, 0)


def test_a_file_waits_for_what_came_before_it(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The producer may fill the RAM and begin a file between the loop's two questions."""
    monkeypatch.setattr(producer_module, "SPOOL_GRACE", 0.0)
    line = make(memory=64 * KIB)
    client = Client(line)
    client.writer.start(HEAD, None)
    client.pipe.write(b"first")
    client.pipe.take()
    for _ in range(20):
        client.pipe.write(b"x" * 10_000)
    assert line.used[2] == 1
    assert client.pipe.extent() is None
    assert client.pipe.take()[0]
    assert client.pipe.extent() is not None
    client.leave()
    client.writer.cut()


def test_a_file_stays_open_while_an_io_thread_reads_it(make: Make, path: Path) -> None:
    line = make()
    client = Client(line)
    with path.open("rb") as file:
        assert client.writer.send_file(HEAD, file.fileno(), 0, 1_024_000)
    pipe = client.pipe
    pipe.take()
    extent = pipe.extent()
    assert extent is not None
    pipe.begin_read()
    client.leave()
    assert line.used[1:] == (0, 1)
    assert os.pread(extent.descriptor, 4, extent.offset) == b"\x00\x01\x02\x03"
    pipe.end_read()
    assert line.used == (0, 0, 0)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.pread(extent.descriptor, 4, extent.offset)


def test_the_spool_stays_open_while_an_io_thread_reads_it(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(producer_module, "SPOOL_GRACE", 0.0)
    line = make(memory=64 * KIB)
    client = Client(line)
    client.writer.start(HEAD, None)
    for _ in range(20):
        client.pipe.write(b"x" * 10_000)
    client.pipe.take()
    extent = client.pipe.extent()
    assert extent is not None
    client.pipe.begin_read()
    client.leave()
    client.writer.cut()
    assert line.used[2] == 1
    assert os.pread(extent.descriptor, 4, extent.offset) == b"xxxx"
    client.pipe.end_read()
    assert line.used == (0, 0, 0)


class Watching(Client):
    """A loop's side that counts its wakes, and does nothing by itself."""

    def send(self) -> None:
        pass


def test_while_an_io_thread_reads_the_loop_is_not_woken(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(producer_module, "SPOOL_GRACE", 0.0)
    line = make(memory=64 * KIB)
    client = Watching(line)
    pipe = client.writer.start(HEAD, None)
    for _ in range(20):
        pipe.write(b"x" * 10_000)
    line.turn()
    taken = pipe.take()[0]
    extent = pipe.extent()
    assert extent is not None
    pipe.begin_read()
    pipe.write(b"more")  # into the file, behind what is read
    assert pipe.is_being_read
    assert line.wakes.empty()
    pipe.end_read()
    pipe.consumed(extent.size)
    assert not pipe.is_being_read
    pipe.write(b"last")
    line.turn()
    assert (client.woken, sum(map(len, taken)) + extent.size) == (2, 200_000)
    client.leave()
    client.writer.cut()


# --- states -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("moves", "first"),
    [(PRODUCER_MOVES, Production.RUNNING), (CONSUMER_MOVES, Consumer.READY)],
)
def test_the_tables_have_every_state_and_reach_it(moves: Table, first: Any) -> None:
    assert_whole(moves, first)


def test_a_change_that_is_not_in_the_tables_is_found(make: Make) -> None:
    client = Client(make())
    pipe = client.writer.start(HEAD, None)
    pipe.finish()
    pipe._producer = Production.RUNNING
    client.leave()
    pipe._consumer = Consumer.READY
    faults = [
        f"from {a} to {b}"
        for a, b in ((Production.FINISHED, Production.RUNNING), (Consumer.GONE, Consumer.READY))
    ]
    assert HeldToTables.faults == faults
    HeldToTables.faults.clear()


def test_a_response_that_is_spooled_passes_through_the_states(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(producer_module, "SPOOL_GRACE", 0.0)
    line = make(memory=64 * KIB)
    client = Client(line)
    pipe = client.writer.start(HEAD, None)
    seen = [pipe._producer]
    while seen[-1] is not Production.SPOOLING:
        pipe.write(b"x" * (16 * KIB))
        seen.append(pipe._producer)
    line.turn()
    while client.unsent:
        client.drain()
    pipe.write(b"y")
    seen.append(pipe._producer)
    pipe.finish()
    seen.append(pipe._producer)
    assert list(dict.fromkeys(seen)) == [
        Production.RUNNING,
        Production.SPOOLING,
        Production.FINISHED,
    ]
    assert seen[-2] is Production.RUNNING, "the client has caught up"
    line.turn()
    assert client.end == "finished"

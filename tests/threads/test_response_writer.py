"""ResponseWriter and ResponseStream: bytes from a pool thread to the loop, in order, bounded, and
nothing left over.

The test's thread is the loop: it serves wakes from a queue. A producer thread is only used where
the writer may block.
"""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from threadline import HEAD, KIB, MIB, WAIT, Client, HeldToTables, Line, no_leaks

from wsgi_async.errors import ClientDisconnected
from wsgi_async.threads import Producer as Production
from wsgi_async.threads import response_stream as stream_module
from wsgi_async.threads.response_states import CONSUMER_MOVES, PRODUCER_MOVES, Consumer

Make = Callable[..., Line]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """``make(**bounds)``: a line that must have nothing left of it when the test ends."""
    with no_leaks() as make_line:
        yield lambda **options: make_line(tmp_path, **options)


class Producer(threading.Thread):
    """Runs a function on a pool thread's side, and keeps what it raised."""

    def __init__(self, work: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self._work = work
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self.error = error

    def result(self) -> BaseException | None:
        self.join(WAIT)
        assert not self.is_alive(), "the producer is stuck"
        return self.error


def write_all(client: Client, chunks: list[bytes]) -> None:
    client.writer.start(HEAD, None)
    for chunk in chunks:
        client.stream.write(chunk)
    client.stream.finish()


def blocked(line: Line, count: int = 1) -> None:
    """Return when that many writers hold a thread."""
    deadline = time.monotonic() + WAIT
    while len(line.bounds.blocked) != count:
        assert time.monotonic() < deadline
        time.sleep(0.0005)


def fill(client: Client, line: Line) -> None:
    """Write to the writer until it can take no more without waiting: room 1 MiB."""
    client.writer.start(HEAD, None)
    for _ in range(line.bounds.memory // (64 * KIB)):
        assert client.stream.write(b"x" * (64 * KIB))


# --- small responses and wakes -------------------------------------------------------------------


@pytest.mark.parametrize("overflow", ["spool", "park", "block"])
@pytest.mark.parametrize("body", [b"", b"small", b"x" * (100 * KIB)])
def test_a_whole_response_is_one_wake_and_one_take(make: Make, overflow: str, body: bytes) -> None:
    line = make(overflow=overflow)
    client = Client(line)
    client.writer.respond(HEAD, body, None)
    line.turn()
    assert (client.head, client.body, client.end) == (HEAD, body, "finished")
    assert (client.woken, line.mailbox.wakes) == (1, 1)
    assert line.wakes.empty()


def test_a_small_response_asks_no_budget(make: Make) -> None:
    line = make(process_memory=0)
    client = Client(line)
    client.writer.respond(HEAD, b"x" * (16 * KIB), None)
    assert line.budgets.memory.peak == 0
    line.turn()
    assert client.end == "finished"


def test_the_chunk_that_completes_the_response_needs_no_wake_of_its_own(make: Make) -> None:
    line = make()
    client = Client(line)
    client.writer.start(HEAD, None)
    client.stream.write(b"first ")
    client.stream.write_last(b"last")
    line.turn()
    assert (bytes(client.body), client.end, line.mailbox.wakes) == (b"first last", "finished", 1)


def test_a_thousand_chunks_while_the_loop_is_away_are_one_wake(make: Make) -> None:
    line = make()
    client = Client(line)
    write_all(client, [b"%03d" % number for number in range(1000)])
    assert line.wakes.qsize() == 1
    line.turn()
    assert bytes(client.body) == b"".join(b"%03d" % number for number in range(1000))
    assert (client.end, client.woken, line.mailbox.wakes) == ("finished", 1, 1)


def test_a_chunk_after_each_take_is_one_wake_each(make: Make) -> None:
    line = make()
    client = Client(line)
    client.writer.start(HEAD, None)
    for number in range(1, 6):
        client.stream.write(b"x")
        client.stream.write(b"y")
        assert line.wakes.qsize() == 1
        line.turn()
        assert client.woken == number
    client.stream.finish()
    line.turn()
    assert (client.end, client.woken) == ("finished", 6)


def test_a_full_transport_needs_no_wake_the_loop_comes_by_itself(make: Make) -> None:
    line = make()
    client = Client(line)
    client.writer.start(HEAD, None)
    client.stream.write(b"x" * (client.high + 1))
    line.turn()
    assert not client.is_writable
    for _ in range(100):
        client.stream.write(b"y" * 100)
    client.stream.finish()
    assert line.wakes.empty()
    client.drain(client.unsent - client.low)
    assert (client.end, client.woken) == ("finished", 1)
    assert len(client.body) == client.high + 1 + 100 * 100


def test_exchanges_share_one_wake(make: Make) -> None:
    line = make()
    clients = [Client(line) for _ in range(50)]
    for client in clients:
        client.writer.respond(HEAD, b"x", None)
    assert line.wakes.qsize() == 1
    line.turn()
    assert [client.end for client in clients] == ["finished"] * 50
    assert line.mailbox.wakes == 1


def test_the_end_alone_is_told(make: Make) -> None:
    for how, end in (("finish", "finished"), ("cut", "cut")):
        line = make()
        client = Client(line)
        client.writer.start(HEAD, None)
        client.stream.write(b"x")
        line.turn()
        assert client.end is None
        client.writer.cut() if how == "cut" else client.stream.finish()
        line.turn()
        assert client.end == end


def test_what_was_written_before_a_cut_is_delivered(make: Make) -> None:
    line = make()
    client = Client(line)
    client.writer.start(HEAD, None)
    client.stream.write(b"some")
    client.writer.cut()
    line.turn()
    assert (bytes(client.body), client.end) == (b"some", "cut")


def test_after_a_cut_there_is_no_second_stream(make: Make) -> None:
    line = make()
    client = Client(line)
    client.writer.cut()
    with pytest.raises(ClientDisconnected):
        client.writer.start(HEAD, None).write(b"late")
    line.turn()
    assert (bytes(client.body), client.end) == (b"", "cut")


def test_a_body_that_is_with_the_transport_is_not_kept(make: Make) -> None:
    for forget in ("forget_body", "abort"):
        client = Client(make())
        client.writer.respond(HEAD, b"x" * KIB, KIB)
        getattr(client.writer, forget)()
        assert client.writer.whole == (HEAD, b"", KIB)
        assert client.writer.has_ended
        client.writer.cut()
        assert client.writer.stream is None


def test_only_the_first_end_counts(make: Make) -> None:
    for send in ("respond", "write_last"):
        line = make()
        client = Client(line)
        if send == "respond":
            client.writer.respond(HEAD, b"x", None)
        else:
            client.writer.start(HEAD, None).write_last(b"x")
            client.stream.finish()
        client.writer.cut()
        line.turn()
        assert client.end == "finished"
        client.writer.cut()
        assert line.wakes.empty()


def test_writes_after_the_end_go_nowhere(make: Make) -> None:
    """An application may keep write() and call it when its response is long complete."""
    line = make()
    client = Client(line)
    client.writer.start(HEAD, None).write_last(b"x")
    line.turn()
    for write in (client.stream.write, client.stream.write_and_wait):
        with pytest.raises(ClientDisconnected):
            write(b"y" * MIB)
    assert line.wakes.empty()
    assert bytes(client.body) == b"x"


# --- the three overflows -------------------------------------------------------------------------


def test_spool_frees_the_thread_of_a_client_that_does_not_read(make: Make) -> None:
    line = make(overflow="spool")
    client = Client(line)
    data = random.Random(1).randbytes(4 * MIB)
    write_all(client, [data[start : start + 50_000] for start in range(0, len(data), 50_000)])
    memory, disk, files = line.used
    assert memory <= MIB
    assert disk >= 2 * MIB
    assert files == 1
    while client.end is None:
        if client.unsent:
            client.drain()
        else:
            line.turn()
    assert client.body == data
    assert client.woken == 1, "one wake; the rest came with the drains"


def test_one_giant_chunk_is_spooled_too(make: Make) -> None:
    for send in ("respond", "write", "write_and_wait", "write_last"):
        line = make(overflow="spool")
        client = Client(line)
        data = random.Random(2).randbytes(5 * MIB)
        if send == "respond":
            client.writer.respond(HEAD, data, None)
        else:
            client.writer.start(HEAD, None)
            getattr(client.stream, send)(data)
            client.stream.finish()
        assert line.budgets.memory.used <= MIB
        assert line.budgets.disk.used >= 3 * MIB
        drain_all(client, line)
        assert client.body == data


def drain_all(client: Client, line: Line) -> None:
    while client.end is None:
        if client.unsent:
            client.drain()
        else:
            line.turn()


def test_a_client_that_catches_up_within_the_grace_meets_no_disk(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_module, "SPOOL_GRACE", WAIT)
    line = make(overflow="spool")
    client = Client(line)
    producer = Producer(lambda: write_all(client, [b"x" * (64 * KIB)] * 64))
    drain_all(client, line)
    assert producer.result() is None
    assert len(client.body) == 4 * MIB
    assert line.budgets.files.peak == line.budgets.disk.peak == 0


def test_block_holds_the_thread_until_the_client_has_taken_half(make: Make) -> None:
    line = make(overflow="block")
    client = Client(line)
    fill(client, line)
    producer = Producer(lambda: client.stream.write(b"y" * (64 * KIB)))
    blocked(line)
    line.turn()
    client.drain(client.unsent - MIB // 2 - 1)
    assert producer.is_alive()
    assert line.budgets.disk.peak == 0
    client.drain()
    assert producer.result() is None
    client.stream.finish()
    drain_all(client, line)
    assert len(client.body) == MIB + 64 * KIB


def test_park_asks_to_be_suspended_and_is_resumed_once(make: Make) -> None:
    line = make(overflow="park")
    client = Client(line)
    fill(client, line)
    assert client.stream.write(b"y") is False
    client.stream.park()
    line.turn()
    assert client.resumes.empty()
    client.drain()
    assert client.resumes.get_nowait() == "go on"
    client.send()
    client.drain()
    assert client.resumes.empty()
    client.stream.write_last(b"z")
    line.turn()
    assert (client.end, len(client.body)) == ("finished", MIB + 2)
    assert line.budgets.disk.peak == 0


def test_park_takes_a_giant_chunk_whole_and_never_blocks(make: Make) -> None:
    for send in ("respond", "write", "write_last"):
        line = make(overflow="park")
        client = Client(line)
        data = b"x" * (5 * MIB)
        if send == "respond":
            client.writer.respond(HEAD, data, None)
        else:
            client.writer.start(HEAD, None)
            if send == "write":
                assert client.stream.write(data) is False
                client.stream.park()
            else:
                client.stream.write_last(data)
        line.turn()
        client.drain()
        if send == "write":
            assert client.resumes.get_nowait() == "go on"
            client.stream.finish()
            drain_all(client, line)
        assert (client.end, len(client.body)) == ("finished", 5 * MIB)


def test_the_legacy_write_blocks_where_the_iteration_would_park(make: Make) -> None:
    line = make(overflow="park")
    client = Client(line)
    fill(client, line)
    producer = Producer(lambda: client.stream.write_and_wait(b"y"))
    blocked(line)
    line.turn()
    client.drain()
    assert producer.result() is None
    client.stream.finish()
    line.turn()
    assert len(client.body) == MIB + 1


def test_a_long_slice_gives_way_only_if_others_wait(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(stream_module.time, "monotonic", lambda: now[0])
    others: list[bool] = []
    line = make(overflow="park", others_wait=lambda: bool(others))
    client = Client(line)
    client.writer.start(HEAD, None)
    assert client.stream.write(b"a")
    now[0] += stream_module.SLICE * 2
    assert client.stream.write(b"b"), "nobody waits"
    others.append(True)
    assert client.stream.write(b"c") is False
    client.stream.park()
    line.turn()
    assert client.resumes.get_nowait() == "go on", "there is room, so at once"
    assert client.stream.write(b"d"), "a new slice"
    client.stream.finish()
    line.turn()
    assert bytes(client.body) == b"abcd"


# --- park against every state of the loop's side -------------------------------------------------


def parked(make: Make, state: str) -> tuple[Line, Client]:
    """A parked writer, with the consumer in `state` at that moment."""
    line = make(overflow="park")
    client = Client(line)
    client.writer.start(HEAD, None)
    if state == "FULL":
        client.stream.write(b"x" * (client.high + 1))
        line.turn()
    elif state == "READY":
        client.stream.write(b"x")
        line.turn()
    elif state == "WOKEN":
        client.stream.write(b"x")
    elif state == "GONE":
        client.leave()
    return line, client


@pytest.mark.parametrize("state", ["READY", "WOKEN", "FULL"])
def test_whoever_parks_is_resumed_exactly_once(make: Make, state: str) -> None:
    line, client = parked(make, state)
    assert client.stream.park()
    if state == "FULL":
        assert line.wakes.empty()
        client.drain()
    else:
        line.turn()
    assert client.resumes.get_nowait() == "go on"
    client.send()
    assert client.resumes.empty()
    client.stream.write_last(b"end")
    while client.end is None:
        line.turn()
    assert client.body.endswith(b"end")


def test_whoever_parks_when_the_client_has_gone_is_told_to_close(make: Make) -> None:
    line, client = parked(make, "GONE")
    assert not client.stream.park()
    assert client.resumes.empty(), "its own thread closes"
    assert line.wakes.empty()
    client.writer.cut()


@pytest.mark.parametrize("state", ["READY", "WOKEN", "FULL"])
def test_a_client_that_leaves_has_the_parked_iteration_closed_once(make: Make, state: str) -> None:
    line, client = parked(make, state)
    assert client.stream.park()
    client.leave()
    assert client.resumes.get_nowait() == "close"
    client.leave()
    while not line.wakes.empty():
        line.turn()
    assert client.resumes.empty()
    client.writer.cut()
    assert bytes(client.body).strip(b"x") == b""


def test_park_and_leave_race_but_exactly_one_side_closes(make: Make) -> None:
    for _ in range(300):
        line = make(overflow="park")
        client = Client(line)
        client.writer.start(HEAD, None)
        start = threading.Barrier(2)
        outcome: list[bool] = []

        def park(client: Client = client, start: Any = start, outcome: Any = outcome) -> None:
            start.wait(WAIT)
            outcome.append(client.stream.park())

        producer = Producer(park)
        start.wait(WAIT)
        client.leave()
        assert producer.result() is None
        while not line.wakes.empty():
            line.turn()
        assert client.resumes.qsize() == outcome[0]
        client.writer.cut()


# --- order, whatever happens ---------------------------------------------------------------------


@pytest.mark.parametrize("process_memory", [256 * MIB, 0], ids=["budget", "no budget"])
@pytest.mark.parametrize("overflow", ["spool", "park", "block"])
@pytest.mark.parametrize("seed", range(8))
def test_nothing_is_lost_or_doubled_at_any_pace(
    make: Make, monkeypatch: pytest.MonkeyPatch, seed: int, overflow: str, process_memory: int
) -> None:
    """RAM, file, RAM again, in random portions, against a client of random speed. A client that
    waits for ever without unsent bytes and without a wake would show as ``queue.Empty``."""
    monkeypatch.setattr(stream_module, "SPOOL_GRACE", 0.001)
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
        stream = client.writer.start(HEAD, None)
        for chunk in chunks[:-1]:
            if legacy:
                stream.write_and_wait(chunk)
            elif not stream.write(chunk):
                assert stream.park()
                assert client.resumes.get(timeout=WAIT) == "go on"
        if counted:
            stream.write_last(chunks[-1])
        else:
            stream.write_and_wait(chunks[-1])
            stream.finish()

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
    monkeypatch.setattr(stream_module, "SPOOL_GRACE", 0.0)
    line = make(overflow="spool", memory=64 * KIB)
    client = Client(line)
    sent = bytearray()
    client.writer.start(HEAD, None)
    seen_on_disk = []
    for round_ in range(3):
        for number in range(20):
            chunk = bytes([round_ * 20 + number]) * 10_000
            sent += chunk
            client.stream.write(chunk)
        seen_on_disk.append(line.budgets.disk.used)
        while client.unsent or not line.wakes.empty():
            if line.wakes.empty():
                client.drain()
            else:
                line.turn()
        assert client.body == sent, "all of it, before the producer goes on"
    assert min(seen_on_disk) > 100_000, "each round overflowed anew"
    assert line.budgets.files.peak == 1, "one file serves them all"
    client.stream.finish()
    line.turn()
    assert client.end == "finished"


def test_the_account_holds_bytes_until_the_transport_has_drained_them(make: Make) -> None:
    line = make(overflow="park")
    client = Client(line)
    fill(client, line)
    client.stream.take()
    assert client.stream.write(b"y") is False, "taken by the loop is not sent"
    client.stream.settle(MIB, writable=False)
    assert client.stream.write(b"y") is False
    client.stream.take()
    client.stream.settle(0, writable=True)
    assert client.stream.write(b"y"), "now it is"
    client.leave()
    client.writer.cut()


# --- bounds --------------------------------------------------------------------------------------


def test_at_the_spools_bound_the_thread_waits_and_then_goes_on(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_module, "SPOOL_GRACE", 0.001)
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
    monkeypatch.setattr(stream_module, "SPOOL_GRACE", 0.001)
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
    monkeypatch.setattr(stream_module, "SPOOL_GRACE", 0.001)
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

    monkeypatch.setattr(stream_module, "SPOOL_GRACE", 0.001)
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
    monkeypatch.setattr(stream_module, "SPOOL_GRACE", 0.001)

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
        while client.stream.write(b"x" * 4096):
            pass
    assert line.budgets.memory.peak <= MIB
    held = [4096 * len(client.stream.take()[0]) for client in clients]
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
            if not client.stream.write(b"x" * unsent):
                assert client.stream.park()
                assert client.resumes.get(timeout=WAIT) == "go on"
        client.stream.finish()

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
    monkeypatch.setattr(stream_module, "SPOOL_GRACE", 0.0)
    line = make(overflow="spool", memory=64 * KIB)
    client = Client(line)
    client.writer.start(HEAD, None)
    for _ in range(20):
        client.stream.write(b"x" * 10_000)
    assert line.budgets.files.used == 1
    client.stream.evict()
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


# --- clients that leave --------------------------------------------------------------------------


@pytest.mark.parametrize("overflow", ["spool", "park", "block"])
def test_a_client_that_leaves_early_ends_every_kind_of_write(make: Make, overflow: str) -> None:
    line = make(overflow=overflow)
    client = Client(line)
    client.writer.start(HEAD, None)
    client.stream.write(b"x")
    client.leave()
    assert client.writer.gone
    for write in (client.stream.write, client.stream.write_and_wait):
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
            stream = client.writer.start(HEAD, None)
            start.wait(WAIT)
            stream.write(b"x")

        producer = Producer(produce)
        start.wait(WAIT)
        client.leave()
        start.wait(WAIT)
        assert isinstance(producer.result(), ClientDisconnected)
        assert not client.stream.park()
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
            client.stream.write_last(b"x" * size)
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
    producer = Producer(lambda: client.stream.write(b"y"))
    blocked(line)
    client.leave()
    assert isinstance(producer.result(), ClientDisconnected)
    client.writer.cut()


def test_a_client_that_leaves_ends_the_spooling(make: Make, monkeypatch: Any) -> None:
    monkeypatch.setattr(stream_module, "SPOOL_GRACE", 0.0)
    line = make(overflow="spool", memory=64 * KIB)
    client = Client(line)
    client.writer.start(HEAD, None)
    for _ in range(30):
        client.stream.write(b"x" * 10_000)
    assert line.used[2] == 1
    client.leave()
    with pytest.raises(ClientDisconnected):
        client.stream.write(b"x")
    assert line.used[2] == 1, "the thread may still be writing"
    client.writer.cut()
    assert line.used == (0, 0, 0)


def test_a_client_that_leaves_during_the_write_to_the_file(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_module, "SPOOL_GRACE", 0.0)
    line = make(overflow="spool", memory=64 * KIB)
    client = Client(line)
    client.writer.start(HEAD, None)
    for _ in range(10):
        client.stream.write(b"x" * 10_000)
    pwrite = os.pwrite

    def leave_and_write(*args: Any) -> int:
        client.leave()
        return pwrite(*args)

    monkeypatch.setattr(os, "pwrite", leave_and_write)
    with pytest.raises(ClientDisconnected):
        client.stream.write(b"x")
    client.writer.cut()


def test_a_client_that_leaves_when_all_is_written_has_its_file_closed(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_module, "SPOOL_GRACE", 0.0)
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
    monkeypatch.setattr(stream_module, "SPOOL_GRACE", 0.001)
    chance = random.Random(seed)
    for _ in range(5):
        line = make(overflow=overflow, memory=40_000, disk=100_000)
        client = Client(line)
        closes: list[str] = []

        def produce(client: Client = client, closes: list[str] = closes) -> None:
            writer = client.writer
            try:
                stream = writer.start(HEAD, None)
                for _ in range(40):
                    if stream.write(b"x" * 9000):
                        continue
                    if not stream.park() or client.resumes.get(timeout=WAIT) == "close":
                        return
                stream.write_last(b"end")
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
    client.stream.write(b"x")
    client.stream.write_last(b"y")
    other = Client(line)
    other.writer.respond(HEAD, b"x", None)


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
    assert (line.budgets.memory.peak > 0) is (count > stream_module.FREE_MEMORY)


def test_without_memory_a_file_is_read_in_small_blocks(make: Make, path: Path) -> None:
    line = make(process_memory=0)
    client = Client(line)
    with path.open("rb") as file:
        assert client.writer.send_file(HEAD, file.fileno(), 0, 1_024_000)
    client.stream.take()
    extent = client.stream.extent()
    assert extent is not None
    assert client.stream.block_size(extent.size) == stream_module.FREE_MEMORY
    client.leave()


def test_a_thousand_chunks_that_wait_are_joined(make: Make) -> None:
    line = make()
    client = Client(line)
    client.writer.start(HEAD, None)
    chunks = [b"%04d" % number for number in range(3 * stream_module.LOOSE_CHUNKS + 5)]
    for chunk in chunks:
        assert client.stream.write(chunk)
    assert len(client.stream._chunks) == 3 + 5
    client.stream.finish()
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
                client.stream.write(data[start : start + 8 * KIB])
            client.stream.finish()

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
    monkeypatch.setattr(stream_module, "SPOOL_GRACE", 0.0)
    line = make(memory=64 * KIB)
    client = Client(line)
    client.writer.start(HEAD, None)
    client.stream.write(b"first")
    client.stream.take()
    for _ in range(20):
        client.stream.write(b"x" * 10_000)
    assert line.used[2] == 1
    assert client.stream.extent() is None
    assert client.stream.take()[0]
    assert client.stream.extent() is not None
    client.leave()
    client.writer.cut()


def test_a_file_stays_open_while_an_io_thread_reads_it(make: Make, path: Path) -> None:
    line = make()
    client = Client(line)
    with path.open("rb") as file:
        assert client.writer.send_file(HEAD, file.fileno(), 0, 1_024_000)
    stream = client.stream
    stream.take()
    extent = stream.extent()
    assert extent is not None
    stream.begin_read()
    client.leave()
    assert line.used[1:] == (0, 1)
    assert os.pread(extent.descriptor, 4, extent.offset) == b"\x00\x01\x02\x03"
    stream.end_read()
    assert line.used == (0, 0, 0)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.pread(extent.descriptor, 4, extent.offset)


def test_the_spool_stays_open_while_an_io_thread_reads_it(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_module, "SPOOL_GRACE", 0.0)
    line = make(memory=64 * KIB)
    client = Client(line)
    client.writer.start(HEAD, None)
    for _ in range(20):
        client.stream.write(b"x" * 10_000)
    client.stream.take()
    extent = client.stream.extent()
    assert extent is not None
    client.stream.begin_read()
    client.leave()
    client.writer.cut()
    assert line.used[2] == 1
    assert os.pread(extent.descriptor, 4, extent.offset) == b"xxxx"
    client.stream.end_read()
    assert line.used == (0, 0, 0)


# --- states -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("moves", "first"),
    [(PRODUCER_MOVES, Production.RUNNING), (CONSUMER_MOVES, Consumer.READY)],
)
def test_the_tables_have_every_state_and_reach_it(moves: dict[Any, set[Any]], first: Any) -> None:
    assert set(moves) == set(type(first))
    reached = {first}
    while following := {t for state in reached for t in moves[state]} - reached:
        reached |= following
    assert reached == set(moves)


def test_a_change_that_is_not_in_the_tables_is_found(make: Make) -> None:
    client = Client(make())
    stream = client.writer.start(HEAD, None)
    stream.finish()
    stream._producer = Production.RUNNING
    client.leave()
    stream._consumer = Consumer.READY
    faults = [
        f"from {a} to {b}"
        for a, b in ((Production.FINISHED, Production.RUNNING), (Consumer.GONE, Consumer.READY))
    ]
    assert HeldToTables.faults == faults
    HeldToTables.faults.clear()


def test_a_response_that_is_spooled_passes_through_the_states(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_module, "SPOOL_GRACE", 0.0)
    line = make(memory=64 * KIB)
    client = Client(line)
    stream = client.writer.start(HEAD, None)
    seen = [stream._producer]
    while seen[-1] is not Production.SPOOLING:
        stream.write(b"x" * (16 * KIB))
        seen.append(stream._producer)
    line.turn()
    while client.unsent:
        client.drain()
    stream.write(b"y")
    seen.append(stream._producer)
    stream.finish()
    seen.append(stream._producer)
    assert list(dict.fromkeys(seen)) == [
        Production.RUNNING,
        Production.SPOOLING,
        Production.FINISHED,
    ]
    assert seen[-2] is Production.RUNNING, "the client has caught up"
    line.turn()
    assert client.end == "finished"

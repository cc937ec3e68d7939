"""A response from a pool thread to the loop: wakes, the three overflows, and who resumes what is
parked.

The test's thread is the loop: it serves wakes from a queue. A producer thread is only used where
the writer may block.
"""

from __future__ import annotations

import random
import threading
from typing import Any

import pytest
from producers import Make, Producer, blocked, drain_all, fill, lines, write_all
from threadline import HEAD, KIB, MIB, WAIT, Client, Line

from wsgi_async.errors import ClientDisconnected
from wsgi_async.threads import response_producer as producer_module

make = pytest.fixture(lines)


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
    client.pipe.write(b"first ")
    client.pipe.write_last(b"last")
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
        client.pipe.write(b"x")
        client.pipe.write(b"y")
        assert line.wakes.qsize() == 1
        line.turn()
        assert client.woken == number
    client.pipe.finish()
    line.turn()
    assert (client.end, client.woken) == ("finished", 6)


def test_a_full_transport_needs_no_wake_the_loop_comes_by_itself(make: Make) -> None:
    line = make()
    client = Client(line)
    client.writer.start(HEAD, None)
    client.pipe.write(b"x" * (client.high + 1))
    line.turn()
    assert not client.is_writable
    for _ in range(100):
        client.pipe.write(b"y" * 100)
    client.pipe.finish()
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
        client.pipe.write(b"x")
        line.turn()
        assert client.end is None
        client.writer.cut() if how == "cut" else client.pipe.finish()
        line.turn()
        assert client.end == end


def test_what_was_written_before_a_cut_is_delivered(make: Make) -> None:
    line = make()
    client = Client(line)
    client.writer.start(HEAD, None)
    client.pipe.write(b"some")
    client.writer.cut()
    line.turn()
    assert (bytes(client.body), client.end) == (b"some", "cut")


def test_after_a_cut_there_is_no_second_pipe(make: Make) -> None:
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
        assert client.writer.pipe is None


def test_only_the_first_end_counts(make: Make) -> None:
    for send in ("respond", "write_last"):
        line = make()
        client = Client(line)
        if send == "respond":
            client.writer.respond(HEAD, b"x", None)
        else:
            client.writer.start(HEAD, None).write_last(b"x")
            client.pipe.finish()
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
    for write in (client.pipe.write, client.pipe.write_and_wait):
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
            getattr(client.pipe, send)(data)
            client.pipe.finish()
        assert line.budgets.memory.used <= MIB
        assert line.budgets.disk.used >= 3 * MIB
        drain_all(client, line)
        assert client.body == data


def test_a_client_that_catches_up_within_the_grace_meets_no_disk(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(producer_module, "SPOOL_GRACE", WAIT)
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
    producer = Producer(lambda: client.pipe.write(b"y" * (64 * KIB)))
    blocked(line)
    line.turn()
    client.drain(client.unsent - MIB // 2 - 1)
    assert producer.is_alive()
    assert line.budgets.disk.peak == 0
    client.drain()
    assert producer.result() is None
    client.pipe.finish()
    drain_all(client, line)
    assert len(client.body) == MIB + 64 * KIB


def test_park_asks_to_be_suspended_and_is_resumed_once(make: Make) -> None:
    line = make(overflow="park")
    client = Client(line)
    fill(client, line)
    assert client.pipe.write(b"y") is False
    client.pipe.park()
    line.turn()
    assert client.resumes.empty()
    client.drain()
    assert client.resumes.get_nowait() == "go on"
    client.send()
    client.drain()
    assert client.resumes.empty()
    client.pipe.write_last(b"z")
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
                assert client.pipe.write(data) is False
                client.pipe.park()
            else:
                client.pipe.write_last(data)
        line.turn()
        client.drain()
        if send == "write":
            assert client.resumes.get_nowait() == "go on"
            client.pipe.finish()
            drain_all(client, line)
        assert (client.end, len(client.body)) == ("finished", 5 * MIB)


def test_the_legacy_write_blocks_where_the_iteration_would_park(make: Make) -> None:
    line = make(overflow="park")
    client = Client(line)
    fill(client, line)
    producer = Producer(lambda: client.pipe.write_and_wait(b"y"))
    blocked(line)
    line.turn()
    client.drain()
    assert producer.result() is None
    client.pipe.finish()
    line.turn()
    assert len(client.body) == MIB + 1


def test_a_long_slice_gives_way_only_if_others_wait(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(producer_module.time, "monotonic", lambda: now[0])
    others: list[bool] = []
    line = make(overflow="park", others_wait=lambda: bool(others))
    client = Client(line)
    client.writer.start(HEAD, None)
    assert client.pipe.write(b"a")
    now[0] += producer_module.SLICE * 2
    assert client.pipe.write(b"b"), "nobody waits"
    others.append(True)
    assert client.pipe.write(b"c") is False
    client.pipe.park()
    line.turn()
    assert client.resumes.get_nowait() == "go on", "there is room, so at once"
    assert client.pipe.write(b"d"), "a new slice"
    client.pipe.finish()
    line.turn()
    assert bytes(client.body) == b"abcd"


# --- park against every state of the loop's side -------------------------------------------------


def parked(make: Make, state: str) -> tuple[Line, Client]:
    """A parked writer, with the consumer in `state` at that moment."""
    line = make(overflow="park")
    client = Client(line)
    client.writer.start(HEAD, None)
    if state == "FULL":
        client.pipe.write(b"x" * (client.high + 1))
        line.turn()
    elif state == "READY":
        client.pipe.write(b"x")
        line.turn()
    elif state == "WOKEN":
        client.pipe.write(b"x")
    elif state == "GONE":
        client.leave()
    return line, client


@pytest.mark.parametrize("state", ["READY", "WOKEN", "FULL"])
def test_whoever_parks_is_resumed_exactly_once(make: Make, state: str) -> None:
    line, client = parked(make, state)
    assert client.pipe.park()
    if state == "FULL":
        assert line.wakes.empty()
        client.drain()
    else:
        line.turn()
    assert client.resumes.get_nowait() == "go on"
    client.send()
    assert client.resumes.empty()
    client.pipe.write_last(b"end")
    while client.end is None:
        line.turn()
    assert client.body.endswith(b"end")


def test_whoever_parks_when_the_client_has_gone_is_told_to_close(make: Make) -> None:
    line, client = parked(make, "GONE")
    assert not client.pipe.park()
    assert client.resumes.empty(), "its own thread closes"
    assert line.wakes.empty()
    client.writer.cut()


@pytest.mark.parametrize("state", ["READY", "WOKEN", "FULL"])
def test_a_client_that_leaves_has_the_parked_iteration_closed_once(make: Make, state: str) -> None:
    line, client = parked(make, state)
    assert client.pipe.park()
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
            outcome.append(client.pipe.park())

        producer = Producer(park)
        start.wait(WAIT)
        client.leave()
        assert producer.result() is None
        while not line.wakes.empty():
            line.turn()
        assert client.resumes.qsize() == outcome[0]
        client.writer.cut()

"""RequestBody: a request's body from the loop to a pool thread, as it arrives."""

from __future__ import annotations

import queue
import random
import socket
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from threadline import WAIT

from wsgi_async.buffers.budgets import Budget, Budgets
from wsgi_async.buffers.spool import SourceFile
from wsgi_async.errors import ClientDisconnected
from wsgi_async.threads import InputStream, Mailbox, RequestBody
from wsgi_async.threads.request_body import HIGH_WATER, LOW_WATER


class Rig:
    """A body between a loop, which is the test's thread, and a reader."""

    def __init__(self, memory: int = 10**9) -> None:
        self.posts: queue.Queue[Callable[[], None]] = queue.Queue()
        self.memory = Budget(memory)
        self.body = RequestBody(Mailbox(self.posts.put, pytest.fail), self, self.memory)
        self.input = InputStream(self.body)

    def on_wake(self) -> None:
        pass

    def turn(self) -> None:
        """Wait for one post, and take it."""
        self.posts.get(timeout=WAIT)()


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    yield rig
    rig.body.release()
    assert rig.memory.used == 0


class Reader(threading.Thread):
    """Calls a function on a thread of its own."""

    def __init__(self, call: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self._call = call
        self._result: Any = None
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._result = self._call()
        except BaseException as error:
            self._error = error

    def result(self) -> Any:
        self.join(WAIT)
        assert not self.is_alive(), "the reader is stuck"
        if self._error is not None:
            raise self._error
        return self._result


DATA = b"first line\nsecond\n\nlast without end"
READS: dict[str, Callable[[Any], Any]] = {
    "read": lambda file: file.read(),
    "read by 1": lambda file: b"".join(iter(lambda: file.read(1), b"")),
    "read by 7": lambda file: b"".join(iter(lambda: file.read(7), b"")),
    "readline": lambda file: b"".join(iter(file.readline, b"")),
    "readline(3)": lambda file: b"".join(iter(lambda: file.readline(3), b"")),
    "readlines": lambda file: b"".join(file.readlines()),
    "iteration": lambda file: b"".join(file),
}


@pytest.mark.parametrize("how", sorted(READS))
@pytest.mark.parametrize("size", [1, 5, 100])
def test_every_way_to_read_gets_exactly_the_body(rig: Rig, how: str, size: int) -> None:
    reader = Reader(lambda: READS[how](rig.input))
    for start in range(0, len(DATA), size):
        rig.body.feed(DATA[start : start + size])
    rig.body.feed_end()
    assert reader.result() == DATA
    assert rig.input.read() == b""
    assert rig.input.readline() == b""
    assert rig.body.size == len(DATA)
    assert rig.memory.used == 0


def test_lines_are_lines(rig: Rig) -> None:
    rig.body.feed(DATA[:13])
    rig.body.feed(DATA[13:])
    rig.body.feed_end()
    assert rig.input.readline() == b"first line\n"
    assert rig.input.readline(3) == b"sec"
    assert rig.input.readlines() == [b"ond\n", b"\n", b"last without end"]


def test_a_read_waits_until_it_has_as_much_as_was_asked_for(rig: Rig) -> None:
    reader = Reader(lambda: rig.input.read(10))
    rig.turn()
    rig.body.feed(b"12345")
    assert reader.is_alive()
    rig.body.feed(b"67890 and more")
    assert reader.result() == b"1234567890"


def test_an_empty_body(rig: Rig) -> None:
    rig.body.feed_end()
    assert rig.input.read() == b""


def test_it_tells_once_that_it_is_awaited(rig: Rig) -> None:
    """Only then does a client that expects it get its 100 Continue."""
    assert not rig.body.is_awaited
    reader = Reader(lambda: (rig.body.readinto(bytearray(4)), rig.body.readinto(bytearray(4))))
    rig.turn()
    assert rig.body.is_awaited
    rig.body.feed(b"abcd")
    rig.body.feed(b"efgh")
    assert reader.result() == (4, 4)
    assert rig.posts.empty()


def test_who_finds_bytes_there_has_not_waited(rig: Rig) -> None:
    rig.body.feed(b"abcd")
    assert rig.body.readinto(bytearray(4)) == 4
    assert not rig.body.is_awaited
    assert rig.posts.empty()
    rig.body.feed_end()
    assert rig.body.readinto(bytearray(4)) == 0
    assert not rig.body.is_awaited


def test_reading_pauses_at_high_water_and_goes_on_at_low_water(rig: Rig) -> None:
    rig.body.feed(b"x" * (HIGH_WATER - 1))
    assert not rig.body.is_full
    rig.body.feed(b"x")
    assert rig.body.is_full
    assert rig.body.readinto(bytearray(HIGH_WATER - LOW_WATER - 1)) > 0
    assert rig.body.is_full
    assert rig.posts.empty()
    assert rig.body.readinto(bytearray(1)) == 1
    assert not rig.body.is_full
    rig.turn()
    assert rig.input.read(LOW_WATER) == b"x" * LOW_WATER
    assert rig.posts.empty(), "told once"


@pytest.mark.parametrize("read_before", [0, 3])
def test_tiny_arrivals_take_little_more_than_their_size(rig: Rig, read_before: int) -> None:
    data = bytes(range(250)) * 800
    tracemalloc.start()
    try:
        for start in range(0, len(data), 2):
            rig.body.feed(data[start : start + 2])
            if start == 1000:
                rig.body.readinto(bytearray(read_before))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 1.25 * len(data)
    assert rig.memory.used == len(data) - read_before
    rig.body.feed_end()
    assert rig.input.read() == data[read_before:]


def test_without_memory_reading_pauses_at_once_and_the_body_still_arrives() -> None:
    rig = Rig(memory=0)
    rig.body.feed(b"a" * 100)
    assert rig.body.is_full
    assert rig.memory.used == 0
    assert rig.body.readinto(bytearray(1000)) == 100
    assert not rig.body.is_full
    rig.turn()
    rig.body.feed(b"b")
    rig.body.feed_end()
    assert rig.input.read() == b"b"
    rig.body.release()
    assert rig.memory.used == 0


def test_the_memory_it_holds_is_reserved_and_given_back_as_it_is_read(rig: Rig) -> None:
    rig.body.feed(b"x" * 1000)
    assert rig.memory.used == 1000
    rig.body.readinto(bytearray(300))
    assert rig.memory.used == 700
    rig.body.release()
    assert rig.memory.used == 0


def test_partly_refused_memory_is_accounted_right() -> None:
    rig = Rig(memory=150)
    for _ in range(3):
        rig.body.feed(b"x" * 100)
    assert rig.memory.used == 100
    rig.body.readinto(bytearray(250))
    assert rig.memory.used == 0
    rig.body.release()
    assert rig.memory.used == 0


@pytest.mark.parametrize("fed", [b"", b"some"])
def test_a_client_that_leaves_wakes_the_reader(rig: Rig, fed: bytes) -> None:
    reader = Reader(lambda: rig.input.read(10))
    rig.turn()
    if fed:
        rig.body.feed(fed)
    rig.body.abort("the client has gone")
    with pytest.raises(ClientDisconnected, match="the client has gone"):
        reader.result()
    with pytest.raises(OSError, match="the client has gone"):
        rig.input.read(1)


def test_a_body_that_is_complete_survives_its_client(rig: Rig) -> None:
    rig.body.feed(b"all of it")
    rig.body.feed_end()
    rig.body.abort("the client has gone")
    assert rig.input.read() == b"all of it"


def test_what_comes_after_the_end_of_the_exchange_is_dropped(rig: Rig) -> None:
    rig.body.feed(b"x" * 1000)
    rig.body.release()
    rig.body.feed(b"y" * 1000)
    assert rig.memory.used == 0
    rig.body.release()
    with pytest.raises(ClientDisconnected, match="the exchange has ended"):
        rig.input.read(1)


def test_the_application_may_close_its_input(rig: Rig) -> None:
    rig.body.feed(b"x")
    rig.input.close()
    rig.body.feed(b"y")
    rig.body.feed_end()


@pytest.mark.parametrize("seed", range(5))
def test_a_stream_of_any_rhythm_arrives_in_order(seed: int) -> None:
    chance = random.Random(seed)
    rig = Rig(memory=chance.choice([10**9, 50_000, 0]))
    data = chance.randbytes(3_000_000)

    def read() -> bytes:
        parts = []
        while part := rig.input.read(chance.choice([1, 100, 70_000])):
            parts.append(part)
        return b"".join(parts)

    reader = Reader(read)
    pace = random.Random(seed + 100)
    sent = 0
    while sent < len(data):
        if rig.body.is_full:
            rig.turn()
            continue
        amount = pace.choice([1, 1000, 65536, 200_000])
        rig.body.feed(data[sent : sent + amount])
        sent += amount
    rig.body.feed_end()
    assert reader.result() == data
    rig.body.release()
    assert rig.memory.used == 0


# --- bytes as they are -------------------------------------------------------------------------


def test_bytes_that_fit_are_not_copied(rig: Rig) -> None:
    data = b"x" * 100_000
    rig.body.feed(data)
    rig.body.feed_end()
    assert rig.input.read(100_000) is data


@pytest.mark.parametrize("size", [3, 1000])
def test_lines_may_be_read_after_bytes(rig: Rig, size: int) -> None:
    rig.body.feed(b"one\ntwo\nthree\n" + b"x" * 5000)
    rig.body.feed(b"\nfour\nfive\n")
    rig.body.feed_end()
    whole = b"one\ntwo\nthree\n" + b"x" * 5000 + b"\nfour\nfive\n"
    assert rig.input.read(size) == whole[:size]
    lines = whole[size:].splitlines(keepends=True)
    assert rig.input.readline() == lines[0]
    assert rig.input.readlines() == lines[1:]
    assert rig.input.read(5) == b""


@pytest.mark.parametrize("read", ["read", "readline", "read1", "__next__", "readinto"])
def test_what_is_closed_cannot_be_read(rig: Rig, read: str) -> None:
    rig.body.feed(b"x" * 1000)
    assert rig.input.read(1) == b"x"
    rig.input.close()
    assert not rig.input.readable()
    argument = [bytearray(1)] if read == "readinto" else []
    with pytest.raises(ValueError, match="closed file"):
        getattr(rig.input, read)(*argument)


# --- the socket, lent ----------------------------------------------------------------------------


class Lender:
    """A rig whose body is full, and a socket to lend it."""

    def __init__(self, rig: Rig, left: int) -> None:
        self.body = rig.body
        self.budgets = Budgets(memory=0, disk=0, files=1, directory="")
        self.client, self.server = socket.socketpair()
        self.server.setblocking(False)
        rig.body.feed(b"x" * HIGH_WATER)
        rig.body.lend(SourceFile(self.budgets, self.server.fileno()), left)

    @property
    def is_lent(self) -> bool:
        return self.budgets.files.used == 1


@pytest.fixture
def lend(rig: Rig) -> Iterator[Callable[[int], Lender]]:
    lenders: list[Lender] = []

    def lend(left: int) -> Lender:
        lenders.append(Lender(rig, left))
        return lenders[-1]

    yield lend
    rig.body.release()
    for lender in lenders:
        assert not lender.is_lent
        lender.client.close()
        lender.server.close()


def test_the_buffer_comes_first_and_then_the_socket(rig: Rig, lend: Callable[..., Lender]) -> None:
    lender = lend(9)
    lender.client.sendall(b"the rest, and what follows")
    assert rig.body.is_full
    assert rig.input.read() == b"x" * HIGH_WATER + b"the rest,"
    rig.turn()
    assert rig.posts.empty(), "one wake, at the end"
    assert rig.body.taken() == 9
    assert rig.body.taken() == 0
    assert rig.body.size == HIGH_WATER + 9
    assert not lender.is_lent
    assert lender.server.recv(100) == b" and what follows"


def test_an_empty_socket_is_given_back(rig: Rig, lend: Callable[..., Lender]) -> None:
    lender = lend(1000)
    lender.client.sendall(b"abc")
    reader = Reader(lambda: rig.input.read(HIGH_WATER + 6))
    rig.turn()
    assert not lender.is_lent
    assert not rig.body.is_full
    assert rig.body.taken() == 3
    rig.body.feed(b"def")
    assert reader.result() == b"x" * HIGH_WATER + b"abcdef"


def test_an_error_of_the_socket_is_told_to_the_loop(rig: Rig, lend: Callable[..., Lender]) -> None:
    lender = lend(1000)
    lender.server.sendall(b"unread")
    lender.client.close()  # a unix socket with unread input is reset
    reader = Reader(lambda: rig.input.read(HIGH_WATER + 1))
    rig.turn()
    assert not lender.is_lent
    with pytest.raises(ConnectionResetError):
        rig.body.taken()
    assert rig.body.taken() == 0
    rig.body.abort("the client has gone")
    with pytest.raises(ClientDisconnected):
        reader.result()


@pytest.mark.parametrize("end", ["abort", "release", "reclaim"])
def test_the_loop_may_have_the_socket_back(rig: Rig, lend: Callable[..., Lender], end: str) -> None:
    lender = lend(1000)
    lender.client.sendall(b"abc")
    ends: dict[str, Callable[[], None]] = {
        "abort": lambda: rig.body.abort("the client has gone"),
        "release": rig.body.release,
        "reclaim": rig.body.reclaim,
    }
    ends[end]()
    assert not lender.is_lent
    assert lender.server.recv(100) == b"abc"


@pytest.mark.parametrize("why", ["has room", "complete", "released", "lent"])
def test_what_is_not_needed_is_not_borrowed(rig: Rig, why: str) -> None:
    budgets = Budgets(memory=0, disk=0, files=2, directory="")
    client, server = socket.socketpair()
    with client, server:
        rig.body.feed(b"x" * HIGH_WATER)
        if why == "has room":
            rig.input.read(HIGH_WATER)
        elif why == "complete":
            rig.body.feed_end()
        elif why == "released":
            rig.body.release()
        else:
            rig.body.lend(SourceFile(budgets, server.fileno()), 1000)
        rig.body.lend(SourceFile(budgets, server.fileno()), 1000)
        assert budgets.files.used == (why == "lent")
        rig.body.release()
    assert not budgets.files.used

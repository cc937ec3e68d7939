"""Who writes the logs, and that nobody waits for a log that nobody reads."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from forked import run_forked
from rawclient import TIMEOUT

from wsgi_async.logs.calls import MAX_CALLS
from wsgi_async.logs.sinks import AT_ONCE, MAX_HELD, OVERHEAD, Sink
from wsgi_async.logs.thread import FLUSH_TIME, LogWriter, Mode
from wsgi_async.system.forks import keeping


class Pipe:
    """A log that is a pipe, and its reader.

    :param tells: see :class:`Sink`.
    """

    def __init__(self, *, tells: bool = False) -> None:
        self.reading, writing = os.pipe()
        self.sink = Sink(writing, "access log", tells=tells)
        self.taken = b""

    def fill(self) -> int:
        """Fill it, and return how many bytes that took."""
        size = 0
        while self.sink.takes_more():
            size += os.write(self.sink.descriptor, b"x" * AT_ONCE)
        return size

    def read(self) -> bytes:
        """What is in it."""
        while select.select([self.reading], [], [], 0)[0]:
            self.taken += os.read(self.reading, 1 << 20)
        taken, self.taken = self.taken, b""
        return taken

    def read_until(self, is_enough: Callable[[bytes], bool]) -> bytes:
        """Read as a reader does, until there is enough."""
        deadline = time.monotonic() + TIMEOUT
        while not is_enough(self.taken):
            assert select.select([self.reading], [], [], deadline - time.monotonic())[0]
            self.taken += os.read(self.reading, 1 << 16)
        return self.read()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    for descriptor in (pipe.reading, pipe.sink.descriptor):
        with contextlib.suppress(OSError):
            os.close(descriptor)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Sink]:
    sink = Sink(os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND), "error log")
    yield sink
    sink.close()


class Told:
    """What a writer has told of dropped lines."""

    def __init__(self) -> None:
        self.reports: list[tuple[int, str, str]] = []
        self._changed = threading.Condition()

    def __call__(self, count: int, name: str, why: str) -> None:
        with self._changed:
            self.reports.append((count, name, why))
            self._changed.notify_all()

    @property
    def count(self) -> int:
        return sum(count for count, _, _ in self.reports)

    def wait_for(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.count == count, TIMEOUT), self.reports


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def writer(told: Told) -> Iterator[LogWriter]:
    """With its thread."""
    writer = LogWriter(told)
    writer.start()
    yield writer
    writer.flush()


# --- The thread


def test_records_are_written_in_order_by_the_thread(writer: LogWriter, file: Sink) -> None:
    writer.add(file)
    for number in range(10_000):
        writer.put(file, b"%d\n" % number)
    writer.flush()
    with open(f"/proc/self/fd/{file.descriptor}") as log:
        assert [int(line) for line in log] == list(range(10_000))


def test_many_records_are_one_write(
    writer: LogWriter, file: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    write = os.write

    def counted(descriptor: int, data: bytes) -> int:
        sizes.append(len(data))
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", counted)
    writer.add(file)
    for _ in range(1000):
        writer.put(file, b"x" * 99 + b"\n")
    writer.flush()
    assert sum(sizes) == 100_000
    assert len(sizes) < 100


def test_who_logs_does_not_wait_for_a_pipe_that_nobody_reads(
    writer: LogWriter, told: Told, pipe: Pipe
) -> None:
    writer.add(pipe.sink)
    size = 1000
    count = 2 * MAX_HELD // size
    began = time.monotonic()
    for number in range(count):
        writer.put(pipe.sink, b"%*d\n" % (size - 1, number))
    assert time.monotonic() - began < 10
    lines = pipe.read_until(lambda data: count - told.count == data.count(b"\n")).splitlines()
    numbers = list(map(int, lines))
    held = int(MAX_HELD / (size + OVERHEAD)) - 1
    assert numbers[:held] == list(range(held))
    # Where the thread fills the pipe late, there is room for some again after others were dropped.
    assert numbers == sorted(set(numbers))
    assert held < len(numbers) < count
    told.wait_for(count - len(numbers))
    assert {(name, why) for _, name, why in told.reports} == {
        ("access log", "nobody reads it fast enough")
    }


def test_a_log_that_takes_nothing_stops_no_other(writer: LogWriter, pipe: Pipe, file: Sink) -> None:
    writer.add(pipe.sink)
    writer.add(file)
    filled = pipe.fill()
    writer.put(pipe.sink, b"waits\n")
    writer.put(file, b"does not\n")
    deadline = time.monotonic() + TIMEOUT
    while os.fstat(file.descriptor).st_size == 0:
        assert time.monotonic() < deadline
        select.select([], [], [], 0.01)
    # No more than that: as soon as there is room again, the thread goes on.
    assert os.read(pipe.reading, filled) == b"x" * filled
    assert pipe.read_until(lambda data: b"\n" in data) == b"waits\n"


def test_long_records_go_through_a_pipe_in_whole_lines(writer: LogWriter, pipe: Pipe) -> None:
    """Of which no write waits, however slow the reader, and none sets O_NONBLOCK."""
    writer.add(pipe.sink)
    record = b"".join(b"%06d " % number * 100 + b"\n" for number in range(1000))
    writer.put(pipe.sink, record)
    writer.put(pipe.sink, b"y" * (3 * AT_ONCE) + b"\n")
    read = pipe.read_until(lambda data: data.endswith(b"y\n"))
    assert read == record + b"y" * (3 * AT_ONCE) + b"\n"
    assert not fcntl.fcntl(pipe.sink.descriptor, fcntl.F_GETFL) & os.O_NONBLOCK


def test_a_reader_that_has_gone_is_told_once(writer: LogWriter, told: Told, pipe: Pipe) -> None:
    writer.add(pipe.sink)
    os.close(pipe.reading)
    writer.put(pipe.sink, b"lost\n")
    told.wait_for(1)
    for _ in range(99):
        writer.put(pipe.sink, b"lost\n")
    writer.flush()
    assert told.count == 100
    assert len(told.reports) <= 2
    assert told.reports[0] == (1, "access log", "Broken pipe")


def test_a_flush_takes_a_second_at_most(writer: LogWriter, pipe: Pipe) -> None:
    writer.add(pipe.sink)
    pipe.fill()
    writer.put(pipe.sink, b"x\n")
    began = time.monotonic()
    writer.flush()
    assert FLUSH_TIME <= time.monotonic() - began < FLUSH_TIME + 5


def test_a_flush_waits_for_nothing_else(writer: LogWriter, file: Sink) -> None:
    writer.add(file)
    writer.put(file, b"x\n")
    began = time.monotonic()
    writer.flush()
    assert os.fstat(file.descriptor).st_size == 2
    assert time.monotonic() - began < FLUSH_TIME
    writer.flush()  # again is nothing
    assert writer.mode is Mode.POLLED
    writer.put(file, b"y\n")
    assert os.fstat(file.descriptor).st_size == 4


def test_a_file_is_changed_between_two_records(
    writer: LogWriter, file: Sink, tmp_path: Path
) -> None:
    """The one before it and the one after it, however many wait."""
    writer.add(file)
    number = file.descriptor
    for turn in range(20):
        for _ in range(100):
            writer.put(file, b"%d\n" % turn)
        writer.switch(file, os.open(tmp_path / f"log.{turn}", os.O_WRONLY | os.O_CREAT))
    writer.put(file, b"20\n")
    writer.flush()
    assert file.descriptor == number
    assert (tmp_path / "log").read_text() == "0\n" * 100
    for turn in range(19):
        assert (tmp_path / f"log.{turn}").read_text() == f"{turn + 1}\n" * 100
    assert (tmp_path / "log.19").read_text() == "20\n"


def test_a_flush_takes_a_second_however_often(writer: LogWriter, pipe: Pipe) -> None:
    """Also where a call does not come to its end, and the process flushes again."""
    done = threading.Event()
    writer.add(pipe.sink)
    pipe.fill()
    writer.put(pipe.sink, b"x\n")
    writer.call(lambda: done.wait(TIMEOUT))
    began = time.monotonic()
    for _ in range(3):
        assert not writer.flush()
    assert time.monotonic() - began < FLUSH_TIME + 0.5
    done.set()


def test_a_call_that_does_not_end_stops_no_log(
    writer: LogWriter, told: Told, file: Sink, tmp_path: Path
) -> None:
    """What is written comes at once; what is not called is counted, and said at the latest by a
    flush."""
    done, entered = threading.Event(), threading.Event()
    calls: list[int] = []

    def wait() -> None:
        entered.set()
        done.wait(TIMEOUT)

    writer.add(file)
    writer.call(wait)
    assert entered.wait(TIMEOUT)
    writer.call(lambda: calls.append(1))
    writer.put(file, b"x\n")
    deadline = time.monotonic() + TIMEOUT
    while not os.fstat(file.descriptor).st_size:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    assert not writer.flush()
    assert told.reports == [(2, "log of the application's handlers", "they take too long")]
    writer.call(lambda: calls.append(2))  # it would wait for the same lock, perhaps
    assert calls == []
    done.set()
    for thread in threading.enumerate():
        if thread.name == "wsgi_async-handlers":
            thread.join(TIMEOUT)
            assert not thread.is_alive(), "it has come back, and has nothing to do any more"


def test_handlers_of_the_application_run_in_a_thread_of_their_own(writer: LogWriter) -> None:
    threads: list[str] = []

    def call() -> None:
        threads.append(threading.current_thread().name)
        raise SystemExit

    for _ in range(3):
        writer.call(call)
    writer.flush()
    assert threads == ["wsgi_async-handlers"] * 3
    writer.call(lambda: threads.append("here"))
    assert threads[3:] == ["here"]


def test_so_many_wait_for_such_a_handler(writer: LogWriter, told: Told) -> None:
    done = threading.Event()
    entered = threading.Event()
    calls: list[int] = []

    def wait() -> None:
        entered.set()
        done.wait(TIMEOUT)

    writer.call(wait)
    assert entered.wait(TIMEOUT)
    for number in range(MAX_CALLS + 7):
        writer.call(lambda number=number: calls.append(number))  # type: ignore[misc]
    done.set()
    writer.flush(TIMEOUT)
    assert calls == list(range(MAX_CALLS))
    assert told.reports == [(7, "log of the application's handlers", "they take too long")]


def test_what_handlers_lost_is_told_once_the_log_takes_it(
    writer: LogWriter, told: Told, pipe: Pipe
) -> None:
    """While the log in which it is said is behind it would be lost as well."""
    other = Pipe()
    pipe.sink.tells = True
    for sink in (pipe.sink, other.sink):
        writer.add(sink)
    pipe.fill()
    writer.put(pipe.sink, b"waits\n")
    writer.lose("its disk is full")
    for line in (b"first\n", b"second\n"):  # by then all of the first turn is over
        writer.put(other.sink, line)
        assert other.read_until(lambda data: data.endswith(b"\n")) == line
    assert not told.reports
    assert pipe.read()
    told.wait_for(1)
    writer.discard(other.sink)
    os.close(other.reading)


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_process_forked_where_no_thread_may_be_writes_by_itself(told: Told) -> None:
    """A helper that the application starts while it is loaded; our own forks are as we are."""
    writer = LogWriter(told)
    writer.mode = Mode.POLLED

    def is_direct() -> None:
        assert writer.mode is Mode.DIRECT

    def is_polled() -> None:
        assert writer.mode is Mode.POLLED

    assert run_forked(is_direct) == 0
    with keeping():
        assert run_forked(is_polled) == 0


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_forked_process_writes_by_itself(writer: LogWriter, pipe: Pipe) -> None:
    """Neither the thread nor who held a lock is there; what waits is the parent's to write."""
    writer.add(pipe.sink)
    size = pipe.fill()
    for _ in range(3):
        writer.put(pipe.sink, b"parent's\n")

    def child() -> None:
        assert writer.mode is Mode.DIRECT
        os.read(pipe.reading, size)
        for _ in range(3):
            writer.put(pipe.sink, b"child's\n")

    held = threading.Event()
    done = threading.Event()

    def hold() -> None:
        with writer._lock:
            held.set()
            done.wait(TIMEOUT)

    holder = threading.Thread(target=hold)
    holder.start()
    try:
        assert held.wait(TIMEOUT)
        assert run_forked(child) == 0
    finally:
        done.set()
        holder.join(TIMEOUT)
    writer.flush()
    assert sorted(pipe.read().splitlines()) == [b"child's"] * 3 + [b"parent's"] * 3


# --- Processes that may have no thread


def test_without_a_thread_a_line_that_is_not_taken_is_dropped_and_counted(
    told: Told, pipe: Pipe
) -> None:
    writer = LogWriter(told)
    writer.mode = Mode.POLLED
    writer.add(pipe.sink)
    writer.put(pipe.sink, b"first\n")
    pipe.fill()
    for _ in range(100):
        writer.put(pipe.sink, b"dropped\n")
    assert pipe.read().startswith(b"first\nx")
    assert not fcntl.fcntl(pipe.sink.descriptor, fcntl.F_GETFL) & os.O_NONBLOCK
    writer.put(pipe.sink, b"last\n")
    assert pipe.read() == b"last\n"
    assert told.count == 100


def test_what_cannot_be_told_is_told_once_the_log_takes_something_again(pipe: Pipe) -> None:
    """A report of dropped lines that is dropped itself is counted, and makes no report."""
    told: list[int] = []

    def tell(count: int, name: str, why: str) -> None:
        told.append(count)
        writer.put(pipe.sink, b"%d dropped\n" % count)

    writer = LogWriter(tell)
    writer.mode = Mode.POLLED
    writer.add(pipe.sink)
    for tells in (False, True):
        pipe.sink.tells = tells
        pipe.fill()
        for _ in range(100):
            writer.put(pipe.sink, b"lost\n")
        pipe.read()
        writer.put(pipe.sink, b"taken\n")
        first, *rest = pipe.read().splitlines()
        assert first == b"taken"
        # The report of the first is lost as well, where it is for the log that it is about.
        assert rest == [b"100 dropped"]


def test_a_program_that_has_a_server_in_it_loses_no_line(told: Told, pipe: Pipe) -> None:
    writer = LogWriter(told)
    assert writer.mode is Mode.DIRECT
    writer.add(pipe.sink)
    size = pipe.fill()
    written = threading.Thread(target=writer.put, args=(pipe.sink, b"x" * 100_000 + b"\n"))
    written.start()
    assert len(pipe.read_until(lambda data: data.endswith(b"\n"))) == size + 100_001
    written.join(TIMEOUT)
    assert not told.reports

"""Where a response's bytes are written: one write per drain, files by blocks, cold disks aside."""

from __future__ import annotations

import io
import itertools
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from wire import HELLO, TIMEOUT, Client, Site, responding

from wsgi_async.buffers.reading import read_nowait
from wsgi_async.connection import sender as sending
from wsgi_async.connection.sender import FILE_TURNS, JOIN_LIMIT
from wsgi_async.connection.states import ConnectionState
from wsgi_async.testing import FakeTransport
from wsgi_async.threads.response_pipe import FILE_BLOCK

CONTENT = bytes(range(256)) * 4096 * 3 + b"the end"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    return path


def sends(
    path: Path, offset: int = 0, fields: list[tuple[str, str]] | None = None
) -> Callable[..., Any]:
    """An application that sends a file from an offset, with wsgi.file_wrapper."""

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        file = path.open("rb")
        file.seek(offset)
        start_response("200 OK", fields or [])
        return environ["wsgi.file_wrapper"](file)

    return application


class Disk:
    """Stands for `read_nowait`: the page cache is cold, or the read fails."""

    def __init__(self, cold: Iterator[bool]) -> None:
        self.reads = 0
        self._cold = cold

    def __call__(self, descriptor: int, amount: int, offset: int) -> bytes | None:
        self.reads += 1
        if next(self._cold):
            return None
        return os.pread(descriptor, amount, offset)


def take_slowly(client: Client, step: int) -> None:
    """Take the whole answer by steps, running the loop between them."""
    while not client.answers:
        client.transport.take(step)
        if client.transport.get_write_buffer_size() == 0 and not client.answers:
            client.site.loop.run_until(
                lambda: client.transport.get_write_buffer_size() or client.answers
            )
        client.site.loop.run_pending()


# --- writes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, JOIN_LIMIT - 1000, JOIN_LIMIT + 1000, 1_000_000])
def test_a_response_is_one_write(size: int) -> None:
    with Site(responding(chunks=[b"x" * size])) as site:
        client = site.connect()
        assert client.get().body == b"x" * size
        assert len(client.transport.writes) == 1


def test_chunks_that_are_ready_together_are_one_write() -> None:
    with Site(responding(chunks=[b"abc"] * 1000, stream=True)) as site:
        client = site.connect()
        client.ask()
        site.pool_has_ended()
        site.loop.run_pending()
        assert client.answers[0].body == b"abc" * 1000
        assert len(client.transport.writes) == 1


def test_a_large_write_asks_for_a_pause_where_the_transport_forgets_to() -> None:
    """asyncio's writelines did so until 3.12.9 and 3.13.2 (CPython gh-127655)."""

    class Forgetful(FakeTransport):
        def writelines(self, list_of_data: Iterable[Any]) -> None:
            maybe_pause, self._maybe_pause_writing = self._maybe_pause_writing, lambda: None  # type: ignore[method-assign]
            super().writelines(list_of_data)
            self._maybe_pause_writing = maybe_pause  # type: ignore[method-assign]

    with Site(responding(chunks=[b"x" * 300_000])) as site:
        client = site.connect(make=Forgetful, window=0)
        client.ask()
        site.loop.run_until(lambda: client.state is not ConnectionState.RUNNING)
        assert client.state is ConnectionState.FLUSHING
        client.transport.take()
        assert client.wait().is_complete


# --- files --------------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [0, 1, 100_000, len(CONTENT) - 1, len(CONTENT)])
@pytest.mark.parametrize("cold", ["never", "always", "now and then"])
def test_a_file_is_sent_from_its_position(
    path: Path, offset: int, cold: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pattern = {"never": [False], "always": [True], "now and then": [False, True, True]}[cold]
    monkeypatch.setattr(sending, "read_nowait", Disk(itertools.cycle(pattern)))
    with Site(sends(path, offset)) as site:
        client = site.connect()
        answer = client.get()
        assert answer.body == CONTENT[offset:]
        assert answer["content-length"] == str(len(CONTENT) - offset)
        assert answer.keeps_alive
        site.settle()
        assert site.budgets.files.used == 0
        assert client.get().body == CONTENT[offset:]


@pytest.mark.parametrize("cold", [False, True])
@pytest.mark.parametrize("step", [10_000, 300_000])
def test_a_slow_client_gets_the_file_and_no_thread_waits(
    path: Path, cold: bool, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "read_nowait", Disk(itertools.repeat(cold)))
    with Site(sends(path), threads=1) as site:
        client = site.connect(window=0)
        client.ask()
        site.settle()
        assert client.state is ConnectionState.RUNNING
        assert client.transport.get_write_buffer_size() <= FILE_BLOCK + 1000
        assert site.budgets.files.used == 1
        take_slowly(client, step)
        assert client.answers[0].body == CONTENT
        site.settle()
        assert site.budgets.files.used == 0


def test_the_page_cache_is_asked_first(path: Path) -> None:
    """Where the system can: the real read_nowait, a file that was just written."""
    with path.open("rb") as file:
        found = read_nowait(file.fileno(), 10, 5)
    assert found in (CONTENT[5:15], None)
    with Site(sends(path)) as site:
        assert site.connect().get().body == CONTENT
        assert (site.io_pool.submitted == 0) is (found is not None)


def test_a_content_length_cuts_the_file(path: Path) -> None:
    with Site(sends(path, 3, [("Content-Length", "10")])) as site:
        client = site.connect()
        assert client.get().body == CONTENT[3:13]
        assert client.get().keeps_alive


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_a_head_request_sends_nothing_of_the_file(path: Path, method: str) -> None:
    with Site(sends(path)) as site:
        answer = site.connect().get(method=method)
        assert answer.status == 200
        assert len(answer.body) == (0 if method == "HEAD" else len(CONTENT))


@pytest.mark.parametrize("files", [0, 100])
def test_without_a_free_descriptor_the_file_is_iterated(path: Path, files: int) -> None:
    with Site(sends(path), files=files) as site:
        assert site.connect().get().body == CONTENT
        assert site.budgets.files.peak <= files


def test_what_is_no_plain_file_is_iterated() -> None:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"](io.BytesIO(CONTENT))

    with Site(application) as site:
        answer = site.connect().get()
        assert answer.body == CONTENT
        assert answer["transfer-encoding"] == "chunked"


def test_others_have_their_turn_while_a_large_file_is_sent(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(bytes(FILE_BLOCK * FILE_TURNS * 4))
    with Site(sends(path)) as site:
        client = site.connect()
        client.ask()
        site.loop.run_until(lambda: client.transport.sent)
        size = len(client.transport.sent)
        assert FILE_BLOCK <= size <= FILE_BLOCK * FILE_TURNS + 1000
        assert not client.answers
        assert len(client.wait().body) == FILE_BLOCK * FILE_TURNS * 4


@pytest.mark.parametrize("cold", [False, True])
def test_a_file_that_shrinks_cuts_the_response(
    path: Path, cold: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "read_nowait", Disk(itertools.repeat(cold)))
    with Site(sends(path)) as site:
        client = site.connect(window=0)
        client.ask()
        site.settle()
        os.truncate(path, FILE_BLOCK + 1000)
        client.transport.take()
        site.settle()
        (answer,) = client.answers
        assert answer.is_truncated
        assert client.transport.is_lost
        (message,) = site.observer.errors
        assert "shorter" in message
        assert site.budgets.files.used == 0
        ((_, response),) = site.observer.finished
        assert not response.complete


@pytest.mark.parametrize("where", ["loop", "thread"])
def test_a_disk_that_cannot_be_read_cuts_the_response(
    path: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> bytes:
        raise OSError(5, "Input/output error")

    if where == "loop":
        monkeypatch.setattr(sending, "read_nowait", fail)
    else:
        monkeypatch.setattr(sending, "read_nowait", Disk(itertools.repeat(True)))
        monkeypatch.setattr(os, "pread", fail)
    with Site(sends(path)) as site:
        client = site.connect()
        client.ask()
        site.loop.run_until(lambda: client.transport.is_lost)
        (message,) = site.observer.errors
        assert "Input/output error" in message
        site.settle()
        assert site.budgets.files.used == 0


def test_a_client_that_goes_while_the_disk_is_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The descriptor stays open until the I/O thread is done: its number is reused at once."""
    reading, gate = threading.Event(), threading.Event()
    used: list[int] = []

    def slow(descriptor: int, amount: int, offset: int) -> bytes:
        reading.set()
        site.loop.call_soon_threadsafe(int)
        assert gate.wait(TIMEOUT)
        used.append(site.budgets.files.used)
        os.fstat(descriptor)
        return b"x" * amount

    monkeypatch.setattr(sending, "read_nowait", Disk(itertools.repeat(True)))
    monkeypatch.setattr(os, "pread", slow)
    with Site(sends(path)) as site:
        client = site.connect()
        client.ask()
        site.loop.run_until(reading.is_set)
        client.transport.reset()
        site.loop.run_pending()
        assert client.transport.is_lost
        writes = len(client.transport.writes)
        gate.set()
        site.settle()
        assert used == [1]
        assert site.budgets.files.used == 0
        assert len(client.transport.writes) == writes


def test_a_spooled_response_that_grows_while_the_disk_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A wake during the read must not read the same block again."""
    reading, gate = threading.Event(), threading.Event()
    half, more = threading.Event(), threading.Event()
    chunks = [bytes([number]) * 16384 for number in range(40)]
    pread = os.pread

    def slow(descriptor: int, amount: int, offset: int) -> bytes:
        reading.set()
        site.loop.call_soon_threadsafe(int)
        assert gate.wait(TIMEOUT)
        return pread(descriptor, amount, offset)

    def application(environ: Any, start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield from chunks[:30]
        half.set()
        site.loop.call_soon_threadsafe(int)
        assert more.wait(TIMEOUT)
        yield from chunks[30:]

    monkeypatch.setattr(sending, "read_nowait", Disk(itertools.repeat(True)))
    monkeypatch.setattr(os, "pread", slow)
    with Site(application, response_buffer=65536) as site:
        client = site.connect(window=0)
        client.ask()
        site.loop.run_until(half.is_set)
        client.transport.take()
        site.loop.run_until(reading.is_set)
        before = site.budgets.disk.used
        more.set()
        site.loop.run_until(lambda: site.pool.is_idle)
        assert site.budgets.disk.used > before
        client.protocol.resume_writing()
        site.loop.run_pending()
        assert site.io_pool.submitted == 1
        gate.set()
        assert client.wait().body == b"".join(chunks)


def test_an_evicted_response_is_cut_while_the_disk_is_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is cut for others: that is not to wait for a disk. Its file stays open for the thread."""
    reading, gate = threading.Event(), threading.Event()
    pread = os.pread

    def slow(descriptor: int, amount: int, offset: int) -> bytes:
        reading.set()
        site.loop.call_soon_threadsafe(int)
        assert gate.wait(TIMEOUT)
        return pread(descriptor, amount, offset)

    monkeypatch.setattr(sending, "read_nowait", Disk(itertools.repeat(True)))
    monkeypatch.setattr(os, "pread", slow)
    with Site(sends(path)) as site:
        client = site.connect()
        client.ask()
        site.loop.run_until(reading.is_set)
        exchange = client.protocol._exchange
        assert exchange is not None
        assert exchange.writer.pipe is not None
        exchange.writer.pipe.evict()
        site.loop.run_until(lambda: client.transport.is_lost)
        assert site.budgets.files.used == 1
        gate.set()
        site.settle()
        assert site.budgets.files.used == 0
        assert client.answers[0].is_truncated
        assert HELLO not in client.transport.sent


@pytest.mark.parametrize(
    "sizes",
    [
        [1] * 200_000,
        [70_000, 1, 1, 70_000, 5],
        [sending.SMALL_PIECE, sending.SMALL_PIECE - 1] * 6,
        [100_000],
        [],
    ],
)
def test_small_neighbours_are_joined_and_large_pieces_are_not_copied(sizes: list[int]) -> None:
    pieces = [bytes([number % 251]) * size for number, size in enumerate(sizes)]
    gathered = sending._gathered(pieces)
    assert b"".join(gathered) == b"".join(pieces)
    assert len(gathered) <= 2 * sum(map(len, pieces)) // sending.JOIN_LIMIT + 8
    for piece in pieces:
        if len(piece) >= sending.SMALL_PIECE:
            assert any(piece is found for found in gathered)


def test_nothing_is_written_to_a_transport_that_closes() -> None:
    """After a reset asyncio's writelines() would watch a descriptor that is about to be reused."""
    with Site() as site:
        client = site.connect()
        client.transport.abort()
        writes = client.transport.writes
        client.protocol._sender.write([b"x" * 50_000, b"y" * 50_000])
        client.protocol._sender.write([b"z"])
        assert client.transport.writes == writes
        site.loop.run_pending()

"""Files past the transport, over real sockets: every byte, at any pace, and every early end."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import random
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from rawclient import TIMEOUT, RawClient, request
from serving import Served, both_loops

from wsgi_async.buffers.reading import can_read_nowait
from wsgi_async.connection import sender as sending
from wsgi_async.connection import sendfile
from wsgi_async.connection.sendfile import NUDGE, STRETCH, WORTHWHILE, cached

Serve = Callable[..., Served]

SIZE = 12 << 20
"""More than the kernel's buffers of both ends hold together."""

NO_DEADLINES = {"send_timeout": 0, "min_rate": 0}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("files") / "file"
    path.write_bytes(random.Random(1).randbytes(SIZE))
    with path.open("rb") as file:
        if not hasattr(os, "sendfile") or not can_read_nowait(file.fileno(), 0):
            pytest.skip("no sendfile here, or no way to ask the page cache")
    return path


def sends(path: Path) -> Callable[..., Any]:
    """An application: /OFFSET or /OFFSET-END of the file."""

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        begin, _, end = environ["PATH_INFO"][1:].partition("-")
        file = path.open("rb")
        file.seek(int(begin or 0))
        fields = [("Content-Length", str(int(end) - int(begin)))] if end else []
        start_response("200 OK", fields)
        return environ["wsgi.file_wrapper"](file)

    return application


class Calls:
    """Stands for os.sendfile: counts, and may fail as told."""

    def __init__(self, error: OSError | None = None, after: int = 0) -> None:
        self.bytes = self.calls = 0
        self._error, self._after = error, after
        self._sendfile = os.sendfile

    def __call__(self, out: int, source: int, offset: int, count: int) -> int:
        self.calls += 1
        if self._error is not None and self.calls > self._after:
            raise self._error
        sent = self._sendfile(out, source, offset, count)
        self.bytes += sent
        return sent


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    calls = Calls()
    monkeypatch.setattr(os, "sendfile", calls)
    return calls


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def take(client: RawClient, size: int, step: int = 1 << 20) -> str:
    """The digest of the next `size` bytes, taken by steps."""
    found = hashlib.sha256()
    while size:
        data = client.receive(min(size, step))
        found.update(data)
        size -= len(data)
    return found.hexdigest()


def ask(client: RawClient, target: str = "/", *fields: str) -> bytes:
    client.send(request(target, fields=fields))
    return client.read_until(b"\r\n\r\n")


# --- every byte ---------------------------------------------------------------------------------


@both_loops
def test_a_file_goes_past_the_transport(loop: str, path: Path, serve: Serve, calls: Calls) -> None:
    served = serve(sends(path), loop=loop)
    with served.client() as client:
        for _ in range(3):
            assert b"content-length: %d\r\n" % SIZE in ask(client).lower()
            assert take(client, SIZE) == digest(path.read_bytes())
    assert calls.bytes >= 2 * SIZE
    ((_, first), *_) = served.recorder.wait_for("request_finished", 3)
    assert (first.body_size, first.complete) == (SIZE, True)
    served.wait_until_idle()
    assert served.budgets.memory.peak == 0, "what is not read needs no room"


@both_loops
@pytest.mark.parametrize("around", [NUDGE, WORTHWHILE, STRETCH // 2 + 5, STRETCH, 4 * STRETCH])
def test_files_of_all_sizes(loop: str, around: int, path: Path, serve: Serve, calls: Calls) -> None:
    content = path.read_bytes()
    with serve(sends(path), loop=loop).client() as client:
        for begin in (0, 4097):
            for size in (around - 1, around, around + 1):
                ask(client, f"/{begin}-{begin + size}")
                assert client.receive(size) == content[begin : begin + size]
        assert client.get(f"/{SIZE - 1}").body == content[-1:]
    assert (calls.calls > 0) is (around >= WORTHWHILE)


@both_loops
def test_a_client_with_small_buffers_gets_every_byte(
    loop: str, path: Path, serve: Serve, calls: Calls
) -> None:
    served = serve(sends(path), loop=loop, threads=1, **NO_DEADLINES)
    content = path.read_bytes()
    with served.client(receive_buffer=4096) as client, served.client() as other:
        ask(client)
        assert take(client, 3 << 20, 10_000) == digest(content[: 3 << 20])
        assert other.get("/1-11").body == content[1:11], "the only thread is free"
        assert take(client, SIZE - (3 << 20)) == digest(content[3 << 20 :])
    assert calls.bytes > SIZE // 2


@both_loops
def test_requests_that_wait_behind_a_file_are_answered(loop: str, path: Path, serve: Serve) -> None:
    content = path.read_bytes()
    with serve(sends(path), loop=loop).client() as client:
        client.send(request("/0") + request("/5-10") + request("/2000000") + request("/1-2"))
        for part in (content, content[5:10], content[2_000_000:], content[1:2]):
            assert digest(client.response().body) == digest(part)


@both_loops
def test_many_at_once(loop: str, path: Path, serve: Serve) -> None:
    served = serve(sends(path), loop=loop, threads=2)

    def fetch(number: int) -> str:
        with served.client(receive_buffer=4096 << number) as client:
            ask(client, f"/{number}")
            return take(client, SIZE - number, 100_000)

    with ThreadPoolExecutor(8) as pool:
        content = path.read_bytes()
        for number, found in enumerate(pool.map(fetch, range(8))):
            assert found == digest(content[number:])
    served.wait_until_idle()


@both_loops
@pytest.mark.parametrize(
    "lines",
    [b"GET /7 HTTP/1.0\r\n\r\n", b"GET /7 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"],
)
def test_a_file_before_the_end_of_the_connection(
    loop: str, lines: bytes, path: Path, serve: Serve, calls: Calls
) -> None:
    with serve(sends(path), loop=loop).client() as client:
        client.send(lines)
        head, _, body = client.read_to_end().partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert digest(body) == digest(path.read_bytes()[7:])
    assert calls.bytes > 0


@both_loops
def test_a_head_request_gets_nothing_of_it(
    loop: str, path: Path, serve: Serve, calls: Calls
) -> None:
    with serve(sends(path), loop=loop).client() as client:
        client.send(request("/0", "HEAD"))
        assert client.response("HEAD").body == b""
        assert client.get("/9-12").body == path.read_bytes()[9:12]
    assert calls.calls == 0


@both_loops
def test_a_unix_socket(loop: str, path: Path, serve: Serve, calls: Calls, tmp_path: Path) -> None:
    address = str(tmp_path / "socket")
    serve(sends(path), loop=loop, bind=[f"unix:{address}"])
    with RawClient(address) as client:
        ask(client)
        assert take(client, SIZE, 50_000) == digest(path.read_bytes())
    assert calls.bytes > SIZE // 2


@both_loops
@pytest.mark.parametrize("length", [True, False])
def test_what_was_spooled_goes_the_same_way(
    loop: str, length: bool, serve: Serve, calls: Calls
) -> None:
    """While it grows at its end; without a Content-Length it has chunks' framing, and does not."""
    blocks = [random.Random(number).randbytes(65536) for number in range(16)] * (SIZE >> 20)
    spooled, more = threading.Event(), threading.Event()

    def application(environ: Any, start_response: Callable[..., Any]) -> Iterator[bytes]:
        fields = [("Content-Length", str(65536 * len(blocks)))] if length else []
        start_response("200 OK", fields)
        yield from blocks[:-16]
        spooled.set()
        assert more.wait(TIMEOUT)
        yield from blocks[-16:]

    served = serve(application, loop=loop, response_buffer="64K", **NO_DEADLINES)
    with served.client(receive_buffer=4096) as client:
        client.send(request())
        assert spooled.wait(TIMEOUT)
        assert served.budgets.disk.used > SIZE // 4
        more.set()
        assert digest(client.response().body) == digest(b"".join(blocks))
    assert (calls.bytes > 0) is length
    served.wait_until_idle()


def test_the_water_marks_come_back(path: Path, serve: Serve) -> None:
    served = serve(sends(path))
    with served.client() as client:
        ask(client)
        (connection,) = served.connections.open
        take(client, SIZE)
        client.get("/1-2")
        limits = connection._transport.get_write_buffer_limits()  # type: ignore[attr-defined]
        high = served.connections.gateway.bounds.high_water
        assert limits == (high // 4, high)


# --- how often --------------------------------------------------------------------------------


@both_loops
def test_what_a_file_costs_is_few_calls(
    loop: str, path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One call and three looks at the page cache for each stretch, and nothing by the transport:
    to a client that has room for all of it."""
    calls, looks, written = [], [], []
    real_look, real_write = sendfile.can_read_nowait, sending.Sender.write

    def take_all(out: int, source: int, offset: int, count: int) -> int:
        calls.append((offset, count))
        return count

    def look(descriptor: int, offset: int) -> bool:
        looks.append(offset)
        return real_look(descriptor, offset)

    def write(self: sending.Sender, pieces: list[bytes]) -> None:
        written.append(sum(map(len, pieces)))
        real_write(self, pieces)

    monkeypatch.setattr(os, "sendfile", take_all)
    monkeypatch.setattr(sendfile, "can_read_nowait", look)
    monkeypatch.setattr(sending.Sender, "write", write)
    served = serve(sends(path), loop=loop)
    with served.client() as client:
        ask(client)
        served.recorder.wait_for("request_finished")
    assert calls == [(begin, STRETCH) for begin in range(0, SIZE, STRETCH)]
    assert len(looks) == 3 * len(calls)
    assert len(calls) <= SIZE >> 21, "calls for two MiB"
    assert sum(written) < 1000, "the head"


# --- where the kernel or the disk will not ------------------------------------------------------


@both_loops
@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOSYS, errno.EIO])
@pytest.mark.parametrize("after", [0, 2])
def test_without_the_kernels_help_it_is_read(
    loop: str, code: int, after: int, path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = Calls(OSError(code, os.strerror(code)), after)
    monkeypatch.setattr(os, "sendfile", calls)
    with serve(sends(path), loop=loop).client() as client:
        for _ in range(2):
            ask(client)
            assert take(client, SIZE) == digest(path.read_bytes())
            assert calls.calls <= after + 2, "asked again and again"


@both_loops
@pytest.mark.parametrize("pattern", ["cold", "holes"])
def test_what_is_on_disk_only_is_read_by_a_thread(
    loop: str,
    pattern: str,
    path: Path,
    serve: Serve,
    calls: Calls,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The loop sends nothing that it might have to wait for."""

    def is_cached(descriptor: int, offset: int) -> bool:
        return pattern == "holes" and offset // 300_000 % 5 != 3

    def read_nowait(descriptor: int, amount: int, offset: int) -> bytes | None:
        whole = is_cached(descriptor, offset) and is_cached(descriptor, offset + amount - 1)
        return os.pread(descriptor, amount, offset) if whole else None

    monkeypatch.setattr(sendfile, "can_read_nowait", is_cached)
    monkeypatch.setattr(sending, "read_nowait", read_nowait)
    served = serve(sends(path), loop=loop)
    with served.client() as client:
        ask(client)
        assert take(client, SIZE) == digest(path.read_bytes())
    assert served.connections.io_pool.submitted > 0
    assert (calls.bytes > 0) is (pattern == "holes")


@pytest.mark.parametrize("size", [NUDGE + 1, WORTHWHILE, 100_001, STRETCH])
def test_nothing_is_sent_across_what_is_missing(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The part from a first missing byte on is never sent, nor all of what is there left out."""
    begin, edge, asked = 5, 0, 0

    def is_cached(descriptor: int, offset: int) -> bool:
        nonlocal asked
        asked += 1
        assert begin <= offset < begin + size
        return offset < edge

    monkeypatch.setattr(sendfile, "can_read_nowait", is_cached)
    for there in (0, 1, NUDGE - 1, NUDGE + 1, size // 3, size // 2, size - 1):
        edge = begin + there
        assert there // 2 - NUDGE <= cached(-1, begin, size) <= there
    asked, edge = 0, begin + size
    assert cached(-1, begin, size) == size
    assert asked == 3


def test_a_hole_in_the_middle_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sendfile, "can_read_nowait", lambda _, offset: offset != STRETCH // 2)
    assert cached(-1, 0, STRETCH) == STRETCH // 2


# --- ends before the end ------------------------------------------------------------------------


@both_loops
@pytest.mark.parametrize("how", ["reset", "close"])
def test_a_client_that_vanishes(loop: str, how: str, path: Path, serve: Serve) -> None:
    served = serve(sends(path), loop=loop)
    client = served.client(receive_buffer=4096)
    ask(client)
    client.receive(1 << 20)
    getattr(client, how)()
    ((_, response),) = served.recorder.wait_for("request_finished")
    assert not response.complete
    assert response.body_size < SIZE
    served.wait_until_idle()


@both_loops
def test_a_reset_that_sendfile_is_told_of(
    loop: str, path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel tells it once: the transport sees another error, or the end of input."""
    served = serve(sends(path), loop=loop)
    going, gone = threading.Event(), threading.Event()
    real = os.sendfile

    def slow(out: int, source: int, offset: int, count: int) -> int:
        if offset >= STRETCH:
            going.set()
            assert gone.wait(TIMEOUT)
        return real(out, source, offset, count)

    monkeypatch.setattr(os, "sendfile", slow)
    client = served.client(receive_buffer=4096)
    client.send(request())
    with contextlib.suppress(EOFError):
        client.receive(STRETCH)
    assert going.wait(TIMEOUT)
    client.reset()
    gone.set()
    ((_, response),) = served.recorder.wait_for("request_finished")
    assert not response.complete
    served.wait_until_idle()


@both_loops
def test_a_file_that_shrinks(loop: str, path: Path, serve: Serve, tmp_path: Path) -> None:
    shrinking = tmp_path / "shrinking"
    shrinking.write_bytes(path.read_bytes())
    served = serve(sends(shrinking), loop=loop, **NO_DEADLINES)
    with served.client(receive_buffer=4096) as client:
        ask(client)
        client.receive(1000)
        kept = 8 << 20
        os.truncate(shrinking, kept)
        with pytest.raises(EOFError):
            client.receive(SIZE - 1000)
    ((message, _),) = served.recorder.wait_for("error")
    assert "shorter" in message
    ((_, response),) = served.recorder.wait_for("request_finished")
    assert not response.complete
    assert response.body_size == kept
    served.wait_until_idle()


@both_loops
def test_who_takes_nothing_is_dropped(loop: str, path: Path, serve: Serve) -> None:
    served = serve(sends(path), loop=loop, send_timeout=1, min_rate=0)
    with served.client(receive_buffer=4096) as client:
        ask(client)
        ((_, why),) = served.recorder.wait_for("connection_dropped")
        assert "does not take its response" in why
        with pytest.raises((ConnectionResetError, EOFError)):
            client.receive(SIZE)
    served.wait_until_idle()


@both_loops
def test_who_takes_slowly_is_not_dropped(loop: str, path: Path, serve: Serve) -> None:
    """What the client has taken moves, while the kernel's buffer takes nothing for seconds."""
    served = serve(sends(path), loop=loop, send_timeout=1, min_rate=0)
    sleep = threading.Event()
    with served.client(receive_buffer=4096) as client:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        ask(client)
        for _ in range(8):
            client.receive(20_000)
            sleep.wait(0.2)
        assert served.recorder.of("connection_dropped") == []

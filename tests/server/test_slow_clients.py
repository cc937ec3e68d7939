"""The promise, in numbers: a slow client costs no thread, in either direction.

Nothing here looks at a clock. While hundreds of clients stall, no thread is busy, no request
queues, none is refused, and what is held for them stays within the configured bounds.
"""

from __future__ import annotations

import contextlib
import itertools
import queue
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rawclient import RawClient, request
from serving import Served, both_loops, one_loop_in_time

Serve = Callable[..., Served]

STREAM = 4 << 20
BLOCK = 65536
UPLOAD = request("/upload", "POST", body=b"x" * 60_000)
NO_DEADLINES = {"header_timeout": 0, "body_timeout": 0, "send_timeout": 0, "min_rate": 0}
SMALL_BUFFER = 4096
"""SO_RCVBUF of the clients that do not read; the kernel doubles it."""


class App:
    """A quick answer, a stream of 4 MiB, an endless one, and an upload."""

    def __init__(self) -> None:
        self.closed: queue.SimpleQueue[None] = queue.SimpleQueue()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        path = environ["PATH_INFO"]
        start_response("200 OK", [])
        if path == "/stream":
            return Stream(self, b"x", BLOCK, STREAM // BLOCK)
        if path == "/endless":
            return Stream(self, b"y", 4096, None)
        if path == "/upload":
            return [b"%d" % len(environ["wsgi.input"].read())]
        return [b"quick"]


class Stream:
    """Blocks of one letter, each in memory of its own."""

    def __init__(self, app: App, letter: bytes, size: int, count: int | None) -> None:
        self._app, self._letter, self._size, self._count = app, letter, size, count

    def __iter__(self) -> Iterator[bytes]:
        for _ in itertools.count() if self._count is None else range(self._count):
            yield self._letter * self._size

    def close(self) -> None:
        self._app.closed.put(None)


@pytest.fixture
def descriptors() -> Iterator[int]:
    """As many as may be: both ends of every connection are in this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
    yield max(soft, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def resident() -> int:
    """Bytes of RAM of this process; 0 where the system does not tell."""
    try:
        text = Path("/proc/self/status").read_text()
    except FileNotFoundError:
        return 0
    return int(text.partition("VmRSS:")[2].split()[0]) * 1024


def connect_all(served: Served, stack: contextlib.ExitStack, count: int) -> list[RawClient]:
    return [stack.enter_context(served.client(receive_buffer=SMALL_BUFFER)) for _ in range(count)]


def wait_until_at_rest(served: Served) -> None:
    """Wait until no thread is held, nothing waits for one, and nothing moves any more.

    The kernel's buffers fill up first, so a stream is suspended and resumed a few times; it stays
    suspended when fifty looks in as many turns of the loop have seen no new task.
    """
    seen, looks = -1, 0

    def nothing_moves() -> bool:
        nonlocal seen, looks
        looks = looks + 1 if served.pool.submitted == seen else 0
        seen = served.pool.submitted
        held = served.pool.busy or served.pool.aside
        return looks > 50 and not held and not served.pool.queued

    served.wait_until(nothing_moves, "slow clients hold threads")
    assert len(served.blocked) == 0


def ordinary_requests_are_answered(served: Served) -> None:
    """Each costs one task for the pool, exactly as on a server without any other client."""
    done = served.pool.submitted
    with served.client() as client:
        for _ in range(50):
            assert client.get().body == b"quick"
    for _ in range(20):
        with served.client() as client:
            assert client.get().body == b"quick"
    with contextlib.ExitStack() as stack:
        burst = [stack.enter_context(served.client()) for _ in range(30)]
        for client in burst:
            client.send(request())
        for client in burst:
            assert client.response().body == b"quick"
    served.wait_until(lambda: not served.pool.busy, "a thread is held")
    assert served.pool.submitted == done + 100
    assert served.recorder.of("request_refused") == []
    assert served.recorder.of("connection_dropped") == []


def within_bounds(served: Served, name: str, before: int, capsys: Any) -> None:
    config, budgets = served.server.config, served.budgets
    grown = max(0, resident() - before)
    with capsys.disabled():
        print(
            f"\n  {name}: RSS +{grown >> 20} MiB, buffers at most {budgets.memory.peak >> 20} of "
            f"{config.max_buffer_size >> 20} MiB, disk at most {budgets.disk.peak >> 20} of "
            f"{config.max_spool_size >> 20} MiB",
            end=" ",
        )
    assert budgets.memory.peak <= config.max_buffer_size
    assert budgets.disk.peak <= config.max_spool_size
    # Beside the budget each connection may hold its first 16 KiB, what its transport holds, and
    # its objects. uvloop keeps the whole of a write until the last byte of it is sent, so twice
    # of what is accounted for may be there; and the allocator rounds up.
    each = 16_384 + min(65_536, config.response_buffer // 2) + 32_768
    bound = 2 * (config.max_buffer_size + len(served.connections.open) * each) + (64 << 20)
    assert grown < bound


@one_loop_in_time
@pytest.mark.parametrize("overflow", ["spool", "park"])
@pytest.mark.parametrize("memory", [pytest.param("256M", marks=pytest.mark.soak), "8M"])
def test_who_does_not_read_or_trickles_costs_no_thread(
    loop: str,
    overflow: str,
    memory: str,
    serve: Serve,
    descriptors: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """8 threads; 200 clients that do not read a 4 MiB stream, 200 that trickle an upload."""
    assert descriptors >= 2048, "raise the limit of open files (ulimit -n)"
    app = App()
    before = resident()
    served = serve(
        app,
        loop=loop,
        threads=8,
        response_overflow=overflow,
        max_buffer_size=memory,
        max_spool_size="2G",  # half of it for responses: 200 times 4 MiB, if the kernel takes none
        spool_threshold="16K",
        **NO_DEADLINES,
    )
    with contextlib.ExitStack() as stack:
        readers = connect_all(served, stack, 200)
        senders = connect_all(served, stack, 200)
        for reader, sender in zip(readers, senders, strict=True):
            reader.send(request("/stream"))
            sender.send(UPLOAD[:50_000])
        for reader in readers:
            assert reader.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 200 OK\r\n")
        served.wait_until(lambda: len(served.connections.open) == 400)
        wait_until_at_rest(served)
        # What is spooled has been closed by now; what is suspended has not.
        assert app.closed.qsize() == (200 if overflow == "spool" else 0)
        for part in range(5):
            for sender in senders:
                sender.send(UPLOAD[50_000 + part :][:1])
            ordinary_requests_are_answered(served)
        # Those of the ordinary requests end once the loop reads it; none of the 400 does.
        served.wait_until(lambda: len(served.connections.open) == 400)
        within_bounds(served, f"{overflow}, {memory}, {loop}", before, capsys)
        # None of them was forgotten: each gets what it was promised when it moves at last.
        for sender in senders:
            sender.send(UPLOAD[50_005:])
            assert sender.response("POST").body == b"60000"
        for reader in readers[:20]:
            body = reader.read_until(b"\r\n0\r\n\r\n")
            assert body.count(b"x") == STREAM
        for reader in readers[20:]:
            reader.reset()
    served.wait_until_idle()
    assert app.closed.qsize() == 200


@pytest.mark.soak
@both_loops
def test_endless_streams_are_suspended(
    loop: str, serve: Serve, descriptors: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """8 threads and 2,000 endless streams that nobody reads, in ``park``."""
    count = min(2000, (descriptors - 500) // 4)
    app = App()
    before = resident()
    served = serve(
        app,
        loop=loop,
        threads=8,
        response_overflow="park",
        response_buffer="64K",
        max_buffer_size="64M",
        **NO_DEADLINES,
    )
    with contextlib.ExitStack() as stack:
        readers = connect_all(served, stack, count)
        for reader in readers:
            reader.send(request("/endless"))
        for reader in readers:
            assert reader.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 200 OK\r\n")
        wait_until_at_rest(served)
        ordinary_requests_are_answered(served)
        served.wait_until(lambda: len(served.connections.open) == count)  # as above
        assert app.closed.empty()
        assert served.budgets.disk.peak == 0
        wanted = "" if count == 2000 else f" (2,000 wanted, {descriptors} files allowed)"
        within_bounds(served, f"{count} endless streams{wanted}, {loop}", before, capsys)
        for reader in readers[:20]:  # who reads again gets more: on any thread
            assert reader.receive(300_000).count(b"y") > 290_000
        wait_until_at_rest(served)
        ordinary_requests_are_answered(served)
        for reader in readers[: count // 2]:
            reader.reset()
    served.wait_until_idle()
    assert app.closed.qsize() == count


@one_loop_in_time
@pytest.mark.parametrize("waiting", [0, 4])
def test_at_most_half_of_the_threads_may_block(loop: str, waiting: int, serve: Serve) -> None:
    """``block`` holds threads, beyond those that may wait beside others, so who has been blocked
    the longest is given up for the others."""
    app = App()
    served = serve(
        app,
        loop=loop,
        threads=8,
        response_overflow="block",
        waiting_threads=waiting,
        **NO_DEADLINES,
    )
    with contextlib.ExitStack() as stack:
        readers = connect_all(served, stack, 12)
        for reader in readers:
            reader.send(request("/endless"))
        served.recorder.wait_for("request_finished", 8 - waiting)
        served.wait_until(lambda: served.pool.busy == 4)
        assert len(served.blocked) == 4
        assert served.pool.aside == waiting
        for _ in range(20):
            with served.client() as client:
                assert client.get().body == b"quick"
        assert app.closed.qsize() == 8 - waiting
        assert served.recorder.of("request_refused") == []
    served.wait_until_idle()
    assert app.closed.qsize() == 12

"""Clients that ask for more than memory and disk take and read none of it: nobody else waits.

8 threads, 64 such clients. What waits for them is bounded, ordinary requests are answered, and who
reads at last gets it all.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from rawclient import RawClient, request
from serving import Served, one_loop_in_time

Serve = Callable[..., Served]

CLIENTS = 64
BLOCK = b"x" * 65536
SIZE = 64 << 20
NO_DEADLINES = {"send_timeout": 0, "min_rate": 0}
SMALL_BUFFER = 4096
ALL_OVERFLOWS = pytest.mark.parametrize("overflow", ["spool", "park", "block"])
HELD = 24 << 20
"""Bytes of a response that its RAM and the kernel's buffers, by themselves, take at most."""


class App:
    """A quick answer, and a stream that counts what it has given; by ``write()`` too."""

    def __init__(self, size: int = SIZE) -> None:
        self.size = size
        self.produced: list[int] = []
        self.threads: list[set[int]] = []
        self.closed = 0
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        path = environ["PATH_INFO"]
        fields = [("Content-Length", str(self.size))] if path != "/" else []
        write = start_response("200 OK", fields)
        if path == "/":
            return [b"quick"]
        blocks = self._blocks()
        if path == "/write":
            with contextlib.closing(blocks):
                for block in blocks:
                    write(block)
            return []
        return blocks

    def _blocks(self) -> Iterator[bytes]:
        with self._lock:
            number = len(self.produced)
            self.produced.append(0)
            self.threads.append(set())
        try:
            for _ in range(self.size // len(BLOCK)):
                self.produced[number] += len(BLOCK)
                self.threads[number].add(threading.get_ident())
                yield BLOCK
        finally:
            with self._lock:
                self.closed += 1


def ask_all(served: Served, stack: contextlib.ExitStack, path: str) -> list[RawClient]:
    clients = []
    for _ in range(CLIENTS):
        client = stack.enter_context(served.client(receive_buffer=SMALL_BUFFER))
        client.send(request(path))
        clients.append(client)
    return clients


def wait_until_at_rest(served: Served, app: App) -> None:
    """Wait until all have begun, no thread runs, and nothing is produced any more."""
    seen, looks = -1, 0

    def nothing_moves() -> bool:
        nonlocal seen, looks
        produced = sum(app.produced)
        looks = looks + 1 if produced == seen else 0
        seen = produced
        has_begun = len(app.produced) == CLIENTS
        waits = served.pool.queued or served.connections.gateway.bounds.turns.waiting
        return has_begun and looks > 50 and not served.pool.busy and not waits

    served.wait_until(nothing_moves, "threads are held, or it goes on")


def read_whole(client: RawClient, size: int = SIZE) -> None:
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    client.read_until(b"\r\n\r\n")
    left = size
    while left:
        left -= len(client.receive(min(left, 1 << 20)))


@one_loop_in_time
@ALL_OVERFLOWS
@pytest.mark.parametrize("path", ["/stream", pytest.param("/write", marks=pytest.mark.soak)])
def test_who_asks_for_a_lot_and_reads_nothing_is_noticed_by_nobody(
    loop: str, overflow: str, path: str, serve: Serve
) -> None:
    app = App()
    served = serve(
        app,
        loop=loop,
        threads=8,
        response_overflow=overflow,
        max_spool_size="32M",  # half of it for responses: far from enough
        **NO_DEADLINES,
    )
    with contextlib.ExitStack() as stack:
        readers = ask_all(served, stack, path)
        with served.client() as client:  # from the onset
            for _ in range(20):
                assert client.get().body == b"quick"
        wait_until_at_rest(served, app)
        if overflow == "park" and path == "/stream":
            assert served.pool.aside == 0, "what is parked needs no thread"
        else:
            assert served.pool.aside == CLIENTS
        assert len(served.blocked) == 0
        assert max(app.produced) < HELD + (16 << 20)
        assert sum(app.produced) < CLIENTS * HELD
        assert served.budgets.disk.peak <= 16 << 20
        before = sum(app.produced)
        for _ in range(20):
            with served.client() as client:
                assert client.get().body == b"quick"
        assert sum(app.produced) == before, "nobody has read"
        for reader in readers[:2]:
            read_whole(reader)
        assert len(served.connections.open) >= CLIENTS, "nobody was cut off"
        assert served.recorder.of("request_refused") == []
        assert served.recorder.of("connection_dropped") == []
        for reader in readers[2:]:
            reader.reset()
    served.wait_until_idle()
    served.wait_until(lambda: served.pool.alive == 8, "threads are left")
    assert served.pool.aside == 0
    assert app.closed == CLIENTS
    if overflow != "park":
        assert all(len(threads) == 1 for threads in app.threads), "each stayed on its thread"


@pytest.mark.soak
@one_loop_in_time
def test_what_the_disk_takes_is_written_to_it_when_nobody_needs_the_threads(
    loop: str, serve: Serve
) -> None:
    """``spool`` by its word: each application is done with its response, and nobody has read."""
    app = App(HELD + (8 << 20))
    served = serve(
        app,
        loop=loop,
        threads=8,
        spool_limit="512M",
        max_spool_size="3G",
        response_buffer="128K",
        **NO_DEADLINES,
    )
    with contextlib.ExitStack() as stack:
        readers = [stack.enter_context(served.client()) for _ in range(2)]
        for reader in readers:
            reader.send(request("/stream"))
        with served.client() as client:
            for number in itertools.count():
                assert client.get().body == b"quick"
                if app.closed == len(readers):
                    break
                assert number < 200_000
        read_whole(readers[0], app.size)
        for reader in readers:
            reader.reset()
    served.wait_until_idle()


@one_loop_in_time
@ALL_OVERFLOWS
def test_at_a_stop_they_are_let_go(loop: str, overflow: str, serve: Serve) -> None:
    app = App()
    served = serve(
        app,
        loop=loop,
        threads=8,
        response_overflow=overflow,
        max_spool_size="32M",
        graceful_timeout=0.2,
        **NO_DEADLINES,
    )
    with contextlib.ExitStack() as stack:
        ask_all(served, stack, "/stream")
        wait_until_at_rest(served, app)
        assert served.stop() == 0, "no thread is left"
    assert app.closed == CLIENTS


def test_beside_one_thread_there_is_no_other(serve: Serve) -> None:
    """An application that asks for one thread may not bear a second one."""
    assert serve(App(), threads=1).pool.max_aside == 0
    assert serve(App(), threads=2).pool.max_aside == 256
    assert serve(App(), threads=2, waiting_threads=0).pool.max_aside == 0

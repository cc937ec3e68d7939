"""The Server on real sockets: its start and its stop, and what they leave behind."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from exchanges import newcomers
from loops import Serve, hello, loop_thread, pool_threads
from rawclient import TIMEOUT, RawClient, request
from serving import LoopThread, Recorder, both_loops, serving

from wsgi_async import Server
from wsgi_async.connection.protocol import HTTPProtocol
from wsgi_async.connection.sender import Sender
from wsgi_async.errors import ConfigError
from wsgi_async.http1.reader import RequestReader
from wsgi_async.system.sockets import bind, close_all

thread = pytest.fixture(loop_thread)


def open_descriptors(thread: LoopThread) -> int:
    async def turn() -> None:
        for _ in range(5):  # a loop closes its handles in its next turns
            await asyncio.sleep(0)

    thread.run(turn())
    gc.collect()
    return len(os.listdir("/dev/fd"))


class Blocker:
    """An application whose requests for /block wait until they are let go."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.release = threading.Event()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if environ["PATH_INFO"] == "/block":
            self.entered.release()
            assert self.release.wait(TIMEOUT)
        return hello(environ, start_response)


# --- Start and stop


@both_loops
def test_a_server_can_be_started_again(loop: str, thread: LoopThread) -> None:
    server = Server(hello, port=0, host="127.0.0.1", observer=Recorder())
    for _ in range(3):
        thread.run(server.start())
        assert server.port
        with RawClient(("127.0.0.1", server.port)) as client:
            assert client.get().body == b"hello"
            assert thread.run(server.stop()) == 0
            assert client.is_dropped()
        assert not pool_threads()


@both_loops
def test_starts_and_stops_leave_no_descriptor_open(
    loop: str, thread: LoopThread, tmp_path: Path
) -> None:
    bind = ("127.0.0.1:0", f"unix:{tmp_path / 'socket'}")
    server = Server(hello, bind=bind, observer=Recorder())

    async def cycle() -> None:
        await server.start()
        await server.stop()

    thread.run(cycle())
    before = open_descriptors(thread)
    for _ in range(5):
        thread.run(cycle())
    assert open_descriptors(thread) == before


def test_it_cannot_be_started_twice() -> None:
    async def main() -> None:
        async with Server(hello, port=0, host="127.0.0.1", observer=Recorder()) as server:
            with pytest.raises(RuntimeError, match="running already"):
                await server.start()
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(request(fields=("Connection: close",)))
            assert b"hello" in await reader.read()
            writer.close()
            await writer.wait_closed()

    asyncio.run(main())


def test_stop_without_start_does_nothing() -> None:
    assert asyncio.run(Server(hello, port=0).stop()) == 0


def test_everybody_who_stops_a_server_waits_until_it_has_stopped(serve: Serve) -> None:
    app = Blocker()
    served = serve(app)
    with served.client() as client:
        client.send(request("/block"))
        app.entered.acquire(timeout=TIMEOUT)
        stops = [
            asyncio.run_coroutine_threadsafe(served.server.stop(), served.thread.loop)
            for _ in range(2)
        ]
        served.recorder.wait_for("stopping")
        assert not any(stop.done() for stop in stops)
        app.release.set()
        assert client.response().body == b"hello"
        client.close()
        assert [stop.result(TIMEOUT) for stop in stops] == [0, 0]
    assert served.recorder.of("stopped") == [(0,)]


def test_a_stop_that_is_cancelled_is_finished_all_the_same(serve: Serve) -> None:
    app = Blocker()
    served = serve(app)
    with served.client() as client:
        client.send(request("/block"))
        app.entered.acquire(timeout=TIMEOUT)
        stop = asyncio.run_coroutine_threadsafe(served.server.stop(), served.thread.loop)
        served.recorder.wait_for("stopping")
        stop.cancel()
        app.release.set()
        assert client.response().body == b"hello"
    served.recorder.wait_for("stopped")
    served.thread.run(served.server.start())  # free for another start
    with served.client() as client:
        assert client.get().status == 200


@both_loops
def test_several_servers_do_not_disturb_each_other(loop: str, thread: LoopThread) -> None:
    def answering(text: bytes) -> Callable[..., list[bytes]]:
        def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            start_response("200 OK", [])
            return [text]

        return app

    blocker = Blocker()
    first = Server(answering(b"first"), port=0, host="127.0.0.1", observer=Recorder())
    second = Server(answering(b"second"), port=0, host="127.0.0.1", observer=Recorder())
    busy = Server(blocker, port=0, host="127.0.0.1", threads=1, observer=Recorder())
    elsewhere = Server(answering(b"elsewhere"), port=0, host="127.0.0.1", observer=Recorder())
    servers = (first, second, busy)

    def get(server: Server) -> bytes:
        assert server.port
        with RawClient(("127.0.0.1", server.port)) as client:
            return client.get().body

    with elsewhere.run_in_thread():
        for server in servers:
            thread.run(server.start())
        assert busy.port
        with RawClient(("127.0.0.1", busy.port)) as client:
            client.send(request("/block"))
            blocker.entered.acquire(timeout=TIMEOUT)
            assert get(first) == b"first"
            assert get(second) == b"second"
            thread.run(first.stop())
            assert get(second) == b"second"
            assert get(elsewhere) == b"elsewhere"
            blocker.release.set()
            assert client.response().body == b"hello"
        thread.run(second.stop())
        assert get(busy) == b"hello"
        thread.run(busy.stop())
        assert get(elsewhere) == b"elsewhere"


@both_loops
def test_a_connection_that_ends_leaves_nothing_to_the_garbage_collector(loop: str) -> None:
    """Else its transport's kilobyte lives on, and a new connection per request costs 10 % more."""

    with (
        serving(hello, loop=loop) as served,
        newcomers(HTTPProtocol, Sender, RequestReader) as alive,
    ):
        with served.client() as client:
            client.get()
            assert alive()
        served.wait_until(lambda: not alive())


@both_loops
def test_an_embedded_server_changes_nothing_of_the_process(loop: str) -> None:
    signals = [number for number in signal.Signals if number not in (signal.SIGKILL,)]

    def state() -> list[object]:
        return [
            [signal.getsignal(number) for number in signals],
            resource.getrlimit(resource.RLIMIT_NOFILE),
            sys.getswitchinterval(),
            gc.get_freeze_count(),
            gc.get_threshold(),
            gc.isenabled(),
        ]

    thread = LoopThread(loop)  # not the main thread's: a Runner would install SIGINT's handler
    try:
        before = state()
        server = Server(hello, port=0, host="127.0.0.1", observer=Recorder())
        thread.run(server.start())
        _get_once(server)
        assert state() == before
        thread.run(server.stop())
        assert state() == before
    finally:
        thread.close()
    with Server(hello, port=0, host="127.0.0.1", observer=Recorder()) as server:
        _get_once(server)
        assert state() == before
    assert state() == before


def _get_once(server: Server) -> None:
    assert server.port
    with RawClient(("127.0.0.1", server.port)) as client:
        assert client.get().status == 200


@both_loops
def test_a_failing_start_leaves_nothing_open(loop: str, thread: LoopThread, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = Server(
            hello, bind=(f"unix:{path}", f"127.0.0.1:{port}"), observer=(recorder := Recorder())
        )
        before = open_descriptors(thread)
        for _ in range(3):
            with pytest.raises(ConfigError, match=rf"127\.0\.0\.1:{port}.*in use"):
                thread.run(server.start())
        assert open_descriptors(thread) == before
        assert not path.exists()
        assert not pool_threads()
        assert recorder.of("started") == []
        assert thread.run(server.stop()) == 0
    thread.run(server.start())  # the address is free now
    assert path.exists()
    thread.run(server.stop())


@both_loops
def test_an_address_that_is_taken_only_at_listen_is_one_line_too(
    loop: str, thread: LoopThread
) -> None:
    """Linux lets two sockets with SO_REUSEADDR bind one port; the second listen() fails."""
    first = bind(["127.0.0.1:0"])
    port = first[0].getsockname()[1]
    server = Server(hello, port=port, host="127.0.0.1", observer=Recorder())
    try:
        first[0].listen()
        before = open_descriptors(thread)
        with pytest.raises(ConfigError, match="in use") as caught:
            thread.run(server.start())
        assert "\n" not in str(caught.value)
        assert open_descriptors(thread) == before
        assert not pool_threads()
    finally:
        close_all(first)


@both_loops
def test_a_thread_that_cannot_be_started_leaves_nothing_behind(
    loop: str, thread: LoopThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it happens at a limit of processes (RLIMIT_NPROC, cgroups), which root does not have."""
    start = threading.Thread.start

    def limited(self: threading.Thread) -> None:
        if self.name == "wsgi_async-3":
            raise RuntimeError("can't start new thread")
        start(self)

    server = Server(hello, port=0, host="127.0.0.1", observer=Recorder())
    thread.run(server.start())  # libuv opens /dev/null with its first listener, and keeps it
    thread.run(server.stop())
    before = open_descriptors(thread)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", limited)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            thread.run(server.start())
    assert not pool_threads()
    assert open_descriptors(thread) == before
    thread.run(server.start())
    _get_once(server)
    thread.run(server.stop())


@both_loops
def test_a_stuck_thread_is_reported_and_may_return_later(loop: str) -> None:
    app = Blocker()
    with serving(app, loop=loop, graceful_timeout="50ms") as served:
        with served.client() as client:
            client.send(request("/block"))
            app.entered.acquire(timeout=TIMEOUT)
            assert served.stop() == 1
            assert client.is_dropped()
        assert served.server.stuck_threads == 1
        assert served.recorder.of("stopped") == [(1,)]
    # The loop is closed by now; the thread must end without a sound (a traceback fails the test).
    stuck = [thread for thread in threading.enumerate() if "wsgi_async" in thread.name]
    assert len(stuck) == 1
    app.release.set()
    stuck[0].join(TIMEOUT)
    assert not stuck[0].is_alive()


def test_graceful_timeout_0_is_no_limit(serve: Serve) -> None:
    app = Blocker()
    served = serve(app, graceful_timeout=0)
    with served.client() as client:
        client.send(request("/block"))
        app.entered.acquire(timeout=TIMEOUT)
        stop = asyncio.run_coroutine_threadsafe(served.server.stop(), served.thread.loop)
        served.recorder.wait_for("stopping")
        app.release.set()
        assert client.response().body == b"hello"
    assert stop.result(TIMEOUT) == 0

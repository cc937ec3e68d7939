"""The Server on real sockets: its ways in, its addresses, its start and its stop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import os
import re
import resource
import signal
import socket
import stat
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rawclient import TIMEOUT, RawClient, request
from serving import LoopThread, Recorder, Served, both_loops, serving

from wsgi_async import Server
from wsgi_async.config.options import Config
from wsgi_async.errors import ConfigError
from wsgi_async.server.descriptors import plan_descriptors
from wsgi_async.server.event_loop import new_event_loop
from wsgi_async.system.sockets import bind, close_all

Serve = Callable[..., Served]


def hello(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]


def _has_ipv6() -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as sock:
        sock.bind(("::1", 0))
        return True
    return False


needs_ipv6 = pytest.mark.skipif(not _has_ipv6(), reason="no IPv6 loopback here")
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="Linux only")


@pytest.fixture
def thread(loop: str) -> Iterator[LoopThread]:
    thread = LoopThread(loop)
    yield thread
    thread.close()


def open_descriptors(thread: LoopThread) -> int:
    async def turn() -> None:
        for _ in range(5):  # a loop closes its handles in its next turns
            await asyncio.sleep(0)

    thread.run(turn())
    gc.collect()
    return len(os.listdir("/dev/fd"))


def pool_threads() -> list[str]:
    """Threads of servers that have not ended; one that has done its last deed has a moment."""
    threads = [thread for thread in threading.enumerate() if "wsgi_async" in thread.name]
    for thread in threads:
        thread.join(1.0)
    return [thread.name for thread in threads if thread.is_alive()]


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


# --- Ways in


@both_loops
@needs_ipv6
def test_by_default_both_loopback_addresses_have_one_port(loop: str, serve: Serve) -> None:
    served = serve(hello, loop=loop, host=None)
    port = served.server.port
    assert port
    assert served.server.addresses == (f"http://127.0.0.1:{port}", f"http://[::1]:{port}")
    for host in ("127.0.0.1", "::1"):
        with RawClient((host, port)) as client:
            assert client.get().body == b"hello"


@both_loops
def test_in_a_loop_that_is_running_already(loop: str) -> None:
    async def main() -> bytes:
        async with Server(hello, port=0, host="127.0.0.1", observer=Recorder()) as server:
            assert server.port
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(request(fields=("Connection: close",)))
            answer = await reader.read()
            writer.close()
            await writer.wait_closed()
        assert not pool_threads()
        return answer

    factory = new_event_loop if loop == "uvloop" else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        answer = runner.run(main())
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\nhello")


def test_run_in_thread() -> None:
    server = Server(hello, port=0, host="127.0.0.1", observer=Recorder())
    with server.run_in_thread() as same:
        assert same is server
        assert server.port
        with RawClient(("127.0.0.1", server.port)) as client:
            assert client.get().status == 200
    assert not pool_threads()
    with pytest.raises(ConnectionRefusedError):
        RawClient(("127.0.0.1", server.port))


def test_a_plain_with_statement_serves_from_a_thread() -> None:
    server = Server(hello, port=0, host="127.0.0.1", observer=Recorder())
    for _ in range(2):
        with server as same:
            assert same is server
            assert server.port
            with RawClient(("127.0.0.1", server.port)) as client:
                assert client.get().status == 200
        assert not pool_threads()


def test_run_in_thread_passes_the_blocks_exception_on_and_stops() -> None:
    recorder = Recorder()
    server = Server(hello, port=0, host="127.0.0.1", observer=recorder)
    with pytest.raises(ZeroDivisionError), server.run_in_thread():
        raise ZeroDivisionError
    assert recorder.of("stopped") == [(0,)]
    assert not pool_threads()


def test_run_in_thread_raises_what_the_start_raised() -> None:
    """Many times: the thread may or may not have ended when the caller looks at it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for _ in range(30):
            server = Server(hello, port=port, host="127.0.0.1", observer=Recorder())
            with pytest.raises(ConfigError, match="in use"), server.run_in_thread():
                pytest.fail("the block must not be entered")
            with pytest.raises(ConfigError, match="in use"), server:
                pytest.fail("the block must not be entered")
    assert not pool_threads()


@both_loops
def test_serve_forever_starts_and_stops_when_cancelled(loop: str, thread: LoopThread) -> None:
    recorder = Recorder()
    server = Server(hello, port=0, host="127.0.0.1", observer=recorder)
    future = asyncio.run_coroutine_threadsafe(server.serve_forever(), thread.loop)
    recorder.wait_for("started")
    assert server.port
    with RawClient(("127.0.0.1", server.port)) as client:
        assert client.get().status == 200
        future.cancel()
        recorder.wait_for("stopped")
        assert client.is_dropped()


def test_serve_forever_goes_on_with_a_server_that_is_started() -> None:
    async def main() -> None:
        server = Server(hello, port=0, host="127.0.0.1", observer=(recorder := Recorder()))
        await server.start()
        port = server.port
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(server.serve_forever(), 0.05)
        assert recorder.of("started") == [((f"http://127.0.0.1:{port}",), 8, "asyncio", "auto")]
        assert recorder.of("stopped") == [(0,)]

    asyncio.run(main())


@both_loops
def test_the_start_is_told(loop: str, serve: Serve) -> None:
    served = serve(hello, loop=loop, threads=3, parser="h11")
    address = f"http://127.0.0.1:{served.server.port}"
    assert served.recorder.of("started") == [((address,), 3, loop, "h11")]


def test_new_event_loop_is_a_uvloop_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    uvloop = pytest.importorskip("uvloop")
    loop = new_event_loop()
    loop.close()
    assert isinstance(loop, uvloop.Loop)
    monkeypatch.setitem(sys.modules, "uvloop", None)
    loop = new_event_loop()
    loop.close()
    assert isinstance(loop, asyncio.BaseEventLoop)


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

    def alive() -> set[str]:
        ours = {"HTTPProtocol", "Sender", "RequestReader"}
        return ours & {type(item).__name__ for item in gc.get_objects()}

    with serving(hello, loop=loop) as served:
        gc.collect()
        gc.disable()
        try:
            with served.client() as client:
                client.get()
                assert alive()
            served.wait_until(lambda: not alive())
        finally:
            gc.enable()


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


# --- Unix sockets and inherited descriptors


@both_loops
def test_a_unix_socket(loop: str, thread: LoopThread, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    server = Server(hello, bind=f"unix:{path}", socket_mode=0o640, observer=Recorder())
    for _ in range(2):
        thread.run(server.start())
        assert server.addresses == (f"unix:{path}",)
        assert server.port is None
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        with RawClient(str(path)) as client:
            assert client.get().body == b"hello"
            thread.run(server.stop())
            assert client.is_dropped()
        assert not path.exists()


@both_loops
@linux_only
def test_an_abstract_unix_socket(loop: str, serve: Serve) -> None:
    name = f"wsgi_async-test-{os.getpid()}-{loop}"
    served = serve(hello, loop=loop, bind=f"unix:@{name}")
    assert served.server.addresses == (f"unix:@{name}",)
    with RawClient("\0" + name) as client:
        assert client.get().body == b"hello"
    served.stop()
    with pytest.raises(ConnectionRefusedError):
        RawClient("\0" + name)


@both_loops
def test_a_stale_socket_file_is_replaced(loop: str, serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        sock.listen()
    assert path.exists()
    serve(hello, loop=loop, bind=f"unix:{path}")
    with RawClient(str(path)) as client:
        assert client.get().body == b"hello"


@both_loops
def test_a_live_socket_file_is_refused(loop: str, thread: LoopThread, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    first = Server(hello, bind=f"unix:{path}", observer=Recorder())
    second = Server(hello, bind=f"unix:{path}", observer=Recorder())
    thread.run(first.start())
    with pytest.raises(ConfigError, match="in use"):
        thread.run(second.start())
    with RawClient(str(path)) as client:
        assert client.get().body == b"hello"
    thread.run(first.stop())
    assert not path.exists()


@both_loops
def test_a_successors_socket_file_is_left_alone(
    loop: str, thread: LoopThread, tmp_path: Path
) -> None:
    path = tmp_path / "socket"
    server = Server(hello, bind=f"unix:{path}", observer=Recorder())
    thread.run(server.start())
    path.unlink()
    with socket.socket(socket.AF_UNIX) as successor:
        successor.bind(str(path))
        successor.listen()
        thread.run(server.stop())
        assert path.exists()


@both_loops
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX], ids=["tcp", "unix"])
def test_an_inherited_descriptor(
    loop: str, family: socket.AddressFamily, serve: Serve, tmp_path: Path
) -> None:
    """As a service manager hands it over: bound, perhaps listening, and the file is not ours."""
    path = tmp_path / "socket"
    with socket.socket(family) as sock:
        sock.bind(("127.0.0.1", 0) if family == socket.AF_INET else str(path))
        sock.listen()
        served = serve(hello, loop=loop, bind=f"fd://{os.dup(sock.fileno())}")
        with RawClient(sock.getsockname()) as client:
            assert client.get().body == b"hello"
        served.stop()
        assert family == socket.AF_INET or path.exists()


# --- Configuration


@pytest.mark.parametrize("port", [-1, 65536, "8000", True, 8000.0])
def test_a_port_is_a_number(port: Any) -> None:
    with pytest.raises(ConfigError, match="port takes a number from 0 to 65535"):
        Server(hello, port=port)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"bind": ":80", "port": 80}, "one or the other"),
        ({"bind": ":80", "host": "a"}, "one or the other"),
        ({"config": Config(), "threads": 2}, "either config or single options"),
        ({"config": Config(), "port": 80}, "either config or single options"),
        ({"thread": 2}, "Did you mean threads"),
        ({"threads": 0}, "--threads"),
    ],
)
def test_wrong_options_are_one_line(keywords: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        Server(hello, **keywords)
    assert "\n" not in str(caught.value)


def test_an_application_is_callable() -> None:
    with pytest.raises(ConfigError, match="not callable"):
        Server("module:app")  # type: ignore[arg-type]


@pytest.mark.parametrize("limit", [128, 256, 1024, 4096, 20000, 65536, 1 << 30])
def test_the_plan_of_descriptors_adds_up(limit: int) -> None:
    plan = plan_descriptors(limit, max_connections=0)
    # Beside what is planned for: the application's, and those of the server itself.
    assert sum(plan) <= limit - 32
    assert plan.connections >= limit // 4
    assert plan.connections >= limit // 2 or limit < 4096
    assert min(plan) >= 8


def test_a_limit_that_is_too_small_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"ulimit -n"):
        plan_descriptors(64, max_connections=0)
    with pytest.raises(ConfigError, match=r"--max-connections 2000 does not fit"):
        plan_descriptors(1024, max_connections=2000)
    assert plan_descriptors(1024, max_connections=10).connections == 10


def test_a_system_without_a_directory_for_temporary_files_is_one_warning(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    served = serve(hello)
    [(message,)] = served.recorder.of("warning")
    assert re.search(r"no temporary file can be made .*--spool-dir", message)
    with served.client() as client:
        assert client.get().status == 200


def test_a_spool_directory_that_was_named_and_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name, why in (("missing", "No such file or directory"), ("file", "Not a directory")):
        path = str(tmp_path / name)
        with (
            pytest.raises(ConfigError) as caught,
            Server(hello, port=0, spool_dir=path).run_in_thread(),
        ):
            pass
        assert str(caught.value) == f"--spool-dir: no file can be made in {path!r}: {why}"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE])
def test_a_spool_directory_that_is_full_at_the_start_is_used_when_it_has_room(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def fail(*args: object, **named: object) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "TemporaryFile", fail)
        served = serve(hello, spool_dir=str(tmp_path))
    [(message,)] = served.recorder.of("warning")
    assert os.strerror(code) in message
    assert served.budgets.has_disk


@pytest.mark.parametrize("option", ["access_logfile", "error_logfile", "log_level"])
def test_an_embedded_server_takes_no_option_that_would_do_nothing(option: str) -> None:
    with pytest.raises(ConfigError, match=rf"{option} .* observer=LogObserver\(access=True\)"):
        Server(lambda environ, start_response: [], port=0, **{option: "info"})

"""The Server on real sockets: its ways in, and its configuration."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import re
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from loops import Serve, hello, loop_thread, pool_threads
from rawclient import RawClient, request
from serving import LoopThread, Recorder, both_loops

from wsgi_async import Server
from wsgi_async.config.options import Config
from wsgi_async.errors import ConfigError
from wsgi_async.server.descriptors import plan_descriptors
from wsgi_async.system.event_loop import new_event_loop

thread = pytest.fixture(loop_thread)


def _has_ipv6() -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as sock:
        sock.bind(("::1", 0))
        return True
    return False


needs_ipv6 = pytest.mark.skipif(not _has_ipv6(), reason="no IPv6 loopback here")


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


@pytest.mark.parametrize(
    "option", ["access_logfile", "access_logformat", "error_logfile", "log_level"]
)
def test_an_embedded_server_takes_no_option_that_would_do_nothing(option: str) -> None:
    with pytest.raises(ConfigError, match=rf"{option} .* observer=LogObserver\(access=True\)"):
        Server(lambda environ, start_response: [], port=0, **{option: "info"})

"""The Server on unix sockets and inherited descriptors."""

from __future__ import annotations

import os
import socket
import stat
import sys
from pathlib import Path

import pytest
from loops import Serve, hello, loop_thread
from rawclient import RawClient
from serving import LoopThread, Recorder, both_loops

from wsgi_async import Server
from wsgi_async.errors import ConfigError

thread = pytest.fixture(loop_thread)


linux_only = pytest.mark.skipif(sys.platform != "linux", reason="Linux only")


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

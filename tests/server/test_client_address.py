"""The client's address is what accept(2) returned, whatever becomes of the connection."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rawclient import TIMEOUT
from serving import Recorder, both_loops

from wsgi_async import Server
from wsgi_async.compat.simple_server import make_server
from wsgi_async.errors import ConfigError
from wsgi_async.events import RequestInfo, ResponseInfo
from wsgi_async.server.connection_counts import ConnectionCounts
from wsgi_async.system.sockets import bind, listen

REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
BROKEN = b"BROKEN\r\n\r\n"


class Noting:
    """An application that remembers who asked."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.clients: list[tuple[str, str]] = []

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        self.clients.append((environ["REMOTE_ADDR"], environ["REMOTE_PORT"]))
        self.asked.set()
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"hello"]


class Named(Recorder):
    """An observer that remembers by which names it is told of clients."""

    def __init__(self) -> None:
        super().__init__()
        self.told = threading.Event()
        self.names: list[str] = []

    def request_finished(self, request: RequestInfo, response: ResponseInfo) -> None:
        self.names.append(request.client)
        self.told.set()

    def request_refused(self, client: str, *args: Any, **kwargs: Any) -> None:
        self.names.append(client)
        self.told.set()


def loop_factory(kind: str) -> Callable[[], asyncio.AbstractEventLoop]:
    if kind == "uvloop":
        factory: Callable[[], asyncio.AbstractEventLoop] = pytest.importorskip(
            "uvloop"
        ).new_event_loop
        return factory
    return asyncio.new_event_loop


def send_and_reset(address: Any, data: bytes, family: int = socket.AF_INET) -> tuple[str, str]:
    """Send, and reset the connection; the client's address and port."""
    with socket.socket(family) as sock:
        sock.settimeout(TIMEOUT)
        sock.connect(address)
        name = sock.getsockname()
        sock.sendall(data)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return name[0], str(name[1])


async def until(event: threading.Event) -> None:
    assert await asyncio.to_thread(event.wait, TIMEOUT)


@pytest.mark.parametrize("data", [REQUEST, BROKEN])
@pytest.mark.parametrize("shares", [False, True])
@both_loops
def test_a_client_that_reset_before_it_was_accepted_has_its_address(
    loop: str, shares: bool, data: bytes
) -> None:
    application, observer = Noting(), Named()

    async def main() -> tuple[str, str]:
        server = Server(application, port=0, host="127.0.0.1", observer=observer)
        if shares:
            sockets = bind(("127.0.0.1:0",))
            listen(sockets[0], 10)
            await server.start(sockets, ConnectionCounts().join(0))
        else:
            await server.start()
        try:
            # Nothing here lets the loop turn: it accepts what was reset already.
            sent_by = send_and_reset(("127.0.0.1", server.port), data)
            await until(observer.told)
            return sent_by
        finally:
            await server.stop()

    with asyncio.Runner(loop_factory=loop_factory(loop)) as runner:
        sent_by = runner.run(main())
    assert observer.names == [":".join(sent_by)]
    # Whether a thread had it before the reset was read is chance.
    assert application.clients in ([], [sent_by])


@both_loops
def test_so_has_one_with_ipv6(loop: str) -> None:
    observer = Named()

    async def main() -> None:
        try:
            server = Server(Noting(), port=0, host="::1", observer=observer)
            await server.start()
        except ConfigError as error:
            pytest.skip(f"no IPv6 here: {error}")
        try:
            sent_by = send_and_reset(("::1", server.port), REQUEST, socket.AF_INET6)
            await until(observer.told)
            assert observer.names == [f"[::1]:{sent_by[1]}"]
        finally:
            await server.stop()

    with asyncio.Runner(loop_factory=loop_factory(loop)) as runner:
        runner.run(main())


@pytest.mark.parametrize("bound", ["", "client"])
@both_loops
def test_a_client_of_a_unix_socket_has_none(loop: str, bound: str, tmp_path: Path) -> None:
    application = Noting()
    path = tmp_path / "server"

    async def main() -> None:
        async with Server(application, config=None, bind=(f"unix:{path}",), observer=Recorder()):
            with socket.socket(socket.AF_UNIX) as sock:
                if bound:
                    sock.bind(str(tmp_path / bound))
                sock.connect(str(path))
                sock.sendall(REQUEST)
                await until(application.asked)

    with asyncio.Runner(loop_factory=loop_factory(loop)) as runner:
        runner.run(main())
    assert application.clients == [("", "")]


@both_loops
def test_a_connection_that_somebody_else_accepted_comes_with_its_address(loop: str) -> None:
    observer = Named()

    async def main() -> tuple[str, str]:
        [listener] = bind(("127.0.0.1:0",))
        with contextlib.closing(listener):
            listen(listener, 10)
            sent_by = send_and_reset(listener.getsockname(), REQUEST)
            listener.setblocking(True)
            connection, peer = listener.accept()
        server = Server(Noting(), observer=observer, keep_alive=0)
        await server.start(())
        try:
            await server.serve_once(connection, peer)
        finally:
            await server.stop()
            connection.close()
        return sent_by

    with asyncio.Runner(loop_factory=loop_factory(loop)) as runner:
        assert [":".join(runner.run(main()))] == observer.names


def test_so_does_the_one_client_of_handle_request(monkeypatch: pytest.MonkeyPatch) -> None:
    with make_server("127.0.0.1", 0, Noting()) as server:
        sent_by = send_and_reset(server.server_address, REQUEST)
        peers: list[object] = []

        async def serve_once(self: Server, connection: socket.socket, peer: object = None) -> None:
            peers.append(peer)

        monkeypatch.setattr(Server, "serve_once", serve_once)
        server.handle_request()
    assert peers == [(sent_by[0], int(sent_by[1]))]


@both_loops
def test_a_server_without_sockets_accepts_nothing_and_stops(loop: str) -> None:
    async def main() -> None:
        server = Server(Noting(), observer=Recorder())
        await server.start(())
        assert server.addresses == ()
        await server.stop()

    with asyncio.Runner(loop_factory=loop_factory(loop)) as runner:
        runner.run(main())


@both_loops
def test_a_server_that_is_started_again_accepts_again(loop: str) -> None:
    application = Noting()

    async def main() -> None:
        server = Server(application, port=0, host="127.0.0.1", observer=Recorder())
        for _ in range(2):
            application.asked.clear()
            async with server:
                with socket.create_connection(("127.0.0.1", server.port or 0), TIMEOUT) as sock:
                    sock.sendall(REQUEST)
                    await until(application.asked)

    with asyncio.Runner(loop_factory=loop_factory(loop)) as runner:
        runner.run(main())
    assert len(application.clients) == 2


@pytest.mark.usefixtures("short_linger")
@both_loops
def test_of_many_that_wait_at_a_stop_each_is_answered(loop: str) -> None:
    application = Noting()

    async def main() -> None:
        server = Server(application, port=0, host="127.0.0.1", observer=Recorder())
        await server.start()
        with contextlib.ExitStack() as stack:
            clients = []
            for _ in range(40):
                sock = socket.create_connection(("127.0.0.1", server.port or 0), TIMEOUT)
                clients.append(stack.enter_context(sock))
                sock.sendall(REQUEST)
            await server.stop()
            for sock in clients:
                assert sock.recv(64).startswith(b"HTTP/1.1 200 OK\r\n")

    with asyncio.Runner(loop_factory=loop_factory(loop)) as runner:
        runner.run(main())
    assert len(application.clients) == 40

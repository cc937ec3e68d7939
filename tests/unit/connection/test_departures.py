"""A client that resets its connection is noticed also while nothing is read from it."""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rawclient import TIMEOUT, RawClient, request
from serving import Served, both_loops, one_loop_in_time

from wsgi_async.connection.departures import Departure, Departures
from wsgi_async.errors import ClientDisconnected

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux only")

Serve = Callable[..., Served]

PIPELINED = request("/theirs") * 15_000  # 540 KB
HEAD = b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 6000000\r\n\r\n"


class Held:
    """An application whose requests for /held wait; it remembers all targets, and what it read."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.release = threading.Event()
        self.asked: list[str] = []
        self.raised: list[BaseException] = []

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        path = environ["PATH_INFO"]
        self.asked.append(path)
        if path in ("/held", "/upload"):
            self.entered.release()
            assert self.release.wait(TIMEOUT)
        if path == "/upload":
            try:
                environ["wsgi.input"].read()
            except ClientDisconnected as error:
                self.raised.append(error)
                raise
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]

    def wait(self) -> None:
        assert self.entered.acquire(timeout=TIMEOUT)


@pytest.fixture
def held() -> Iterator[Held]:
    application = Held()
    yield application
    application.release.set()


def is_unread(served: Served, count: int = 1) -> Callable[[], bool]:
    return lambda: len(served.connections.unread) == count


def fill(served: Served, client: RawClient, data: bytes) -> None:
    """Send until reading pauses."""
    client.socket.setblocking(False)
    left = memoryview(data)
    expected = len(served.connections.unread) + 1

    def goes_on() -> bool:
        nonlocal left
        with contextlib.suppress(BlockingIOError):
            left = left[client.socket.send(left) :]
        return len(served.connections.unread) == expected

    served.wait_until(goes_on, "reading pauses")


@both_loops
def test_its_queued_requests_are_withdrawn(loop: str, serve: Serve, held: Held) -> None:
    served = serve(held, loop=loop, threads=1)
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(served.client())
        first.send(request("/held"))
        held.wait()
        leaving = [stack.enter_context(served.client()) for _ in range(3)]
        for client in leaving:
            fill(served, client, PIPELINED)
        for client in leaving:
            client.reset()
        # The thread is still with the first one.
        served.wait_until(lambda: len(served.connections.open) == 1, "they are gone")
        assert not served.pool.queued
        assert not len(served.connections.unread)
        after = stack.enter_context(served.client())
        after.send(request("/after"))
        held.release.set()
        assert first.response().status == after.response().status == 200
    assert held.asked == ["/held", "/after"]
    served.wait_until_idle()


@both_loops
def test_one_that_is_with_the_application_is_told(loop: str, serve: Serve, held: Held) -> None:
    served = serve(held, loop=loop, threads=1)
    with served.client() as client:
        client.send(request("/held"))
        held.wait()
        fill(served, client, PIPELINED)
        client.reset()
        served.wait_until(lambda: not served.connections.open, "it is gone")
    [(_, response)] = served.recorder.of("request_finished")
    assert response.status == 499
    held.release.set()
    served.wait_until_idle()
    assert held.asked == ["/held"]


@both_loops
def test_an_upload_ends_whose_application_does_not_read(
    loop: str, serve: Serve, held: Held
) -> None:
    served = serve(held, loop=loop, request_buffering="stream")
    with served.client() as client:
        client.send(HEAD)
        held.wait()
        fill(served, client, bytes(6_000_000))
        served.wait_until(lambda: served.budgets.files.used, "the socket is lent")
        client.reset()
        served.wait_until(lambda: not served.connections.open, "it is gone")
        assert not served.budgets.files.used
    held.release.set()
    served.wait_until_idle()
    assert len(held.raised) == 1


@both_loops
def test_one_that_has_ended_its_side_is_answered(loop: str, serve: Serve, held: Held) -> None:
    served = serve(held, loop=loop, threads=1)
    with served.client() as client:
        client.send(request("/held") * 2 + request("/last", fields=("Connection: close",)))
        held.wait()
        client.half_close()
        served.wait_until(is_unread(served), "the end is read")
        looked_at = len(served.connections._completions)
        # The list is of ticks: in each of them it was looked at.
        served.wait_until(lambda: len(served.connections._completions) > looked_at + 2)
        held.release.set()
        assert [client.response().status for _ in range(3)] == [200] * 3
    served.wait_until_idle()


@both_loops
def test_one_that_resets_after_it_has_ended_its_side(loop: str, serve: Serve, held: Held) -> None:
    served = serve(held, loop=loop, threads=1)
    with served.client() as client:
        client.send(request("/held"))
        held.wait()
        client.half_close()
        served.wait_until(is_unread(served), "the end is read")
        with served.client() as queued:
            queued.send(request("/theirs"))
            queued.half_close()
            served.wait_until(is_unread(served, 2), "the end is read")
            queued.reset()
            served.wait_until(lambda: len(served.connections.open) == 1, "it is gone")
        held.release.set()
        assert client.response().status == 200
    served.wait_until_idle()
    assert held.asked == ["/held"]


@one_loop_in_time
def test_a_client_that_is_read_from_again_is_not_looked_at(
    loop: str, serve: Serve, held: Held
) -> None:
    served = serve(held, loop=loop, threads=1)
    with served.client() as client:
        client.send(request("/held"))
        held.wait()
        sending = threading.Thread(target=client.send, args=(PIPELINED,), daemon=True)
        sending.start()
        served.wait_until(is_unread(served), "reading pauses")
        held.release.set()
        for _ in range(15_001):
            client.response()
        sending.join(TIMEOUT)
        served.wait_until(is_unread(served, 0))
        assert client.get("/more").status == 200
    served.wait_until_idle()


@both_loops
def test_one_that_closes_a_unix_socket_is_gone(
    loop: str, serve: Serve, held: Held, tmp_path: Path
) -> None:
    served = serve(held, loop=loop, threads=1, bind=(f"unix:{tmp_path / 'socket'}",))
    with RawClient(str(tmp_path / "socket")) as client:
        client.send(request("/held"))
        held.wait()
        with RawClient(str(tmp_path / "socket")) as queued:
            fill(served, queued, PIPELINED)
        served.wait_until(lambda: len(served.connections.open) == 1, "it is gone")
        held.release.set()
        assert client.response().status == 200
    served.wait_until_idle()
    assert held.asked == ["/held"]


# --- the list itself -------------------------------------------------------------------------


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname(), TIMEOUT)
        theirs, _ = listener.accept()
    with ours, theirs:
        yield ours, theirs


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def test_each_is_found_until_it_is_discarded(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    departures: Departures[str] = Departures()
    assert departures.look() == []
    departures.add("a", ours.fileno(), has_ended=False)
    departures.add("a", ours.fileno(), has_ended=True)
    assert len(departures) == 1
    theirs.sendall(b"data")
    theirs.shutdown(socket.SHUT_WR)
    assert departures.look() == []
    reset(theirs)
    assert departures.look() == [("a", Departure.RESET)] == departures.look()
    departures.discard("a")
    assert departures.look() == []
    assert len(departures) == 0


def test_who_has_ended_its_side_is_found_once(pair: tuple[socket.socket, socket.socket]) -> None:
    """And behind what nobody has read. Four looks a second would find it for ever."""
    ours, theirs = pair
    departures: Departures[str] = Departures()
    departures.add("a", ours.fileno(), has_ended=False)
    theirs.sendall(b"data")
    assert departures.look() == []
    theirs.shutdown(socket.SHUT_WR)
    assert departures.look() == [("a", Departure.ENDED)]
    assert departures.look() == []
    reset(theirs)
    assert departures.look() == [("a", Departure.RESET)]


def test_one_that_was_discarded_is_not_found(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    departures: Departures[str] = Departures()
    departures.add("a", ours.fileno(), has_ended=False)
    departures.discard("a")
    departures.discard("a")
    departures.discard("b")
    reset(theirs)
    assert departures.look() == []
    departures.add("a", ours.fileno(), has_ended=False)
    assert departures.look() == [("a", Departure.RESET)]


def test_one_without_a_socket_is_not_looked_at() -> None:
    departures: Departures[str] = Departures()
    departures.add("a", -1, has_ended=False)
    assert len(departures) == 0
    departures.discard("a")

"""The end of a server that has asynchronous bodies: what is told, what is finished, what is cut."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
from application_loops import ending_with_the_test
from live_bodies import Live, Tap, live_app
from live_servers import Serve, bodies_of, ends, live_servers, state_of
from rawclient import TIMEOUT, RawClient, request
from serving import Recorder, Served, both_loops

from wsgi_async.events import client_address
from wsgi_async.realtime.bodies import CLOSING
from wsgi_async.server.server import Server

EVENTS = [("Content-Type", "text/event-stream")]
RETRY = re.compile(rb"retry: ([0-9]+)\n\n")

serve = pytest.fixture(live_servers)


def stop(served: Served, **options: Any) -> threading.Thread:
    """In a thread: the test is the client meanwhile."""
    thread = threading.Thread(target=lambda: served.thread.run(served.server.stop(**options)))
    thread.start()
    return thread


def open_stream(client: RawClient, tap: Tap, first: bytes) -> None:
    client.send(request())
    tap.give(first)
    client.read_until(first)


@both_loops
@pytest.mark.parametrize("linger", [0.0, 0.05])
def test_an_event_stream_is_told_to_come_again_and_completed(
    loop: str, linger: float, serve: Serve
) -> None:
    """At a stop, and at a reload, where connections linger. It may say its last words meanwhile."""
    tap = Tap()
    body = Live(tap.chunks(), tap.log)
    served = serve(live_app(lambda: body, EVENTS), loop=loop, live_grace=0.3)
    with served.client() as client:
        open_stream(client, tap, b"data: 1\n\n")
        stopping = stop(served, linger=linger)
        told = RETRY.search(client.read_until(b"retry: ") + client.read_until(b"\n\n"))
        assert told is not None
        assert 500 <= int(told[1]) <= 5000
        tap.give(b"data: 2\n\n")
        rest = client.read_to_end()
        assert b"data: 2\n\n" in rest
        assert rest.endswith(b"0\r\n\r\n")  # complete, not cut
    stopping.join(TIMEOUT)
    assert tap.log[1:3] == ["cancelled", "finally on wsgi_async-application in /"]
    assert body.closed.is_set()
    assert ends(served) == {"stopped": 1}
    assert served.recorder.of("stopped") == [(0,)]
    [(_, response)] = served.recorder.of("request_finished")
    assert response.complete


def test_it_is_not_told_within_an_event(serve: Serve) -> None:
    """An event in two chunks stays one."""
    tap = Tap()
    served = serve(live_app(lambda: Live(tap.chunks()), EVENTS), live_grace=0.5)
    with served.client() as client:
        open_stream(client, tap, b"data: half")
        stopping = stop(served)
        served.recorder.wait_for("stopping")
        tap.give(b" an event\n\n", None)
        rest = client.read_to_end()
    stopping.join(TIMEOUT)
    chunks = [part for part in rest.split(b"\r\n") if b"event" in part or b"retry" in part]
    assert [RETRY.sub(b"retry", chunk) for chunk in chunks] == [b" an event\n\n", b"retry"] or (
        [RETRY.sub(b"retry", chunk) for chunk in chunks] == [b" an event\n\nretry"]
    )


def test_one_without_a_chunk_so_far_is_told_and_completed(serve: Serve) -> None:
    tap = Tap()
    served = serve(live_app(lambda: Live(tap.chunks()), EVENTS), live_grace=0.05)
    with served.client() as client:
        client.send(request())
        assert tap.begun.wait(TIMEOUT)
        stopping = stop(served)
        response = client.response()
    stopping.join(TIMEOUT)
    assert response.status == 200
    assert RETRY.fullmatch(response.body)


def test_a_compressed_stream_is_added_nothing(serve: Serve) -> None:
    """It would break it. It ends as any other body, at --graceful-timeout."""
    tap = Tap()
    fields = [*EVENTS, ("Content-Encoding", "gzip")]
    served = serve(
        live_app(lambda: Live(tap.chunks()), fields), live_grace=0.0, graceful_timeout=0.2
    )
    with served.client() as client:
        open_stream(client, tap, b"\x1f\x8b")
        stopping = stop(served)
        with contextlib.suppress(ConnectionError):  # it is cut
            assert b"retry" not in client.read_to_end()
    stopping.join(TIMEOUT)
    assert "cancelled" in tap.log


@both_loops
def test_any_other_body_is_finished(loop: str, serve: Serve) -> None:
    """A download is not cut by a deploy."""
    tap = Tap()
    served = serve(live_app(lambda: Live(tap.chunks())), loop=loop, live_grace=0.0)
    with served.client() as client:
        open_stream(client, tap, b"first")
        stopping = stop(served, linger=0.05)
        served.recorder.wait_for("stopping")
        tap.give(b"last", None)
        assert client.read_to_end().endswith(b"last\r\n0\r\n\r\n")
    stopping.join(TIMEOUT)
    assert ends(served) == {"ended": 1}


@both_loops
def test_up_to_the_graceful_timeout_and_then_it_is_cancelled_and_cut(
    loop: str, serve: Serve
) -> None:
    tap = Tap()
    body = Live(tap.chunks(), tap.log)
    served = serve(live_app(lambda: body), loop=loop, graceful_timeout=0.2)
    with served.client() as client:
        open_stream(client, tap, b"first")
        stopping = stop(served)
        try:
            rest = client.read_to_end()
        except ConnectionError:
            rest = b""
        assert not rest.endswith(b"0\r\n\r\n")
    stopping.join(TIMEOUT)
    assert "finally on wsgi_async-application in /" in tap.log
    assert body.closed.is_set()
    assert ends(served) == {"stopped": 1}
    assert served.recorder.of("stopped") == [(0,)]


def test_one_whose_client_is_behind_ends_too(serve: Serve) -> None:
    """Its pipe is parked: an event stream's is ended as it is, with all that waits."""
    tap = Tap()
    body = Live(tap.chunks(), tap.log)
    served = serve(live_app(lambda: body, EVENTS), live_grace=0.05, response_buffer=64 * 1024)
    tap.give(*[b"data: " + b"x" * (1 << 20) + b"\n\n"] * 20)
    with served.client(receive_buffer=4096) as client:
        client.send(request())
        served.wait_until(lambda: state_of(served) == "BEHIND")
        stopping = stop(served)
        served.wait_until(lambda: not len(bodies_of(served)))
        asked = tap.asked
        response = client.response()
    stopping.join(TIMEOUT)
    assert response.body.count(b"data: ") == asked
    assert response.body.endswith(b"\n\n")
    assert body.closed.is_set()


def test_one_that_begins_while_the_server_leaves(serve: Serve) -> None:
    """A request on an open connection during a reload: its stream is told at once, and ends."""
    tap = Tap()

    def application(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", EVENTS if environ["PATH_INFO"] == "/events" else [])
        return Live(tap.chunks()) if environ["PATH_INFO"] == "/events" else [b"plain"]

    served = serve(application, live_grace=0.05)
    with served.client() as client:
        assert client.get().status == 200
        stopping = stop(served, linger=2.0)
        served.wait_until(lambda: served.connections.phase.name == "LEAVING")
        client.send(request("/events"))
        response = client.response()
        assert RETRY.fullmatch(response.body) or response.body == b""
    stopping.join(TIMEOUT)
    assert ends(served) == {"stopped": 1}


class Stubborn:
    """Gives one chunk, and then ends for nothing but its gate."""

    def __init__(self, *, blocks: bool) -> None:
        self.gate = threading.Event()
        self._blocks = blocks
        self._has_given = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if not self._has_given:
            self._has_given = True
            return b"first"
        if self._blocks:
            self.gate.wait(TIMEOUT)
        while not self.gate.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.02)
        raise StopAsyncIteration


@pytest.fixture
def briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not end is not waited for as long as ever."""
    monkeypatch.setattr("wsgi_async.server.running_server.CLOSE_TIME", 0.1)
    monkeypatch.setattr("wsgi_async.realtime.ending.LAST", 0.1)


@pytest.mark.usefixtures("briefly")
@pytest.mark.parametrize("blocks", [False, True])
def test_nothing_hangs_for_one_that_does_not_end(blocks: bool, serve: Serve) -> None:
    """It is cancelled, told of, and left to itself; its close() runs all the same."""
    source = Stubborn(blocks=blocks)
    body = Live(source)
    served = serve(live_app(lambda: body), graceful_timeout=0.1)
    try:
        with served.client() as client:
            client.send(request())
            client.read_until(b"first")
            stopping = stop(served)
            stopping.join(TIMEOUT)
            assert not stopping.is_alive()
        assert served.recorder.of("stopped")[0][0] >= 1
        [report, *_] = served.recorder.of("report")
        assert "does not end, and is left to itself" in report[0]
        assert "in __anext__" in report[0]
    finally:
        source.gate.set()
    assert body.closed.wait(TIMEOUT)


@pytest.mark.usefixtures("briefly")
def test_one_that_ends_after_its_server_raises_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop has ended that would be told, and nobody waits any more."""
    struck: list[object] = []
    monkeypatch.setattr(threading, "excepthook", struck.append)
    source = Stubborn(blocks=True)
    body = Live(source)
    with ending_with_the_test():
        options: Any = {"host": "127.0.0.1", "graceful_timeout": 0.1, "observer": Recorder()}
        with Server(live_app(lambda: body), 0, **options) as server:
            host, port = client_address(server.addresses[0].partition("//")[2])
            with RawClient((host, int(port))) as client:
                client.send(request())
                client.read_until(b"first")
        source.gate.set()
        assert body.closed.wait(TIMEOUT)
        for thread in threading.enumerate():
            if thread.name == CLOSING:
                thread.join(TIMEOUT)
    assert not struck


def test_a_hurried_stop_waits_for_no_grace(serve: Serve) -> None:
    tap = Tap()
    served = serve(live_app(lambda: Live(tap.chunks()), EVENTS), live_grace=TIMEOUT)
    with served.client() as client:
        open_stream(client, tap, b"data: 1\n\n")
        stopping = stop(served)
        served.recorder.wait_for("stopping")
        served.thread.loop.call_soon_threadsafe(served.server.force)
        stopping.join(TIMEOUT / 2)
        assert not stopping.is_alive()
    assert "cancelled" in tap.log


@both_loops
def test_who_has_read_the_end_of_an_event_stream_finds_its_connection_ended(
    loop: str, serve: Serve
) -> None:
    """Its head said nothing of that, and a client that keeps connections would ask here again,
    where nobody answers any more: so the end of both comes at once."""
    streams = 8
    taps = [Tap() for _ in range(streams)]
    bodies = iter([Live(tap.chunks(), tap.log) for tap in taps])
    served = serve(live_app(lambda: next(bodies), EVENTS), loop=loop, live_grace=0.05)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(served.client()) for _ in taps]
        for client, tap in zip(clients, taps, strict=True):
            open_stream(client, tap, b"data: 1\n\n")
        stopping = stop(served, linger=5.0)
        for client in clients:
            client.read_until(b"\r\n0\r\n\r\n")
            client.socket.setblocking(False)
            assert client.socket.recv(1) == b""
        served.server.hurry()
        stopping.join(TIMEOUT)

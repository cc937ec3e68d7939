"""Asynchronous bodies on real sockets: where they run, how they end, and that it is once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import ExitStack
from typing import Any

import pytest
from application_loops import loop_threads
from exchanges import newcomers
from live_bodies import Live, Tap, live_app
from live_servers import APPLICATION, POOL, Serve, ends, idle, live_of, live_servers, state_of
from rawclient import TIMEOUT, RawClient, request
from serving import both_loops

from wsgi_async.connection.exchange import Exchange
from wsgi_async.connection.observed import current_request_id
from wsgi_async.realtime.body import Body

MIB = 1 << 20
EVENTS = [("Content-Type", "text/event-stream")]

serve = pytest.fixture(live_servers)


@both_loops
def test_it_runs_on_the_application_loop_and_is_closed_in_the_pool(loop: str, serve: Serve) -> None:
    """In a copy of the request's Context, and in that itself."""
    tap = Tap()
    body = Live(tap.chunks(), tap.log)
    served = serve(live_app(lambda: body), loop=loop)
    tap.give(b"one ", b"two", None)
    with served.client() as client:
        response = client.get("/here")
        assert response.body == b"one two"
        assert body.closed.wait(TIMEOUT)
    assert tap.log == [
        f"began on {APPLICATION} in /here",
        f"finally on {APPLICATION} in /here",
        f"closed on {POOL} in /here",
    ]
    idle(served)
    assert ends(served) == {"ended": 1}
    assert loop_threads() == 1


def test_a_chunk_leaves_at_once_and_no_thread_is_held(serve: Serve) -> None:
    """Twenty wait for their second chunk, and one thread serves everybody else."""
    taps = [Tap() for _ in range(20)]
    made = iter(taps)

    def application(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return [b"plain"] if environ["PATH_INFO"] == "/plain" else Live(next(made).chunks())

    served = serve(application, threads=1)
    with ExitStack() as stack:
        clients = [stack.enter_context(served.client()) for _ in taps]
        for client in clients:
            client.send(request())
        for tap in taps:
            tap.give(b"first")
        for client in clients:
            assert b"first" in client.read_until(b"first")
        with served.client() as other:
            assert other.get("/plain").body == b"plain"
        served.wait_until(lambda: not served.pool.busy)
        assert len(live_of(served)) == 20
        for tap, client in zip(taps, clients, strict=True):
            tap.give(b"last", None)
            assert b"last" in client.read_until(b"0\r\n\r\n")
    idle(served)


@both_loops
def test_a_client_that_leaves_cancels_it_where_it_awaits(loop: str, serve: Serve) -> None:
    tap = Tap()
    body = Live(tap.chunks(), tap.log)
    served = serve(live_app(lambda: body), loop=loop)
    with served.client() as client:
        client.send(request())
        tap.give(b"first")
        client.read_until(b"first")
        client.reset()
    assert body.closed.wait(TIMEOUT)
    assert tap.log[1:] == [
        "cancelled",
        f"finally on {APPLICATION} in /",
        f"closed on {POOL} in /",
    ]
    idle(served)
    assert ends(served) == {"left": 1}
    assert served.recorder.of("app_error") == []


def test_before_its_first_chunk_too(serve: Serve) -> None:
    tap = Tap()
    body = Live(tap.chunks(), tap.log)
    served = serve(live_app(lambda: body))
    with served.client() as client:
        client.send(request())
        assert tap.begun.wait(TIMEOUT)
        client.reset()
    assert body.closed.wait(TIMEOUT)
    assert "cancelled" in tap.log
    idle(served)


def test_one_that_waits_for_its_client_is_closed_at_its_yield(serve: Serve) -> None:
    """It is suspended, not awaiting: GeneratorExit tells it, and its finally runs."""
    tap = Tap()
    body = Live(tap.chunks(), tap.log)
    served = serve(live_app(lambda: body), response_buffer=64 * 1024)
    tap.give(*[b"x" * MIB] * 40)
    with served.client(receive_buffer=4096) as client:
        client.send(request())
        served.wait_until(lambda: state_of(served) == "BEHIND")
        client.reset()
    assert body.closed.wait(TIMEOUT)
    assert tap.log[1:] == [
        "closed at a yield",
        f"finally on {APPLICATION} in /",
        f"closed on {POOL} in /",
    ]
    assert tap.asked < 20  # what kernel buffers take, and no more
    idle(served)


@both_loops
@pytest.mark.parametrize("overflow", ["spool", "park", "block"])
def test_a_slow_client_gets_it_all_and_little_waits(loop: str, overflow: str, serve: Serve) -> None:
    """Back-pressure is an await, whatever the overflow: nothing is on disk, no thread waits."""

    async def chunks() -> AsyncIterator[bytes]:
        for number in range(64):
            yield bytes([number]) * (MIB // 8)

    served = serve(
        live_app(lambda: Live(chunks())),
        loop=loop,
        threads=1,
        response_buffer=256 * 1024,
        response_overflow=overflow,
    )
    with served.client(receive_buffer=4096) as client:
        client.send(request())
        served.wait_until(lambda: state_of(served) == "BEHIND")
        assert not served.pool.busy
        body = client.response().body
    assert body == b"".join(bytes([number]) * (MIB // 8) for number in range(64))
    idle(served)
    assert served.budgets.memory.peak <= 256 * 1024
    assert served.budgets.disk.peak == 0


def test_where_a_view_has_written_to_disk_before_that_goes_first(serve: Serve) -> None:
    """The legacy write() may have spooled; the body waits until its client has taken that."""

    async def chunks() -> AsyncIterator[bytes]:
        yield b"the end"

    def application(environ: Any, start_response: Any) -> Any:
        write = start_response("200 OK", [])
        for _ in range(40):
            write(b"x" * (MIB // 4))
        return Live(chunks())

    served = serve(application, response_buffer=64 * 1024)
    with served.client(receive_buffer=4096) as client:
        client.send(request())
        served.wait_until(lambda: state_of(served) == "BEHIND")
        body = client.response().body
    assert body == b"x" * 10 * MIB + b"the end"
    idle(served)


# --- half-closed clients ------------------------------------------------------------------------


@both_loops
def test_a_fin_ends_an_event_stream_at_once(loop: str, serve: Serve) -> None:
    tap = Tap()
    body = Live(tap.chunks(), tap.log)
    served = serve(live_app(lambda: body, EVENTS), loop=loop)
    with served.client() as client:
        client.send(request())
        tap.give(b"data: 1\n\n")
        client.read_until(b"data: 1")
        client.half_close()
        assert body.closed.wait(TIMEOUT)
    idle(served)
    assert ends(served) == {"left": 1}


def test_also_where_it_came_with_the_request(serve: Serve) -> None:
    tap = Tap()
    body = Live(tap.chunks(), tap.log)
    gate = threading.Event()

    def application(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", EVENTS)
        gate.wait(TIMEOUT)
        return body

    served = serve(application)
    with served.client() as client:
        client.send(request())
        client.half_close()
        served.wait_until(
            lambda: any(one.has_ended_its_side for one in served.connections.open)  # type: ignore[attr-defined]
        )
        gate.set()
        assert body.closed.wait(TIMEOUT)
    idle(served)


def test_any_other_body_goes_on(serve: Serve) -> None:
    tap = Tap()
    served = serve(live_app(lambda: Live(tap.chunks())))
    with served.client() as client:
        client.send(request())
        tap.give(b"first")
        client.read_until(b"first")
        client.half_close()
        served.wait_until(
            lambda: any(one.has_ended_its_side for one in served.connections.open)  # type: ignore[attr-defined]
        )
        tap.give(b"last", None)
        assert b"last" in client.read_until(b"0\r\n\r\n")
    idle(served)


# --- heads --------------------------------------------------------------------------------------


def test_a_head_request_and_the_next_one_on_its_connection(serve: Serve) -> None:
    bodies = [Live(Tap().chunks()), Live(Tap().chunks())]
    made = iter(bodies)
    served = serve(live_app(lambda: next(made)))
    with served.client() as client:
        for body in bodies:
            client.send(request(method="HEAD"))
            assert client.response("HEAD").status == 200
            assert body.closed.wait(TIMEOUT)
    idle(served)
    assert loop_threads() == 0  # nobody was awaited


def test_a_promised_length_persists(serve: Serve) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"abc"
        yield b"def"

    served = serve(live_app(lambda: Live(chunks()), [("Content-Length", "6")]))
    with served.client() as client:
        assert client.get().body == b"abcdef"
        assert client.get().body == b"abcdef"
    idle(served)


def test_pipelined_bodies_come_in_their_order(serve: Serve) -> None:
    taps = [Tap(), Tap()]
    made = iter(taps)
    served = serve(live_app(lambda: Live(next(made).chunks())))
    taps[1].give(b"second", None)
    with served.client() as client:
        client.send(request() + request())
        taps[0].give(b"first", None)
        assert client.response().body == b"first"
        assert client.response().body == b"second"
    idle(served)


def test_with_http_1_0_it_ends_with_the_connection(serve: Serve) -> None:
    tap = Tap()
    served = serve(live_app(lambda: Live(tap.chunks())))
    tap.give(b"one", b"two", None)
    with served.client() as client:
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        assert client.response().body == b"onetwo"
    idle(served)


def test_over_tls(serve: Serve) -> None:
    tap = Tap()
    served = serve(live_app(lambda: Live(tap.chunks())), tls=True)
    with served.client() as client:
        client.send(request())
        tap.give(b"first")
        client.read_until(b"first")
        tap.give(b"last", None)
        client.read_until(b"last")
    idle(served)


def test_nothing_is_left_to_the_collector(serve: Serve) -> None:
    """However they end: ten thousand of them are freed one by one."""
    taps = [Tap() for _ in range(4)]
    bodies = [Live(tap.chunks()) for tap in taps]
    made = iter(bodies)
    served = serve(live_app(lambda: next(made)))
    taps[0].give(b"x", None)
    taps[1].give(b"x", ValueError("x"))
    taps[2].give(ValueError("x"))
    with newcomers(Body, Exchange) as left:
        for tap, body in zip(taps, bodies, strict=True):
            with served.client() as client:
                client.send(request())
                if tap is taps[-1]:
                    assert tap.begun.wait(TIMEOUT)
                    client.reset()
                else:
                    client.read_to_end() if tap is taps[1] else client.read_until(b"\r\n\r\n")
            assert body.closed.wait(TIMEOUT)
        idle(served)
        served.recorder.forget()
        # What either loop was told last may still refer to one.
        served.wait_until(lambda: not left())


# --- a bound ------------------------------------------------------------------------------------


def test_beyond_max_live_it_is_a_503_and_closed(serve: Serve) -> None:
    taps = [Tap() for _ in range(3)]
    bodies = [Live(tap.chunks()) for tap in taps]
    made = iter(bodies)
    served = serve(live_app(lambda: next(made)), max_live=1)
    with served.client() as first, served.client() as second:
        first.send(request())
        assert taps[0].begun.wait(TIMEOUT)
        response = second.get()
        assert response.status == 503
        assert int(response.fields["retry-after"]) >= 1
        assert bodies[1].closed.wait(TIMEOUT)
        assert not taps[1].begun.is_set()
        [(_, status, detail)] = served.recorder.wait_for("request_refused")
        assert (status, detail) == (503, "Too many live responses")
        taps[0].give(None)
        assert first.response().status == 200
        served.wait_until(lambda: not len(live_of(served)))
        taps[2].give(b"again", None)
        assert second.get().body == b"again"
    idle(served)


def test_one_that_never_waits_lets_others_have_their_turn(serve: Serve) -> None:
    """It yields without end to a client that reads: others are awaited all the same."""
    tap = Tap()

    async def without_end() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 100

    def application(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return Live(without_end() if environ["PATH_INFO"] == "/greedy" else tap.chunks())

    served = serve(application)
    stop = threading.Event()

    def read(client: RawClient) -> None:
        while not stop.is_set():
            client.socket.recv(1 << 16)

    with served.client() as greedy, served.client() as other:
        greedy.send(request("/greedy"))
        reader = threading.Thread(target=read, args=(greedy,))
        reader.start()
        try:
            tap.give(b"one", b"two", None)
            assert other.get().body == b"onetwo"
        finally:
            stop.set()
            reader.join(TIMEOUT)
    idle(served)


def test_what_it_logs_has_the_id_of_its_request(serve: Serve) -> None:
    seen: list[str] = []

    async def chunks() -> AsyncIterator[bytes]:
        seen.append(current_request_id())
        await asyncio.sleep(0)
        seen.append(current_request_id())
        yield b"x"

    served = serve(live_app(lambda: Live(chunks())))
    with served.client() as client:
        assert client.get().body == b"x"
    [(info, _)] = served.recorder.wait_for("request_finished")
    assert seen == [info.id] * 2
    idle(served)

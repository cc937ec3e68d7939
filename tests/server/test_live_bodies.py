"""Asynchronous bodies on real sockets: where they run, how they end, and that it is once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from typing import Any

import h11
import pytest
from application_loops import ending_with_the_test, loop_threads
from live_bodies import Live, Tap, live_app
from rawclient import TIMEOUT, RawClient, request
from serving import Served, both_loops, serving

MIB = 1 << 20
POOL, APPLICATION = "wsgi_async-", "wsgi_async-application"
EVENTS = [("Content-Type", "text/event-stream")]

Serve = Callable[..., Served]


@pytest.fixture
def serve() -> Iterator[Serve]:
    with ending_with_the_test(), ExitStack() as stack:

        def start(application: Any, **options: Any) -> Served:
            return stack.enter_context(serving(application, **options))

        yield start


def live_of(served: Served) -> Any:
    running = served.server._running
    assert running is not None
    return running.live


def ends(served: Served) -> dict[str, int]:
    return {end.value: count for end, count in live_of(served).bodies.ends.items() if count}


def idle(served: Served) -> None:
    """Nothing is held for anybody, bodies included."""
    served.wait_until(lambda: not len(live_of(served)), "a body is left")
    served.wait_until_idle()


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
        served.wait_until(lambda: _state(served) == "BEHIND")
        asked = tap.asked
        assert asked < 20  # what kernel buffers take, and no more
        client.reset()
    assert body.closed.wait(TIMEOUT)
    assert tap.log[1:] == [
        "closed at a yield",
        f"finally on {APPLICATION} in /",
        f"closed on {POOL} in /",
    ]
    assert tap.asked == asked
    idle(served)


def _state(served: Served) -> str:
    bodies = live_of(served).bodies
    return next((body.state.name for body in bodies._all()), "") if bodies else ""


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
        served.wait_until(lambda: _state(served) == "BEHIND")
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
        served.wait_until(lambda: _state(served) == "BEHIND")
        body = client.response().body
    assert body == b"x" * 10 * MIB + b"the end"
    idle(served)


# --- errors -------------------------------------------------------------------------------------


def test_an_error_before_the_first_chunk_is_a_500_with_its_traceback(serve: Serve) -> None:
    tap = Tap()
    body = Live(tap.chunks(), tap.log)
    served = serve(live_app(lambda: body))
    tap.give(ValueError("broken"))
    with served.client() as client:
        assert client.get().status == 500
    [(info, message, error)] = served.recorder.wait_for("app_error")
    assert (info.target, message, repr(error)) == (
        "/",
        "the application raised",
        "ValueError('broken')",
    )
    assert body.closed.wait(TIMEOUT)
    idle(served)
    assert ends(served) == {"error": 1}


@pytest.mark.parametrize(
    "error",
    [ValueError("broken"), SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError(), "text"],
    ids=repr,
)
def test_an_error_later_is_a_cut_and_costs_nobody_else_anything(error: Any, serve: Serve) -> None:
    """Also what ends programs, and one that cancels itself."""
    taps = [Tap(), Tap()]
    made = iter(taps)
    served = serve(live_app(lambda: Live(next(made).chunks())))
    taps[0].give(b"first", error)
    taps[1].give(b"whole", None)
    with served.client() as client, pytest.raises(h11.RemoteProtocolError):
        client.get()
    [(_, _, raised)] = served.recorder.wait_for("app_error")
    assert isinstance(raised, AssertionError if error == "text" else type(error))
    with served.client() as client:
        assert client.get().body == b"whole"
    idle(served)


def test_what_its_end_raises_is_told_and_it_is_closed_all_the_same(serve: Serve) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        try:
            yield b"first"
            await asyncio.sleep(TIMEOUT)
        finally:
            raise ValueError("at its end")

    body = Live(chunks())
    served = serve(live_app(lambda: body))
    with served.client() as client:
        client.send(request())
        client.read_until(b"first")
        client.reset()
    [(_, message, error)] = served.recorder.wait_for("app_error")
    assert message == "the application raised as its body was cancelled"
    assert repr(error) == "ValueError('at its end')"
    assert body.closed.wait(TIMEOUT)
    idle(served)


def test_one_that_catches_its_cancellation_is_closed_at_its_next_yield(serve: Serve) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"first"
        while True:
            try:
                await asyncio.sleep(TIMEOUT)
            except asyncio.CancelledError:
                yield b"not with me"

    body = Live(chunks())
    served = serve(live_app(lambda: body))
    with served.client() as client:
        client.send(request())
        client.read_until(b"first")
        client.reset()
    assert body.closed.wait(TIMEOUT)
    idle(served)


def test_inner_generators_are_closed_by_whoever_iterates_them(serve: Serve) -> None:
    """What is suspended deep inside is told by the cancellation, from within."""
    log: list[str] = []

    async def inner() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"tick"
                await asyncio.sleep(0.001)
        finally:
            log.append("inner")

    async def outer() -> AsyncIterator[bytes]:
        try:
            async for chunk in inner():
                yield chunk
        finally:
            log.append("outer")

    body = Live(outer())
    served = serve(live_app(lambda: body))
    with served.client() as client:
        client.send(request())
        client.read_until(b"tick")
        client.reset()
    assert body.closed.wait(TIMEOUT)
    idle(served)
    assert "outer" in log


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

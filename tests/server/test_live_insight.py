"""What an operator sees of asynchronous bodies, and what he can do about one."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from live_bodies import Live, Tap, live_app
from live_servers import Serve, bodies_of, ends, idle, live_of, live_servers
from rawclient import TIMEOUT, request
from serving import Served
from timed import Timed

from wsgi_async.operations.counting import CountingObserver
from wsgi_async.scoreboard import table
from wsgi_async.scoreboard.board import Scoreboard
from wsgi_async.server import in_flight
from wsgi_async.server.figures import Figures
from wsgi_async.server.insight import Insight, LoopStanding

serve = pytest.fixture(live_servers)


def insight_of(served: Served) -> Insight:
    running = served.server._running
    assert running is not None
    return running.insight


async def awaits_deep_inside(gate: asyncio.Event) -> None:
    await gate.wait()


async def inner(gate: asyncio.Event) -> AsyncIterator[bytes]:
    yield b"first"
    await awaits_deep_inside(gate)


async def outer() -> AsyncIterator[bytes]:
    async for chunk in inner(asyncio.Event()):
        yield chunk


def test_it_is_live_without_a_thread_and_with_the_stack_of_what_it_awaits(serve: Serve) -> None:
    """Through generators within generators, down to the coroutine that waits."""
    body = Live(outer())
    served = serve(live_app(lambda: body))
    with served.client() as client:
        client.send(request("/where"))
        client.read_until(b"first")
        insight = insight_of(served)
        look = insight.look()
        [entry] = look.table.entries
        assert (entry.state, entry.thread, entry.target) == ("live", None, "/where")
        assert look.table.counts["live"] == 1
        [stack] = insight.stacks(look.table.entries)
        assert stack is not None
        calls = [line.rpartition(" in ")[2] for line in stack if line.startswith("File")]
        assert calls[:3] == ["outer", "inner", "awaits_deep_inside"]
        assert "  await gate.wait()" in stack
        lines = served.thread.run(_describe(served))
        assert "1 live" in lines[0]
        assert any("awaits_deep_inside" in line for line in lines)
        client.reset()
    assert body.closed.wait(TIMEOUT)
    idle(served)


async def _figures(served: Served) -> Figures:
    figures = served.server.figures()
    assert figures is not None
    return figures


async def _describe(served: Served) -> list[str]:
    return served.server.describe_in_flight()


def test_an_operator_breaks_one_off(serve: Serve) -> None:
    """Its client is answered, its body cancelled and closed."""
    tap = Tap()
    body = Live(tap.chunks(), tap.log)
    served = serve(live_app(lambda: body))
    with served.client() as client:
        client.send(request())
        assert tap.begun.wait(TIMEOUT)
        insight = insight_of(served)
        [entry] = insight.look().table.entries
        outcome = insight.interrupt(entry.id)
        assert (outcome.is_found, outcome.has_worked) == (True, True)
        assert client.response().status == 504
    assert body.closed.wait(TIMEOUT)
    assert "cancelled" in tap.log
    idle(served)
    assert ends(served) == {"timeout": 1}


def test_those_that_are_meant_to_be_old_hide_none_that_is_not(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thousands may be live where one hangs."""
    monkeypatch.setattr(in_flight, "MOST", 3)
    hangs, go_on = threading.Event(), threading.Event()
    taps = [Tap() for _ in range(4)]
    made = iter([Live(tap.chunks()) for tap in taps])

    def application(environ: Any, start_response: Any) -> Any:
        if environ["PATH_INFO"] == "/hangs":
            hangs.set()
            go_on.wait(TIMEOUT)
        start_response("200 OK", [])
        return [] if hangs.is_set() else next(made)

    served = serve(application)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(served.client()) for _ in range(5)]
        for number, (client, tap) in enumerate(zip(clients, taps, strict=False)):
            client.send(request(f"/{number}"))
            assert tap.begun.wait(TIMEOUT)
        clients[4].send(request("/hangs"))
        assert hangs.wait(TIMEOUT)
        found = insight_of(served).look().table
        assert [entry.state for entry in found.entries] == ["running", "live", "live"]
        assert found.entries[0].target == "/hangs"
        assert found.more == 2
        go_on.set()
        for client in clients:
            client.reset()
    idle(served)


def test_a_stack_of_what_is_suspended_at_its_client(serve: Serve) -> None:
    tap = Tap()
    body = Live(tap.chunks())
    served = serve(live_app(lambda: body), response_buffer=64 * 1024)
    tap.give(*[b"x" * (1 << 20)] * 20)
    with served.client(receive_buffer=4096) as client:
        client.send(request())
        served.wait_until(lambda: "BEHIND" in [one.state.name for one in live_bodies(served)])
        [entry] = insight_of(served).look().table.entries
        assert entry.state == "live"
        client.reset()
    assert body.closed.wait(TIMEOUT)
    idle(served)


def live_bodies(served: Served) -> list[Any]:
    return [] if live_of(served).bodies is None else bodies_of(served)._all()


def test_what_blocks_the_application_loop(serve: Serve) -> None:
    """Also the requests of others are there to see meanwhile."""
    go_on = threading.Event()

    async def blocks() -> AsyncIterator[bytes]:
        hogs(go_on)
        yield b"x"

    served = serve(live_app(lambda: Live(blocks())))
    insight = insight_of(served)
    assert insight.look().application_loop_stack is None
    with served.client() as client:
        client.send(request())
        served.wait_until(lambda: insight.look().application_loop_stack is not None)
        look = insight.look()
        stack = look.application_loop_stack
        assert stack is not None
        assert any("in hogs" in line for line in stack)
        assert look.loop is LoopStanding.RUNS
        assert [entry.state for entry in look.table.entries] == ["live"]
        go_on.set()
        assert client.response().body == b"x"
        served.wait_until(lambda: insight.look().application_loop_stack is None)
    idle(served)


def hogs(go_on: threading.Event) -> None:
    go_on.wait(TIMEOUT)


def test_how_long_one_lasts_is_not_how_fast_the_server_is(serve: Serve) -> None:
    """Else the percentiles of a site with event streams would be those of its visits."""
    tap, timed, board = Tap(), Timed(), Scoreboard()
    served = serve(
        live_app(lambda: Live(tap.chunks())),
        observers=[timed, CountingObserver(board.area(0))],
    )
    with served.client() as client:
        client.send(request())
        tap.give(b"first")
        client.read_until(b"first")
        here = time.monotonic()
        served.wait_until(lambda: time.monotonic() > here + 0.05)
        tap.give(None)
        client.read_until(b"0\r\n\r\n")
    idle(served)
    served.wait_until(lambda: timed.ended)
    [response] = timed.ended
    assert response.was_live
    assert response.first is not None
    assert 0 < response.latency <= response.duration - 0.05
    assert board.read().histogram(table.DURATION).sum == pytest.approx(response.latency, abs=1e-6)


def test_they_are_counted(serve: Serve) -> None:
    """How many there are, and how each has ended; what is not sampled is not lost."""
    taps = [Tap() for _ in range(3)]
    made = iter([Live(tap.chunks()) for tap in taps])
    served = serve(live_app(lambda: next(made)))
    board = Scoreboard()
    observer = CountingObserver(board.area(0))
    taps[0].give(b"x", None)
    taps[1].give(ValueError("x"))
    with served.client() as client:
        assert client.get().status == 200
        assert client.get().status == 500
    with served.client() as client:
        client.send(request())
        assert taps[2].begun.wait(TIMEOUT)
        served.wait_until(lambda: len(live_of(served)) == 1)
        figures = served.thread.run(_figures(served))
        assert figures.vitals.application_loop is not None
        assert figures.vitals.application_loop.live == 1
        observer.sample(figures)
        client.reset()
    idle(served)
    observer.sample(served.thread.run(_figures(served)))
    reading = board.read()
    assert {end: reading.count(table.LIVE_ENDED, end) for end in table.LIVE_ENDS} == {
        "ended": 1,
        "error": 1,
        "left": 1,
        "timeout": 0,
        "stopped": 0,
    }

"""Asynchronous bodies that fail, on real sockets: what their clients and the log are told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import h11
import pytest
from live_bodies import Live, Tap, live_app
from live_servers import Serve, ends, idle, left_after, live_servers
from rawclient import TIMEOUT

serve = pytest.fixture(live_servers)


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
    [ValueError, SystemExit, KeyboardInterrupt, asyncio.CancelledError, str],
)
def test_an_error_later_is_a_cut_and_costs_nobody_else_anything(
    error: type[Any], serve: Serve
) -> None:
    """Also what ends programs, and one that cancels itself."""
    taps = [Tap(), Tap()]
    made = iter(taps)
    served = serve(live_app(lambda: Live(next(made).chunks())))
    taps[0].give(b"first", error("broken"))
    taps[1].give(b"whole", None)
    with served.client() as client, pytest.raises(h11.RemoteProtocolError):
        client.get()
    [(_, _, raised)] = served.recorder.wait_for("app_error")
    assert isinstance(raised, AssertionError if error is str else error)
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
    served = left_after(b"first", body, serve)
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
    served = left_after(b"first", body, serve)
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
    served = left_after(b"tick", body, serve)
    assert body.closed.wait(TIMEOUT)
    idle(served)
    assert "outer" in log

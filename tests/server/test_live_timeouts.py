"""Asynchronous bodies that are late, or do not end: by the clock of a test, and by a real one."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import h11
import pytest
from live_bodies import Live, Tap, live_app
from live_servers import Serve, bodies_of, ends, idle, left_after, live_of, live_servers, state_of
from rawclient import TIMEOUT, request
from serving import Served

from wsgi_async.realtime import bodies as bodies_module
from wsgi_async.realtime.body import Body

serve = pytest.fixture(live_servers)


def swept(served: Served, seconds: float) -> None:
    """*Test:* look at all bodies as if so many more seconds had passed."""

    async def sweep() -> None:
        bodies = bodies_of(served)
        bodies._swept_at = -1e9
        bodies.sweep(served.thread.loop.time() + seconds)

    served.thread.run(sweep())


def test_until_the_first_chunk_the_request_timeout_counts(serve: Serve) -> None:
    tap = Tap()
    body = Live(tap.chunks(), tap.log)
    served = serve(live_app(lambda: body), request_timeout=30, live_timeout=0)
    with served.client() as client:
        client.send(request())
        assert tap.begun.wait(TIMEOUT)
        swept(served, 29)
        assert len(live_of(served)) == 1
        swept(served, 31)
        assert client.response().status == 504
    assert body.closed.wait(TIMEOUT)
    assert "cancelled" in tap.log
    idle(served)
    assert ends(served) == {"timeout": 1}
    [(report,)] = served.recorder.of("report")
    assert "has produced nothing for 3" in report
    assert "in _chunks" in report
    assert served.recorder.of("app_error") == []


def test_between_chunks_the_live_timeout(serve: Serve) -> None:
    """Each chunk begins it anew; then its response is cut."""
    tap = Tap()
    body = Live(tap.chunks(), tap.log)
    served = serve(live_app(lambda: body), request_timeout=5, live_timeout=30)
    with served.client() as client:
        client.send(request())
        for chunk in (b"one", b"two"):
            tap.give(chunk)
            client.read_until(chunk)
            swept(served, 0)
            swept(served, 29)
        swept(served, 31)
        with pytest.raises((h11.RemoteProtocolError, ConnectionError)):
            client.response()
    assert body.closed.wait(TIMEOUT)
    idle(served)
    assert ends(served) == {"timeout": 1}


def test_not_while_its_client_is_awaited(serve: Serve) -> None:
    tap = Tap()
    served = serve(live_app(lambda: Live(tap.chunks())), live_timeout=30, response_buffer=64 * 1024)
    tap.give(*[b"x" * (1 << 20)] * 8, None)
    with served.client(receive_buffer=4096) as client:
        client.send(request())
        served.wait_until(lambda: state_of(served) == "BEHIND")
        for seconds in (20, 40, 60, 80):
            swept(served, seconds)
        assert client.response().body == b"x" * (8 << 20)
    idle(served)
    assert ends(served) == {"ended": 1}


def test_nor_without_a_limit(serve: Serve) -> None:
    """One that yields nothing for an hour is as good as any other."""
    tap = Tap()
    served = serve(live_app(lambda: Live(tap.chunks())))
    with served.client() as client:
        client.send(request())
        assert tap.begun.wait(TIMEOUT)
        swept(served, 3600)
        tap.give(b"late", None)
        assert client.response().body == b"late"
    idle(served)


def test_by_a_real_clock(serve: Serve) -> None:
    """The server itself looks, without being told."""
    tap = Tap()
    body = Live(tap.chunks())
    served = serve(live_app(lambda: body), live_timeout=0.2)
    with served.client() as client:
        client.send(request())
        tap.give(b"first")
        client.read_until(b"first")
        began = time.monotonic()
        with contextlib.suppress(ConnectionError):
            client.read_to_end()
        assert time.monotonic() - began >= 0.15
    assert body.closed.wait(TIMEOUT)
    idle(served)
    assert ends(served) == {"timeout": 1}


def test_one_that_ignores_its_cancellation_is_cancelled_again_and_told_of_once(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies_module, "CANCEL_EVERY", 0.0)
    cancelled: list[float] = []

    async def chunks() -> AsyncIterator[bytes]:
        yield b"first"
        while len(cancelled) < 3:
            try:
                await asyncio.sleep(TIMEOUT)
            except asyncio.CancelledError:
                cancelled.append(time.monotonic())

    body = Live(chunks())
    served = left_after(b"first", body, serve)
    served.wait_until(lambda: bodies_of(served)._all() == [] or _insist(served))
    assert body.closed.wait(TIMEOUT)
    idle(served)
    assert len(cancelled) == 3
    assert ends(served) == {"left": 1}
    assert bodies_of(served).stubborn == 1
    [(report,)] = served.recorder.of("report")
    assert "after it was cancelled; it awaits" in report


def _insist(served: Served) -> bool:
    """*Loop.*"""
    bodies = live_of(served).bodies
    if bodies is not None:
        bodies._swept_at = -1e9
        bodies.sweep(served.thread.loop.time())
    return False


def test_what_a_finally_awaits_is_not_broken_off_at_once(serve: Serve) -> None:
    """A body that is cancelled may take its time to clean up."""
    log: list[str] = []

    async def chunks() -> AsyncIterator[bytes]:
        try:
            yield b"first"
            await asyncio.sleep(TIMEOUT)
        finally:
            await asyncio.sleep(0.1)
            log.append("cleaned up")

    body = Live(chunks())
    served = left_after(b"first", body, serve)
    swept(served, 5)
    assert body.closed.wait(TIMEOUT)
    assert log == ["cleaned up"]
    idle(served)


def test_one_that_could_not_begin_does_so_later(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The application loop may have no memory for its task for a while."""
    monkeypatch.setattr(bodies_module, "CANCEL_EVERY", 0.0)
    tap = Tap()
    tap.give(b"late", None)
    start = Body._start
    failures = iter([True])

    def fail_once(body: Body) -> None:
        if not next(failures, False):
            start(body)

    monkeypatch.setattr(Body, "_start", fail_once)
    served = serve(live_app(lambda: Live(tap.chunks())))
    with served.client() as client:
        client.send(request())
        served.wait_until(lambda: tap.begun.is_set() or _insist(served))
        assert client.response().body == b"late"
    idle(served)


def test_of_many_that_are_late_at_once_a_few_are_told_with_their_stacks(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies_module, "TOLD_AT_ONCE", 2)
    taps = [Tap() for _ in range(5)]
    made = iter([Live(tap.chunks()) for tap in taps])
    served = serve(live_app(lambda: next(made)), request_timeout=30)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(served.client()) for _ in taps]
        for client in clients:
            client.send(request())
        for tap in taps:
            assert tap.begun.wait(TIMEOUT)
        swept(served, 31)
        assert [client.response().status for client in clients] == [504] * 5
    idle(served)
    assert ends(served) == {"timeout": 5}
    assert len(served.recorder.of("report")) == 2
    assert ("so it is with 3 more asynchronous bodies",) in served.recorder.of("warning")

"""Asynchronous bodies and clients at their worst, on real sockets: nobody else has to bear it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from live_bodies import Live, live_app
from live_servers import Serve, bodies_of, ends, idle, live_of, live_servers, state_of
from rawclient import TIMEOUT, request
from serving import Served

from wsgi_async.realtime import bodies as bodies_module

MIB = 1 << 20

serve = pytest.fixture(live_servers)


def look(served: Served) -> None:
    """*Test:* look at all bodies now."""

    async def sweep() -> None:
        bodies = bodies_of(served)
        bodies._swept_at = -1e9
        bodies.sweep(served.thread.loop.time())

    served.thread.run(sweep())


@pytest.mark.parametrize("overflow", ["spool", "block", "park"])
def test_one_giant_chunk_of_the_promised_length_holds_up_nobody(
    overflow: str, serve: Serve
) -> None:
    """To a client that does not read it: there is nothing to suspend any more at such a chunk."""
    size = 16 * MIB

    async def chunks() -> AsyncIterator[bytes]:
        yield b"x" * size

    served = serve(
        live_app(lambda: Live(chunks()), [("Content-Length", str(size))]),
        response_buffer=64 * 1024,
        response_overflow=overflow,
    )
    with served.client(receive_buffer=4096) as client:
        client.send(request())
        served.wait_until(
            lambda: ends(served) == {"ended": 1} if len(live_of(served).ends) else False,
            "the loop waits for the client",
        )
        assert client.response().body == b"x" * size
    idle(served)


class Clinging:
    """An iterator whose ``aclose()`` does not come to an end, unless it is cancelled."""

    def __init__(self, *chunks: bytes) -> None:
        self.chunks = list(chunks)

    def __aiter__(self) -> Clinging:
        return self

    async def __anext__(self) -> bytes:
        if not self.chunks:
            raise StopAsyncIteration
        return self.chunks.pop(0)

    async def aclose(self) -> None:
        await asyncio.sleep(100 * TIMEOUT)


def test_one_that_is_over_and_does_not_let_itself_be_closed_is_cancelled(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies_module, "CANCEL_EVERY", 0.0)
    body = Live(Clinging(b"all"))
    served = serve(live_app(lambda: body))
    with served.client() as client:
        assert client.get().body == b"all"
    served.wait_until(lambda: state_of(served) == "ENDING")
    look(served)
    assert body.closed.wait(TIMEOUT)
    idle(served)
    assert ends(served) == {"ended": 1}
    [(report,)] = served.recorder.of("report")
    assert "after its last chunk; it awaits" in report


def test_nor_does_it_hold_up_the_end_of_the_server(serve: Serve) -> None:
    body = Live(Clinging(b"all"))
    served = serve(live_app(lambda: body), graceful_timeout=0.2)
    with served.client() as client:
        assert client.get().body == b"all"
    served.wait_until(lambda: state_of(served) == "ENDING")
    assert served.thread.run(served.server.stop()) == 0
    assert body.closed.is_set()


def test_a_request_body_that_is_still_to_come_is_waited_for_by_no_loop(serve: Serve) -> None:
    """It reads what is here; for the rest it is told what to write, which works."""
    raised: list[str] = []

    def application(environ: Any, start_response: Any) -> Any:
        read = environ["wsgi.input"].read

        async def chunks() -> AsyncIterator[bytes]:
            yield read(5)
            try:
                read(5)
            except RuntimeError as error:
                raised.append(str(error))
            yield b" and "
            yield await asyncio.to_thread(read)

        start_response("200 OK", [])
        return Live(chunks())

    served = serve(application, request_buffering="stream")
    with served.client() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\n12345")
        client.read_until(b" and ")
        client.send(b"67890")
        assert client.read_until(b"0\r\n\r\n").count(b"67890") == 1
    idle(served)
    assert "asyncio.to_thread" in raised[0]

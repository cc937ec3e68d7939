"""Asynchronous bodies and clients at their worst, on real sockets: nobody else has to bear it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from typing import Any
from urllib.parse import quote_plus, unquote_plus

import pytest
from live_bodies import Live, Tap, live_app
from live_servers import Serve, bodies_of, ends, idle, live_of, live_servers, state_of
from rawclient import TIMEOUT, request
from serving import Served, both_loops

import wsgi_async
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
    size = 4 * MIB

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


# --- whatever a body does


class Steps:
    """An asynchronous iterator that is no generator: each step is what a function returns."""

    def __init__(self, step: Callable[[int], Awaitable[bytes]]) -> None:
        self._step = step
        self._asked = 0

    def __aiter__(self) -> Steps:
        return self

    def __anext__(self) -> Awaitable[bytes]:
        self._asked += 1
        return self._step(self._asked)


class Raising:
    """Something that is awaited, and raises at once, in no frame of a coroutine."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __await__(self) -> Generator[None, None, bytes]:
        raise self._error
        yield


async def letter(number: int) -> bytes:
    return b"a"


def raising(error: type[BaseException]) -> Callable[[], Any]:
    """Its second step does."""
    return lambda: Steps(lambda number: letter(1) if number == 1 else Raising(error()))


def doing(something: Callable[[], object]) -> Callable[[], Any]:
    """A generator that does this between two chunks, and awaits what that returns."""

    async def chunks() -> AsyncIterator[bytes]:
        yield b"a"
        result = something()
        if asyncio.isfuture(result) or asyncio.iscoroutine(result):
            await result
        await asyncio.sleep(0)
        yield b"b"

    return chunks


def cancel_itself() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()


def recurse() -> None:
    recurse()


async def of_another_loop() -> None:
    loop = asyncio.new_event_loop()
    try:
        await loop.create_future()
    finally:
        loop.close()


async def twice() -> AsyncIterator[bytes]:
    """Iterates another one from two places."""
    inner = doing(lambda: None)()
    yield await anext(inner)
    other = asyncio.ensure_future(anext(inner))
    await asyncio.sleep(0)
    try:
        yield await anext(inner)
    finally:
        await asyncio.gather(other, return_exceptions=True)
        await inner.aclose()


CUT: dict[str, Callable[[], Any]] = {
    "StopIteration": raising(StopIteration),
    "GeneratorExit": raising(GeneratorExit),
    "SystemExit": raising(SystemExit),
    "MemoryError": raising(MemoryError),
    "no awaitable": lambda: Steps(lambda number: letter(1) if number == 1 else None),  # type: ignore[arg-type,return-value]
    "cancels itself": doing(cancel_itself),
    "recurses": doing(recurse),
    "of another loop": doing(of_another_loop),
    "run in it": doing(lambda: wsgi_async.run(letter(1))),
    "from two places": twice,
}


def test_what_a_body_raises_costs_its_own_response_alone(serve: Serve) -> None:
    """Nor does it cost the loop, on which another one goes on."""
    bodies: list[Live] = []

    def application(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        if environ["PATH_INFO"] == "/tap":
            return Live(tap.chunks())
        bodies.append(Live(CUT[unquote_plus(environ["QUERY_STRING"])]()))
        return bodies[-1]

    tap = Tap()
    served = serve(application)
    with served.client() as beside:
        beside.send(request("/tap"))
        for count, name in enumerate(CUT, 1):
            with served.client() as client:
                client.send(request(f"/?{quote_plus(name)}"))
                received = client.read_to_end()
            assert received.endswith(b"1\r\na\r\n"), name  # and no last chunk
            assert len(served.recorder.wait_for("app_error", count)) == count, name
        tap.give(b"whole", None)
        assert beside.response().body == b"whole"
    idle(served)
    assert all(body.closed.is_set() for body in bodies)
    assert ends(served) == {"error": len(CUT), "ended": 1}


def test_one_that_stops_the_loop_does_not(serve: Serve) -> None:
    served = serve(live_app(lambda: Live(doing(lambda: asyncio.get_running_loop().stop())())))
    with served.client() as client:
        assert client.get().body == b"ab"
    idle(served)


# --- whenever a client leaves


@both_loops
@pytest.mark.parametrize("fields", [None, [("Content-Type", "text/event-stream")]])
def test_a_client_that_resets_at_every_point_leaves_nothing(
    loop: str, fields: Any, serve: Serve
) -> None:
    """Of its request, and of the response."""
    bodies: list[Live] = []

    async def chunks() -> AsyncIterator[bytes]:
        for number in range(4):
            yield b"data: %d\n\n" % number
            if number % 2:
                await asyncio.sleep(0)

    def make() -> Live:
        bodies.append(Live(chunks()))
        return bodies[-1]

    served = serve(live_app(make, fields), loop=loop)
    with served.client() as client:
        client.send(request())
        whole = client.read_until(b"3\n\n")
    for count in range(0, len(whole) - 8, 4):  # one with fewer chunks of HTTP is shorter
        with served.client() as client:
            client.send(request() * (1 + count % 2))
            left = count
            while left:
                left -= len(client.socket.recv(left))
            client.reset()
    for count in range(0, 2 * len(request()), 5):
        with served.client() as client:
            client.send((2 * request())[:count])
            client.reset()
    idle(served)
    assert all(body.closed.is_set() for body in bodies)
    assert served.recorder.of("app_error") == []
    assert sum(ends(served).values()) == len(bodies)

"""``wsgi_async.client`` of responses whose bodies are asynchronous: no thread is there to ask."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from live_bodies import Live
from live_servers import APPLICATION, POOL, Serve, idle, live_servers
from rawclient import TIMEOUT, RawClient, request
from serving import both_loops

from wsgi_async.wsgi.client import Client, current_client

serve = pytest.fixture(live_servers)

LEAVES = {
    "closes": RawClient.close,
    "half-closes": RawClient.half_close,
    "resets": RawClient.reset,
}


class App:
    """A body that waits for what a test says, registered by its view and by itself."""

    def __init__(self, kind: str = "text/plain") -> None:
        self.kind = kind
        self.clients: list[Client] = []
        self.told: list[tuple[str, str]] = []
        self.event = threading.Event()
        self.goes_on = threading.Event()
        self.body: Live | None = None

    def __call__(self, environ: Any, start_response: Any) -> Live:
        self.clients.append(environ["wsgi_async.client"])
        self.clients[0].on_gone(lambda: self.tell("by the view"))
        start_response("200 OK", [("Content-Type", self.kind)])
        self.body = Live(self.chunks())
        return self.body

    def tell(self, who: str) -> None:
        self.told.append((who, threading.current_thread().name))
        if len(self.told) == 2:
            self.event.set()

    async def chunks(self) -> AsyncIterator[bytes]:
        assert current_client() is None  # its request has no thread
        client = self.clients[0]
        assert not client.gone
        client.on_gone(lambda: self.tell("by the body"))
        yield b"first"
        while not self.goes_on.is_set():
            await _moment()
        yield b"last"


async def _moment() -> None:
    import asyncio

    await asyncio.sleep(0.005)


@both_loops
@pytest.mark.parametrize("leave", LEAVES.values(), ids=LEAVES)
@pytest.mark.parametrize("kind", ["text/plain", "text/event-stream"])
def test_all_that_registered_are_told_on_a_pool_thread(
    loop: str, leave: Callable[[RawClient], None], kind: str, serve: Serve
) -> None:
    """Of those who half-close, only who takes events is not answered to the end."""
    app = App(kind)
    served = serve(app, loop=loop, threads=1)
    with served.client() as client:
        client.send(request())
        client.read_until(b"first")
        assert (app.clients[0].gone, app.told) == (False, [])
        leave(client)
        assert app.event.wait(TIMEOUT)
        assert app.clients[0].gone
        assert sorted(who for who, _ in app.told) == ["by the body", "by the view"]
        for _, name in app.told:
            assert name.startswith(POOL)
            assert not name.startswith(APPLICATION)
        app.goes_on.set()
        if leave is RawClient.half_close and kind == "text/plain":
            client.read_until(b"last")
        idle(served)
    assert app.body is not None
    assert app.body.closed.wait(TIMEOUT)
    assert len(app.told) == 2


def test_none_is_told_of_a_response_that_ends(serve: Serve) -> None:
    app = App()
    app.goes_on.set()
    served = serve(app, threads=1)
    with served.client() as client:
        assert client.get().body == b"firstlast"
        assert not app.clients[0].wait(TIMEOUT)
    idle(served)
    assert (app.told, app.clients[0].gone) == ([], False)


def test_a_thread_of_the_applications_own_may_wait(serve: Serve) -> None:
    app = App()
    served = serve(app, threads=1)
    results: list[bool] = []
    with served.client() as client:
        client.send(request())
        client.read_until(b"first")
        waiting = threading.Thread(target=lambda: results.append(app.clients[0].wait(TIMEOUT)))
        waiting.start()
        client.close()
        waiting.join(TIMEOUT)
        assert results == [True]
    app.goes_on.set()
    idle(served)

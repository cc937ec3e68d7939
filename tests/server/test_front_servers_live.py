"""Asynchronous bodies behind front servers: events as they come, who leaves, stops."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from event_streams import read
from fastcgi_clients import Front
from fastcgi_peer import ABORT, Record, variables
from fastcgi_peer import request as records
from front_servers import PROTOCOLS, answer, encode, told
from live_bodies import Live, Tap, live_app
from live_servers import Serve, ends, idle, live_servers
from rawclient import TIMEOUT, RawClient

from wsgi_async.wsgi.client import Client

EVENTS = [("Content-Type", "text/event-stream")]
FIRST = b"data: 1\n\n"

serve = pytest.fixture(live_servers)

LEAVES = {
    "closes": RawClient.close,
    "half-closes": RawClient.half_close,
    "resets": RawClient.reset,
}


@pytest.fixture(params=PROTOCOLS)
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class App:
    """An event stream that has one event, and then waits for ever."""

    def __init__(self) -> None:
        self.tap = Tap()
        self.body: Live | None = None
        self.gone = threading.Event()
        self.client: Client | None = None

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Live:
        self.client = environ["wsgi_async.client"]
        self.client.on_gone(self.gone.set)
        start_response("200 OK", EVENTS)
        self.tap.give(FIRST)
        self.body = Live(self.tap.chunks(), self.tap.log)
        return self.body


@pytest.mark.parametrize("leave", LEAVES.values(), ids=LEAVES)
def test_who_leaves_an_event_stream_ends_it(
    leave: Callable[[RawClient], None], protocol: str, serve: Serve
) -> None:
    """A front server whose client has gone closes its connection; some end their side first."""
    app = App()
    served = serve(app, bind=[f"{protocol}://127.0.0.1:0"], threads=1)
    with served.client() as client:
        client.send(encode(protocol, told()))
        client.read_until(FIRST)
        assert app.client is not None
        assert not app.client.gone
        leave(client)
        assert app.gone.wait(TIMEOUT)
        assert app.client.gone
        idle(served)
    assert app.body is not None
    assert app.body.closed.is_set()
    assert "cancelled" in app.tap.log


def test_an_event_stream_that_is_taken_back_makes_way(serve: Serve) -> None:
    """By FastCGI's own word, and its connection goes on."""
    app = App()
    served = serve(app, bind=["fastcgi://127.0.0.1:0"], threads=1)
    assert served.server.port is not None
    with Front(("127.0.0.1", served.server.port)) as front:
        for count in (1, 2):
            app.gone.clear()
            front.send(records(variables()))
            while not (1 in front.responses.open and FIRST in front.responses.open[1].stdout):
                assert front.take()
            front.send([Record(ABORT, 1)])
            assert front.wait(count).app_status == 1
            assert app.gone.wait(TIMEOUT)
            app.tap = Tap()
    idle(served)
    assert ends(served) == {"left": 2}


def test_an_event_stream_is_completed_where_its_server_stops(protocol: str, serve: Serve) -> None:
    """And not cut: who reads it is told when to come again."""
    tap = Tap()
    served = serve(
        live_app(lambda: Live(tap.chunks()), EVENTS),
        bind=[f"{protocol}://127.0.0.1:0"],
        live_grace=0.1,
    )
    with served.client() as client:
        client.send(encode(protocol, told()))
        tap.give(FIRST)
        assert tap.begun.wait(TIMEOUT)
        served.wait_until(lambda: any(one.in_flight for one in served.connections.open))
        stopping = threading.Thread(target=served.stop)
        stopping.start()
        found = read(answer(protocol, client).body)
        assert [event.data for event in found.events] == ["1"]
        assert found.retry is not None
    stopping.join(TIMEOUT)
    assert not stopping.is_alive()
    [(_, response)] = served.recorder.of("request_finished")
    assert response.complete


def test_an_error_in_the_middle_is_a_cut(protocol: str, serve: Serve) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield FIRST
        raise RuntimeError("on purpose")

    served = serve(live_app(lambda: Live(chunks())), bind=[f"{protocol}://127.0.0.1:0"])
    with served.client() as client:
        client.send(encode(protocol, told()))
        if protocol == "fastcgi":
            assert client.read_to_end().endswith(bytes(8))
        else:
            with pytest.raises(ConnectionResetError):
                client.read_to_end()
    idle(served)
    [(_, response)] = served.recorder.of("request_finished")
    assert not response.complete

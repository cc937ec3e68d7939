"""Large uploads that the application reads from the socket itself, on real connections."""

from __future__ import annotations

import queue
import random
import threading
import zlib
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from front_servers import answer, encode, told
from rawclient import TIMEOUT, RawClient
from serving import Served, both_loops

from wsgi_async.errors import ClientDisconnected

Serve = Callable[..., Served]

SIZE = 6_000_000
DATA = random.Random(1).randbytes(SIZE)
HEAD = f"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: {SIZE}\r\n\r\n".encode()
GET = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"


class Reading:
    """Reads its body in pieces; unless told to go on, first waits for the socket to be lent."""

    def __init__(self, size: int, *, pieces: int = -1) -> None:
        self.served: Served | None = None
        self.lent: queue.Queue[bool] = queue.Queue()
        self.go_on = threading.Event()
        self.raised: queue.Queue[BaseException] = queue.Queue()
        self._size = size
        self._pieces = pieces

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/upload":
            start_response("200 OK", [("Content-Length", "4")])
            return [b"next"]
        assert self.served is not None
        budgets = self.served.budgets
        if not self.go_on.is_set():
            self.served.wait_until(lambda: budgets.files.used, "the socket is lent")
            self.lent.put(True)
            assert self.go_on.wait(TIMEOUT)
        try:
            crc = self._read(environ["wsgi.input"].read)
        except BaseException as error:
            self.raised.put(error)
            raise
        answer = b"%08x" % crc
        start_response("200 OK", [("Content-Length", str(len(answer)))])
        return [answer]

    def _read(self, read: Callable[[int], bytes]) -> int:
        crc = 0
        while self._pieces and (piece := read(self._size)):
            self._pieces -= 1
            crc = zlib.crc32(piece, crc)
        return crc


def begin(serve: Serve, app: Reading, **options: Any) -> Served:
    app.served = serve(app, request_buffering="stream", **options)
    return app.served


def sending(client: RawClient, data: bytes) -> threading.Thread:
    thread = threading.Thread(target=client.send, args=(data,), daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("protocol", ["uwsgi", "scgi"])
def test_a_front_servers_body_is_read_so_as_well(protocol: str, serve: Serve) -> None:
    """Where it has no records in between, as FastCGI's has."""
    app = Reading(65536)
    served = begin(serve, app, bind=[f"{protocol}://127.0.0.1:0"])
    with served.client() as client:
        sender = sending(client, encode(protocol, told("/upload", "POST", DATA), DATA))
        assert app.lent.get(timeout=TIMEOUT)
        app.go_on.set()
        assert answer(protocol, client).body == b"%08x" % zlib.crc32(DATA)
        sender.join(TIMEOUT)
    served.wait_until_idle()


@both_loops
@pytest.mark.parametrize("size", [100_000, 65536, 1_000_000, -1])
@pytest.mark.parametrize("memory", ["256M", "1K"])
def test_a_body_arrives_whole_and_the_connection_goes_on(
    loop: str, size: int, memory: str, serve: Serve
) -> None:
    app = Reading(size)
    served = begin(serve, app, loop=loop, max_buffer_size=memory)
    with served.client() as client:
        thread = sending(client, (HEAD + DATA + GET) * 2)
        app.lent.get(timeout=TIMEOUT)
        app.go_on.set()
        for _ in range(2):
            answer = client.response("POST")
            assert answer.body == b"%08x" % zlib.crc32(DATA)
            assert client.response("GET").body == b"next"
        thread.join(TIMEOUT)
    served.wait_until_idle()
    assert served.budgets.files.peak == 1


@both_loops
def test_a_client_that_pauses_is_waited_for(loop: str, serve: Serve) -> None:
    """The application has emptied the socket: the loop has it back, and lends it again."""
    app = Reading(50_000)
    served = begin(serve, app, loop=loop)
    with served.client() as client:
        client.send(HEAD + DATA[:1_000_000])
        app.lent.get(timeout=TIMEOUT)
        app.go_on.set()
        for start in range(1_000_000, SIZE, 1_000_000):
            client.send(DATA[start : start + 1_000_000])
            served.wait_until(lambda: not served.budgets.files.used, "all has been read")
        answer = client.response("POST")
        assert answer.body == b"%08x" % zlib.crc32(DATA)
        # Its last byte was read by the application: the loop knows that it was the last.
        assert "connection" not in answer.fields
        client.send(GET)
        assert client.response("GET").body == b"next"
    served.wait_until_idle()
    assert served.budgets.files.peak == 1


@both_loops
@pytest.mark.parametrize("how", ["reset", "half_close", "close"])
def test_a_client_that_leaves_while_the_socket_is_lent(loop: str, how: str, serve: Serve) -> None:
    app = Reading(50_000)
    served = begin(serve, app, loop=loop)
    with served.client() as client:
        client.send(HEAD + DATA[:1_000_000])
        app.lent.get(timeout=TIMEOUT)
        if how == "close":
            client.close()
        else:
            getattr(client, how)()
        app.go_on.set()
        assert type(app.raised.get(timeout=TIMEOUT)) is ClientDisconnected
        if how == "half_close":
            assert client.response("POST").status == 400
    served.wait_until_idle()
    assert served.recorder.of("app_error") == []


@both_loops
@pytest.mark.parametrize("pieces", [0, 1, 9])
def test_an_answer_before_the_end_of_the_body(loop: str, pieces: int, serve: Serve) -> None:
    app = Reading(65536, pieces=pieces)
    served = begin(serve, app, loop=loop)
    with served.client() as client:
        client.send(HEAD + DATA[:1_000_000])
        app.lent.get(timeout=TIMEOUT)
        app.go_on.set()
        answer = client.response("POST")
        assert answer.status == 200
        assert answer.body == b"%08x" % zlib.crc32(DATA[: 65536 * pieces])
        client.close()
    served.wait_until_idle()


@both_loops
def test_a_client_that_stops_gets_a_408(loop: str, serve: Serve) -> None:
    app = Reading(65536)
    served = begin(serve, app, loop=loop, body_timeout=1)
    with served.client() as client:
        client.send(HEAD + DATA[:1_000_000])
        app.lent.get(timeout=TIMEOUT)
        app.go_on.set()
        assert client.response("POST").status == 408
        assert type(app.raised.get(timeout=TIMEOUT)) is ClientDisconnected
    served.wait_until_idle()


@both_loops
def test_a_server_that_stops_leaves_no_socket_behind(loop: str, serve: Serve) -> None:
    app = Reading(65536)
    served = begin(serve, app, loop=loop, graceful_timeout=0.2)
    with served.client() as client:
        client.send(HEAD + DATA[:1_000_000])
        app.lent.get(timeout=TIMEOUT)
        thread = threading.Thread(target=served.stop, daemon=True)
        thread.start()
        assert client.is_dropped()
        app.go_on.set()
        assert type(app.raised.get(timeout=TIMEOUT)) is ClientDisconnected
        thread.join(TIMEOUT)
    assert not served.budgets.files.used

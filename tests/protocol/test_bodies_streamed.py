"""Request bodies on fakes that are read as they arrive, and clients that end within them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from uploads import CHUNKED, POST, Reader
from wire import TIMEOUT, Site

from wsgi_async.connection.states import ConnectionState
from wsgi_async.errors import ClientDisconnected

# --- streamed -----------------------------------------------------------------------------------


def test_a_streamed_body_is_read_as_it_arrives() -> None:
    application = Reader()
    with Site(application, request_buffering="stream") as site:
        client = site.connect()
        client.send(POST.format("/") + "Content-Length: 6\r\n\r\n", "POST")
        assert application.entered.wait(TIMEOUT)
        for piece in "ab", "cd", "ef":
            application.orders.release()
            client.send(piece)
        application.orders.release(10)
        assert client.wait().body == b"abcdef"
        assert application.got[0].startswith(b"ab")


def test_reading_pauses_while_the_application_does_not_take_the_body() -> None:
    application = Reader()
    piece = b"x" * 65536
    with Site(application, request_buffering="stream") as site:
        client = site.connect()
        client.send(POST.format("/") + f"Content-Length: {len(piece) * 8}\r\n\r\n", "POST")
        for _ in range(3):
            client.transport.receive(piece)
            assert client.transport.is_reading()
        client.transport.receive(piece)
        assert not client.transport.is_reading()
        assert site.budgets.memory.used == len(piece) * 4
        for _ in range(4):
            client.transport.receive(piece)
        site.advance(100)  # a pause of ours is no gap of the client's
        assert client.state is ConnectionState.RUNNING
        application.orders.release(100)
        assert client.wait().body == piece * 8
        site.settle()
        assert site.budgets.memory.peak < len(piece) * 8 + 20_000


def test_when_memory_is_used_up_a_streamed_body_pauses_at_once() -> None:
    application = Reader()
    with Site(application, request_buffering="stream", max_buffer_size=1000) as site:
        client = site.connect()
        client.send(POST.format("/") + "Content-Length: 4000\r\n\r\n", "POST")
        client.transport.receive(b"x" * 2000)
        assert not client.transport.is_reading()
        client.transport.receive(b"y" * 2000)
        application.orders.release(100)
        assert client.wait().body == b"x" * 2000 + b"y" * 2000


def test_a_pipelined_request_follows_a_streamed_body() -> None:
    application = Reader()
    with Site(application, request_buffering="stream") as site:
        client = site.connect()
        client.send(POST.format("/1") + "Content-Length: 3\r\n\r\nabc", "POST")
        client.send(POST.format("/2") + "Content-Length: 3\r\n\r\ndef", "POST")
        application.orders.release(100)
        assert client.wait(2).body == b"abcdef"
        assert client.answers[0].body == b"abc"
        assert all(answer.keeps_alive for answer in client.answers)


def test_responses_do_not_let_more_of_a_pipeline_in() -> None:
    """Each chunk of a response wakes the loop; that is no reason to read on."""
    orders = threading.Semaphore(0)

    def application(environ: Any, start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", [])
        environ["wsgi.input"].read()
        for _ in range(5):
            assert orders.acquire(timeout=TIMEOUT)
            yield b"x"

    flood = b"x" * 100_000
    with Site(application, request_buffering="stream") as site:
        client = site.connect()
        client.send(POST.format("/1") + "Content-Length: 3\r\n\r\nabc", "POST")
        client.transport.receive(flood)
        assert not client.transport.is_reading()
        for _ in range(5):
            client.transport.receive(flood)
        for count in range(1, 5):
            orders.release()
            site.loop.run_until(lambda count=count: len(client.partial.body) == count)
            site.loop.run_pending()
            assert client.transport.unread == len(flood) * 5
        orders.release()
        client.judge.methods.append("GET")
        assert client.wait(2).status == 414


def test_a_client_that_vanishes_within_its_body() -> None:
    application = Reader()
    with Site(application, request_buffering="stream") as site:
        client = site.connect()
        client.send(POST.format("/") + "Content-Length: 6\r\n\r\nabc", "POST")
        application.orders.release(2)
        assert application.entered.wait(TIMEOUT)
        client.transport.reset()
        site.settle()
        assert isinstance(application.errors[0], ClientDisconnected)
        assert site.observer.app_errors == []
        ((_, response),) = site.observer.finished
        assert (response.status, response.complete) == (499, False)


@pytest.mark.parametrize("early_head", [False, True])
def test_a_client_that_ends_within_its_body(early_head: bool) -> None:
    """Its read raises. Nothing sent: 400. A head is out: the response goes on as it can."""
    application = Reader(early_head=early_head)
    with Site(application, request_buffering="stream") as site:
        client = site.connect()
        client.send(POST.format("/") + "Content-Length: 6\r\n\r\nabc", "POST")
        assert application.entered.wait(TIMEOUT)
        if early_head:
            site.loop.run_until(lambda: client.partial.body)
        client.transport.receive_eof()
        application.orders.release(3)
        site.settle()
        assert isinstance(application.errors[0], ClientDisconnected)
        site.loop.run_pending()
        (answer,) = client.answers
        if early_head:
            assert answer.is_truncated
            assert answer.body == b"early"
        else:
            assert answer.status == 400
        assert client.transport.is_lost


def test_a_broken_chunk_after_the_head_is_out_cuts_the_response() -> None:
    """Nothing may follow half a response, not even a 400."""
    application = Reader(early_head=True)
    with Site(application, request_buffering="stream") as site:
        client = site.connect()
        client.send(CHUNKED, "POST")
        site.loop.run_until(lambda: client.partial.body)
        client.send("not a size\r\n")
        site.loop.run_until(lambda: client.transport.is_lost)
        (answer,) = client.answers
        assert answer.is_truncated
        assert answer.body == b"early"
        assert b"400" not in client.transport.sent
        application.orders.release(3)
        site.settle()
        assert isinstance(application.errors[0], ClientDisconnected)

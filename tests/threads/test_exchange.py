"""One request from the loop to a pool thread and back, with a real pool and without a socket."""

from __future__ import annotations

import gc
import io
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from exchanges import TEXT, Notes, Rig, Stream, plain, rigs
from threadline import KIB, WAIT

from wsgi_async.buffers.spool import BodySpool
from wsgi_async.connection.exchange_states import ExchangeState
from wsgi_async.connection.gateway import request_ids
from wsgi_async.errors import ClientDisconnected
from wsgi_async.events import Observer
from wsgi_async.threads import LARGE_FILE, RequestBody

make = pytest.fixture(rigs)


# --- crossings -----------------------------------------------------------------------------------


class Closing:
    """What Flask and Django return: an iterable with a close method, of known length."""

    def __init__(self, chunks: list[bytes]) -> None:
        self.chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.chunks)

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("result", "headers"),
    [
        ([b"hello"], TEXT),
        ([b"he", b"llo"], TEXT),
        (Closing([b"hello"]), [*TEXT, ("Content-Length", "5")]),
    ],
)
def test_a_small_request_is_one_submit_and_one_wake(
    make: Callable[..., Rig], result: Any, headers: Any
) -> None:
    def application(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", headers)
        return result

    rig = make(application)
    client = rig.get()
    assert (bytes(client.body), client.length, client.end) == (b"hello", 5, "finished")
    assert (rig.pool.submitted, rig.line.mailbox.wakes) == (1, 1)


def test_a_full_queue_refuses_and_the_exchange_stays_with_the_loop(
    make: Callable[..., Rig],
) -> None:
    stream = Stream()
    rig = make(stream, threads=1, queue_size=1, overflow="block", memory=64 * KIB)
    running = rig.begin()
    rig.line.turn()
    queued = rig.begin()
    refused = rig.connect()
    assert not refused.exchange.submit()
    assert refused.exchange.state is ExchangeState.BEGUN
    refused.exchange.drop_body()
    for connection in (queued, running):
        connection.side.leave()
    assert stream.closed.wait(WAIT)


def test_what_was_never_submitted_cannot_be_withdrawn(make: Callable[..., Rig]) -> None:
    """A client leaves while its body is being collected: the queue is not touched."""
    rig = make(plain)
    connection = rig.connect()
    assert connection.exchange.state is ExchangeState.BEGUN
    assert not connection.exchange.withdraw()
    assert rig.pool.queued == 0


def test_a_queued_request_can_be_withdrawn_and_one_that_ended_holds_no_response(
    make: Callable[..., Rig],
) -> None:
    gate, began = threading.Event(), threading.Event()

    def application(environ: Any, start_response: Any) -> list[bytes]:
        began.set()
        assert gate.wait(WAIT)
        return plain(environ, start_response)

    rig = make(application, threads=1)
    running = rig.begin()
    assert began.wait(WAIT)
    queued = rig.begin()
    assert queued.exchange.withdraw() is True
    assert running.exchange.withdraw() is False
    gate.set()
    assert running.finish().end == "finished"
    rig.settle()
    assert running.exchange._response is None, "a cycle would be left to the collector"


# --- the request ---------------------------------------------------------------------------------


def echo(environ: Any, start_response: Any) -> list[bytes]:
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("X-Length", environ.get("CONTENT_LENGTH", "none"))])
    return [type(environ["wsgi.input"]).__name__.encode(), b" ", body]


def test_a_large_body_that_nobody_reads_is_not_deleted_on_the_loop(
    make: Callable[..., Rig],
) -> None:
    stream = Stream()
    rig = make(stream, threads=1, overflow="block", memory=64 * KIB)
    later: list[Callable[[], object]] = []
    bounds = replace(rig.line.bounds, in_background=later.append)
    rig.gateway = replace(rig.gateway, bounds=bounds)
    running = rig.begin()
    rig.line.turn()
    for size, calls in ((LARGE_FILE, 0), (LARGE_FILE + 1, 1)):
        queued = rig.connect("POST", size)
        queued.exchange.spool = spool = BodySpool(rig.line.budgets, 1000, size)
        spool.append(bytes(size))
        assert queued.exchange.submit()
        queued.side.leave()
        assert len(later) == calls
        assert rig.line.used[2] == calls
    later.pop()()
    assert rig.line.used[2] == 0
    running.side.leave()
    assert stream.closed.wait(WAIT)


@pytest.mark.parametrize(("size", "kind"), [(10, b"BytesIO"), (5000, b"BufferedRandom")])
def test_a_collected_body_is_a_real_file(make: Callable[..., Rig], size: int, kind: bytes) -> None:
    rig = make(echo)
    connection = rig.connect("POST", size)
    exchange = connection.exchange
    exchange.spool = spool = BodySpool(rig.line.budgets, 1000, 10_000)
    spool.append(b"x" * size)
    assert exchange.submit()
    client = connection.finish()
    assert client.head is not None
    assert client.head.fields == (("X-Length", str(size)),)
    name, _, body = bytes(client.body).partition(b" ")
    assert body == b"x" * size
    assert name in (kind, b"_TemporaryFileWrapper")


def test_a_request_without_a_body_has_an_empty_input(make: Callable[..., Rig]) -> None:
    client = make(echo).get()
    assert bytes(client.body) == b"BytesIO "
    assert client.head is not None
    assert client.head.fields == (("X-Length", "none"),)


def test_a_streamed_body_is_read_as_it_arrives(make: Callable[..., Rig]) -> None:
    rig = make(echo)
    connection = rig.connect("POST", 6)
    exchange = connection.exchange
    exchange.body = stream = RequestBody(rig.line.mailbox, exchange, rig.line.budgets.memory)
    assert exchange.submit()
    rig.line.turn()
    assert stream.is_awaited
    stream.feed(b"abc")
    stream.feed(b"def")
    stream.feed_end()
    assert bytes(connection.finish().body) == b"InputStream abcdef"


def test_a_client_that_vanishes_midway_makes_the_read_raise(make: Callable[..., Rig]) -> None:
    seen: list[BaseException] = []
    notes = Notes()

    def application(environ: Any, start_response: Any) -> list[bytes]:
        try:
            environ["wsgi.input"].read()
        except OSError as error:
            seen.append(error)
            raise
        return []

    rig = make(application, observer=notes)
    connection = rig.connect("POST", 6)
    exchange = connection.exchange
    exchange.body = stream = RequestBody(rig.line.mailbox, exchange, rig.line.budgets.memory)
    assert exchange.submit()
    rig.line.turn()
    stream.feed(b"abc")
    connection.side.leave()
    rig.stop()
    assert isinstance(seen[0], ClientDisconnected)
    assert notes.errors == [], "the client's doing is not the application's error"
    assert rig.line.used == (0, 0, 0)


def test_a_queued_request_whose_client_has_gone_never_reaches_the_application(
    make: Callable[..., Rig],
) -> None:
    calls: list[Any] = []
    gate = threading.Event()
    began = threading.Event()

    def application(environ: Any, start_response: Any) -> list[bytes]:
        calls.append(environ)
        began.set()
        assert gate.wait(WAIT)
        return plain(environ, start_response)

    rig = make(application, threads=1)
    first = rig.begin()
    assert began.wait(WAIT)
    second = rig.connect("POST", 100)
    second.exchange.spool = BodySpool(rig.line.budgets, 10, 1000)
    second.exchange.spool.append(b"x" * 100)
    assert second.exchange.submit()
    assert (rig.pool.queued, rig.line.used) == (1, (0, 100, 1))
    second.side.leave()
    assert (rig.pool.queued, rig.line.used) == (0, (0, 0, 0)), "at once, not when its turn comes"
    gate.set()
    assert first.finish().body == b"hello"
    rig.settle()
    assert len(calls) == 1
    assert rig.line.used == (0, 0, 0)


def test_a_client_that_goes_as_its_thread_comes_is_nobodys_error(make: Callable[..., Rig]) -> None:
    calls: list[Any] = []
    rig = make(lambda *args: calls.append(args) or plain(*args))
    connection = rig.connect()
    assert not connection.exchange.writer.abort()
    assert connection.exchange.submit()
    rig.settle()
    assert (calls, rig.errors) == ([], [])


# --- what is told --------------------------------------------------------------------------------


def test_errors_are_told_with_the_request(make: Callable[..., Rig]) -> None:
    error = KeyError("boom")

    def application(environ: Any, start_response: Any) -> list[bytes]:
        environ["wsgi.errors"].write("a line\nand an unfinished one")
        raise error

    notes = Notes()
    rig = make(application, observer=notes)
    client = rig.get()
    rig.settle()
    assert client.head is not None
    assert client.head.status == 500
    [(info, message, told)] = notes.errors
    assert (message, told) == ("the application raised", error)
    assert (info.method, info.target, info.version) == ("GET", "/p?q", "HTTP/1.1")
    assert info.client == "192.0.2.1:1234"
    assert info.fields == (("Host", "a"),)
    assert notes.lines == [(info, "a line"), (info, "and an unfinished one")]


def test_of_a_field_that_is_dropped_an_application_is_warned_once(
    make: Callable[..., Rig],
) -> None:
    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Connection", "keep-alive"), *TEXT])
        try:
            raise LookupError
        except LookupError:
            again = [("TE", "x"), ("connection", "keep-alive")]
            start_response("200 OK", again, sys.exc_info())
        return [b"x"]

    notes, others = Notes(), Notes()
    rig, other = make(application, observer=notes), make(application, observer=others)
    for _ in range(3):
        assert bytes(rig.get().body) == b"x"
    assert [message[:38] for _, message in notes.warnings] == [
        "the hop-by-hop header Connection was n",
        "the hop-by-hop header TE was not sent:",
    ]
    assert notes.warnings[0][0].target == "/p?q"
    assert notes.errors == []
    other.get()
    assert len(others.warnings) == 2, "another server's application is told too"


def test_ids_are_unique_and_one_request_has_one(make: Callable[..., Rig]) -> None:
    def application(environ: Any, start_response: Any) -> list[bytes]:
        environ["wsgi.errors"].write("one\ntwo\n")
        return plain(environ, start_response)

    notes = Notes()
    rig = make(application, observer=notes)
    for _ in range(3):
        rig.get()
    ids = [info.id for info, _ in notes.lines]
    assert ids[0::2] == ids[1::2]
    assert len(set(ids)) == 3
    assert request_ids()() != request_ids()(), "unique across processes"


def test_an_observer_that_raises_leaves_no_client_waiting(make: Callable[..., Rig]) -> None:
    class Hostile(Observer):
        def app_error(self, *args: object, **kwargs: object) -> None:
            raise RuntimeError("the observer failed")

    def application(environ: Any, start_response: Any) -> list[bytes]:
        raise KeyError

    rig = make(application, observer=Hostile())
    connection = rig.connect("POST", 100)
    connection.exchange.spool = BodySpool(rig.line.budgets, 10, 1000)
    connection.exchange.spool.append(b"x" * 100)
    assert connection.exchange.submit()
    client = connection.finish()
    assert (client.end, client.head.status) == ("finished", 500)  # type: ignore[union-attr]
    rig.settle()
    assert [str(error) for error in rig.errors] == ["the observer failed"]
    assert rig.line.used == (0, 0, 0)


def test_a_streamed_body_lets_its_exchange_go(make: Callable[..., Rig]) -> None:
    """A cycle would leave every upload to the collector."""
    rig = make(plain, threads=1)
    connection = rig.connect()
    exchange = connection.exchange
    exchange.body = body = RequestBody(rig.line.mailbox, exchange, rig.line.budgets.memory)
    body.feed_end()
    assert any(value is exchange for value in vars(body).values())
    exchange.submit()
    connection.finish()
    rig.settle()
    assert all(value is not exchange for value in vars(body).values())


def test_what_a_request_held_is_freed_without_the_collector(make: Callable[..., Rig]) -> None:
    class Held:
        pass

    references: list[weakref.ref[Held]] = []

    def application(environ: Any, start_response: Any) -> list[bytes]:
        held = environ["held"] = Held()
        environ["start_response"] = start_response
        references.append(weakref.ref(held))
        return plain(environ, start_response)

    rig = make(application, threads=1)
    gc.collect()
    gc.disable()
    try:
        connection = rig.begin()
        connection.finish()
        rig.settle()
        del connection
        assert [reference() for reference in references] == [None]
    finally:
        gc.enable()


def test_input_is_a_new_object_for_each_request(make: Callable[..., Rig]) -> None:
    inputs: list[io.BytesIO] = []

    def application(environ: Any, start_response: Any) -> list[bytes]:
        inputs.append(environ["wsgi.input"])
        return plain(environ, start_response)

    rig = make(application)
    rig.get()
    rig.get()
    assert inputs[0] is not inputs[1]

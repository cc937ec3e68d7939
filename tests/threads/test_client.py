"""The client of an exchange: its watch, whoever makes it, and whatever its thread does then."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from exchanges import TEXT, Connection, Notes, Rig, plain, rigs
from threadline import KIB, MIB, WAIT

from wsgi_async.connection import followed
from wsgi_async.connection.exchange import Exchange
from wsgi_async.connection.observed import current_request_id
from wsgi_async.wsgi.client import Client
from wsgi_async.wsgi.client_watch import Presence, Watch

make = pytest.fixture(rigs)


class Asking:
    """An application that gives its client to the test, and waits."""

    def __init__(self, body: Callable[[], Any] = lambda: [b"hello"]) -> None:
        self.body = body
        self.clients: list[Client] = []
        self.entered = threading.Event()
        self.gate = threading.Event()
        self.waits = True

    def __call__(self, environ: Any, start_response: Any) -> Any:
        self.clients.append(environ["wsgi_async.client"])
        self.entered.set()
        if self.waits:
            assert self.gate.wait(WAIT)
        start_response("200 OK", TEXT)
        return self.body()


class Told:
    """Notes the thread it is called on, and whether a lock of the watch is held then."""

    def __init__(self) -> None:
        self.threads: list[str] = []
        self.ids: list[str] = []
        self.event = threading.Event()

    def __call__(self) -> None:
        self.threads.append(threading.current_thread().name)
        self.ids.append(current_request_id())
        self.event.set()


def leave(connection: Connection) -> None:
    """And have the loop take what there is to be called."""
    connection.side.leave()
    while not connection.rig.line.wakes.empty():
        connection.rig.line.turn()


def test_a_request_that_does_not_ask_has_no_watch(make: Callable[..., Rig]) -> None:
    made: list[Watch] = []

    def application(environ: Any, start_response: Any) -> list[bytes]:
        assert not environ["wsgi_async.client"].gone
        return plain(environ, start_response)

    rig = make(application)
    connection = rig.begin()
    connection.finish()
    made += [connection.exchange.watching] if connection.exchange.watching else []
    assert made == []


@pytest.mark.parametrize("overflow", ["park", "spool", "block"])
def test_it_is_called_whatever_the_response_waits_for(
    make: Callable[..., Rig], overflow: str
) -> None:
    """Suspended, in a file, or with its thread waiting: on a thread of the pool."""
    told = Told()

    def body() -> Any:
        asking.clients[0].on_gone(told)
        while True:
            yield b"x" * (64 * KIB)

    asking = Asking(body)
    asking.waits = False
    rig = make(asking, overflow=overflow, threads=2, memory=64 * KIB, disk=MIB)
    connection = rig.begin()
    rig.line.turn()
    leave(connection)
    assert told.event.wait(WAIT)
    assert told.threads[0].startswith("pool-")
    assert told.ids == [connection.exchange.info.id]
    assert asking.clients[0].gone
    rig.settle()
    assert len(told.threads) == 1


def test_one_that_left_before_anybody_asked(make: Callable[..., Rig]) -> None:
    asking, told = Asking(), Told()
    rig = make(asking, threads=2)
    connection = rig.begin()
    assert asking.entered.wait(WAIT)
    connection.side.leave()
    assert asking.clients[0].gone
    asking.clients[0].on_gone(told)
    assert not told.event.is_set()
    rig.line.turn()
    assert told.event.wait(WAIT)
    assert asking.clients[0].wait(WAIT)
    asking.gate.set()
    rig.settle()


def test_its_connection_says_what_has_become_of_it_meanwhile(make: Callable[..., Rig]) -> None:
    asking, told = Asking(), Told()
    rig = make(asking, threads=2)
    connection = rig.begin()
    assert asking.entered.wait(WAIT)
    client = asking.clients[0]
    connection.presence = Presence.GONE
    assert client.gone
    assert connection.exchange.watching is None  # a look makes nothing
    connection.presence = Presence.SERVED
    assert not client.gone
    client.on_gone(told)
    leave(connection)
    assert not client.gone
    assert not client.wait(WAIT)
    asking.gate.set()
    rig.settle()
    assert not told.threads


def test_a_watch_that_is_made_just_as_the_client_leaves_knows_it(
    make: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop comes by between any two steps of its making."""
    asking, told = Asking(), Told()
    rig = make(asking, threads=2)
    connection = rig.begin()
    assert asking.entered.wait(WAIT)
    steps: list[str] = []

    class Made(Watch):
        def __init__(self) -> None:
            connection.side.leave()  # nobody is told: there is no watch yet
            steps.append("made")
            super().__init__()

    monkeypatch.setattr(followed, "Watch", Made)
    asking.clients[0].on_gone(told)
    assert steps == ["made"]
    rig.line.turn()
    assert told.event.wait(WAIT)
    asking.gate.set()
    rig.settle()


def test_two_that_ask_first_get_one_watch(make: Callable[..., Rig]) -> None:
    rig = make(plain)
    for _ in range(200):
        exchange = rig.connect().exchange
        found: list[Watch] = []
        barrier = threading.Barrier(2)

        def ask(
            exchange: Exchange = exchange,
            found: list[Watch] = found,
            barrier: threading.Barrier = barrier,
        ) -> None:
            barrier.wait(WAIT)
            found.append(exchange.watch())

        threads = [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT)
        assert len({id(watch) for watch in found}) == 1
        exchange.drop_body()


def test_what_it_raises_is_told_of_its_request(make: Callable[..., Rig]) -> None:
    """Also where the request was given up: it is not that which is late."""
    asking, notes = Asking(), Notes()
    rig = make(asking, threads=2, observer=notes)
    connection = rig.begin()
    assert asking.entered.wait(WAIT)
    asking.clients[0].on_gone(lambda: 1 / 0)
    connection.exchange.give_up()
    connection.exchange.tell_given_up()
    rig.line.turn()
    asking.gate.set()
    rig.settle()
    [(info, message, error)] = notes.errors
    assert info.id == connection.exchange.info.id
    assert message == "what the application has called when its client goes raised"
    assert isinstance(error, ZeroDivisionError)
    connection.side.leave()


def test_a_thread_in_wait_keeps_its_place(make: Callable[..., Rig]) -> None:
    """Others would need what it holds; and a thread more would run the application."""
    waiting, gate = threading.Event(), threading.Event()

    def application(environ: Any, start_response: Any) -> list[bytes]:
        waiting.set()
        assert environ["wsgi_async.client"].wait(WAIT)
        gate.set()
        return plain(environ, start_response)

    rig = make(application, threads=1)
    connection = rig.begin()
    assert waiting.wait(WAIT)
    assert (rig.pool.busy, rig.pool.aside) == (1, 0)
    leave(connection)
    assert gate.wait(WAIT)
    rig.settle()

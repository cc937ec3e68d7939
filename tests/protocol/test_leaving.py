"""A server that leaves or drains: which connections stay, and what is answered last."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

from wire import HELLO, TIMEOUT, Held, Site

from wsgi_async.connection.states import ConnectionState

# --- leaving and draining -----------------------------------------------------------------------


def test_leaving_answers_idle_and_new_connections_once_more_with_close() -> None:
    with Site(keep_alive=75) as site:
        silent, idle = site.connect(), site.connect()
        assert idle.get().keeps_alive
        site.leave()
        site.loop.run_pending()
        late = site.connect()
        for client in silent, idle, late:
            assert not client.transport.is_closing()
            client.ask()
            client.wait(len(client.judge.methods))
            assert client.answers[-1].body == HELLO
            assert not client.answers[-1].keeps_alive
            assert client.ends


def test_leaving_answers_what_is_pipelined_the_last_with_close() -> None:
    application = Held()
    with Site(application) as site:
        client = site.connect()
        for target in "/1", "/2", "/3":
            client.ask(target)
        application.wait_entered()
        site.leave()
        for _ in range(3):
            application.gate.release()
        client.wait(3)
        assert [answer.keeps_alive for answer in client.answers] == [True, True, False]


def test_leaving_keeps_a_connection_whose_response_did_not_say_close() -> None:
    gate = threading.Event()

    def application(environ: Any, start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"first"
        assert gate.wait(TIMEOUT)

    with Site(application) as site:
        client = site.connect()
        client.ask()
        site.loop.run_until(lambda: client.partial.body)
        site.leave()
        gate.set()
        assert client.wait().keeps_alive
        assert client.state is ConnectionState.IDLE
        assert not client.get().keeps_alive
        assert client.ends


def test_leaving_goes_over_into_draining() -> None:
    with Site() as site:
        idle = site.connect()
        idle.get()
        site.leave()
        site.drain()
        site.loop.run_pending()
        assert idle.transport.is_lost


def test_draining_closes_idle_and_new_connections() -> None:
    with Site() as site:
        new, idle = site.connect(), site.connect()
        idle.get()
        site.drain()
        site.loop.run_pending()
        assert new.transport.is_lost
        assert idle.transport.is_lost
        late = site.connect()
        site.loop.run_pending()
        assert late.transport.is_lost
        assert site.connections.all_closed().is_set()


def test_draining_finishes_a_head_that_has_begun_and_says_close() -> None:
    with Site() as site:
        client = site.connect()
        client.transport.receive(b"GET / HT")
        site.drain()
        assert not client.transport.is_closing()
        client.send("TP/1.1\r\nHost: a\r\n\r\n", "GET")
        answer = client.wait()
        assert answer.body == HELLO
        assert not answer.keeps_alive
        assert client.ends


def test_draining_answers_what_is_pipelined_the_last_with_close() -> None:
    application = Held()
    with Site(application) as site:
        client = site.connect()
        for target in "/1", "/2", "/3":
            client.ask(target)
        application.wait_entered()
        site.drain()
        for _ in range(3):
            application.gate.release()
        client.wait(3)
        assert [answer.keeps_alive for answer in client.answers] == [True, True, False]
        client.transport.receive_eof()
        site.loop.run_pending()
        assert site.connections.all_closed().is_set()


def test_draining_closes_after_a_response_whose_head_was_out() -> None:
    gate = threading.Event()

    def application(environ: Any, start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"first"
        assert gate.wait(TIMEOUT)
        yield b"second"

    with Site(application) as site:
        client = site.connect()
        client.ask()
        site.loop.run_until(lambda: client.partial.body)
        site.drain()
        gate.set()
        answer = client.wait()
        assert answer.is_complete
        assert answer.keeps_alive  # said before the drain began
        site.loop.run_pending()
        assert client.transport.is_lost

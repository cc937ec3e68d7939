"""The states of a connection, and applications that fail in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from state_tables import assert_refused, assert_whole
from wire import HELLO, Chunks, Held, Site, hello

from wsgi_async.connection.protocol import HTTPProtocol
from wsgi_async.connection.states import NEXT, ConnectionState

# --- states -------------------------------------------------------------------------------------


def test_the_table_has_every_state_and_ends_in_closed() -> None:
    assert_whole(NEXT, ConnectionState.NEW)
    assert NEXT[ConnectionState.CLOSED] == set()
    for state in set(ConnectionState) - {ConnectionState.CLOSED}:
        assert ConnectionState.CLOSED in NEXT[state]


@pytest.mark.parametrize("state", ConnectionState)
def test_a_transition_that_is_not_in_the_table_is_refused(state: ConnectionState) -> None:
    with Site() as site:
        client = site.connect()
        assert_refused(NEXT, state, client.protocol, "state", client.protocol._enter)
        client.protocol.state = ConnectionState.NEW


def test_a_life_passes_through_the_states(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[ConnectionState] = []
    application = Held(body=b"x" * 200_000)
    with Site(application) as site:
        client = site.connect(window=1000)
        enter = HTTPProtocol._enter

        def watched(protocol: HTTPProtocol, state: ConnectionState) -> None:
            enter(protocol, state)
            seen.append(state)

        monkeypatch.setattr(HTTPProtocol, "_enter", watched)
        client.send("POST / HTTP/1.1\r\n", "POST")
        client.send("Host: a\r\nContent-Length: 3\r\n\r\n")
        client.send("abc")
        application.gate.release()
        site.loop.run_until(lambda: client.state is ConnectionState.FLUSHING)
        assert client.transport.get_write_buffer_size() > 0
        client.transport.take()
        client.wait()
        site.loop.run_until(lambda: client.state is ConnectionState.IDLE)
        client.transport.receive(b"bad\r\n\r\n")
        client.judge.methods.append("GET")
        client.transport.receive_eof()
        site.loop.run_pending()
        assert seen == [
            ConnectionState.HEAD,
            ConnectionState.BODY,
            ConnectionState.RUNNING,
            ConnectionState.FLUSHING,
            ConnectionState.IDLE,
            ConnectionState.LINGERING,
            ConnectionState.CLOSED,
        ]


# --- an application that fails ------------------------------------------------------------------


def test_an_exception_before_the_head_is_a_500_and_the_connection_goes_on() -> None:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        if environ["PATH_INFO"] == "/bad":
            raise ValueError("secret")
        return hello(environ, start_response)

    with Site(application) as site:
        client = site.connect()
        answer = client.get("/bad")
        assert answer.status == 500
        assert answer.keeps_alive
        assert b"secret" not in answer.body
        assert client.get("/good").body == HELLO
        ((message, error),) = site.observer.app_errors
        assert message == "the application raised"
        assert isinstance(error, ValueError)


def test_system_exit_in_the_application_costs_no_thread() -> None:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        raise SystemExit(3)

    with Site(application, threads=1) as site:
        client = site.connect()
        assert client.get().status == 500
        assert client.get().status == 500


def test_the_iterable_is_closed_once_on_a_pool_thread() -> None:
    body = Chunks([b"a", b"b"])

    def application(environ: Any, start_response: Callable[..., Any]) -> Chunks:
        start_response("200 OK", [])
        return body

    with Site(application) as site:
        client = site.connect()
        assert client.get().body == b"ab"
        site.settle()
        assert body.closed == 1
        assert body.closed_by in body.threads


def test_finished_requests_are_told_to_the_observer() -> None:
    with Site() as site:
        client = site.connect()
        client.get("/x?y")
        site.loop.clock.advance(0)
        ((request, response),) = site.observer.finished
        assert (request.method, request.target, request.version) == ("GET", "/x?y", "HTTP/1.1")
        assert request.client == "127.0.0.1:50312"
        assert ("Host", "a") in request.fields
        assert response.status == 200
        assert response.body_size == len(HELLO)
        assert response.complete


@pytest.mark.parametrize(
    ("peer", "local", "client_name", "address"),
    [
        (("127.0.0.1", 5), ("127.0.0.1", 80), "127.0.0.1:5", "127.0.0.1"),
        (("::1", 5, 0, 0), ("::1", 80, 0, 0), "[::1]:5", "::1"),
        ("", "/run/app.sock", "unix", ""),
        (("::ffff:192.0.2.1", 5, 0, 0), ("::ffff:192.0.2.2", 80, 0, 0), None, "192.0.2.1"),
    ],
)
def test_the_client_is_named_in_logs_and_in_the_environ(
    peer: object, local: object, client_name: str | None, address: str
) -> None:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        start_response("200 OK", [])
        return [f"{environ['REMOTE_ADDR']} {environ['SERVER_PORT']}".encode()]

    with Site(application) as site:
        client = site.connect(peername=peer, sockname=local)
        assert client.get().body == f"{address} 80".encode()
        if client_name:
            assert client.protocol.client == client_name

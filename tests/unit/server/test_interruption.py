"""An operator's word that a request is to end, wherever it stands."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from wire import TIMEOUT, Held, Site

from wsgi_async.server.in_flight import take_table, take_table_of_threads
from wsgi_async.server.interruption import Interruption, interrupt


def states(site: Site) -> dict[str, str]:
    """Where the requests stand, by their targets."""
    entries = take_table(site.connections, site.loop.time()).entries
    return {entry.target: entry.state for entry in entries}


def break_off(site: Site, target: str) -> Interruption:
    now = site.loop.time()
    [id] = [e.id for e in take_table(site.connections, now).entries if e.target == target]
    return interrupt(site.connections, id, now)


def test_one_that_is_not_there() -> None:
    with Site() as site:
        done = interrupt(site.connections, "x-1", site.loop.time())
        assert (done.is_found, done.has_worked) == (False, False)
        assert "may have ended" in done.why


def test_one_that_waits_for_a_thread_is_answered_at_once() -> None:
    application = Held()
    with Site(application, threads=1) as site:
        running, queued = site.connect(), site.connect()
        running.ask("/running")
        application.wait_entered()
        queued.ask("/queued")
        done = break_off(site, "/queued")
        assert done == Interruption(True, True, "it waited for a thread, and was answered 504")
        assert queued.wait().status == 504
        assert states(site) == {"/running": "running"}
        application.gate.release()
        assert running.wait().status == 200


def test_one_whose_body_is_arriving_is_left_to_its_time_limits() -> None:
    with Site(min_rate=0) as site:
        client = site.connect()
        client.send("POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n", "POST")
        client.transport.receive(b"x")
        done = break_off(site, "/up")
        assert (done.is_found, done.has_worked) == (True, False)
        assert "--body-timeout" in done.why
        client.transport.receive(b"x")
        assert client.wait().status == 200


def test_those_that_wait_for_their_clients_are_left_to_their_time_limits() -> None:
    gate = threading.Event()

    def application(environ: Any, start_response: Callable[..., Any]) -> Any:
        start_response("200 OK", [])
        if environ["RAW_URI"] == "/sending":
            return [b"x" * 100_000]
        return (b"x" * 65536 for _ in range(40))

    with Site(application, response_overflow="park", response_buffer=131072) as site:
        parked, sending = site.connect(window=0), site.connect(window=0)
        parked.ask("/parked")
        sending.ask("/sending")
        site.settle()
        assert states(site) == {"/parked": "parked", "/sending": "sending"}
        for target in "/parked", "/sending":
            done = break_off(site, target)
            assert (done.is_found, done.has_worked) == (True, False)
            assert "--send-timeout" in done.why
        for client in parked, sending:
            client.transport.take()
            assert client.wait().status == 200
        gate.set()


def test_one_in_the_application_gets_504_and_its_thread_a_successor() -> None:
    application = Held()
    with Site(application, threads=2) as site:
        running, other = site.connect(), site.connect()
        running.ask("/running")
        application.wait_entered()
        done = break_off(site, "/running")
        assert (done.is_found, done.has_worked) == (True, True)
        assert running.wait().status == 504
        assert states(site) == {"/running": "lost"}
        other.ask("/other")
        application.wait_entered()  # on the other thread
        application.gate.release(2)
        assert other.wait().status == 200
        site.observer.returned.get(timeout=TIMEOUT)


def test_one_whose_head_is_out_is_cut() -> None:
    gate = threading.Event()

    def chunks() -> Iterator[bytes]:
        yield b"first"
        gate.wait(TIMEOUT)
        yield b"second"

    def application(environ: Any, start_response: Callable[..., Any]) -> Any:
        start_response("200 OK", [])
        return chunks()

    with Site(application, threads=1) as site:
        client = site.connect()
        client.ask("/")
        site.loop.run_until(lambda: bool(client.transport.sent), TIMEOUT)
        assert break_off(site, "/").has_worked
        assert client.ends
        assert not client.partial.is_complete
        gate.set()
        site.observer.returned.get(timeout=TIMEOUT)


def test_one_whose_client_has_gone_and_one_that_was_given_up() -> None:
    application = Held()
    with Site(application, threads=3, request_timeout=10) as site:
        late, gone = site.connect(), site.connect()
        late.ask("/late")
        application.wait_entered()
        site.sweep(5)
        gone.ask("/gone")
        application.wait_entered()
        gone.transport.reset()
        site.sweep(5.1)
        assert late.wait().status == 504
        assert states(site) == {"/late": "lost", "/gone": "abandoned"}
        assert break_off(site, "/gone").has_worked
        assert break_off(site, "/late").has_worked
        for target in "/gone", "/late":
            again = break_off(site, target)
            assert (again.is_found, again.has_worked) == (True, False)
            assert "before: the application has caught that" in again.why
        application.gate.release(2)
        for _ in range(2):
            site.observer.returned.get(timeout=TIMEOUT)


def test_it_is_raised_as_soon_as_it_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody sweeps for ``request_timeout``, four times a second."""
    application = Held()
    struck: list[int] = []
    may = False
    timeouts = "wsgi_async.connection.request_timeouts.stacks"
    monkeypatch.setattr(f"{timeouts}.is_in_application", lambda ident: may)
    monkeypatch.setattr(f"{timeouts}.raise_in", lambda ident, error: struck.append(ident))
    with Site(application, threads=1) as site:
        client = site.connect()
        client.ask("/")
        application.wait_entered()
        assert break_off(site, "/").has_worked
        site.advance(1.0)
        assert not struck
        may = True
        site.advance(1.0)
        assert len(struck) == 1
        assert client.wait().status == 504
        application.gate.release()
        site.observer.returned.get(timeout=TIMEOUT)


def test_without_the_loop_threads_and_their_queue_are_seen() -> None:
    application = Held()
    with Site(application, threads=1) as site:
        clients = [site.connect() for _ in range(3)]
        for number, client in enumerate(clients):
            client.ask(f"/{number}")
        application.wait_entered()
        clients[1].transport.reset()
        site.loop.run_pending()
        table = take_table_of_threads(site.connections, site.loop.time())
        found = [(entry.target, entry.state, entry.sent) for entry in table.entries]
        assert found == [("/0", "running", None), ("/2", "queued", None)]
        assert table.entries[0].thread is not None
        application.gate.release(2)
        for client in clients[0], clients[2]:
            assert client.wait().status == 200

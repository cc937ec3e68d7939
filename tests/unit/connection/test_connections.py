"""What all connections share: the cap, Retry-After, the Date, the drain."""

from __future__ import annotations

from wire import DATE, HELLO, WALL, Held, Site

from wsgi_async.connection.connections import REFUSAL_MARGIN, SILENCE, WARN_EVERY, Phase
from wsgi_async.connection.open_connection import Wait
from wsgi_async.connection.states import ConnectionState

# --- the cap ------------------------------------------------------------------------------------


def test_at_the_cap_the_oldest_idle_connection_is_closed() -> None:
    with Site(cap=3) as site:
        clients = [site.connect() for _ in range(3)]
        for client in (clients[1], clients[0], clients[2]):
            client.get()
            site.loop.clock.advance(1)
        newcomer = site.connect()
        site.loop.run_pending()
        assert [client.transport.is_lost for client in clients] == [False, True, False]
        assert newcomer.get().body == HELLO
        assert site.observer.warnings == []


def test_to_make_room_an_idle_connection_with_bytes_unsent_is_dropped_at_once() -> None:
    """Closing it in order would keep its descriptor for as long as it takes nothing."""
    with Site(cap=1) as site:
        idle = site.connect(window=20)
        idle.ask()
        site.loop.run_until(lambda: idle.state is ConnectionState.IDLE)
        assert idle.transport.get_write_buffer_size() > 0
        newcomer = site.connect()
        site.loop.run_pending()
        assert idle.transport.is_lost
        assert newcomer.get().body == HELLO


def test_who_was_silent_from_the_beginning_goes_before_who_is_idle() -> None:
    with Site(cap=2, header_timeout=30) as site:
        user = site.connect()
        user.get()
        silent = site.connect()
        fresh = site.connect()  # nobody has been silent for long: the idle one has to go
        site.loop.run_pending()
        assert (user.transport.is_lost, silent.transport.is_lost) == (True, False)
        site.loop.clock.advance(SILENCE)
        newcomer = site.connect()
        site.loop.run_pending()
        assert (silent.transport.is_lost, fresh.transport.is_lost) == (True, False)
        assert newcomer.get().body == HELLO


def test_a_crowd_of_silent_connections_does_not_push_the_users_out() -> None:
    with Site(cap=6, header_timeout=30) as site:
        users = [site.connect() for _ in range(3)]
        for user in users:
            user.get()
        for _ in range(20):
            site.connect()
            site.loop.clock.advance(SILENCE)
            site.loop.run_pending()
        for user in users:
            assert user.get().body == HELLO


def test_at_the_cap_without_an_idle_connection_the_newcomer_gets_503() -> None:
    application = Held()
    with Site(application, cap=2) as site:
        clients = [site.connect() for _ in range(2)]
        for client in clients:
            client.ask()
        newcomer = site.connect()
        newcomer.judge.methods.append("GET")
        (answer,) = newcomer.answers
        assert answer.status == 503
        assert answer["retry-after"] == "1"
        assert newcomer.state is ConnectionState.LINGERING
        newcomer.transport.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert newcomer.state is ConnectionState.LINGERING
        application.gate.release(2)
        for client in clients:
            assert client.wait().body == HELLO
        newcomer.transport.receive_eof()
        site.loop.run_pending()
        assert site.connect().transport.sent == b""


def test_far_beyond_the_cap_nobody_is_lingered_for() -> None:
    application = Held()
    with Site(application, cap=1) as site:
        client = site.connect()
        client.ask()
        crowd = [site.connect() for _ in range(REFUSAL_MARGIN + 10)]
        site.loop.run_pending()
        assert len(site.connections.open) == 1 + REFUSAL_MARGIN
        assert sum(newcomer.transport.is_lost for newcomer in crowd) == 10
        application.gate.release()
        for newcomer in crowd:
            newcomer.judge.methods.append("GET")


def test_refusals_are_told_once_a_minute() -> None:
    application = Held()
    with Site(application, cap=1) as site:
        client = site.connect()
        client.ask()
        for _ in range(5):
            site.connect().judge.methods.append("GET")
            site.loop.clock.advance(1)
        assert len(site.observer.warnings) == 1
        assert "--max-connections" in site.observer.warnings[0]
        site.loop.clock.advance(WARN_EVERY)
        for _ in range(2):
            site.connect().judge.methods.append("GET")
        assert len(site.observer.warnings) == 2
        application.gate.release()


# --- the rest -----------------------------------------------------------------------------------


def test_the_date_follows_the_clock_on_the_wall() -> None:
    with Site() as site:
        client = site.connect()
        assert client.get()["date"] == DATE
        site.connections.tick(site.loop.time(), WALL + 0.9)
        assert client.get()["date"] == DATE
        site.connections.tick(site.loop.time(), WALL + 1)
        assert client.get()["date"] == "Sun, 06 Nov 1994 08:49:38 GMT"


def test_all_closed_is_set_by_the_last_connection() -> None:
    with Site() as site:
        first, second = site.connect(), site.connect()
        site.connections.phase = Phase.DRAINING
        event = site.connections.all_closed()
        assert not event.is_set()
        first.transport.reset()
        site.loop.run_pending()
        assert not event.is_set()
        second.transport.reset()
        site.loop.run_pending()
        assert event.is_set()


def test_each_state_waits_for_its_own() -> None:
    with Site() as site:
        waits = site.connections.waits
        client = site.connect()

        def waiting() -> set[Wait]:
            return {wait for wait, deadlines in waits.items() if len(deadlines)}

        assert waiting() == {Wait.FIRST_BYTE}
        client.transport.receive(b"GET ")
        assert waiting() == {Wait.HEAD}
        client.send("/ HTTP/1.1\r\nHost: a\r\n\r\n", "GET")
        assert waiting() == set()
        client.wait()
        assert waiting() == {Wait.REQUEST}
        client.send("bad\r\n\r\n", "GET")
        assert waiting() == {Wait.LINGER}
        client.transport.receive_eof()
        site.loop.run_pending()
        assert waiting() == set()


def test_each_lost_connection_is_told_to_whoever_accepts() -> None:
    with Site() as site:
        told: list[int] = []
        site.connections.on_lost = lambda: told.append(len(site.connections.open))
        clients = [site.connect() for _ in range(3)]
        for client in clients:
            client.transport.reset()
            site.loop.run_pending()
        assert told == [2, 1, 0]

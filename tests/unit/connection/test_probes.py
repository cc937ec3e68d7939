"""What the loop answers about itself: paths, words, order, and that no thread is needed."""

from __future__ import annotations

import json
import os
from http import HTTPStatus
from typing import Any

import pytest
from wire import HELLO, Held, Site

from wsgi_async import __version__
from wsgi_async.config.options import Config
from wsgi_async.connection.probes import Probes
from wsgi_async.connection.states import ConnectionState
from wsgi_async.connection.vitals import LoopVitals, Vitals
from wsgi_async.http.admission import admit
from wsgi_async.http.request import RequestHead

PATHS: dict[str, Any] = {"health_path": "/healthz", "ready_path": "/readyz"}
WELL = Vitals(threads=8, busy=1, lost=0, queued=0, oldest_wait=0.0, connections=3, uptime=12.3456)


def head(target: str = "/readyz", method: str = "GET", *fields: tuple[str, str]) -> RequestHead:
    lines = "".join([f"{name}: {value}\r\n" for name, value in fields])
    return admit(method, target, "1.1", f"{method} {target} HTTP/1.1\r\nHost: a\r\n{lines}\r\n")


def ask(vitals: Vitals = WELL, *args: Any, is_leaving: bool = False) -> tuple[int, bytes, str]:
    probes = Probes(Config(**PATHS))
    request = head(*args)
    assert probes.wants(request)
    response, body = probes.answer(request, vitals, is_leaving=is_leaving)
    assert response.reason == HTTPStatus(response.status).phrase
    assert ("Cache-Control", "no-store") in response.fields
    return response.status, body, dict(response.fields)["Content-Type"]


# --- pure -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "method", "fields", "wanted"),
    [
        ("/healthz", "GET", [], True),
        ("/readyz", "HEAD", [], True),
        ("/readyz?x=y", "GET", [], True),
        ("http://a/healthz", "GET", [], True),
        ("/healthz/", "GET", [], False),
        ("/HEALTHZ", "GET", [], False),
        ("/%68ealthz", "GET", [], False),
        ("//healthz", "GET", [], False),
        ("/healthz", "POST", [], False),
        ("/healthz", "get", [], False),
        ("/healthz", "GET", [("Content-Length", "0")], True),
        ("/healthz", "GET", [("Content-Length", "1")], False),
        ("/healthz", "GET", [("Transfer-Encoding", "chunked")], False),
        ("*", "OPTIONS", [], False),
    ],
)
def test_which_requests_are_answered(
    target: str, method: str, fields: list[tuple[str, str]], wanted: bool
) -> None:
    assert Probes(Config(**PATHS)).wants(head(target, method, *fields)) is wanted


def test_an_empty_path_is_off() -> None:
    assert not Probes(Config())
    probes = Probes(Config(ready_path="/readyz"))
    assert probes
    assert not probes.wants(head("*", "OPTIONS"))
    assert not probes.wants(head("/healthz"))


def test_health_is_ok_whatever_happens() -> None:
    hung = WELL._replace(busy=8, lost=8, queued=100, oldest_wait=1000.0)
    assert ask(hung, "/healthz", is_leaving=True)[:2] == (200, b"ok\n")


@pytest.mark.parametrize(
    ("vitals", "is_leaving", "status", "word"),
    [
        (WELL, False, 200, b"ready\n"),
        (WELL, True, 503, b"draining\n"),
        (WELL._replace(queued=9, oldest_wait=5.0), False, 200, b"ready\n"),
        (WELL._replace(queued=9, oldest_wait=5.1), False, 503, b"saturated\n"),
        (WELL._replace(queued=9, oldest_wait=5.1), True, 503, b"draining\n"),
        (WELL._replace(lost=7), False, 200, b"ready\n"),
        (WELL._replace(lost=8), False, 503, b"saturated\n"),
        (WELL._replace(busy=8), False, 200, b"ready\n"),
        (WELL._replace(queued=1, neglected=1.0), False, 200, b"ready\n"),
        (WELL._replace(queued=1, neglected=1.1), False, 503, b"stalled\n"),
        (WELL._replace(queued=1, neglected=1.1), True, 503, b"draining\n"),
    ],
)
def test_readiness(vitals: Vitals, is_leaving: bool, status: int, word: bytes) -> None:
    assert ask(vitals, is_leaving=is_leaving)[:2] == (status, word)


@pytest.mark.parametrize(
    ("target", "accept", "is_json"),
    [
        ("/readyz", None, False),
        ("/readyz?json", None, True),
        ("/readyz?json=1", None, False),
        ("/readyz", "application/json", True),
        ("/readyz", "text/html, Application/JSON;q=0.9", True),
        ("/readyz", "*/*", False),
    ],
)
def test_details_on_request(target: str, accept: str | None, is_json: bool) -> None:
    fields = [("Accept", accept)] if accept is not None else []
    _, body, kind = ask(WELL._replace(lost=8), target, "GET", *fields)
    assert (kind == "application/json") is is_json
    if not is_json:
        assert body == b"saturated\n"
        return
    assert json.loads(body) == {
        "status": "saturated",
        "pid": os.getpid(),
        "threads": 8,
        "busy": 1,
        "lost": 8,
        "queued": 0,
        "oldest_wait": 0.0,
        "neglected": 0.0,
        "connections": 3,
        "uptime": 12.346,
        "application_loop": None,
        "version": __version__,
    }


def test_a_blocked_application_loop_is_told_and_no_reason_to_be_asked_less() -> None:
    vitals = WELL._replace(application_loop=LoopVitals(blocked=1.23456, live=7))
    assert ask(vitals) == (200, b"ready\n", "text/plain; charset=utf-8")
    _, body, _ = ask(vitals, "/readyz?json")
    assert json.loads(body)["application_loop"] == {"blocked": 1.235, "live": 7}


# --- on a connection ------------------------------------------------------------------------------


@pytest.mark.parametrize("parser", ["auto", "h11"])
def test_a_probe_keeps_its_connection(parser: str) -> None:
    with Site(parser=parser, **PATHS) as site:
        client = site.connect()
        for count in range(1, 6, 2):
            client.ask("/healthz")
            answer = client.wait(count)
            assert (answer.status, answer.body, answer.keeps_alive) == (200, b"ok\n", True)
            assert client.state is ConnectionState.IDLE
            client.ask("/")
            assert client.wait(count + 1).body == HELLO
        assert site.pool.submitted == 3


@pytest.mark.parametrize(
    ("version", "fields", "keeps_alive"),
    [
        ("1.1", ["Connection: close"], False),
        ("1.0", [], False),
        ("1.0", ["Connection: keep-alive"], True),
    ],
)
def test_a_probe_obeys_its_client(version: str, fields: list[str], keeps_alive: bool) -> None:
    with Site(**PATHS) as site:
        client = site.connect()
        client.ask("/healthz", *fields, version=version)
        site.loop.run_pending()
        assert ("keep-alive" in client.wait().all("connection")) is keeps_alive
        assert client.ends is not keeps_alive


def test_a_head_of_a_probe_has_no_body() -> None:
    with Site(**PATHS) as site:
        client = site.connect()
        client.ask("/readyz", method="HEAD")
        answer = client.wait()
        assert (answer.status, answer["content-length"], answer.body) == (200, "6", b"")
        client.ask("/readyz")
        assert client.wait(2).body == b"ready\n"


def test_other_methods_are_the_applications() -> None:
    with Site(**PATHS) as site:
        client = site.connect()
        client.ask("/healthz", "Content-Length: 1", method="POST", body=b"x")
        assert client.wait().body == HELLO
        client.ask("/healthz", "Content-Length: 1", body=b"x")
        assert client.wait(2).body == HELLO


def test_without_the_options_the_paths_are_the_applications() -> None:
    with Site() as site:
        client = site.connect()
        assert site.connections.probes is None
        client.ask("/healthz")
        assert client.wait().body == HELLO


def test_pipelined_probes_wait_for_their_turn() -> None:
    application = Held()
    with Site(application, **PATHS) as site:
        client = site.connect()
        client.ask("/")
        application.wait_entered()
        client.ask("/healthz")
        client.ask("/healthz")
        site.loop.run_pending()
        assert client.answers == []
        application.gate.release()
        client.wait(3)
        assert [bytes(answer.body) for answer in client.answers] == [HELLO, b"ok\n", b"ok\n"]


def test_a_segment_of_a_thousand_probes_is_answered_in_order() -> None:
    count = 1500
    with Site(**PATHS) as site:
        client = site.connect()
        request = b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n"
        client.send(request * count, *["GET"] * count)
        client.ask("/")
        client.wait(count + 1)
        assert {bytes(answer.body) for answer in client.answers[:-1]} == {b"ready\n"}
        assert client.answers[-1].body == HELLO


def test_who_does_not_take_the_answers_to_its_probes_is_not_read_any_more() -> None:
    with Site(send_timeout=60, min_rate=0, **PATHS) as site:
        client = site.connect(window=0)
        request = b"GET /readyz?json HTTP/1.1\r\nHost: a\r\n\r\n"
        sent = 0
        while client.transport.is_reading() and sent < 100_000:
            client.judge.methods += ["GET"] * 100
            client.transport.receive(request * 100)
            sent += 100
            site.loop.run_pending()
        assert sent < 100_000
        assert client.state is ConnectionState.FLUSHING
        assert client.transport.get_write_buffer_size() < 200_000
        client.transport.take()
        client.wait(sent)
        site.loop.run_pending()
        assert client.state is ConnectionState.IDLE


def test_a_client_that_vanishes_before_the_next_turn_leaves_nothing() -> None:
    with Site(**PATHS) as site:
        client = site.connect()
        client.ask("/healthz")
        client.transport.reset()
        site.loop.run_pending()
        assert client.transport.is_lost


def test_a_half_closed_client_gets_its_answer() -> None:
    with Site(**PATHS) as site:
        client = site.connect()
        client.ask("/healthz")
        client.transport.receive_eof()
        assert client.wait().body == b"ok\n"
        site.loop.run_pending()
        assert client.transport.is_lost


def test_probes_are_answered_while_every_thread_hangs_and_the_queue_is_full() -> None:
    application = Held()
    with Site(application, threads=1, queue_size=1, ready_max_wait=5, **PATHS) as site:
        running, queued, refused, prober = (site.connect() for _ in range(4))
        running.ask()
        application.wait_entered()
        queued.ask()
        refused.ask()
        assert refused.wait().status == 503
        prober.ask("/healthz")
        assert prober.wait().body == b"ok\n"
        prober.ask("/readyz")
        assert prober.wait(2).body == b"ready\n"
        site.advance(5.25)
        prober.ask("/readyz?json")
        answer = prober.wait(3)
        assert answer.status == 503
        details = json.loads(answer.body)
        assert details["status"] == "saturated"
        assert (details["busy"], details["queued"], details["oldest_wait"]) == (1, 1, 5.25)
        assert details["connections"] == 3
        application.gate.release(2)
        assert queued.wait().status == 200
        prober.ask("/readyz")
        assert prober.wait(4).status == 200


def test_probes_are_answered_beyond_the_cap_of_connections() -> None:
    application = Held()
    with Site(application, cap=2, header_timeout=5, **PATHS) as site:
        busy = [site.connect() for _ in range(2)]
        for client in busy:
            client.ask()
        for target in ("/healthz", "/readyz"):
            prober = site.connect()
            prober.ask(target)
            answer = prober.wait()
            assert (answer.status, answer.keeps_alive) == (200, False)
            assert prober.ends
        other, silent = site.connect(), site.connect()
        other.ask()
        answer = other.wait()
        assert (answer.status, answer["retry-after"], other.ends) == (503, "1", True)
        assert b"Too many connections" in answer.body
        site.advance(2)
        late = site.connect()
        assert silent.state is late.state is ConnectionState.NEW, (
            "who is beyond the cap makes no room"
        )
        assert len(site.connections.refused) == len(site.connections.open) - 2
        site.advance(3.25)
        assert silent.ends
        application.gate.release(2)
        assert [client.wait().status for client in busy] == [200, 200]
        assert len(application.calls) == 2


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_request_beyond_the_cap_is_refused_by_its_name(method: str) -> None:
    """Its head was read, to see whether it asks for a probe: the log says which request it was, and
    a HEAD gets no body."""
    application = Held()
    with Site(application, cap=1, **PATHS) as site:
        busy, other = site.connect(), site.connect()
        busy.ask()
        application.wait_entered()
        other.ask("/shop", method=method)
        answer = other.wait()
        assert (answer.status, bool(answer.body)) == (503, method == "GET")
        ((request, is_running),) = site.observer.refused_requests
        assert request is not None
        assert (request.method, request.target, is_running) == (method, "/shop", False)
        assert site.observer.finished == []
        application.gate.release()
        assert busy.wait().status == 200


def test_who_leaves_is_not_ready_and_says_close() -> None:
    with Site(**PATHS) as site:
        kept, healthy = site.connect(), site.connect()
        kept.ask("/readyz")
        kept.wait()
        site.leave()
        for client, target, status in (
            (kept, "/readyz", 503),
            (healthy, "/healthz", 200),
            (site.connect(), "/readyz", 503),
        ):
            client.ask(target)
            answer = client.wait(len(client.judge.methods))
            assert (answer.status, answer.keeps_alive) == (status, False)
            site.loop.run_pending()
            assert client.ends


def test_draining_answers_a_probe_whose_head_had_begun() -> None:
    with Site(**PATHS) as site:
        client = site.connect()
        client.transport.receive(b"GET /readyz HT")
        site.drain()
        client.send("TP/1.1\r\nHost: a\r\n\r\n", "GET")
        assert client.wait().body == b"draining\n"


def test_a_probe_is_in_the_access_log() -> None:
    with Site(**PATHS) as site:
        client = site.connect()
        client.ask("/healthz?x")
        client.wait()
        site.loop.run_pending()
        [(request, response)] = site.observer.finished
        assert (request.method, request.target) == ("GET", "/healthz?x")
        assert (response.status, response.body_size, response.complete) == (200, 3, True)


def test_a_probe_makes_no_request_of_the_application() -> None:
    application = Held()
    with Site(application, **PATHS) as site:
        client = site.connect()
        client.ask("/healthz")
        client.wait()
        assert application.calls == []
        assert (site.pool.submitted, site.pool.completed, site.mailbox.wakes) == (0, 0, 0)

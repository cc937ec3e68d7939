"""``--server-timing`` on fakes: where the time went, in the head of the application's response."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from timed import Clock, Timed, put_clock
from wire import HELLO, Held, Site, responding

Application = Callable[..., Any]
WORKED = "queue;dur=0.0, app;dur=1500.0, cpu;dur=250.0"


clock = pytest.fixture(put_clock)


def working(clock: Clock, application: Application) -> Application:
    """The same application, after some work."""

    def work(environ: dict[str, Any], start_response: Any) -> Any:
        clock.work(1.5, 0.25)
        return application(environ, start_response)

    return work


def raises(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    raise ZeroDivisionError


def file(environ: dict[str, Any], start_response: Any) -> Any:
    source = tempfile.TemporaryFile()  # noqa: SIM115
    source.write(b"x" * 100_000)
    source.seek(0, os.SEEK_SET)
    start_response("200 OK", [])
    return environ["wsgi.file_wrapper"](source)


APPLICATIONS: dict[str, tuple[Application, int]] = {
    "list": (responding(), 200),
    "with a length": (responding(fields=[("Content-Length", str(len(HELLO)))], stream=True), 200),
    "stream": (responding(stream=True), 200),
    "empty stream": (responding(chunks=[], stream=True), 200),
    "more than crosses at once": (responding(chunks=[b"x" * 50_000]), 200),
    "file": (file, 200),
    "204": (responding("204 No Content"), 204),
    "304": (responding("304 Not Modified"), 304),
    "cookie": (responding("404 Not Found", [("Set-Cookie", "a=b")]), 404),
    "500": (raises, 500),
}


@pytest.mark.parametrize("name", APPLICATIONS)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_each_response_of_the_application_has_it_once(name: str, method: str, clock: Clock) -> None:
    application, status = APPLICATIONS[name]
    with Site(working(clock, application), server_timing=True) as site:
        client = site.connect()
        for _ in range(2):  # what is remembered of heads is not this
            answer = client.get(method=method)
            assert answer.status == status
            assert answer.all("server-timing") == [WORKED]
            assert answer.keeps_alive


def test_it_is_off_by_default() -> None:
    with Site(subscribers=[Timed()]) as site:
        assert site.connect().get().all("server-timing") == []


def test_what_comes_after_the_first_chunk_is_not_in_it(clock: Clock) -> None:
    """The head has left by then."""

    def application(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        clock.work(1.5, 0.25)
        yield b"first"
        clock.work(100, 100)
        yield b"second"

    with Site(application, server_timing=True) as site:
        assert site.connect().get().all("server-timing") == [WORKED]


def test_the_wait_for_a_thread_is_told(clock: Clock) -> None:
    held = Held()
    with Site(held, threads=1, server_timing=True) as site:
        first, second = site.connect(), site.connect()
        first.ask()
        held.wait_entered()
        second.ask()
        clock.now += 0.75
        held.gate.release(2)
        assert second.wait().all("server-timing") == ["queue;dur=750.0, app;dur=0.0, cpu;dur=0.0"]
        assert first.wait().all("server-timing") == ["queue;dur=0.0, app;dur=750.0, cpu;dur=0.0"]


def test_the_applications_own_stands_beside_it(clock: Clock) -> None:
    application = responding(fields=[("server-timing", "db;dur=7")])
    with Site(working(clock, application), server_timing=True) as site:
        assert site.connect().get().all("server-timing") == ["db;dur=7", WORKED]


def test_what_the_server_answers_has_none() -> None:
    with Site(server_timing=True, health_path="/health", max_body_size=5) as site:
        client = site.connect()
        assert client.get("/health").all("server-timing") == []
        client.ask("/", "Content-Length: 9", method="POST")
        refusal = client.wait(2)
        assert (refusal.status, refusal.all("server-timing")) == (413, [])


def test_a_small_response_is_two_crossings_and_one_write() -> None:
    """As without it: the field comes to the head before that crosses."""
    with Site(server_timing=True) as site:
        client = site.connect()
        client.ask()
        site.pool_has_ended()
        assert client.wait().body == HELLO
        assert site.pool.submitted + site.mailbox.wakes == 2
        assert len(client.transport.writes) == 1

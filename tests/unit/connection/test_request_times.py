"""``wsgi_async.times`` in the environ: what the application may know of its own time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from timed import Clock, Timed, put_clock
from wire import HELLO, Held, Site

from wsgi_async.connection.timing import RequestTimes

KEY = "wsgi_async.times"


clock = pytest.fixture(put_clock)


def values(times: RequestTimes) -> tuple[float, ...]:
    return tuple(round(part, 6) for part in (times.upload, times.queue, times.app, times.cpu))


class Keeping:
    """An application that keeps its times, and looks at them after some work."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.kept: list[RequestTimes] = []
        self.seen: list[tuple[float, ...]] = []

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        times = environ[KEY]
        self.kept.append(times)
        self.seen.append(values(times))
        self.clock.work(3, 0.5)
        self.seen.append(values(times))
        start_response("200 OK", [])
        return [HELLO]


def test_it_is_not_there_where_nobody_asks() -> None:
    seen: list[bool] = []

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.append(KEY in environ)
        start_response("200 OK", [])
        return [HELLO]

    with Site(application) as site:
        site.connect().get()
    with Site(application, server_timing=True) as site:
        site.connect().get()
    with Site(application, subscribers=[Timed()]) as site:
        site.connect().get()
    assert seen == [False, True, True]


def test_it_tells_what_is_known_so_far(clock: Clock) -> None:
    application, held = Keeping(clock), Held()

    def dispatch(environ: dict[str, Any], start_response: Any) -> Any:
        inner = held if environ["PATH_INFO"] == "/held" else application
        return inner(environ, start_response)

    with Site(dispatch, threads=1, subscribers=[Timed()]) as site:
        site.connect().ask("/held")
        held.wait_entered()
        client = site.connect()
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nx", "POST")
        clock.now += 1
        client.send(b"x")
        clock.now += 2
        held.gate.release()
        client.wait()
        site.settle()
    assert application.seen == [(1, 2, 0, 0), (1, 2, 3, 0.5)]
    clock.now += 100  # it is over, and its time with it
    [times] = application.kept
    assert values(times) == (1, 2, 3, 0.5)
    assert repr(times) == "<upload 1000.0 ms, queue 2000.0 ms, app 3000.0 ms, cpu 500.0 ms>"


def test_another_thread_may_ask(clock: Clock) -> None:
    """Its own processor time is not the request's."""
    seen: list[tuple[float, ...]] = []

    def application(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        clock.work(2, 1)
        yield b"x"  # with which the processor time is told
        clock.work(4, 3)

        def look() -> None:
            clock.work(0, 50)
            seen.append(values(environ[KEY]))

        thread = threading.Thread(target=look)
        thread.start()
        thread.join()

    with Site(application, subscribers=[Timed()]) as site:
        site.connect().get()
        site.settle()
    assert seen == [(0, 0, 6, 1)]


def test_it_cannot_be_changed(clock: Clock) -> None:
    application = Keeping(clock)
    with Site(application, subscribers=[Timed()]) as site:
        site.connect().get()
        site.settle()
    for name in ("upload", "queue", "app", "cpu", "other"):
        with pytest.raises(AttributeError):
            setattr(application.kept[0], name, 1.0)


def test_time_in_which_it_is_suspended_is_not_the_applications(clock: Clock) -> None:
    seen: list[tuple[float, ...]] = []

    def application(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        for _ in range(8):
            clock.work(1, 0.25)
            yield b"x" * 65536
            seen.append(values(environ[KEY]))

    options: dict[str, Any] = {"response_overflow": "park", "response_buffer": 131072}
    with Site(application, subscribers=[Timed()], **options) as site:
        client = site.connect(window=0)
        client.ask()
        site.settle()
        while not client.answers:
            clock.now += 10
            client.transport.take(200_000)
            site.settle()
    assert seen == [(0, 0, count, count / 4) for count in range(1, 9)]

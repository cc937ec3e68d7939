"""``wsgi.early_hints`` on real sockets, with both kinds of loop and both parsers."""

from __future__ import annotations

import itertools
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import h11
import pytest
from rawclient import TIMEOUT, RawClient, request
from serving import both_loops, serving

LINK = ("Link", "</style.css>; rel=preload; as=style")
both_parsers = pytest.mark.parametrize("parser", ["auto", "h11"])


class App:
    """Gives a hint, and another one when the client has seen the first; or very many."""

    def __init__(self) -> None:
        self.seen = threading.Event()
        self.done = threading.Event()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        hint, path = environ["wsgi.early_hints"], environ["PATH_INFO"]
        if path == "/many":
            for number in range(100_000):
                hint([("X-Number", str(number)), ("X-Filling", "x" * 500)])
        else:
            hint([LINK])
        if path == "/wait":
            assert self.seen.wait(TIMEOUT)
            hint([("X-Second", "1")])
        start_response("200 OK", [("Content-Type", "text/plain")])
        self.done.set()
        return iter([b"part"] * 3) if path == "/stream" else [path.encode()]


def events_of(client: RawClient, target: str, method: str = "GET") -> Iterator[h11.Event]:
    client.send(request(target, method))
    return client._events(method)


def interim(events: Iterator[h11.Event]) -> tuple[list[dict[bytes, bytes]], int]:
    """The fields of each 103, and the final status."""
    hints = []
    for event in events:
        if isinstance(event, h11.InformationalResponse):
            assert (event.status_code, event.reason) == (103, b"Early Hints")
            hints.append(dict(event.headers))
        elif isinstance(event, h11.Response):
            status = event.status_code
    return hints, status


@both_loops
@both_parsers
def test_a_client_sees_them_before_the_application_has_answered(loop: str, parser: str) -> None:
    application = App()
    with serving(application, loop=loop, parser=parser) as served, served.client() as client:
        events = events_of(client, "/wait")
        first = next(events)
        assert isinstance(first, h11.InformationalResponse)
        assert dict(first.headers) == {b"link": LINK[1].encode()}
        assert not application.done.is_set()
        application.seen.set()
        assert interim(events) == ([{b"x-second": b"1"}], 200)
        for target, method in [("/", "GET"), ("/stream", "GET"), ("/", "HEAD")]:
            hints, status = interim(events_of(client, target, method))
            assert (len(hints), status) == (1, 200)
        served.wait_until(lambda: served.pool.busy == 0)


@both_loops
def test_a_client_that_does_not_read_holds_no_thread(loop: str) -> None:
    """50 MB of hints: most are left out, the thread goes on, and the answer arrives all the same,
    after hints in their order."""
    application = App()
    with serving(application, loop=loop, threads=1, min_rate=0) as served:
        with served.client(receive_buffer=4096) as client:
            client.send(request("/many"))
            assert application.done.wait(3 * TIMEOUT)
            served.wait_until(lambda: served.pool.busy == 0)
            with served.client() as other:
                assert other.get("/").body == b"/"
            hints, status = interim(client._events("GET"))
            assert status == 200
            numbers = [int(fields[b"x-number"]) for fields in hints]
            assert 0 < len(numbers) < 100_000
            assert all(before < after for before, after in itertools.pairwise(numbers))
        served.wait_until_idle()


@both_loops
def test_a_client_that_leaves_is_sent_no_more(loop: str) -> None:
    application = App()
    with serving(application, loop=loop) as served:
        client = served.client()
        first = next(events_of(client, "/wait"))
        assert isinstance(first, h11.InformationalResponse)
        client.reset()
        served.wait_until(lambda: not served.connections.open)
        application.seen.set()
        assert application.done.wait(TIMEOUT)
        served.wait_until_idle()
        assert served.recorder.of("app_error") == []


@both_loops
def test_on_a_unix_socket(loop: str, tmp_path: Any) -> None:
    path = f"{tmp_path}/app.sock"
    with serving(App(), loop=loop, bind=[f"unix:{path}"]), RawClient(path) as client:
        assert interim(events_of(client, "/")) == ([{b"link": LINK[1].encode()}], 200)


def test_a_client_that_has_ended_its_side_gets_them() -> None:
    with serving(App()) as served, served.client() as client:
        client.send(request("/"))
        client.half_close()
        assert interim(client._events("GET")) == ([{b"link": LINK[1].encode()}], 200)


def test_http_1_0_has_none() -> None:
    with serving(App()) as served, served.client() as client:
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        assert client.read_to_end().startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_process_that_the_application_forks_sends_none() -> None:
    """What it says goes nowhere, and it may go on to say it."""

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        with warnings.catch_warnings():  # of a fork beside threads, from CPython 3.12 on
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if not pid:
            environ["wsgi.early_hints"]([("X-Child", "1")])
            os._exit(7)
        _, status = os.waitpid(pid, 0)
        environ["wsgi.early_hints"]([("X-Parent", "1")])
        start_response("200 OK", [])
        return [b"%d" % os.waitstatus_to_exitcode(status)]

    with serving(application) as served, served.client() as client:
        client.send(request("/"))
        hints, body = [], b""
        for event in client._events("GET"):
            if isinstance(event, h11.InformationalResponse):
                hints.append(dict(event.headers))
            elif isinstance(event, h11.Data):
                body += event.data
        assert (hints, body) == ([{b"x-parent": b"1"}], b"7")

"""A server for a block, and what it tells about its requests."""

from __future__ import annotations

import logging
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rawclient import TIMEOUT, RawClient, request

import wsgi_async
from wsgi_async.events import Observer, RequestInfo, ResponseInfo
from wsgi_async.testing import LiveRequest, LiveServer, live_server


def hello(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]


def fails(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    if environ["PATH_INFO"] == "/text":
        start_response("200 OK", [])
        return ["text"]  # type: ignore[list-item]
    raise ValueError(f"no {environ['PATH_INFO']}")


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=TIMEOUT) as response:
        return response.read()  # type: ignore[no-any-return]


def fetch_error(url: str) -> int:
    with pytest.raises(urllib.error.HTTPError) as caught:
        fetch(url)
    caught.value.close()
    return caught.value.code


def test_it_serves_while_the_block_runs() -> None:
    with live_server(hello, threads=2) as live:
        assert live.url == f"http://127.0.0.1:{live.port}"
        assert fetch(live.url + "/a?b") == b"hello"
        (asked,) = live.wait_for_requests(1)
    assert (asked.method, asked.target, asked.status) == ("GET", "/a?b", 200)
    assert (asked.body_size, asked.is_complete, asked.refusal) == (5, True, None)
    assert asked.info is not None
    assert ("Host", f"127.0.0.1:{live.port}") in asked.info.fields
    assert asked.client.startswith("127.0.0.1:")
    assert asked.queue is not None
    assert asked.app is not None
    assert asked.send is not None
    assert repr(asked).startswith("<GET /a?b: 200, 5 bytes, ")
    assert live.requests == (asked,)
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", live.port), timeout=TIMEOUT).close()


def test_the_times_tell_the_queue_from_the_application() -> None:
    """One thread: the second request waits as long as the first one is at work."""
    called, go_on = threading.Event(), threading.Event()

    def application(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        if environ["PATH_INFO"] == "/first":
            called.set()
            assert go_on.wait(TIMEOUT)
        yield b"x"

    with live_server(application, threads=1) as live:
        address = ("127.0.0.1", live.port)
        with RawClient(address) as first, RawClient(address) as second:
            first.send(request("/first"))
            assert called.wait(TIMEOUT)
            second.send(request("/second"))
            # The loop has read it once a third one, which it answers itself, has its answer.
            with RawClient(address) as third:
                third.send(b"GET / HTTP/1.1\r\n\r\n")
                assert third.response().status == 400
            threading.Event().wait(0.05)  # time is what is measured, by a clock of milliseconds
            go_on.set()
            assert first.response().body == b"x"
            assert second.response().body == b"x"
        refused, *rest = live.wait_for_requests(3)
    by_target = {asked.target: asked for asked in rest}
    one, two = by_target["/first"], by_target["/second"]
    assert one.queue is not None
    assert one.app is not None
    assert two.queue is not None
    assert two.app is not None
    assert one.app > 0.04
    assert two.queue > 0.04
    assert two.queue > two.app
    assert (refused.status, refused.method, refused.app) == (400, "", None)
    assert refused.refusal == "There is no Host field"
    assert repr(refused) == ("<no request: 400, 0 bytes, 0.0 ms, refused: There is no Host field>")


def test_a_response_that_is_cut() -> None:
    def application(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Length", "10")])
        yield b"abc"

    with live_server(application) as live:
        with RawClient(("127.0.0.1", live.port)) as client:
            client.send(request())
            with pytest.raises(Exception, match="closed"):
                client.response()
        (asked,) = live.wait_for_requests(1)
    assert not asked.is_complete
    assert repr(asked).endswith(", cut>")
    assert [error.message for error in live.errors] == [
        "the body is 7 bytes shorter than its Content-Length"
    ]


def test_waiting_for_requests_ends() -> None:
    with live_server(hello) as live, pytest.raises(TimeoutError, match="0 requests have ended"):
        live.wait_for_requests(1, timeout=0.01)


@pytest.mark.usefixtures("short_linger")
def test_the_end_waits_for_what_is_in_flight() -> None:
    called, go_on = threading.Event(), threading.Event()
    closed = threading.Event()

    def application(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        try:
            called.set()
            assert go_on.wait(TIMEOUT)
            yield b"late"
        finally:
            closed.set()

    with live_server(application) as live:
        client = RawClient(("127.0.0.1", live.port))
        client.send(request())
        assert called.wait(TIMEOUT)
        live.server.observer.stopping = lambda in_flight: go_on.set()  # type: ignore[method-assign]
    assert closed.is_set()
    with client:
        assert client.response().body == b"late"
    (asked,) = live.requests
    assert asked.is_complete


def test_threads_that_do_not_return_are_an_error() -> None:
    called, go_on = threading.Event(), threading.Event()

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        called.set()
        assert go_on.wait(TIMEOUT)
        start_response("200 OK", [])
        return []

    def leave(live: LiveServer) -> None:
        with RawClient(("127.0.0.1", live.port)) as client:
            client.send(request())
            assert called.wait(TIMEOUT)

    with (
        pytest.raises(RuntimeError, match="never returned from the application: 1"),
        live_server(application, graceful_timeout=0.01) as live,
    ):
        leave(live)
    go_on.set()


# --- errors -------------------------------------------------------------------------------------


def test_errors_are_collected() -> None:
    with live_server(fails) as live:
        assert fetch_error(live.url + "/a") == 500
        assert fetch_error(live.url + "/text") == 500
    first, second = live.errors
    assert isinstance(first.error, ValueError)
    assert first.request.target == "/a"
    assert "str" in second.message
    with pytest.raises(ExceptionGroup, match="the application failed") as caught:
        live.raise_errors()
    own, broken = caught.value.exceptions
    assert own is first.error
    assert own.__notes__ == ["GET /a: the application raised"]
    assert isinstance(broken, wsgi_async.ApplicationError)


def test_errors_are_raised_on_demand() -> None:
    with pytest.raises(ExceptionGroup) as caught, live_server(fails, raise_errors=True) as live:
        fetch_error(live.url + "/a")
    assert caught.group_contains(ValueError, match="no /a")
    # What the block raises is not covered up.
    with pytest.raises(TypeError), live_server(fails, raise_errors=True) as live:
        raise TypeError(fetch_error(live.url + "/a"))
    with live_server(hello, raise_errors=True) as live:
        fetch(live.url)


def test_an_exit_is_an_error_too() -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        raise SystemExit(1)

    with live_server(application) as live:
        assert fetch_error(live.url) == 500
    with pytest.raises(ExceptionGroup) as caught:
        live.raise_errors()
    (error,) = caught.value.exceptions
    assert isinstance(error, AssertionError)
    assert isinstance(error.__cause__, SystemExit)


# --- logs ---------------------------------------------------------------------------------------


def test_each_server_has_its_own_records(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("wsgi_async")
    before = logger.level
    with live_server(hello) as one:
        with live_server(fails) as two:
            fetch(one.url + "/one")
            fetch_error(two.url + "/two")
            two.wait_for_requests(1)
        one.wait_for_requests(1)
        logging.getLogger("wsgi_async").warning("nobody's")
    assert [(r.name, r.levelname) for r in one.logs] == [
        ("wsgi_async", "INFO"),
        ("wsgi_async.access", "INFO"),
        ("wsgi_async", "INFO"),
        ("wsgi_async", "INFO"),
    ]
    assert "GET /one" in one.log_text
    assert "GET /one" not in two.log_text
    assert "ValueError: no /two" in two.log_text
    assert "[INFO] Stopped" in two.log_text
    assert logger.level == before
    assert logger.filters == []
    # Nobody else sees more than without it.
    assert [r.levelname for r in caplog.records] == ["ERROR", "WARNING"]


@pytest.mark.parametrize("name", ["wsgi_async", None])
@pytest.mark.parametrize("when", ["before", "after"])
def test_who_asks_for_more_gets_it(
    caplog: pytest.LogCaptureFixture, name: str | None, when: str
) -> None:
    if when == "before":
        caplog.set_level(logging.INFO, logger=name)
    with live_server(hello) as live:
        if when == "after":
            caplog.set_level(logging.INFO, logger=name)
        fetch(live.url)
        live.wait_for_requests(1)
    assert any(record.name == "wsgi_async.access" for record in caplog.records)
    assert any(record.name == "wsgi_async.access" for record in live.logs)


# --- options ------------------------------------------------------------------------------------


def test_subscribers_hear_of_it_too() -> None:
    class Heard(Observer):
        def __init__(self) -> None:
            self.events: list[str] = []

        def request_started(self, request: RequestInfo) -> None:
            self.events.append(f"started {request.target}")

        def request_finished(self, request: RequestInfo, response: ResponseInfo) -> None:
            self.events.append(f"finished {request.target}")
            assert response.app is not None
            raise ValueError("it fails")

    one, two = Heard(), Heard()
    with live_server(hello, observers=[one, two]) as live:
        fetch(live.url + "/a")
        live.wait_for_requests(1)
    assert one.events == two.events == ["started /a", "finished /a"]
    assert live.log_text.count("Heard failed in request_finished()") == 2
    assert live.errors == ()


def test_a_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with live_server(hello, bind=f"unix:{path}") as live:
        assert live.port == 0
        assert live.url == f"unix:{path}"
        with RawClient(path) as client:
            assert client.get("/x").body == b"hello"
        (asked,) = live.wait_for_requests(1)
    assert asked.client == "unix"
    assert None not in (asked.app, asked.queue, asked.send)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"workers": 2}, "workers needs a supervisor"),
        ({"access_logfile": "-"}, "access_logfile is for the command line"),
        ({"tread": 2}, "No such option: tread"),
        ({"host": "not-a-host.invalid"}, "not-a-host.invalid"),
    ],
)
def test_wrong_options(options: dict[str, Any], why: str) -> None:
    with pytest.raises(wsgi_async.ConfigError, match=why), live_server(hello, **options):
        pytest.fail("it serves")
    assert logging.getLogger("wsgi_async").filters == []


def test_what_is_no_application() -> None:
    no_application: Any = 3
    with (
        pytest.raises(wsgi_async.ConfigError, match="not callable: 3"),
        live_server(no_application),
    ):
        pytest.fail("it serves")


@pytest.mark.parametrize("result", ["file", "generator", "object", "None"])
def test_the_application_is_not_changed(result: str) -> None:
    """What it returns is treated as without the clock around it."""

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [])
        if result == "file":
            return environ["wsgi.file_wrapper"](Path(__file__).open("rb"))
        if result == "generator":
            return (piece for piece in [b"a", b"b"])
        return object() if result == "object" else None

    with live_server(application) as live:
        if result == "file":
            with urllib.request.urlopen(live.url, timeout=TIMEOUT) as response:
                assert response.headers["Content-Length"] == str(Path(__file__).stat().st_size)
                assert response.read() == Path(__file__).read_bytes()
        elif result == "generator":
            assert fetch(live.url) == b"ab"
        else:
            assert fetch_error(live.url) == 500
            (error,) = live.errors
            assert f"the application returned {'None' if result == 'None' else ''}" in error.message
        (asked,) = live.wait_for_requests(1)
    assert asked.app is not None


def test_it_is_nobodys_test() -> None:
    assert LiveRequest.__test__ is False

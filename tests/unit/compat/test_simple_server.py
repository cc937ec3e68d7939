"""wsgi_async.compat.simple_server: programs for wsgiref run with another import line."""

from __future__ import annotations

import contextlib
import http.client
import io
import os
import signal
import socket
import socketserver
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from wsgiref import simple_server as stdlib

import pytest
from rawclient import TIMEOUT, RawClient, request
from tools import python, running

from wsgi_async.compat.simple_server import WSGIRequestHandler, WSGIServer, demo_app, make_server
from wsgi_async.errors import ConfigError


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


def hello(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"Hello from {environ['PATH_INFO']}".encode()]


def ask(port: int, path: str = "/", host: str = "127.0.0.1") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT)
    with contextlib.closing(connection):
        connection.request("GET", path, headers={"X-Name": "a value"})
        with connection.getresponse() as response:
            return response.status, response.read()


@contextlib.contextmanager
def in_thread(act: Callable[[], object]) -> Iterator[threading.Thread]:
    thread = threading.Thread(target=act)
    thread.start()
    try:
        yield thread
    finally:
        thread.join(TIMEOUT)
        assert not thread.is_alive()


@contextlib.contextmanager
def served(application: Any = hello, handler: Any = Quiet, **options: Any) -> Iterator[Any]:
    with (
        make_server("127.0.0.1", 0, application, handler_class=handler, **options) as httpd,
        in_thread(httpd.serve_forever),
    ):
        try:
            yield httpd
        finally:
            httpd.shutdown()


def test_serves_until_shut_down_and_again() -> None:
    with make_server("127.0.0.1", 0, hello, handler_class=Quiet) as httpd:
        assert httpd.server_address == ("127.0.0.1", httpd.server_port)
        assert httpd.get_app() is hello
        for _ in range(2):
            with in_thread(httpd.serve_forever):
                assert ask(httpd.server_port, "/x") == (200, b"Hello from /x")
                httpd.shutdown()
            assert os.get_blocking(httpd.fileno())
        httpd.shutdown()  # which does nothing any more
    assert httpd.fileno() == -1


def test_shutdown_may_come_before_serve_forever_has_begun() -> None:
    with make_server("127.0.0.1", 0, hello) as httpd, in_thread(httpd.shutdown):
        httpd.serve_forever()


def test_clients_may_connect_before_it_serves() -> None:
    with (
        make_server("127.0.0.1", 0, hello, handler_class=Quiet) as httpd,
        RawClient(("127.0.0.1", httpd.server_port)) as client,
    ):
        client.send(request("/early"))
        with in_thread(httpd.serve_forever):
            assert client.response().body == b"Hello from /early"
            httpd.shutdown()


def test_empty_host_is_all_interfaces_of_both_families() -> None:
    with make_server("", 0, hello, handler_class=Quiet) as httpd, in_thread(httpd.serve_forever):
        try:
            assert ask(httpd.server_port)[0] == 200
            assert ask(httpd.server_port, host="::1")[0] == 200
        finally:
            httpd.shutdown()


@pytest.mark.usefixtures("short_linger")
def test_handle_request_serves_exactly_one() -> None:
    with make_server("127.0.0.1", 0, hello, handler_class=Quiet) as httpd:
        address = ("127.0.0.1", httpd.server_port)
        with RawClient(address) as first, RawClient(address) as second:
            first.send(request("/1") + request("/2"))
            second.send(request("/3"))
            httpd.handle_request()
            response = first.response()
            assert response.body == b"Hello from /1"
            assert response.fields["connection"] == "close"
            httpd.handle_request()
            assert second.response().body == b"Hello from /3"


def test_handle_request_gives_up_after_its_timeout() -> None:
    class Patient(WSGIServer):
        timeout = 0.01
        waited = 0

        def handle_timeout(self) -> None:
            self.waited += 1

    with make_server("127.0.0.1", 0, hello, server_class=Patient) as httpd:
        httpd.handle_request()
        assert httpd.waited == 1


def test_address_in_use_is_an_os_error() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(OSError, match="in use"),
    ):
        make_server("127.0.0.1", taken.getsockname()[1], hello)


def test_base_environ_is_added() -> None:
    def show(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [f"{environ['x.added']} {environ['SERVER_PORT']}".encode()]

    with served(show) as httpd:
        httpd.base_environ["x.added"] = "yes"
        assert ask(httpd.server_port)[1] == f"yes {httpd.server_port}".encode()


def test_log_is_written_as_in_the_standard_library(capsys: pytest.CaptureFixture[str]) -> None:
    with served(handler=WSGIRequestHandler) as httpd:
        ask(httpd.server_port, "/a?b=1")
        with RawClient(("127.0.0.1", httpd.server_port)) as client:
            client.send(b"nonsense\r\n\r\n")
            assert client.response().status == 400
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("127.0.0.1 - - [")
    assert lines[0].endswith('] "GET /a?b=1 HTTP/1.1" 200 13')
    assert "code 400, message" in lines[1]


def test_what_a_handler_overrides_is_honoured() -> None:
    logged: list[tuple[Any, ...]] = []
    errors = io.StringIO()

    class Handler(WSGIRequestHandler):
        def address_string(self) -> str:
            return "somebody"

        def get_environ(self) -> dict[str, Any]:
            environ = super().get_environ()
            environ["x.command"] = f"{self.command} {self.path} {self.headers['x-name']}"
            return environ

        def get_stderr(self) -> Any:
            return errors

        def log_request(self, code: Any = "-", size: Any = "-") -> None:
            logged.append((code, size, self.requestline, self.client_address[0], self.server))

    def show(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        environ["wsgi.errors"].write("noted\n")
        assert environ["wsgi.input"].read() == b""
        start_response("200 OK", [])
        return [f"{environ['REMOTE_HOST']}; {environ['x.command']}".encode()]

    with served(show, Handler) as httpd:
        body = b"somebody; GET /a%20b?c a value"
        assert ask(httpd.server_port, "/a%20b?c") == (200, body)
    line = "GET /a%20b?c HTTP/1.1"
    assert logged == [("200", len(body), line, "127.0.0.1", httpd)]
    assert errors.getvalue() == "noted\n"


def test_get_environ_sees_the_fields_as_they_were_sent() -> None:
    class Handler(WSGIRequestHandler):
        def get_environ(self) -> dict[str, Any]:
            environ = super().get_environ()
            headers = self.headers
            environ["x.seen"] = [
                *(headers["Content-Type"], headers["content-length"], headers.get_content_type()),
                *(headers.get_all("X-Two"), headers.get_all("Cookie"), "x-two" in headers),
            ]
            return environ

    def show(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [repr(environ["x.seen"]).encode()]

    with served(show, Handler) as httpd, RawClient(("127.0.0.1", httpd.server_port)) as client:
        client.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nX-Two: 1\r\nContent-Type: text/x; a=b\r\n"
            b"X-Two: 2, 3\r\n"
            b"Cookie: a=1\r\nCookie: b=2\r\nContent-Length: 2\r\n\r\nok"
        )
        seen = ["text/x; a=b", "2", "text/x", ["1", "2, 3"], ["a=1", "b=2"], True]
        assert client.response().body == repr(seen).encode()


def test_threading_mixin_is_welcome_and_requests_run_at_once() -> None:
    class Threading(socketserver.ThreadingMixIn, WSGIServer):
        daemon_threads = True

    together = threading.Barrier(3)

    def meet(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        together.wait(TIMEOUT)
        start_response("200 OK", [])
        return [b"met"]

    with (
        served(meet, server_class=Threading) as httpd,
        in_thread(lambda: ask(httpd.server_port)),
        in_thread(lambda: ask(httpd.server_port)),
    ):
        together.wait(TIMEOUT)


def test_service_actions_are_called() -> None:
    acted = threading.Event()

    class Acting(WSGIServer):
        def service_actions(self) -> None:
            acted.set()

    with (
        make_server("127.0.0.1", 0, hello, server_class=Acting) as httpd,
        in_thread(lambda: httpd.serve_forever(poll_interval=0.01)),
    ):
        assert acted.wait(TIMEOUT)
        httpd.shutdown()


def test_demo_app_and_late_application() -> None:
    with served(None) as httpd:
        assert ask(httpd.server_port)[0] == 500
        httpd.set_app(demo_app)
        assert ask(httpd.server_port)[1].startswith(b"Hello world!\n")


def with_method(base: type[Any], name: str) -> type[Any]:
    return type("Special", (base,), {name: lambda self, *args: None})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"handler_class": stdlib.WSGIRequestHandler}, "subclass of wsgi_async.compat"),
        ({"server_class": stdlib.WSGIServer}, "subclass of wsgi_async.compat"),
        ({"handler_class": with_method(WSGIRequestHandler, "handle")}, "Special.handle would"),
        ({"handler_class": with_method(WSGIRequestHandler, "do_GET")}, "Special.do_GET would"),
        ({"server_class": with_method(WSGIServer, "verify_request")}, "verify_request would"),
        (
            {"server_class": type("Forking", (socketserver.ForkingMixIn, WSGIServer), {})},
            "workers=4",
        ),
    ],
)
def test_what_would_have_no_effect_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        make_server("127.0.0.1", 0, hello, **options)
    assert "\n" not in str(caught.value)


PROGRAM = """
from wsgi_async.compat.simple_server import make_server, demo_app
httpd = make_server("", 0, demo_app)
print(f"Serving on http://127.0.0.1:{httpd.server_port}")
try:
    httpd.serve_forever()
except KeyboardInterrupt:
    print("interrupted")
    httpd.server_close()
"""


@pytest.mark.parametrize("hidden", ["", "import sys; sys.modules['uvloop'] = None"])
def test_control_c_is_a_keyboard_interrupt(hidden: str, tmp_path: Path) -> None:
    with running(*python("-c", hidden + PROGRAM), cwd=tmp_path) as process:
        assert ask(int(process.url.rpartition(":")[2]))[0] == 200
        process.signal(signal.SIGINT)
        assert process.wait() == 0
        assert process.output.endswith("interrupted\n")
        assert "Warning" not in process.output


def test_two_at_once_are_refused() -> None:
    with served() as httpd:
        ask(httpd.server_port)
        with pytest.raises(RuntimeError, match="already"):
            httpd.serve_forever()


def test_nobody_imports_it_unasked() -> None:
    import subprocess

    code = "import sys, wsgi_async.cli; assert 'wsgi_async.compat' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=TIMEOUT)

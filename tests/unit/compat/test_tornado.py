"""wsgi_async.compat.tornado: programs for Tornado run with another import line."""

from __future__ import annotations

import contextlib
import datetime
import http.client
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from rawclient import TIMEOUT
from tools import python, running

from wsgi_async.compat import tornado
from wsgi_async.compat.tornado import (
    Error,
    HTTPServer,
    IOLoop,
    OptionParser,
    WSGIContainer,
    bind_sockets,
)
from wsgi_async.errors import ConfigError
from wsgi_async.testing import TestClient


def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [f"{environ['PATH_INFO']} {environ['wsgi_async.threads']}".encode()]


def ask(port: int, host: str = "127.0.0.1") -> bytes:
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT)
    try:
        connection.request("GET", "/")
        with connection.getresponse() as response:
            return response.read()
    finally:
        connection.close()


@pytest.fixture
def loop() -> Iterator[Any]:
    loop = IOLoop.current()
    yield loop
    loop.close()
    assert IOLoop.current(instance=False) is None


def while_asking(loop: Any, *ports: int) -> list[bytes]:
    """Run the loop until each port has answered on both families."""
    answers: list[bytes] = []

    def run() -> None:
        try:
            for port in ports:
                answers.extend([ask(port), ask(port, "::1")])
        finally:
            loop.add_callback(loop.stop)

    thread = threading.Thread(target=run)
    thread.start()
    loop.start()
    thread.join(TIMEOUT)
    return answers


def test_listens_on_both_families_and_serves_while_the_loop_runs(loop: Any) -> None:
    sockets = bind_sockets(0)
    server = HTTPServer(WSGIContainer(application))
    server.add_sockets(sockets)
    assert while_asking(loop, sockets[0].getsockname()[1]) == [b"/ 8", b"/ 8"]
    assert sockets[0].fileno() == -1


def test_bind_and_start_and_several_ports(loop: Any) -> None:
    server = HTTPServer(WSGIContainer(application, ThreadPoolExecutor(3)))
    server.bind(0)
    port = server._pending[0].getsockname()[1]
    server.start()
    other = bind_sockets(0, "localhost")
    server.add_socket(other[0])
    server.add_socket(other[1])
    assert while_asking(loop, port, other[0].getsockname()[1]) == [b"/ 3"] * 4


def test_stop_from_a_callback(loop: Any) -> None:
    server = HTTPServer(WSGIContainer(application))
    server.listen(0)
    sockets = server._sockets
    seen: list[Any] = []

    async def stop() -> None:
        assert IOLoop.current() is loop
        await server.close_all_connections()
        seen.append(sockets[0].fileno())
        loop.stop()

    loop.call_later(0, stop)
    loop.start()
    assert seen == [-1]


def test_callbacks_and_timeouts(loop: Any) -> None:
    seen: list[Any] = []
    loop.add_callback(seen.append, "callback")
    never = loop.call_later(30, seen.append, "never")
    loop.remove_timeout(never)
    loop.add_timeout(datetime.timedelta(milliseconds=1), seen.append, "timedelta")
    loop.add_timeout(loop.time() + 0.02, lambda: (seen.append("time"), loop.stop()))
    loop.start()
    # A timer of a millisecond may be due before the loop looks at callbacks.
    assert sorted(seen) == ["callback", "time", "timedelta"]
    assert seen[-1] == "time"

    async def three() -> int:
        return 3

    assert loop.run_sync(three) == 3
    assert loop.run_sync(lambda: 4) == 4


def test_loop_that_is_stopped_beneath_stops_its_servers_too(loop: Any) -> None:
    server = HTTPServer(WSGIContainer(application))
    server.listen(0)
    sockets = server._sockets
    loop.call_later(0, loop.asyncio_loop.stop)
    loop.start()
    assert sockets[0].fileno() == -1


def test_xheaders_are_believed_as_there() -> None:
    seen: list[tuple[str, str]] = []

    def who(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.append((environ["REMOTE_ADDR"], environ["wsgi.url_scheme"]))
        return application(environ, start_response)  # type: ignore[no-any-return]

    fields = {"X-Forwarded-For": "6.6.6.6, 203.0.113.7, 10.0.0.2", "X-Scheme": "https"}
    cases: list[tuple[dict[str, Any], str]] = [
        ({}, "127.0.0.1"),
        ({"xheaders": True}, "10.0.0.2"),
        ({"xheaders": True, "trusted_downstream": ["10.0.0.2"]}, "203.0.113.7"),
    ]
    for more, address in cases:
        config = HTTPServer(WSGIContainer(who), **more)._config
        names = ("forwarded_allow_ips", "proxy_headers", "secure_scheme_headers")
        options = {name: getattr(config, name) for name in names}
        TestClient(who, **options).get("/", headers=fields)
        assert seen.pop() == (address, "https" if more else "http")


def test_address_in_use_is_an_os_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = HTTPServer(WSGIContainer(application))
        with pytest.raises(OSError, match="in use"):
            server.listen(taken.getsockname()[1], "127.0.0.1")


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: HTTPServer(application), r"takes a WSGIContainer\(application\)"),
        (lambda: WSGIContainer("no"), "not callable"),
        (
            lambda: HTTPServer(
                WSGIContainer(application), xheaders=True, trusted_downstream=["proxy"]
            ),
            "takes addresses",
        ),
        (lambda: HTTPServer(WSGIContainer(application), anything=1), "no argument anything"),
        (lambda: HTTPServer(WSGIContainer(application)).start(4), "--workers n"),
        (lambda: HTTPServer(WSGIContainer(application)).listen(70000), "from 0 to 65535"),
        (lambda: HTTPServer(WSGIContainer(application)).listen(0, reuse_port=True), "reuse_port"),
    ],
)
def test_what_cannot_be_had_is_refused(act: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        act()
    assert "\n" not in str(caught.value)


# --- options


@pytest.fixture
def parser() -> OptionParser:
    parser = OptionParser()
    parser.define("port", default=8080, help="where to listen", metavar="PORT")
    parser.define("name", type=str)
    parser.define("debug", default=False, group="developing")
    parser.define("some_ids", type=int, multiple=True)
    parser.define("pause", type=datetime.timedelta)
    parser.define("ratio", type=float)
    return parser


def test_command_line_has_types(parser: OptionParser) -> None:
    words = "prog --port=80 --name=x --debug --some-ids=1:3,7 --pause=1m30s -ratio=.5 a --b"
    assert parser.parse_command_line(words.split()) == ["a", "--b"]
    assert parser.as_dict() == {
        "port": 80,
        "name": "x",
        "debug": True,
        "some_ids": [1, 2, 3, 7],
        "pause": datetime.timedelta(seconds=90),
        "ratio": 0.5,
    }
    assert (parser.port, parser["port"], parser.some_ids) == (80, 80, [1, 2, 3, 7])
    assert "some-ids" in parser
    parser.port = 81
    assert parser.group_dict("developing") == {"debug": True}
    assert dict(parser.items())["port"] == 81


def test_defaults_and_callbacks() -> None:
    parser, seen = OptionParser(), []
    parser.define("level", default="info", callback=seen.append)
    parser.add_parse_callback(lambda: seen.append("parsed"))
    assert parser.parse_command_line(["prog"]) == []
    assert parser.level == "info"
    parser.parse_command_line(["prog", "--level=debug", "--", "--x"])
    assert seen == ["parsed", "debug", "parsed"]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("--prt=1", r"No such option: --prt\. Did you mean --port\?"),
        ("--port=many", "--port takes a value of type int"),
        ("--port", "--port needs a value"),
        ("--pause=soon", "of type timedelta"),
    ],
)
def test_wrong_words_are_errors(parser: OptionParser, word: str, message: str) -> None:
    with pytest.raises(Error, match=message):
        parser.parse_command_line(["prog", word])


def test_wrong_uses_are_errors(parser: OptionParser) -> None:
    with pytest.raises(Error, match="defined already"):
        parser.define("some-ids")
    with pytest.raises(Error, match="required to be int"):
        parser.port = "80"
    with pytest.raises(AttributeError, match="define it"):
        _ = parser.unknown


def test_help_shows_all_and_ends(parser: OptionParser, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parser.parse_command_line(["prog", "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert "--port=PORT                    where to listen (default 8080)\n" in text
    assert "developing options:" in text


def test_config_file(parser: OptionParser, tmp_path: Path) -> None:
    path = tmp_path / "options.py"
    path.write_text("port = 5 * 1000\nratio = '0.25'\nother = 1\n")
    parser.parse_config_file(str(path))
    assert (parser.port, parser.ratio) == (5000, 0.25)
    with pytest.raises(Error, match="No such file"):
        parser.parse_config_file(str(tmp_path / "none.py"))


def test_options_of_the_process_are_the_modules() -> None:
    assert tornado.define.__self__ is tornado.options  # type: ignore[attr-defined]


# --- whole programs

PROGRAM = """
import threading
from wsgi_async.compat.tornado import HTTPServer, IOLoop, WSGIContainer
held = threading.Event()

def application(environ, start_response):
    if environ["PATH_INFO"] == "/hang":
        print("hanging", flush=True)
        held.wait()
    start_response("200 OK", [])
    return [b"hello"]

server = HTTPServer(WSGIContainer(application))
server.listen(0)
print("Serving on http://127.0.0.1:%d" % server._sockets[0].getsockname()[1])
IOLoop.current().start()
print("ended")
"""


@pytest.mark.parametrize("hidden", ["", "import sys; sys.modules['uvloop'] = None"])
def test_control_c_ends_without_a_complaint(hidden: str, tmp_path: Path) -> None:
    with running(*python("-c", hidden + PROGRAM), cwd=tmp_path) as process:
        assert ask(int(process.url.rpartition(":")[2])) == b"hello"
        process.signal(signal.SIGINT)
        assert process.wait() == 0
        assert process.output.endswith("ended\n")
        assert "Warning" not in process.output


def test_second_control_c_does_not_wait(tmp_path: Path) -> None:
    with running(*python("-c", PROGRAM), cwd=tmp_path) as process:
        port = int(process.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), TIMEOUT) as client:
            client.sendall(b"GET /hang HTTP/1.1\r\nHost: a\r\n\r\n")
            process.wait_for("hanging")
            process.signal(signal.SIGINT)
            process.signal(signal.SIGINT)
            process.signal(signal.SIGTERM)
            with contextlib.suppress(ConnectionResetError):
                assert client.recv(100) == b""
        assert process.wait() == 0

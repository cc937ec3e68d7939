"""The access log: when a line comes, and what is in it."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from gateway import TEXT, App, ask, environ_of, stream

from wsgi_async.errors import ClientDisconnected, ConfigError, RequestTimeout
from wsgi_async.middleware import AccessLog
from wsgi_async.wsgi.file_wrapper import FileWrapper


class Lines(logging.Handler):
    """Keeps what is logged; `events` gets it too, among what else is noted there."""

    def __init__(self, events: list[str] | None = None) -> None:
        super().__init__()
        self.lines: list[str] = []
        self._events = events
        self.logger = logging.Logger("access", logging.INFO)
        self.logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
        if self._events is not None:
            self._events.append(f"logged {record.getMessage()}")


def line_of(
    application: App, format: str, environ: dict[str, Any] | None = None, **options: Any
) -> str:
    log = Lines()
    ask(AccessLog(application, format=format, logger=log.logger, **options), environ)
    [line] = log.lines
    return line


def test_combined_is_what_apache_writes() -> None:
    log = Lines()
    variables = {
        "HTTP_REFERER": 'http://a/"x"',
        "HTTP_USER_AGENT": "curl/8\x1b[2J",
        "REQUEST_URI": "/a%20b?x=\xe9",
    }
    ask(AccessLog(stream(b"12345"), logger=log.logger), environ_of("/a b?x", **variables))
    [line] = log.lines
    assert re.fullmatch(
        r"192\.0\.2\.7 - - \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] "
        r'"GET /a%20b\?x=\\xe9 HTTP/1\.1" 200 5 "http://a/\\x22x\\x22" "curl/8\\x1b\[2J"',
        line,
    ), line


def test_it_is_logged_after_the_last_byte_and_close() -> None:
    events: list[str] = []

    def application(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", TEXT)
        try:
            yield b"a"
            yield b"bc"
        finally:
            events.append("closed")

    log = Lines(events)
    ask(AccessLog(application, format="%(s)s %(B)s", logger=log.logger), events=events)
    assert events == ["sent a", "sent bc", "closed", "logged 200 3"]


def test_the_duration_is_that_of_the_whole_response() -> None:
    now = [10.0]

    def application(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", TEXT)
        now[0] += 1
        yield b"a"
        now[0] += 0.25

    line = line_of(application, "%(T)s %(L)s %(M)s %(D)d", clock=lambda: now[0])
    assert line == "1 1.250000 1250 1250000"


def test_the_time_is_that_of_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1e6]
    monkeypatch.setattr("time.time", lambda: now[0])

    def application(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", TEXT)
        now[0] += 100
        yield b"a"

    expected = time.strftime("[12/Jan/1970:%H:%M:%S %z]", time.localtime(1e6))
    assert line_of(application, "%(t)s") == expected


def lists(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", TEXT)
    return [b"some", b"thing"]


def writes(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", TEXT)(b"some")
    return [b"thing"]


def empty(environ: Any, start_response: Any) -> list[bytes]:
    start_response("204 No Content", [])
    return []


def reset(environ: Any, start_response: Any) -> list[bytes]:
    start_response("205 Reset Content", [("Content-Length", "5")])
    return [b"never"]


def cut_to_length(environ: Any, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [*TEXT, ("Content-Length", "3")])
    yield b"something"


@pytest.mark.parametrize(
    ("application", "method", "expected"),
    [
        (lists, "GET", "200 9 9"),
        (lists, "HEAD", "200 0 -"),
        (writes, "GET", "200 9 9"),
        (stream(b"a", b"", b"b"), "GET", "200 2 2"),
        (stream(b"a"), "HEAD", "200 0 -"),
        (empty, "GET", "204 0 -"),
        (reset, "GET", "205 0 -"),
        (cut_to_length, "GET", "200 3 3"),
    ],
)
def test_status_and_bytes(application: App, method: str, expected: str) -> None:
    assert line_of(application, "%(s)s %(B)s %(b)s", environ_of("/", method)) == expected


def test_bytes_of_files(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")

    def opened(make: Callable[[], Any]) -> App:
        def application(environ: Any, start_response: Any) -> Any:
            start_response("200 OK", TEXT)
            file = make()
            file.seek(2)
            return FileWrapper(file)

        return application

    assert line_of(opened(lambda: path.open("rb")), "%(B)s") == "8"
    assert line_of(opened(lambda: io.BytesIO(b"01234")), "%(B)s") == "3"


def raises(error: BaseException, *, after: bytes = b"") -> App:
    def application(environ: Any, start_response: Any) -> Iterator[bytes]:
        if after:
            start_response("200 OK", TEXT)
            yield after
        raise error

    return application


def raises_at_once(environ: Any, start_response: Any) -> list[bytes]:
    raise ValueError("oh")


def says_nothing(environ: Any, start_response: Any) -> list[bytes]:
    return [b"no start_response"]


@pytest.mark.parametrize(
    ("application", "expected"),
    [
        (raises_at_once, "500 0"),
        (raises(ValueError("oh")), "500 0"),
        (raises(ValueError("oh"), after=b"abc"), "200 3"),
        (raises(SystemExit(1)), "500 0"),
        (raises(ClientDisconnected("gone")), "499 0"),
        (raises(RequestTimeout()), "504 0"),
        (lambda environ, start_response: None, "500 0"),
    ],
)
def test_what_an_exception_leaves(application: App, expected: str) -> None:
    assert line_of(application, "%(s)s %(B)s") == expected


def test_a_client_that_leaves() -> None:
    log = Lines()
    app = AccessLog(stream(b"ab", b"cd", b"ef"), format="%(s)s", logger=log.logger)
    assert ask(app, leaves=True).end == "cut"
    assert log.lines == ["200"]


def test_the_names_of_the_format() -> None:
    def application(environ: Any, start_response: Any) -> list[bytes]:
        environ["REMOTE_USER"] = "a\nda"
        environ["PATH_INFO"] = "/moved"
        start_response("200 OK", [*TEXT, ("X-Many", "1"), ("x-many", "2")])
        return []

    environ = environ_of(
        "/a%3Fb c?q=1",
        "PUT",
        HTTP_X_ONE="one\r\ntwo",
        CONTENT_TYPE="text/x",
        HTTP_AUTHORIZATION="Basic c2VjcmV0",
    )
    environ["SCRIPT_NAME"] = "/root"
    format = (
        "%(h)s|%(l)s|%(u)s|%(m)s|%(r)s|%(U)s|%(q)s|%(H)s|%(p)s|%({X-One}i)s|%({content-type}i)s|"
        "%({X-Many}o)s|%({wsgi_async.threads}e)s|%({None}e)s|%({authorization}i)s|"
        "%({HTTP_AUTHORIZATION}e)s|100 %%"
    )
    assert line_of(application, format, environ).split("|") == [
        "192.0.2.7",
        "-",
        r"a\x0ada",
        "PUT",
        "PUT /root/a%253Fb%20c?q=1 HTTP/1.1",
        "/root/a%3Fb c",
        "q=1",
        "HTTP/1.1",
        f"<{os.getpid()}>",
        r"one\x0d\x0atwo",
        "text/x",
        "1, 2",
        "4",
        "-",
        "-",
        "-",
        "100 %",
    ]


@pytest.mark.parametrize(
    ("format", "message"),
    [
        ("%(x)s", "AccessLog: there is no %(x)s: see --guide logging"),
        ("%(s)s 5%", "AccessLog: each % is %% or begins %(NAME)s, which '%' does not"),
        ("%(h)d", "AccessLog: %(h)d cannot be: write %(h)s"),
        ("%(h)s %(queue)s", "AccessLog: where the time of a request went only the server knows"),
    ],
)
def test_a_bad_format_is_an_error(format: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}"):
        AccessLog(lists, format=format)


def test_json_has_null_for_what_only_the_server_knows() -> None:
    environ = environ_of(HTTP_USER_AGENT='a"b', HTTP_AUTHORIZATION="Basic YWRhOng=")
    environ["wsgi_async.request_id"] = "id-7"
    found = json.loads(line_of(stream(b"abc"), "json", environ))
    assert (found["status"], found["body_size"], found["complete"]) == (200, 3, True)
    assert (found["user_agent"], found["user"], found["id"]) == ('a"b', "ada", "id-7")
    assert (found["client"], found["referer"]) == ("192.0.2.7", None)
    assert {found[key] for key in ("queue", "app", "cpu", "received", "thread")} == {None}
    assert json.loads(line_of(raises(ValueError("oh")), "json"))["complete"] is False


def test_whom_the_server_or_another_middleware_let_in_is_the_user() -> None:
    fields = {"HTTP_AUTHORIZATION": "Basic YWRhOng="}
    assert line_of(lists, "%(u)s", environ_of(**fields)) == "ada"
    assert line_of(lists, "%(u)s", environ_of(**fields, REMOTE_USER="bob")) == "bob"


def test_without_a_listener_nothing_is_in_the_way() -> None:
    log = Lines()
    log.logger.setLevel(logging.WARNING)
    started = []

    def application(environ: Any, start_response: Any) -> list[bytes]:
        started.append(start_response)
        start_response("200 OK", TEXT)
        return []

    def start_response(*args: Any) -> Any: ...

    AccessLog(application, logger=log.logger)(environ_of(), start_response)
    assert started == [start_response]
    assert log.lines == []


def test_the_logger_is_the_servers_by_default(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("wsgi_async.access")
    before = logger.level
    handler = Lines()
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        ask(AccessLog(lists))
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
    assert len(handler.lines) == 1

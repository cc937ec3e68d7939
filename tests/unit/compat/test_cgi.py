"""wsgi_async.compat.cgi: real scripts, in processes of their own, with RFC 3875's variables."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from application_loops import ending_with_the_test
from live_bodies import Live
from rawclient import TIMEOUT
from tools import ROOT

from wsgi_async.compat.cgi import SMALL_BODY, CGIHandler

HELLO = """
from wsgi_async.compat.cgi import CGIHandler

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/html")])
    return [b"<p>hello</p>"]

CGIHandler().run(application)
"""


def script(source: str, body: bytes = b"", **variables: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-c", source],
        input=body,
        env={"PYTHONPATH": str(ROOT), **variables},
        capture_output=True,
        timeout=TIMEOUT,
        check=True,
    )


def run(application: Any, body: bytes = b"", **variables: str) -> tuple[bytes, str]:
    """What a script writes to its two outputs."""
    output, errors = io.BytesIO(), io.StringIO()
    CGIHandler(io.BytesIO(body), output, errors, variables).run(application)
    return output.getvalue(), errors.getvalue()


def show(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [repr(sorted(environ.items())).encode()]


def test_script_from_a_shell() -> None:
    done = script(HELLO)
    assert done.stdout == (
        b"Status: 200 OK\r\nContent-Type: text/html\r\nContent-Length: 12\r\n\r\n<p>hello</p>"
    )
    assert done.stderr == b""


def test_the_status_is_said_once() -> None:
    """Of two the last counts for Apache."""

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("201 Created", [("STATUS", "404 Not Found"), ("X-Status", "a")])
        return [b""]

    output, _ = run(application)
    assert output == b"Status: 201 Created\r\nX-Status: a\r\nContent-Length: 0\r\n\r\n"


def test_script_reads_its_body_and_no_more() -> None:
    source = HELLO.replace(
        'return [b"<p>hello</p>"]',
        'yield environ["wsgi.input"].readline(); yield environ["wsgi.input"].read()',
    )
    done = script(source, b"one\ntwo, and more", REQUEST_METHOD="POST", CONTENT_LENGTH="7")
    assert done.stdout == b"Status: 200 OK\r\nContent-Type: text/html\r\n\r\none\ntwo"


def test_environ_is_the_request_and_not_the_machine() -> None:
    variables = {
        "SECRET_KEY": "leaked",
        "PATH_INFO": "/caf\udcc3\udca9",
        "HTTP_HOST": "example.org",
        "HTTPS": "on",
        "REMOTE_USER": "ada",
    }
    text = run(show, **variables)[0].decode()
    assert "leaked" not in text
    assert "('PATH_INFO', '/cafÃ©')" in text
    for expected in (
        "('wsgi.url_scheme', 'https')",
        "('REMOTE_USER', 'ada')",
        "('HTTP_HOST', 'example.org')",
        "('SERVER_NAME', 'localhost')",
        "('REQUEST_METHOD', 'GET')",
        "('wsgi.run_once', True)",
    ):
        assert expected in text


def test_small_body_is_a_bytes_io() -> None:
    def echo(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [environ["wsgi.input"].getvalue()]

    assert run(echo, b"abc", CONTENT_LENGTH="3")[0].endswith(b"Content-Length: 3\r\n\r\nabc")


def test_large_body_comes_as_it_is_read() -> None:
    size = SMALL_BODY + 10
    seen = []

    def count(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.extend([len(environ["wsgi.input"].read()), environ["wsgi.input"].read(1)])
        start_response("200 OK", [])
        return []

    run(count, b"x" * size + b"beyond", CONTENT_LENGTH=str(size))
    assert seen == [size, b""]
    output, errors = run(count, b"x" * (size - 1), CONTENT_LENGTH=str(size))
    assert output.startswith(b"Status: 500 ")
    assert "1 bytes of the request's body are missing" in errors


@pytest.mark.parametrize("length", ["4", "-1", "²", "1e3"])
def test_wrong_length_is_a_400(length: str) -> None:
    output, errors = run(show, b"abc", CONTENT_LENGTH=length)
    assert output.startswith(b"Status: 400 Bad Request\r\n")
    assert errors.startswith("wsgi_async: ")


def test_error_is_a_500_and_a_traceback() -> None:
    def broken(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        raise ZeroDivisionError("the reason")

    output, errors = run(broken)
    assert output.startswith(b"Status: 500 Internal Server Error\r\nContent-Type: text/plain")
    assert output.endswith(b"\r\n\r\n500 Internal Server Error\n")
    assert "ZeroDivisionError: the reason" in errors
    assert b"reason" not in output


def test_str_body_is_a_500_that_says_what_to_do() -> None:
    def old(environ: dict[str, Any], start_response: Any) -> list[Any]:
        start_response("200 OK", [])
        return ["text"]

    output, errors = run(old)
    assert output.startswith(b"Status: 500 ")
    assert "yielded str; encode it" in errors


def test_head_and_204_have_no_body() -> None:
    output, _ = run(show, REQUEST_METHOD="HEAD")
    assert output.endswith(b"\r\n\r\n")

    def nothing(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("204 No Content", [("X-A", "b")])
        return [b""]

    assert run(nothing)[0] == b"Status: 204 No Content\r\nX-A: b\r\n\r\n"


def test_a_205_has_no_body_and_does_not_promise_one() -> None:
    def reset(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("205 Reset Content", [("Content-Length", "5")])
        return [b"never"]

    assert run(reset)[0] == b"Status: 205 Reset Content\r\n\r\n"


def test_file_is_sent_and_closed(tmp_path: Any) -> None:
    (tmp_path / "file").write_bytes(b"content" * 1000)
    opened = []

    def send(environ: dict[str, Any], start_response: Any) -> Any:
        opened.append((tmp_path / "file").open("rb"))
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"](opened[0])

    assert run(send)[0].endswith(b"\r\n\r\n" + b"content" * 1000)
    assert opened[0].closed


def test_an_asynchronous_body_is_stepped_through() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"one "
        yield b"two"

    body = Live(chunks())

    def application(environ: dict[str, Any], start_response: Any) -> Live:
        start_response("200 OK", [])
        return body

    with ending_with_the_test():
        assert run(application, REQUEST_METHOD="GET")[0].endswith(b"\r\n\r\none two")
    assert body.closed.is_set()


def test_its_client_is_not_seen_to_leave() -> None:
    """The server ends a script whose client has gone, or has it write to nobody."""
    seen: list[object] = []

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        client = environ["wsgi_async.client"]
        seen.extend([client.gone, client.wait(0), client.on_gone(seen.clear).cancel()])
        start_response("200 OK", [])
        return [b"body"]

    assert run(application, REQUEST_METHOD="GET")[0].endswith(b"\r\n\r\nbody")
    assert seen == [False, False, True]

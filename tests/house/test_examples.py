"""Every program in examples/ does what its docstring says, as a process of its own."""

from __future__ import annotations

import http.client
import re
import shlex
import signal
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode, urlsplit

import pytest
from rawclient import TIMEOUT
from tools import ROOT, Process, python, require_module, running

EXAMPLES = ROOT / "examples"


class Reply(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes


def ask(
    url: str,
    path: str = "/",
    method: str = "GET",
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> Reply:
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=TIMEOUT)
    try:
        connection.request(method, urlsplit(url).path + path, body, headers or {})
        with connection.getresponse() as response:
            return Reply(response.status, response.headers, response.read())
    finally:
        connection.close()


def post_form(url: str, path: str, fields: dict[str, str], **headers: str) -> Reply:
    kind = "application/x-www-form-urlencoded"
    return ask(url, path, "POST", urlencode(fields).encode(), {"Content-Type": kind, **headers})


# --- What each of them answers


def check_hello(url: str, process: Process) -> None:
    reply = ask(url)
    assert (reply.status, reply.body) == (200, b"Hello, world!\n")
    assert reply.headers["Content-Type"] == "text/plain; charset=utf-8"


def check_class_based(url: str, process: Process) -> None:
    assert ask(url, "/caf%C3%A9").body == "/café: 1\n".encode()
    assert ask(url, "/caf%C3%A9").body == "/café: 2\n".encode()
    assert ask(url, "/other").body == b"/other: 1\n"


def check_environ_dump(url: str, process: Process) -> None:
    reply = ask(url, "/a%20b?x=1", "POST", b"the body", {"X-Some-Field": "its value"})
    lines = reply.body.decode().splitlines()
    assert "PATH_INFO = '/a b'" in lines
    assert "QUERY_STRING = 'x=1'" in lines
    assert "HTTP_X_SOME_FIELD = 'its value'" in lines
    assert "CONTENT_LENGTH = '8'" in lines
    assert lines[-1] == "The body: b'the body'"


def check_form_post(url: str, process: Process) -> None:
    assert b'<form method="post">' in ask(url).body
    reply = post_form(url, "/", {"name": "Grace", "message": "<b>Tom & Jerry</b>"})
    assert b"Grace wrote: &lt;b&gt;Tom &amp; Jerry&lt;/b&gt;" in reply.body


def check_streaming(url: str, process: Process) -> None:
    table = ask(url, "/table?rows=20000")
    assert table.headers["Transfer-Encoding"] == "chunked"
    lines = table.body.splitlines()
    assert (len(lines), lines[-1]) == (20001, b"19999,399960001")
    assert ask(url, "/elsewhere").status == 404

    # The first tick is here before the second is made, and a client that goes ends the clock.
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=TIMEOUT)
    connection.request("GET", "/clock?ticks=1000")
    response = connection.getresponse()
    assert re.fullmatch(rb"\d\d:\d\d:\d\d\n", response.readline())
    assert connection.sock is not None
    # A reset: after an orderly end the client might still be reading (RFC 9112 §9.3).
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    response.close()
    connection.close()
    process.wait_for("^the clock has stopped$")


def check_upload(url: str, process: Process) -> None:
    data = b"\x00\xff0123456789" * 100_000
    assert ask(url, "/data.bin").status == 404
    created = ask(url, "/data.bin", "PUT", data)
    assert (created.status, created.body) == (201, f"data.bin: {len(data)} bytes\n".encode())
    reply = ask(url, "/data.bin")
    assert reply.headers["Content-Length"] == str(len(data))
    assert reply.body == data
    head = ask(url, "/data.bin", "HEAD")
    assert (head.headers["Content-Length"], head.body) == (str(len(data)), b"")
    for path in ("/", "/..", "/.secret", "/..%2F..%2Fetc%2Fpasswd", "/a%00b"):
        assert ask(url, path, "PUT", b"x").status == 400, path
    assert ask(url, "/data.bin", "DELETE").headers["Allow"] == "GET, PUT"


def check_flask_app(url: str, process: Process) -> None:
    assert ask(url, "/?name=Ada").body == b'{"hello":"Ada"}\n'
    boundary = "a-boundary"
    body = (
        f"--{boundary}\r\n"
        'Content-Disposition: form-data; name="file"; filename="lines.txt"\r\n'
        "\r\n"
        "one\ntwo\nthree\n\r\n"
        f"--{boundary}--\r\n"
    ).encode()
    kind = f"multipart/form-data; boundary={boundary}"
    reply = ask(url, "/upload", "POST", body, {"Content-Type": kind})
    assert reply.body == b'{"lines":3,"name":"lines.txt"}\n'
    assert ask(url, "/nap").body == b'{"rested":true}\n'
    assert ask(url, "/count?limit=3").body == b"0\n1\n2\n"


def check_django_app(url: str, process: Process) -> None:
    page = ask(url)
    assert b"Hello, world!" in page.body
    token = re.search(rb'csrfmiddlewaretoken" value="([0-9A-Za-z]+)"', page.body)
    assert token is not None
    cookie = page.headers["Set-Cookie"].partition(";")[0]
    fields = {"name": "Ada & <Grace>", "csrfmiddlewaretoken": token[1].decode()}
    assert b"Hello, Ada &amp; &lt;Grace&gt;!" in post_form(url, "/", fields, Cookie=cookie).body
    assert post_form(url, "/", fields).status == 403
    assert ask(url, "/numbers?limit=100000").body.endswith(b"\n99999\n")
    assert ask(url, "/none").status == 404


def check_mounts(url: str, process: Process) -> None:
    assert b'<a href="/greetings/you">' in ask(url).body
    assert ask(url, "/greetings/%3CAda%3E").body == b"Hello, &lt;Ada&gt;!"
    assert ask(url, "/greetings", "POST", b"Grace").status == 201
    assert ask(url, "/greetings/").body == b"Greeted so far: Grace"
    head = ask(url, "/greetings/Ada", "HEAD")
    assert (head.status, head.body) == (200, b"")
    refused = ask(url, "/greetings", "DELETE")
    assert (refused.status, refused.headers["Allow"]) == (405, "GET, HEAD, OPTIONS, POST")
    assert ask(url, "/greetingsagain").body == b"Nothing here"


def check_middleware_stack(url: str, process: Process) -> None:
    reply = ask(url, "/books", headers={"X-Request-ID": "the-first"})
    assert reply.body == b'["Middlemarch", "Ulysses"]\n'
    assert reply.headers["X-Request-ID"] == "the-first"
    assert reply.headers["Vary"] == "Origin"
    process.wait_for(r'^127\.0\.0\.1 - "GET /books HTTP/1\.1" 200 27 bytes \d+ us the-first$')

    json_please = {"Accept": "application/json"}
    none = ask(url, "/books/99", headers=json_please)
    assert (none.status, none.body) == (
        404,
        b'{"status": 404, "title": "Not Found", "detail": "There is no such book."}\n',
    )
    assert b"<p>There is no such book.</p>" in ask(url, "/books/99").body

    assert post_form(url, "/books", {"title": "Emma"}).status == 401
    denied = post_form(url, "/books", {"title": "Emma"}, Authorization="Basic YWRhOmJ5cm9u")
    assert denied.headers["WWW-Authenticate"].startswith('Basic realm="The shop\'s back room"')
    ada = "Basic YWRhOmxvdmVsYWNl"
    assert post_form(url, "/books", {"title": "Emma"}, Authorization=ada).body == b'"Emma"\n'
    assert post_form(url, "/books", {"x": "y"}, Authorization=ada).status == 400
    process.wait_for(r'^127\.0\.0\.1 ada "POST /books HTTP/1\.1" 400 ')

    export = ask(url, "/export", headers={"Origin": "http://localhost:3000"})
    assert export.body == b"Middlemarch\nUlysses\nEmma\n"
    assert export.headers["Access-Control-Allow-Origin"] == "http://localhost:3000"
    asks = {
        "Origin": "http://localhost:3000",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    preflight = ask(url, "/books", "OPTIONS", headers=asks)
    assert (preflight.status, preflight.body) == (204, b"")
    assert preflight.headers["Access-Control-Allow-Headers"] == "Content-Type"
    asks["Origin"] = "http://evil.example"
    assert ask(url, "/books", "OPTIONS", headers=asks).status == 403

    health = ask(url, "/health")
    assert (health.status, b'"database": {"status": "healthy"' in health.body) == (200, True)


def check_werkzeug_middleware(url: str, process: Process) -> None:
    assert ask(url).body == b"Hello, 127.0.0.1, who came by http.\n"
    fields = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}
    assert ask(url, headers=fields).body == b"Hello, 203.0.113.9, who came by https.\n"
    assert ask(url, "/sum/1000").body == b"500500\n"
    process.wait_for(r"\d+ function calls in ")
    process.wait_for(r"werkzeug_middleware\.py:\d+\(add_up\)")
    assert ask(url, "/sum/x").status == 404
    assert b"Hello" in ask(url, "/summary").body


SERVED: dict[str, tuple[Callable[[str, Process], None], str]] = {
    "hello.py": (check_hello, ""),
    "class_based.py": (check_class_based, ""),
    "environ_dump.py": (check_environ_dump, ""),
    "form_post.py": (check_form_post, ""),
    "streaming.py": (check_streaming, ""),
    "upload.py": (check_upload, ""),
    "mounts.py": (check_mounts, ""),
    "flask_app.py": (check_flask_app, "flask"),
    "django_app.py": (check_django_app, "django"),
    "middleware_stack.py": (check_middleware_stack, ""),
    "werkzeug_middleware.py": (check_werkzeug_middleware, "werkzeug"),
}
"""Example: its check, and the module it needs."""

PROGRAMS = {
    "embed_in_thread.py": r"Serving on http://127\.0\.0\.1:\d+\nHello from /here\nStopped\n",
    "embed_in_loop.py": r"Serving on http://127\.0\.0\.1:\d+/\n(?:\d+ rounds so far\n){2}Stopped\n",
}
"""Example that is a program of its own: all that it prints."""

PLUGIN = "wsgi_async.testing.plugin"
TESTS = {"test_form_post.py": 3}
"""Example that is a file of tests: how many."""


def test_every_example_is_run_here() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == {*SERVED, *PROGRAMS, *TESTS}


@pytest.mark.parametrize("name", SERVED)
def test_serves_and_stops_cleanly(name: str, tmp_path: Path) -> None:
    check, needs = SERVED[name]
    if needs:
        require_module(needs)
    command = python("-m", "wsgi_async", str(EXAMPLES / name), "--port", "0")
    with running(*command, cwd=tmp_path) as process:
        check(process.url, process)
        process.signal(signal.SIGINT)
        assert process.wait() == 0
        assert not re.search(r"Traceback|Warning|ERROR", process.output), process.output


@pytest.mark.parametrize("name", PROGRAMS)
def test_program_runs_to_its_end(name: str, tmp_path: Path) -> None:
    with running(*python(str(EXAMPLES / name)), cwd=tmp_path) as process:
        assert process.wait() == 0
        assert re.fullmatch(PROGRAMS[name], process.output), process.output


@pytest.mark.parametrize("name", TESTS)
def test_tests_pass(name: str, tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    options = ("-c", str(tmp_path / "pytest.ini"), "-p", "no:cacheprovider", "-p", PLUGIN)
    command = python("-m", "pytest", *options, str(EXAMPLES / name))
    with running(*command, cwd=tmp_path, env={"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}) as process:
        assert process.wait() == 0, process.output
        assert f"{TESTS[name]} passed" in process.output


def test_loop_goes_on_while_the_application_blocks(tmp_path: Path) -> None:
    with running(*python(str(EXAMPLES / "embed_in_loop.py")), cwd=tmp_path) as process:
        assert process.wait() == 0
        first, second = map(int, re.findall(r"(\d+) rounds", process.output))
    # Twice 0.2 s in which the application's thread sleeps, at 10 ms a round: 20 each when idle.
    assert first >= 3
    assert second >= first + 3


def test_factory_with_an_argument(tmp_path: Path) -> None:
    app = f"{EXAMPLES / 'class_based.py'}:Counter(start=100)"
    command = python("-m", "wsgi_async", app, "--port", "0")
    with running(*command, cwd=tmp_path) as process:
        assert ask(process.url, "/apples").body == b"/apples: 101\n"


def test_mounts_on_the_command_line(tmp_path: Path) -> None:
    text = (EXAMPLES / "mounts.py").read_text().split('"""')[1].replace("\\\\\n", "")
    line = re.search(r"^    wsgi-async (.* --mount .*)$", text, re.MULTILINE)
    assert line is not None
    words = [word.replace("examples/", f"{EXAMPLES}/") for word in shlex.split(line[1])]
    command = python("-m", "wsgi_async", *words, "--port", "0", "--lint")
    with running(*command, cwd=tmp_path) as process:
        check_hello(process.url, process)
        check_form_post(process.url + "/form", process)
        assert ask(process.url, "/count/apples").body == b"/apples: 101\n"
        assert ask(process.url, "/count", "HEAD").status == 200
        assert ask(process.url, "/count", "POST").headers["Allow"] == "GET, HEAD, OPTIONS"
        assert "ERROR" not in process.output


@pytest.mark.parametrize(
    ("setup", "options", "expected"),
    [
        ("", "", [r"^\[.*\] \[INFO\] Listening on"]),
        ("", ", access_logfile='-'", [r"^127\.0\.0\.1 - - .*GET / HTTP/1\.1", "Listening on"]),
        ("import logging; logging.basicConfig(level=20)\n", "", ["^INFO:wsgi_async:Listening on"]),
    ],
    ids=["nothing set up", "access log", "logging set up"],
)
def test_hello_serves_itself(setup: str, options: str, expected: list[str], tmp_path: Path) -> None:
    """As ``python examples/hello.py`` does, but on a port that is free: serve() tells of itself."""
    source = (EXAMPLES / "hello.py").read_text()
    assert source.count("8000)") == 1
    (tmp_path / "hello.py").write_text(setup + source.replace("8000)", f"0{options})"))
    with running(*python("hello.py"), cwd=tmp_path) as process:
        check_hello(process.url, process)
        for pattern in expected:
            process.wait_for(pattern)
        process.signal(signal.SIGINT)
        assert process.wait() == 0
        assert process.output.count("Listening on") == 1
        assert "Traceback" not in process.output


def test_docstring_names_the_file_and_how_to_run_it() -> None:
    for name in (*SERVED, *PROGRAMS, *TESTS):
        text = (EXAMPLES / name).read_text()
        command = "wsgi-async" if name in SERVED else "pytest" if name in TESTS else "python"
        assert f"\n    {command} examples/{name}\n" in text.split('"""')[1], name

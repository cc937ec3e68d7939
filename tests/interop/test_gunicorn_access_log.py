"""gunicorn's format of the access log: a line by gunicorn beside ours, for the same requests."""

from __future__ import annotations

import base64
import json
import re
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from rawclient import RawClient, request
from tools import Process, python, require_module, running

pytest.importorskip("gunicorn")

SITE = """
def application(environ, start_response):
    path, length = environ["PATH_INFO"], int(environ.get("CONTENT_LENGTH") or 0)
    environ["my.own"] = f"mine {path}"
    environ["wsgi.input"].read(length)
    fields = [("Content-Type", "text/plain"), ("X-Out", f"out {path}"), ("X-Quiet", "")]
    if path == "/stream":
        start_response("200 OK", fields)
        return iter([b"one", b"", b"two"])
    if path == "/empty":
        start_response("204 No Content", fields[1:])
        return []
    body = b"" if environ["REQUEST_METHOD"] == "HEAD" else b"hello " + path.encode("latin-1")
    start_response("404 Not Found" if path == "/no" else "200 OK",
                   [*fields, ("Content-Length", "%d" % (6 + len(path)))])
    return [body]
"""

SAME = (
    *("h", "l", "u", "r", "m", "U", "q", "H", "s", "B", "b", "f", "a"),
    *("{x-one}i", "{X-One}i", "{host}i", "{content-type}i", "{x-none}i", "{user-agent}i"),
    *("{x-out}o", "{Content-Type}o", "{content-length}o", "{x-none}o", "{x-quiet}o"),
    *("{request_method}e", "{PATH_INFO}e", "{http_x_one}e", "{raw_uri}e", "{wsgi.url_scheme}e"),
    *("{my.own}e", "{wsgi.version}e", "{remote_addr}e", "{no.such}e", "{server_protocol}e"),
)
SHAPES = {
    "t": r"\[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\]",
    "T": r"\d+",
    "M": r"\d+",
    "D": r"\d+",
    "L": r"\d+\.\d{6}",
    "p": r"<\d+>",
}
"""What has to differ."""

BEGIN = "line|%({x-number}i)s|"
FORMAT = BEGIN + "|".join(f"%({atom})s" for atom in (*SAME, *SHAPES))

ADA = base64.b64encode(b"ada:lovelace").decode()
REQUESTS: dict[str, tuple[bytes, str]] = {
    "plain": (request("/"), "GET"),
    "query": (request("/a%20b?x=1&y=%20"), "GET"),
    "fields": (
        request("/", fields=("Referer: http://a/", "User-Agent: curl/8", "X-One: first value")),
        "GET",
    ),
    "body": (request("/up", "POST", body=b"12345", fields=("Content-Type: text/x",)), "POST"),
    "head": (request("/h", "HEAD"), "HEAD"),
    "not found": (request("/no"), "GET"),
    "no content": (request("/empty"), "GET"),
    "stream": (request("/stream"), "GET"),
    "user": (request("/", fields=(f"Authorization: Basic {ADA}",)), "GET"),
    "another scheme": (request("/", fields=("Authorization: Bearer x",)), "GET"),
    "a broken one": (request("/", fields=("Authorization: Basic a",)), "GET"),
    "old": (b"GET /old HTTP/1.0\r\nX-One: 1\r\n\r\n", "GET"),
}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    require_module("gunicorn")
    (tmp_path / "site_logged.py").write_text(SITE)
    return tmp_path


GUNICORN = ("-m", "gunicorn", "--no-control-socket", "-b", "127.0.0.1:0")
OURS = ("-m", "wsgi_async", "-b", "127.0.0.1:0")
WORKER = (*GUNICORN, "-k", "wsgi_async.gunicorn.Worker")


@contextmanager
def serving(directory: Path, command: Sequence[str], format: str) -> Iterator[Process]:
    """A server whose configuration file is gunicorn's, the same one for all."""
    (directory / "gunicorn.conf.py").write_text(
        f"access_log_format = {format!r}\naccesslog = '-'\nthreads = 2\n"
    )
    args = (*command, "-c", "gunicorn.conf.py", "site_logged")
    with running(*python(*args), cwd=directory, env={"GUNICORN_CMD_ARGS": ""}) as process:
        yield process
        process.signal(signal.SIGTERM)
        process.wait()


def address(process: Process) -> tuple[str, int]:
    match = process.wait_for(r"Listening (?:at:|on) http://(127\.0\.0\.1):([0-9]+)")
    return match[1], int(match[2])


def lines(directory: Path, command: Sequence[str], format: str) -> list[str]:
    """One for each request, one after the other."""
    with serving(directory, command, format) as process:
        where = address(process)
        for number, (data, method) in enumerate(REQUESTS.values()):
            with RawClient(where) as client:
                client.send(data.replace(b"\r\n", b"\r\nX-Number: %d\r\n" % number, 1))
                client.response(method)
            process.wait_for(rf"^line\|{number}\|")  # or another thread may be first
        found = [line for line in process.output.splitlines() if line.startswith("line|")]
    assert len(found) == len(REQUESTS)
    return found


@pytest.mark.parametrize("command", [OURS, WORKER], ids=["ours", "worker"])
def test_lines_are_those_of_gunicorn(command: Sequence[str], directory: Path) -> None:
    theirs = lines(directory, GUNICORN, FORMAT)
    ours = lines(directory, command, FORMAT)
    for name, their_line, our_line in zip(REQUESTS, theirs, ours, strict=True):
        their, our = their_line.split("|")[2:], our_line.split("|")[2:]
        assert len(their) == len(our) == len(SAME) + len(SHAPES)
        for atom, expected, found in zip(SAME, their, our, strict=False):
            if command is OURS:
                # gunicorn's manual says "-" of b, and means 0; of what was sent empty it logs
                # nothing, where a hyphen keeps the columns.
                expected = {"b": "-" if expected == "0" else expected}.get(atom, expected) or "-"
            assert found == expected, (name, atom)
        for (atom, shape), their_value, our_value in zip(
            SHAPES.items(), their[len(SAME) :], our[len(SAME) :], strict=True
        ):
            for value in (their_value, our_value):
                assert re.fullmatch(shape, value), (name, atom, value)


SECRETS = (
    "%({authorization}i)s %({Authorization}o)s %({http_authorization}e)s %({proxy-authorization}i)s"
)


@pytest.mark.parametrize("command", [OURS, WORKER], ids=["ours", "worker"])
def test_the_password_is_in_no_line(command: Sequence[str], directory: Path) -> None:
    """gunicorn itself logs it to whoever asks."""
    found = lines(directory, command, f"{BEGIN}%(r)s %(u)s|{SECRETS}")
    assert "|GET / HTTP/1.1 ada|" in "\n".join(found)
    for secret in (ADA, "lovelace", "Bearer x", base64.b64encode(b"lovelace").decode()):
        assert secret not in "\n".join(found)


def test_the_worker_knows_our_atoms(directory: Path) -> None:
    format = '%(m)s|%(U)s|"%(a)s"|%(queue)s|%(app)s|%(id)s|%({x-out}o)s|%({my.own}e)s'
    found = lines(directory, WORKER, BEGIN + format)
    time, id = r"\d+\.\d{6}", r"[0-9a-f]+-[0-9a-f]+"
    pattern = rf'line\|\d+\|GET\|/old\|"-"\|{time}\|{time}\|{id}\|out /old\|mine /old'
    assert re.fullmatch(pattern, found[-1]), found[-1]


def test_the_worker_writes_json(directory: Path) -> None:
    with serving(directory, WORKER, "json") as process:
        with RawClient(address(process)) as client:
            client.send(request("/a%22b", fields=('User-Agent: a"b',)))
            client.response()
        found = json.loads(process.wait_for(r"^\{.*\}$")[0])
    assert (found["target"], found["user_agent"], found["status"]) == ("/a%22b", 'a"b', 200)
    assert found["queue"] >= 0


def test_a_request_that_the_worker_refuses_has_a_line_too(directory: Path) -> None:
    with serving(directory, WORKER, "line|%(s)s|%(r)s|%({no.such}e)s") as process:
        with RawClient(address(process)) as client:
            client.send(b"GET / HTTP/1.1\r\n\r\n")
            assert client.response().status == 400
        process.wait_for(r"^line\|400\|-\|-$")

"""The secret weapon: bodies of Python 2, CGI, wsgiref's server, environ, the error log."""

from __future__ import annotations

import contextlib
import re
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from guide_programs import APPS, behind_nginx, command, moved, program
from rawclient import TIMEOUT, request
from serving import serving
from tools import ROOT, python, running

SITE = APPS / "wsgiref_site"


def test_str_body_is_a_500_and_a_line_that_helps() -> None:
    with command("hello", cwd=SITE) as site:
        reply = site.ask()
        assert reply.status == 500
        assert b"rld" not in reply.body
        line = site.process.wait_for("yielded str")[0]
        assert line
        assert re.search(r"yielded str; .*encode\('utf-8'\)", site.process.output)
        assert "--encode-str" in site.process.output


def test_str_body_is_served_on_demand() -> None:
    with command("hello", "--encode-str", "utf-8", cwd=SITE) as site:
        reply = site.ask()
        assert (reply.status, reply.text) == (200, "<html><body>Hello, Wörld!</body></html>")
        assert reply.headers["Content-Length"] == str(len(reply.body))


def test_script_by_cgi() -> None:
    done = subprocess.run(
        [sys.executable, "-c", moved((SITE / "script.py").read_text())],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=TIMEOUT,
        check=True,
    )
    assert done.stdout == (
        b"Status: 200 OK\r\nContent-type: text/html\r\nContent-Length: 32\r\n\r\n"
        b"<html><body>Hello!</body></html>"
    )


def test_script_by_flup_from_a_shell() -> None:
    """What no front server has started answers one request, as by CGI: so flup has it."""
    done = subprocess.run(
        [sys.executable, "-c", moved((SITE / "with_flup.py").read_text())],
        env={"PYTHONPATH": str(ROOT), "PATH_INFO": "/shell"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=TIMEOUT,
        check=True,
    )
    assert done.stdout == (
        b"Status: 200 OK\r\nContent-type: text/html\r\nContent-Length: 44\r\n\r\n"
        b"<html><body>Hello from /shell!</body></html>"
    )


@pytest.mark.parametrize("others", ["", ">&- 2>&-"], ids=["with-others", "alone"])
def test_program_by_flup_that_a_front_server_has_started(tmp_path: Path, others: str) -> None:
    """As spawn-fcgi, lighttpd and mod_fcgid start it: descriptor 0 is where it listens, and there
    need be no others (FastCGI 1.0, section 2.2)."""
    path = tmp_path / "flup.sock"
    (tmp_path / "program.py").write_text(moved((SITE / "with_flup.py").read_text()))
    with (
        socket.socket(socket.AF_UNIX) as listening,
        contextlib.ExitStack() as stack,
    ):
        listening.bind(str(path))
        listening.listen()
        line = f"exec {shlex.join(python('program.py'))} {others}"
        process = stack.enter_context(running("sh", "-c", line, cwd=tmp_path, stdin=listening))
        site = stack.enter_context(behind_nginx(tmp_path, "fastcgi", path, process))
        for _ in range(2):
            reply = site.ask("/spawned?x=1")
            assert (reply.status, reply.headers["Content-Type"]) == (200, "text/html")
            assert reply.text == "<html><body>Hello from /spawned!</body></html>"
        process.signal(signal.SIGTERM)
        assert process.wait() == 0
        assert "Traceback" not in process.output
        assert path.exists()  # it is the front server's


def test_environ_keys_and_the_error_log(tmp_path: Path) -> None:
    with program(SITE / "keys.py", port=8000, directory=tmp_path) as site:
        reply = site.ask("/x")
        site.process.wait_for("This is for the log")
        keys = set(re.split(r"<[^>]+>", reply.text))
        assert keys >= {
            *("PATH_INFO", "REMOTE_ADDR", "wsgi.errors", "wsgi.file_wrapper", "wsgi.input"),
            *("wsgi.multiprocess", "wsgi.multithread", "wsgi.run_once"),
            *("wsgi.url_scheme", "wsgi.version"),
        }
        own = [key for key in keys if "." in key and not key.startswith("wsgi.")]
        assert own
        assert all(re.fullmatch(r"wsgi_async\.[a-z0-9_.]+", key) for key in own)
        site.process.wait_for(r'"GET /x HTTP/1\.1" 200 ')
        site.process.signal(signal.SIGINT)
        assert "KeyboardInterrupt" in site.process.wait_for("KeyboardInterrupt")[0]
        site.process.wait()


def test_handle_request_serves_one(tmp_path: Path) -> None:
    with program(SITE / "one_request.py", port=8000, directory=tmp_path) as site:
        assert site.ask().text.startswith("Hello world!")
        assert site.process.wait() == 0
        assert site.process.output.endswith("done\n")


def test_error_stream_is_text_and_tagged() -> None:
    def log(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        errors = environ["wsgi.errors"]
        errors.write("first\nsec")
        errors.writelines(["ond\n", "third\n"])
        errors.flush()
        start_response("200 OK", [])
        return [b""]

    with serving(log) as served, served.client() as client:
        client.get()
        told = served.recorder.wait_for("app_stderr", 3)
        assert [text for _, text in told] == ["first", "second", "third"]
        assert len({info.id for info, _ in told}) == 1


def test_server_adds_date_server_and_length() -> None:
    with command("script_app", "--encode-str", "latin-1", cwd=SITE) as site:
        headers = site.ask().headers
        assert headers["Date"].endswith(" GMT")
        assert headers["Server"]
        assert headers["Content-Length"] == "7"


def test_exc_info_and_write() -> None:
    def change(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("X-Of", "the first")])
        try:
            raise ValueError
        except ValueError:
            write = start_response("418 Teapot", [("X-Of", "the second")], sys.exc_info())
        write(b"written, ")
        return [b"returned"]

    with serving(change) as served, served.client() as client:
        response = client.get()
        assert (response.status, response.reason) == (418, "Teapot")
        assert response.fields["x-of"] == "the second"
        assert response.body == b"written, returned"


def test_file_wrapper(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"some content" * 10_000)

    def send(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"](path.open("rb"))

    with serving(send) as served, served.client() as client:
        assert client.get().body == path.read_bytes()


def test_one_process_and_many_threads_are_the_default() -> None:
    def show(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [repr((environ["wsgi.multiprocess"], environ["wsgi.multithread"])).encode()]

    with serving(show) as served, served.client() as client:
        client.send(request())
        assert client.response().body == b"(False, True)"


@pytest.mark.parametrize("encoding", ["nonsense", "base64"])
def test_wrong_encoding_is_one_clear_line(encoding: str) -> None:
    line = python("-m", "wsgi_async", "hello", "--bind=127.0.0.1:0", "--encode-str", encoding)
    with running(*line, cwd=SITE) as process:
        assert process.wait() == 1
        assert len(process.output.splitlines()) == 1
        assert encoding in process.output

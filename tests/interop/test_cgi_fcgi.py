"""The program cgi-fcgi of FastCGI's own development kit as a front server, and what nginx makes of
a response that is cut."""

from __future__ import annotations

import contextlib
import http.client
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastcgi_peer import variables
from front_ends import listener, nginx
from rawclient import TIMEOUT
from serving import Served, serving
from tools import require_program

BODY = bytes(range(256)) * 1200  # cgi-fcgi and we cut it in several records


def application(environ: dict[str, Any], start_response: Any) -> Any:
    path = environ["PATH_INFO"]
    if path == "/cut":
        start_response("200 OK", [])
        return cut(environ)
    if path == "/promised":
        start_response("200 OK", [("Content-Length", "100")])
        return cut(environ)
    body = environ["wsgi.input"].read()
    print("on", path, file=environ["wsgi.errors"])
    start_response("201 Created", [("Content-Type", "text/plain")])
    told = [environ[name] for name in ("REQUEST_METHOD", "QUERY_STRING", "REMOTE_ADDR")]
    return [" ".join(told).encode() + b"\n", body]


def cut(environ: dict[str, Any]) -> Iterator[bytes]:
    yield b"so far"
    raise ZeroDivisionError


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "app.sock")


@pytest.fixture
def served(path: str) -> Iterator[Served]:
    with serving(application, bind=[f"fastcgi+unix:{path}"], threads=2) as running:
        yield running


def ask(path: str, given: dict[str, str], body: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [require_program("cgi-fcgi"), "-bind", "-connect", path]
    return subprocess.run(command, input=body, env=given, capture_output=True, timeout=TIMEOUT)


@pytest.mark.usefixtures("served")
def test_cgi_fcgi_gets_answers(path: str) -> None:
    for body in (b"", BODY):
        method = "POST" if body else "GET"
        done = ask(path, variables(method, "/form?a=b", len(body) or None), body)
        head, _, rest = done.stdout.partition(b"\r\n\r\n")
        assert head.startswith(b"Status: 201 Created\r\n")
        assert rest == f"{method} a=b 192.0.2.7\n".encode() + body
        assert (done.returncode, done.stderr) == (0, b"")


def test_cgi_fcgi_can_tell_that_a_response_was_cut(path: str, served: Served) -> None:
    done = ask(path, variables(target="/cut"))
    assert done.stdout.endswith(b"\r\n\r\nso far")
    assert done.returncode != 0
    assert b"not complete" in done.stderr
    served.wait_until_idle()


NGINX = """
server {{
    listen 127.0.0.1:{port};
    include /etc/nginx/fastcgi_params;
    location /kept/ {{ rewrite ^/kept(.*) $1 break; fastcgi_pass {where}; fastcgi_keep_conn on; }}
    location / {{ fastcgi_pass {where}; }}
    location /now/ {{ rewrite ^/now(.*) $1 break; fastcgi_pass {where}; fastcgi_buffering off; }}
}}
"""


@pytest.mark.usefixtures("served")
def test_nginx_shows_its_client_that_a_response_was_cut(path: str, tmp_path: Path) -> None:
    """Whatever it is told to do: neither the end of a connection without a Content-Length, nor the
    application's status at the end of a request, would it take for a cut."""
    with contextlib.closing(listener()) as sock:
        port = sock.getsockname()[1]
        text = NGINX.format(port=port, where=f"unix:{path}")
        right = r"FastCGI sent in stderr: .*not complete|unsupported FastCGI protocol version: 0"
        with nginx(tmp_path, text, [sock], but_for=right):
            for target in ("/cut", "/promised"):
                for place in ("", "/kept", "/now"):
                    with pytest.raises(http.client.HTTPException):
                        _get(port, place + target)
            assert _get(port, "/kept/whole") == b"GET  127.0.0.1\n"


def _get(port: int, target: str) -> bytes:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, TIMEOUT)) as client:
        client.request("GET", target)
        return client.getresponse().read()


def test_cgi_fcgi_speaks_tcp() -> None:
    options: dict[str, Any] = {"bind": ["fastcgi://127.0.0.1:0"], "fastcgi_stderr": True}
    with serving(application, threads=1, **options) as running:
        done = ask(f"127.0.0.1:{running.server.port}", variables(target="/a"))
        assert (done.returncode, done.stderr) == (0, b"on /a\n")
        assert done.stdout.endswith(b"GET  192.0.2.7\n")

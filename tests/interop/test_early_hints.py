"""103 Early Hints with clients and proxies as they are installed: who sees them, who is harmed."""

from __future__ import annotations

import contextlib
import http.client
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h11
import pytest
from front_ends import haproxy, listener, nginx
from rawclient import TIMEOUT, RawClient, request
from serving import Served, serving
from tools import require_module, require_program

LINK = "</style.css>; rel=preload; as=style"


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    environ["wsgi.early_hints"]([("Link", LINK)])
    environ["wsgi.early_hints"]([("Link", "</app.js>; rel=preload; as=script")])
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "6")])
    return [b"hello\n"]


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving(application) as served:
        yield served


@pytest.fixture
def url(served: Served) -> str:
    return f"http://127.0.0.1:{served.server.port}/"


def statuses(port: int) -> list[int]:
    """What a strict client of HTTP/1.1 reads, twice on one connection."""
    with RawClient(("127.0.0.1", port)) as client:
        seen = []
        for _ in range(2):
            client.send(request("/"))
            heads = (h11.InformationalResponse, h11.Response)
            seen += [e.status_code for e in client._events("GET") if isinstance(e, heads)]
        return seen


def test_curl_shows_them_and_takes_the_200(url: str) -> None:
    program = require_program("curl")
    done = subprocess.run(
        [program, "-q", "-sSi", "--noproxy", "*", "-m", str(TIMEOUT), url, url],
        capture_output=True,
        timeout=2 * TIMEOUT,
        check=True,
    )
    told = done.stdout.decode().splitlines()
    found = [line.split(" ")[1] for line in told if line.startswith("HTTP/1.1 ")]
    assert found == ["103", "103", "200"] * 2
    assert told.count(f"Link: {LINK}") == 2
    assert told.count("hello") == 2


def test_httpx_takes_the_200(url: str) -> None:
    require_module("httpx")
    import httpx

    with httpx.Client(trust_env=False) as client:
        for _ in range(2):
            response = client.get(url)
            assert (response.status_code, response.text) == (200, "hello\n")
            assert "link" not in response.headers


# --- who takes a 103 for the response: so says the guide "proxies" ------------------------------


def test_pythons_own_client_knows_no_103(served: Served) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", served.server.port, timeout=TIMEOUT)
    with contextlib.closing(connection):
        connection.request("GET", "/")
        status = connection.getresponse().status
    if status == 200:
        pytest.skip("this one does: the guide may say so")
    assert status == 103


# --- proxies --------------------------------------------------------------------------------------


HAPROXY = """
global
    maxconn 100
defaults
    mode http
    timeout connect 10s
    timeout client 10s
    timeout server 10s
frontend f
    bind fd@{listener}
    default_backend b
backend b
    server s 127.0.0.1:{port}
"""


def test_haproxy_passes_them_on(served: Served, tmp_path: Path) -> None:
    with listener() as front:
        text = HAPROXY.format(listener=front.fileno(), port=served.server.port)
        with haproxy(tmp_path, text, [front]):
            assert statuses(front.getsockname()[1]) == [103, 103, 200] * 2


NGINX = """
    server {{
        listen 127.0.0.1:{listen};
        location / {{
            proxy_pass http://127.0.0.1:{port};
            proxy_http_version {version};
            proxy_set_header Connection "";
            proxy_buffering off;
        }}
    }}
"""


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_nginx_before_1_29_is_safe_with_http_1_0_only(
    served: Served, tmp_path: Path, version: str
) -> None:
    with listener() as front:
        port = front.getsockname()[1]
        text = NGINX.format(listen=port, port=served.server.port, version=version)
        with nginx(tmp_path, text, [front]):
            if version == "1.0":
                assert statuses(port) == [200, 200]
                return
            with RawClient(("127.0.0.1", port)) as client:
                client.send(request("/"))
                first = client.read_until(b"\r\n\r\n")
    if first.startswith(b"HTTP/1.1 200"):
        pytest.skip("this one does: the guide says from which version on")
    # A head of its own, as of a final response: the rest is its body, whose end never comes.
    assert first.startswith(b"HTTP/1.1 103")
    assert b"\r\nServer: nginx" in first

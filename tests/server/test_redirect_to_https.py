"""Two addresses of one server: what comes by plain HTTP to the one is sent to the other."""

from __future__ import annotations

import http.client
import ssl
from pathlib import Path
from typing import Any

import pytest
from certificates import authority
from rawclient import TIMEOUT

from wsgi_async import Server
from wsgi_async.testing import live_server


def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [f"{environ['wsgi.url_scheme']} {environ['PATH_INFO']}".encode()]


def ask(
    address: str, path: str, host: str, context: ssl.SSLContext | None = None
) -> tuple[int, str | None, bytes]:
    scheme, _, place = address.partition("://")
    name, _, port = place.rpartition(":")
    connection: http.client.HTTPConnection
    if scheme == "https":
        connection = http.client.HTTPSConnection(name, int(port), timeout=TIMEOUT, context=context)
    else:
        connection = http.client.HTTPConnection(name, int(port), timeout=TIMEOUT)
    try:
        connection.request("GET", path, headers={"Host": host})
        with connection.getresponse() as response:
            return response.status, response.getheader("Location"), response.read()
    finally:
        connection.close()


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    pair = authority().issue(tmp_path, "localhost")
    return pair.options


def test_who_follows_arrives(files: dict[str, str]) -> None:
    """The port is that of the socket, which was any free one when the options were read."""
    server = Server(
        application,
        bind=("http://127.0.0.1:0", "https://localhost:0"),
        redirect_to_https=("localhost",),
        **files,
    )
    with server:
        plain, secure, *_ = server.addresses
        assert plain.startswith("http://127.0.0.1:")
        assert secure.startswith("https://127.0.0.1:")
        port = secure.rpartition(":")[2]
        status, location, _ = ask(plain, "/a?b", "localhost:80")
        assert (status, location) == (301, f"https://localhost:{port}/a?b")
        answer = ask(f"https://localhost:{port}", "/a", "localhost", authority().client())
        assert answer == (200, None, b"https /a")
        assert ask(plain, "/a?b", "example.org")[:2] == (421, None)
        token = "/.well-known/acme-challenge/token"
        assert ask(plain, token, "example.org") == (200, None, f"http {token}".encode())


def test_the_warm_up_is_answered_by_the_application(files: dict[str, str]) -> None:
    """It asks by plain HTTP, from within: to be sent to https would be a failed start."""
    asked: list[str] = []

    def told(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        asked.append(environ["PATH_INFO"])
        return application(environ, start_response)

    with Server(
        told,
        bind=("http://127.0.0.1:0", "https://127.0.0.1:0"),
        redirect_to_https=("localhost",),
        warmup=("/warm",),
        **files,
    ) as server:
        assert asked == ["/warm"]
        assert ask(server.addresses[0], "/x", "localhost")[0] == 301


def test_a_live_server_speaks_tls(files: dict[str, str]) -> None:
    with live_server(application, host="localhost", **files) as live:
        assert live.url == f"https://127.0.0.1:{live.port}"
        answer = ask(f"https://localhost:{live.port}", "/x", "localhost", authority().client())
        assert answer == (200, None, b"https /x")

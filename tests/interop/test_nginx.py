"""Debian's nginx in front, as a reverse proxy: HTTP/1.0 and 1.1 upstream, over TCP and unix."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple
from wsgiref.types import StartResponse, WSGIEnvironment
from wsgiref.validate import validator

import front_ends
import pytest
from frameworks import Gate
from front_ends import Reply
from rawclient import TIMEOUT
from serving import Served, serving

UPLOAD_SIZE = 50_000_000
DOWNLOAD = os.urandom(1_000_000) * 20

CONFIG = """
    client_max_body_size 0;
    upstream tcp {{ server 127.0.0.1:{port}; keepalive 4; }}
    upstream unix {{ server unix:{path}; keepalive 4; }}

    proxy_set_header Host $http_host;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_set_header Connection "";

    server {{
        listen 127.0.0.1:{listen};
        {locations}
    }}
"""
LOCATION = """
        location /{name}/ {{
            proxy_pass http://{upstream}/;
            proxy_http_version {version};
            {more}
        }}
"""


class Upstream(NamedTuple):
    """How nginx talks to the server."""

    transport: str
    version: str
    direct: bool
    """Neither request nor response is collected by nginx."""

    @property
    def name(self) -> str:
        return f"{self.transport}-{self.version}{'-direct' if self.direct else ''}"

    @property
    def persists(self) -> bool:
        """Whether nginx keeps the connection; with 1.0 it asks for its end."""
        return self.version == "1.1"


UPSTREAMS = [
    Upstream(transport, version, direct)
    for transport in ("tcp", "unix")
    for version in ("1.0", "1.1")
    for direct in (False, True)
]


class Nginx(NamedTuple):
    port: int
    served: Served
    gate: Gate

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)


def make_application(gate: Gate) -> Any:
    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        status, fields = "200 OK", [("Content-Type", "application/octet-stream")]
        if path == "/environ":
            start_response(status, fields)
            shown = {key: value for key, value in environ.items() if isinstance(value, str)}
            return [json.dumps(shown).encode()]
        if path == "/digest":
            digest, size = hashlib.sha256(), 0
            while data := environ["wsgi.input"].read(256 * 1024):
                digest.update(data)
                size += len(data)
            start_response(status, fields)
            return [f"{size} {digest.hexdigest()}".encode()]
        if path == "/download":
            fields.append(("Content-Length", str(len(DOWNLOAD))))
            start_response(status, fields)
            return (DOWNLOAD[at : at + 50_000] for at in range(0, len(DOWNLOAD), 50_000))
        if path == "/stream":
            start_response(status, fields)
            return stream(5)
        if path == "/cut":
            start_response(status, fields)
            return cut()
        if path == "/headers":
            start_response(
                "299 Just So",
                [*fields, ("X-Twice", "a"), ("X-Twice", "b"), ("Set-Cookie", "c=1; Path=/")],
            )
            return [b"x"]
        start_response("404 Not Found", fields)
        return [b"nothing here"]

    def stream(count: int) -> Iterator[bytes]:
        for number in range(count):
            if number:
                gate.wait()
            yield b"%d\n" % number

    def cut() -> Iterator[bytes]:
        yield b"the beginning"
        gate.wait()
        raise RuntimeError("the end never comes")

    return validator(application)


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    directory = tmp_path_factory.mktemp("nginx")
    gate = Gate()
    path = f"{directory}/app.sock"
    with (
        serving(make_application(gate), bind=["127.0.0.1:0", f"unix:{path}"]) as served,
        front_ends.listener() as inherited,
    ):
        port = inherited.getsockname()[1]
        assert served.server.port is not None
        text = CONFIG.format(listen=port, port=served.server.port, path=path, locations=locations())
        harmless = r"\[warn\].*(?:buffered to a temporary file|could not build)|/cut"
        with front_ends.nginx(directory, text, [inherited], but_for=harmless):
            yield Nginx(port, served, gate)


def locations() -> str:
    direct = "proxy_buffering off; proxy_request_buffering off;"
    return "".join(
        LOCATION.format(
            name=upstream.name,
            upstream=upstream.transport,
            version=upstream.version,
            more=direct if upstream.direct else "",
        )
        for upstream in UPSTREAMS
    )


@pytest.fixture(params=UPSTREAMS, ids=lambda upstream: upstream.name)
def upstream(request: pytest.FixtureRequest) -> Upstream:
    found: Upstream = request.param
    return found


def ask(
    nginx: Nginx,
    upstream: Upstream,
    path: str,
    method: str = "GET",
    body: Any = None,
    headers: dict[str, str] | None = None,
) -> Reply:
    with contextlib.closing(nginx.connect()) as connection:
        connection.request(method, f"/{upstream.name}{path}", body, headers or {})
        with connection.getresponse() as response:
            return Reply(response.status, response.headers, response.read())


def test_environ(nginx: Nginx, upstream: Upstream) -> None:
    fields = {"X-Forwarded-For": "192.0.2.7", "X-Some": "thing"}
    environ = json.loads(ask(nginx, upstream, "/environ?q=%20", headers=fields).body)
    assert environ["SERVER_PROTOCOL"] == f"HTTP/{upstream.version}"
    assert environ["HTTP_HOST"] == f"127.0.0.1:{nginx.port}"
    assert environ["HTTP_X_FORWARDED_FOR"] == "192.0.2.7, 127.0.0.1"
    assert environ["HTTP_X_FORWARDED_PROTO"] == "http"
    assert environ["HTTP_X_SOME"] == "thing"
    assert environ["QUERY_STRING"] == "q=%20"
    # The peer is nginx; which headers of a proxy may be believed is the application's business.
    assert environ["REMOTE_ADDR"] == ("127.0.0.1" if upstream.transport == "tcp" else "")


def test_headers(nginx: Nginx, upstream: Upstream) -> None:
    reply = ask(nginx, upstream, "/headers")
    assert reply.status == 299
    assert reply.headers.get_all("X-Twice") == ["a", "b"]
    assert reply.headers.get_all("Set-Cookie") == ["c=1; Path=/"]
    assert len(reply.headers.get_all("Date", [])) == 1


@pytest.mark.parametrize("path", ["/download", "/stream"])
def test_head(path: str, nginx: Nginx, upstream: Upstream) -> None:
    reply = ask(nginx, upstream, path, "HEAD")
    assert (reply.status, reply.body) == (200, b"")
    length = str(len(DOWNLOAD)) if path == "/download" else None
    assert reply.headers["Content-Length"] == length


@pytest.mark.parametrize("has_length", [True, False], ids=["length", "chunked"])
def test_upload(has_length: bool, nginx: Nginx, upstream: Upstream) -> None:
    block = os.urandom(500_000)
    digest = hashlib.sha256()

    def blocks() -> Iterator[bytes]:
        for number in range(UPLOAD_SIZE // len(block)):
            data = number.to_bytes(8, "big") + block[8:]
            digest.update(data)
            yield data

    headers = {"Content-Length": str(UPLOAD_SIZE)} if has_length else {}
    reply = ask(nginx, upstream, "/digest", "POST", blocks(), headers)
    assert reply.status == 200
    assert reply.body.decode() == f"{UPLOAD_SIZE} {digest.hexdigest()}"


def test_download(nginx: Nginx, upstream: Upstream) -> None:
    reply = ask(nginx, upstream, "/download")
    assert reply.headers["Content-Length"] == str(len(DOWNLOAD))
    assert reply.body == DOWNLOAD


def test_stream(nginx: Nginx, upstream: Upstream) -> None:
    """Part by part where nginx does not collect; whole in any case."""
    with contextlib.closing(nginx.connect()) as connection:
        connection.request("GET", f"/{upstream.name}/stream")
        if not upstream.direct:
            for _ in range(4):
                nginx.gate.open()
        with connection.getresponse() as response:
            assert response.headers["Transfer-Encoding"] == "chunked"
            if upstream.direct:
                assert response.read1() == b"0\n"
                for number in range(1, 5):
                    nginx.gate.open()
                    assert response.read1() == b"%d\n" % number
                assert response.read() == b""
            else:
                assert response.read() == b"0\n1\n2\n3\n4\n"


def test_cut_response_is_told_from_a_whole_one(nginx: Nginx, upstream: Upstream) -> None:
    if (upstream.transport, upstream.version) == ("unix", "1.0"):
        pytest.skip("nothing on a unix socket tells a cut HTTP/1.0 response: there are no resets")
    with contextlib.closing(nginx.connect()) as connection:
        connection.request("GET", f"/{upstream.name}/cut")
        if upstream.direct:
            response = connection.getresponse()
            assert response.read1() == b"the beginning"
            nginx.gate.open()
        else:
            nginx.gate.open()
            response = connection.getresponse()
        with response, pytest.raises((http.client.IncompleteRead, ConnectionError)):
            response.read()


def test_connections_are_reused(nginx: Nginx, upstream: Upstream) -> None:
    """With 1.1: each request finds the connection of the one before."""
    served = nginx.served
    before = set(served.connections.open)
    ask(nginx, upstream, "/environ")
    if not upstream.persists:
        served.wait_until(lambda: served.connections.open <= before, "a connection was kept")
        return
    kept = set(served.connections.open)
    assert kept
    for _ in range(3):
        ask(nginx, upstream, "/environ")
    assert served.connections.open <= kept


def test_unknown_page(nginx: Nginx, upstream: Upstream) -> None:
    reply = ask(nginx, upstream, "/nowhere")
    assert (reply.status, reply.body) == (404, b"nothing here")

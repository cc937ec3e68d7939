"""Debian's nginx in front by uwsgi_pass, fastcgi_pass and scgi_pass: requests and responses."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode

import pytest
from frameworks import Site
from gateway_nginx import (
    DOWNLOAD,
    LARGE_SIZE,
    PROTOCOLS,
    WAYS,
    Fronted,
    Way,
    binds,
    fronted,
    make_application,
)
from rawclient import RawClient, request
from serving import Served, serving
from tools import require_module

UPLOAD_SIZE = 50_000_000
FORM = [("Content-Type", "application/x-www-form-urlencoded")]
LARGE = "PROTOCOL_buffer_size 64k; PROTOCOL_buffers 4 64k; PROTOCOL_busy_buffers_size 128k;"
"""For heads of responses."""


class Behind(NamedTuple):
    site: Site
    served: Served
    nginx: Fronted


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Behind]:
    require_module("flask")
    directory = tmp_path_factory.mktemp("nginx")
    site = Site(directory / "data.bin")
    site.file.write_bytes(os.urandom(1_000_000))
    with (
        serving(make_application(site), bind=binds(directory)) as served,
        fronted(
            directory,
            served.server.addresses,
            more=LARGE,
            but_for=r"\[warn\].*buffered to a temporary file",
        ) as nginx,
    ):
        yield Behind(site, served, nginx)


@pytest.fixture(params=WAYS, ids=lambda way: way.name)
def way(request: pytest.FixtureRequest) -> Way:
    found: Way = request.param
    return found


def test_a_form(behind: Behind, way: Way) -> None:
    fields = {"name": "Zoë", "note": "a&b = c"}
    reply = behind.nginx.ask(way, "/form", "POST", urlencode(fields).encode(), FORM)
    assert json.loads(reply.body) == fields


def test_a_file_in_a_form(behind: Behind, way: Way) -> None:
    """Several parts, and more than nginx and the server keep in memory."""
    data = os.urandom(300_000)
    parts = b"".join(
        b'--edge\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % part
        for part in ((b'file"; filename="some.bin', data), (b"note", b"with it"))
    )
    fields = [("Content-Type", "multipart/form-data; boundary=edge")]
    reply = behind.nginx.ask(way, "/upload", "POST", parts + b"--edge--\r\n", fields)
    assert json.loads(reply.body) == {
        "name": "some.bin",
        "size": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "note": "with it",
    }


@pytest.mark.parametrize("has_length", [True, False], ids=["length", "chunked"])
def test_an_upload(has_length: bool, behind: Behind, way: Way) -> None:
    """Chunked, too: nginx collects it, or FastCGI's own end says where it ends."""
    upload(behind, way, 1_000_000, has_length=has_length)


@pytest.mark.soak
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_large_upload(protocol: str, behind: Behind) -> None:
    """Passed on as it comes, or collected by nginx; by the server in any case."""
    upload(behind, Way(protocol, "tcp"), UPLOAD_SIZE, has_length=True)
    upload(behind, Way(protocol, "unix", direct=False), UPLOAD_SIZE, has_length=False)


def upload(behind: Behind, way: Way, size: int, *, has_length: bool) -> None:
    block = os.urandom(100_000)
    digest = hashlib.sha256()

    def blocks() -> Iterator[bytes]:
        for number in range(size // len(block)):
            data = number.to_bytes(8, "big") + block[8:]
            digest.update(data)
            yield data

    fields = [("Content-Length", str(size))] if has_length else []
    reply = behind.nginx.ask(way, "/digest", "POST", blocks(), fields)
    assert (reply.status, reply.body.decode()) == (200, f"{size} {digest.hexdigest()}")


def test_no_body(behind: Behind, way: Way) -> None:
    """nginx then says CONTENT_LENGTH with nothing in it, or 0."""
    nothing = hashlib.sha256().hexdigest()
    for method, body in (("GET", None), ("POST", b""), ("DELETE", None)):
        assert behind.nginx.ask(way, "/digest", method, body).body.decode() == f"0 {nothing}"


def test_downloads(behind: Behind, way: Way) -> None:
    """Of chunks, and of a file."""
    reply = behind.nginx.ask(way, "/download")
    assert (reply.headers["Content-Length"], reply.body) == (str(len(DOWNLOAD)), DOWNLOAD)
    reply = behind.nginx.ask(way, "/file")
    assert reply.body == behind.site.file.read_bytes()
    assert reply.headers["Content-Length"] == str(len(reply.body))


def test_a_stream(behind: Behind, way: Way) -> None:
    """Part by part where nginx does not collect; whole in any case."""
    gate = behind.site.gate
    with contextlib.closing(behind.nginx.connect(way)) as connection:
        connection.request("GET", "/stream?count=5")
        if not way.direct:
            for _ in range(4):
                gate.open()
        with connection.getresponse() as response:
            assert response.headers["Transfer-Encoding"] == "chunked"
            if way.direct:
                assert response.read1() == b"0\n"
                for number in range(1, 5):
                    gate.open()
                    assert response.read1() == b"%d\n" % number
                assert response.read() == b""
            else:
                assert response.read() == b"0\n1\n2\n3\n4\n"


@pytest.mark.parametrize("way", [way for way in WAYS if way.direct], ids=lambda way: way.name)
def test_a_client_that_leaves_a_stream(behind: Behind, way: Way) -> None:
    """nginx closes its connection then, a kept one too; the stream is closed before its end."""
    site = behind.site
    while site.closed.acquire(blocking=False):
        pass
    with contextlib.closing(behind.nginx.connect(way)) as connection:
        connection.request("GET", "/stream?count=1000")
        assert connection.getresponse().read1() == b"0\n"
    for _ in range(500):
        site.gate.open()
        if site.closed.acquire(timeout=0.05):
            break
    else:
        raise AssertionError("it was not closed")
    site.gate.shut()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_client_that_does_not_read_holds_no_thread(protocol: str, behind: Behind) -> None:
    """nginx does not read either, then; the server keeps what it has no place for."""
    with RawClient(
        ("127.0.0.1", behind.nginx.front.ports[f"http-{Way(protocol, 'unix').name}"]),
        receive_buffer=4096,
    ) as client:
        client.send(request("/large"))
        head = client.read_until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        behind.served.wait_until(lambda: not behind.served.pool.busy, "a thread waits")
        assert behind.served.budgets.memory.used or behind.served.budgets.disk.used
        assert client.receive(LARGE_SIZE) == b"x" * LARGE_SIZE


@pytest.mark.parametrize("target", ["/download", "/stream?count=2", "/file", "/hello?name=you"])
def test_head(target: str, behind: Behind, way: Way) -> None:
    """The head of a GET, and where a connection is kept its end is told."""
    behind.site.gate.open()
    length = {"/download": len(DOWNLOAD), "/file": 1_000_000, "/hello?name=you": 11}.get(target)
    reply = behind.nginx.ask(way, target, "HEAD")
    assert (reply.status, reply.body) == (200, b"")
    assert reply.headers["Content-Length"] == (str(length) if length else None)
    # What came after it on a kept connection would be taken for the next one's.
    assert behind.nginx.ask(way, "/hello?name=me").body == b"Hello, me!"
    behind.site.gate.shut()


def test_statuses_and_fields(behind: Behind, way: Way) -> None:
    def ask(target: str) -> tuple[int, bytes]:
        reply = behind.nginx.ask(way, target)
        return reply.status, reply.body

    assert ask("/empty") == (204, b"")
    assert ask("/teapot") == (418, b"short and stout")
    assert ask("/nowhere")[0] == 404
    reply = behind.nginx.ask(way, "/headers")
    assert (reply.status, reply.body) == (299, b"x")
    assert reply.headers.get_all("X-Twice") == ["a", "b"]
    assert reply.headers.get_all("Set-Cookie") == ["c=1; Path=/"]
    assert len(reply.headers.get_all("Date", [])) == 1
    assert "Status" not in reply.headers
    reply = behind.nginx.ask(way, "/old")
    assert (reply.status, reply.headers["Location"]) == (302, "/hello?name=moved")
    assert reply.body.startswith(b"<!doctype html>")


def test_cookies(behind: Behind, way: Way) -> None:
    """Set one by one; and sent in two fields, as nobody should, they are those of one."""
    reply = behind.nginx.ask(way, "/cookies")
    assert [text.partition(";")[0] for text in reply.headers.get_all("Set-Cookie", [])] == [
        "first=1",
        "second=2",
    ]
    fields = [("Cookie", "first=1"), ("Cookie", "second=2")]
    reply = behind.nginx.ask(way, "/cookies?read=1", fields=fields)
    assert json.loads(reply.body) == {"first": "1", "second": "2"}


def test_large_heads(behind: Behind, way: Way) -> None:
    """Of a request 40 KB, which is nearly all that a uwsgi packet takes; of a response 30 KB."""
    values = [f"{number}" * 5_000 for number in range(8)]
    fields = [(f"X-Large-{number}", value) for number, value in enumerate(values)]
    environ = behind.nginx.environ(way, fields=fields)
    assert [environ[f"HTTP_X_LARGE_{number}"] for number in range(8)] == values
    reply = behind.nginx.ask(way, "/headers?30000")
    assert reply.headers["X-Large"] == "x" * 30_000


def test_connections_are_kept_where_nginx_keeps_them(behind: Behind, way: Way) -> None:
    """Each request finds the connection of the one before; elsewhere none is left."""
    served = behind.served
    before = set(served.connections.open)
    behind.nginx.environ(way)
    if not way.kept:
        served.wait_until(lambda: served.connections.open <= before, "a connection was kept")
        return
    kept = set(served.connections.open)
    assert kept
    for _ in range(3):
        assert behind.nginx.ask(way, "/digest", "POST", b"some").status == 200
        assert behind.nginx.ask(way, "/empty").status == 204
        behind.nginx.environ(way)
    assert served.connections.open <= kept


STREAMING = [Way("uwsgi", "unix"), Way("fastcgi", "tcp"), Way("fastcgi", "unix", kept=True)]


@pytest.mark.parametrize("way", STREAMING, ids=lambda way: way.name)
def test_an_upload_is_read_as_it_comes(way: Way, tmp_path: Path) -> None:
    """With --request-buffering stream: what was read is answered before the next part is sent."""
    site = Site(tmp_path / "none")
    with (
        serving(make_application(site), bind=binds(tmp_path), request_buffering="stream") as served,
        fronted(tmp_path, served.server.addresses, [way]) as nginx,
        contextlib.closing(nginx.connect(way)) as connection,
    ):
        connection.putrequest("POST", "/parts")
        connection.putheader("Content-Length", "3")
        connection.endheaders(b"0")
        with connection.getresponse() as response:
            for part in (b"1", b"2"):
                assert response.read1() == bytes([part[0] - 1])
                connection.sock.sendall(part)
            assert response.read() == b"2"


def test_a_length_that_nginx_says_wrong_is_refused(tmp_path: Path) -> None:
    """With `scgi_request_buffering off` before 1.29.6: never is a part taken for the whole."""
    way = Way("scgi", "tcp")
    body = os.urandom(1_000_000)
    with (
        serving(make_application(Site(tmp_path / "none")), bind=binds(tmp_path)) as served,
        fronted(
            tmp_path, served.server.addresses, [way], more="scgi_request_buffering off;"
        ) as nginx,
    ):
        reply = nginx.ask(way, "/digest", "POST", body)
        right = (200, f"{len(body)} {hashlib.sha256(body).hexdigest()}".encode())
        assert reply.status == 400 or (reply.status, reply.body) == right, reply
        if reply.status == 400:
            assert b"CONTENT_LENGTH is not what the field says" in reply.body

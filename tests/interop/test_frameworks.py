"""Five frameworks behind two clients over real sockets, `wsgiref.validate` in between."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast
from urllib.parse import urlencode, urlsplit
from wsgiref.validate import validator

import httpx
import pytest
from frameworks import FRAMEWORKS, Application, Site
from rawclient import TIMEOUT
from serving import Served, serving
from tools import require_module

from wsgi_async.applications.lint import Lint

UPLOAD_SIZE = 50_000_000
FORM = "application/x-www-form-urlencoded"


class Running(NamedTuple):
    framework: str
    mode: str
    site: Site
    served: Served


NOT_VALIDATED = {
    ("flask", "/form"),  # calls read() without a size; PEP 3333 allows it, the validator does not
    ("flask", "/empty"),  # has a Content-Type in its 204
    ("django", "/empty"),  # likewise
}
"""What of the frameworks `wsgiref.validate` does not tolerate."""


NEED_A_LENGTH = {
    ("django", "direct"),  # reads nothing
    ("falcon", "direct"),  # likewise
    ("bottle", "direct"),  # decodes the chunks again, which are decoded already
}
"""Where a chunked upload does not arrive. As a rule the server collects the body, then there is a
length."""


def validated(framework: str, application: Application) -> Application:
    validating = cast("Application", validator(cast("Any", application)))

    def either(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        tolerated = (framework, environ["PATH_INFO"]) not in NOT_VALIDATED
        return (validating if tolerated else application)(environ, start_response)

    return Lint(either, framework)  # which has nothing to tolerate


MODES: dict[str, dict[str, str]] = {
    "default": {},
    "direct": {"request_buffering": "stream", "response_overflow": "park", "parser": "h11"},
}
"""Options of the server: as they are, and each as different as it can be."""

SITES = [
    *(f"{framework}-{mode}-plain" for framework in FRAMEWORKS for mode in MODES),
    *(
        pytest.param(
            f"{framework}-{mode}-tls",
            marks=[] if (framework, mode) == ("flask", "direct") else [pytest.mark.soak],
        )
        for framework in FRAMEWORKS
        for mode in MODES
    ),
]
"""One of them over TLS, and in a long run all."""


@pytest.fixture(scope="module", params=SITES)
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    framework, mode, wire = request.param.split("-")
    require_module(framework)
    file = tmp_path_factory.mktemp(framework) / "data.bin"
    file.write_bytes(os.urandom(3_000_000))
    site = Site(file)
    application = FRAMEWORKS[framework](site)
    tls = wire == "tls"
    with serving(validated(framework, application), tls=tls, **MODES[mode]) as served:
        yield Running(framework, mode, site, served)


@pytest.fixture(autouse=True)
def _nobody_complains(running: Running) -> Iterator[None]:
    """Neither the server nor the validator found fault with anything, unless it was raised."""
    before = len(running.served.recorder.of("app_error"))
    yield
    errors = running.served.recorder.of("app_error")[before:]
    assert [facts for facts in errors if facts[0].target != "/boom"] == []


# --- Two clients with one face


class Reply(NamedTuple):
    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        """The values of a header, each occurrence by itself."""
        return [value for key, value in self.headers if key.lower() == name]

    def one(self, name: str) -> str:
        (value,) = self.all(name)
        return value


class Stream(Protocol):
    def read_some(self) -> bytes: ...


class Client(Protocol):
    """A client with one connection."""

    def request(
        self, path: str, method: str = ..., *, body: Any = ..., headers: dict[str, str] = ...
    ) -> Reply: ...

    def stream(self, path: str) -> contextlib.AbstractContextManager[Stream]: ...


def standard(served: Served) -> http.client.HTTPConnection:
    port = served.server.port
    if served.tls is None:
        return http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    return http.client.HTTPSConnection("127.0.0.1", port, timeout=TIMEOUT, context=served.tls)


class StandardClient:
    """http.client. Bodies without a Content-Length go out chunked, response cookies untouched."""

    def __init__(self, served: Served) -> None:
        self.connection = standard(served)

    def request(
        self,
        path: str,
        method: str = "GET",
        *,
        body: Any = None,
        headers: dict[str, str] | None = None,
    ) -> Reply:
        self.connection.request(method, path, body, headers or {})
        with self.connection.getresponse() as response:
            return Reply(response.status, response.reason, response.getheaders(), response.read())

    @contextlib.contextmanager
    def stream(self, path: str) -> Generator[Stream]:
        self.connection.request("GET", path)
        with self.connection.getresponse() as response:

            class Reader:
                def read_some(self) -> bytes:
                    return response.read1()

            yield Reader()

    def close(self) -> None:
        self.connection.close()


class HttpxClient:
    """httpx, without following redirects by itself."""

    def __init__(self, served: Served) -> None:
        limits = httpx.Limits(max_connections=1)
        self.client = httpx.Client(
            base_url=served.url,
            limits=limits,
            timeout=TIMEOUT,
            trust_env=False,
            verify=served.tls or False,
        )

    def request(
        self,
        path: str,
        method: str = "GET",
        *,
        body: Any = None,
        headers: dict[str, str] | None = None,
    ) -> Reply:
        response = self.client.request(method, path, content=body, headers=headers)
        self.client.cookies.clear()
        items = response.headers.multi_items()
        return Reply(response.status_code, response.reason_phrase, items, response.content)

    @contextlib.contextmanager
    def stream(self, path: str) -> Generator[Stream]:
        with self.client.stream("GET", path) as response:
            parts = response.iter_raw()

            class Reader:
                def read_some(self) -> bytes:
                    return next(parts, b"")

            yield Reader()

    def close(self) -> None:
        self.client.close()


CLIENTS: dict[str, Callable[[Served], StandardClient | HttpxClient]] = {
    "http.client": StandardClient,
    "httpx": HttpxClient,
}


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest, running: Running) -> Iterator[Client]:
    with contextlib.closing(CLIENTS[request.param](running.served)) as client:
        yield client


def multipart(parts: dict[str, bytes], file: Iterator[bytes]) -> tuple[dict[str, str], Any]:
    """The headers and the pieces of a form with a file."""
    boundary = os.urandom(8).hex()

    def pieces() -> Iterator[bytes]:
        for name, value in parts.items():
            yield f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode()
            yield value + b"\r\n"
        yield (
            f"--{boundary}\r\n"
            'Content-Disposition: form-data; name="file"; filename="big.bin"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        ).encode()
        yield from file
        yield f"\r\n--{boundary}--\r\n".encode()

    return {"Content-Type": f"multipart/form-data; boundary={boundary}"}, pieces()


def random_bytes(size: int) -> Iterator[bytes]:
    """Bytes whose every MB is another, made quickly."""
    block = os.urandom(1_000_000)
    for number in range(size // len(block)):
        yield number.to_bytes(8, "big") + block[8:]


# --- What they are asked


def test_get(running: Running, client: Client) -> None:
    reply = client.request("/hello?name=Ada")
    assert (reply.status, reply.body) == (200, b"Hello, Ada!")
    assert reply.one("content-length") == "11"
    assert len(reply.all("date")) == len(reply.all("server")) == 1


def test_head(running: Running, client: Client) -> None:
    reply = client.request("/hello", "HEAD")
    assert (reply.status, reply.body) == (200, b"")
    assert client.request("/hello").body == b"Hello, world!"  # nothing was left over


def test_form(running: Running, client: Client) -> None:
    fields = {"name": "Zoë & Sons", "text": "a=b%20c\r\nd", "empty": ""}
    body = urlencode(fields).encode()
    reply = client.request("/form", "POST", body=body, headers={"Content-Type": FORM})
    answer = json.loads(reply.body)
    if running.framework == "falcon":
        del fields["empty"]  # which it leaves out unless asked to keep it
        answer.pop("empty", None)
    assert answer == fields


@pytest.mark.parametrize("has_length", [True, False], ids=["length", "chunked"])
def test_upload(has_length: bool, running: Running, client: Client, tmp_path: Path) -> None:
    if not has_length and (running.framework, running.mode) in NEED_A_LENGTH:
        pytest.skip("without a Content-Length it does not read wsgi.input as PEP 3333 means it")
    digest = hashlib.sha256()
    size = UPLOAD_SIZE if has_length else UPLOAD_SIZE // 10

    def file() -> Iterator[bytes]:
        for block in random_bytes(size):
            digest.update(block)
            yield block

    headers, body = multipart({"note": b"a note"}, file())
    with (tmp_path / "body").open("w+b") as whole:
        if has_length:
            whole.writelines(body)
            headers["Content-Length"] = str(whole.tell())
            whole.seek(0)
            body = whole
        reply = client.request("/upload", "POST", body=body, headers=headers)
    assert reply.status == 200, reply.body
    assert json.loads(reply.body) == {
        "name": "big.bin",
        "size": size,
        "sha256": digest.hexdigest(),
        "note": "a note",
    }


def test_stream_arrives_part_by_part(running: Running, client: Client) -> None:
    """No part waits for the next: the gate is opened only when the one before is here."""
    with client.stream("/stream?count=5") as stream:
        assert stream.read_some() == b"0\n"
        for number in range(1, 5):
            running.site.gate.open()
            assert stream.read_some() == b"%d\n" % number
        assert stream.read_some() == b""
    assert running.site.closed.acquire(timeout=TIMEOUT)


def test_file(running: Running, client: Client) -> None:
    reply = client.request("/file")
    assert reply.one("content-length") == str(len(reply.body)) == "3000000"
    assert reply.body == running.site.file.read_bytes()
    head = client.request("/file", "HEAD")
    assert (head.status, head.body) == (200, b"")


def test_cookies(running: Running, client: Client) -> None:
    reply = client.request("/cookies")
    first, second = sorted(reply.all("set-cookie"))
    assert first.startswith("first=1;")
    assert second.startswith("second=2")
    sent = "; ".join(cookie.partition(";")[0] for cookie in (first, second))
    reply = client.request("/cookies?read=1", headers={"Cookie": sent})
    assert json.loads(reply.body) == {"first": "1", "second": "2"}


def test_redirect(running: Running, client: Client) -> None:
    reply = client.request("/old")
    assert reply.status in (302, 303)
    location = urlsplit(reply.one("location"))
    port = running.served.server.port
    assert location.scheme in ("", running.served.url.partition(":")[0])
    assert location.netloc in ("", f"localhost:{port}", f"127.0.0.1:{port}")
    location = location._replace(scheme="", netloc="").geturl()
    assert location == "/hello?name=moved"
    assert client.request(location).body == b"Hello, moved!"


def test_no_content(running: Running, client: Client) -> None:
    reply = client.request("/empty")
    assert (reply.status, reply.body) == (204, b"")
    assert reply.all("content-length") == reply.all("transfer-encoding") == []
    assert client.request("/hello").status == 200


def test_status_and_reason(running: Running, client: Client) -> None:
    reply = client.request("/teapot")
    assert (reply.status, reply.body) == (418, b"short and stout")
    assert reply.reason == ("I'M A TEAPOT" if running.framework == "flask" else "Short and stout")


@pytest.mark.parametrize(("path", "status"), [("/nowhere", 404), ("/boom", 500)])
def test_error_pages(path: str, status: int, running: Running, client: Client) -> None:
    reply = client.request(path)
    assert reply.status == status
    assert b"Traceback" not in reply.body
    assert client.request("/hello").status == 200


def test_keep_alive(running: Running, client: Client) -> None:
    ports = {client.request("/peer").body for _ in range(3)}
    client.request("/form", "POST", body=b"name=x", headers={"Content-Type": FORM})
    client.request("/hello", "HEAD")
    client.request("/empty")
    ports.add(client.request("/peer").body)
    assert len(ports) == 1


@pytest.mark.parametrize("running", ["flask-default-plain", "django-default-plain"], indirect=True)
def test_async_view(running: Running, client: Client) -> None:
    require_module("asgiref")
    assert client.request("/async").body == b"one, two"


def test_client_that_goes_ends_the_stream(running: Running) -> None:
    """The stream is closed although it had more to say."""
    connection = standard(running.served)
    connection.request("GET", "/stream?count=1000000")
    response = connection.getresponse()
    assert response.read1() == b"0\n"
    response.close()
    connection.close()
    while not running.site.closed.acquire(timeout=0.01):
        running.site.gate.open()
    running.site.gate.shut()

"""curl, h2load and wrk as clients, each in the ways its users know."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment
from wsgiref.validate import validator

import pytest
from curl import curl
from rawclient import TIMEOUT
from serving import Served, serving
from tools import require_program

BODY_LIMIT = 10_000_000


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    path = environ["PATH_INFO"]
    fields = [("Content-Type", "text/plain")]
    if path == "/digest":
        digest, size = hashlib.sha256(), 0
        while data := environ["wsgi.input"].read(256 * 1024):
            digest.update(data)
            size += len(data)
        start_response("200 OK", fields)
        return [f"{size} {digest.hexdigest()}".encode()]
    if path == "/refuse":
        start_response("403 Forbidden", fields)
        return [b"not even looked at"]
    if path == "/stream":
        start_response("200 OK", fields)
        return (b"%06d\n" % number for number in range(10_000))
    if path == "/cut":
        start_response("200 OK", fields)
        return cut()
    if path == "/peer":
        start_response("200 OK", fields)
        return [f"{environ['REMOTE_ADDR']} {environ['SERVER_NAME']}".encode()]
    start_response("200 OK", [*fields, ("Content-Length", "6")])
    return [b"hello\n"]


def cut() -> Iterator[bytes]:
    yield b"the beginning\n"
    raise RuntimeError("the end never comes")


@pytest.fixture(
    scope="module",
    params=[
        *("default", "direct"),
        *(pytest.param(f"{mode}-tls", marks=pytest.mark.soak) for mode in ("default", "direct")),
    ],
)
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    """A server with the options as they are, and one with each as different as it can be."""
    options: dict[str, Any] = {}
    if request.param.startswith("direct"):
        options = {"request_buffering": "stream", "response_overflow": "park", "parser": "h11"}
    options["tls"] = request.param.endswith("-tls")
    app: Any = validator(application)
    with serving(app, port=0, host="localhost", max_body_size=BODY_LIMIT, **options) as served:
        yield served


@pytest.fixture
def url(served: Served) -> str:
    return served.url.replace("localhost", "127.0.0.1")


# --- curl


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "data.bin"
    path.write_bytes(os.urandom(5_000_000))
    return path


def digest_of(path: Path) -> bytes:
    data = path.read_bytes()
    return f"{len(data)} {hashlib.sha256(data).hexdigest()}".encode()


def test_curl_waits_for_continue(url: str, file: Path) -> None:
    """One 100, then the answer."""
    done = curl(
        "-H", "Expect: 100-continue", "--expect100-timeout", "15", "-T", file, url + "/digest"
    )
    assert (done.code, done.out) == (0, digest_of(file))
    statuses = [line for line in done.seen if line.startswith("HTTP/")]
    assert statuses == ["HTTP/1.1 100 Continue", "HTTP/1.1 200 OK"]


def test_curl_does_not_send_what_is_too_large(url: str, tmp_path: Path) -> None:
    """413 at once, in place of the 100: not a byte of the body is sent."""
    large = tmp_path / "large.bin"
    with large.open("wb") as out:
        out.truncate(BODY_LIMIT + 1)
    done = curl(
        "-H", "Expect: 100-continue", "--expect100-timeout", "15", "-T", large, url + "/digest"
    )
    assert done.facts["http_code"] == "413"
    assert done.facts["size_upload"] == "0"
    (answer,) = [line for line in done.seen if line.startswith("HTTP/")]
    assert answer.startswith("HTTP/1.1 413 ")


def test_curl_meets_a_413_in_the_middle(url: str, tmp_path: Path) -> None:
    """Chunked, so the size is not known before: the answer arrives all the same."""
    large = tmp_path / "large.bin"
    with large.open("wb") as out:
        out.truncate(BODY_LIMIT + 100_000)
    done = curl("-H", "Transfer-Encoding: chunked", "-H", "Expect:", "-T", large, url + "/digest")
    assert done.facts["http_code"] == "413"


def test_curl_answer_without_reading_the_body(url: str, file: Path) -> None:
    done = curl("-H", "Expect:", "--data-binary", f"@{file}", url + "/refuse")
    assert (done.facts["http_code"], done.out) == ("403", b"not even looked at")


@pytest.mark.parametrize("expect", ["Expect:", "Expect: 100-continue"])
def test_curl_chunked_upload(expect: str, url: str, file: Path) -> None:
    done = curl(
        *("-H", "Transfer-Encoding: chunked", "-H", expect, "--expect100-timeout", "15"),
        *("-T", "-", url + "/digest"),
        stdin=file.read_bytes(),
    )
    assert (done.code, done.out) == (0, digest_of(file))


def test_curl_head(url: str) -> None:
    done = curl("-I", url)
    assert done.code == 0
    assert "Content-Length: 6" in done.seen
    assert done.out.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("path", "field"), [("/", "Content-Length: 6"), ("/stream", "Transfer-Encoding: chunked")]
)
def test_curl_framing(path: str, field: str, url: str) -> None:
    done = curl(url + path)
    assert done.code == 0
    assert field in done.seen
    assert not [line for line in done.seen if line.startswith("Connection:")]


def test_curl_http_1_0(url: str) -> None:
    """The stream ends with the connection; what has a length keeps it open if asked to."""
    done = curl("--http1.0", url + "/stream")
    assert (done.code, len(done.out)) == (0, 70_000)
    assert "Connection: close" in done.seen
    assert not [line for line in done.seen if line.startswith("Transfer-Encoding")]
    kept = curl("--http1.0", "-H", "Connection: keep-alive", url, url)
    assert kept.out == b"hello\nhello\n"
    assert kept.facts["num_connects"] == "0"  # the second transfer made none
    assert kept.seen.count("Connection: keep-alive") == 2


def test_curl_reuses_its_connection(url: str) -> None:
    done = curl(f"{url}/[1-20]")
    assert done.out == b"hello\n" * 20
    assert done.facts["num_connects"] == "0"


def test_curl_many_at_once(url: str) -> None:
    done = curl("--parallel", "--parallel-max", "10", f"{url}/stream?[1-40]")
    assert (done.code, len(done.out)) == (0, 40 * 70_000)


def test_curl_over_ipv6(served: Served) -> None:
    port = served.server.port
    if len(served.server.addresses) < 2:
        pytest.skip("this machine has no IPv6")
    done = curl("--resolve", f"localhost:{port}:[::1]", f"{served.url}/peer")
    assert (done.code, done.out) == (0, b"::1 ::1")
    assert done.facts["remote_ip"] == "::1"


@pytest.mark.parametrize(("option", "code"), [("--http1.1", 18), ("--http1.0", 56)])
def test_curl_can_tell_a_cut_response(option: str, code: int, url: str) -> None:
    """18: data outstanding (no last chunk). 56: failure in receiving (a reset)."""
    done = curl(option, url + "/cut")
    assert done.code == code


def test_curl_sends_a_form_and_a_file(url: str, file: Path) -> None:
    done = curl("-F", "a=b", "-F", f"file=@{file}", url + "/digest")
    assert done.code == 0
    assert int(done.out.split()[0]) > 5_000_000


# --- h2load and wrk: no figures here, only that each answer is right


@pytest.mark.parametrize("path", ["/", "/stream"])
@pytest.mark.parametrize("pipelined", [1, 8])
def test_h2load(pipelined: int, path: str, url: str) -> None:
    program = require_program("h2load")
    count = 2000 if path == "/" else 100
    out = output_of(
        [program, "--h1", "-n", str(count), "-c", "16", "-m", str(pipelined), url + path]
    )
    assert f"{count} total, {count} started, {count} done, {count} succeeded, 0 failed" in out
    assert f"status codes: {count} 2xx, 0 3xx, 0 4xx, 0 5xx" in out


def test_h2load_uploads(url: str, tmp_path: Path) -> None:
    program = require_program("h2load")
    body = tmp_path / "body"
    body.write_bytes(b"x" * 100_000)
    out = output_of([program, "--h1", "-n", "200", "-c", "8", "-d", str(body), url + "/digest"])
    assert "200 succeeded, 0 failed" in out
    assert "status codes: 200 2xx" in out


@pytest.mark.parametrize("path", ["/", "/stream"])
def test_wrk(path: str, url: str) -> None:
    program = require_program("wrk")
    out = output_of([program, "-t", "1", "-c", "16", "-d", "1s", url + path])
    requests = re.search(r"(\d+) requests in", out)
    assert requests is not None
    assert int(requests[1]) > 0
    assert "Non-2xx" not in out
    assert "Socket errors" not in out


def output_of(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=2 * TIMEOUT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout

"""Bodies over TLS, by every way that there is: what arrives is what was sent, never its cipher."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from rawclient import RawClient, request
from serving import both_loops, serving

overflows = pytest.mark.parametrize("overflow", ["spool", "park", "block"])
bufferings = pytest.mark.parametrize("buffering", ["full", "stream"])

BLOCK = 65536
NO_DEADLINES = {"header_timeout": 0, "body_timeout": 0, "send_timeout": 0, "min_rate": 0}


def blocks(count: int) -> Iterator[bytes]:
    """Each another, made quickly, and looking like nothing that is encrypted."""
    for number in range(count):
        yield b"%08d" % number * (BLOCK // 8)


def digest_of(pieces: Iterable[bytes]) -> bytes:
    digest, size = hashlib.sha256(), 0
    for piece in pieces:
        digest.update(piece)
        size += len(piece)
    return b"%d %s" % (size, digest.hexdigest().encode())


class Application:
    """Digests what it is sent; sends blocks, or a file, as many as it is asked for."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self.sizes: list[int] = []
        """Of what each read of a body gave."""

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path, query = environ["PATH_INFO"], environ["QUERY_STRING"]
        if path == "/digest":
            body = environ["wsgi.input"]
            size = int(query or BLOCK)
            told = digest_of(iter(lambda: self._noted(body.read(size)), b""))
            start_response("200 OK", [])
            return [told]
        if path == "/blocks":
            start_response("200 OK", [])
            return blocks(int(query))
        if path == "/file":
            assert self._file is not None
            file = self._file.open("rb")
            file.seek(int(query or 0))
            start_response("200 OK", [])
            return cast("Iterable[bytes]", environ["wsgi.file_wrapper"](file, 8192))
        start_response("200 OK", [])
        return [b"quick"]

    def _noted(self, data: bytes) -> bytes:
        self.sizes.append(len(data))
        return data


def upload(client: RawClient, count: int, *, chunked: bool, query: str = "") -> None:
    """So many blocks as the body of a request; the head says how much, or each chunk does."""
    how = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {count * BLOCK}"
    client.send(request(f"/digest?{query}", "POST", fields=(how,)))
    for block in blocks(count):
        client.send(b"%x\r\n%s\r\n" % (BLOCK, block) if chunked else block)
    if chunked:
        client.send(b"0\r\n\r\n")


# --- uploads -----------------------------------------------------------------------------------


@both_loops
@bufferings
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_an_upload_arrives_as_it_was_sent(loop: str, buffering: str, chunked: bool) -> None:
    """In ``stream`` an application that is behind reads from the socket itself, where there is no
    TLS: with it, it would read what is encrypted."""
    app = Application()
    with serving(app, loop=loop, tls=True, request_buffering=buffering) as served:
        for query in ("", "1000", "10000000"):
            with served.client() as client:
                upload(client, 64, chunked=chunked, query=query)
                assert client.response("POST").body == digest_of(blocks(64))
                assert client.get("/").body == b"quick"
        served.wait_until_idle()


@both_loops
def test_an_application_that_is_behind_reads_plain_bytes(loop: str) -> None:
    """It begins once the kernel is full of what follows."""
    begin = threading.Event()
    told: list[bytes] = []

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        assert begin.wait(60)
        body = environ["wsgi.input"]
        told.append(body.read(10))
        told.append(body.readline())
        told.extend(iter(lambda: body.read(100_000), b""))
        start_response("200 OK", [])
        return [digest_of(told)]

    with serving(application, loop=loop, tls=True, request_buffering="stream") as served:
        with served.client() as client:
            sender = threading.Thread(
                target=upload, args=(client, 200), kwargs={"chunked": False}, daemon=True
            )
            sender.start()
            served.wait_until(lambda: served.pool.busy == 1)
            with served.client():  # the loop has had turns, and has read all that it will
                served.wait_until(lambda: len(served.connections.open) == 2)
            begin.set()
            assert client.response("POST").body == digest_of(list(blocks(200)))
            sender.join()
        assert told[0] == b"0000000000"
        served.wait_until_idle()


# --- files -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("file") / "data"
    path.write_bytes(os.urandom(3_000_001))
    return path


@both_loops
@overflows
def test_a_file_goes_encrypted(
    loop: str, overflow: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By blocks: what the kernel sends by itself has not been through TLS."""
    monkeypatch.setattr(os, "sendfile", None)
    data = file.read_bytes()
    with serving(Application(file), loop=loop, tls=True, response_overflow=overflow) as served:
        for start in (0, 1, 2_999_990, 3_000_001):
            with served.client(receive_buffer=4096) as client:
                client.send(request(f"/file?{start}") + request("/"))
                response = client.response()
                assert response.fields["content-length"] == str(len(data) - start)
                assert response.body == data[start:]
                assert client.response().body == b"quick"
            with served.client() as client:
                client.send(request(f"/file?{start}", "HEAD") + request("/"))
                assert client.response("HEAD").body == b""
                assert client.response().body == b"quick"
        served.wait_until_idle()


@both_loops
def test_who_leaves_within_a_file_leaves_nothing(loop: str, file: Path) -> None:
    with serving(Application(file), loop=loop, tls=True) as served:
        for _ in range(5):
            client = served.client(receive_buffer=4096)
            client.send(request("/file"))
            client.read_until(b"\r\n\r\n")
            client.reset()
        served.wait_until_idle()


# --- slow readers ------------------------------------------------------------------------------


@both_loops
@overflows
def test_slow_readers_get_all_and_cost_no_more_threads_than_without_tls(
    loop: str, overflow: str
) -> None:
    """4 threads, 6 clients that do not read 4 MiB; with ``block`` two threads may be theirs."""
    with serving(
        Application(), loop=loop, tls=True, threads=4, response_overflow=overflow, **NO_DEADLINES
    ) as served:
        count = 2 if overflow == "block" else 6
        with contextlib.ExitStack() as stack:
            readers = [
                stack.enter_context(served.client(receive_buffer=4096)) for _ in range(count)
            ]
            for reader in readers:
                reader.send(request("/blocks?64"))
            for reader in readers:
                assert reader.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 200 OK\r\n")
            most = count if overflow == "block" else 0
            served.wait_until(lambda: served.pool.busy <= most and not served.pool.queued)
            with served.client() as client:
                for _ in range(20):
                    assert client.get("/").body == b"quick"
            # What is accounted for is plain, and within what was made.
            assert served.budgets.memory.used <= count * 65 * BLOCK
            expected = b"".join(blocks(64))
            for reader in readers:
                raw = reader.read_until(b"\r\n0\r\n\r\n")
                assert dechunked(raw) == expected
        served.wait_until_idle()


def dechunked(raw: bytes) -> bytes:
    """A chunked body, decoded."""
    parts: list[bytes] = []
    at = 0
    while True:
        end = raw.index(b"\r\n", at)
        size = int(raw[at:end], 16)
        if size == 0:
            return b"".join(parts)
        parts.append(raw[end + 2 : end + 2 + size])
        at = end + 2 + size + 2


@both_loops
@overflows
def test_who_does_not_read_is_given_up_in_time(loop: str, overflow: str) -> None:
    with serving(
        Application(), loop=loop, tls=True, response_overflow=overflow, send_timeout=0.3
    ) as served:
        with served.client(receive_buffer=4096) as client:
            client.send(request("/blocks?1000"))
            client.read_until(b"\r\n\r\n")
            served.wait_until_idle()
        assert len(served.recorder.of("connection_dropped")) == 1


# --- large ones --------------------------------------------------------------------------------

LARGE = 100_000_000 // BLOCK


@pytest.mark.soak
@pytest.mark.timeout(600)
@both_loops
@bufferings
def test_an_upload_of_100_megabytes(loop: str, buffering: str) -> None:
    app = Application()
    options: dict[str, Any] = {"request_buffering": buffering, "max_body_size": "1G"}
    with serving(app, loop=loop, tls=True, **options, **NO_DEADLINES) as served:
        with served.client() as client:
            upload(client, LARGE, chunked=False)
            assert client.response("POST").body == digest_of(blocks(LARGE))
        served.wait_until_idle()


@pytest.mark.soak
@pytest.mark.timeout(600)
@both_loops
@overflows
def test_a_download_of_100_megabytes(loop: str, overflow: str) -> None:
    with serving(
        Application(), loop=loop, tls=True, response_overflow=overflow, **NO_DEADLINES
    ) as served:
        with served.client() as client:
            client.send(f"GET /blocks?{LARGE} HTTP/1.0\r\n\r\n".encode())
            client.read_until(b"\r\n\r\n")
            assert digest_of(client.pieces()) == digest_of(blocks(LARGE))
            assert client.socket.said_goodbye
        served.wait_until_idle()

"""FastCGI on real sockets: kept connections, large bodies both ways, ends, a server that stops."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastcgi_clients import Front
from fastcgi_peer import ABORT, Record, request, variables
from rawclient import TIMEOUT
from serving import both_loops, serving

SIZE = 6 << 20
BLOCK = bytes(range(256)) * 255  # 65280 bytes: records of STDIN have no more than 65535


class Site:
    """An application some of whose paths wait for a test."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.gate = threading.Semaphore(0)
        self.closed = threading.Semaphore(0)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        path = environ["PATH_INFO"]
        if path == "/sum":
            total = size = 0
            while data := environ["wsgi.input"].read(1 << 16):
                total, size = (total + sum(data)) % (1 << 32), size + len(data)
            start_response("200 OK", [])
            return [b"%d %d" % (size, total)]
        if path == "/large":
            start_response("200 OK", [])
            return iter([BLOCK * 10] * (SIZE // (len(BLOCK) * 10)))
        if path == "/held":
            self.entered.release()
            assert self.gate.acquire(timeout=TIMEOUT)
        if path == "/endless":
            start_response("200 OK", [])
            return self.endless()
        start_response("200 OK", [])
        return [path.encode()]

    def endless(self) -> Iterator[bytes]:
        try:
            self.entered.release()
            while True:
                yield b"x" * 10_000
        finally:
            self.closed.release()


@pytest.fixture
def site() -> Site:
    return Site()


def serve(site: Site, path: Path, loop: str = "uvloop", **options: Any) -> Any:
    bind = [f"fastcgi+unix:{path / 'socket'}"]
    return serving(site, loop=loop, bind=bind, threads=2, spool_dir=str(path), **options)


def front(path: Path) -> Front:
    return Front(str(path / "socket"))


@both_loops
def test_large_bodies_both_ways_on_one_connection(site: Site, tmp_path: Path, loop: str) -> None:
    with serve(site, tmp_path, loop) as served, front(tmp_path) as client:
        pieces = [BLOCK] * (SIZE // len(BLOCK))
        size = len(BLOCK) * len(pieces)
        for _ in range(2):
            ended = client.ask(variables("PUT", "/sum", size), pieces, padding=b"\0" * 7)
            assert ended.body == b"%d %d" % (size, sum(BLOCK) * len(pieces) % (1 << 32))
        assert client.ask(variables(target="/large")).body == BLOCK * 10 * (
            SIZE // len(BLOCK) // 10
        )
        assert client.ask(variables(target="/a")).body == b"/a"
        client.socket.close()
        served.wait_until_idle()
        assert len(served.recorder.of("request_finished")) == 4


def test_a_streamed_upload_waits_for_its_application(site: Site, tmp_path: Path) -> None:
    with serve(site, tmp_path, request_buffering="stream") as served, front(tmp_path) as client:
        pieces = [BLOCK] * (SIZE // len(BLOCK))
        given = variables("PUT", "/sum", HTTP_TRANSFER_ENCODING="chunked")
        assert client.ask(given, pieces).body.startswith(b"%d " % (len(BLOCK) * len(pieces)))
        client.socket.close()
        served.wait_until_idle()


def test_who_is_idle_is_let_go(site: Site, tmp_path: Path) -> None:
    with serve(site, tmp_path, keep_alive=0.3) as served, front(tmp_path) as client:
        client.ask()
        assert client.take() == b""
        client.socket.close()
        served.wait_until_idle()
        assert served.recorder.of("connection_dropped") == []


def test_a_front_server_that_vanishes_ends_its_request(site: Site, tmp_path: Path) -> None:
    with serve(site, tmp_path) as served:
        with front(tmp_path) as client:
            client.send(request(variables(target="/endless")))
            assert site.entered.acquire(timeout=TIMEOUT)
            client.take()
        assert site.closed.acquire(timeout=TIMEOUT)
        client.socket.close()
        served.wait_until_idle()


def test_a_response_that_nobody_wants_any_more_makes_way(site: Site, tmp_path: Path) -> None:
    with serve(site, tmp_path) as served, front(tmp_path) as client:
        client.send(request(variables(target="/endless")))
        assert site.entered.acquire(timeout=TIMEOUT)
        client.take()
        client.send([Record(ABORT, 1)])
        assert client.wait().app_status == 1
        assert site.closed.acquire(timeout=TIMEOUT)
        client.socket.close()
        served.wait_until_idle()


def test_a_server_that_stops_answers_what_was_asked(site: Site, tmp_path: Path) -> None:
    with serve(site, tmp_path) as served, front(tmp_path) as client, front(tmp_path) as idle:
        assert idle.ask(variables(target="/a")).body == b"/a"
        client.send(request(variables(target="/held")))
        assert site.entered.acquire(timeout=TIMEOUT)
        stopping = threading.Thread(target=served.stop)
        stopping.start()
        assert idle.take() == b"", "nothing is asked there any more"
        site.gate.release()
        assert client.wait().body == b"/held"
        assert client.take() == b""
        client.socket.close()
        stopping.join(TIMEOUT)
        assert not stopping.is_alive()


def test_one_too_many_is_told_so_when_it_asks(site: Site, tmp_path: Path) -> None:
    with serve(site, tmp_path, max_connections=1) as served, front(tmp_path) as client:
        client.send(request(variables(target="/held")))
        assert site.entered.acquire(timeout=TIMEOUT)
        with front(tmp_path) as other:
            assert other.ask().status == 503
        site.gate.release()
        assert client.wait().body == b"/held"
        client.socket.close()
        served.wait_until_idle()


def test_the_client_is_in_the_log(site: Site, tmp_path: Path) -> None:
    with serve(site, tmp_path) as served, front(tmp_path) as client:
        client.ask(variables(target="/a", REMOTE_ADDR="2001:db8::7"))
        [(info, response)] = served.recorder.wait_for("request_finished")
        assert (info.client, response.status) == ("[2001:db8::7]:40312", 200)

"""Requests as statsd is told of them, and a statsd that is not there, or takes nothing."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rawclient import RawClient, request
from serving import both_loops, serving
from statsds import StatsdReceiver
from tools import NO_IPV6

from wsgi_async import Server
from wsgi_async.operations.statsd import Statsd, StatsdObserver
from wsgi_async.operations.statsd_lines import LARGEST, METRICS


def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    path = environ["PATH_INFO"]
    if path == "/wait":
        environ["test.gate"].wait(20)
    if path == "/fail":
        raise ValueError
    status = "404 Not Found" if path == "/missing" else "200 OK"
    start_response(status, [("Content-Type", "text/plain")])
    return [b"hello"]


@pytest.fixture
def receiver() -> Iterator[StatsdReceiver]:
    with StatsdReceiver() as receiver:
        yield receiver


def ask(client: RawClient, path: str = "/") -> int:
    client.send(request(path))
    return client.response().status


def is_of_the_table(name: str) -> bool:
    """Whether the guide has it: a status or a place stands for all of them."""
    known = {metric.name for metric in METRICS}
    head, _, last = name.rpartition(".")
    return name in known or (last.isdigit() and not known.isdisjoint({f"{head}.N", f"{head}.NNN"}))


@both_loops
def test_requests_by_status_and_time(loop: str, receiver: StatsdReceiver) -> None:
    statsd = Statsd(receiver.option, prefix="shop", tags="a:b")
    with serving(application, loop=loop, observers=[StatsdObserver(statsd)]) as served:
        with served.client() as client:
            statuses = [ask(client, path) for path in ("/", "/", "/missing", "/fail")]
        assert statuses == [200, 200, 404, 500]
        with served.client() as client:
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
            assert client.response().status == 400
        receiver.read_until(lambda: receiver.sums["shop.gunicorn.requests"] == 5)
    receiver.read_until(lambda: receiver.gauges["shop.gunicorn.workers"] == 0)
    statsd.close()
    assert receiver.sums == {
        "shop.gunicorn.requests": 5,
        "shop.gunicorn.request.status.200": 2,
        "shop.gunicorn.request.status.404": 1,
        "shop.gunicorn.request.status.500": 1,
        "shop.gunicorn.request.status.400": 1,
        "shop.gunicorn.request.duration": 4,
        "shop.wsgi_async.request.queue": 4,
    }
    assert {line.tags for line in receiver.lines} == {"a:b"}
    times = {line.value for line in receiver.lines if line.kind == "ms"}
    assert min(times) >= 0
    assert max(times) < 20_000
    assert all(is_of_the_table(line.name.removeprefix("shop.")) for line in receiver.lines)
    assert receiver.lines[0] != receiver.lines[-1]
    assert statsd.lost == 0


def test_a_thousand_requests_are_few_datagrams_and_none_is_lost(receiver: StatsdReceiver) -> None:
    statsd = Statsd(receiver.option)
    with serving(application, observers=[StatsdObserver(statsd)]) as served:
        with served.client() as client:
            for _ in range(20):
                client.send(request() * 50)
                for _ in range(50):
                    assert client.response().status == 200
                receiver.read_what_is_there()
        receiver.read_until(lambda: receiver.sums["gunicorn.requests"] >= 1000)
    receiver.read_what_is_there()
    statsd.close()
    assert receiver.sums["gunicorn.requests"] == 1000
    assert receiver.sums["gunicorn.request.status.200"] == 1000
    assert receiver.sums["gunicorn.request.duration"] == 1000
    assert max(map(len, receiver.datagrams)) <= LARGEST
    assert len(receiver.datagrams) < 500


@pytest.mark.parametrize("kind", ["unix", "ipv6", "a name"])
def test_where_it_may_be(kind: str, tmp_path: Path) -> None:
    try:
        where = {"unix": tmp_path / "statsd", "ipv6": "::1", "a name": "127.0.0.1"}[kind]
        receiver = StatsdReceiver(where)
    except OSError as error:
        if error.errno in NO_IPV6:
            pytest.skip("no IPv6 here")
        raise
    address = f"localhost:{receiver.port}" if kind == "a name" else receiver.option
    statsd = Statsd(address)
    assert statsd.is_found is (kind != "a name")  # a thread looks it up
    with receiver, serving(application, observers=[StatsdObserver(statsd)]) as served:
        receiver.read_until(lambda: receiver.gauges.get("gunicorn.workers") == 1)
        with served.client() as client:
            assert ask(client) == 200
        receiver.read_until(lambda: receiver.sums["gunicorn.request.status.200"] == 1)
    statsd.close()


def test_nothing_that_a_client_sent_is_in_a_line(receiver: StatsdReceiver) -> None:
    statsd = Statsd(receiver.option)
    with serving(application, observers=[StatsdObserver(statsd)]) as served:
        for text in (b"x:1|c", b"%0Ax:1|c", b"gunicorn.workers:9|g"):
            for head in (b"%b / HTTP/1.1\r\nHost: a", b"GET /%b HTTP/1.1\r\nHost: a\r\nX-A: b"):
                with served.client() as client:
                    client.send(head % text + b"\r\n\r\n")
                    client.response()
        receiver.read_until(lambda: receiver.sums["gunicorn.requests"] == 6)
    statsd.close()
    assert all(is_of_the_table(line.name) for line in receiver.lines)
    assert receiver.gauges["gunicorn.workers"] == 1


def test_busy_threads(receiver: StatsdReceiver) -> None:
    gate = threading.Event()

    def gated(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        return application({**environ, "test.gate": gate}, start_response)

    statsd = Statsd(receiver.option)
    server = Server(gated, 0, host="127.0.0.1", threads=3)
    statsd.attach(server, place=4)
    name = "wsgi_async.threads.busy.4"
    with server:
        assert server.port is not None
        receiver.read_until(lambda: receiver.gauges.get(name) == 0)
        clients = [RawClient(("127.0.0.1", server.port)) for _ in range(2)]
        for client in clients:
            client.send(request("/wait"))
        receiver.read_until(lambda: receiver.gauges[name] == 2)
        gate.set()
        for client in clients:
            assert client.response().status == 200
            client.close()
        receiver.read_until(lambda: receiver.gauges[name] == 0)
    statsd.close()


def test_a_statsd_that_is_not_there_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    with StatsdReceiver() as receiver:
        address = receiver.option
    caplog.set_level(logging.INFO)
    statsd = Statsd(address)
    with serving(application, observers=[StatsdObserver(statsd)]) as served:
        with served.client() as client:
            for _ in range(500):
                assert ask(client) == 200
        served.wait_until(lambda: statsd.lost > 1)
    statsd.close()
    said = [record.getMessage() for record in caplog.records if address in record.getMessage()]
    assert said == [
        f"--statsd-host: {address} does not take all: Connection refused; what it does not take is "
        "lost"
    ]
    assert "datagrams that were lost: " in caplog.text


def test_a_statsd_that_reads_nothing_stops_nobody(tmp_path: Path) -> None:
    """Its buffer is full: gunicorn waits for it, with all of its clients."""
    warned: list[str] = []
    with StatsdReceiver(tmp_path / "statsd") as receiver:
        statsd = Statsd(receiver.option, warn=warned.append)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            other.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    other.sendto(b"x:1|c|@1.0", str(tmp_path / "statsd"))
        with serving(application, observers=[StatsdObserver(statsd)]) as served:
            with served.client() as client:
                for _ in range(300):
                    assert ask(client) == 200
            served.wait_until(lambda: statsd.lost > 1)
            receiver.read_what_is_there()
            receiver.read_until(lambda: receiver.gauges.get("gunicorn.workers") == 1)
    statsd.close()
    assert len(warned) == 1
    assert "Resource temporarily unavailable" in warned[0]


def test_what_is_logged_goes_along(receiver: StatsdReceiver) -> None:
    statsd = Statsd(receiver.option)
    statsd.logged("error")  # before the start: at once
    receiver.read_until(lambda: receiver.sums["gunicorn.log.error"] == 1)
    with serving(application, observers=[StatsdObserver(statsd)]):
        threads = [
            threading.Thread(target=lambda: [statsd.logged("warning") for _ in range(50)])
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        statsd.measured("shop.sold", 3, "counter")
        statsd.measured("shop:sold|c", 1.5, "timer")
        statsd.measured("shop.no", "x", "gauge")
        statsd.measured("shop.no", 1, "nothing")
        receiver.read_until(lambda: receiver.sums["gunicorn.log.warning"] == 200)
        receiver.read_until(lambda: receiver.sums["shop.sold"] == 3)
        receiver.read_until(lambda: receiver.sums["shop_sold_c"] == 1)
    statsd.logged("critical")  # and after the end
    receiver.read_until(lambda: receiver.sums["gunicorn.log.critical"] == 1)
    assert "shop.no" not in {line.name for line in receiver.lines}
    statsd.close()

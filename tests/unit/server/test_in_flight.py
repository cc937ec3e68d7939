"""The table of requests in flight: one line each, and the stack of its thread."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Any

from wire import TIMEOUT, Chunks, Held, Site

from wsgi_async.server.in_flight import LONGEST, MOST, Occasions, describe


def table(site: Site) -> list[str]:
    return describe(site.connections, site.loop.time())


def entry(site: Site, target: str) -> str:
    [line] = [line for line in table(site) if f" {target} " in line]
    return line


def test_a_server_without_work() -> None:
    with Site(threads=3) as site:
        site.connect()
        assert table(site) == ["requests in flight: 0; threads: 3, 0 lost; connections: 1"]


def test_each_request_has_a_line_and_each_thread_its_stack() -> None:
    application = Held()
    with Site(application, threads=1, min_rate=0) as site:
        running, queued, receiving = site.connect(), site.connect(), site.connect()
        running.ask("/running?a=b")
        application.wait_entered()
        site.loop.clock.advance(2.5)
        queued.ask("/queued", method="PUT")
        receiving.send("POST /receiving HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n", "POST")
        receiving.transport.receive(b"x")
        site.loop.clock.advance(1)
        lines = table(site)
        assert lines[0] == (
            "requests in flight: 3, 1 running, 1 queued, 1 receiving; threads: 1, 0 lost; "
            "connections: 3"
        )
        [request] = [c.in_flight.exchange.info for c in (running.protocol,) if c.in_flight]
        assert lines[1] == (
            "3.5 s, running on wsgi_async-1: GET /running?a=b "
            f"[127.0.0.1:50312 {request.id}], 0 bytes sent"
        )
        first = re.fullmatch(r' {4}File "(.*)", line \d+, in __call__', lines[2])
        assert first is not None
        assert first[1].endswith("wire.py")
        assert "      assert self.gate.acquire(timeout=TIMEOUT)" in lines
        assert entry(site, "/queued").startswith("1.0 s, queued: PUT /queued [")
        assert entry(site, "/receiving").startswith("1.0 s, receiving: POST /receiving [")
        receiving.transport.receive(b"x" * 8)
        application.gate.release(3)
        assert receiving.wait().status == 200
        assert next(info.id for info, _ in site.observer.finished) == request.id


def test_responses_on_their_way() -> None:
    body = Chunks([b"x" * 65536] * 40)
    gate = threading.Event()

    def application(environ: Any, start_response: Callable[..., Any]) -> Any:
        start_response("200 OK", [])
        if environ["RAW_URI"] == "/whole":
            return [b"x" * 100_000]
        if environ["RAW_URI"] == "/stream":
            return iter(lambda: b"" if not gate.wait(TIMEOUT) else b"end", b"end")
        return body

    with Site(application, response_overflow="park", response_buffer=131072, threads=2) as site:
        parked, whole = site.connect(window=0), site.connect(window=0)
        parked.ask("/parked")
        whole.ask("/whole")
        site.settle()
        assert entry(site, "/parked").startswith("0.0 s, parked: GET")
        line = entry(site, "/whole")
        assert line.startswith("0.0 s, sending: GET")
        assert line.endswith("100000 bytes sent")
        for client in parked, whole:
            client.transport.take()
            client.wait()
        site.loop.run_pending()
        assert len(table(site)) == 1
        gate.set()


def test_threads_that_go_on_for_nobody() -> None:
    application = Held()
    with Site(application, threads=3, request_timeout=10) as site:
        late, gone = site.connect(), site.connect()
        late.ask("/late")
        application.wait_entered()
        site.sweep(5)
        gone.ask("/gone")
        application.wait_entered()
        gone.transport.reset()
        site.sweep(5.1)
        assert late.wait().status == 504
        lines = table(site)
        assert lines[0] == (
            "requests in flight: 2, 1 abandoned, 1 lost; threads: 3, 1 lost; connections: 1"
        )
        assert re.match(r"10\.\d s, lost on wsgi_async-\d: GET /late \[", lines[1])
        assert "      assert self.gate.acquire(timeout=TIMEOUT)" in lines
        assert re.match(r"5\.\d s, abandoned on wsgi_async-\d: GET", entry(site, "/gone"))
        application.gate.release(2)
        site.observer.returned.get(timeout=TIMEOUT)


def test_what_a_client_sent_forges_no_line() -> None:
    application = Held()
    with Site(application, threads=1) as site:
        client = site.connect()
        client.ask('/"\\|' + "x" * 5000)
        application.wait_entered()
        line = table(site)[1]
        assert r"/\x22\x5c|xxx" in line
        assert len(line) < LONGEST + 200
        application.gate.release()
        client.wait()


def test_a_crowd_is_cut_off() -> None:
    application = Held()
    with Site(application, threads=1, cap=1000) as site:
        clients = [site.connect() for _ in range(MOST + 7)]
        for number, client in enumerate(clients):
            client.ask(f"/{number}")
            site.loop.clock.advance(0.01)
        application.wait_entered()
        lines = table(site)
        assert lines[0].startswith(f"requests in flight: {MOST + 7}, 1 running, {MOST + 6} queued")
        assert lines[-1] == "and 7 more"
        shown = [line for line in lines[1:-1] if not line.startswith("    ")]
        assert len(shown) == MOST
        assert " /0 " in shown[0]
        assert f" /{MOST - 1} " in shown[-1]
        for client in clients[1:]:
            client.transport.reset()
        site.loop.run_pending()
        application.gate.release()
        clients[0].wait()


def test_a_request_has_one_id_whoever_asks_first() -> None:
    """The loop names it for the table while its thread names it for an error."""
    rounds, threads = 200, 4
    with Site() as site:
        for _ in range(rounds):
            client = site.connect()
            client.transport.receive(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n")
            assert client.protocol.in_flight is not None
            exchange = client.protocol.in_flight.exchange
            barrier = threading.Barrier(threads)
            found: list[str] = []

            def name(
                barrier: threading.Barrier = barrier,
                exchange: Any = exchange,
                found: list[str] = found,
            ) -> None:
                barrier.wait(TIMEOUT)
                found.append(exchange.info.id)

            workers = [threading.Thread(target=name) for _ in range(threads)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join(TIMEOUT)
            assert len(set(found)) == 1
            client.transport.reset()
            site.loop.run_pending()


def test_an_occasion_comes_once_in_its_time() -> None:
    """Of signals that come together one is heard, and none is put off."""
    now = [1000.0]
    occasions = Occasions(10.0, clock=lambda: now[0])
    taken = []
    for seconds in (0, 0, 9.9, 0.1, 5, 5, 100, 0):
        now[0] += seconds
        taken.append(occasions.take())
    assert taken == [True, False, False, True, False, True, True, False]

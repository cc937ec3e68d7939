"""Reloads under asynchronous bodies of every kind, and clients that count: nothing is lost, doubled
or cut, and no process that leaves has kept anything."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from event_streams import is_stream, read
from processes import Life, Servers, Site
from rawclient import TIMEOUT, RawClient

SITE = """
import asyncio, contextvars, gc, json, os, threading
import wsgi_async
from wsgi_async import sse

MARK = contextvars.ContextVar("mark", default="")
counts = dict.fromkeys(("opened", "finally", "closed", "wrong"), 0)
lock = threading.Lock()

def count(what):
    with lock:
        counts[what] += 1

def state():
    gc.collect()
    return {
        "pid": os.getpid(),
        "counts": counts,
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "files": len(os.listdir("/proc/self/fd")) - 1,
        "contexts": sum(type(one) is contextvars.Context for one in gc.get_objects()),
        "exchanges": sum(type(one).__name__.endswith("Exchange") for one in gc.get_objects()),
    }

async def tasks():
    return len(asyncio.all_tasks()) - 1

@wsgi_async.on_start
async def watching():
    yield
    with open("left", "a") as left:
        left.write(json.dumps(state()) + "\\n")

def closed(mark):
    count("closed" if MARK.get() == mark else "wrong")

async def events(last, mark):
    try:
        while True:
            last += 1
            yield sse.event(str(last), id=last)
            await asyncio.sleep(0.004)
    finally:
        count("finally")

async def download(mark):
    try:
        for number in range(100):
            yield b"%04d" % number * 256
            await asyncio.sleep(0.003)
    finally:
        count("finally")

def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/state":
        found = {**state(), "tasks": wsgi_async.run(tasks())}
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(found).encode()]
    if path == "/":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [f"{os.getpid()} v {environ['QUERY_STRING']}".encode()]
    mark = environ["QUERY_STRING"]
    MARK.set(mark)
    count("opened")
    if path == "/events":
        start_response("200 OK", list(sse.headers().items()))
        body = events(int(sse.last_event_id(environ) or 0), mark)
    else:
        start_response("200 OK", [("Content-Type", "text/plain")])
        body = download(mark)
    return wsgi_async.live(body, close=lambda: closed(mark))
"""

RELOADS = 8
EVERY = 1.0
"""Seconds."""

DOWNLOAD = b"".join(b"%04d" % number * 256 for number in range(100))


class Clients:
    """Threads, each a client over and over until it is told to end, and what they complain of."""

    def __init__(self, servers: Servers) -> None:
        self.servers = servers
        self.is_over = threading.Event()
        self.complaints: list[str] = []
        self.done = {"events": 0, "reconnects": 0, "downloads": 0, "resets": 0}
        self._threads: list[threading.Thread] = []

    def start(self, work: Callable[[random.Random], None], count: int) -> None:
        for number in range(count):
            thread = threading.Thread(target=self._main, args=(work, random.Random(number)))
            self._threads.append(thread)
            thread.start()

    def _main(self, work: Callable[[random.Random], None], chance: random.Random) -> None:
        try:
            work(chance)
        except BaseException as error:
            self.complaints.append(repr(error))

    def end(self) -> None:
        self.is_over.set()
        for thread in self._threads:
            thread.join(2 * TIMEOUT)

    def _ask(self, client: RawClient, path: str, last: int | None = None) -> None:
        field = "" if last is None else f"Last-Event-ID: {last}\r\n"
        client.send(f"GET {path} HTTP/1.1\r\nHost: test\r\n{field}\r\n".encode())

    def follow(self, chance: random.Random) -> None:
        """An event stream: each event once, in order, whatever the number of its connections."""
        last = 0
        while not self.is_over.is_set():
            with self.servers.client() as client:
                self._ask(client, f"/events?{chance.random()}", last)
                response = self._stream(client)
            if response is None:
                return
            assert is_stream(response)
            found = read(response)
            ids = [int(event.last_id) for event in found.events]
            assert ids == list(range(last + 1, last + 1 + len(ids))), (last, ids[:5])
            assert found.retry is not None
            last += len(ids)
            self.done["events"] += len(ids)
            self.done["reconnects"] += 1

    def _stream(self, client: RawClient) -> bytes | None:
        """A whole one; None where it has not ended when all is over."""
        received = b""
        while not received.endswith(b"\r\n0\r\n\r\n"):
            if self.is_over.is_set():
                client.reset()
                return None
            data = client.socket.recv(65536)
            assert data, f"a stream was cut: {received[-60:]!r}"
            received += data
        body = received.partition(b"\r\n\r\n")[2]
        chunks = []
        while body:
            size, _, body = body.partition(b"\r\n")
            chunks.append(body[: int(size, 16)])
            body = body[int(size, 16) + 2 :]
        return b"".join(chunks)

    def fetch(self, chance: random.Random) -> None:
        """A download is complete, whoever leaves meanwhile."""
        while not self.is_over.is_set():
            with self.servers.client() as client:
                self._ask(client, f"/download?{chance.random()}")
                assert client.response().body == DOWNLOAD
            self.done["downloads"] += 1

    def leave(self, chance: random.Random) -> None:
        """Some clients go at any moment."""
        while not self.is_over.is_set():
            with self.servers.client() as client, contextlib.suppress(OSError):
                path = chance.choice(["/events", "/download"])
                self._ask(client, f"{path}?{chance.random()}", 0)
                if chance.random() < 0.8:
                    client.socket.recv(chance.randrange(1, 4096))
                client.reset()
            self.done["resets"] += 1


def state_of(servers: Servers) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(servers.get("/state"))
    return found


def await_quiet(servers: Servers) -> dict[str, Any]:
    """The state once no body is left."""
    deadline = time.monotonic() + TIMEOUT
    while True:
        found = state_of(servers)
        if found["counts"]["opened"] == found["counts"]["closed"]:
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.02)


def files_of(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


@pytest.mark.soak
def test_reloads_beneath_live_responses_lose_nothing(site: Site) -> None:
    site.write_source(SITE)
    with site.serve("--live-grace", "0.3", "--threads", "4") as servers:
        before, lives = state_of(servers), []
        supervisor = files_of(servers.process.pid)
        clients = Clients(servers)
        try:
            clients.start(clients.follow, 8)
            clients.start(clients.fetch, 4)
            clients.start(clients.leave, 2)
            with servers.load(kept=4, fresh=2, pauses=(0.002, 0.05)) as load:
                for _ in range(RELOADS):
                    began = time.monotonic()
                    lives.append(Life(int(servers.get("/?x").split()[0])))
                    servers.reload()
                    clients.is_over.wait(max(0.0, EVERY - (time.monotonic() - began)))
            load.assert_flawless()
        finally:
            clients.end()
        assert clients.complaints == []
        assert clients.done["reconnects"] >= 4 * RELOADS, clients.done
        assert min(clients.done.values()) > 0, clients.done
        for life in lives:
            life.await_end()
        after = await_quiet(servers)
        assert files_of(servers.process.pid) == supervisor
        assert (after["tasks"], after["files"]) == (before["tasks"], before["files"])
        assert after["threads"] == before["threads"]
        servers.signal(signal.SIGTERM)
        assert servers.wait() == 0
        servers.assert_clean()
    ends = [json.loads(line) for line in (site.directory / "left").read_text().splitlines()]
    assert len(ends) == RELOADS + 1
    for end in ends:
        assert end["counts"]["opened"] == end["counts"]["closed"], end
        assert end["counts"]["wrong"] == 0, end
        assert end["files"] <= before["files"], end
        assert end["contexts"] < before["contexts"] + 30, end  # there were hundreds of requests
        assert end["exchanges"] <= 2, end

"""Applications that hang, on real sockets and a real clock: capacity, health, the log, the end."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import threading
import time
from contextlib import ExitStack
from typing import Any

import pytest
from hanging import Hanging, hanging_application
from rawclient import TIMEOUT, request
from serving import Recorder, both_loops, serving

from wsgi_async import RequestTimeout, Server
from wsgi_async.logs.observer import LogObserver

LIMIT = 0.4
SLACK = 2.0
"""Seconds that a busy machine may add to a quarter of a second."""


hanging = pytest.fixture(hanging_application)


@both_loops
def test_capacity_and_health_stay_while_every_thread_hangs(loop: str, hanging: Hanging) -> None:
    options: dict[str, Any] = {"health_path": "/health", "ready_path": "/ready"}
    with (
        serving(hanging, loop=loop, threads=4, request_timeout=LIMIT, **options) as served,
        ExitStack() as stack,
    ):
        stack.callback(hanging.gate.set)
        stuck = [stack.enter_context(served.client()) for _ in range(3)]
        began = time.monotonic()
        for client in stuck:
            client.send(request("/hang"))
            hanging.wait()
        for client in stuck:
            assert client.response().status == 504
            assert LIMIT <= time.monotonic() - began <= LIMIT + 0.25 + SLACK
            assert client.is_dropped()
        lost = served.recorder.wait_for("thread_lost", 3)
        assert {facts[0].target for facts in lost} == {"/hang"}
        assert all(any("in hang" in line for line in facts[3]) for facts in lost)
        assert served.server.lost_threads == 3
        quick = stack.enter_context(served.client())
        for _ in range(20):
            assert quick.get("/").body == b"quick"
        # A thread counts what it has done after its client has had it.
        served.wait_until(lambda: served.server.requests == 20)
        details = json.loads(quick.get("/ready?json").body)
        assert (details["status"], details["lost"], details["threads"]) == ("ready", 3, 4)
        last = stack.enter_context(served.client())
        last.send(request("/hang"))
        assert last.response().status == 504
        assert quick.get("/health").body == b"ok\n"
        ready = quick.get("/ready")
        assert (ready.status, ready.body) == (503, b"saturated\n")
        refused = quick.get("/")
        assert (refused.status, refused.fields["retry-after"]) == (503, "30")
        assert len(served.recorder.wait_for("threads_exhausted")) == 1
        hanging.gate.set()
        assert len(served.recorder.wait_for("thread_returned", 4)) == 4
        served.recorder.wait_for("threads_recovered")
        after = stack.enter_context(served.client())
        assert after.get("/").body == b"quick"
        assert served.server.lost_threads == 0
        assert served.recorder.of("app_error") == []


@both_loops
def test_a_response_that_stalls_is_cut(loop: str, hanging: Hanging) -> None:
    with serving(hanging, loop=loop, threads=2, request_timeout=LIMIT) as served:
        with served.client() as client:
            client.send(request("/stall"))
            assert b"first" in client.read_to_end()
        served.recorder.wait_for("thread_lost")
        hanging.gate.set()
        served.recorder.wait_for("thread_returned")


@both_loops
def test_an_endless_loop_is_broken_off(loop: str, hanging: Hanging) -> None:
    with serving(
        hanging, loop=loop, threads=1, request_timeout=LIMIT, interrupt_late=True
    ) as served:
        with served.client() as client:
            client.send(request("/spin"))
            assert client.response().status == 504
        served.recorder.wait_for("thread_returned")
        assert hanging.raised == [RequestTimeout]
        with served.client() as client:
            assert client.get("/").body == b"quick"
        assert served.recorder.of("app_error") == []


@both_loops
def test_who_waits_too_long_for_a_thread(loop: str, hanging: Hanging) -> None:
    with (
        serving(hanging, loop=loop, threads=1, queue_timeout=LIMIT) as served,
        served.client() as running,
        served.client() as queued,
    ):
        running.send(request("/hang"))
        hanging.wait()
        began = time.monotonic()
        queued.send(request("/"))
        answer = queued.response()
        assert answer.status == 503
        assert int(answer.fields["retry-after"]) >= 1
        assert LIMIT <= time.monotonic() - began <= LIMIT + 0.3 + SLACK
        hanging.gate.set()
        assert running.response().body == b"quick"


@both_loops
def test_the_table_shows_what_hangs(loop: str, hanging: Hanging) -> None:
    with (
        serving(hanging, loop=loop, threads=1) as served,
        served.client() as running,
        served.client() as queued,
    ):
        running.send(request("/hang"))
        hanging.wait()
        queued.send(request("/queued"))
        served.wait_until(lambda: served.pool.queued)

        async def look() -> list[str]:
            return served.server.describe_in_flight()

        lines = served.thread.run(look())
        assert lines[0].startswith("requests in flight: 2, 1 running, 1 queued")
        assert any("in hang" in line for line in lines)
        hanging.gate.set()
        assert queued.response().body == b"quick"


@pytest.mark.parametrize(("is_supervised", "most"), [(False, 2), (True, 4)])
def test_a_supervised_server_goes_on_for_longer(
    is_supervised: bool, most: int, hanging: Hanging
) -> None:
    server = Server(hanging, 0, host="127.0.0.1", threads=2, request_timeout=LIMIT)
    assert server.is_supervised is False
    assert server.describe_in_flight() == []
    server.is_supervised = is_supervised
    try:
        with server.run_in_thread():
            assert server._running is not None
            pool = server._running.connections.gateway.pool
            assert (pool.max_lost, server.lost_threads, server.requests) == (most, 0, 0)
            hanging.gate.set()
    finally:
        hanging.gate.set()
    assert server.requests == 0


def test_lost_threads_are_stuck_threads_at_a_stop(hanging: Hanging) -> None:
    recorder = Recorder()

    async def main() -> None:
        server = Server(
            hanging,
            0,
            host="127.0.0.1",
            threads=2,
            request_timeout=LIMIT,
            graceful_timeout=30,
            observer=recorder,
        )
        await server.start()
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(request("/hang"))
        assert b" 504 " in await asyncio.wait_for(reader.readline(), TIMEOUT)
        writer.close()
        began = time.monotonic()
        assert await server.stop() == 1
        assert time.monotonic() - began < 10, "nobody waits for a lost thread"
        assert server.stuck_threads == 1
        await server.start()  # it may be started again beside it
        assert server.lost_threads == 0
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(request("/"))
        assert b" 200 " in await asyncio.wait_for(reader.readline(), TIMEOUT)
        writer.close()
        assert await server.stop() == 0
        assert server.requests == 1

    asyncio.run(main())
    hanging.gate.set()
    recorder.wait_for("thread_returned")  # to a loop that is closed


def test_what_is_logged(hanging: Hanging, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "wsgi_async")
    returned = threading.Event()

    class Watching(LogObserver):
        def thread_returned(self, *args: Any) -> None:
            super().thread_returned(*args)
            returned.set()

    server = Server(
        hanging, 0, host="127.0.0.1", threads=2, request_timeout=LIMIT, observer=Watching()
    )

    async def main() -> None:
        await server.start()
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(request("/hang?who"))
        assert b" 504 " in await asyncio.wait_for(reader.readline(), TIMEOUT)
        writer.close()
        hanging.gate.set()
        assert await asyncio.to_thread(returned.wait, TIMEOUT)
        await server.stop()

    asyncio.run(main())
    [lost] = [record for record in caplog.records if record.levelno == logging.ERROR]
    first, *stack = lost.getMessage().split("\n")
    assert first.startswith("GET /hang?who [127.0.0.1:")
    assert re.search(r"thread wsgi_async-\d is given up, in$", first)
    assert all(line.startswith("    ") for line in stack)
    assert any("in hang" in line for line in stack)
    [back] = [record for record in caplog.records if "came back" in record.getMessage()]
    assert back.levelno == logging.INFO
    assert [r.levelno for r in caplog.records if "refused with 504" in r.getMessage()]

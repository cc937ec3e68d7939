"""Servers beside the application loop: they start it with their hooks, watch it, and end it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from application_loops import await_no_loop_thread, ending_with_the_test
from rawclient import TIMEOUT, request
from serving import both_loops, serving

from wsgi_async import events
from wsgi_async.errors import LoadError
from wsgi_async.realtime import hooks
from wsgi_async.realtime.application_loop import application_loop, existing
from wsgi_async.realtime.hooks import on_start
from wsgi_async.realtime.spawning import spawn
from wsgi_async.server.server import Server

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def own_loop(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(hooks, "_hooks", [])
    with ending_with_the_test():
        yield
    assert events.RUNNING == []


def hello(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]


def test_a_server_whose_application_does_without_imports_nothing_of_it() -> None:
    program = (
        "import sys, urllib.request\n"
        "from wsgi_async import Server\n"
        "def app(environ, start_response):\n"
        "    start_response('200 OK', [])\n"
        "    return [b'x']\n"
        "with Server(app, 0, host='127.0.0.1', ready_path='/ready') as server:\n"
        "    for path in ('/', '/ready?json'):\n"
        "        with urllib.request.urlopen(server.addresses[0] + path) as response:\n"
        "            response.read()\n"
        "print([name for name in sys.modules if name.startswith('wsgi_async.realtime')])\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert (result.stdout, result.returncode) == ("[]\n", 0)


@both_loops
def test_hooks_are_entered_before_it_accepts_and_left_after_the_last_response(loop: str) -> None:
    story: list[str] = []
    responds, go_on = threading.Event(), threading.Event()

    @on_start
    async def pool() -> AsyncIterator[list[int]]:
        story.append(f"enter, listening on {server.addresses}")
        yield [1, 2, 3]
        story.append("leave")

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", [])
        responds.set()
        go_on.wait(TIMEOUT)
        spawn(mail())
        yield str(pool()).encode()
        story.append("response")

    async def mail() -> None:
        await asyncio.sleep(0.01)
        story.append("spawned")

    server = Server(app, 0, host="127.0.0.1")
    with serving(app, loop=loop) as served:
        server = served.server
        with served.client() as client:
            client.send(request("/"))
            assert responds.wait(TIMEOUT)
            stopping = threading.Thread(target=served.stop)
            stopping.start()
            served.recorder.wait_for("stopping")
            go_on.set()
            assert client.response().body == b"[1, 2, 3]"
        stopping.join(TIMEOUT)
    assert story == ["enter, listening on ()", "response", "spawned", "leave"]
    await_no_loop_thread()


def test_a_hook_that_fails_ends_the_start_and_leaves_nothing() -> None:
    @on_start
    async def one() -> AsyncIterator[None]:
        yield
        left.append("one")

    @on_start
    async def database() -> AsyncIterator[None]:
        raise OSError("no database")
        yield

    left: list[str] = []
    failure = pytest.raises(LoadError, match="database failed: OSError: no database")
    with failure as caught, serving(hello):
        pass
    assert isinstance(caught.value.__cause__, OSError)
    assert left == ["one"]
    assert existing() is None


def test_of_several_servers_in_a_process_the_last_one_ends_it() -> None:
    story: list[str] = []

    @on_start
    async def pool() -> AsyncIterator[int]:
        story.append("enter")
        yield 1
        story.append("leave")

    with serving(hello):
        first = existing()
        with serving(hello):
            pass
        assert existing() is first
        assert (pool(), story) == (1, ["enter"])
    assert story == ["enter", "leave"]
    with serving(hello):  # a server may be started again
        assert existing() is not first
        assert pool() == 1


def test_a_loop_that_somebody_has_started_later_ends_with_the_server_too() -> None:
    async def forever() -> None:
        await asyncio.Event().wait()

    with serving(hello, graceful_timeout=0.05) as served:
        started = spawn(forever())
        served.stop()
        assert started.cancelled()
        assert existing() is None
        (warning,) = served.recorder.of("warning")
        assert warning == ("spawned coroutines that were cancelled at the end: 1",)


def test_code_that_blocks_it_is_told_of_and_stops_no_ordinary_request() -> None:
    go_on = threading.Event()

    async def block() -> None:
        go_on.wait(TIMEOUT)

    with serving(hello, ready_path="/ready") as served:
        told = served.recorder
        application_loop().start(block())
        ((seconds, stack),) = told.wait_for("application_loop_blocked")
        assert 0.5 <= seconds < TIMEOUT
        assert stack[0].endswith("in block")
        with served.client() as client:
            client.send(request("/"))
            assert client.response().body == b"hello"
            client.send(request("/ready?json"))
            details = json.loads(client.response().body)
            assert details["status"] == "ready"
            assert details["application_loop"]["blocked"] >= 0.5
            assert details["application_loop"]["live"] == 0
        go_on.set()
        ((lasted,),) = told.wait_for("application_loop_recovered")
        assert lasted >= seconds
        assert len(told.of("application_loop_blocked")) == 1  # once, however long it was


def test_who_forces_a_stop_ends_the_grace_of_what_was_spawned() -> None:
    spawned = threading.Event()

    async def forever() -> None:
        try:
            spawned.set()
            await asyncio.Event().wait()
        finally:
            left.append("finally")

    left: list[str] = []
    with serving(hello, graceful_timeout=1000.0) as served:
        spawn(forever())
        assert spawned.wait(TIMEOUT)
        stopping = threading.Thread(target=served.stop)
        stopping.start()
        served.recorder.wait_for("stopping")
        served.thread.loop.call_soon_threadsafe(served.server.force)
        stopping.join(TIMEOUT)
        assert not stopping.is_alive()
        assert left == ["finally"]


def test_one_that_is_blocked_at_the_stop_counts_as_a_thread_that_is_stuck(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("wsgi_async.realtime.ending.LAST", 0.1)
    go_on = threading.Event()

    async def block() -> None:
        blocks.set()
        go_on.wait(TIMEOUT)

    blocks = threading.Event()
    with serving(hello, graceful_timeout=0.1) as served:
        loop = application_loop()
        loop.start(block())
        assert blocks.wait(TIMEOUT)
        assert served.stop() == 1
        go_on.set()
        loop.ended.result(TIMEOUT)

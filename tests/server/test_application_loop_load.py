"""Many threads that wait for coroutines which end in every way: nothing is left of any of them."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from application_loops import ending_with_the_test, loop_threads
from rawclient import TIMEOUT, RawClient, request
from serving import both_loops, serving

from wsgi_async.errors import ClientDisconnected
from wsgi_async.realtime import running
from wsgi_async.realtime.application_loop import application_loop
from wsgi_async.realtime.running import run
from wsgi_async.realtime.spawning import spawn
from wsgi_async.system import stacks

SECONDS = 3.0


@pytest.fixture(autouse=True)
def own_loop(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(running, "CANCEL_TIME", 0.05)
    with ending_with_the_test():
        yield


async def work(kind: int, seconds: float) -> int:
    if kind == 1:
        raise ValueError(kind)
    if kind == 2:
        await asyncio.sleep(0)
        raise SystemExit
    if kind == 3:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(seconds)
    await asyncio.sleep(seconds)
    return kind


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    kind, milliseconds = map(int, environ["QUERY_STRING"].split(","))
    start_response("200 OK", [])
    if kind == 5:
        with contextlib.suppress(RuntimeError):  # there may be a thousand
            spawn(work(0, milliseconds / 1000))
    try:
        return [str(run(work(kind, milliseconds / 1000), 0.02, until_gone=kind == 4)).encode()]
    except (ClientDisconnected, SystemExit, TimeoutError, ValueError) as error:
        return [type(error).__name__.encode()]


def ask(port: int, until: float, seed: int, answers: set[bytes]) -> None:
    """Ask again and again, and now and then leave unanswered."""
    dice = random.Random(seed)
    while time.monotonic() < until:
        with RawClient(("127.0.0.1", port)) as client:
            for _ in range(5):
                kind = dice.randrange(6)
                client.send(request(f"/?{kind},{dice.choice((0, 0, 5, 19, 20, 21, 60))}"))
                if dice.random() < 0.1:
                    break
                response = client.response()
                answers.add(response.body)
                if response.status == 504:  # the last one of its connection
                    break


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.soak
@both_loops
def test_nothing_is_left_of_coroutines_that_end_in_every_way(loop: str) -> None:
    answers: set[bytes] = set()
    with serving(application, loop=loop, request_timeout=0.05, threads=8) as served:
        port = served.server.port
        assert port is not None
        ask(port, time.monotonic() + 0.3, 0, answers)  # what is made once is there
        served.wait_until_idle()
        gc.collect()
        before = descriptors(), threading.active_count()
        until = time.monotonic() + SECONDS
        clients = [
            threading.Thread(target=ask, args=(port, until, seed, answers)) for seed in range(12)
        ]
        for client in clients:
            client.start()
        for client in clients:
            client.join(TIMEOUT)
        served.wait_until_idle()
        served.wait_until(lambda: not served.server.lost_threads, "a lost thread has come back")
        found = application_loop()
        served.wait_until(lambda: not found.spawned, "what was spawned has ended")
        served.wait_until(lambda: not found._tasks, "what was begun has ended")
        assert stacks.WAITS == {}
        assert loop_threads() == 1
        assert (descriptors(), threading.active_count()) == before
        assert found.blocked_for() == 0.0
    assert {b"0", b"TimeoutError", b"ValueError", b"SystemExit"} <= answers

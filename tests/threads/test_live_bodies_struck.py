"""Whatever strikes the thread that hands an asynchronous body over, or closes it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from application_loops import ending_with_the_test
from exchanges import Connection, Notes, Rig, be_the_loop, finish_live
from live_bodies import Live
from striking import Striker, StruckError
from threadline import WAIT, no_leaks

from wsgi_async.config.options import Config
from wsgi_async.connection import exchange as exchange_module
from wsgi_async.connection import followed, observed, own_fields, timing
from wsgi_async.realtime import bodies, body
from wsgi_async.realtime.application_loop import application_loop
from wsgi_async.server import live_responses
from wsgi_async.threads import (
    mailbox,
    places,
    response_account,
    response_pipe,
    response_producer,
    response_writer,
    task_queues,
    tasks,
)
from wsgi_async.threads import pool as pool_module
from wsgi_async.wsgi import async_bodies, awaited, delivery
from wsgi_async.wsgi import calling as wsgi_module

MODULES = (
    *(exchange_module, observed, followed, timing, own_fields),
    *(wsgi_module, awaited, delivery, async_bodies, bodies, body, live_responses),
    *(pool_module, places, task_queues, tasks, mailbox),
    *(response_writer, response_account, response_producer, response_pipe),
)


class Counting(Live):
    """Counts how often it is closed."""

    def __init__(self) -> None:
        super().__init__(self._chunks())
        self.closes = 0

    async def _chunks(self) -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"hello"
            await asyncio.sleep(0)

    def close(self) -> None:
        self.closes += 1


class Application:
    """Returns one.

    :param writes: whether it has written something before.
    """

    def __init__(self, *, writes: bool) -> None:
        self.writes = writes
        self.returned: list[Counting] = []

    def __call__(self, environ: Any, start_response: Any) -> Counting:
        write = start_response("200 OK", [])
        if self.writes:
            write(b"written")
        self.returned.append(Counting())
        return self.returned[-1]


SCENES: dict[str, tuple[bool, Config]] = {
    "live": (False, Config()),
    "after write()": (True, Config()),
    "timed": (False, Config(server_timing=True, request_id_header="X-Request-ID")),
    "refused": (False, Config(max_live=1)),
}


@pytest.mark.parametrize("name", SCENES)
def test_wherever_its_thread_is_struck(name: str, tmp_path: Path) -> None:
    """It is closed once, its response ends, and it is not counted for ever."""
    where: Counter[str] = Counter()
    ends: Counter[str] = Counter()
    quiet = at = 0
    with ending_with_the_test():
        application_loop()  # before: its thread is not to be struck
        while quiet < 3 and at < 2000:
            at += 1
            striker = Striker(*MODULES, at=at)
            ends[_strike(striker, name, tmp_path)] += 1
            where[striker.where] += 1
            quiet = 0 if striker.where else quiet + 1
    assert quiet == 3, "all points were tried"
    assert {"begin", "_examine", "_hand_over", "take", "_close"} <= where.keys()
    assert ends["finished"] > 5


def _strike(striker: Striker, name: str, directory: Path) -> str:
    writes, config = SCENES[name]
    application = Application(writes=writes)
    striker.is_paused = True
    with no_leaks() as make_line, striker.armed():
        rig = Rig(make_line(directory), application, 1, 10, Notes(), config=config)
        deadline = time.monotonic() + WAIT
        while rig.pool.busy:
            assert time.monotonic() < deadline
        if name == "refused":
            rig.live._make()._bodies.add(object())  # type: ignore[arg-type]
        striker.is_paused = False
        connection = rig.begin()
        if name == "refused":
            _refused(rig, connection)
        finish_live(rig, connection)
        striker.is_paused = True
        assert connection.side.end in ("finished", "cut"), striker
        assert [one.closes for one in application.returned] in ([], [1]), striker
        assert all(isinstance(error, StruckError) for error in rig.errors), striker
        rig.stop()
        while not rig.line.wakes.empty():
            rig.line.turn()
    return connection.side.end


def _refused(rig: Rig, connection: Connection) -> None:
    """Be the loop until its response has ended; then the one that was in the way is gone."""
    be_the_loop(rig, connection)
    assert rig.live.bodies is not None
    rig.live.bodies._bodies.clear()

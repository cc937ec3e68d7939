"""Whatever strikes a thread in the server's own code: its response ends, its iterable is closed."""

from __future__ import annotations

import functools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from exchanges import Connection, Notes, Rig, be_the_loop
from striking import Striker, StruckError
from threadline import KIB, MIB, WAIT, no_leaks

from wsgi_async.buffers.spool import BodySpool
from wsgi_async.config.options import Config
from wsgi_async.connection import exchange as exchange_module
from wsgi_async.connection import followed, observed, own_fields, timing
from wsgi_async.system.stacks import raise_in
from wsgi_async.threads import (
    RequestBody,
    bounds,
    mailbox,
    places,
    spool_turns,
    stand_ins,
    task_queues,
    tasks,
)
from wsgi_async.threads import interim_heads as interim
from wsgi_async.threads import pool as pool_module
from wsgi_async.threads import request_body as body
from wsgi_async.threads import response_account as account
from wsgi_async.threads import response_pipe as pipe
from wsgi_async.threads import response_producer as producer
from wsgi_async.threads import response_writer as writer
from wsgi_async.wsgi import calling as wsgi_module
from wsgi_async.wsgi import delivery
from wsgi_async.wsgi import early_hints as hints
from wsgi_async.wsgi.calling import direct

RESPONSES = (writer, account, producer, pipe, spool_turns)
POOL = (pool_module, places, task_queues, tasks, stand_ins)
EXCHANGES = (exchange_module, observed, followed, timing, own_fields)
CALLING = (wsgi_module, delivery, hints)
MODULES = (*EXCHANGES, *CALLING, *POOL, mailbox, *RESPONSES, body, bounds, interim)


class Iterable:
    """What the application returns; it counts how often it is closed."""

    def __init__(self, chunks: list[bytes]) -> None:
        self.chunks = iter(chunks)
        self.closed = 0

    def __iter__(self) -> Iterator[bytes]:
        return self.chunks

    def close(self) -> None:
        self.closed += 1


class Scene:
    """An application, and what a client asks of it."""

    def __init__(
        self,
        chunks: list[bytes],
        *,
        overflow: str = "spool",
        sends: str = "",
        others_wait: bool = False,
        config: Config | None = None,
    ) -> None:
        self.config = config
        self.chunks = chunks
        self.overflow = overflow
        self.sends = sends
        self.others_wait = others_wait

    def make(self) -> Application:
        return Application(self)


class Application:
    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.returned: list[Iterable] = []
        self.calls = 0

    def __call__(self, environ: Any, start_response: Any) -> Any:
        self.calls += 1
        environ["wsgi.input"].read()
        environ["wsgi.errors"].write("unfinished")
        if self.scene.sends == "hints":
            environ["wsgi.early_hints"]([("Link", "</a.css>")])
            environ["wsgi.early_hints"]([("Link", "</b.css>")])
        write = start_response("200 OK", [("Content-Type", "text/plain")])
        if self.scene.sends == "write":
            write(b"written")
        self.returned.append(Iterable(self.scene.chunks))
        return self.returned[-1]


OWN_FIELDS = Config(server_timing=True, request_id_header="X-Request-ID")
SCENES = {
    "small": Scene([b"hello"]),
    "collected body": Scene([b"hello"] * 3, sends="spool"),
    "streamed body": Scene([b"hello"] * 3, sends="stream"),
    "write()": Scene([b"hello"], sends="write"),
    "early hints": Scene([b"hello"], sends="hints"),
    "ahead of its client": Scene([b"x" * 100 * KIB] * 4),
    "parked": Scene([b"x" * 2 * MIB] * 3, overflow="park"),
    "blocked": Scene([b"x" * 100 * KIB] * 4, overflow="block"),
    "aside": Scene([b"x" * 100 * KIB] * 4, others_wait=True),
    "timed": Scene([b"hello"], config=OWN_FIELDS),
    "timed, parked": Scene([b"x" * 2 * MIB] * 3, overflow="park", config=OWN_FIELDS),
}


def ask(rig: Rig, scene: Scene) -> Connection:
    connection = rig.connect("POST", 100) if scene.sends in ("spool", "stream") else rig.connect()
    exchange = connection.exchange
    if scene.sends == "spool":
        exchange.spool = BodySpool(rig.line.budgets, 10, 1000)
        exchange.spool.append(b"x" * 100)
    elif scene.sends == "stream":
        exchange.body = RequestBody(rig.line.mailbox, exchange, rig.line.budgets.memory)
        exchange.body.feed(b"x" * 100)
        exchange.body.feed_end()
    assert exchange.submit()
    return connection


def finish(rig: Rig, connection: Connection, striker: Striker) -> None:
    """Be the loop until all is over, stand-ins included."""
    be_the_loop(rig, connection, lambda: rig.pool.aside, why=striker)


@pytest.mark.parametrize("name", SCENES)
def test_wherever_a_request_is_struck(name: str, tmp_path: Path) -> None:
    scene = SCENES[name]
    places: Counter[str] = Counter()
    ends: Counter[str] = Counter()
    quiet = at = 0
    rounds = 1
    while at < 4000:
        at += 1
        striker, application = Striker(*MODULES, at=at), scene.make()
        striker.is_paused = True
        with no_leaks() as make_line, striker.armed():
            line = make_line(
                tmp_path,
                overflow=scene.overflow,
                memory=64 * KIB,
                others_wait=lambda: scene.others_wait,
            )
            line.bounds.turns._left = 0.0
            aside = int(scene.others_wait)
            rig = Rig(line, application, 1, 10, Notes(), max_aside=aside, config=scene.config)
            deadline = time.monotonic() + WAIT
            while rig.pool.busy:
                assert time.monotonic() < deadline
            striker.is_paused = False
            connection = ask(rig, scene)
            finish(rig, connection, striker)
            striker.is_paused = True
            assert connection.side.end in ("finished", "cut"), striker
            assert [iterable.closed for iterable in application.returned] in ([], [1]), striker
            assert application.calls <= 1, striker
            assert all(isinstance(error, StruckError) for error in rig.errors), striker
            assert rig.get().end == "finished", striker
            rig.stop()
            while not line.wakes.empty():
                line.turn()
        places[striker.where] += 1
        ends[connection.side.end] += 1
        # How often a thread waits for its client, and so how many points there are, is chance.
        quiet = 0 if striker.where else quiet + 1
        if quiet == 5 and rounds < 4 and "_close" not in places:
            # Those that were struck just now waited more often, and did not come to their end.
            rounds += 1
            quiet, at = 0, at // 2
        elif quiet == 5:
            break
    assert quiet == 5, "all points were tried"
    assert {"_serve", "run", "_first_step", "begin", "_close"} <= places.keys()
    assert ends["finished"] > 5
    if scene.sends == "hints":
        assert {"__call__", "check_hints", "send_interim", "add"} <= places.keys()
    if scene.config is not None:
        assert {"start", "stop", "post", "extended", "_fields_for"} <= places.keys()


class Returning:
    """An application whose thread is struck on its way back from it: nothing is called after."""

    def __init__(self) -> None:
        self.iterable = Iterable([b"hello"])
        self.gate = threading.Lock()
        self.gate.acquire()
        self.ident = 0
        self.entered = threading.Event()

    def __call__(self, environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        self.ident = threading.get_ident()
        self.entered.set()
        for _ in map(self.gate.acquire, (True,)):
            return self.iterable
        raise AssertionError


KINDS: dict[str, Callable[[Returning], Any]] = {
    "object": lambda application: application,
    "method": lambda application: application.__call__,
    "partial": lambda application: functools.partial(application),
    "class": lambda application: type("Application", (), {"__new__": _new(application)}),
}


def _new(application: Returning) -> Any:
    def new(cls: type, environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        application.ident = threading.get_ident()
        application.entered.set()
        for _ in map(application.gate.acquire, (True,)):
            return application.iterable
        raise AssertionError

    return new


def test_what_an_application_of_c_code_raises_goes_on() -> None:
    for error in (IndexError, StopIteration, KeyError):

        def fail(*args: object, error: type[Exception] = error) -> Any:
            raise error

        expected = RuntimeError if error is StopIteration else error
        with pytest.raises(expected):
            direct(functools.partial(fail))({}, int)
    assert direct(functools.partial(lambda *args: list(args)))(1, 2) == [1, 2]


@pytest.mark.parametrize("kind", KINDS)
def test_what_an_application_returns_is_closed_where_its_thread_is_struck_on_the_way_back(
    kind: str, tmp_path: Path
) -> None:
    application = Returning()
    with no_leaks() as make_line:
        rig = Rig(make_line(tmp_path), direct(KINDS[kind](application)), 1, 10, Notes())
        connection = rig.begin()
        assert application.entered.wait(WAIT)
        raise_in(application.ident, StruckError)
        application.gate.release()
        finish(rig, connection, Striker(at=0))
        rig.stop()
    assert application.iterable.closed == 1
    assert connection.side.head is not None
    assert connection.side.head.status == 500

"""Memory that runs out for a moment, anywhere on the loop, leaves nothing behind.

Each scenario is played again and again, with a MemoryError at the first call that one function of
the server makes of another on the loop's thread, at the second, and so on. Whatever becomes of the
requests, no connection, thread, byte or descriptor is held for anybody in the end, and the next
client is served.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest
from wire import Recorder, Site, hello, responding

import wsgi_async
from wsgi_async import Server
from wsgi_async.config.options import Config
from wsgi_async.connection.states import ConnectionState
from wsgi_async.events import EVENTS
from wsgi_async.launch.child import _Child
from wsgi_async.processes import Channel
from wsgi_async.server.repeating import Repeating
from wsgi_async.server.stopping import Stop
from wsgi_async.threads import Mailbox
from wsgi_async.threads.pool import ThreadPool

PACKAGE = os.path.dirname(wsgi_async.__file__)

OTHERS = {
    # The pool's own code is struck by exceptions of all kinds in a test of its own.
    os.path.join(PACKAGE, "threads", "pool.py"),
    # A few numbers, which are changed without a new object.
    *(os.path.join(PACKAGE, "buffers", name) for name in ("budgets.py", "spool.py", "reading.py")),
}

ENTRIES = {"exchange_woke", "on_wake", "complete", "_fail", "_wake_soon"}
"""What the loop calls, by way of others: what is wrong in there does not come out."""


class Shortage:
    """A trace function that raises a MemoryError, once, at a call of that number."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.where = ""
        self.calls = 0

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        if not (event == "call" and _is_ours(frame) and _is_ours(frame.f_back)):
            return
        if (
            frame.f_code.co_filename in OTHERS
            or frame.f_code.co_name in ENTRIES
            or _is_being_made(frame)
        ):
            return
        self.calls += 1
        if self.calls == self.number:
            self.where = frame.f_code.co_qualname
            raise MemoryError(self.where)

    @contextlib.contextmanager
    def struck(self) -> Iterator[None]:
        before = sys.gettrace()
        sys.settrace(self)
        try:
            yield
        finally:
            sys.settrace(before)


def _is_ours(frame: FrameType | None) -> bool:
    if frame is None:
        return False
    name = frame.f_code.co_filename
    return name.startswith(PACKAGE) and f"{os.sep}testing{os.sep}" not in name


def _is_being_made(frame: FrameType | None) -> bool:
    """Whether there is no connection yet: whoever makes it sees the error, see accepting.py."""
    while frame is not None:
        if frame.f_code.co_qualname == "ConnectionLife.__init__":
            return True
        frame = frame.f_back
    return False


def answer_three(site: Site, shortage: Shortage) -> None:
    client = site.connect()
    for _ in range(3):
        client.ask()
        site.settle()


def pipeline(site: Site, shortage: Shortage) -> None:
    client = site.connect()
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 5, *["GET"] * 5)
    site.settle()


def upload(site: Site, shortage: Shortage) -> None:
    client = site.connect()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n", "POST")
    for _ in range(10):
        client.send(bytes(20_000))
    site.settle()


def expect(site: Site, shortage: Shortage) -> None:
    client = site.connect()
    head = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    client.send(head, "POST")
    client.send(b"ab")
    site.settle()


def stream_slowly(site: Site, shortage: Shortage) -> None:
    client = site.connect(window=0)
    client.ask()
    site.settle()
    for _ in range(5):
        client.transport.take(30_000)
        site.settle()
    client.transport.take()
    site.settle()


def refuse(site: Site, shortage: Shortage) -> None:
    site.connect().send(b"BROKEN\r\n\r\n", "GET")
    site.settle()


def half_close(site: Site, shortage: Shortage) -> None:
    client = site.connect()
    client.ask()
    client.transport.receive_eof()
    site.settle()


def leave(site: Site, shortage: Shortage) -> None:
    client = site.connect()
    client.ask()
    client.transport.reset()
    site.settle()
    half = site.connect()
    half.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\nabc", "POST")
    half.transport.reset()
    site.settle()


def expire(site: Site, shortage: Shortage) -> None:
    clients = [site.connect() for _ in range(4)]
    clients[0].ask()
    clients[1].send(b"GET / HT", "GET")
    clients[2].send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc", "POST")
    site.settle()
    for _ in range(6):
        site.loop.clock.advance(60)
        with contextlib.suppress(MemoryError):  # the server's timer goes on
            site.tick()
        site.loop.run_pending()
    sys.settrace(None)
    # Who was not looked at in a tick is looked at in the next.
    site.advance(1)
    assert not site.connections.open


def probe(site: Site, shortage: Shortage) -> None:
    client = site.connect()
    client.send(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n" * 3, *["GET"] * 3)
    site.settle()


LARGE = [bytes(10_000)] * 20

SCENARIOS: dict[str, tuple[Callable[[Site, Shortage], None], Any, dict[str, Any]]] = {
    "three requests": (answer_three, hello, {}),
    "pipelined requests": (pipeline, hello, {}),
    "an upload": (upload, hello, {}),
    "a streamed upload": (upload, hello, {"request_buffering": "stream"}),
    "100 Continue": (expect, hello, {}),
    "a streamed 100 Continue": (expect, hello, {"request_buffering": "stream"}),
    "a slow client": (stream_slowly, responding(chunks=LARGE, stream=True), {}),
    "a slow client, parked": (
        stream_slowly,
        responding(chunks=LARGE, stream=True),
        {"response_overflow": "park", "response_buffer": 1024},
    ),
    "a refusal": (refuse, hello, {}),
    "a half-closed connection": (half_close, hello, {}),
    "clients that leave": (leave, hello, {}),
    "clients that wait": (expire, hello, {}),
    "probes": (probe, hello, {"health_path": "/health"}),
}


LONG = {"a slow client, parked", "clients that wait"}
"""Scenarios of so many calls that to fail at each of them takes its time."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.soak] if name in LONG else []) for name in SCENARIOS],
)
def test_a_shortage_of_memory_leaves_nothing(name: str) -> None:
    play, application, options = SCENARIOS[name]
    for number in itertools.count(1):
        shortage = Shortage(number)
        try:
            with Site(application, **options) as site:
                with shortage.struck():
                    play(site, shortage)
                for client in site.clients:
                    client.transport.reset()
                site.settle()
                assert site.connect().get().status == 200
                site.faults.clear()
        except (AssertionError, TimeoutError, RuntimeError, MemoryError) as error:
            raise AssertionError(f"after call {number}, of {shortage.where}: {error!r}") from error
        if not shortage.where:
            break
    assert number > 10


# --- an observer without memory ----------------------------------------------------------------


class Speechless(Recorder):
    """An observer that cannot say anything."""

    def __getattribute__(self, name: str) -> Any:
        if name in SPEECH:
            raise MemoryError(name)
        return super().__getattribute__(name)


SPEECH = set(EVENTS)


@pytest.mark.parametrize("name", SCENARIOS)
def test_an_observer_that_raises_leaves_nothing(name: str) -> None:
    play, application, options = SCENARIOS[name]
    with Site(application, **options) as site:
        site.connections.gateway.observer.__class__ = Speechless
        play(site, Shortage(0))
        site.observer.__class__ = Recorder


def test_a_response_that_cannot_be_logged_is_complete() -> None:
    with Site() as site:
        site.observer.__class__ = Speechless
        client = site.connect()
        for _ in range(3):
            assert client.get().status == 200
        assert client.state is ConnectionState.IDLE
        site.observer.__class__ = Recorder


# --- what does a thing again and again ---------------------------------------------------------


class Timer:
    def __init__(self, loop: TimerLoop, callback: Callable[[], object]) -> None:
        self.loop = loop
        self.callback = callback

    def cancel(self) -> None:
        if self in self.loop.timers:
            self.loop.timers.remove(self)


class TimerLoop:
    """A loop with a clock that stands, and timers that it cannot always make."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[Timer] = []
        self.failures = 0

    def time(self) -> float:
        return self.now

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        if self.failures:
            self.failures -= 1
            raise MemoryError
        timer = Timer(self, callback)
        self.timers.append(timer)
        return timer

    def fire(self) -> None:
        [timer] = self.timers
        self.timers.clear()
        timer.callback()


class Work:
    def __init__(self) -> None:
        self.loop = TimerLoop()
        self.calls = 0
        self.errors: list[BaseException] = []
        self.error: Exception | None = None
        self.repeating = Repeating(self.loop, 0.25, self.do, self.errors.append)  # type: ignore[arg-type]
        self.repeating.start()

    def do(self) -> None:
        self.calls += 1
        if self.error is not None:
            raise self.error


def test_work_that_fails_is_done_again() -> None:
    work = Work()
    work.error = MemoryError()
    for count in (2, 3, 4):
        work.loop.fire()
        assert work.calls == count
    assert work.errors == [work.error] * 3


def test_a_timer_that_cannot_be_made_is_made_of_the_reserve() -> None:
    work = Work()
    for count in (2, 3):
        work.loop.failures = 1
        work.loop.fire()
        assert work.calls == count
    assert work.errors == []


def test_a_timer_that_was_lost_is_found_by_whoever_comes_by() -> None:
    work = Work()
    work.loop.failures = 2
    with pytest.raises(MemoryError):
        work.loop.fire()
    assert work.loop.timers == []
    work.repeating.tend()
    assert work.calls == 1  # it is not late yet
    work.loop.now += 2
    work.repeating.tend()
    assert work.calls == 2
    work.loop.fire()
    assert work.calls == 3


def test_one_that_was_stopped_is_left_alone() -> None:
    work = Work()
    work.repeating.stop()
    work.repeating.stop()
    work.loop.now += 100
    work.repeating.tend()
    assert work.calls == 1
    assert work.loop.timers == []


# --- what wakes the loop -----------------------------------------------------------------------


class Broken:
    def on_wake(self) -> None:
        raise MemoryError


class Woken:
    def __init__(self) -> None:
        self.wakes = 0

    def on_wake(self) -> None:
        self.wakes += 1


def test_a_mailbox_goes_on_whoever_cannot_be_told() -> None:
    def tell(error: BaseException) -> None:
        raise error

    wakes: list[Callable[[], None]] = []
    mailbox = Mailbox(wakes.append, tell)
    woken = Woken()
    for item in (woken, Broken(), woken):
        mailbox.post(item)
    wakes.pop()()
    assert woken.wakes == 2


def test_a_thread_is_woken_also_where_the_loop_can_take_no_callback() -> None:
    done = threading.Event()

    class Task:
        has_begun = False

        def run(self) -> None:
            done.set()

    def soon(callback: Callable[[], object]) -> None:
        raise MemoryError

    pool: ThreadPool[Any] = ThreadPool(1, 1, soon=soon, on_error=print)
    pool.start()
    try:
        assert pool.submit(Task())
        assert done.wait(10)
    finally:
        pool.stop(lambda: None)


def test_a_process_obeys_the_words_behind_a_report_that_it_cannot_make() -> None:
    ours, theirs = Channel.pair()

    def reopen() -> None:
        raise MemoryError

    async def main() -> None:
        server = Server(hello, config=Config(), observer=Recorder())
        child = _Child(server, server.config, theirs, reopen, 0.0, None)
        for word in ("report", "serve", "drain"):
            ours.say(word)
        child._hear()
        assert child._permission.result() is True
        assert child._stops.get_nowait() is Stop.DRAIN

    asyncio.run(main())
    ours.close()
    theirs.close()

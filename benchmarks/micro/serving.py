"""The thread pool; and a whole request, from its bytes to those of the answer."""

from __future__ import annotations

import functools
import os
import queue
import socket
import threading
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from itertools import repeat
from typing import Any

import h11

from wsgi_async.events import Observer
from wsgi_async.logs import setup
from wsgi_async.logs.observer import LogObserver
from wsgi_async.operations.counting import CountingObserver
from wsgi_async.operations.statsd import Statsd, StatsdObserver
from wsgi_async.scoreboard.board import Scoreboard
from wsgi_async.threads.pool import Call, ThreadPool

from .benchmark import Heads, Opened, WrongResult
from .inside import BODY, Inside, raising

__all__ = ["BURST", "counting", "logging", "open_pool", "open_protocol", "statsd"]

BURST = 64
TIMEOUT = 10.0


def _started_pool(threads: int, stack: ExitStack) -> ThreadPool[Call]:
    pool: ThreadPool[Call] = ThreadPool(threads, BURST, name="micro", on_error=raising)
    pool.start()
    stopped = threading.Event()
    stack.callback(stopped.wait, TIMEOUT)
    stack.callback(pool.stop, stopped.set)
    return pool


def open_pool(threads: int, burst: int, stack: ExitStack) -> Opened:
    pool = _started_pool(threads, stack)
    back: queue.SimpleQueue[None] = queue.SimpleQueue()
    task = Call(functools.partial(back.put, None))

    def run(count: int) -> object:
        submit, get = pool.submit, back.get
        before = pool.submitted
        for start in range(0, count, burst):
            size = min(burst, count - start)
            for _ in repeat(None, size):
                if not submit(task):
                    raise WrongResult("the pool refused a task")
            for _ in repeat(None, size):
                get()
        return pool.submitted - before - count, back.qsize()

    return Opened(run, lambda left: left == (0, 0))


def _answer(data: bytes) -> tuple[int, bytes]:
    """Status and body of one response, as a client reads them."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
    client.send(h11.EndOfMessage())
    client.receive_data(data)
    status, body = 0, b""
    while True:
        event = client.next_event()
        if isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            body += event.data
        else:
            rest, _ = client.trailing_data
            return (status, body) if type(event) is h11.EndOfMessage and not rest else (0, data)


Listeners = Callable[[ExitStack], Iterable[Observer]]
"""Makes those who are told of requests."""


def _nobody(stack: ExitStack) -> Iterable[Observer]:
    return ()


def logging(format: str, stack: ExitStack) -> Iterable[Observer]:
    """An access log that is written to the null device, line by line."""
    setup.configure(error_logfile="-", access_logfile=os.devnull, log_level="info")
    stack.callback(setup.release)
    return [LogObserver(access=True, format=format)]


def counting(stack: ExitStack) -> Iterable[Observer]:
    """The metrics of ``--metrics-bind``."""
    return [CountingObserver(Scoreboard().area(0))]


def statsd(stack: ExitStack) -> Iterable[Observer]:
    """``--statsd-host`` of this machine. What it is sent is never read, which nobody is told."""
    receiver = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    receiver.bind(("127.0.0.1", 0))
    there = Statsd(f"127.0.0.1:{receiver.getsockname()[1]}")
    stack.callback(there.close)
    return [StatsdObserver(there)]


def open_protocol(
    supply: Heads,
    application: Any,
    stack: ExitStack,
    *,
    answer: tuple[int, bytes] = (200, BODY),
    listen: Listeners = _nobody,
    **options: Any,
) -> Opened:
    inside, source = Inside(application, observers=listen(stack), **options), supply()

    def run(count: int) -> object:
        last, writes = inside.serve(source, count)
        return last, writes - count

    def check(result: object) -> bool:
        assert isinstance(result, tuple)
        last, too_many = result
        return too_many == 0 and _answer(last) == answer

    return Opened(run, check)

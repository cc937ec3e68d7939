"""The server's inside as one object: no sockets, and its pool's tasks run on this thread."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from wsgi_async.buffers.budgets import Budgets
from wsgi_async.config.options import Config
from wsgi_async.connection.connections import Connections
from wsgi_async.connection.gateway import Gateway, request_ids
from wsgi_async.connection.kinds import exchange_for
from wsgi_async.connection.protocol import HTTPProtocol
from wsgi_async.events import FanOut, Observer
from wsgi_async.server.proxy_fields import proxy_fields
from wsgi_async.testing import FakeLoop, FakeTransport
from wsgi_async.threads import (
    BlockedWriters,
    Mailbox,
    Overflow,
    Patience,
    ResponseBounds,
    SpoolTurns,
)
from wsgi_async.threads.pool import Task, ThreadPool

__all__ = [
    "BODY",
    "PEER",
    "WALL",
    "InlinePool",
    "Inside",
    "Line",
    "Loop",
    "bounds",
    "budgets_of",
    "closing",
    "connections_of",
    "hello",
    "raising",
]

WALL = 784111777.0
"""The time that the Date field shows."""

BODY = b"hello, world\n"

PEER = ("127.0.0.1", 50312)
"""The client's address."""


def hello(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    """The least that an application can do."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "13")])
    return [BODY]


class _Closing:
    """As Werkzeug's ClosingIterator: Flask's responses are such."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._next = iter(chunks).__next__

    def __iter__(self) -> _Closing:
        return self

    def __next__(self) -> bytes:
        return self._next()

    def close(self) -> None:
        pass


def closing(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    """The same, returned as frameworks do: an iterable that has to be closed."""
    return _Closing(hello(environ, start_response))


def raising(error: BaseException) -> None:
    """Lets out what the server would have logged: nothing may fail in a benchmark."""
    raise error


class Loop(FakeLoop):
    """A loop that nobody calls from another thread: its queue needs no lock."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: Any) -> None:
        self._waiting.append((callback, args))

    call_soon = call_soon_threadsafe

    def run_pending(self) -> int:
        count = 0
        waiting = self._waiting
        while waiting:
            callback, args = waiting.popleft()
            callback(*args)
            count += 1
        return count


class InlinePool(ThreadPool[Task]):
    """Takes tasks as the real pool does, and runs them when told, on the caller's thread."""

    def __init__(self) -> None:
        super().__init__(1, 0, on_error=raising)
        self._tasks: deque[Task] = deque()

    @property
    def full(self) -> bool:
        return False

    def submit(self, task: Task) -> bool:
        self._tasks.append(task)
        return True

    def submit_urgent(self, task: Task) -> None:
        self._tasks.append(task)

    def run_tasks(self) -> None:
        """Run what waits."""
        tasks = self._tasks
        while tasks:
            tasks.popleft().run()


class Line(FakeTransport):
    """Keeps the last write only, and holds nothing back: thousands of responses pass here.

    FakeTransport keeps every byte, and takes 0.7 us more of a request's 10.
    """

    def __init__(self, loop: FakeLoop, protocol: asyncio.Protocol) -> None:
        self.last = b""
        self.count = 0
        """Calls of ``write`` and ``writelines``."""
        super().__init__(loop, protocol)

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        assert type(data) is bytes
        self.last = data
        self.count += 1


class Echo(asyncio.Protocol):
    """Goes the way of a request, to the pool and back, and answers with constant bytes: what the
    stand-ins themselves take."""

    def __init__(self, pool: InlinePool, loop: Loop, answer: bytes) -> None:
        self._pool = pool
        self._loop = loop
        self._answer = answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    has_begun = True

    def data_received(self, data: bytes) -> None:
        self._pool.submit(self)

    def run(self) -> None:
        self._loop.call_soon_threadsafe(self._transport.write, self._answer)


def bounds(budgets: Budgets, config: Config) -> ResponseBounds:
    """As the server has them."""
    return ResponseBounds(
        overflow=Overflow(config.response_overflow),
        memory=config.response_buffer,
        disk=config.spool_limit,
        budgets=budgets,
        blocked=BlockedWriters(config.threads // 2),
        others_wait=lambda: False,
        patience=Patience(config.threads // 2),
        turns=SpoolTurns(lambda: False, lambda: 0),
        warn=lambda why: raising(RuntimeError(why)),
    )


def budgets_of(config: Config) -> Budgets:
    """As the server has them; no file is ever made here."""
    return Budgets(
        memory=config.max_buffer_size,
        disk=config.max_spool_size,
        files=100,
        directory=config.spool_dir,
    )


class Failing(Observer):
    """A server that has something to complain about is not what is to be measured."""

    def app_error(self, request: object, message: str, error: BaseException | None = None) -> None:
        raise RuntimeError(message) from error

    def warning(self, message: str) -> None:
        raise RuntimeError(message)

    def error(self, message: str, error: BaseException | None = None) -> None:
        raise RuntimeError(message) from error


def connections_of(
    application: Any,
    loop: Any,
    pool: ThreadPool[Task],
    *,
    observers: Iterable[Observer] = (),
    **options: Any,
) -> Connections:
    """What the connections of a server share, as it has them.

    :param loop: a real one, or a :class:`Loop`.
    :param options: others than the default ones.
    """
    config = Config(**options)
    observer = FanOut([Failing(), *observers], lambda what, error: raising(error))
    budgets = budgets_of(config)
    gateway = Gateway(
        application,
        pool,
        Mailbox(loop.call_soon_threadsafe, raising),
        bounds(budgets, config),
        observer,
        request_ids(),
        exchange=exchange_for(observer, config),
    )
    fields = proxy_fields(config, gateway.observer)
    return Connections(config, gateway, pool, budgets, 100, proxy_fields=fields)


class Inside:
    """One connection, from this machine, to a server that has the default options.

    :param application: a WSGI application; None: :class:`Echo` takes the server's place.
    :param observers: who is told of its requests.
    :param options: others than the default ones.
    """

    def __init__(
        self, application: Any, *, observers: Iterable[Observer] = (), **options: Any
    ) -> None:
        self.loop = Loop()
        self.pool = InlinePool()
        self.connections = connections_of(
            application, self.loop, self.pool, observers=observers, **options
        )
        self.connections.tick(self.loop.time(), WALL)
        protocol: asyncio.Protocol
        if application is None:
            protocol = Echo(self.pool, self.loop, b"HTTP/1.1 204 No Content\r\n\r\n")
        else:
            protocol = HTTPProtocol(self.connections, self.loop, PEER)  # type: ignore[arg-type]
        self.line = Line(self.loop, protocol)

    def serve(self, heads: Iterator[bytes], count: int) -> tuple[bytes, int]:
        """Send so many requests, each after the answer to the one before.

        :returns: what was written last, and how many writes there were.
        """
        receive, run_tasks, run_pending = (
            self.line.receive,
            self.pool.run_tasks,
            self.loop.run_pending,
        )
        before = self.line.count
        for head in islice(heads, count):
            receive(head)
            run_tasks()
            run_pending()
        return self.line.last, self.line.count - before

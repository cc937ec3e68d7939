"""One or two acceptors in one loop, and connections to them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any, cast

import pytest

from wsgi_async.server.acceptor import Acceptor
from wsgi_async.server.connection_counts import ConnectionCounts, OwnCount

TIMEOUT = 20
LOOPS = ["uvloop", "asyncio"]


class Recording(asyncio.Protocol):
    def __init__(self, side: Side) -> None:
        self.side = side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.side.open.add(self)
        self.side.accepted.put_nowait(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.side.open.discard(self)
        self.side.acceptor.lost()


class Side:
    """One acceptor and what it has accepted."""

    def __init__(
        self, own_count: OwnCount | None, sockets: list[socket.socket], **options: Any
    ) -> None:
        self.open: set[Recording] = set()
        self.accepted: asyncio.Queue[Recording] = asyncio.Queue()
        self.warnings: list[str] = []
        options.setdefault("make_protocol", lambda _: Recording(self))
        self.acceptor = Acceptor(
            asyncio.get_running_loop(),
            sockets,
            own_count=own_count,
            count_open=self.open.__len__,
            warn=self.warnings.append,
            **options,
        )

    async def next(self) -> Recording:
        return await asyncio.wait_for(self.accepted.get(), TIMEOUT)


def listening(kind: type[socket.socket] = socket.socket) -> socket.socket:
    sock = kind(socket.AF_INET, socket.SOCK_STREAM)
    sock.bind(("127.0.0.1", 0))
    sock.listen(100)
    sock.setblocking(False)
    return sock


def run(loop: str, main: Callable[[contextlib.ExitStack], Any]) -> None:
    """Run an asynchronous test with one of the loops."""
    if loop == "uvloop":
        factory = pytest.importorskip("uvloop").new_event_loop
    else:
        factory = asyncio.new_event_loop

    async def whole() -> None:
        with contextlib.ExitStack() as stack:
            try:
                await main(stack)
            finally:
                stack.close()
                await asyncio.sleep(0.01)  # for transports to close

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(whole())


def connect(stack: contextlib.ExitStack, sock: socket.socket) -> socket.socket:
    return stack.enter_context(socket.create_connection(sock.getsockname()[:2], TIMEOUT))


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until something is so."""
    async with asyncio.timeout(TIMEOUT):
        while not condition():  # noqa: ASYNC110 - what changes there has no event
            await asyncio.sleep(0)


def own_counts(count: int) -> list[OwnCount]:
    counts = ConnectionCounts()
    return [counts.join(index) for index in range(count)]

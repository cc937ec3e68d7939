"""What one acceptor does, and two beside each other, in one process and one loop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Callable
from typing import Any, cast

import pytest

from wsgi_async.server import acceptor as accepting
from wsgi_async.server.acceptor import Acceptor, AcceptorState
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

    def __init__(self, slot: OwnCount | None, sockets: list[socket.socket], **options: Any) -> None:
        self.open: set[Recording] = set()
        self.accepted: asyncio.Queue[Recording] = asyncio.Queue()
        self.warnings: list[str] = []
        options.setdefault("make_protocol", lambda _: Recording(self))
        self.acceptor = Acceptor(
            asyncio.get_running_loop(),
            sockets,
            slot=slot,
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


def slots(count: int) -> list[OwnCount]:
    tally = ConnectionCounts()
    return [tally.join(index) for index in range(count)]


@pytest.mark.parametrize("loop", LOOPS)
def test_a_connection_is_as_the_loop_would_have_made_it(loop: str) -> None:
    async def main(stack: contextlib.ExitStack) -> None:
        sock = stack.enter_context(listening())
        side = Side(slots(1)[0], [sock])
        stack.callback(side.acceptor.close)
        side.acceptor.start()
        client = connect(stack, sock)
        protocol = await side.next()
        transport = protocol.transport
        stack.callback(transport.abort)
        accepted = transport.get_extra_info("socket")
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert not os.get_blocking(accepted.fileno())
        assert not os.get_inheritable(accepted.fileno())
        assert transport.get_extra_info("peername") == client.getsockname()
        assert transport.get_extra_info("sockname") == sock.getsockname()
        assert transport.is_reading()

    run(loop, main)


@pytest.mark.parametrize("loop", LOOPS)
def test_several_sockets_are_watched(loop: str) -> None:
    async def main(stack: contextlib.ExitStack) -> None:
        sockets = [stack.enter_context(listening()) for _ in range(3)]
        side = Side(slots(1)[0], sockets)
        stack.callback(side.acceptor.close)
        side.acceptor.start()
        for sock in sockets:
            connect(stack, sock)
            transport = (await side.next()).transport
            stack.callback(transport.abort)
            assert transport.get_extra_info("sockname") == sock.getsockname()

    run(loop, main)


@pytest.mark.parametrize("loop", LOOPS)
def test_closing_leaves_the_socket_to_others(loop: str) -> None:
    async def main(stack: contextlib.ExitStack) -> None:
        sock = stack.enter_context(listening())
        own = [stack.enter_context(sock.dup()) for _ in range(2)]
        one, two = (Side(slot, [one]) for slot, one in zip(slots(2), own, strict=True))
        for side in (one, two):
            stack.callback(side.acceptor.close)
            side.acceptor.start()
            side.acceptor.start()
        one.acceptor.close()
        one.acceptor.close()
        assert one.acceptor.state is AcceptorState.OFF
        for _ in range(5):
            connect(stack, sock)
            stack.callback((await two.next()).transport.abort)
        one.acceptor.start()
        for _ in range(5):
            connect(stack, sock)
            stack.callback((await one.next()).transport.abort)
        assert two.accepted.empty()

    run(loop, main)


@pytest.mark.parametrize("loop", LOOPS)
def test_what_was_accepted_before_a_close_is_served(loop: str) -> None:
    async def main(stack: contextlib.ExitStack) -> None:
        sock = stack.enter_context(listening())
        made = asyncio.Event()

        def make_protocol(_: object) -> Recording:
            made.set()
            asyncio.get_running_loop().call_soon(side.acceptor.close)
            return Recording(side)

        side = Side(slots(1)[0], [sock], make_protocol=make_protocol)
        stack.callback(side.acceptor.close)
        side.acceptor.start()
        connect(stack, sock)
        stack.callback((await side.next()).transport.abort)
        assert side.acceptor.state is AcceptorState.OFF

    run(loop, main)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_full_process_leaves_connections_to_one_that_has_room(loop: str) -> None:
    async def main(stack: contextlib.ExitStack) -> None:
        sock = stack.enter_context(listening())
        own, other = slots(2)
        one = Side(own, [stack.enter_context(sock.dup())], cap=2)
        two = Side(other, [stack.enter_context(sock.dup())], cap=6)
        for side in (one, two):
            stack.callback(side.acceptor.close)
            side.acceptor.start()
        for _ in range(8):
            connect(stack, sock)
        for side, count in ((one, 2), (two, 6)):
            for _ in range(count):
                stack.callback((await side.next()).transport.abort)
        assert one.accepted.empty()
        assert two.accepted.empty()
        # Where all are full, it is for the protocol to refuse it.
        connect(stack, sock)
        done, pending = await asyncio.wait(
            [asyncio.ensure_future(side.next()) for side in (one, two)],
            return_when=asyncio.FIRST_COMPLETED,
        )
        for task in pending:
            task.cancel()
        for task in done:
            stack.callback(task.result().transport.abort)
        assert len(done) == 1

    run(loop, main)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_lost_connection_makes_room_at_once(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accepting, "RETRY", 1000.0)

    async def main(stack: contextlib.ExitStack) -> None:
        sock = stack.enter_context(listening())
        own, other = slots(2)
        other.publish(0)
        side = Side(own, [sock])
        stack.callback(side.acceptor.close)
        side.acceptor.start()
        first = connect(stack, sock)
        accepted = await side.next()
        connect(stack, sock)  # it is left to the other, which does not take it
        await until(lambda: side.acceptor.state is AcceptorState.YIELDING)
        first.close()
        await until(lambda: accepted not in side.open)
        stack.callback((await side.next()).transport.abort)

    run(loop, main)


class Unlucky(socket.socket):
    """A listener some of whose connections are lost before they are accepted."""

    errors: list[int]

    def _accept(self) -> tuple[int, Any]:
        if self.errors:
            raise OSError(self.errors.pop(), "not this one")
        found: tuple[int, Any] = super()._accept()  # type: ignore[misc]
        return found


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("number", [errno.ECONNABORTED, errno.EPROTO, errno.EPERM])
def test_a_connection_that_is_lost_already_costs_no_other(loop: str, number: int) -> None:
    async def main(stack: contextlib.ExitStack) -> None:
        sock = stack.enter_context(listening(Unlucky))
        assert isinstance(sock, Unlucky)
        sock.errors = [number, number]
        side = Side(slots(1)[0], [sock])
        stack.callback(side.acceptor.close)
        side.acceptor.start()
        connect(stack, sock)
        stack.callback((await side.next()).transport.abort)
        assert not sock.errors
        assert not side.warnings

    run(loop, main)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.EINVAL])
def test_an_error_that_would_repeat_itself_makes_a_pause(
    loop: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accepting, "PAUSE", 0.05)

    async def main(stack: contextlib.ExitStack) -> None:
        sock = stack.enter_context(listening(Unlucky))
        assert isinstance(sock, Unlucky)
        sock.errors = [number]
        tally = ConnectionCounts()
        side = Side(tally.join(0), [sock])
        stack.callback(side.acceptor.close)
        side.acceptor.start()
        connect(stack, sock)
        await until(lambda: bool(side.warnings))
        assert side.acceptor.state is AcceptorState.PAUSED
        assert tally.connections() == {}
        assert os.strerror(number) in side.warnings[0]
        side.acceptor.lost()
        assert tally.connections() == {}
        stack.callback((await side.next()).transport.abort)
        assert side.acceptor.state is AcceptorState.WATCHING
        assert len(side.warnings) == 1

    run(loop, main)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_protocol_that_cannot_be_made_is_reported(loop: str) -> None:
    async def main(stack: contextlib.ExitStack) -> None:
        reported: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: reported.append(context)
        )
        sock = stack.enter_context(listening())
        broken = True

        def make_protocol(_: object) -> Recording:
            if broken:
                raise ZeroDivisionError
            return Recording(side)

        side = Side(slots(1)[0], [sock], make_protocol=make_protocol)
        stack.callback(side.acceptor.close)
        side.acceptor.start()
        client = connect(stack, sock)
        client.setblocking(False)
        assert await asyncio.get_running_loop().sock_recv(client, 1) == b""
        assert isinstance(reported[0]["exception"], ZeroDivisionError)
        broken = False
        connect(stack, sock)
        stack.callback((await side.next()).transport.abort)
        assert len(reported) == 1

    run(loop, main)


class Short(socket.socket):
    """A listener whose process is short of memory at times."""

    failures = 0

    def _accept(self) -> tuple[int, Any]:
        if self.failures:
            self.failures -= 1
            raise MemoryError
        found: tuple[int, Any] = super()._accept()  # type: ignore[misc]
        return found


@pytest.mark.parametrize("shares", [False, True])
@pytest.mark.parametrize("loop", LOOPS)
def test_memory_that_runs_out_ends_no_accepting(
    loop: str, shares: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accepting, "PAUSE", 0.05)

    async def main(stack: contextlib.ExitStack) -> None:
        sock = stack.enter_context(listening(Short))
        assert isinstance(sock, Short)
        made = 0

        def make_protocol(_: object) -> Recording:
            nonlocal made
            made += 1
            if made == 1:
                raise MemoryError
            return Recording(side)

        [slot] = slots(1)
        side = Side(slot if shares else None, [sock], make_protocol=make_protocol)
        stack.callback(side.acceptor.close)
        side.acceptor.start()
        sock.failures = 2
        for _ in range(2):  # of the first the protocol cannot be made
            connect(stack, sock)
        stack.callback((await side.next()).transport.abort)
        assert not sock.failures
        assert made == 2
        assert side.warnings == ["cannot accept connections for a while: MemoryError"] * 3
        assert side.acceptor.state is AcceptorState.WATCHING

    run(loop, main)


@pytest.mark.parametrize("loop", LOOPS)
def test_nor_does_a_warning_that_cannot_be_given(
    loop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accepting, "PAUSE", 0.05)

    async def main(stack: contextlib.ExitStack) -> None:
        def warn(why: str) -> None:
            raise MemoryError

        sock = stack.enter_context(listening(Short))
        assert isinstance(sock, Short)
        side = Side(slots(1)[0], [sock])
        side.acceptor._warn = warn
        stack.callback(side.acceptor.close)
        side.acceptor.start()
        sock.failures = 1
        connect(stack, sock)
        stack.callback((await side.next()).transport.abort)

    run(loop, main)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_socket_that_the_loop_has_forgotten_is_watched_again(loop: str) -> None:
    async def main(stack: contextlib.ExitStack) -> None:
        sock = stack.enter_context(listening())
        side = Side(None, [sock])
        stack.callback(side.acceptor.close)
        side.acceptor.start()
        connect(stack, sock)
        stack.callback((await side.next()).transport.abort)
        side.acceptor.tend()
        side.acceptor.tend()  # nothing waits
        asyncio.get_running_loop().remove_reader(sock)
        connect(stack, sock)
        side.acceptor.tend()
        stack.callback((await side.next()).transport.abort)

    run(loop, main)


@pytest.mark.parametrize("state", [AcceptorState.PAUSED, AcceptorState.YIELDING])
@pytest.mark.parametrize("loop", LOOPS)
def test_a_wait_whose_timer_was_lost_ends(
    loop: str, state: AcceptorState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accepting, "PAUSE", 0.01)

    async def main(stack: contextlib.ExitStack) -> None:
        sock = stack.enter_context(listening())
        side = Side(slots(1)[0], [sock])
        acceptor = side.acceptor
        acceptor.tend()
        assert acceptor.state is AcceptorState.OFF
        stack.callback(acceptor.close)
        acceptor.start()
        acceptor._change(state)
        acceptor.tend()
        assert acceptor.state is state  # it is not late yet
        assert acceptor._timer is not None
        acceptor._timer.cancel()
        connect(stack, sock)

        def tended() -> bool:
            acceptor.tend()
            return acceptor.state is AcceptorState.WATCHING

        await until(tended)
        stack.callback((await side.next()).transport.abort)

    run(loop, main)


class NoTimers:
    """A loop that cannot make a timer, and can do everything else."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.failures = 0

    def call_later(self, *args: Any) -> asyncio.TimerHandle:
        if self.failures:
            self.failures -= 1
            raise MemoryError
        return self.loop.call_later(*args)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loop, name)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_pause_that_cannot_be_timed_is_none(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accepting, "PAUSE", 0.01)

    async def main(stack: contextlib.ExitStack) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        sock = stack.enter_context(listening(Short))
        assert isinstance(sock, Short)
        side = Side(slots(1)[0], [sock])
        side.acceptor._loop = timers = NoTimers(side.acceptor._loop)  # type: ignore[assignment]
        stack.callback(side.acceptor.close)
        side.acceptor.start()
        sock.failures, timers.failures = 2, 1
        connect(stack, sock)
        stack.callback((await side.next()).transport.abort)
        assert side.acceptor.state is AcceptorState.WATCHING

    run(loop, main)


@pytest.mark.parametrize("loop", LOOPS)
def test_once_nothing_is_left_to_others_nothing_is_looked_for(loop: str) -> None:
    async def main(stack: contextlib.ExitStack) -> None:
        sock = stack.enter_context(listening())
        own, other = slots(2)
        other.publish(0)
        side = Side(own, [sock])
        stack.callback(side.acceptor.close)
        side.acceptor.start()
        connect(stack, sock)
        stack.callback((await side.next()).transport.abort)
        connect(stack, sock)  # it is the other's
        await until(lambda: side.acceptor.state is AcceptorState.YIELDING)
        stack.enter_context(sock.accept()[0])
        await until(lambda: side.acceptor.state is AcceptorState.WATCHING)
        assert side.accepted.empty()

    run(loop, main)

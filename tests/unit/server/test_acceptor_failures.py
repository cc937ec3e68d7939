"""What an acceptor does when accepting fails: errors, memory, timers that cannot be had."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from typing import Any

import pytest
from acceptors import LOOPS, Recording, Side, connect, listening, own_counts, run, until

from wsgi_async.server import acceptor as accepting
from wsgi_async.server.acceptor import AcceptorState
from wsgi_async.server.connection_counts import ConnectionCounts


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
        side = Side(own_counts(1)[0], [sock])
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
        counts = ConnectionCounts()
        side = Side(counts.join(0), [sock])
        stack.callback(side.acceptor.close)
        side.acceptor.start()
        connect(stack, sock)
        await until(lambda: bool(side.warnings))
        assert side.acceptor.state is AcceptorState.PAUSED
        assert counts.connections() == {}
        assert os.strerror(number) in side.warnings[0]
        side.acceptor.lost()
        assert counts.connections() == {}
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

        side = Side(own_counts(1)[0], [sock], make_protocol=make_protocol)
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

        [own_count] = own_counts(1)
        side = Side(own_count if shares else None, [sock], make_protocol=make_protocol)
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
        side = Side(own_counts(1)[0], [sock])
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
        side = Side(own_counts(1)[0], [sock])
        acceptor = side.acceptor
        acceptor.tend()
        assert acceptor.state is AcceptorState.OFF
        stack.callback(acceptor.close)
        acceptor.start()
        acceptor._enter(state)
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


class ShortLoop:
    """A loop that at times cannot make a timer, or watch a socket, and can do everything else."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.timers = self.readers = 0
        """How many of them will fail."""

    def call_later(self, *args: Any) -> asyncio.TimerHandle:
        if self.timers:
            self.timers -= 1
            raise MemoryError
        return self.loop.call_later(*args)

    def add_reader(self, sock: socket.socket, *args: Any) -> None:
        if self.readers:
            self.readers -= 1
            raise MemoryError
        self.loop.add_reader(sock, *args)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loop, name)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_pause_that_cannot_be_timed_is_none(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accepting, "PAUSE", 0.01)

    async def main(stack: contextlib.ExitStack) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        sock = stack.enter_context(listening(Short))
        assert isinstance(sock, Short)
        side = Side(own_counts(1)[0], [sock])
        side.acceptor._loop = short = ShortLoop(side.acceptor._loop)  # type: ignore[assignment]
        stack.callback(side.acceptor.close)
        side.acceptor.start()
        sock.failures, short.timers = 2, 1
        connect(stack, sock)
        stack.callback((await side.next()).transport.abort)
        assert side.acceptor.state is AcceptorState.WATCHING

    run(loop, main)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_socket_that_cannot_be_watched_again_at_once_is_later(
    loop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has the loop forget a socket is short memory, so that is likely."""
    monkeypatch.setattr(accepting, "PAUSE", 0.01)

    async def main(stack: contextlib.ExitStack) -> None:
        sockets = [stack.enter_context(listening()) for _ in range(2)]
        side = Side(own_counts(1)[0], sockets)
        side.acceptor._loop = short = ShortLoop(side.acceptor._loop)  # type: ignore[assignment]
        stack.callback(side.acceptor.close)
        side.acceptor.start()
        for sock in sockets:
            short.loop.remove_reader(sock)
            connect(stack, sock)
        short.readers = 1
        with pytest.raises(MemoryError):
            side.acceptor.tend()
        assert side.acceptor.state is AcceptorState.PAUSED
        for _ in sockets:
            stack.callback((await side.next()).transport.abort)
        assert side.acceptor.state is AcceptorState.WATCHING

    run(loop, main)


@pytest.mark.parametrize("loop", LOOPS)
def test_once_nothing_is_left_to_others_nothing_is_looked_for(loop: str) -> None:
    async def main(stack: contextlib.ExitStack) -> None:
        sock = stack.enter_context(listening())
        own, other = own_counts(2)
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

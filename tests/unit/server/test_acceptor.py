"""What one acceptor does, and two beside each other, in one process and one loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket

import pytest
from acceptors import LOOPS, Recording, Side, connect, listening, own_counts, run, until

from wsgi_async.server import acceptor as accepting
from wsgi_async.server.acceptor import AcceptorState, Descriptor


@pytest.mark.parametrize("loop", LOOPS)
def test_a_connection_is_as_the_loop_would_have_made_it(loop: str) -> None:
    async def main(stack: contextlib.ExitStack) -> None:
        sock = stack.enter_context(listening())
        side = Side(own_counts(1)[0], [sock])
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
        side = Side(own_counts(1)[0], sockets)
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
        one, two = (
            Side(own_count, [one]) for own_count, one in zip(own_counts(2), own, strict=True)
        )
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

        side = Side(own_counts(1)[0], [sock], make_protocol=make_protocol)
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
        own, other = own_counts(2)
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
        own, other = own_counts(2)
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


def test_uvloop_is_given_no_more_than_a_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket is made in many steps, and asks the kernel for its name: nobody wants it there."""
    made = []

    class Counted(socket.socket):
        def __init__(self, *args: object, **kwargs: object) -> None:
            super().__init__(*args, **kwargs)  # type: ignore[arg-type]
            made.append(self)

    async def main(stack: contextlib.ExitStack) -> None:
        sock = stack.enter_context(listening())
        side = Side(None, [sock])
        stack.callback(side.acceptor.close)
        side.acceptor.start()
        clients = [connect(stack, sock) for _ in range(3)]
        with monkeypatch.context() as patch:
            patch.setattr(accepting.socket, "socket", Counted)
            accepted = [await side.next() for _ in clients]
        assert not made
        for protocol in accepted:
            number = protocol.transport.get_extra_info("socket").fileno()
            protocol.transport.abort()
            await until(lambda protocol=protocol: protocol not in side.open)  # type: ignore[misc]
            await asyncio.sleep(0)
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.fstat(number)

    run("uvloop", main)


class TestDescriptor:
    def test_whoever_has_its_number_closes_it(self) -> None:
        number, other = os.pipe()
        descriptor = Descriptor(number)
        assert descriptor.fileno() == number
        descriptor.close()
        os.close(number)
        os.close(other)

    def test_else_it_is_closed_once(self) -> None:
        number, other = os.pipe()
        descriptor = Descriptor(number)
        descriptor.fileno()
        descriptor.give_back()
        descriptor.close()
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(number)
        os.dup2(other, number)  # somebody else's now
        descriptor.close()
        os.close(number)
        os.close(other)

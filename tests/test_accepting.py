from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from wsgi_async import accepting
from wsgi_async.accepting import PATIENCE, RETRY, Acceptor, State
from wsgi_async.tally import Slot, Tally

PROGRAM = Path(__file__).with_name("accepting_processes.py")
TIMEOUT = 20

LOOPS = ["uvloop", "asyncio"]


class Processes:
    """Processes that share a listener; see ``accepting_processes.py``."""

    def __init__(self, program: subprocess.Popen[str], stack: contextlib.ExitStack) -> None:
        self._program = program
        self._stack = stack
        self.address, *self.pids = json.loads(self._read())

    def _read(self) -> str:
        assert self._program.stdout is not None
        return self._program.stdout.readline()

    def wait(self, pid: int) -> int:
        """The exit code of one of them."""
        assert self._program.stdin is not None
        self._program.stdin.write(f"{pid}\n")
        self._program.stdin.flush()
        self.pids.remove(pid)
        return int(self._read())

    def connections(self) -> dict[str, int]:
        """What each of them says it has open, by index."""
        assert self._program.stdin is not None
        self._program.stdin.write("connections\n")
        self._program.stdin.flush()
        found: dict[str, int] = json.loads(self._read())
        return found

    def connect(self) -> socket.socket:
        """A connection that may not be accepted yet."""
        is_tcp = isinstance(self.address, list)
        sock = socket.socket(socket.AF_INET if is_tcp else socket.AF_UNIX)
        self._stack.callback(sock.close)
        sock.settimeout(TIMEOUT)
        sock.connect(tuple(self.address) if is_tcp else self.address)
        return sock

    def open(self, count: int) -> Counter[int]:
        """Open so many connections at once; how many each process has accepted."""
        return Counter(map(told, [self.connect() for _ in range(count)]))


def told(sock: socket.socket) -> int:
    """The process that accepted a connection."""
    line = b""
    while not line.endswith(b"\n"):
        data = sock.recv(64)
        assert data, "the connection was closed before it was accepted"
        line += data
    return int(line)


@pytest.fixture
def processes() -> Iterator[Callable[..., Processes]]:
    with contextlib.ExitStack() as stack:

        def start(count: int = 2, loop: str = "uvloop", family: str = "tcp") -> Processes:
            if loop == "uvloop":
                pytest.importorskip("uvloop")
            program = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, PROGRAM, loop, family, str(count)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    env={**os.environ, "PYTHONPATH": str(PROGRAM.parent.parent)},
                )
            )
            return Processes(program, stack)

        yield start


@pytest.mark.parametrize("family", ["tcp", "unix"])
@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(("count", "opened"), [(2, 64), (4, 64), (2, 256)])
def test_connections_opened_at_once_are_spread_evenly(
    processes: Callable[..., Processes], count: int, opened: int, loop: str, family: str
) -> None:
    spread = processes(count, loop, family).open(opened)
    assert sum(spread.values()) == opened
    assert max(spread.values()) <= 1.2 * opened / count, spread


@pytest.mark.parametrize("loop", LOOPS)
def test_connections_opened_one_by_one_are_spread_evenly(
    processes: Callable[..., Processes], loop: str
) -> None:
    served = processes(2, loop)
    spread = Counter(told(served.connect()) for _ in range(20))
    assert max(spread.values()) <= 12, spread


def test_the_spread_is_of_open_connections(processes: Callable[..., Processes]) -> None:
    served = processes(2)
    connections = [served.connect() for _ in range(64)]
    of_each: dict[int, list[socket.socket]] = {pid: [] for pid in served.pids}
    for connection in connections:
        of_each[told(connection)].append(connection)
    loser = served.pids[0]
    for connection in of_each[loser]:
        connection.close()
    deadline = time.monotonic() + TIMEOUT
    while served.connections()["0"]:
        assert time.monotonic() < deadline
    # The next ones are for the process that has lost all it had.
    spread = served.open(32)
    assert spread[loser] >= 24, spread


@pytest.mark.parametrize("loop", LOOPS)
def test_a_killed_process_takes_no_waiting_connection_with_it(
    processes: Callable[..., Processes], loop: str
) -> None:
    served = processes(2, loop)
    killed, other = served.pids
    for pid in served.pids:
        os.kill(pid, signal.SIGSTOP)
    connections = [served.connect() for _ in range(30)]
    os.kill(killed, signal.SIGKILL)
    assert served.wait(killed) == -signal.SIGKILL
    os.kill(other, signal.SIGCONT)
    assert {told(connection) for connection in connections} == {other}


@pytest.mark.parametrize("loop", LOOPS)
def test_a_process_that_leaves_loses_no_connection(
    processes: Callable[..., Processes], loop: str
) -> None:
    served = processes(3, loop)
    for number in range(2):
        leaving = served.pids[0]
        accepted = []
        for step in range(60):
            if step == 20:
                os.kill(leaving, signal.SIGUSR1)
            accepted.append([served.connect() for _ in range(5)])
            if step % 2:
                for connection in accepted.pop(0):
                    told(connection)
                    connection.close()
        for connections in accepted:
            for connection in connections:
                told(connection)
                connection.close()
        assert served.wait(leaving) == 0, number
    assert served.open(10) == {served.pids[0]: 10}


@pytest.mark.parametrize("family", ["tcp", "unix"])
@pytest.mark.parametrize("loop", LOOPS)
def test_a_blocked_process_delays_nobody(
    processes: Callable[..., Processes], loop: str, family: str
) -> None:
    served = processes(2, loop, family)
    blocked, other = served.pids
    os.kill(blocked, signal.SIGSTOP)
    began = time.monotonic()
    one_by_one = Counter(told(served.connect()) for _ in range(100))
    # Had each waited for the blocked process, this would have taken 100 times its patience.
    assert time.monotonic() - began < 20 * PATIENCE * RETRY
    assert one_by_one == {other: 100}
    assert served.open(50) == {other: 50}
    os.kill(blocked, signal.SIGCONT)
    deadline = time.monotonic() + TIMEOUT
    while told(served.connect()) == other:  # until it has looked
        assert time.monotonic() < deadline
    assert served.open(100)[blocked] >= 75  # it makes up for what it has missed


def test_a_process_without_descriptors_leaves_connections_to_others(
    processes: Callable[..., Processes],
) -> None:
    served = processes(2)
    served.open(10)
    without, other = served.pids
    os.kill(without, signal.SIGUSR2)
    deadline = time.monotonic() + TIMEOUT
    while "0" in served.connections():  # until it has met the error
        assert time.monotonic() < deadline
        told(served.connect())
    assert served.open(20) == {other: 20}
    os.kill(without, signal.SIGUSR2)
    while told(served.connect()) != without:  # as soon as its pause is over
        assert time.monotonic() < deadline


# --- In one process: two acceptors and one loop ----------------------------------------------


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

    def __init__(self, slot: Slot, sockets: list[socket.socket], **options: Any) -> None:
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


def slots(count: int) -> list[Slot]:
    tally = Tally()
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
        assert one.acceptor.state is State.OFF
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
        assert side.acceptor.state is State.OFF

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
        await until(lambda: side.acceptor.state is State.YIELDING)
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
        tally = Tally()
        side = Side(tally.join(0), [sock])
        stack.callback(side.acceptor.close)
        side.acceptor.start()
        connect(stack, sock)
        await until(lambda: bool(side.warnings))
        assert side.acceptor.state is State.PAUSED
        assert tally.connections() == {}
        assert os.strerror(number) in side.warnings[0]
        side.acceptor.lost()
        assert tally.connections() == {}
        stack.callback((await side.next()).transport.abort)
        assert side.acceptor.state is State.WATCHING
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

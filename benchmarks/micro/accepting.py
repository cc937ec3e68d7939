"""``python -m benchmarks.micro.accepting``: how processes with one address share its connections.

=========  =======================================================================================
plain      each process's loop accepts from the common socket, as ``create_server`` does
one        each watches the common socket itself and takes one connection a turn
exclusive  the same through an epoll of its own, with EPOLLEXCLUSIVE
reuseport  each has a socket of its own; the kernel chooses one by a hash (SO_REUSEPORT)
share      ``server.acceptor``: none takes more than its share while others are awake; of one
           process alone, without a shared
=========  =======================================================================================

``at once N`` and ``in turn`` are the connections of the process that has the most, by an even
share: the median and the worst of several rounds. ``left`` are those of 40 connections that were
never accepted although one process was there to do it, while the other was stopped (and by how
much the slowest of the accepted ones was late) or had been killed with connections in its queue.
``per request`` is wrk with 64 connections and one request on each: rate, processor time and wakes
that found nothing for each connection. Compare ways of one run; rates wobble by 10 %.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import mmap
import os
import re
import select
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn, cast

from wsgi_async.server.acceptor import Acceptor
from wsgi_async.server.connection_counts import ConnectionCounts
from wsgi_async.system.event_loop import new_event_loop

__all__ = ["WAYS", "Processes", "Way", "main"]

TIMEOUT = 5.0
STUCK = 0.5
"""Seconds after which a connection counts as never accepted."""
READY = 0.2
"""Seconds from the fork until all accept."""

Made = Callable[[], asyncio.Protocol]
Accepts = Callable[[asyncio.AbstractEventLoop, socket.socket, "Counts", Made], None]


class Counts:
    """What one process counts, in memory that its parent sees."""

    ACCEPTED, OPEN, EMPTY, FIELDS = range(4)

    def __init__(self, words: memoryview) -> None:
        self.words = words

    def add(self, field: int, count: int = 1) -> None:
        self.words[field] += count


class Answering(asyncio.Protocol):
    """Tells its client which process it is in; a request is answered, and the last one."""

    lost: Callable[[], None] | None = None

    def __init__(self, counts: Counts) -> None:
        self.counts = counts

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.counts.add(Counts.ACCEPTED)
        self.counts.add(Counts.OPEN)

    def connection_lost(self, exc: Exception | None) -> None:
        self.counts.add(Counts.OPEN, -1)
        if Answering.lost is not None:
            Answering.lost()

    def data_received(self, data: bytes) -> None:
        close = b"Connection: close\r\n" if b"close" in data else b""
        body = b"%d" % os.getpid()
        head = b"HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n" % (close, len(body))
        self.transport.write(head + body)
        if close:
            self.transport.close()


def plain(loop: asyncio.AbstractEventLoop, sock: socket.socket, counts: Counts, make: Made) -> None:
    loop.run_until_complete(loop.create_server(make, sock=sock, backlog=1024))


def one(loop: asyncio.AbstractEventLoop, sock: socket.socket, counts: Counts, make: Made) -> None:
    loop.add_reader(sock, _taker(loop, sock, counts, make))


def exclusive(
    loop: asyncio.AbstractEventLoop, sock: socket.socket, counts: Counts, make: Made
) -> None:
    poll = select.epoll()
    poll.register(sock, select.EPOLLIN | select.EPOLLEXCLUSIVE)
    take = _taker(loop, sock, counts, make)

    def ready() -> None:
        take()
        poll.poll(0)

    loop.add_reader(poll.fileno(), ready)


def _taker(
    loop: asyncio.AbstractEventLoop, sock: socket.socket, counts: Counts, make: Made
) -> Callable[[], None]:
    tasks: set[asyncio.Task[object]] = set()

    def take() -> None:
        try:
            connection = sock.accept()[0]
        except BlockingIOError:
            counts.add(Counts.EMPTY)
            return
        connection.setblocking(False)
        task = loop.create_task(loop.connect_accepted_socket(make, connection))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    return take


class Way:
    """One way of sharing.

    :param accepts: starts it in a process; None is ``share``.
    :param own_sockets: each process has one of its own.
    """

    def __init__(self, accepts: Accepts | None, *, own_sockets: bool = False) -> None:
        self.accepts = accepts
        self.own_sockets = own_sockets


WAYS = {
    "plain": Way(plain),
    "one": Way(one),
    "exclusive": Way(exclusive),
    "reuseport": Way(plain, own_sockets=True),
    "share": Way(None),
}


class Processes:
    """Processes that serve one address. A context manager that ends them."""

    def __init__(self, way: Way, count: int) -> None:
        words = memoryview(mmap.mmap(-1, 8 * Counts.FIELDS * count)).cast("q")
        self.counts = [
            Counts(words[i * Counts.FIELDS : (i + 1) * Counts.FIELDS]) for i in range(count)
        ]
        sockets: list[socket.socket] = []
        for _ in range(count if way.own_sockets else 1):
            sockets.append(_listener(sockets[0].getsockname()[1] if sockets else 0, way))
        self.port: int = sockets[0].getsockname()[1]
        shared = ConnectionCounts() if count > 1 else None
        self.pids = []
        for index in range(count):
            pid = os.fork()
            if pid == 0:
                mine = sockets[index if way.own_sockets else 0]
                for sock in sockets:
                    if sock is not mine:
                        sock.close()
                _serve(way, mine, self.counts[index], shared, index)
            self.pids.append(pid)
        for sock in sockets:
            sock.close()  # the queue of a process's own socket ends with the process
        time.sleep(READY)

    def accepted(self) -> list[int]:
        return [counts.words[Counts.ACCEPTED] for counts in self.counts]

    def empty(self) -> int:
        return sum(counts.words[Counts.EMPTY] for counts in self.counts)

    def wait_until_idle(self) -> None:
        deadline = time.monotonic() + TIMEOUT
        while any(counts.words[Counts.OPEN] for counts in self.counts):
            if time.monotonic() > deadline:
                raise TimeoutError("connections stay open")
            time.sleep(0.005)

    def processor_time(self) -> float:
        """Seconds that all of them have run; 0 where /proc does not tell."""
        total = 0
        for pid in self.pids:
            with contextlib.suppress(OSError):
                total += int(Path(f"/proc/{pid}/schedstat").read_text("ascii").split()[0])
        return total / 1e9

    def kill(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        self.pids.remove(pid)

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: object) -> None:
        for pid in list(self.pids):
            self.kill(pid)


def _listener(port: int, way: Way) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    if way.own_sockets:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(("127.0.0.1", port))
    sock.listen(1024)
    sock.setblocking(False)
    return sock


def _serve(
    way: Way, sock: socket.socket, counts: Counts, shared: ConnectionCounts | None, index: int
) -> NoReturn:
    try:
        loop = new_event_loop()

        def make() -> Answering:
            return Answering(counts)

        if way.accepts is not None:
            way.accepts(loop, sock, counts, make)
        else:
            acceptor = Acceptor(
                loop,
                [sock],
                lambda _: make(),
                shared.join(index) if shared is not None else None,
                count_open=lambda: counts.words[Counts.OPEN],
                warn=print,
            )
            Answering.lost = acceptor.lost
            acceptor.start()
        loop.run_forever()
    finally:
        os._exit(1)


@contextlib.contextmanager
def opened(processes: Processes, count: int) -> Iterator[list[socket.socket]]:
    """So many connections at once, each with a request."""
    with contextlib.ExitStack() as stack:
        sockets = []
        for _ in range(count):
            sock = stack.enter_context(
                socket.create_connection(("127.0.0.1", processes.port), TIMEOUT)
            )
            sockets.append(sock)
        for sock in sockets:
            sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        yield sockets


def answered_by(sock: socket.socket) -> int:
    """The process that answers, or 0 where none does in time."""
    sock.settimeout(STUCK)
    try:
        return int(sock.recv(4096).rpartition(b"\r\n")[2] or 0)
    except OSError:
        return 0


def unevenness(spread: Counter[int], processes: Processes) -> float:
    return max(spread.values()) / (sum(spread.values()) / len(processes.pids))


def at_once(way: Way, count: int, opens: int, rounds: int) -> list[float]:
    found = []
    with Processes(way, count) as processes:
        for _ in range(rounds):
            with opened(processes, opens) as sockets:
                found.append(unevenness(Counter(map(answered_by, sockets)), processes))
            processes.wait_until_idle()
    return found


def in_turn(way: Way, count: int, opens: int, rounds: int) -> list[float]:
    found = []
    with Processes(way, count) as processes:
        for _ in range(rounds):
            with contextlib.ExitStack() as stack:
                spread: Counter[int] = Counter()
                for _ in range(opens):
                    [sock] = stack.enter_context(opened(processes, 1))
                    spread[answered_by(sock)] += 1
            found.append(unevenness(spread, processes))
            processes.wait_until_idle()
    return found


def beside_a_stopped_one(way: Way, opens: int) -> tuple[int, float]:
    """Connections that wait for a process that is stopped, and how late the others were (ms)."""
    with Processes(way, 2) as processes:
        os.kill(processes.pids[0], signal.SIGSTOP)
        with opened(processes, opens) as sockets:
            began = time.monotonic()
            late, left = 0.0, 0
            poll = select.poll()
            for sock in sockets:
                poll.register(sock, select.POLLIN)
            waiting = {sock.fileno() for sock in sockets}
            while waiting and time.monotonic() < began + STUCK:
                for descriptor, _ in poll.poll(50):
                    late = time.monotonic() - began
                    poll.unregister(descriptor)
                    waiting.discard(descriptor)
            left = len(waiting)
    return left, late * 1000


def after_a_killed_one(way: Way, opens: int) -> int:
    """Connections lost with a process that was killed before it had accepted them."""
    with Processes(way, 2) as processes:
        killed, other = processes.pids
        for pid in (killed, other):
            os.kill(pid, signal.SIGSTOP)
        with opened(processes, opens) as sockets:
            processes.kill(killed)
            os.kill(other, signal.SIGCONT)
            return sum(not answered_by(sock) for sock in sockets)


def per_request(way: Way, count: int, seconds: int) -> tuple[float, float, float]:
    """Connections a second; microseconds of processor and wakes in vain for each."""
    with Processes(way, count) as processes:
        before, used = sum(processes.accepted()), processes.processor_time()
        command = ["wrk", "-t1", "-c64", f"-d{seconds}s", "-H", "Connection: close"]
        output = subprocess.run(
            [*command, f"http://127.0.0.1:{processes.port}/"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        done = sum(processes.accepted()) - before
        rate = re.search(r"Requests/sec:\s*([0-9.]+)", output)
        assert rate is not None, output
        used = processes.processor_time() - used
        return float(rate[1]), used / done * 1e6, processes.empty() / done


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.micro.accepting",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), metavar="WAY")
    parser.add_argument("--processes", type=int, default=2, metavar="N", help="of each way (2)")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="of each figure (5)")
    parser.add_argument("--seconds", type=int, default=1, metavar="N", help="of each load (1)")
    options = parser.parse_args(arguments)
    if min(options.processes, options.rounds, options.seconds) < 1:
        parser.error("counts must be at least 1")
    count, rounds = options.processes, options.rounds
    loads: dict[str, list[tuple[float, float, float]]] = {name: [] for name in options.ways}
    if shutil.which("wrk") is None:
        print("wrk is not installed: no figures per request", file=sys.stderr)
    else:
        for _ in range(rounds):  # in turns: what else the machine does then meets all of them
            for name in options.ways:
                loads[name].append(per_request(WAYS[name], count, options.seconds))
    print(f"{'':10}{'at once 64':>13}{'at once 256':>13}{'in turn 64':>13}", end="")
    print(f"{'left: stopped':>16}{'killed':>8}{'per request':>14}{'CPU us':>8}{'in vain':>9}")
    for name in options.ways:
        way = WAYS[name]
        row = f"{name:10}"
        for spread in (
            at_once(way, count, 64, rounds),
            at_once(way, count, 256, rounds),
            in_turn(way, count, 64, rounds),
        ):
            row += f"{statistics.median(spread):7.2f} {max(spread):5.2f}"
        left, late = beside_a_stopped_one(way, 40)
        row += f"{left:8} {late:4.0f} ms{after_a_killed_one(way, 40):8}"
        if loads[name]:
            rate, used, empty = map(statistics.median, zip(*loads[name], strict=True))
            row += f"{rate:12,.0f}/s{used:8.1f}{empty:9.2f}"
        print(row, flush=True)


if __name__ == "__main__":
    main()

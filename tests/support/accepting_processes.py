"""``python accepting_processes.py uvloop|asyncio tcp|unix N``: processes that share a listener.

Prints one line of JSON, the address and the process ids, and lives until its input ends. A line
"connections" is answered with what each process has open, one with a process id with the exit code
of that process, once it has ended. Each
connection is told the id of its process, in a line. SIGUSR1 makes a process stop accepting, and
end with its last connection; SIGUSR2 takes all free descriptors from it, or gives them back.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import socket
import sys
import tempfile
import time
from typing import NoReturn, cast

from wsgi_async.server.acceptor import Acceptor
from wsgi_async.server.connection_counts import ConnectionCounts, OwnCount

START_TIMEOUT = 20
"""Seconds."""


class Telling(asyncio.Protocol):
    """Tells its client which process it is in."""

    def __init__(self, process: Process) -> None:
        self.process = process

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.process.open.add(self)
        cast(asyncio.Transport, transport).write(b"%d\n" % os.getpid())

    def connection_lost(self, exc: Exception | None) -> None:
        self.process.open.discard(self)
        self.process.acceptor.lost()
        self.process.end_if_last()


class Process:
    def __init__(
        self, loop: asyncio.AbstractEventLoop, sock: socket.socket, own_count: OwnCount
    ) -> None:
        self.loop = loop
        self.open: set[Telling] = set()
        self.is_leaving = False
        self.limits: tuple[int, int] | None = None
        self.acceptor = Acceptor(
            loop,
            [sock],
            lambda _: Telling(self),
            own_count,
            count_open=self.open.__len__,
            warn=lambda why: print(why, file=sys.stderr, flush=True),
        )
        loop.add_signal_handler(signal.SIGUSR1, self.leave)
        loop.add_signal_handler(signal.SIGUSR2, self.toggle_descriptors)
        self.acceptor.start()

    def leave(self) -> None:
        self.is_leaving = True
        self.acceptor.close()
        # What was accepted in this turn is made in the next.
        self.loop.call_soon(self.loop.call_soon, self.end_if_last)

    def end_if_last(self) -> None:
        if self.is_leaving and not self.open:
            self.loop.stop()

    def toggle_descriptors(self) -> None:
        if self.limits is None:
            self.limits = resource.getrlimit(resource.RLIMIT_NOFILE)
            free = os.dup(0)
            os.close(free)
            resource.setrlimit(resource.RLIMIT_NOFILE, (free, self.limits[1]))
        else:
            resource.setrlimit(resource.RLIMIT_NOFILE, self.limits)
            self.limits = None


def serve(kind: str, sock: socket.socket, own_count: OwnCount) -> NoReturn:
    code = 1
    try:
        if kind == "uvloop":
            import uvloop

            loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        else:
            loop = asyncio.new_event_loop()
        process = Process(loop, sock, own_count)
        loop.run_forever()
        code = 3 if process.open else 0
    finally:
        os._exit(code)


def main(kind: str, family: str, count: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        if family == "tcp":
            sock = socket.socket()
            sock.bind(("127.0.0.1", 0))
        else:
            sock = socket.socket(socket.AF_UNIX)
            sock.bind(os.path.join(directory, "socket"))
        sock.listen(1024)
        sock.setblocking(False)
        counts = ConnectionCounts()
        pids = []
        for index in range(int(count)):
            pid = os.fork()
            if pid == 0:
                serve(kind, sock, counts.join(index))
            pids.append(pid)
        try:
            deadline = time.monotonic() + START_TIMEOUT
            while len(counts.connections()) < len(pids):  # until all of them accept
                assert time.monotonic() < deadline, counts.connections()
                signal.sigtimedwait({signal.SIGCHLD}, 0.01)
            print(json.dumps([sock.getsockname(), *pids]), flush=True)
            for line in sys.stdin:
                if line == "connections\n":
                    print(json.dumps(counts.connections()), flush=True)
                    continue
                index = pids.index(int(line))
                code = os.waitstatus_to_exitcode(os.waitpid(pids[index], 0)[1])
                counts.clear(index)
                pids[index] = 0
                print(code, flush=True)
        finally:
            for pid in filter(None, pids):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


if __name__ == "__main__":
    main(*sys.argv[1:])

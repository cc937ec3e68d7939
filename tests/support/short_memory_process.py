"""``python short_memory_process.py uvloop|asyncio``: a server that has no memory for a while.

Prints its port. A request for /take takes all the memory that the process may have, says so in a
line on standard output, and gives it back after a second and a half; whoever started it may give it
more before, by prlimit(2). One for /open is answered with the number of open connections. After
20 s it ends by SIGALRM.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from wsgi_async import Server
from wsgi_async.system.event_loop import new_event_loop


def take() -> None:
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    held: list[bytearray] = []
    size = 1024 * 1024
    lock = threading.Lock()
    lock.acquire()
    try:
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize(), before[1]))
        while size >= 512:
            try:
                held.append(bytearray(size))
            except MemoryError:
                size //= 2
        os.write(1, b"taken\n")
        lock.acquire(timeout=1.5)  # nothing that needs memory itself
    finally:
        held.clear()
        resource.setrlimit(resource.RLIMIT_AS, before)


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    if environ["PATH_INFO"] == "/take":
        yield b"begun\n"  # all that this needs of the server it has now
        take()
    assert server._running is not None
    yield b"%d" % len(server._running.connections.open)


async def main() -> None:
    await server.start()
    print(server.port, flush=True)
    await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    signal.alarm(20)
    server = Server(
        application, port=0, host="127.0.0.1", threads=2, header_timeout=1, keep_alive=1
    )
    factory = new_event_loop if sys.argv[1] == "uvloop" else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())

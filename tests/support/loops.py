"""What tests of servers in a loop's thread share."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

from serving import LoopThread, Served

Serve = Callable[..., Served]


def hello(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]


def loop_thread(loop: str) -> Iterator[LoopThread]:
    thread = LoopThread(loop)
    yield thread
    thread.close()


def pool_threads() -> list[str]:
    """Threads of servers that have not ended; one that has done its last deed has a moment."""
    threads = [thread for thread in threading.enumerate() if "wsgi_async" in thread.name]
    for thread in threads:
        thread.join(1.0)
    return [thread.name for thread in threads if thread.is_alive()]

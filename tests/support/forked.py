"""A fork of the test's own process, and how it ended."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable

from rawclient import TIMEOUT

__all__ = ["run_forked"]


def run_forked(work: Callable[[], object]) -> int:
    """Run `work` in a fork, and return its exit code, which an exception makes 1."""
    pid = os.fork()
    if not pid:
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        select.select([], [], [], 0.001)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return -signal.SIGKILL

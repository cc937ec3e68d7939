"""Servers as the scenarios of the benchmarks know one."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path

__all__ = ["Here", "Target", "Unmeasured"]


class Unmeasured:
    """One that holds nothing."""

    def memory(self) -> int:
        return 0

    def descriptors(self) -> int:
        return 0

    def cpu(self) -> float:
        return 0.0


class Target(Unmeasured):
    """Whatever listens on a port of this machine."""

    threads = 8

    def __init__(self, port: int | None, *, name: str = "wsgi_async", tls: bool = False) -> None:
        assert port is not None
        self.port = port
        self.name = name
        self.tls = tls


class Here(Target):
    """One in the test's own process, which holds what that does."""

    def memory(self) -> int:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
        return pages * resource.getpagesize()

    def descriptors(self) -> int:
        return len(os.listdir("/proc/self/fd"))

    def cpu(self) -> float:
        return time.process_time()

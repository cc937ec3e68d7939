"""A server as a process: where it runs, how it is started and ended, what it holds."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

__all__ = [
    "NOWHERE",
    "NotStarted",
    "Pins",
    "Server",
    "allow_descriptors",
    "free_port",
    "pins",
    "stage",
]

START_TIMEOUT = 20.0
"""Seconds until a port has to answer."""
STOP_TIMEOUT = 2.0
"""Seconds from SIGTERM to SIGKILL. Nothing is lost: the load is over."""

MOST_MEMORY = 8 << 30
"""Bytes of data that a process of a server may have. One that collects whole responses would
otherwise take what the machine has, and the measurements of the others with it."""

SETTINGS = (
    *("WSGI_ASYNC_", "GRANIAN_", "GUNICORN_CMD_ARGS", "UWSGI_", "WEB_CONCURRENCY"),
    # A checkout would be compiled at each start, beside packages that pip has compiled.
    "PYTHONDONTWRITEBYTECODE",
)
"""Environment variables that would make a recorded command untrue."""


class NotStarted(Exception):
    """A server ended, or its port did not answer in time."""


class Pins(NamedTuple):
    """What is put before a command to run it on its core; both empty with one core."""

    server: tuple[str, ...]
    load: tuple[str, ...]


NOWHERE = Pins((), ())
"""Any core."""


def pins() -> Pins:
    """The first core for the server, all others for the load."""
    if not hasattr(os, "sched_getaffinity") or shutil.which("taskset") is None:
        return NOWHERE
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        return NOWHERE
    others = ",".join(map(str, cores[1:]))
    return Pins(("taskset", "-c", str(cores[0])), ("taskset", "-c", others))


def allow_descriptors() -> int:
    """Raise the soft limit of descriptors to the hard one, for all children too."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


@contextlib.contextmanager
def stage(checkout: Path) -> Iterator[Path]:
    """A directory in which ``import wsgi_async`` finds this checkout's package and ``import
    benchmarks`` this harness, and in which there is no configuration file."""
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as name:
        directory = Path(name)
        (directory / "wsgi_async").symlink_to(checkout.resolve() / "wsgi_async")
        (directory / "benchmarks").symlink_to(Path(__file__).resolve().parents[1])
        yield directory


def free_port() -> int:
    """A port below those that the kernel gives to clients: a load cannot take it meanwhile."""
    for _ in range(1000):
        port = random.randrange(20_000, 30_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise OSError("no free port between 20000 and 30000")


class Server:
    """A running server, and all processes it started. A context manager that ends them.

    :ivar name: of its template.
    """

    def __init__(self, name: str, threads: int, tls: bool = False) -> None:
        self.name = name
        self.threads = threads
        self.tls = tls
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the server

    def start(self, command: list[str], directory: Path) -> None:
        """Start it, in a session of its own; the port may not answer yet.

        :raises OSError: there is no such program.
        """
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)
        }
        with _bounded(MOST_MEMORY):
            self._process = subprocess.Popen(
                command,
                cwd=directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=self._stderr,
                stderr=self._stderr,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Of the process that was started."""
        assert self._process is not None
        return self._process.pid

    def wait(self, timeout: float = START_TIMEOUT) -> None:
        """Until its port accepts.

        :raises NotStarted: it ended, or does not within `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while True:
            self.check()
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise NotStarted(
                        f"no answer within {timeout:.0f} s: {self.last_line()}"
                    ) from None
                time.sleep(0.02)

    def check(self, timeout: float = 0.0) -> None:
        """:raises NotStarted: it has ended, or does within `timeout` seconds."""
        assert self._process is not None
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return
        raise NotStarted(f"the server ended with {code}: {self.last_line()}")

    def last_line(self) -> str:
        """The last line it wrote to stdout or stderr."""
        size = self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, size - 4096))
        lines = self._stderr.read().decode("utf-8", "replace").strip().splitlines()
        return lines[-1].strip()[:200] if lines else "it wrote nothing"

    def memory(self) -> int:
        """Bytes of its processes in RAM: Pss, or Rss where Pss cannot be read; 0 without /proc."""
        return sum(_memory(pid) for pid in self._pids())

    def descriptors(self) -> int:
        """Open descriptors of its processes; 0 without /proc."""
        total = 0
        for pid in self._pids():
            with contextlib.suppress(OSError):
                total += len(os.listdir(f"/proc/{pid}/fd"))
        return total

    def cpu(self) -> float:
        """Seconds that its processes have been on a processor; 0 without /proc. Those of a process
        that has ended are not in it."""
        return sum(_processor_time(pid) for pid in self._pids())

    def stop(self) -> None:
        """End all processes of its session, by force if they do not."""
        process = self._process
        if process is not None:
            try:
                self._signal(signal.SIGTERM)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(STOP_TIMEOUT)
            finally:
                # Also after another Ctrl-C, and for children that outlive their parent.
                self._signal(signal.SIGKILL)
                process.wait()
        self._stderr.close()

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def _pids(self) -> list[int]:
        found = []
        for entry in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError, ValueError, IndexError):
                # The fields after the name in brackets: state, parent, group, session.
                fields = entry.read_text("latin-1").rpartition(")")[2].split()
                if int(fields[3]) == self.pid:
                    found.append(int(entry.parent.name))
        return found


@contextlib.contextmanager
def _bounded(size: int) -> Iterator[None]:
    """What is started in the block may have so many bytes of data, or fewer if it is so already;
    ours, which is far below, is as before after it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    least = min(size, *(one for one in (soft, hard) if one != resource.RLIM_INFINITY), size)
    resource.setrlimit(resource.RLIMIT_DATA, (least, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _memory(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    with contextlib.suppress(OSError):
        pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
        return pages * resource.getpagesize()
    return 0


def _processor_time(pid: int) -> float:
    """To the nanosecond, of all its threads, those that have ended too; what /proc says is too
    coarse for a server that hardly does anything."""
    with contextlib.suppress(OSError):
        # As clock_getcpuclockid(3) makes it on Linux, which Python has for threads only.
        return time.clock_gettime(~pid << 3 | 2)
    return 0.0

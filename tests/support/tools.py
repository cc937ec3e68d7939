"""What the tests with foreign programs share: their presence, and servers as processes."""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn, Self

import pytest
from rawclient import TIMEOUT

__all__ = [
    "ROOT",
    "Process",
    "ReservedPort",
    "python",
    "require_module",
    "require_program",
    "running",
]

ROOT = Path(__file__).parents[2]
NO_IPV6 = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
"""What a kernel says that knows no IPv6, or has no address of it."""


def require_program(name: str) -> str:
    """The path of a program; the test skips without it, or fails if TESTS_REQUIRE_ALL is set."""
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if path is None:
        _miss(f"{name} is not installed")
    return path


def require_module(name: str) -> None:
    """Likewise for a module that the test needs."""
    if importlib.util.find_spec(name) is None:
        _miss(f"the module {name} is not installed")


def _miss(what: str) -> NoReturn:
    if os.environ.get("TESTS_REQUIRE_ALL"):
        pytest.fail(f"{what}, and TESTS_REQUIRE_ALL is set")
    pytest.skip(what)


class ReservedPort:
    """A port for a server that cannot tell which one it took, or must take the same one twice: a
    socket of all addresses, of both families where there is IPv6, is bound to it, which keeps
    others away from each of them (a client of 127.0.0.2 would be in the way of ``:PORT``), and does
    not listen, which lets one in that has SO_REUSEADDR too."""

    def __init__(self) -> None:
        try:
            self._socket = socket.socket(socket.AF_INET6)
            self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            self._bind("::")
        except OSError as error:
            if error.errno not in NO_IPV6:
                raise
            self._socket = socket.socket()
            self._bind("0.0.0.0")
        self.number: int = self._socket.getsockname()[1]

    def _bind(self, host: str) -> None:
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((host, 0))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the port to whoever wants it."""
        self._socket.close()


def python(*args: str) -> list[str]:
    """The command of this interpreter, with what it warns of shown."""
    return [sys.executable, "-W", "always::ResourceWarning", *args]


class Process:
    """A process whose two outputs are read, line by line, as they come."""

    def __init__(
        self,
        command: Sequence[str],
        cwd: Path,
        env: Mapping[str, str],
        stdin: socket.socket | int = subprocess.DEVNULL,
    ) -> None:
        clean = {name: value for name, value in os.environ.items() if not _is_ours(name)}
        self._changed = threading.Condition()
        self._lines: list[str] = []
        self._ended = False
        self._process = subprocess.Popen(
            command,
            cwd=cwd,
            env={**clean, "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT), **env},
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._changed:
                self._lines.append(line)
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    @property
    def output(self) -> str:
        """What it has printed so far."""
        with self._changed:
            return "".join(self._lines)

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Wait for a line with a match of `pattern`."""

        def look() -> re.Match[str] | None:
            return next(
                (match for line in self._lines if (match := re.search(pattern, line))), None
            )

        with self._changed:
            self._changed.wait_for(lambda: look() or self._ended, TIMEOUT)
            match = look()
        assert match is not None, f"no line with {pattern!r} in:\n{self.output}"
        return match

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end, once it has said so."""
        return self.wait_for(r"(?:Listening|Serving) on (http://127\.0\.0\.1:[0-9]+)")[1]

    @property
    def pid(self) -> int:
        return self._process.pid

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def wait(self) -> int:
        """Its exit code."""
        code = self._process.wait(TIMEOUT)
        self._reader.join(TIMEOUT)
        return code

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


def _is_ours(name: str) -> bool:
    return name.startswith("WSGI_ASYNC_") or name in ("PORT", "PYTHONPATH", "TESTS_REQUIRE_ALL")


@contextlib.contextmanager
def running(
    *command: str,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    stdin: socket.socket | int = subprocess.DEVNULL,
) -> Iterator[Process]:
    """Run a command, killed at the end of the block if it has not ended by itself.

    :param stdin: its descriptor 0.
    """
    process = Process(command, cwd, env or {}, stdin)
    try:
        yield process
    finally:
        process.close()

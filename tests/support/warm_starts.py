"""The command ``wsgi-async``, many times, without the time that Python takes to begin and import.

One process imports what the command imports, and forks for each start: what the command line makes
of its arguments, of files and of the directory it is in is the same as in a process of its own.

As a program, ``python warm_starts.py DESCRIPTOR``, it is that process.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from rawclient import TIMEOUT
from tools import ROOT, python

__all__ = ["WarmStarts", "WarmlyStarted"]


class WarmStarts:
    """The process that forks; it ends with the ``with`` block."""

    def __init__(self) -> None:
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel.settimeout(3 * TIMEOUT)
        with theirs:
            self._process = subprocess.Popen(
                python(__file__, str(theirs.fileno())),
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )

    def __enter__(self) -> WarmStarts:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._channel.close()
        self._process.wait(TIMEOUT)

    @contextlib.contextmanager
    def start(self, *arguments: str, directory: Path) -> Iterator[WarmlyStarted]:
        """The command with these arguments, killed at the end of the block if it lives then."""
        reading, writing = os.pipe()
        try:
            message = json.dumps([str(directory), *arguments]).encode()
            socket.send_fds(self._channel, [message], [writing])
        finally:
            os.close(writing)
        started = WarmlyStarted(self._channel, int(self._channel.recv(100)), reading)
        try:
            yield started
        finally:
            started.close()


class WarmlyStarted:
    """A process that runs the command. Standard output goes nowhere."""

    def __init__(self, channel: socket.socket, pid: int, errors: int) -> None:
        self.pid = pid
        self._channel = channel
        self._errors = errors
        self._text = b""
        self._is_awaited = False
        self._code: int | None = None

    def line(self) -> str:
        """The next line of standard error."""
        while b"\n" not in self._text and self._read():
            pass
        line, end, self._text = self._text.partition(b"\n")
        return (line + end).decode()

    def rest(self) -> str:
        """What comes on standard error until nobody is left who could write there."""
        while self._read():
            pass
        text, self._text = self._text, b""
        return text.decode()

    def _read(self) -> bool:
        if not select.select([self._errors], [], [], 3 * TIMEOUT)[0]:
            raise TimeoutError(f"it hangs; so far: {self._text!r}")
        new = os.read(self._errors, 1 << 16)
        self._text += new
        return bool(new)

    def wait(self) -> int:
        """Its exit code; negative where a signal has ended it."""
        if self._code is None:
            if not self._is_awaited:
                self._is_awaited = True
                self._channel.send(b"%d" % self.pid)
            self._code = int(self._channel.recv(100))
        return self._code

    def close(self) -> None:
        """End it, if it has not ended, and whom it has started."""
        if self._code is None:
            os.kill(self.pid, signal.SIGKILL)  # it is there until it has been waited for
            self.wait()
        self.rest()
        os.close(self._errors)


def _serve(channel: socket.socket) -> None:
    import h11  # noqa: F401

    import wsgi_async.cli
    import wsgi_async.flags
    import wsgi_async.launch.parent  # noqa: F401

    gc.freeze()  # else a process that ends copies all that it shares with this one

    while True:
        message, descriptors, _, _ = socket.recv_fds(channel, 1 << 16, 1)
        if not message:
            return
        words = json.loads(message)
        if isinstance(words, int):
            _, status = os.waitpid(words, 0)
            channel.send(b"%d" % os.waitstatus_to_exitcode(status))
            continue
        pid = os.fork()
        if not pid:
            channel.close()
            os.dup2(descriptors[0], 2)
            os.close(descriptors[0])
            _become(*words)
        os.close(descriptors[0])
        channel.send(b"%d" % pid)


def _become(directory: str, *arguments: str) -> NoReturn:
    """What ``python -m wsgi_async`` is in that directory."""
    from wsgi_async import __main__ as module

    os.chdir(directory)
    sys.path[0] = directory
    sys.argv[:] = [module.__file__, *arguments]
    module.main(prog_name="python -m wsgi_async")
    raise AssertionError("the command ends its process")


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))

"""A statsd that keeps what it is sent, by UDP or a unix socket."""

from __future__ import annotations

import re
import socket
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Self

from rawclient import TIMEOUT

__all__ = ["Line", "StatsdReceiver"]

_LINE = re.compile(rb"([!-9;-{}~]+):([^:|\n]+)\|(c|g|h|ms)(\|@1\.0)?(?:\|#([ -{}~]*))?")


class Line(NamedTuple):
    """One value."""

    name: str
    value: float
    kind: str
    tags: str


class StatsdReceiver:
    """Listens, and reads when it is asked to.

    :param where: ``127.0.0.1``, ``::1``, or the path of a socket file to make.
    """

    def __init__(self, where: str | Path = "127.0.0.1", port: int = 0) -> None:
        self.datagrams: list[bytes] = []
        if isinstance(where, Path):
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.bind(str(where))
            self.option = f"unix:{where}"
            return
        family = socket.AF_INET6 if ":" in where else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.bind((where, port))
        self.port = self._socket.getsockname()[1]
        host = f"[{where}]" if ":" in where else where
        self.option = f"{host}:{self.port}"
        """What ``--statsd-host`` takes for it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._socket.close()

    @property
    def lines(self) -> list[Line]:
        """All that were read so far; each is one that statsd understands."""
        found = []
        for raw in b"\n".join(self.datagrams).split(b"\n") if self.datagrams else ():
            match = _LINE.fullmatch(raw)
            assert match is not None, raw
            assert (match[3] == b"c") is (match[4] is not None), raw
            name, kind, tags = (part.decode() for part in (match[1], match[3], match[5] or b""))
            found.append(Line(name, float(match[2]), kind, tags))
        return found

    @property
    def sums(self) -> Counter[str]:
        """Of each counter what it comes to, and of each timer how many values there were."""
        found: Counter[str] = Counter()
        for line in self.lines:
            if line.kind in ("c", "ms"):
                found[line.name] += int(line.value) if line.kind == "c" else 1
        return found

    @property
    def gauges(self) -> dict[str, float]:
        """The last value of each gauge."""
        return {line.name: line.value for line in self.lines if line.kind == "g"}

    def read_until(self, is_enough: Callable[[], object]) -> None:
        """Read until that holds."""
        deadline = time.monotonic() + TIMEOUT
        while not is_enough():
            self._socket.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                self.datagrams.append(self._socket.recv(65536))
            except TimeoutError:
                raise AssertionError(f"no more than {self.lines}") from None

    def read_what_is_there(self) -> None:
        """Read, and wait for nothing."""
        self._socket.setblocking(False)
        while True:
            try:
                self.datagrams.append(self._socket.recv(65536))
            except BlockingIOError:
                return

"""Words between a supervisor and one of its processes.

Up go ``hello PID``, ``ready LOOP``, ``beat``, ``stalled``, ``recycle REASON WHY``, ``deaf``,
``fading`` and ``failed CODE REPORT``, from the process that watches files ``watching`` and
``changed PATH``, and from the operations process ``beat``, ``reload``, ``drain`` and ``scale N``;
down go ``serve``, ``drain``, ``retire``, ``now``, ``report`` and ``renew``. Where one side dies,
the other reads the end: no process outlives its supervisor without knowing, also one that was
killed.
"""

from __future__ import annotations

import contextlib
import socket
from typing import NamedTuple

__all__ = ["Channel", "Word"]

BUFFER = 65536


class Word(NamedTuple):
    """One message."""

    name: str
    detail: str


class Channel:
    """One end, non-blocking. Used by one thread.

    :param sock: an end of a pair of stream sockets.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._received = b""
        self.is_open = True
        """False once the other side is gone."""
        sock.setblocking(False)

    @classmethod
    def pair(cls) -> tuple[Channel, Channel]:
        """Both ends. Neither is inherited by a program that a process starts."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        return cls(ours), cls(theirs)

    def duplicate(self) -> Channel:
        """The same end by another descriptor, for another thread."""
        return Channel(self._sock.dup())

    def fileno(self) -> int:
        return self._sock.fileno()

    def say(self, name: str, detail: str = "") -> bool:
        """Send a word. It is lost where the other side is gone, or has not listened for long.

        :returns: whether it has been sent.
        """
        line = " ".join((name, detail.replace("\\", "\\\\").replace("\n", "\\n")))
        data = line.encode("utf-8", "backslashreplace")[: BUFFER - 1] + b"\n"
        # A blocked process misses what it is told and is killed for not answering.
        with contextlib.suppress(OSError):
            return self._sock.send(data) == len(data)
        return False

    def listen(self) -> list[Word]:
        """The words that have come."""
        try:
            while self.is_open:
                data = self._sock.recv(BUFFER)
                self._received += data
                self.is_open = bool(data)
        except BlockingIOError:
            pass
        except OSError:
            self.is_open = False
        *lines, self._received = self._received.split(b"\n")
        words = []
        for line in lines:
            name, _, detail = line.decode("utf-8", "replace").partition(" ")
            detail = detail.replace("\\\\", "\0").replace("\\n", "\n").replace("\0", "\\")
            words.append(Word(name, detail))
        return words

    def close(self) -> None:
        with contextlib.suppress(OSError):  # the application has closed it
            self._sock.close()

"""``--log-syslog-to``: the logs as messages for a syslog, which nobody waits for.

:class:`logging.handlers.SysLogHandler` waits for a stream that takes nothing, does not connect
again to one that has gone, and looks up a name for each datagram; so here is an
:class:`~wsgi_async.logs.sinks.Outlet` that connects, and connects anew, without a wait. What waits
is bounded as that of any log is. Messages are made in ``logs/syslog_handlers.py``.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from wsgi_async.system.inodes import inode_of
from wsgi_async.system.syslog import SyslogAddress

from .sinks import Outlet, wait_for_any

__all__ = [
    "NAME",
    "Syslog",
]

NAME = "log to syslog"
"""What it is called where lines of it were dropped."""

MAX_HELD = 1024 * 1024
"""Bytes that wait for it, at most."""

AT_ONCE = 64 * 1024
"""Bytes that a stream is given at once."""

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Seconds between two attempts to connect; each pause is twice the one before."""

CONNECT_TIME = 5.0
"""Seconds for one attempt."""

LOOK_UP_EVERY = 30.0
"""Seconds between two looks at what a name means, where it cannot be reached."""


class _Link(enum.Enum):
    """The way to it."""

    CLOSED = enum.auto()
    CONNECTING = enum.auto()
    OPEN = enum.auto()


class _Places:
    """The addresses that a name stands for. To look a name up may take seconds."""

    def __init__(self, address: SyslogAddress) -> None:
        self._address = address
        self._found: list[tuple[int, object]] = []
        self._next = 0
        self._looked_at = 0.0
        self._thread: threading.Thread | None = None
        self.why = ""
        """Why there is none."""

    def next(self) -> tuple[int, object] | None:
        """A family and an address, another one each time where there are more."""
        if self._address.path:
            return socket.AF_UNIX, self._address.path
        found = self._found
        if not found:
            return None
        self._next += 1
        return found[self._next % len(found)]

    def look(self) -> None:
        """*Any thread:* look the name up; this may take a while."""
        address = self._address
        if address.path:
            return
        self._looked_at = time.monotonic()
        try:
            kind = address.kinds[0]
            infos = socket.getaddrinfo(address.host, address.port, type=kind)
        except (OSError, UnicodeError) as error:
            self.why = getattr(error, "strerror", None) or str(error)
        else:
            self._found = [(family, place) for family, _, _, _, place in infos]
            self.why = ""

    def look_later(self) -> None:
        """*Any thread of a process that may have more:* have another one look it up, at times."""
        if self._address.path or time.monotonic() - self._looked_at < LOOK_UP_EVERY:
            return
        if self._thread is None or not self._thread.is_alive():
            self._looked_at = time.monotonic()
            self._thread = threading.Thread(target=self.look, name="wsgi_async-syslog", daemon=True)
            with contextlib.suppress(RuntimeError, MemoryError):  # the next attempt does it
                self._thread.start()


class Syslog(Outlet):
    """A syslog, and the messages that wait for it.

    :param address: where it is.
    :param may_have_threads: whether this process may have one more, for a moment.
    """

    max_held = MAX_HELD

    def __init__(self, address: SyslogAddress, may_have_threads: Callable[[], bool]) -> None:
        super().__init__(NAME)
        self.address = address
        self._may_have_threads = may_have_threads
        self._places = _Places(address)
        self._kinds = address.kinds
        self._socket: socket.socket | None = None
        self._inode: tuple[int, int] | None = None
        self._link = _Link.CLOSED
        self._owner = os.getpid()
        self._pause = FIRST_PAUSE
        self._try_at = 0.0
        self._until = 0.0
        self._why = "it was not reached"
        self._batch = b""
        """What was taken last; `_rest` is what is left of it."""
        self._set_size()

    def look_up(self) -> str:
        """Look its name up, however long that takes. Why it cannot be found; else empty."""
        self._places.look()
        return self._places.why

    @property
    def is_stream(self) -> bool:
        """Whether it is one, as far as is known."""
        return self._kinds[0] == socket.SOCK_STREAM

    def _set_size(self) -> None:
        # A datagram is one message.
        self.largest_write = AT_ONCE if self.is_stream else 0

    @property
    def is_gone(self) -> bool:
        return self._link is _Link.CLOSED

    @property
    def refusal(self) -> str:
        return super().refusal if self._link is _Link.OPEN else self._why

    # --- connecting

    def takes_more(self, timeout: float = 0.0) -> bool:
        self.is_taking = self._is_open(timeout) and wait_for_any([self], timeout)
        return self.is_taking

    def _is_open(self, timeout: float) -> bool:
        if self._owner != os.getpid():  # a fork has it as well: its messages would be among ours
            self._owner = os.getpid()
            self._close()
            self._try_at = 0.0
        if self._link is _Link.OPEN and self.is_stream:
            self._look_for_its_end()
        if self._link is _Link.CLOSED and time.monotonic() >= self._try_at:
            self._begin()
        if self._link is _Link.CONNECTING:
            self._go_on(timeout)
        return self._link is _Link.OPEN

    def _begin(self) -> None:
        place = self._places.next()
        if place is None:
            self._lose(self._places.why)
            return
        for _ in self._kinds:
            error = self._connect(*place)
            if error is None:
                self._link = _Link.OPEN
                return
            if error.errno == errno.EINPROGRESS:
                self._link = _Link.CONNECTING
                self._until = time.monotonic() + CONNECT_TIME
                return
            self._lose(error)
            if error.errno != errno.EPROTOTYPE:
                return
            self._kinds = (*self._kinds[1:], self._kinds[0])  # it is a socket of the other kind
            self._set_size()

    def _connect(self, family: int, address: Any) -> OSError | None:
        made = socket.socket(family, self._kinds[0])
        made.setblocking(False)
        self._socket = made
        self.descriptor = made.fileno()
        self._inode = inode_of(self.descriptor)
        try:
            made.connect(address)
        except OSError as error:
            return error
        return None

    def _go_on(self, timeout: float) -> None:
        assert self._socket is not None
        if not wait_for_any([self], timeout):
            if time.monotonic() > self._until:
                self._lose("it does not answer")
            return
        code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._lose(OSError(code, os.strerror(code)))
        else:
            self._link = _Link.OPEN

    def _look_for_its_end(self) -> None:
        """A stream takes what is written after its end, and says so the next time."""
        assert self._socket is not None
        try:
            if self._socket.recv(4096):
                return
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(error)
        else:
            self._lose("it has closed the connection")
        self._try_at = 0.0  # it may be back already

    def _lose(self, why: OSError | str) -> None:
        """It was not reached, or is not any more. What it has not got waits."""
        self._close()
        self._why = why if isinstance(why, str) else why.strerror or str(why)
        self._try_at = time.monotonic() + self._pause
        self._pause = min(self._pause * 2, LONGEST_PAUSE)
        if self._may_have_threads():
            self._places.look_later()

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket, self.descriptor, self._link = None, -1, _Link.CLOSED
        if self._rest:  # from the beginning of the message that was cut
            sent = len(self._batch) - len(self._rest)
            self._rest = self._batch[self._batch.rfind(b"\n", 0, sent) + 1 :]
            self._has_begun = False

    # --- messages

    def take(self) -> bool:
        has_rest = bool(self._rest)
        if not super().take():
            return False
        if not has_rest:
            self._batch = self._rest
        return True

    def write(self, *, whole: bool = False) -> OSError | None:
        if whole and not self.takes_more(FIRST_PAUSE):
            if self._link is not _Link.CLOSED:
                self._lose(self.refusal)
            self.drop_all()
            return None
        if self._socket is None:
            return None
        try:
            if self.is_stream:
                sent = self._socket.send(self._rest)
            else:
                sent = self._socket.send(self._rest[:-1]) + 1
        except BlockingIOError:
            self.is_taking = False
            return None
        except OSError as error:
            if error.errno == errno.EMSGSIZE:
                self._rest = b""
                return error
            if self.address.path or self.is_stream:
                self._lose(error)
            else:  # nobody has heard the one before; this one was not sent yet
                self.drops.add(1, error.strerror or str(error))
            return None
        self._has_begun = True
        self._pause = FIRST_PAUSE
        self._rest = self._rest[sent:]
        return None

    def drop_all(self) -> None:
        super().drop_all()
        if self._link is _Link.CLOSED:
            self._rest = b""

    def forget(self) -> None:
        super().forget()
        self._batch = b""

    def renew(self) -> None:
        """Connect again where somebody has closed the descriptor."""
        if self._socket is None or inode_of(self.descriptor) == self._inode:
            return
        self._socket.detach()  # its number may have come to mean a file of the application's
        self._socket = None
        self._close()
        self._try_at = 0.0

    def close(self) -> None:
        self._close()

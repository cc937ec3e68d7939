"""HTTP over the control socket. Every answer is an object of JSON, and comes within a deadline."""

from __future__ import annotations

import contextlib
import errno
import http.client
import json
import os
import socket
import stat
import sys
import time
from typing import Any

from .exits import Exit, Failed
from .text import clean

__all__ = ["PATIENCE", "Client"]

PATIENCE = 10.0
"""Seconds for an answer, connecting included, where nothing else is said."""

LARGEST = 64 << 20
"""Bytes of an answer."""

_A_DAY = 86400.0
_RETRY = 0.05
"""Seconds until a connection is tried again where too many wait already."""


class _Socket(socket.socket):
    """A socket of which all reads together have one deadline: however slowly an answer comes, its
    reader does not wait longer."""

    deadline = 0.0

    def recv_into(self, *args: Any, **options: Any) -> int:
        self.settimeout(_remaining(self.deadline))
        return super().recv_into(*args, **options)


def _remaining(deadline: float) -> float:
    """Seconds; TimeoutError where there are none."""
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise TimeoutError
    return remaining


class Client:
    """Asks the server behind a control socket, over a connection of its own each time: whoever
    answered the last time may have been replaced.

    :param path: of the socket; ``@NAME`` is one in Linux's abstract namespace.
    :param patience: seconds for each answer, connecting included; 0 is no limit.
    """

    def __init__(self, path: str, patience: float = PATIENCE) -> None:
        self.path = path
        self.patience = patience or _A_DAY
        self.peer = 0
        """Which process listens there, as the kernel says: the server's parent, or the one that
        answers for it. 0 where that is not known, as where it is in another container."""

    def get(self, target: str, *, patience: float | None = None) -> dict[str, Any]:
        """The answer.

        :param target: path and query.
        :raises Failed: there is none, or it is a refusal.
        """
        return self._ask("GET", target, None, patience)

    def post(
        self, target: str, body: dict[str, object], *, patience: float | None = None
    ) -> dict[str, Any]:
        """The answer to `body`, as :meth:`get`."""
        return self._ask("POST", target, json.dumps(body).encode(), patience)

    def _ask(
        self, method: str, target: str, body: bytes | None, patience: float | None
    ) -> dict[str, Any]:
        patience = self.patience if patience is None else patience
        deadline = time.monotonic() + patience
        try:
            with self._connect(deadline) as sock:
                status, reason, text = _exchange(sock, method, target, body, deadline)
        except TimeoutError:
            raise Failed(
                Exit.LATE,
                f"No answer on {clean(self.path)} within {patience:g} s: the server's operations "
                "process hangs, or starts only now; clients are served all the same. Try again, "
                "or with a longer --timeout",
            ) from None
        except (http.client.RemoteDisconnected, http.client.IncompleteRead):
            raise self._broken() from None
        except (http.client.HTTPException, ValueError) as error:
            raise self._foreign(type(error).__name__) from None
        except OSError as error:
            raise self._unreachable(error) from None
        return self._understood(status, reason, text)

    def _connect(self, deadline: float) -> _Socket:
        sock = _Socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.deadline = deadline
        try:
            path = "\0" + self.path[1:] if self.path.startswith("@") else self.path
            while True:
                sock.settimeout(_remaining(deadline))
                try:
                    sock.connect(path)
                    break
                except BlockingIOError:  # Linux does not wait for a place among those that wait
                    time.sleep(min(_RETRY, _remaining(deadline)))
            self.peer = _peer(sock)
        except BaseException:
            sock.close()
            raise
        return sock

    def _unreachable(self, error: OSError) -> Failed:
        """Why there is nobody, and what to do."""
        path = clean(self.path)
        if error.errno == errno.ENOENT:
            return Failed(
                Exit.UNREACHABLE,
                f"There is no {path}: does the server run, and with --control-socket {path}?",
            )
        if error.errno in (errno.EACCES, errno.EPERM):
            return Failed(
                Exit.REFUSED,
                f"You may not connect to {path}: be root, or {_owner(self.path)}",
            )
        if error.errno in (errno.ECONNREFUSED, errno.ENOTSOCK, errno.EPROTOTYPE):
            if not _is_socket(self.path):
                return Failed(Exit.UNREACHABLE, f"{path} is no socket: see --control-socket")
            return Failed(
                Exit.UNREACHABLE,
                f"Nobody listens on {path}: the server has ended, and left it. Start it again",
            )
        if error.errno in (errno.ECONNRESET, errno.EPIPE):
            return self._broken()
        why = error.strerror or str(error)
        return Failed(Exit.UNREACHABLE, f"Cannot connect to {path}: {clean(why)}")

    def _broken(self) -> Failed:
        return Failed(
            Exit.UNREACHABLE,
            f"The connection to {clean(self.path)} broke before the answer: the operations process "
            "of the server was ended, or replaced by a reload. Try again",
        )

    def _foreign(self, what: str) -> Failed:
        return Failed(
            Exit.UNREACHABLE,
            f"What answers on {clean(self.path)} is no control socket of wsgi_async ({what}): see "
            "--control-socket of the server",
        )

    def _understood(self, status: int, reason: str, text: bytes) -> dict[str, Any]:
        try:
            answer = json.loads(text)
        except (ValueError, RecursionError):
            answer = None
        said = answer.get("error") if isinstance(answer, dict) else None
        if status >= 400 and isinstance(said, str):
            raise Failed(Exit.REFUSED, clean(said))
        if status != 200 or not isinstance(answer, dict):
            raise self._foreign(f"{status} {clean(reason)}" if status != 200 else "no JSON")
        return answer


def _exchange(
    sock: _Socket, method: str, target: str, body: bytes | None, deadline: float
) -> tuple[int, str, bytes]:
    """Status, reason and body of the answer."""
    connection = http.client.HTTPConnection("localhost")
    connection.sock = sock
    fields = {"Accept": "application/json", "Connection": "close"}
    if body is not None:
        fields["Content-Type"] = "application/json"
    sock.settimeout(_remaining(deadline))
    # Who refuses a request may say so without reading all of it.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.request(method, target, body, fields)
    with connection.getresponse() as response:
        text = response.read(LARGEST + 1)
    if len(text) > LARGEST:
        raise ValueError("too large")
    if response.length:  # http.client says nothing of it where it is told how much to read
        raise http.client.IncompleteRead(text, response.length)
    return response.status, response.reason, text


def _peer(sock: socket.socket) -> int:
    """Who called listen(2): unix(7), SO_PEERCRED."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return 0
    # struct ucred: pid, uid, gid; each 32 bits
    return int.from_bytes(sock.getsockopt(socket.SOL_SOCKET, option, 12)[:4], sys.byteorder)


def _is_socket(path: str) -> bool:
    if path.startswith("@"):
        return True
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False


def _owner(path: str) -> str:
    try:
        return f"the user with the number {os.stat(path).st_uid}, whose it is"
    except OSError:
        return "the user who started the server"

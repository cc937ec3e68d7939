"""A load that counts: many clients at once, and no request unaccounted for.

Each request carries a name of its own, and the application has to answer
``PROCESS VERSION NAME``: so a lost answer, a cut one, one of another request and one of another
process are all told apart. A request of which any part was sent, or would have been if the
connection had been had, and that got no complete and correct response, is a failure; nothing is
tried again, and nothing is forgiven.
"""

from __future__ import annotations

import contextlib
import enum
import re
import select
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from encrypted import Encrypted
from rawclient import TIMEOUT, Address

__all__ = ["Failure", "Kind", "Load"]

_STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-5][0-9][0-9]) [^\r\n]*\r\n")
_BODY = re.compile(rb"([0-9]+) ([!-~]+) ([!-~]+)")
_RETRY_PAUSE = 0.02
"""Seconds between a client's failure and its next request."""


class Kind(enum.Enum):
    """How a request failed."""

    NOT_CONNECTED = "no connection"
    CLOSED_IDLE = "its connection was closed while idle, without notice"
    UNASKED = "bytes came before it was sent"
    NO_ANSWER = "the connection ended instead of an answer"
    CUT = "the connection ended within the answer"
    SILENCE = "no answer in time"
    NOT_HTTP = "not an HTTP response with Content-Length"
    WRONG_BODY = "a body that does not answer it"


class Failure(NamedTuple):
    """A request without a complete and correct response."""

    kind: Kind
    name: str
    """The request's."""
    process: int | None
    """The one that answered the request before it on this connection, if one did."""
    at: float
    """When the request began, by ``time.monotonic()``."""
    detail: str


class _Failed(Exception):
    def __init__(self, kind: Kind, detail: str = "") -> None:
        super().__init__(kind, detail)
        self.kind = kind
        self.detail = detail


class Load:
    """Requests without end while the ``with`` block runs; at its end each awaits its answer.

    :param address: of the server.
    :param kept: clients that keep their connection until a response says ``Connection: close``.
    :param fresh: clients that take a new connection for each request.
    :param pauses: seconds between an answer and the next request; client after client takes the
        next of these.
    :param path: what is asked for, ``path?name``.
    :param patience: seconds to wait for an answer.
    :param opening: sent at the beginning of each connection.
    :param tls: the clients' context, to speak TLS.
    """

    def __init__(
        self,
        address: Address,
        *,
        kept: int = 6,
        fresh: int = 3,
        pauses: Sequence[float] = (0.005, 0.02, 0.1),
        path: str = "/",
        patience: float = TIMEOUT,
        opening: bytes = b"",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._address = address
        self._tls = tls
        self._opening = opening
        self._path = path
        self._patience = patience
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self.responses: Counter[int] = Counter()
        """Complete responses, by status."""
        self.processes: Counter[int] = Counter()
        """Those with status 200, by the process that answered."""
        self.versions: Counter[str] = Counter()
        """The same, by the version of the application."""
        self.names: set[str] = set()
        """Of the requests that were answered, with whatever status."""
        self.clients: Counter[str] = Counter()
        """Complete responses, by the client."""
        self.failures: list[Failure] = []
        self.notices = 0
        """Responses that told a client that wanted to stay that its connection closes."""
        clients = [(self._keep, f"kept{number}") for number in range(kept)]
        clients += [(self._renew, f"fresh{number}") for number in range(fresh)]
        self._threads = [
            threading.Thread(
                target=client, args=(name, pauses[number % len(pauses)]), name=name, daemon=True
            )
            for number, (client, name) in enumerate(clients)
        ]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Let each client finish the request it is in."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(self._patience + TIMEOUT)
            assert not thread.is_alive(), thread.name

    # --- What a test asks

    def wait_until(self, condition: Callable[[], object], what: str) -> None:
        """Wait until it holds; it is looked at after each answer and each failure.

        It is called under the lock of the counts.
        """
        with self._changed:
            holds = self._changed.wait_for(condition, 2 * TIMEOUT)
        assert holds, f"not in time: {what}\n{self}"

    def wait_for_more(self, count: int = 50) -> None:
        """Wait for so many more answers."""
        with self._changed:
            wanted = self.responses.total() + count
        self.wait_until(lambda: self.responses.total() >= wanted, f"{count} more answers")

    def wait_for_each(self, count: int = 1) -> None:
        """Wait until each client has had so many more answers."""
        with self._changed:
            wanted = {thread.name: self.clients[thread.name] + count for thread in self._threads}
        self.wait_until(
            lambda: all(self.clients[name] >= least for name, least in wanted.items()),
            f"{count} more answers for each client",
        )

    def wait_for_version(self, version: str, count: int = 1) -> None:
        """Wait until so many answers were given by that version of the application."""
        self.wait_until(lambda: self.versions[version] >= count, f"version {version}")

    def wait_for_processes(self, count: int) -> set[int]:
        """Wait until so many processes in all have answered."""
        self.wait_until(lambda: len(self.processes) >= count, f"{count} processes")
        with self._changed:
            return set(self.processes)

    def seen_from_now(self, count: int = 50) -> set[int]:
        """The processes that give the next so many answers."""
        with self._changed:
            before = self.processes.copy()
        self.wait_for_more(count)
        with self._changed:
            return set(self.processes - before)

    def assert_flawless(self) -> None:
        """Every request that was ever begun had its answer, and each answer was a 200."""
        with self._changed:
            assert not self.failures, str(self)
            assert set(self.responses) == {200}, str(self)

    def __str__(self) -> str:
        lines = [
            f"responses {dict(self.responses)}, by process {dict(self.processes)}, "
            f"by version {dict(self.versions)}; {len(self.failures)} failures"
        ]
        lines += [
            f"{failure.name}: {failure.kind.value} {failure.detail} "
            f"(before: process {failure.process})"
            for failure in self.failures[:20]
        ]
        return "\n".join(lines)

    # --- The clients

    def _keep(self, client: str, pause: float) -> None:
        connection: _Connection | None = None
        number = 0
        while not self._stopping.is_set():
            number += 1
            connection = self._exchange(f"{client}-{number}", connection, stay=True)
            self._stopping.wait(pause if connection is not None else max(pause, _RETRY_PAUSE))
        if connection is not None:
            connection.close()

    def _renew(self, client: str, pause: float) -> None:
        number = 0
        while not self._stopping.is_set():
            number += 1
            self._exchange(f"{client}-{number}", None, stay=False)
            self._stopping.wait(pause)

    def _exchange(
        self, name: str, connection: _Connection | None, *, stay: bool
    ) -> _Connection | None:
        """One request and its answer.

        :returns: the connection, where it may be used again.
        """
        began = time.monotonic()
        process = connection.process if connection is not None else None
        try:
            if connection is None:
                connection = _Connection(self._address, self._patience, self._opening, self._tls)
            else:
                connection.expect_nothing()
            answer = connection.exchange(f"{self._path}?{name}", stay=stay)
            if answer.status == 200:
                who, version = _judge(answer.body, name)
        except _Failed as failed:
            if connection is not None:
                connection.close()
            failure = Failure(failed.kind, name, process, began, failed.detail)
            with self._changed:
                self.failures.append(failure)
                self._changed.notify_all()
            self._stopping.wait(_RETRY_PAUSE)
            return None
        with self._changed:
            self.responses[answer.status] += 1
            self.names.add(name)
            self.clients[name.partition("-")[0]] += 1
            if answer.status == 200:
                connection.process = who
                self.processes[who] += 1
                self.versions[version] += 1
            if stay and answer.closes:
                self.notices += 1
            self._changed.notify_all()
        if stay and not answer.closes:
            return connection
        connection.close()
        return None


def _judge(body: bytes, name: str) -> tuple[int, str]:
    match = _BODY.fullmatch(body)
    if match is None or match[3] != name.encode():
        raise _Failed(Kind.WRONG_BODY, repr(body[:100]))
    return int(match[1]), match[2].decode()


class _Answer(NamedTuple):
    status: int
    body: bytes
    closes: bool


class _Connection:
    """A client's connection; every failure is a :class:`_Failed`."""

    def __init__(
        self, address: Address, patience: float, opening: bytes, tls: ssl.SSLContext | None
    ) -> None:
        self.process: int | None = None
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self._socket: socket.socket | Encrypted
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.settimeout(patience)
        try:
            self._socket.connect(address)
            self._socket.sendall(opening)
            if tls is not None:
                self._socket = Encrypted(self._socket, tls)
        except OSError as error:
            self._socket.close()
            raise _Failed(Kind.NOT_CONNECTED, str(error)) from None
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)

    def close(self) -> None:
        self._socket.close()

    def expect_nothing(self) -> None:
        """The server neither closed the connection nor sent anything since the last answer."""
        # Not MSG_DONTWAIT: Python waits all the same, where a socket has a timeout.
        if not self._poll.poll(0):
            return
        if isinstance(self._socket, Encrypted) and self._socket.is_silent():
            return  # tickets, whose time is the server's to choose
        try:
            data = self._socket.recv(100)
        except OSError as error:
            raise _Failed(Kind.CLOSED_IDLE, str(error)) from None
        raise _Failed(Kind.UNASKED, repr(data)) if data else _Failed(Kind.CLOSED_IDLE)

    def exchange(self, target: str, *, stay: bool) -> _Answer:
        wish = "" if stay else "Connection: close\r\n"
        request = f"GET {target} HTTP/1.1\r\nHost: test\r\n{wish}\r\n".encode("ascii")
        # A server that refuses may answer before it has read: what it says still counts.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._socket.sendall(request)
        received = bytearray()
        while (end := received.find(b"\r\n\r\n")) < 0:
            self._receive(received)
        fields = bytes(received[: end + 2])
        status = _STATUS_LINE.match(fields)
        lengths = re.findall(rb"\r\ncontent-length: ([0-9]+)\r\n", fields, re.IGNORECASE)
        if status is None or len(lengths) != 1:
            raise _Failed(Kind.NOT_HTTP, repr(fields))
        size = end + 4 + int(lengths[0])
        while len(received) < size:
            self._receive(received)
        if len(received) > size:
            raise _Failed(Kind.UNASKED, repr(bytes(received[size:])))
        closes = re.search(rb"\r\nconnection: close\r\n", fields, re.IGNORECASE) is not None
        return _Answer(int(status[1]), bytes(received[end + 4 :]), closes)

    def _receive(self, received: bytearray) -> None:
        try:
            data = self._socket.recv(65536)
        except TimeoutError:
            raise _Failed(Kind.SILENCE, repr(bytes(received[:100]))) from None
        except OSError as error:
            raise _Failed(Kind.CUT if received else Kind.NO_ANSWER, str(error)) from None
        if not data:
            raise _Failed(Kind.CUT if received else Kind.NO_ANSWER, repr(bytes(received[:100])))
        received += data

"""What the operations process asks the others, and how they meet.

Counters and the like need no asking: they are in memory that is shared. But an ``Info`` is only in
the process that has it, and a collector is code. So each process that serves has a thread that
answers; it is no part of the loop, and answers while that is blocked.

The parent makes one pair of datagram sockets before it forks, and looks at neither end. A process
that serves puts one end of a connection of its own into it, for the operations process to take out;
when that is gone, the other end tells it, and it makes the next one. Nobody else has an address to
come by, and who forks whom, and when, does not matter.

A message is JSON behind its length, and has a bound. An answer that comes too late is known by the
number of its question.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from wsgi_async.system.forks import Holding
from wsgi_async.system.inodes import inode_of

__all__ = ["MAX_ANSWER", "Answering", "Asking", "Exchange", "Peer"]

MAX_ANSWER = 4 << 20
"""Bytes of an answer."""

_MAX_QUESTION = 65536
_MAX_PEERS = 1024
_LENGTH = struct.Struct("=I")

_SOONEST, _LATEST = 0.05, 1.0
"""Seconds before the next connection to the operations process, when one was of no use."""

Answer = Callable[[Sequence[str]], dict[str, Any]]
"""Answers a question: by names, what to ask for in this process alone."""


class Exchange:
    """Where processes meet: the parent's, handed down by forks."""

    def __init__(self) -> None:
        self.desk, self.door = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)

    def close(self) -> None:
        for sock in (self.desk, self.door):
            with contextlib.suppress(OSError):
                sock.close()


def _packed(message: object, most: int) -> bytes | None:
    """None where it is too large."""
    data = json.dumps(message).encode()
    return _LENGTH.pack(len(data)) + data if len(data) <= most else None


class Answering:
    """*In a process that serves:* answers, in a thread of its own.

    :param exchange: the parent's.
    :param answer: called in that thread; must raise nothing.
    """

    def __init__(self, exchange: Exchange, answer: Answer) -> None:
        self._exchange = exchange
        self._door = exchange.door
        self._inode = inode_of(self._door.fileno())
        self._answer = answer
        self._sock: socket.socket | None = None
        self._holding = Holding(files=self._files)

    def start(self) -> None:
        """Until this process ends."""
        threading.Thread(target=self._run, name="wsgi_async-metrics", daemon=True).start()

    def _files(self) -> list[socket.socket]:
        """What a process that the application forks is not to have."""
        both = [self._exchange.desk, self._door]
        sock = self._sock
        return both if sock is None else [*both, sock]

    def _run(self) -> None:
        pause = _SOONEST
        while inode_of(self._door.fileno()) == self._inode:  # else the application has closed it
            with contextlib.suppress(OSError):  # no descriptors, for now
                if self._converse():
                    pause = _SOONEST
            time.sleep(pause)
            pause = min(2 * pause, _LATEST)
        self._holding.release()

    def _converse(self) -> bool:
        """Whether anything was asked."""
        ours, theirs = socket.socketpair()
        self._sock = ours
        try:
            try:
                hello = str(os.getpid()).encode()
                socket.send_fds(self._door, [hello], [theirs.fileno()])
            finally:
                theirs.close()
            return self._answer_all(ours)
        finally:
            self._sock = None
            ours.close()

    def _answer_all(self, sock: socket.socket) -> bool:
        was_asked = False
        while True:
            head = _receive(sock, _LENGTH.size)
            if head is None:
                return was_asked
            (length,) = _LENGTH.unpack(head)
            data = _receive(sock, length) if length <= _MAX_QUESTION else None
            if data is None:
                return was_asked
            question = json.loads(data)
            answer = {**self._answer(question["names"]), "number": question["number"]}
            message = _packed(answer, MAX_ANSWER)
            if message is None:
                refusal = {"number": question["number"], "error": "the answer is too large"}
                message = _packed(refusal, MAX_ANSWER)
                assert message is not None
            sock.sendall(message)
            was_asked = True


def _receive(sock: socket.socket, size: int) -> bytes | None:
    """So many bytes; None where it ends before."""
    data = bytearray()
    while len(data) < size:
        more = sock.recv(min(size - len(data), 65536))
        if not more:
            return None
        data += more
    return bytes(data)


class Peer:
    """*In the operations process:* a process that answers.

    :param sock: a connection to it, non-blocking.
    :param pid: which one it says it is.
    """

    def __init__(self, sock: socket.socket, pid: str) -> None:
        self.pid = pid
        self.sock = sock
        self.answer: dict[str, Any] | None = None
        """To the last question."""
        self.is_open = True
        self._received = bytearray()

    def ask(self, number: int, names: Sequence[str]) -> None:
        """Ask it. It is gone, or behind, where that cannot be sent."""
        message = _packed({"number": number, "names": list(names)}, _MAX_QUESTION)
        assert message is not None  # names are options
        self.answer = None
        try:
            self.is_open = self.sock.send(message) == len(message)
        except BlockingIOError:
            pass  # it has not read what it was asked for long
        except OSError:
            self.is_open = False

    def listen(self, number: int) -> None:
        """Take what has come, and the answer to this question if it is there."""
        try:
            while self.is_open:
                data = self.sock.recv(1 << 18)
                self._received += data
                self.is_open = bool(data)
                self._take(number)
        except BlockingIOError:
            pass
        except (OSError, ValueError):  # it says what cannot be an answer
            self.is_open = False

    def _take(self, number: int) -> None:
        while len(self._received) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._received)
            if length > MAX_ANSWER:
                raise ValueError("too large")
            end = _LENGTH.size + length
            if len(self._received) < end:
                return
            answer = json.loads(self._received[_LENGTH.size : end])
            del self._received[:end]
            if not isinstance(answer, dict):
                raise ValueError("no answer")
            if answer.get("number") == number:
                self.answer = answer


class Asking:
    """*In the operations process:* asks all that serve, at once. One thread at a time.

    :param desk: see :class:`Exchange`.
    """

    def __init__(self, desk: socket.socket) -> None:
        desk.setblocking(False)
        self._desk = desk
        self._peers: list[Peer] = []
        self._number = 0

    def ask(self, names: Sequence[str], patience: float) -> list[Peer]:
        """Ask them, and wait for their answers.

        :param names: asked in one of them, the first one. One that owes its answer is the last one
            for the next question.
        :param patience: seconds, at most.
        :returns: those that are there, with or without an answer.
        """
        until = time.monotonic() + patience
        self._number += 1
        self._welcome()
        with selectors.DefaultSelector() as selector:
            for index, peer in enumerate(self._peers):
                peer.ask(self._number, () if index else names)
                if peer.is_open:
                    selector.register(peer.sock, selectors.EVENT_READ, peer)
            while selector.get_map() and (left := until - time.monotonic()) > 0:
                for key, _ in selector.select(left):
                    asked: Peer = key.data
                    asked.listen(self._number)
                    if asked.answer is not None or not asked.is_open:
                        selector.unregister(asked.sock)
        for peer in self._peers:
            if not peer.is_open:
                peer.sock.close()
        found = [peer for peer in self._peers if peer.is_open]
        self._peers = sorted(found, key=lambda peer: peer.answer is None)
        return found

    def close(self) -> None:
        """Leave them: they find the next one."""
        for peer in self._peers:
            peer.sock.close()
        self._peers.clear()

    def _welcome(self) -> None:
        """Take out the connections that processes have put into the desk."""
        while len(self._peers) < _MAX_PEERS:
            try:
                hello, descriptors, _, _ = socket.recv_fds(self._desk, 64, 1)
            except OSError:  # nothing more, above all
                return
            if descriptors:
                sock = socket.socket(fileno=descriptors[0])
                sock.setblocking(False)
                pid = hello.decode("ascii", "replace")
                self._peers.append(Peer(sock, pid))

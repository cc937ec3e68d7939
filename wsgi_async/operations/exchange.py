"""How the operations process and those that serve meet, and how the latter answer.

Counters and the like need no asking: they are in memory that is shared. But which requests are in
flight, and where they hang, only their process knows, and a collector of metrics is code. So each
process that serves has threads that answer; they are no part of the loop, and answer while that is
blocked.

The parent makes one pair of datagram sockets before it forks, and looks at neither end. A process
that serves puts one end of a connection of its own into it, for the operations process to take out;
when that is gone, the other end tells it, and it makes the next one. Nobody else has an address to
come by, and who forks whom, and when, does not matter. Who asks is in :mod:`.asking`.

A message is a number, and JSON behind its length; it has a bound. An answer has the number of its
question, so that several may be asked at once, and one that comes too late is known.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from wsgi_async.system.forks import HasFileno, Holding
from wsgi_async.system.inodes import inode_of

__all__ = ["HEAD", "MAX_ANSWER", "MAX_QUESTION", "Answer", "Answering", "Exchange", "packed"]

MAX_ANSWER = 4 << 20
"""Bytes of an answer."""

MAX_QUESTION = 65536
"""Bytes of a question."""

MAX_WAITING = 16
"""Questions of one kind that wait for the answer to the one before."""

HEAD = struct.Struct("=IQ")
"""What is before each message: how many bytes there are, and the number of the question."""

_SOONEST, _LATEST = 0.05, 1.0
"""Seconds before the next connection to the operations process, when one was of no use."""

Answer = Callable[[Mapping[str, Any]], dict[str, Any]]
"""Answers questions of one kind, given what they say besides. *In a thread of that kind,* one
question after the other."""


class Exchange:
    """Where processes meet: the parent's, handed down by forks."""

    def __init__(self) -> None:
        self.desk, self.door = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)

    def close(self) -> None:
        """This process meets nobody any more. Harmless if repeated."""
        for sock in (self.desk, self.door):
            with contextlib.suppress(OSError):
                sock.close()


def packed(number: int, message: object, most: int) -> bytes | None:
    """A message as it is sent; None where it is too large.

    :param most: bytes of the message.
    """
    data = json.dumps(message).encode()
    return HEAD.pack(len(data), number) + data if len(data) <= most else None


class Answering:
    """*In a process that serves:* answers, in threads of its own.

    :param exchange: the parent's.
    :param number: this process's.
    :param answers: by what is asked, who answers that.
    :param met: called whenever this process is known to the operations process, so that it is
        asked what that asks all from now on: for what was said before.
    """

    def __init__(
        self,
        exchange: Exchange,
        number: int,
        answers: Mapping[str, Answer],
        met: Callable[[], object] = lambda: None,
    ) -> None:
        self._met = met
        self._exchange = exchange
        self._door = exchange.door
        self._inode = inode_of(self._door.fileno())
        self._number = number
        self._kinds = {ask: _Kind(ask, answer) for ask, answer in answers.items()}
        self._open: tuple[socket.socket, ...] = ()
        self._holding = Holding(files=self._files)

    def start(self) -> None:
        """Until this process ends."""
        threading.Thread(target=self._run, name="wsgi_async-answers", daemon=True).start()

    def _files(self) -> list[HasFileno]:
        """What a process that the application forks is not to have."""
        return [self._exchange.desk, self._door, *self._open]

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
        ours, theirs = self._open = socket.socketpair()
        conversation = _Conversation(ours)
        try:
            try:
                hello = json.dumps({"pid": os.getpid(), "number": self._number}).encode()
                socket.send_fds(self._door, [hello], [theirs.fileno()])
            finally:
                theirs.close()
            self._met()
            return self._hear_all(ours, conversation)
        finally:
            conversation.close()
            self._open = ()

    def _hear_all(self, sock: socket.socket, conversation: _Conversation) -> bool:
        was_asked = False
        while True:
            head = _receive(sock, HEAD.size)
            if head is None:
                return was_asked
            length, number = HEAD.unpack(head)
            data = _receive(sock, length) if length <= MAX_QUESTION else None
            if data is None:
                return was_asked
            question = json.loads(data)
            kind = self._kinds.get(question["ask"])
            reply = partial(conversation.reply, number)
            if kind is None:
                reply({"error": "this process knows no such question"})
            elif not kind.put(question, reply):
                reply({"error": "this process has too many such questions to answer"})
            was_asked = True


class _Kind:
    """Questions of one kind: answered one after the other, by a thread that is there while there
    are any. So none waits for one of another kind, which may take a minute."""

    def __init__(self, name: str, answer: Answer) -> None:
        self._name = name
        self._answer = answer
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Mapping[str, Any], Callable[[Any], object]]] = deque()
        self._has_thread = False

    def put(self, question: Mapping[str, Any], reply: Callable[[Any], object]) -> bool:
        """False, and nothing done, where too many wait, or the system gives no thread."""
        with self._lock:
            if len(self._waiting) >= MAX_WAITING:
                return False
            self._waiting.append((question, reply))
            if self._has_thread:
                return True
            self._has_thread = True
        try:
            threading.Thread(target=self._run, name=f"wsgi_async-{self._name}", daemon=True).start()
        except RuntimeError:
            with self._lock:
                self._has_thread = False
                self._waiting.clear()  # it was the only one
            return False
        return True

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._has_thread = False
                    return
                question, reply = self._waiting.popleft()
            try:
                reply(self._answer(question))
            except BaseException as error:  # it may be code of the application
                reply({"error": f"this process could not answer: {error!r:.300}"})


class _Conversation:
    """A connection to the operations process, as those who answer have it. *Any thread.*"""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._lock = threading.Lock()
        """Held while an answer is sent, which may be for long; and while the number of the socket
        is given back."""

    def reply(self, number: int, answer: object) -> None:
        """Answer a question, unless nobody is there any more."""
        message = packed(number, answer, MAX_ANSWER)
        if message is None:
            message = packed(number, {"error": "the answer is too large"}, MAX_ANSWER)
        assert message is not None
        with self._lock, contextlib.suppress(OSError):
            self._sock.sendall(message)

    def close(self) -> None:
        """Whoever is sending is broken off."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        with self._lock:
            self._sock.close()


def _receive(sock: socket.socket, size: int) -> bytes | None:
    """So many bytes; None where it ends before."""
    data = bytearray()
    while len(data) < size:
        more = sock.recv(min(size - len(data), 65536))
        if not more:
            return None
        data += more
    return bytes(data)

"""*In the operations process:* asks those that serve, all at once, as :mod:`.exchange` has it.

Whoever is asked to show something asks in his own thread, and several may at once: one that waits a
minute for its answers holds up no other. A thread of its own takes what the processes send, and
knows by numbers whose it is.
"""

from __future__ import annotations

import contextlib
import json
import selectors
import socket
import threading
import time
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from .exchange import HEAD, MAX_ANSWER, MAX_QUESTION, packed

__all__ = ["Asking", "Reply"]

MAX_PEERS = 1024
"""Processes that are asked."""

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Reply(NamedTuple):
    """What has become of a question to one process."""

    pid: int
    number: int
    answer: dict[str, Any] | None
    """None where it has not come in time."""


class _Peer:
    """A process that answers.

    :param sock: a connection to it, non-blocking.
    :param pid: which one it says it is.
    :param number: its number, as it says.
    """

    def __init__(self, sock: socket.socket, pid: int, number: int) -> None:
        self.sock = sock
        self.pid = pid
        self.number = number
        self.owed = 0
        """Answers that have not come."""
        self._received = bytearray()

    def send(self, message: bytes) -> None:
        """Ask it. It is gone, or behind, where that cannot be sent."""
        try:
            if self.sock.send(message) != len(message):
                self.leave()
            self.owed += 1
        except BlockingIOError:
            self.owed += 1  # it has not read what it was asked for long
        except OSError:
            self.leave()

    def leave(self) -> None:
        """Have nothing to do with it any more: who listens to it finds its end."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)

    def receive(self) -> tuple[list[tuple[int, bytes]], bool]:
        """*Who listens:* the answers that have come, and whether there may be more."""
        answers: list[tuple[int, bytes]] = []
        try:
            while data := self.sock.recv(1 << 18):
                self._received += data
                self._cut(answers)
        except BlockingIOError:
            return answers, True
        except (OSError, ValueError):  # it says what cannot be an answer
            pass
        return answers, False

    def _cut(self, answers: list[tuple[int, bytes]]) -> None:
        while len(self._received) >= HEAD.size:
            length, number = HEAD.unpack_from(self._received)
            if length > MAX_ANSWER:
                raise ValueError("too large")
            end = HEAD.size + length
            if len(self._received) < end:
                return
            answers.append((number, bytes(self._received[HEAD.size : end])))
            del self._received[:end]


class _Question:
    """One that was asked, and what has come of it. With the lock of :class:`Asking` held."""

    def __init__(self, message: bytes, awaited: Collection[int]) -> None:
        self.message = message
        self.awaited = set(awaited)
        """Processes that are to be asked, but are not there yet, by their pids."""
        self.late: set[_Peer] = set()
        """Those that owe an answer to this one."""
        self.answers: dict[_Peer, bytes] = {}

    @property
    def is_open(self) -> bool:
        return bool(self.late or self.awaited)

    def put_to(self, peer: _Peer, message: bytes) -> None:
        self.awaited.discard(peer.pid)
        self.late.add(peer)
        peer.send(message)


class Asking:
    """Asks all processes that serve. *Any thread,* several at once.

    :param desk: see :class:`.Exchange`.
    """

    def __init__(self, desk: socket.socket) -> None:
        desk.setblocking(False)
        self._desk = desk
        self._changed = threading.Condition()
        """With the lock of all that follows. None waits beneath it but by this."""
        self._peers: list[_Peer] = []
        self._newcomers: list[_Peer] = []
        """Those of them that nobody listens to yet."""
        self._questions: dict[int, _Question] = {}
        self._number = 0
        self._is_over = False
        self._wakes, self._waker = socket.socketpair()
        self._wakes.setblocking(False)
        self._waker.setblocking(False)
        self._thread = threading.Thread(
            target=self._listen, name="wsgi_async-listening", daemon=True
        )
        self._thread.start()

    def ask(
        self,
        ask: str,
        arguments: Mapping[str, Any] = _NOTHING,
        *,
        patience: float,
        in_one: Mapping[str, Any] = _NOTHING,
        awaited: Collection[int] = (),
    ) -> list[Reply]:
        """Ask them, and wait for their answers.

        :param ask: what is asked, by which each of them knows who answers it.
        :param arguments: what the question says besides.
        :param patience: seconds, at most.
        :param in_one: what it says in one of them only, the first one. One that owes an answer is
            the last one for this.
        :param awaited: pids of processes that are waited for where they are not there yet: this
            one may just have begun.
        :returns: of each process that is there, in the order of their numbers.
        :raises ValueError: the question is too large.
        """
        until = time.monotonic() + patience
        with self._changed:
            self._number += 1
            number = self._number
            plain, first = (
                packed(number, {**arguments, **more, "ask": ask}, MAX_QUESTION)
                for more in (_NOTHING, in_one)
            )
            if plain is None or first is None:
                raise ValueError("the question is too large")
            self._welcome()
            question = self._questions[number] = _Question(plain, awaited)
            for peer in sorted(self._peers, key=lambda peer: peer.owed > 0):
                question.put_to(peer, first)
                first = plain
            self._changed.wait_for(lambda: not question.is_open, until - time.monotonic())
            del self._questions[number]
        found = [(peer, self._read(peer, data)) for peer, data in question.answers.items()]
        late = [(peer, None) for peer in question.late]
        replies = (Reply(peer.pid, peer.number, answer) for peer, answer in (*found, *late))
        return sorted(replies, key=lambda reply: (reply.number, reply.pid))

    def close(self) -> None:
        """Leave them: they find the next one. Nobody may be asking."""
        self._is_over = True
        self._wake()
        self._thread.join()
        for sock in (self._wakes, self._waker, *(peer.sock for peer in self._peers)):
            sock.close()
        self._peers.clear()

    @staticmethod
    def _read(peer: _Peer, data: bytes) -> dict[str, Any] | None:
        """What an answer says; None where it says nothing, and then its process never will."""
        try:
            answer = json.loads(data)
        except (ValueError, RecursionError):
            answer = None
        if isinstance(answer, dict):
            return answer
        peer.leave()
        return None

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # then it is awake
            self._waker.send(b"x")

    # --- with the lock held --------------------------------------------------------------------

    def _welcome(self) -> None:
        """Take out the connections that processes have put into the desk."""
        while True:
            try:
                hello, descriptors, _, _ = socket.recv_fds(self._desk, 256, 1)
            except OSError:  # nothing more, above all
                return
            for descriptor in descriptors:
                sock = socket.socket(fileno=descriptor)
                peer = self._peer_of(sock, hello)
                if peer is None or len(self._peers) >= MAX_PEERS:
                    sock.close()
                    continue
                self._peers.append(peer)
                self._newcomers.append(peer)
                self._wake()
                for question in self._questions.values():
                    if peer.pid in question.awaited:
                        question.put_to(peer, question.message)

    @staticmethod
    def _peer_of(sock: socket.socket, hello: bytes) -> _Peer | None:
        sock.setblocking(False)
        try:
            said = json.loads(hello)
            return _Peer(sock, int(said["pid"]), int(said["number"]))
        except (LookupError, TypeError, ValueError):
            return None

    def _heard(self, peer: _Peer, answers: list[tuple[int, bytes]], *, is_open: bool) -> None:
        for number, data in answers:
            peer.owed -= 1
            question = self._questions.get(number)
            if question is not None and peer in question.late:
                question.late.remove(peer)
                question.answers[peer] = data
        if not is_open:
            self._peers.remove(peer)
            for question in self._questions.values():
                question.late.discard(peer)
        if answers or not is_open:
            self._changed.notify_all()

    # --- in the thread that listens ------------------------------------------------------------

    def _listen(self) -> None:
        with selectors.DefaultSelector() as selector:
            for sock in (self._desk, self._wakes):
                selector.register(sock, selectors.EVENT_READ)
            while not self._is_over:
                for key, _ in selector.select():
                    if key.fileobj is self._wakes:
                        self._wakes.recv(4096)
                    elif key.data is None:
                        with self._changed:
                            self._welcome()
                    else:
                        self._hear(selector, key.data)
                with self._changed:
                    newcomers, self._newcomers = self._newcomers, []
                for peer in newcomers:
                    selector.register(peer.sock, selectors.EVENT_READ, peer)

    def _hear(self, selector: selectors.BaseSelector, peer: _Peer) -> None:
        answers, is_open = peer.receive()
        if not is_open:
            selector.unregister(peer.sock)
        with self._changed:
            self._heard(peer, answers, is_open=is_open)
        if not is_open:
            peer.sock.close()

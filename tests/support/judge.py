"""h11 as the client of a connection on a fake transport: it reads every byte, and is strict."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import h11

from wsgi_async.testing import FakeTransport

__all__ = ["Answer", "Judge"]


@dataclass
class Answer:
    """One response as h11 read it."""

    status: int = 0
    reason: str = ""
    fields: list[tuple[str, str]] = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)
    continues: int = 0
    hints: list[list[tuple[str, str]]] = field(default_factory=list)
    """The fields of each 103."""
    is_complete: bool = False
    is_truncated: bool = False
    keeps_alive: bool = False

    def __getitem__(self, name: str) -> str | None:
        """The only field of that name."""
        values = self.all(name)
        assert len(values) < 2, f"{name}: {values}"
        return values[0] if values else None

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key == name.lower()]


def _texts(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]


class Judge:
    """h11 as the client of one connection."""

    def __init__(self) -> None:
        self.methods: list[str] = []
        self.answers: list[Answer] = []
        self.has_server = True
        """Whether a response has a field Server."""
        self._h11 = h11.Connection(h11.CLIENT)
        self._seen = 0
        self._asked = 0
        self._eof_seen = False
        self._over = False

    def read(self, transport: FakeTransport) -> None:
        """Take in what is new."""
        new = transport.sent[self._seen :]
        self._seen += len(new)
        if new:
            assert not self._over, f"bytes after the last response: {new!r}"
            self._h11.receive_data(new)
        if transport.has_ended and not self._eof_seen:
            self._eof_seen = True
            self._h11.receive_data(b"")
        while not self._over and self._read_event():
            pass
        assert not (self._h11.our_state is h11.IDLE and self._h11.trailing_data[0]), (
            f"a response that nobody asked for: {self._h11.trailing_data!r}"
        )

    def _read_event(self) -> bool:
        connection = self._h11
        if connection.our_state is h11.IDLE:
            if self._asked == len(self.methods):
                return False
            method = self.methods[self._asked]
            self._asked += 1
            connection.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
            connection.send(h11.EndOfMessage())
            self.answers.append(Answer())
        answer = self.answers[-1]
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError:
            assert self._eof_seen, "not a valid response"
            self._over = True
            if answer.status:
                answer.is_truncated = True
            else:
                self.answers.pop()  # closed instead of an answer
            return False
        if event is h11.NEED_DATA:
            return False
        if isinstance(event, h11.ConnectionClosed):
            self._over = True
            return False
        if isinstance(event, h11.InformationalResponse):
            if event.status_code == 100:
                answer.continues += 1
            else:
                assert (event.status_code, event.reason) == (103, b"Early Hints")
                answer.hints.append(_texts(event.headers))
        elif isinstance(event, h11.Response):
            answer.status = event.status_code
            answer.reason = event.reason.decode("latin-1")
            answer.fields = _texts(event.headers)
        elif isinstance(event, h11.Data):
            answer.body += event.data
        else:
            assert isinstance(event, h11.EndOfMessage)
            answer.is_complete = True
            answer.keeps_alive = "close" not in answer.all("connection")
            assert len(answer.all("date")) == 1
            assert len(answer.all("server")) == self.has_server
            if answer.keeps_alive:
                connection.start_next_cycle()
            else:
                self._over = True
                assert not connection.trailing_data[0], "bytes after the last response"
        return True

"""A front server of any of the protocols on fake transports: a connection for each request."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any, NamedTuple, cast

from fastcgi_peer import PARAMS, STDIN, Record, Responses, begin, pair, write
from front_servers import BEGINNINGS
from wire import Site

from wsgi_async.connection.gateway_protocol import GatewayProtocol, Speech
from wsgi_async.connection.states import ConnectionState
from wsgi_async.system.spoken import Spoken
from wsgi_async.testing import FakeTransport

__all__ = ["Ended", "Front", "encode"]


def encode(name: str, said: Iterable[tuple[bytes, bytes]], body: bytes = b"") -> bytes:
    """A request with these variables, the same name perhaps several times, as they are.

    :param name: of the protocol: uwsgi, scgi or fastcgi.
    """
    if name == "uwsgi":
        parts = [part for named in said for part in named]
        block = b"".join([struct.pack("<H", len(part)) + part for part in parts])
        return b"\0" + struct.pack("<H", len(block)) + b"\0" + block + body
    if name == "scgi":
        block = b"".join([part + b"\0" for named in said for part in named])
        return b"%d:%s," % (len(block), block) + body
    content = b"".join([pair(*named) for named in said])
    records = [begin(flags=0)]
    for kind, stream in ((PARAMS, content), (STDIN, body)):
        records += [Record(kind, 1, stream[at : at + 65535]) for at in range(0, len(stream), 65535)]
        records.append(Record(kind, 1))
    return write(records)


class Ended(NamedTuple):
    """What a connection has come to."""

    statuses: tuple[int, ...] = ()
    """Of its answers: one, or none."""
    dropped: tuple[str, ...] = ()
    """Lines of the log."""
    called: tuple[Any, ...] = ()
    """What the application has noted of each request."""


class Front:
    """A front server's connections to a site, one after another.

    :param name: of the protocol: uwsgi, scgi or fastcgi.
    :param calls: what the application notes of its requests.
    """

    def __init__(self, name: str, site: Site, calls: list[Any]) -> None:
        self.site = site
        self.name = name
        self._calls = calls
        self._speech = Speech(site.connections, Spoken[name.upper()])

    def send(self, *pieces: bytes, ends: bool = True) -> Ended:
        """A connection, which brings these bytes; the front server ends its side after them, if
        that is said, and waits for the answer."""
        return self.said(*pieces, ends=ends)[0]

    def said(self, *pieces: bytes, ends: bool = True) -> tuple[Ended, bytes]:
        """Likewise, with all that has come back."""
        site, recorder = self.site, self.site.observer
        lines, calls = len(recorder.dropped), len(self._calls)
        loop = cast("Any", site.loop)
        protocol = GatewayProtocol(site.connections, loop, ("127.0.0.1", 5), self._speech)
        transport = FakeTransport(loop, protocol, peername=("127.0.0.1", 5))
        for piece in filter(None, pieces):
            transport.receive(piece)
        if ends:
            transport.receive_eof()
        site.settle()
        assert recorder.errors == [], recorder.errors
        ended = Ended(
            self._statuses(transport.sent),
            tuple(recorder.dropped[lines:]),
            tuple(self._calls[calls:]),
        )
        if ends or ended.statuses or ended.dropped:
            is_ending = protocol.state is ConnectionState.LINGERING
            assert transport.is_closing() or transport.is_lost or is_ending
        sent = bytes(transport.sent)
        transport.reset()
        site.settle()
        assert not site.connections.open
        return ended, sent

    def _statuses(self, sent: bytes) -> tuple[int, ...]:
        if self.name != "fastcgi":
            beginning = BEGINNINGS[self.name]
            assert not sent or sent.startswith(beginning), sent
            return (int(sent[len(beginning) :][:3]),) if sent else ()
        responses = Responses()
        responses.take(sent)
        assert responses.is_between_records
        assert not responses.open
        return tuple([ended.status for _, ended in responses.ended if ended.stdout])

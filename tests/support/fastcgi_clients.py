"""Front servers of FastCGI: on fake transports with the test as the loop, and on sockets."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any, cast

from fastcgi_peer import Ended, Record, Responses, request, write
from rawclient import TIMEOUT
from wire import Client, Site

from wsgi_async.connection.gateway_protocol import GatewayProtocol, Speech
from wsgi_async.connection.life import ConnectionState
from wsgi_async.system.spoken import Spoken
from wsgi_async.testing import FakeTransport

__all__ = ["FakeFront", "Front"]


class FakeFront:
    """One connection of a front server to a :class:`Site`; in the place of :class:`Client`."""

    def __init__(self, site: Site, **transport: Any) -> None:
        self.site = site
        self.responses = Responses()
        self.answers: list[Any] = []
        """Of the other protocol, whose judge has nothing to say here."""
        self._seen = 0
        peer = transport.setdefault("peername", ("127.0.0.1", 50312))
        speech = Speech(site.connections, Spoken.FASTCGI)
        self.protocol = GatewayProtocol(site.connections, cast("Any", site.loop), peer, speech)
        self.transport = FakeTransport(site.loop, self.protocol, **transport)
        site.clients.append(cast("Client", self))
        site.tick()  # its heads have a Date from now on

    def send(self, records: Sequence[Record]) -> None:
        self.transport.receive(write(records))

    @property
    def ended(self) -> list[tuple[int, Ended]]:
        """The requests that have been answered."""
        self._read()
        return self.responses.ended

    @property
    def open(self) -> dict[int, Ended]:
        """Those of which something has been said."""
        self._read()
        return self.responses.open

    def _read(self) -> None:
        new = self.transport.sent[self._seen :]
        self._seen += len(new)
        self.responses.take(new)

    def wait(self, count: int = 1) -> Ended:
        """The answer of that number, once it is complete."""
        self.site.loop.run_until(lambda: len(self.ended) >= count)
        return self.ended[count - 1][1]

    def ask(self, *args: Any, **kwargs: Any) -> Ended:
        """One request, see :func:`request`, and its answer."""
        count = len(self.ended) + 1
        self.send(request(*args, **kwargs))
        return self.wait(count)

    @property
    def state(self) -> ConnectionState:
        return self.protocol.state


class Front:
    """One connection of a front server to a real server."""

    def __init__(self, address: tuple[str, int] | str) -> None:
        self.responses = Responses()
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.socket = socket.socket(family)
        self.socket.settimeout(TIMEOUT)
        self.socket.connect(address)

    def __enter__(self) -> Front:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.socket.close()

    def send(self, records: Sequence[Record]) -> None:
        self.socket.sendall(write(records))

    def wait(self, count: int = 1) -> Ended:
        """The answer of that number, once it is complete."""
        while len(self.responses.ended) < count:
            assert self.take(), "the connection has ended"
        return self.responses.ended[count - 1][1]

    def take(self) -> bytes:
        """What comes next; nothing at the connection's end."""
        data = self.socket.recv(1 << 16)
        self.responses.take(data)
        return data

    def ask(self, *args: Any, **kwargs: Any) -> Ended:
        """One request, see :func:`request`, and its answer."""
        count = len(self.responses.ended) + 1
        self.send(request(*args, **kwargs))
        return self.wait(count)

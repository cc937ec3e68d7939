"""A connection that a proxy has introduced before its first byte: who the client is. On the loop.

What the proxy wrote, and how that is read, is not known here.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from wsgi_async.wsgi.environ import client_name, remote_address

from .connections import Connections, Phase
from .life import or_ends
from .open_connection import OpenConnection
from .protocol import HTTPProtocol

__all__ = ["MOMENT", "IntroducedProtocol", "Introduction"]

MOMENT = 1.0
"""Seconds that a server which ends waits for the request on a connection whose introduction was
under way."""


class Introduction(NamedTuple):
    """What a proxy says of a connection."""

    source: object
    """The client's address, in the form of accept(2)."""
    local: object = None
    """The address that the client has connected to, in the form of ``getsockname``. None: the
    socket's own."""
    variables: dict[str, object] = {}
    """What else the requests find in their environ."""
    place: OpenConnection | None = None
    """Who stands for the connection among the open ones, until its protocol does."""


class IntroducedProtocol(HTTPProtocol):
    """One HTTP/1.1 connection whose client is not at the other end of the socket.

    :param peer: who is, as accept(2) returned it.
    """

    __slots__ = ("_introduction", "_peer", "is_welcome")

    def __init__(
        self,
        shared: Connections,
        loop: asyncio.AbstractEventLoop,
        peer: object,
        introduction: Introduction,
    ) -> None:
        super().__init__(shared, loop, peer)
        self._introduction: Introduction | None = introduction  # until connection_made
        address = self.remote_addr
        self._peer = client_name(address, self.remote_port)
        if introduction.source is not peer:
            self.remote_addr, self.remote_port = remote_address(introduction.source)
            self._proxy_fields = shared.proxy_fields(address, self.remote_addr)
        # While a server drains, whoever was being introduced already may still ask.
        self.is_welcome = introduction.place is not None

    @or_ends
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        shared, introduction = self._shared, self._introduction
        assert introduction is not None
        self._introduction = None  # a header may be long, and a connection live for days
        if introduction.place is not None:
            shared.open.discard(introduction.place)
            shared.refused.discard(introduction.place)
        super().connection_made(transport)
        own = self.server_variables
        if introduction.local is not None:
            own = shared.variables_at(introduction.local)
        self.server_variables = {
            **own,
            **introduction.variables,
            "wsgi_async.peer": self._peer,
        }
        if shared.phase is Phase.DRAINING:
            shared.waits.shorten(MOMENT)

"""A connection of which something is known before its first request: on the loop.

Who the client is, where a proxy has said so, and what a TLS handshake has told. How that is read is
not known here.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from wsgi_async.errors import HTTPError
from wsgi_async.http.request import RequestHead
from wsgi_async.wsgi.environ import client_name, remote_address

from .connections import Connections, Phase
from .life import or_ends
from .open_connection import OpenConnection
from .protocol import HTTPProtocol

__all__ = ["MOMENT", "IntroducedProtocol", "Introduction", "MisdirectedProtocol"]

MOMENT = 1.0
"""Seconds that a server which ends waits for the request on a connection whose introduction was
under way."""


class Introduction(NamedTuple):
    """What is known of a connection."""

    source: object
    """The client's address, in the form of accept(2)."""
    local: object = None
    """The address that the client has connected to, in the form of ``getsockname``. None: the
    socket's own."""
    variables: dict[str, object] | None = None
    """What a proxy has said besides. None: there was none."""
    tls: tuple[tuple[str, object], ...] = ()
    """What the handshake of our own TLS has told, if there was one. Of names that a proxy has told
    as well, these hold."""
    place: OpenConnection | None = None
    """Who stands for the connection among the open ones, until its protocol does."""


class IntroducedProtocol(HTTPProtocol):
    """One HTTP/1.1 connection which has begun before its first request.

    :param peer: the address of the socket's other end, as accept(2) returned it.
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
        self._peer = peer
        if introduction.source is not peer:
            address = self.remote_addr
            self.remote_addr, self.remote_port = remote_address(introduction.source)
            self._proxy_fields = shared.proxy_fields(address, self.remote_addr)
        # While a server drains, who had begun already may still ask.
        self.is_welcome = introduction.place is not None

    @or_ends
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        shared, introduction = self._shared, self._introduction
        assert introduction is not None
        self._introduction = None  # a header may be long, and a connection live for days
        if introduction.place is not None:
            shared.replaced(introduction.place)
        super().connection_made(transport)
        self.server_variables = self._variables(introduction, transport)
        if shared.phase is Phase.DRAINING:
            shared.waits.shorten(MOMENT)

    def _variables(
        self, introduction: Introduction, transport: asyncio.BaseTransport
    ) -> dict[str, object]:
        local, tls = introduction.local, introduction.tls
        if local is None:
            local = transport.get_extra_info("sockname")
        own = self._shared.variables_at(local, tls)
        said = introduction.variables
        if said is None:
            return own
        if tls:  # what the proxy knows of its client's TLS is not to be mixed with what we know
            said = {name: said[name] for name in said if not name.startswith(("SSL_", "HTTPS"))}
        peer = client_name(*remote_address(self._peer))
        return {**own, **said, **dict(tls), "wsgi_async.peer": peer}


class MisdirectedProtocol(IntroducedProtocol):
    """A connection in plain HTTP to a port that speaks HTTPS."""

    __slots__ = ()

    def _begin(self, head: RequestHead) -> None:
        shared = self._shared
        self._exchange = shared.gateway.exchange(shared.gateway, self, head, self._loop.time())
        raise HTTPError(400, "This is plain HTTP, and this port speaks HTTPS: ask for https://")

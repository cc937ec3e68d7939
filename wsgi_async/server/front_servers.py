"""Web servers in front that speak uwsgi, SCGI or FastCGI: who may, and their connections.

Whoever speaks these says who the client is, and as whom it has logged in. So they are known by
their address, and others are closed before anything is read from them. On the loop.
"""

from __future__ import annotations

import asyncio
import functools
import socket

from wsgi_async.connection.connections import Connections
from wsgi_async.connection.gateway_protocol import GatewayProtocol, Speech
from wsgi_async.proxies.trust import PeerSet
from wsgi_async.system.spoken import Spoken
from wsgi_async.wsgi.environ import client_name, remote_address

from .acceptor import MakeProtocol

__all__ = ["FrontServers"]


class FrontServers:
    """The front servers of a server.

    :param loop: uvloop's or asyncio's own.
    :param shared: what all connections of the server share.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, shared: Connections) -> None:
        self._loop = loop
        self._shared = shared
        # A unix socket has permissions that say who may.
        named = (*shared.config.uwsgi_allow_from, "unix")
        self._allowed = PeerSet(named, flag="--uwsgi-allow-from")
        self._speeches: dict[Spoken, Speech] = {}

    def begin(self, spoken: Spoken, connection: socket.socket, peer: object) -> MakeProtocol | None:
        """What makes the protocol of a connection that was accepted. None: it is closed.

        :param spoken: what is spoken on it.
        :param peer: its address, as accept(2) returned it.
        """
        address = remote_address(peer)
        if address[0] not in self._allowed:
            connection.close()
            self._shared.gateway.observer.connection_dropped(
                client_name(*address),
                f"--uwsgi-allow-from does not name its address, and it is a {spoken.title} port",
            )
            return None
        speech = self._speeches.get(spoken)
        if speech is None:
            self._speeches[spoken] = speech = Speech(self._shared, spoken)
        return functools.partial(GatewayProtocol, self._shared, self._loop, peer, speech)

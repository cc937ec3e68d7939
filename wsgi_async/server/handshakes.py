"""Connections whose TLS handshake is not over: they stand among the open ones as others do.

What a handshake has told is in the environ of the connection's requests. Who speaks plain HTTP here
is told so, in a response of HTTP; why a handshake has failed is told the operator.
"""

from __future__ import annotations

import asyncio

from wsgi_async.connection.connections import Connections, Phase
from wsgi_async.connection.introduction import (
    IntroducedProtocol,
    Introduction,
    MisdirectedProtocol,
)
from wsgi_async.tls.current import CurrentContexts
from wsgi_async.tls.facts import facts_of
from wsgi_async.tls.transport import TLSTransport
from wsgi_async.wsgi.environ import client_name, remote_address

from .beginning import Beginning, BeginningState

__all__ = ["Handshake", "Handshakes"]


class Handshakes:
    """TLS on the connections of a server. *Loop.*

    :param loop: uvloop's or asyncio's own.
    :param shared: what all connections of the server share.
    :param current: has the context for each new connection.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, shared: Connections, current: CurrentContexts
    ) -> None:
        self._loop = loop
        self._shared = shared
        self._current = current

    def begin(self, peer: object, introduction: Introduction | None = None) -> TLSTransport:
        """The protocol of a new connection's plain transport.

        :param peer: its address, as accept(2) returned it.
        :param introduction: what a proxy has said before.
        """
        introduction = introduction or Introduction(peer)
        handshake = Handshake(self._shared, self._loop, peer, introduction)
        return TLSTransport(self._loop, self._current.context, handshake)


class Handshake(Beginning):
    """One of them. The transport's ``Owner``.

    :param peer: the address of the socket's other end.
    """

    __slots__ = ("_introduction", "_peer", "_transport")

    def __init__(
        self,
        shared: Connections,
        loop: asyncio.AbstractEventLoop,
        peer: object,
        introduction: Introduction,
    ) -> None:
        super().__init__(shared, loop)
        self._peer = peer
        self._introduction = introduction
        self._transport: asyncio.Transport | None = None

    # --- called by the transport -----------------------------------------------------------------

    def connection_begins(self, transport: TLSTransport) -> None:
        """See ``tls.transport.Owner``, and so for all of these."""
        self._transport = transport
        place = self._introduction.place
        if place is not None:
            self.shared.replaced(place)
        self.join()
        if self.shared.phase is Phase.DRAINING and place is None:
            self.end()

    def handshake_begins(self) -> None:
        if self.state is BeginningState.SILENT:
            self._enter(BeginningState.BEGUN)

    def handshake_done(self, transport: TLSTransport) -> asyncio.Protocol:
        facts = facts_of(transport.get_extra_info("ssl_object"))
        return self._give_way(IntroducedProtocol, self._introduction._replace(tls=facts))

    def without_tls(self, plain: asyncio.Transport) -> asyncio.Protocol:
        return self._give_way(MisdirectedProtocol, self._introduction)

    def _give_way(
        self, make: type[IntroducedProtocol], introduction: Introduction
    ) -> IntroducedProtocol:
        introduction = introduction._replace(place=self)
        protocol = make(self.shared, self.loop, self._peer, introduction)
        self._enter(BeginningState.OVER)
        self._transport = None
        return protocol

    def handshake_failed(self, why: str) -> None:
        is_ours = self.state is BeginningState.OVER
        if not is_ours:
            self._enter(BeginningState.OVER)
        self._transport = None
        self.shared.forget(self)
        if why and not is_ours:
            self._tell(f"its TLS handshake has failed: {why}")

    def _tell(self, why: str) -> None:
        source = client_name(*remote_address(self._introduction.source))
        self.shared.gateway.observer.connection_dropped(source, why)

    # --- its ends --------------------------------------------------------------------------------

    def end(self) -> None:
        """See :class:`Beginning`."""
        if self.state is not BeginningState.OVER:
            self._enter(BeginningState.OVER)
            if self._transport is not None:
                self._transport.abort()

    def late(self) -> None:
        """See :class:`Beginning`."""
        self._tell("its TLS handshake was not complete in time")
        self.end()

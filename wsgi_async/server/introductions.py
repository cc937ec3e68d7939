"""Who may introduce a client, and what they say: the PROXY protocol in the terms of a connection.

Loop-owned, no I/O.
"""

from __future__ import annotations

from wsgi_async.config.options import Config
from wsgi_async.connection.introduction import Introduction
from wsgi_async.proxies.proxy_protocol import MOST, BadHeader, Versions, read_header
from wsgi_async.proxies.proxy_variables import proxy_variables
from wsgi_async.proxies.trust import PeerSet
from wsgi_async.wsgi.environ import remote_address

__all__ = ["Introductions", "Unwelcome"]


class Unwelcome(Exception):
    """A connection cannot go on.

    :param why: a line for the log; "" where there is nothing to say.
    """


class Introductions:
    """The PROXY protocol, as the options have it.

    :param config: the options.
    """

    most = MOST
    """Bytes of a header at most."""

    def __init__(self, config: Config) -> None:
        self._versions = Versions(config.proxy_protocol)
        self._allowed = PeerSet(config.proxy_allow_from, flag="--proxy-allow-from")

    def admit(self, peer: object) -> None:
        """Let a peer begin.

        :param peer: its address, as accept(2) returned it.
        :raises Unwelcome: it is not one that may say who its client is.
        """
        if remote_address(peer)[0] not in self._allowed:
            raise Unwelcome("--proxy-allow-from does not name its address")

    def read(self, data: bytes, peer: object) -> tuple[int, Introduction] | None:
        """What a header says, with its size. None where more must come: `data` is all header.

        :param data: all since the connection began.
        :param peer: who says it.
        :raises Unwelcome: it is none.
        """
        try:
            header = read_header(data, self._versions)
        except BadHeader as error:
            what = "no PROXY header came first" if error.is_missing else "its PROXY header is bad"
            raise Unwelcome(f"{what}: {error}") from None
        if header is None:
            return None
        source = peer if header.source is None else header.source
        local = header.destination if isinstance(header.destination, tuple) else None
        return header.size, Introduction(source, local, proxy_variables(header))

    def cut(self, size: int) -> str:
        """What to say of one that has ended its side."""
        return f"its PROXY header ended after {size} bytes"

    def late(self, size: int) -> str:
        """What to say of one that takes too long."""
        return f"its PROXY header was not complete in time: {size} bytes have come"

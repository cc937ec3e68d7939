"""A context that a program has made itself, in the place of files. Any thread."""

from __future__ import annotations

import socket
import ssl

from wsgi_async.errors import ConfigError

from .contexts import ALPN, Contexts

__all__ = ["GivenContext", "wrapped_with"]


class GivenContext:
    """What is in force where a program gives an :class:`ssl.SSLContext` of its own: that, as long
    as the server runs. What the program changes in it holds for new connections.

    :param context: for a server; it has a certificate. Its ALPN is set: HTTP/1.1 is what is spoken.
        Renegotiation and compression are off.
    :raises ConfigError: it is none.
    """

    def __init__(self, context: object) -> None:
        if not isinstance(context, ssl.SSLContext):
            raise ConfigError(f"a context for TLS is an ssl.SSLContext, not {context!r}")
        if context.protocol is ssl.PROTOCOL_TLS_CLIENT:
            raise ConfigError(
                "this context for TLS is a client's: make it by "
                "ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)"
            )
        context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
        context.set_alpn_protocols(ALPN)
        self.contexts = Contexts(context, ())

    def look(self, *, asked: bool = False) -> bool:
        """There are no files to look at."""
        return False


def wrapped_with(sock: socket.socket) -> GivenContext | None:
    """The context of a listening socket that was wrapped: ``context.wrap_socket(sock,
    server_side=True)``; None of one that was not."""
    return GivenContext(sock.context) if isinstance(sock, ssl.SSLSocket) else None

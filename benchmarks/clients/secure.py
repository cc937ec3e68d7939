"""TLS for the clients: 1.3, with whatever certificate, and without going on with old sessions."""

from __future__ import annotations

import socket
import ssl

__all__ = ["UNREADY", "context", "secured"]

UNREADY = (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError)
"""What says that a connection that never blocks has nothing now."""


def context() -> ssl.SSLContext:
    """A client's. The certificate was made for the measurement, and nobody vouches for it; a client
    that goes on with no session is given a full handshake each time."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    return made


def secured(sock: socket.socket, made: ssl.SSLContext) -> ssl.SSLSocket:
    """The connection over TLS, after its handshake, within its timeout.

    :raises OSError: there is none; `sock` is closed.
    """
    try:
        return made.wrap_socket(sock)
    except BaseException:
        sock.close()
        raise

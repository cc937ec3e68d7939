"""Where uWSGI listens and what it speaks there, as addresses of ``--bind``: ``socket`` and its
relatives, in a file and on the command line.
"""

from __future__ import annotations

import os

from wsgi_async.errors import ConfigError

__all__ = [
    "DEFAULT_PROTOCOL",
    "REFUSED",
    "SOCKETS",
    "address",
    "is_reached_from_afar",
    "protocol_of",
]

SOCKETS: dict[str, str] = {
    "socket": "",
    "uwsgi-socket": "uwsgi",
    "fastcgi-socket": "fastcgi",
    "scgi-socket": "scgi",
    "http": "http",
    "http-socket": "http",
    "http11-socket": "http",
}
"""uWSGI's option: what is spoken there; "" where its option ``protocol`` says it."""

DEFAULT_PROTOCOL = "uwsgi"

_PROTOCOLS: dict[str, str] = {
    "fastcgi": "fastcgi",
    "http": "http",
    "http11": "http",
    "scgi": "scgi",
    "uwsgi": "uwsgi",
}
"""What uWSGI's ``protocol`` may be: our word for it."""

REFUSED: dict[str, str] = {
    "fastcgi-nph-socket": "its answers begin with Status here: write fastcgi-socket = {value}",
    "puwsgi-socket": "a connection of the uwsgi protocol has one request: write socket = {value}",
    "raw-socket": "there are no requests of a protocol of one's own here",
    "scgi-nph-socket": "its answers begin with Status here: write scgi-socket = {value}",
    "shared-socket": "write http-socket = ADDRESS",
    "ssl-socket": "it speaks the uwsgi protocol, which is without TLS here: write "
    "https-socket = {value}",
    "suwsgi-socket": "it speaks the uwsgi protocol, which is without TLS here: write "
    "https-socket = {value}",
}
"""Sockets that there are none of here, and what to write instead."""

_NEAR = ("127.0.0.1", "localhost", "[::1]")


def protocol_of(value: str) -> str:
    """What uWSGI's option ``protocol`` comes to.

    :returns: ``uwsgi``, ``fastcgi``, ``scgi`` or ``http``.
    :raises ConfigError: it is none that is spoken here.
    """
    found = _PROTOCOLS.get(value)
    if found is None:
        raise ConfigError(f"expected uwsgi, http, fastcgi or scgi, not {value!r}")
    return found


def address(value: str, protocol: str, directory: str = "") -> str:
    """The address as ``--bind`` takes it; with no scheme for HTTP.

    :param value: ``HOST:PORT``, ``:PORT``, ``@NAME``, ``fd://N``, else the path of a socket file.
    :param protocol: one of those of :func:`protocol_of`.
    :param directory: what a relative path is relative to.
    """
    if value.startswith("fd://"):
        found = value
    elif value.startswith("@"):
        found = f"unix:{value}"
    elif "/" in value or ":" not in value:
        found = f"unix:{os.path.join(directory, value)}"
    elif protocol == "http":
        return value
    else:
        return f"{protocol}://{value}"
    return found if protocol == "http" else f"{protocol}+{found}"


def is_reached_from_afar(value: str) -> bool:
    """Whether other machines can connect to such an address."""
    host, colon, _ = value.rpartition(":")
    return bool(colon) and "/" not in value and value[:1] != "@" and host not in _NEAR

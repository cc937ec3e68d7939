"""Where a syslog is, and what it calls its messages."""

from __future__ import annotations

import os
import re
import socket
import sys
from typing import NamedTuple

from .sockets import UNIX_PATH_MAX

__all__ = ["DEFAULT_SYSLOG", "FACILITIES", "SyslogAddress", "is_syslog_address", "syslog_address"]

DEFAULT_SYSLOG = "unix:///var/run/syslog" if sys.platform == "darwin" else "udp://localhost:514"
"""gunicorn's default."""

PORT = 514

_NAMES = "kern user mail daemon auth syslog lpr news uucp cron authpriv ftp"
FACILITIES = {
    **{name: number for number, name in enumerate(_NAMES.split())},
    **{f"local{number}": 16 + number for number in range(8)},
}
"""Name: number (RFC 5424 §6.2.1, in the names of syslog(3))."""

_REMOTE = re.compile(r"(udp|tcp)://(?:\[([0-9A-Fa-f:.]+)\]|([^][:/#?\s]*))(?::([0-9]{1,5}))?/?")
_LOCAL = re.compile(r"unix:(?://)?([^#]+?)(?:#(dgram|stream))?")


class SyslogAddress(NamedTuple):
    """Where to send messages."""

    host: str
    port: int
    path: str
    """Of a unix socket; empty for one of a network, which has host and port."""
    kinds: tuple[socket.SocketKind, ...]
    """Which to try, in this order."""

    def __str__(self) -> str:
        if self.path:
            return self.path
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def syslog_address(text: str) -> SyslogAddress:
    """From ``udp://HOST:PORT``, ``tcp://HOST:PORT``, ``unix:PATH`` or ``unix://PATH``, the latter
    with ``#dgram`` or ``#stream`` where that matters; as gunicorn has them.

    :raises ValueError: it is none of these.
    """
    if match := _LOCAL.fullmatch(text):
        if "\0" in text or len(os.fsencode(match[1])) > UNIX_PATH_MAX:
            raise ValueError(text)
        named = {"dgram": socket.SOCK_DGRAM, "stream": socket.SOCK_STREAM}
        kinds = (named[match[2]],) if match[2] else tuple(named.values())
        return SyslogAddress("", 0, match[1], kinds)
    if match := _REMOTE.fullmatch(text):
        kind = socket.SOCK_DGRAM if match[1] == "udp" else socket.SOCK_STREAM
        port = int(match[4] or PORT)
        if 0 < port < 65536:
            return SyslogAddress((match[2] or match[3] or "localhost").lower(), port, "", (kind,))
    raise ValueError(text)


def is_syslog_address(text: str) -> bool:
    """Whether it is one, or empty."""
    try:
        return not text or syslog_address(text) is not None
    except ValueError:
        return False

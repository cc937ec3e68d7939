"""What the options about statsd take: an address that datagrams go to, and text that is put into
each of its lines, and may not end one."""

from __future__ import annotations

import re

from wsgi_async.errors import ConfigError
from wsgi_async.system.sockets import Address, parse_address

__all__ = [
    "PREFIX_TAKES",
    "TAGS_TAKE",
    "TAKES",
    "are_tags",
    "is_prefix",
    "is_statsd_address",
    "statsd_address",
]

PORT = 8125
"""statsd's, where an address has none."""

TAKES = "an address such as 127.0.0.1:8125, statsd.example.org, [::1]:8125 or unix:/run/statsd.sock"
PREFIX_TAKES = "up to 200 printable ASCII characters without : and |, such as shop.web"
TAGS_TAKE = "up to 800 printable ASCII characters without |, such as service:shop,env:production"

_UDP = re.compile(r"udp://(?!unix:|fd:)")


def statsd_address(text: str) -> Address:
    """Read one: HOST, HOST:PORT, [V6]:PORT, each also behind ``udp://``, unix:PATH or unix:@NAME;
    nothing is looked up.

    :raises ConfigError: it is none of these.
    """
    address = parse_address(_UDP.sub("", text), PORT)
    is_somewhere = address.path is not None or (address.host and address.port)
    if address.scheme or not is_somewhere:
        raise ConfigError(f"--statsd-host takes {TAKES}, not {text!r}")
    return address


def is_statsd_address(text: str) -> bool:
    """Whether it can be read, or is empty."""
    try:
        return not text or bool(statsd_address(text))
    except ConfigError:
        return False


def is_prefix(text: str) -> bool:
    """Whether it may stand before the name in a line."""
    return re.fullmatch(r"[!-9;-{}~]{0,200}", text) is not None


def are_tags(text: str) -> bool:
    """Whether it may stand at the end of a line."""
    return re.fullmatch(r"[ -{}~]{0,800}", text) is not None

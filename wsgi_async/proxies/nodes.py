"""Addresses as proxies write them. Pure functions; any thread."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

__all__ = ["Address", "Node", "read_address", "read_node"]

Address = IPv4Address | IPv6Address

_MAX_ADDRESS_SIZE = 64
"""An IPv6 address in full has 45 characters; its zone is a name of an interface, 15 in Linux."""

_ZONE = re.compile(r"[-A-Za-z0-9._~]+")  # RFC 6874 §2; the library takes any text
_WITH_PORT = re.compile(r"([^:\[\]]+|\[[^\[\]]+\]):([0-9]{1,5}|_[-A-Za-z0-9._]+)")


class Node(NamedTuple):
    """Who spoke to a proxy."""

    address: Address | None
    """As :func:`read_address` has it; None is somebody on a unix socket."""
    port: str
    """Decimal digits; "" where it was not told."""


def read_address(text: str) -> Address | None:
    """An address, which has one spelling then, Python's (RFC 5952): one of IPv4 that has an IPv6
    form (``::ffff:192.0.2.1``) is of IPv4, and a zone (``%eth0``) is kept. None where `text` is no
    address."""
    if len(text) > _MAX_ADDRESS_SIZE:
        return None
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        if address.scope_id is not None and not _ZONE.fullmatch(address.scope_id):
            return None
        return address.ipv4_mapped or address
    return address


def read_node(text: str) -> Node | None:
    """An entry of X-Forwarded-For or the value of ``for`` (RFC 7239 §6), without its quotes.

    The spellings that are in use: ``192.0.2.1``, ``192.0.2.1:80``, ``[2001:db8::1]``,
    ``[2001:db8::1]:80`` and, though the RFC wants brackets, ``2001:db8::1``; ``unix:``, which is
    how nginx writes a client on a unix socket; a port that is obfuscated is one that was not told.

    :returns: None for ``unknown``, for an obfuscated identifier (``_hidden``), for a port above
        65535 and for whatever else names nobody.
    """
    if text == "unix:":
        return Node(None, "")
    port = ""
    match = _WITH_PORT.fullmatch(text)
    if match is not None:
        text, port = match.groups()
        if port[0] == "_":
            port = ""
        elif int(port) > 65535:
            return None
        else:
            port = str(int(port))
    in_brackets = text[:1] == "[" and text[-1:] == "]"
    address = read_address(text[1:-1] if in_brackets else text)
    # In brackets is IPv6 only; an IPv4 address that has its form stays one.
    if address is None or (in_brackets and ":" not in text):
        return None
    return Node(address, port)

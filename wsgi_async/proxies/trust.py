"""Whose word counts: the addresses that an option names. Any thread."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_network

from wsgi_async.errors import ConfigError
from wsgi_async.http.bounded_cache import BoundedCache

from .nodes import Address, read_address

__all__ = ["NEARBY", "PeerSet"]

NEARBY = ("127.0.0.0/8", "::1", "unix")
"""This machine: who is believed where nothing is set."""

Network = IPv4Network | IPv6Network

_MAPPED_BITS = 96  # ::ffff:0:0/96 (RFC 4291 §2.5.5.2)
_MAX_KEY_SIZE = 64


class PeerSet:
    """The peers that an option such as ``--forwarded-allow-ips`` names. Not to be changed.

    An IPv4 address in IPv6 form is one of IPv4, on either side; so ``::/0`` has the peers of IPv6
    in it, and ``0.0.0.0/0`` those of IPv4. An address without a zone names a peer in any zone.

    :param entries: addresses, networks (``10.0.0.0/8``, ``2001:db8::/32``), ``unix`` for all that
        come by a unix socket, ``*`` for all; or one text with commas between them. Nothing at all
        is nobody.
    :param flag: the option, for errors.
    :raises ConfigError: an entry is none of these, or is a network with bits of a host in it, where
        one cannot know whether the host or its network was meant.
    """

    __slots__ = ("_addresses", "_known", "_networks", "_takes_all", "_takes_unix", "everyone")

    everyone: bool
    """Whether it has all there are, by ``*``, or all of one family, by a network of no bits: what
    is in it then proves nothing about a peer."""

    def __init__(
        self, entries: str | Iterable[str], *, flag: str = "--forwarded-allow-ips"
    ) -> None:
        if isinstance(entries, str):
            entries = entries.split(",")
        names = {entry.strip() for entry in entries} - {""}
        words = {name.lower() for name in names} & _WORDS
        names = {name for name in names if name.lower() not in _WORDS}
        networks = [_network(name, flag) for name in sorted(names) if "/" in name]
        self._networks = tuple(networks)
        self._addresses = frozenset(_address(name, flag) for name in names if "/" not in name)
        self._takes_all = "*" in words
        self._takes_unix = bool(words)
        self.everyone = self._takes_all or any(network.prefixlen == 0 for network in networks)
        self._known: BoundedCache[str, bool] = BoundedCache(1024)

    def __contains__(self, address: str) -> bool:
        """Whether a peer is in it: remembered, for few peers have many connections.

        :param address: its address as text; "" for a unix socket. What is no address is not in it,
            but for ``*``.
        """
        known = self._known.get(address)
        if known is None:
            known = self.names(address)
            if len(address) <= _MAX_KEY_SIZE:
                self._known.keep(address, known)
        return known

    def names(self, address: str) -> bool:
        """Likewise, and nothing is remembered: for addresses of clients, who are many."""
        if not address:
            return self.has(None)
        read = read_address(address)
        return self._takes_all if read is None else self.has(read)

    def has(self, address: Address | None) -> bool:
        """Likewise, of an address that was read; None for a unix socket."""
        if self._takes_all:
            return True
        if address is None:
            return self._takes_unix
        if isinstance(address, IPv6Address) and address.scope_id is not None:
            if address in self._addresses:
                return True
            address = IPv6Address(int(address))
        return address in self._addresses or any(address in net for net in self._networks)


_WORDS = frozenset({"unix", "unix:", "*"})


def _address(text: str, flag: str) -> Address:
    address = read_address(text)
    if address is None:
        raise ConfigError(
            f"{flag} takes addresses, networks such as 10.0.0.0/8, unix and *, not {text!r}"
        )
    return address


def _network(text: str, flag: str) -> Network:
    base = read_address(text.partition("/")[0])
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        network = None
    if network is None or base is None or "%" in text:
        raise ConfigError(
            f"{flag} takes networks such as 10.0.0.0/8 or 2001:db8::/32, not {text!r}"
        )
    if isinstance(network, IPv6Network) and network.prefixlen >= _MAPPED_BITS:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            network = ip_network((int(mapped), network.prefixlen - _MAPPED_BITS))
    if base != network.network_address:
        raise ConfigError(
            f"{flag}: {text!r} is a host with the size of a network: write {network} for the "
            f"network, or {base} for the host"
        )
    return network

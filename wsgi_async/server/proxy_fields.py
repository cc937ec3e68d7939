"""What becomes of the fields of proxies, by whose connection they came on.

Neither the core nor any floor below knows these fields. On the loop.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace

from wsgi_async.config.option import OFF
from wsgi_async.config.options import Config
from wsgi_async.connection.proxy_fields import FieldsOf, ProxyFields
from wsgi_async.events import Observer
from wsgi_async.http.origin import Origin
from wsgi_async.http.request import RequestHead
from wsgi_async.proxies.forwarding import Forwarding
from wsgi_async.proxies.trust import NEARBY, PeerSet

__all__ = ["proxy_fields"]

_FOR = "HTTP_X_FORWARDED_FOR"
_TELLING = (_FOR, "HTTP_X_FORWARDED_PROTO", "HTTP_FORWARDED")
"""What tells that a proxy is there: what most proxies add."""

_ANY = ("REQUEST_METHOD",)
"""Each head has it."""

_NOTHING = Origin()
"""A proxy is there, or somebody who passes for one, and nothing that it says counts."""

Say = Callable[[str], object]
Seen = tuple[RequestHead, Origin | None]


def proxy_fields(config: Config, observer: Observer) -> FieldsOf:
    """What is done to the fields of proxies, by where their connection comes from.

    Whether they are believed goes by the socket's other end, as in gunicorn and in nginx's realip:
    where that has introduced a client, by the PROXY protocol, it has also had a chance to see to
    its fields.

    :param observer: is told once of each thing that an operator may want to change.
    """
    forwarding = config.forwarding()
    peers = forwarding.peers
    theirs: ProxyFields | None = None
    if config.proxy_headers is None:
        theirs = _Believed(forwarding, observer.warning)
    elif OFF not in config.proxy_headers:
        theirs = _Believed(forwarding)
    others: ProxyFields
    if config.knows_proxies:
        others = _Removed(forwarding, observer)
    else:
        others = _Left(forwarding, observer.warning)

    # Whoever introduces its clients has told their addresses: nothing is to be said of another way.
    of_introducers = _Believed(forwarding) if theirs is not None else None

    # Few peers have many connections.
    @functools.lru_cache(maxsize=1024)
    def fields_of(peer: str, source: str | None = None) -> ProxyFields | None:
        fields = theirs if peer in peers else others
        if source is None:
            return fields
        if fields is theirs:
            fields = of_introducers
        if fields is None:
            return None
        return _Introduced(fields, peer, is_hop=not peers.everyone and peers.names(source))

    return fields_of


class _Believed:
    """Of a peer whose word counts.

    :param warn: says that X-Forwarded-For comes and is not used. None: somebody wants that.
    """

    is_of_first = False
    passed: RequestHead | None = None

    def __init__(self, forwarding: Forwarding, warn: Say | None = None) -> None:
        self._forwarding = forwarding
        self.keys = tuple(sorted(forwarding.keys))
        self._warn = warn if _FOR not in self.keys else None
        if self._warn is not None:
            self.keys += (_FOR,)

    def read(self, head: RequestHead, peer: str, scheme: str) -> Seen:
        """See :class:`ProxyFields`."""
        origin = self._forwarding.origin(head, scheme)
        if self._warn is not None and _FOR in head.variables:
            self._warn(
                f"X-Forwarded-For, from {_named(peer)}, is not used, and clients have the proxy's "
                "address here: --proxy-headers for,proto takes it (of gunicorn's options "
                "--forwarded-allow-ips 127.0.0.0/8, or another that is not its default), if the "
                "proxy sees to it that no client makes it up; --proxy-headers proto leaves it"
            )
            self._warn = None
            self.keys = tuple(sorted(self._forwarding.keys))
        return head, origin


class _Removed:
    """Of a peer that is none of the proxies which an operator has named: it is made up."""

    is_of_first = False
    passed: RequestHead | None = None
    keys = _ANY

    def __init__(self, forwarding: Forwarding, observer: Observer) -> None:
        self._forwarding = forwarding
        self._nearby = PeerSet(NEARBY)
        # Whoever is on this machine is likely to be a proxy that somebody has forgotten.
        self._say: dict[bool, Say] = {True: observer.warning, False: observer.info}

    def read(self, head: RequestHead, peer: str, scheme: str) -> Seen:
        """See :class:`ProxyFields`."""
        copies = self._forwarding.copies(head)
        if not copies:
            return head, None
        say = self._say.pop(peer in self._nearby, None) if self._say else None
        if say is not None:
            say(
                f"{_field(copies[0])}, from {_named(peer)}, is removed, and so are its like, from "
                "all that --forwarded-allow-ips does not name"
            )
        kept = {key: value for key, value in head.variables.items() if key not in copies}
        return replace(head, variables=kept), _NOTHING


class _Left:
    """Of a peer of whom nobody has said anything: neither believed nor removed."""

    is_of_first = True
    passed: RequestHead | None = None

    def __init__(self, forwarding: Forwarding, warn: Say) -> None:
        self.keys = tuple(sorted(forwarding.keys.union(_TELLING)))
        self._warn = warn

    def read(self, head: RequestHead, peer: str, scheme: str) -> Seen:
        """See :class:`ProxyFields`."""
        told = next((key for key in head.variables if key in self.keys), None)
        if told is not None:
            self.keys = ()  # once is enough
            self._warn(
                f"{_field(told)}, from {_named(peer)}, is not believed: if that is a proxy of "
                "yours, name it by --forwarded-allow-ips; else --proxy-headers off has such "
                "fields removed"
            )
        return head, None


class _Introduced:
    """Of a peer that has introduced somebody else, who is the nearest hop.

    :param fields: of the peer.
    :param peer: its address.
    :param is_hop: whether that hop is believed too, and so its client is another one; else it is
        itself the client, whatever the fields say.
    """

    def __init__(self, fields: ProxyFields, peer: str, *, is_hop: bool) -> None:
        self._fields = fields
        self._peer = peer
        self._is_hop = is_hop
        self.is_of_first = fields.is_of_first

    # Of all connections from that peer: what each remembered of its own would stay as long as it.

    @property
    def keys(self) -> tuple[str, ...]:
        """See :class:`ProxyFields`."""
        return self._fields.keys

    @property
    def passed(self) -> RequestHead | None:
        """See :class:`ProxyFields`."""
        return self._fields.passed

    @passed.setter
    def passed(self, head: RequestHead | None) -> None:
        self._fields.passed = head

    def read(self, head: RequestHead, peer: str, scheme: str) -> Seen:
        """See :class:`ProxyFields`."""
        head, origin = self._fields.read(head, self._peer, scheme)
        if origin is not None and origin.remote_addr is not None and not self._is_hop:
            origin = replace(origin, remote_addr=None, remote_port=None)
        return head, origin


def _field(key: str) -> str:
    """The name of a field, from its key in the environ."""
    return key.removeprefix("HTTP_").replace("_", "-").title()


def _named(peer: str) -> str:
    return peer or "a unix socket"

"""What becomes of the fields of proxies, by whose connection they came on.

Neither the core nor any floor below knows these fields. On the loop.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from wsgi_async.config.forwarding import believed
from wsgi_async.config.option import OFF
from wsgi_async.config.options import Config
from wsgi_async.connection.proxy_fields import ProxyFields
from wsgi_async.events import Observer
from wsgi_async.http.origin import Origin
from wsgi_async.http.request import RequestHead
from wsgi_async.proxies.forwarding import Forwarding
from wsgi_async.proxies.trust import PeerSet

__all__ = ["proxy_fields"]

_FOR = "HTTP_X_FORWARDED_FOR"
_TELLING = frozenset({_FOR, "HTTP_X_FORWARDED_PROTO", "HTTP_FORWARDED"})
"""What tells that a proxy is there: what most proxies add."""

_NOTHING = Origin()
"""A proxy is there, or somebody who passes for one, and nothing that it says counts."""

Say = Callable[[str], object]
Seen = tuple[RequestHead, Origin | None]


def proxy_fields(config: Config, observer: Observer) -> Callable[[str], ProxyFields | None]:
    """What is done to the fields of proxies, by the peer's address ("" for a unix socket).

    :param observer: is told once of each thing that an operator may want to change.
    """
    forwarding = config.forwarding()
    peers = PeerSet(believed(config.forwarded_allow_ips))
    theirs: ProxyFields | None = None
    if config.proxy_headers is None:
        theirs = _Believed(forwarding, observer.warning)
    elif OFF not in config.proxy_headers:
        theirs = _Believed(forwarding)
    others: ProxyFields
    if config.knows_proxies:
        others = _Removed(forwarding, observer.info)
    else:
        others = _Left(forwarding, observer.warning)
    return lambda peer: theirs if peer in peers else others


class _Believed:
    """Of a peer whose word counts.

    :param warn: says that X-Forwarded-For comes and is not used. None: it is known.
    """

    is_of_first = False

    def __init__(self, forwarding: Forwarding, warn: Say | None = None) -> None:
        self._forwarding = forwarding
        self._warn = None if _FOR in forwarding.keys else warn
        self.keys = forwarding.keys | {_FOR} if self._warn is not None else forwarding.keys

    def passes(self, head: RequestHead) -> bool:
        """See :class:`ProxyFields`."""
        return self.keys.isdisjoint(head.variables) and not head.drops

    def read(self, head: RequestHead, peer: str) -> Seen:
        """See :class:`ProxyFields`."""
        origin = self._forwarding.origin(head)
        if self._warn is not None and _FOR in head.variables:
            self._warn(
                f"X-Forwarded-For, from {peer or 'a unix socket'}, is not used, and clients have "
                "the proxy's address here: --proxy-headers for,proto takes it, if the proxy sees "
                "to it that no client makes it up; --proxy-headers proto leaves it"
            )
            self._warn = None
            self.keys = self._forwarding.keys
        return head, origin


class _Removed:
    """Of a peer that is none of the proxies which an operator has named: it is made up."""

    is_of_first = False

    def __init__(self, forwarding: Forwarding, inform: Say) -> None:
        self._forwarding = forwarding
        self._inform: Say | None = inform

    def passes(self, head: RequestHead) -> bool:
        """See :class:`ProxyFields`."""
        return not self._forwarding.copies(head)

    def read(self, head: RequestHead, peer: str) -> Seen:
        """See :class:`ProxyFields`."""
        copies = self._forwarding.copies(head)
        if self._inform is not None:
            self._inform(
                f"fields such as {_field(copies[0])} are removed where they come from "
                f"{peer or 'a unix socket'} or others that --forwarded-allow-ips does not name"
            )
            self._inform = None
        kept = {key: value for key, value in head.variables.items() if key not in copies}
        return dataclasses.replace(head, variables=kept), _NOTHING


class _Left:
    """Of a peer of whom nobody has said anything: neither believed nor removed."""

    is_of_first = True

    def __init__(self, forwarding: Forwarding, warn: Say) -> None:
        self._keys = _TELLING | forwarding.keys
        self._warn: Say | None = warn

    def passes(self, head: RequestHead) -> bool:
        """See :class:`ProxyFields`."""
        return self._warn is None or self._keys.isdisjoint(head.variables)

    def read(self, head: RequestHead, peer: str) -> Seen:
        """See :class:`ProxyFields`."""
        if self._warn is not None:
            name = next(_field(key) for key in head.variables if key in self._keys)
            self._warn(
                f"{name}, from {peer or 'a unix socket'}, is not believed: if that is a proxy of "
                "yours, name it by --forwarded-allow-ips; else --proxy-headers off has such fields "
                "removed"
            )
            self._warn = None
        return head, None


def _field(key: str) -> str:
    """The name of a field, from its key in the environ."""
    return key.removeprefix("HTTP_").replace("_", "-").title()

"""What proxies in front say of their clients, as far as a connection knows it.

The connection does not know which fields these are, nor whose word counts: see
``server/proxy_fields.py``.
"""

from __future__ import annotations

from typing import Protocol

from wsgi_async.http.origin import Origin
from wsgi_async.http.request import RequestHead

__all__ = ["FieldsOf", "ProxyFields", "nobody"]


class ProxyFields(Protocol):
    """What is done to such fields in the requests of some peers. *Loop.*"""

    passed: RequestHead | None
    """The last head that went by: one that is remembered comes again, and is not looked at anew."""

    @property
    def keys(self) -> tuple[str, ...]:
        """Of the environ. A head that has none of them, and drops no field, goes by as it is."""

    @property
    def is_of_first(self) -> bool:
        """Whether the connection of a head that goes by need not be looked at any more."""

    def read(self, head: RequestHead, peer: str, scheme: str) -> tuple[RequestHead, Origin | None]:
        """Where a request comes from, and what of its head is for the application.

        :param peer: the address of the connection's client; "" on a unix socket.
        :param scheme: the connection's.
        :returns: None where it comes from there.
        :raises HTTPError: 400, the fields contradict each other, or cannot be understood.
        """


class FieldsOf(Protocol):
    """What is done to the fields of proxies, by where their connection comes from."""

    def __call__(self, peer: str, source: str | None = None) -> ProxyFields | None:
        """*Loop:* for one connection.

        :param peer: the address of the socket's other end; "" for a unix socket.
        :param source: that of the client, where the peer has introduced one: the hop behind it.
        """


def nobody(peer: str, source: str | None = None) -> ProxyFields | None:
    """Where proxies have no say."""
    return None

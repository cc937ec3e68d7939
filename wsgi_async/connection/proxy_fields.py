"""What proxies in front say of their clients, as far as a connection knows it.

The connection does not know which fields these are, nor whose word counts: see
``server/proxy_fields.py``.
"""

from __future__ import annotations

from typing import Protocol

from wsgi_async.http.origin import Origin
from wsgi_async.http.request import RequestHead

__all__ = ["ProxyFields", "nobody"]


class ProxyFields(Protocol):
    """What is done to such fields in the requests of some peers. *Loop.*"""

    @property
    def is_of_first(self) -> bool:
        """Whether the first request of a connection tells enough of all."""

    def passes(self, head: RequestHead) -> bool:
        """Whether there is nothing to do, as in most heads."""

    def read(self, head: RequestHead, peer: str) -> tuple[RequestHead, Origin | None]:
        """Where a request comes from, and what of its head is for the application.

        :param peer: the address of the socket's other end; "" for a unix socket.
        :returns: None where it comes from there.
        :raises HTTPError: 400, the fields contradict each other, or cannot be understood.
        """


def nobody(peer: str) -> ProxyFields | None:
    """Where proxies have no say."""
    return None

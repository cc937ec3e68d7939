"""Request heads with the fields that proxies add, and servers that believe some of them."""

from __future__ import annotations

from collections.abc import Iterable

from request_heads import with_h11

from wsgi_async.http.request import RequestHead
from wsgi_async.proxies.forwarding import FORWARDER_HEADERS, Forwarding, read_taken
from wsgi_async.proxies.schemes import SECURE_SCHEME_HEADERS
from wsgi_async.proxies.trust import NEARBY, PeerSet


def head_of(*lines: str, host: str | None = "a.example", target: str = "/") -> RequestHead:
    """A head with these field lines behind its Host; of HTTP/1.0 where it has none."""
    first = f"GET {target} HTTP/1.1\r\nHost: {host}" if host else f"GET {target} HTTP/1.0"
    head = with_h11("\r\n".join([first, *lines, "", ""]).encode("latin-1"))
    assert head is not None
    return head


def believing(
    taken: str = "for,proto",
    peers: str | Iterable[str] = NEARBY,
    *,
    secure: dict[str, str] = SECURE_SCHEME_HEADERS,
    named: Iterable[str] = FORWARDER_HEADERS,
) -> Forwarding:
    return Forwarding(
        PeerSet(peers),
        read_taken(taken),
        secure_scheme_headers=secure,
        forwarder_headers=named,
    )

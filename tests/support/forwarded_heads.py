"""Request heads with the fields that proxies add, and servers that believe some of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from request_heads import with_h11

from wsgi_async.http.request import RequestHead
from wsgi_async.proxies.forwarding import FORWARDER_HEADERS, Forwarding, Taken
from wsgi_async.proxies.schemes import SECURE_SCHEME_HEADERS
from wsgi_async.proxies.trust import NEARBY, PeerSet

SECURE = dict(text.split("=") for text in SECURE_SCHEME_HEADERS)
"""Names of fields -> the value by which each says https."""


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
    secure: Mapping[str, str] = SECURE,
    named: Iterable[str] = FORWARDER_HEADERS,
) -> Forwarding:
    return Forwarding(
        PeerSet(peers),
        [Taken(word) for word in taken.split(",") if word != "off"],
        secure_scheme_headers=[f"{name}={value}" for name, value in secure.items()],
        forwarder_headers=named,
    )

"""``--redirect-to-https``: what the loop itself answers to plain HTTP, without a thread. Sans-I/O.

A Location is made only for hosts that the operator has named: else whoever forges a Host field
would have caches and mail links lead where he likes. To others the answer is 421, which says just
that (RFC 9110 §15.5.20): they are not served here. GET and HEAD get 301; everything else 308, which
keeps the method and the body (RFC 9110 §15.4.9).

What an ACME client puts below ``/.well-known/acme-challenge/`` goes to the application, whatever
the host: certification authorities ask for it by plain HTTP (RFC 8555 §8.3).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus

from wsgi_async.errors import HTTPError
from wsgi_async.http.origin import Origin
from wsgi_async.http.request import RequestHead
from wsgi_async.http.response import ResponseHead

__all__ = ["HTTPS_PORT", "Redirects"]

HTTPS_PORT = 443

# A token has the letters of base64url (RFC 8555 §8.3), and no "..": applications may not look.
_CHALLENGE = re.compile(r"/\.well-known/acme-challenge/[-_0-9A-Za-z]+")

_TEXT = "text/plain; charset=utf-8"


class Redirects:
    """Where requests by plain HTTP are sent.

    :param hosts: each host in lower case -> the port of its https, None for `port`.
    :param port: of the first listening socket that is served by TLS.
    """

    def __init__(self, hosts: Mapping[str, int | None], port: int) -> None:
        ports = {host: own or port for host, own in hosts.items()}
        self._bases = {
            host: f"https://{host}" if own == HTTPS_PORT else f"https://{host}:{own}"
            for host, own in ports.items()
        }

    def answer(
        self, head: RequestHead, scheme: object, origin: Origin | None
    ) -> tuple[ResponseHead, bytes] | None:
        """The response to a request; None where it goes to the application.

        :param scheme: the connection's, ``http`` or ``https``.
        :param origin: what a believed proxy says of the request.
        :raises HTTPError: 421, its host is none of those.
        """
        if scheme != "http" or (origin is not None and origin.scheme == "https"):
            return None
        if head.method in ("GET", "HEAD"):
            if _CHALLENGE.fullmatch(head.path):
                return None
            status = HTTPStatus.MOVED_PERMANENTLY
        else:
            status = HTTPStatus.PERMANENT_REDIRECT
        host = origin.host if origin is not None else None
        base = self._bases.get(_name(head.variables.get("HTTP_HOST", "") if host is None else host))
        if base is None:
            raise HTTPError(421, "There is no such host here")
        location = f"{base}{head.path}?{head.query}" if head.query else f"{base}{head.path}"
        fields = (("Location", location), ("Content-Type", _TEXT))
        # Who is sent elsewhere goes on there; and what may come of a body is not read.
        return ResponseHead(status.value, status.phrase, fields, closes=True), _body(status)


def _body(status: HTTPStatus) -> bytes:
    return f"{status.value} {status.phrase}\n\nThis is served by https\n".encode("ascii")


def _name(authority: str) -> str:
    """The host of ``HOST[:PORT]``, as it is compared."""
    host, colon, port = authority.rpartition(":")
    if not colon or "]" in port:
        host = authority
    return host.lower().removesuffix(".")

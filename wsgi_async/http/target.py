"""The forms that a request target takes (RFC 9112 §3.2). Pure functions; any thread."""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache

from wsgi_async.errors import HTTPError

__all__ = ["read_target", "valid_authority"]

# RFC 3986 §3.2.2: reg-name (an IPv4 address is one too) or an IPv6 literal, then a port.
# No userinfo: RFC 9110 §4.2.4 forbids it in http(s), and Host never had it.
_AUTHORITY = re.compile(
    r"(?:\[([0-9A-Fa-f:.]{2,45})\]|(?:[-A-Za-z0-9._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})+)"
    r"(?::[0-9]{0,5})?"
)


@lru_cache(maxsize=1024)
def valid_authority(text: str) -> bool:
    """Whether `text` is a ``uri-host [":" port]`` with a host in it (RFC 9110 §7.2)."""
    match = _AUTHORITY.fullmatch(text)
    if match is None:
        return False
    if match[1] is not None:
        try:
            ipaddress.IPv6Address(match[1])
        except ValueError:
            return False
    return True


_ABSOLUTE = re.compile(r"[Hh][Tt][Tt][Pp][Ss]?://([^/?]*)([^?]*)(?:(\?)(.*))?")


def read_target(method: str, target: str) -> tuple[str, str, str | None]:
    """Path, query, and the authority of an absolute-form (RFC 9112 §3.2)."""
    if "#" in target:
        raise HTTPError(400, "A request target has no fragment")
    if target[0] == "/":  # never urlsplit: it takes "//host/x" apart
        path, _, query = target.partition("?")
        return path, query, None
    if target == "*":
        if method != "OPTIONS":
            raise HTTPError(400, "Only OPTIONS may ask for *")
        return "", "", None
    match = _ABSOLUTE.fullmatch(target)
    if match is None or not valid_authority(match[1]):
        raise HTTPError(400, "The request target is neither a path nor an http URI")
    path = match[2]
    if not path and not (method == "OPTIONS" and match[3] is None):  # RFC 9112 §3.2.4
        path = "/"
    return path, match[4] or "", match[1]

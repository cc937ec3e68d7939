"""Which fields come again with the same value, and so are worth remembering. Pure; any thread."""

from __future__ import annotations

from .variables import key_of

__all__ = ["RECURRING"]

_NAMES = """
    Host User-Agent Connection Accept Accept-Charset Accept-Encoding Accept-Language Cache-Control
    Pragma DNT Sec-GPC Priority Origin Save-Data TE Upgrade-Insecure-Requests Content-Type
    Sec-Fetch-Dest Sec-Fetch-Mode Sec-Fetch-Site Sec-Fetch-User Sec-CH-UA Sec-CH-UA-Mobile
    Sec-CH-UA-Platform X-Requested-With Via X-Forwarded-Proto X-Forwarded-Host X-Forwarded-Port
    X-Forwarded-Server
"""

RECURRING = frozenset(map(key_of, _NAMES.split()))
"""Their keys in the environ. Never those that tell one person or one request from the others
(Cookie, Authorization, Referer, addresses, ids): they would only fill the memory, and secrets have
no business in it."""

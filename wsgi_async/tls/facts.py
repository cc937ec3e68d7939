"""What a handshake has told, in the words of the environ: mod_ssl's names. Pure; any thread."""

from __future__ import annotations

import ssl
from typing import Any

from .names import distinguished_name, relative_names

__all__ = ["ENCRYPTED", "Facts", "facts_of"]

Facts = tuple[tuple[str, object], ...]
"""Names and values. Connections with equal facts can share one dict: tuples can be looked up."""

ENCRYPTED: Facts = (("HTTPS", "on"),)
"""What is known of a connection of which only this is known: that it is encrypted."""


def facts_of(connection: ssl.SSLObject) -> Facts:
    """What the requests of a connection find in their environ, besides that it is encrypted.

    ``SSL_CLIENT_CERT`` and the names in it are there where the client has shown a certificate,
    which then is one that was accepted.
    """
    cipher = connection.cipher()
    facts: dict[str, object] = {
        "SSL_PROTOCOL": connection.version() or "",
        "SSL_CIPHER": cipher[0] if cipher is not None else "",
        "SSL_CLIENT_VERIFY": "NONE",
    }
    name = getattr(connection, "server_name", None)
    if name:
        facts["SSL_TLS_SNI"] = name
    certificate = connection.getpeercert(binary_form=True)
    if certificate:
        facts["SSL_CLIENT_VERIFY"] = "SUCCESS"
        facts["SSL_CLIENT_CERT"] = ssl.DER_cert_to_PEM_cert(certificate)
        decoded: dict[str, Any] = connection.getpeercert() or {}
        facts["SSL_CLIENT_S_DN"] = _native(distinguished_name(decoded))
        for kind, value in relative_names(decoded):
            if kind == "commonName":
                facts.setdefault("SSL_CLIENT_S_DN_CN", _native(value))
    return tuple(facts.items())


def _native(text: str) -> str:
    """As PEP 3333 has it: the bytes of UTF-8, read as latin-1."""
    return text.encode("utf-8", "replace").decode("latin-1")

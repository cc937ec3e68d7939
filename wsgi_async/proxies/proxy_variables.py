"""What a PROXY header says, in the words of the environ. Pure functions; any thread."""

from __future__ import annotations

from base64 import encodebytes
from types import MappingProxyType
from typing import Any

from .proxy_protocol import Header
from .tlvs import Facts, TLSFacts

__all__ = ["proxy_variables"]


def proxy_variables(header: Header) -> dict[str, object]:
    """What of a header the requests of its connection find in their environ, besides addresses.

    ``PROXY_PROTOCOL``, ``PROXY_ADDR`` and ``PROXY_PORT`` are gunicorn's names, ``HTTPS`` and those
    that begin with ``SSL_`` are mod_ssl's. Text is native, as PEP 3333 has it: the bytes of UTF-8,
    read as latin-1.

    :returns: ``wsgi_async.proxy_protocol`` has all there is, and cannot be changed.
    """
    variables: dict[str, object] = {"PROXY_PROTOCOL": header.protocol}
    if isinstance(header.destination, tuple):
        address, port = header.destination
        variables |= {"PROXY_ADDR": address, "PROXY_PORT": str(port)}
    facts = header.facts
    if facts.authority:
        variables["SSL_TLS_SNI"] = _native(facts.authority)
    if facts.tls is not None and facts.tls.is_tls:
        variables |= _tls_variables(facts.tls)
    variables["wsgi_async.proxy_protocol"] = MappingProxyType(_everything(header, facts))
    return variables


def _tls_variables(tls: TLSFacts) -> dict[str, object]:
    if not tls.has_certificate:
        verify = "NONE"
    else:
        verify = "SUCCESS" if tls.verify == 0 else f"FAILED:{tls.verify}"
    said = {
        "SSL_PROTOCOL": tls.version,
        "SSL_CIPHER": tls.cipher,
        "SSL_CLIENT_S_DN_CN": _native(tls.common_name),
        "SSL_CLIENT_CERT": _pem(tls.client_certificate),
    }
    return {
        "HTTPS": "on",
        "wsgi.url_scheme": "https",
        "SSL_CLIENT_VERIFY": verify,
        **{name: value for name, value in said.items() if value},
    }


def _everything(header: Header, facts: Facts) -> dict[str, Any]:
    said: dict[str, Any] = {
        "version": header.version,
        "protocol": header.protocol,
        "source": header.source,
        "destination": header.destination,
    }
    for name, value in facts._asdict().items():
        if value:
            said[name] = _native(value) if isinstance(value, str) else value
    if facts.tls is not None:
        tls = {
            name: _native(value) if isinstance(value, str) else value
            for name, value in facts.tls._asdict().items()
            if value not in ("", b"")
        }
        said["tls"] = MappingProxyType(tls)
    return said


def _native(text: str) -> str:
    return text.encode("utf-8").decode("latin-1")


def _pem(certificate: bytes) -> str:
    if not certificate:
        return ""
    body = encodebytes(certificate).replace(b"\n", b"")
    lines = [body[place : place + 64].decode() for place in range(0, len(body), 64)]
    return "\n".join(["-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----", ""])

"""What front servers say of a request in variables of CGI, each in its way."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

Variables = list[tuple[bytes, bytes]]
Named = dict[str, str]

UWSGI_PARAMS = """
    QUERY_STRING REQUEST_METHOD CONTENT_TYPE CONTENT_LENGTH REQUEST_URI PATH_INFO DOCUMENT_ROOT
    SERVER_PROTOCOL REQUEST_SCHEME HTTPS REMOTE_ADDR REMOTE_PORT SERVER_PORT SERVER_NAME HTTP_HOST
"""
FASTCGI_PARAMS = """
    QUERY_STRING REQUEST_METHOD CONTENT_TYPE CONTENT_LENGTH SCRIPT_NAME REQUEST_URI DOCUMENT_URI
    DOCUMENT_ROOT SERVER_PROTOCOL REQUEST_SCHEME HTTPS GATEWAY_INTERFACE SERVER_SOFTWARE REMOTE_ADDR
    REMOTE_PORT REMOTE_USER SERVER_ADDR SERVER_PORT SERVER_NAME REDIRECT_STATUS HTTP_HOST
"""
SCGI_PARAMS = """
    REQUEST_METHOD REQUEST_URI QUERY_STRING CONTENT_TYPE DOCUMENT_URI DOCUMENT_ROOT SCGI
    SERVER_PROTOCOL REQUEST_SCHEME HTTPS REMOTE_ADDR REMOTE_PORT SERVER_PORT SERVER_NAME HTTP_HOST
"""
PARAMS = {"uwsgi": UWSGI_PARAMS, "fastcgi": FASTCGI_PARAMS, "scgi": SCGI_PARAMS}
"""The names in Debian's files, unchanged. nginx adds CONTENT_LENGTH to SCGI's, in front."""


@dataclass
class Asked:
    """A request as a front server has it."""

    target: str = "/"
    method: str = "GET"
    version: str = "HTTP/1.1"
    lines: list[tuple[str, str]] = field(default_factory=lambda: [("Host", "a")])
    https: bool = False
    length: int | None = None
    """Of a body that the front server has collected."""

    def value(self, name: str) -> str:
        """Of a field; "" where it is not there."""
        found = [value for given, value in self.lines if given.lower() == name]
        return found[0] if found else ""


def encode(named: Named | list[tuple[str, str]]) -> Variables:
    """As they are sent: the bytes of latin-1."""
    pairs = named.items() if isinstance(named, dict) else named
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs]


def decoded(target: str) -> str:
    """The path of a target, percent-decoded."""
    path = re.sub(r"^https?://[^/?]*", "", target.partition("?")[0], flags=re.IGNORECASE)
    return unquote_to_bytes(path.encode("latin-1")).decode("latin-1")


def common(asked: Asked, document: str | None = None) -> Named:
    """What nginx can say, by the names of its parameters, and HTTPS where it is not empty."""
    path = decoded(asked.target) if document is None else document
    length = asked.value("content-length") if asked.length is None else str(asked.length)
    named = {
        "QUERY_STRING": asked.target.partition("?")[2],
        "REQUEST_METHOD": asked.method,
        "CONTENT_TYPE": asked.value("content-type"),
        "CONTENT_LENGTH": length,
        "REQUEST_URI": asked.target,
        "DOCUMENT_URI": path,
        "DOCUMENT_ROOT": "/usr/share/nginx/html",
        "SERVER_PROTOCOL": asked.version,
        "REQUEST_SCHEME": "https" if asked.https else "http",
        "HTTPS": "on",
        "GATEWAY_INTERFACE": "CGI/1.1",
        "SERVER_SOFTWARE": "nginx/1.22.1",
        "REMOTE_ADDR": "192.0.2.9",
        "REMOTE_PORT": "50000",
        "REMOTE_USER": "",
        "SERVER_ADDR": "127.0.0.1",
        "SERVER_PORT": "8000",
        "SERVER_NAME": "127.0.0.1",
        "REDIRECT_STATUS": "200",
        "SCGI": "1",
        "HTTP_HOST": asked.value("host"),
    }
    if not asked.https:
        del named["HTTPS"]
    return named


def nginx(protocol: str, asked: Asked, document: str | None = None) -> list[tuple[str, str]]:
    """By Debian's file of parameters for a protocol, unchanged: they, and then a variable for each
    line of a field that is not among them. Names with an underscore are left out, as by others.

    :param document: the path as nginx has it; None: decoded, and not normalised.
    """
    named = common(asked, document)
    named["PATH_INFO"] = named["SCRIPT_NAME"] = named["DOCUMENT_URI"]
    said = [(name, named[name]) for name in PARAMS[protocol].split() if name in named]
    if protocol == "scgi":
        said.insert(0, ("CONTENT_LENGTH", named["CONTENT_LENGTH"] or "0"))
    lines = [(as_key(name), value) for name, value in asked.lines if "_" not in name]
    if lines.count(("HTTP_HOST", named["HTTP_HOST"])):
        lines.remove(("HTTP_HOST", named["HTTP_HOST"]))
    return said + lines


def as_key(name: str) -> str:
    """The variable of a field."""
    return "HTTP_" + name.upper().replace("-", "_")

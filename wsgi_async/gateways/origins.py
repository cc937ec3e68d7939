"""How a client has reached a front server, by the variables that say so. Pure; any thread."""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache

from wsgi_async.errors import HTTPError
from wsgi_async.http.admission import check_host
from wsgi_async.http.origin import Origin

__all__ = ["name_server", "origin_of"]

_SCHEMES = {"": "http", "http": "http", "https": "https"}
_HTTPS = {
    **dict.fromkeys(("on", "1", "yes", "true"), "https"),
    **dict.fromkeys(("", "off", "0", "no", "false"), "http"),
}
_TELLING_SCHEME = (("HTTPS", _HTTPS), ("REQUEST_SCHEME", _SCHEMES), ("UWSGI_SCHEME", _SCHEMES))

# nginx says "_" or "", a pattern ("~^www") or "*.example.com" where no name is the right one.
_SERVER_NAME = re.compile(
    r"[0-9A-Za-z][-.0-9A-Z_a-z]*|\[[.:0-9A-Fa-f]{2,45}\]|[0-9A-Fa-f]{0,4}:[.:0-9A-Fa-f]{1,45}"
)
_USUAL_PORT = re.compile(r"[1-9][0-9]{0,3}|[1-5][0-9]{4}")
_ADDRESS = re.compile(r"[.:0-9A-Fa-f]{2,45}(?:%[-.0-9A-Z_a-z]{1,32})?")


def name_server(told: dict[str, str], passed: dict[str, str], *, required: bool) -> None:
    """Pass on SERVER_NAME where it is a name, and else leave it to the server; have Host be valid.

    :param required: whether it has to be there, unless there is such a name: nginx has none, or an
        empty one, of a client that says ``:authority``. (It refuses one that is sent empty.)
    :raises HTTPError: 400.
    """
    host = passed.get("HTTP_HOST")
    if host == "":
        del passed["HTTP_HOST"]
        host = None
    judge = _name if host is None or len(host) <= _HOST_SIZE_LIMIT else _name.__wrapped__
    name = judge(told.get("SERVER_NAME", ""), host, required)
    if name is not None:
        passed["SERVER_NAME"] = name


_HOST_SIZE_LIMIT = 256
"""The names of DNS are shorter."""


@lru_cache(maxsize=1024)
def _name(name: str, host: str | None, required: bool) -> str | None:
    is_name = _SERVER_NAME.fullmatch(name) is not None
    check_host([] if host is None else [host], required=required and not is_name)
    if is_name:
        return name
    return None if host is None else _cut_host(host)[0]


def origin_of(told: dict[str, str], passed: dict[str, str], root: str) -> Origin:
    """The client, and what it has asked for the front server by.

    :param root: SCRIPT_NAME, as it is meant; "" where the server's own options say it.
    :raises HTTPError: 400, a variable says nothing of the kind.
    """
    address = told.get("REMOTE_ADDR")
    if address is not None:
        address = _address(address)
    port = told.get("REMOTE_PORT", "")
    if port and not _USUAL_PORT.fullmatch(port):
        port = _port(port, "REMOTE_PORT")
    scheme = _scheme(told.get("HTTPS"), passed.get("REQUEST_SCHEME"), passed.get("UWSGI_SCHEME"))
    server_port = told.get("SERVER_PORT", "")
    if server_port and not _USUAL_PORT.fullmatch(server_port):
        server_port = _port(server_port, "SERVER_PORT")
    if not server_port:
        _, server_port = _cut_host(passed.get("HTTP_HOST", ""))
    return Origin(
        remote_addr=address,
        remote_port=None if address is None else port if address else "",
        scheme=scheme,
        server_port=server_port or ("443" if scheme == "https" else "80"),
        script_name=root or None,
    )


@lru_cache(maxsize=64)
def _scheme(*said: str | None) -> str:
    """https where any variable says so: who ends TLS before the front server writes ``HTTPS on`` by
    hand, beside the REQUEST_SCHEME that is always there."""
    scheme = "http"
    for text, (name, words) in zip(said, _TELLING_SCHEME, strict=True):
        if text is not None:
            meant = words.get(text.lower())
            if meant is None:
                raise HTTPError(400, f"{name} says neither http nor https")
            if meant == "https":
                scheme = meant
    return scheme


@lru_cache(maxsize=1024)
def _address(text: str) -> str:
    """REMOTE_ADDR; "" for a client on a unix socket, which nginx calls ``unix:``."""
    if text in ("", "unix:"):
        return ""
    try:
        address = ipaddress.ip_address(text if _ADDRESS.fullmatch(text) else "")
    except ValueError:
        raise HTTPError(400, "REMOTE_ADDR is not an address") from None
    mapped = address.ipv4_mapped if address.version == 6 else None
    return text if mapped is None else str(mapped)


def _port(text: str, name: str) -> str:
    """A port; "" for 0, which front servers on unix sockets say, as others say nothing."""
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) < 65536):
        raise HTTPError(400, f"{name} is not a port")
    return str(int(text)) if int(text) else ""


def _cut_host(host: str) -> tuple[str, str]:
    """Its name and its port, "" where it has none, of a valid Host."""
    name, bracket, rest = host.partition("]")
    if bracket:
        return name + bracket, rest[1:]
    name, _, port = host.partition(":")
    return name, port

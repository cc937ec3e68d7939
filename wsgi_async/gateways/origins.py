"""How a client has reached a front server, by the variables that say so. Pure; any thread."""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache

from wsgi_async.errors import HTTPError
from wsgi_async.http.admission import check_host
from wsgi_async.http.origin import Origin

__all__ = ["check_names", "origin_of"]

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
_ADDRESS = re.compile(r"[.:0-9A-Fa-f]{2,45}(?:%[-.0-9A-Z_a-z]{1,32})?")


def check_names(given: dict[str, str], fields: dict[str, str], *, required: bool) -> None:
    """Have SERVER_NAME be a name, or leave it to the server; and Host be valid.

    :param required: whether it has to be there, unless there is such a name: nginx has none, or an
        empty one, of a client that says ``:authority``. (It refuses one that is sent empty.)
    """
    name = given.pop("SERVER_NAME", "")
    host = fields.get("HTTP_HOST")
    if host == "":
        del fields["HTTP_HOST"]
        host = None
    is_name = _SERVER_NAME.fullmatch(name) is not None
    check_host([] if host is None else [host], required=required and not is_name)
    if is_name:
        given["SERVER_NAME"] = name
    elif host is not None:
        given["SERVER_NAME"] = _cut_host(host)[0]


def origin_of(given: dict[str, str], fields: dict[str, str], root: str) -> Origin:
    """The client, and what it has asked for the front server by.

    The scheme is https where any variable says so: who ends TLS before the front server writes
    ``HTTPS on`` by hand, beside the REQUEST_SCHEME that is always there.

    :param root: SCRIPT_NAME, as it is meant; "" where the server's own options say it.
    :raises HTTPError: 400, a variable says nothing of the kind.
    """
    address = given.get("REMOTE_ADDR")
    if address is not None:
        address = _address(address)
    port = given.get("REMOTE_PORT", "")
    if port:
        port = _port(port, "REMOTE_PORT")
    scheme = "http"
    for name, words in _TELLING_SCHEME:
        text = given.get(name)
        if text is not None:
            said = words.get(text.lower())
            if said is None:
                raise HTTPError(400, f"{name} says neither http nor https")
            if said == "https":
                scheme = said
    server_port = given.get("SERVER_PORT", "")
    if server_port:
        server_port = _port(server_port, "SERVER_PORT")
    if not server_port:
        _, server_port = _cut_host(fields.get("HTTP_HOST", ""))
    return Origin(
        remote_addr=address,
        remote_port=None if address is None else port if address else "",
        scheme=scheme,
        server_port=server_port or ("443" if scheme == "https" else "80"),
        script_name=root or None,
    )


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

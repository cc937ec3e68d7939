"""What bytes seem to be that are none of the protocol of a port: a line for the log.

Looked into only where reading has failed. Pure functions; any thread.
"""

from __future__ import annotations

import re

__all__ = ["may_be_http", "what_was_spoken"]

_METHOD = re.compile(rb"[A-Z]{1,16}(?: |\Z)")
# modifier1, the size of the variables, modifier2, and the first variable's size and name.
_OF_A_PLUGIN = re.compile(rb"[\s\S]{3}\0[\s\S]\0[A-Z]")
_FIRST_BYTES = {
    0x00: ("uwsgi", "uwsgi_pass"),
    0x01: ("FastCGI", "fastcgi_pass"),
    **dict.fromkeys(b"123456789", ("SCGI", "scgi_pass")),
}
_DIRECTIVES = dict(_FIRST_BYTES.values())


def may_be_http(data: bytes) -> bool:
    """Whether a request of HTTP begins so, with more to come: then it is too early to say."""
    return _METHOD.fullmatch(data) is not None and b" " not in data


def what_was_spoken(data: bytes, port: str) -> str:
    """What has come to a port instead of its protocol, and what to do about it.

    :param data: how the connection begins, up to the fault at least; one byte or more.
    :param port: the protocol's name: uwsgi, SCGI or FastCGI.
    """
    directive = _DIRECTIVES[port]
    if data.startswith((b"PROXY ", b"\r\n")):
        return f"a PROXY header was sent to a {port} port: have the web server in front send none"
    if _METHOD.match(data):
        return (
            f"HTTP was spoken to a {port} port: browsers ask the web server in front, which has "
            f"{directive} (nginx: not proxy_pass); to serve them here, add --bind http://ADDRESS"
        )
    if data[0] == 0x16:
        return f"TLS was spoken to a {port} port, which takes {port} in the clear"
    if port == "uwsgi" and _OF_A_PLUGIN.match(data):
        return (
            f"modifier1 is {data[0]}, which is for another plugin of uWSGI's: in nginx, leave "
            "uwsgi_modifier1 out"
        )
    name, other = _FIRST_BYTES.get(data[0], ("", ""))
    if name and name != port:
        return (
            f"it looks like {name}, and this port speaks {port}: in nginx, use {directive} and not "
            f"{other}, or have this port speak that: --protocol {name.lower()}"
        )
    return f"what was sent to a {port} port is not {port}"

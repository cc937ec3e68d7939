"""What is wrong with bytes that are no request: a sentence for the client, the cause for the log.

Looked into only where reading has failed. Pure functions; any thread. What they say depends on the
bytes before the fault and on nothing else, so not on how those were cut.
"""

from __future__ import annotations

import re

__all__ = ["begins_as_scgi", "foreign_protocol", "sentence_for"]

_NO_REQUEST = "This is not an HTTP request"
_SENTENCES = {
    "illegal request line": "The request line is not a method, a target and a version",
    "illegal header line": "A header field is not a name, a colon and a value",
    "bad Content-Length": "Content-Length is not a number of bytes",
    "conflicting Content-Length": "Content-Length is given more than once",
    "multiple Transfer-Encoding": "The only transfer coding understood here is chunked",
    "Only Transfer-Encoding": "The only transfer coding understood here is chunked",
    "Missing mandatory Host": "There is no Host field",
    "Found multiple Host": "There is more than one Host field",
}
"""How h11's errors on a complete head begin -> our own sentence, which does not change with it."""


def sentence_for(error: str) -> str:
    """Our sentence for what h11 says of a complete head whose lines end in CRLF.

    :param error: its message, which may quote the client.
    """
    for beginning, sentence in _SENTENCES.items():
        if error.startswith(beginning):
            return sentence
    return _NO_REQUEST


_FIRST_BYTES = {
    0x16: "it looks like TLS, and this port speaks plain HTTP: ask for http:// and not https://, "
    "or give the server --certfile and --keyfile, or have TLS ended by a proxy in front",
    0x00: "it looks like the uwsgi protocol, and this port speaks HTTP: in nginx, use proxy_pass "
    "and not uwsgi_pass, or give the server --bind uwsgi://ADDRESS",
    0x01: "it looks like FastCGI, and this port speaks HTTP: in nginx, use proxy_pass and not "
    "fastcgi_pass, or give the server --bind fastcgi://ADDRESS",
}
_SCGI = re.compile(rb"[1-9][0-9]{0,7}:CONTENT")
_LOOKS_LIKE_SCGI = (
    "it looks like SCGI, and this port speaks HTTP: in nginx, use proxy_pass and not scgi_pass, or "
    "give the server --bind scgi://ADDRESS"
)
_PROXY_1 = (
    "it begins as version 1 of the PROXY protocol does, which this server does not expect: give it "
    "--proxy-protocol, and --proxy-allow-from where the proxy is on another machine; or have the "
    "proxy send none (HAProxy: no send-proxy; nginx: proxy_protocol off)"
)
_PROXY_2 = (
    "two empty lines came first, as in version 2 of the PROXY protocol, which this server does not "
    "expect: give it --proxy-protocol, and --proxy-allow-from where the proxy is on another "
    "machine; or have the proxy send none (HAProxy: no send-proxy-v2; nginx: proxy_protocol off)"
)
_BEGINNINGS = {
    b"PROXY ": _PROXY_1,
    b"PRI * HTTP/2.0\r\n": "it is HTTP/2 without TLS, and this port speaks HTTP/1.1: have the "
    "client, or the proxy in front, speak that",
}


def begins_as_scgi(data: bytes | bytearray, position: int) -> bool:
    """Whether a request of SCGI begins there: a netstring of which CONTENT_LENGTH is the first."""
    return _SCGI.match(data, position) is not None


def foreign_protocol(data: bytes, *, after_crlf: bool) -> str:
    """What the first bytes of a connection seem to be, and what to do about it; "" if unknown.

    :param data: how they begin, or how they go on after a CRLF; up to the fault at least.
    :param after_crlf: whether that CRLF was there. The PROXY protocol's version 2 begins with two
        of them: at the second CR the fault is found, and the rest may not have come.
    """
    if after_crlf:
        return _PROXY_2 if data[:1] == b"\r" else ""
    for beginning, cause in _BEGINNINGS.items():
        if data.startswith(beginning):
            return cause
    if _SCGI.match(data):
        return _LOOKS_LIKE_SCGI
    return _FIRST_BYTES.get(data[0], "") if data else ""

"""The front server's side of uwsgi, SCGI and FastCGI, by their specifications: a request as bytes,
and a strict reader of what comes back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import unquote

import fastcgi_peer
from rawclient import RawClient

__all__ = ["BEGINNINGS", "PROTOCOLS", "Answer", "answer", "encode", "scgi", "told", "uwsgi"]

PROTOCOLS = ("uwsgi", "scgi", "fastcgi")

BEGINNINGS = {"uwsgi": b"HTTP/1.1 ", "scgi": b"Status: ", "fastcgi": b"Status: "}
"""How the head of a response begins."""


class Answer(NamedTuple):
    """One response."""

    status: int
    fields: dict[str, str]
    """By lower-case name."""
    body: bytes


def told(target: str = "/", method: str = "GET", body: bytes = b"", **more: str) -> dict[str, str]:
    """What nginx says of a request by its uwsgi_params; `more` in addition, or instead."""
    path, _, query = target.partition("?")
    return {
        "QUERY_STRING": query,
        "REQUEST_METHOD": method,
        "CONTENT_TYPE": "",
        "CONTENT_LENGTH": str(len(body)) if body else "",
        "REQUEST_URI": target,
        "PATH_INFO": unquote(path, "latin-1"),
        "DOCUMENT_ROOT": "/usr/share/nginx/html",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REQUEST_SCHEME": "http",
        "REMOTE_ADDR": "192.0.2.9",
        "REMOTE_PORT": "50000",
        "SERVER_PORT": "80",
        "SERVER_NAME": "www.example.org",
        "HTTP_HOST": "www.example.org",
        **more,
    }


def uwsgi(variables: Mapping[str, str], body: bytes = b"", modifier: int = 0) -> bytes:
    """A request of the uwsgi protocol."""
    parts = [part.encode("latin-1") for pair in variables.items() for part in pair]
    block = b"".join([len(part).to_bytes(2, "little") + part for part in parts])
    return bytes((modifier,)) + len(block).to_bytes(2, "little") + b"\0" + block + body


def scgi(variables: Mapping[str, str], body: bytes = b"") -> bytes:
    """A request of SCGI."""
    named = {"CONTENT_LENGTH": str(len(body)), "SCGI": "1"}
    named |= {name: value for name, value in variables.items() if name != "CONTENT_LENGTH"}
    block = b"".join([f"{name}\0{value}\0".encode("latin-1") for name, value in named.items()])
    return b"%d:%s," % (len(block), block) + body


def fastcgi(variables: Mapping[str, str], body: bytes = b"") -> bytes:
    """A request of FastCGI, on a connection that is not to be kept."""
    pieces = [body[start : start + 65535] for start in range(0, len(body), 65535)]
    return fastcgi_peer.write(fastcgi_peer.request(variables, pieces, keep=False))


def encode(protocol: str, variables: Mapping[str, str], body: bytes = b"") -> bytes:
    """A request of any of them."""
    return {"uwsgi": uwsgi, "scgi": scgi, "fastcgi": fastcgi}[protocol](variables, body)


def answer(protocol: str, client: RawClient) -> Answer:
    """All that comes until the connection ends.

    :raises ConnectionResetError: it was cut.
    """
    data = client.read_to_end()
    if protocol == "fastcgi":
        responses = fastcgi_peer.Responses()
        responses.take(data)
        [(_, ended)] = responses.ended
        assert (ended.app_status, ended.protocol_status) == (0, 0)
        data = bytes(ended.stdout)
    head, found, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    begins = BEGINNINGS[protocol].decode()
    assert found, head
    assert first.startswith(begins), first
    fields = dict(line.split(": ", 1) for line in lines)
    assert len(fields) == len(lines), lines
    for name in ("Transfer-Encoding", "Connection", "Keep-Alive"):
        assert name not in fields
    named = {name.lower(): value for name, value in fields.items()}
    return Answer(int(first.removeprefix(begins)[:3]), named, body)

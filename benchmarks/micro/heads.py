"""Request heads to feed a parser with. Each function gives an endless supply."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

__all__ = ["DISTINCT", "browser", "closing", "hello", "proxied", "short", "uwsgi"]

DISTINCT = 1000
"""Heads before one comes again: more than the server remembers."""


def hello() -> Iterator[bytes]:
    """What a load generator or a health check sends: the same bytes again and again."""
    return itertools.repeat(b"GET / HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n\r\n")


def short(place: str = "items") -> Iterator[bytes]:
    """What curl sends, the paths all different.

    :param place: the path's first segment. Two users who are not to meet in the server's memory of
        heads ask for different ones.
    """
    heads = [
        f"GET /{place}/{number} HTTP/1.1\r\n"
        "Host: 127.0.0.1:8000\r\n"
        "User-Agent: curl/8.5.0\r\n"
        "Accept: */*\r\n\r\n"
        for number in range(DISTINCT)
    ]
    return itertools.cycle([head.encode("latin-1") for head in heads])


def browser() -> Iterator[bytes]:
    """A browser's: ten fields; path, query, cookie and request id differ."""
    heads = [
        f"GET /articles/{number}/comments?page={number % 97}&sort=new HTTP/1.1\r\n"
        "Host: www.example.com\r\n"
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n"
        "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
        "Accept-Language: en-GB,en;q=0.7,de;q=0.3\r\n"
        "Accept-Encoding: gzip, deflate, br, zstd\r\n"
        f"Referer: https://www.example.com/articles/{number}\r\n"
        "Connection: keep-alive\r\n"
        f"Cookie: session={number * 2654435761:032x}; user=u{number}\r\n"
        f"X-Request-ID: {number * 40503:016x}\r\n"
        "Sec-Fetch-Mode: navigate\r\n\r\n"
        for number in range(DISTINCT)
    ]
    return itertools.cycle([head.encode("latin-1") for head in heads])


def proxied() -> Iterator[bytes]:
    """A browser's, as a proxy passes it on: fifty clients, each asking in its turn."""
    fields = (
        b"X-Forwarded-For: 203.0.113.%d\r\nX-Forwarded-Proto: https\r\n"
        b"X-Forwarded-Host: www.example.com\r\n\r\n"
    )
    heads = itertools.islice(browser(), DISTINCT)
    made = [head[:-2] + fields % (number % 50) for number, head in enumerate(heads)]
    return itertools.cycle(made)


def closing() -> Iterator[bytes]:
    """What a load generator sends that wants a connection for each request."""
    return itertools.repeat(b"GET / HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nConnection: close\r\n\r\n")


def uwsgi() -> Iterator[bytes]:
    """A browser's, as nginx passes it on by uwsgi: fifty clients, each asking in its turn."""
    made = []
    for number, head in enumerate(itertools.islice(browser(), DISTINCT)):
        line, *fields = head.decode("latin-1").split("\r\n")[:-2]
        target = line.split(" ")[1]
        path, _, query = target.partition("?")
        # As its uwsgi_params has them, and then the fields in their order.
        variables = {
            "QUERY_STRING": query,
            "REQUEST_METHOD": "GET",
            "CONTENT_TYPE": "",
            "CONTENT_LENGTH": "",
            "REQUEST_URI": target,
            "PATH_INFO": path,
            "DOCUMENT_ROOT": "/usr/share/nginx/html",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REQUEST_SCHEME": "https",
            "HTTPS": "on",
            "REMOTE_ADDR": f"203.0.113.{number % 50}",
            "REMOTE_PORT": str(40000 + number),
            "SERVER_PORT": "443",
            "SERVER_NAME": "www.example.com",
        }
        for field in fields:
            name, _, value = field.partition(": ")
            variables["HTTP_" + name.upper().replace("-", "_")] = value
        made.append(_uwsgi_block(variables))
    return itertools.cycle(made)


def _uwsgi_block(variables: dict[str, str]) -> bytes:
    block = b"".join(
        len(part).to_bytes(2, "little") + part.encode("latin-1")
        for pair in variables.items()
        for part in pair
    )
    return b"\0" + len(block).to_bytes(2, "little") + b"\0" + block

"""Requests that a process answers before it accepts connections: imports made late, caches filled,
and proof that the application works at all."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable
from urllib.parse import urlsplit

from wsgi_async.errors import LoadError

__all__ = ["warm_up"]

_STATUS = re.compile(rb"HTTP/1\.1 ([0-9]{3}) ")


async def warm_up(
    target: str, make_protocol: Callable[[object], asyncio.Protocol], limit: float
) -> None:
    """Ask for `target` over a connection that only this process has. *Loop.*

    :param target: a path with or without a query, or an ``http://`` URL for its Host field.
    :param make_protocol: makes the server's side of a connection, of the client's address.
    :param limit: seconds for the whole answer; 0 for no bound.
    :raises LoadError: there is no answer, or its status is 500 or above.
    """
    status = 0
    try:
        async with asyncio.timeout(limit or None):
            status = await _ask(target, make_protocol)
    except TimeoutError:
        raise LoadError(f"--warmup {target} was not answered within {limit:g} s") from None
    except OSError as error:
        raise LoadError(f"--warmup {target} was not answered: {error}") from error
    if not status:
        raise LoadError(f"--warmup {target} was not answered")
    if status >= 500:
        raise LoadError(f"--warmup {target} was answered with {status}")


async def _ask(target: str, make_protocol: Callable[[object], asyncio.Protocol]) -> int:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.connect_accepted_socket(lambda: make_protocol(""), theirs)
    reader, writer = await asyncio.open_unix_connection(sock=ours)
    try:
        host, path = "localhost", target
        if not target.startswith("/"):
            url = urlsplit(target)
            host, path = url.netloc, target.partition(url.netloc)[2]
        writer.write(
            f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: wsgi_async-warmup\r\n"
            "Connection: close\r\n\r\n".encode("latin-1")
        )
        match = _STATUS.match(await reader.readline())
        while await reader.read(65536):
            pass
        return int(match[1]) if match else 0
    finally:
        writer.close()

"""Is the answer right? Asked before each measurement, by the standard library's own client."""

from __future__ import annotations

import http.client
import time
from collections.abc import Mapping

from benchmarks import apps
from benchmarks.clients import secure
from benchmarks.harness.model import WrongAnswer

__all__ = ["ask", "expect", "expect_parts"]

ATTEMPTS = 5
"""Looks at whether a response comes in parts."""


def ask(
    port: int,
    path: str = "/",
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    timeout: float = 15.0,
    tls: bool = False,
) -> bytes:
    """The body of one answer.

    :param timeout: seconds, for each wait.
    :param tls: by TLS 1.3.
    :raises WrongAnswer: there is none, it is cut short, or its status is not 200.
    """
    connection: http.client.HTTPConnection
    if tls:
        context = secure.context()
        connection = http.client.HTTPSConnection(
            "127.0.0.1", port, timeout=timeout, context=context
        )
    else:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path, body, dict(headers or {}))
        response = connection.getresponse()
        received = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise WrongAnswer(f"{method} {path}: {error!r}") from error
    finally:
        connection.close()
    if response.status != 200:
        raise WrongAnswer(f"{method} {path}: status {response.status}, {received[:80]!r}")
    return received


def expect_parts(port: int) -> None:
    """That the first part of a response is sent before the application has given the last one: a
    server "must not delay the transmission of any block" (PEP 3333). One that holds back a block or
    two passes; one that collects the whole response does another work, and cannot stream.

    Asked again where both came at once: so they also do where this process was kept from reading
    the first in time.

    :raises WrongAnswer: it is not.
    """
    for _ in range(ATTEMPTS):
        if _seconds_between_parts(port) >= apps.PAUSE / 3:
            return
    raise WrongAnswer("it collects a whole response before it sends any of it (PEP 3333)")


def _seconds_between_parts(port: int) -> float:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=15.0)
    try:
        connection.request("GET", apps.PAUSING)
        response = connection.getresponse()
        first = response.read(len(apps.LINES[0]))
        begun = time.perf_counter()
        last = response.read()
        elapsed = time.perf_counter() - begun
    except (OSError, http.client.HTTPException) as error:
        raise WrongAnswer(f"GET {apps.PAUSING}: {error!r}") from error
    finally:
        connection.close()
    expect(first + last, b"".join(apps.LINES))
    return elapsed


def expect(received: bytes, wanted: bytes) -> None:
    """:raises WrongAnswer: they differ."""
    if received != wanted:
        raise WrongAnswer(
            f"{len(received)} bytes {received[:80]!r} instead of {len(wanted)} {wanted[:80]!r}"
        )

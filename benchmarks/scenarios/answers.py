"""Is the answer right? Asked before each measurement, by the standard library's own client."""

from __future__ import annotations

import http.client
from collections.abc import Mapping

from benchmarks.harness.model import WrongAnswer

__all__ = ["ask", "expect"]


def ask(
    port: int,
    path: str = "/",
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    timeout: float = 15.0,
) -> bytes:
    """The body of one answer.

    :param timeout: seconds, for each wait.
    :raises WrongAnswer: there is none, it is cut short, or its status is not 200.
    """
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


def expect(received: bytes, wanted: bytes) -> None:
    """:raises WrongAnswer: they differ."""
    if received != wanted:
        raise WrongAnswer(
            f"{len(received)} bytes {received[:80]!r} instead of {len(wanted)} {wanted[:80]!r}"
        )

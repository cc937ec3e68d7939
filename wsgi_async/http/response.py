"""What a response head says, before any version of HTTP has turned it into bytes. Any thread."""

from __future__ import annotations

from dataclasses import dataclass

from wsgi_async.errors import HTTPError

__all__ = ["ResponseHead", "error_response", "with_fields"]


# Not a named tuple: each look into one is slow, and there are a dozen in a request. Not frozen, for
# that makes it slower to make, but nobody changes it; and equal to itself only, so that a framer
# finds what it remembers of it without comparing fields.
@dataclass(slots=True, eq=False)
class ResponseHead:
    """A checked head. Immutable: the same one serves many responses."""

    status: int
    reason: str
    """Latin-1, perhaps empty."""
    fields: tuple[tuple[str, str], ...]
    """Name and value of each, latin-1 without control characters, in their order. What belongs to
    the framing or to the connection is not among them (Content-Length, Connection)."""
    content_length: int | None = None
    """As the application promised, None where it did not."""
    recurs: bool = False
    """Whether this very object is kept for further responses."""
    closes: bool = False
    """Whether the application asks for the connection to end after it."""
    has_date: bool = False
    """Whether a Date is among the fields: no other is added."""
    has_server: bool = False
    """Whether a Server is."""


def with_fields(head: ResponseHead, fields: tuple[tuple[str, str], ...]) -> ResponseHead:
    """The same head with more fields behind those that it has. It does not recur."""
    return ResponseHead(
        head.status,
        head.reason,
        head.fields + fields,
        head.content_length,
        closes=head.closes,
        has_date=head.has_date,
        has_server=head.has_server,
    )


def error_response(
    error: HTTPError, more: tuple[tuple[str, str], ...] = ()
) -> tuple[ResponseHead, bytes]:
    """Head and body of an answer of the server's own.

    :param more: further fields.
    """
    body = f"{error.status} {error.reason}\n\n{error.detail}\n".encode("latin-1")
    fields: tuple[tuple[str, str], ...] = (("Content-Type", "text/plain; charset=utf-8"),)
    if error.retry_after is not None:
        fields += (("Retry-After", str(error.retry_after)),)
    return ResponseHead(error.status, error.reason, fields + more), body

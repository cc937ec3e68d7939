"""What every parser of request heads shares: the types, and the rules about single lines.

Below both parsers (:mod:`.http1` with h11, and the fast lane) and the chunked decoder, so that
a rule exists once. Pure functions; any thread.
"""

from __future__ import annotations

import ipaddress
import re
import sys
from functools import lru_cache
from typing import NamedTuple

from .errors import HTTPError

__all__ = ["Limits", "RequestHead", "end_of_line", "valid_authority"]


class Limits(NamedTuple):
    """Bounds on a request head; 0 means no bound.

    Lengths of lines are without their CRLF. Trailers obey the last three too.
    """

    request_line: int
    """Bytes in the request line; one more is a 414."""
    fields: int
    """Number of field lines; one more is a 431."""
    field_size: int
    """Bytes in one field line, name and value; one more is a 431."""
    header_size: int
    """Bytes in the whole head, from the method to the empty line with its CRLF; else a 431."""

    def bounds(self) -> Limits:
        """The same, with 0 replaced by a number that nothing reaches."""
        return Limits(*(limit or sys.maxsize for limit in self))


class RequestHead(NamedTuple):
    """A request head that has been judged valid. Immutable; text is latin-1."""

    method: str
    target: str
    """The request target as received (``RAW_URI``)."""
    path: str
    """Still percent-encoded; "" for the asterisk-form (RFC 9112 §3.2.4)."""
    query: str
    """What follows the first "?", without it."""
    version: str
    """``HTTP/1.1`` or ``HTTP/1.0``; a later minor version is treated as 1.1 (RFC 9110 §2.5)."""
    fields: tuple[tuple[str, str], ...]
    """Name as received, value without surrounding whitespace.

    With a target in absolute-form, Host holds the target's authority (RFC 9112 §3.2.2).
    """
    content_length: int | None
    """In bytes; None where the request has no Content-Length."""
    chunked: bool
    keep_alive: bool
    """What the client asked for, by its version and Connection (RFC 9112 §9.3)."""
    expect_continue: bool
    """The client waits for a 100 before it sends its body; only True where there is a body."""

    @property
    def has_body(self) -> bool:
        return self.chunked or bool(self.content_length)


# RFC 3986 §3.2.2: reg-name (an IPv4 address is one too) or an IPv6 literal, then a port.
# No userinfo: RFC 9110 §4.2.4 forbids it in http(s), and Host never had it.
_AUTHORITY = re.compile(
    r"(?:\[([0-9A-Fa-f:.]{2,45})\]|(?:[-A-Za-z0-9._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})+)"
    r"(?::[0-9]{0,5})?"
)


@lru_cache(maxsize=1024)
def valid_authority(text: str) -> bool:
    """Whether `text` is a ``uri-host [":" port]`` with a host in it (RFC 9110 §7.2)."""
    match = _AUTHORITY.fullmatch(text)
    if match is None:
        return False
    if match[1] is not None:
        try:
            ipaddress.IPv6Address(match[1])
        except ValueError:
            return False
    return True


_CR_OR_LF = re.compile(rb"[\r\n]")


def end_of_line(
    data: bytes | bytearray, start: int, resume: int, stop: int, limit: int, error: tuple[int, str]
) -> int:
    """Find the end of the line that begins at `start`; only ``data[:stop]`` is looked at.

    :param resume: where the search goes on; nothing between `start` and it is CR or LF.
    :param limit: bytes the line may have without its CRLF.
    :param error: status and sentence of the :class:`HTTPError` for a longer line.
    :returns: the index of the CR of its CRLF, or -1 if the line is not complete.
    :raises HTTPError: `error`, or 400 for a CR or LF that is not part of a CRLF (RFC 9112 §2.2).

    Errors are found in the order of the bytes, so the answer for a stream never depends on how
    it was cut into pieces.
    """
    match = _CR_OR_LF.search(data, resume, stop)
    found = match.start() if match else stop
    if found - start > limit:
        raise HTTPError(*error)
    if match is None:
        return -1
    if data[found] != 0x0D:
        raise HTTPError(400, "A line ends in LF without CR")
    if found + 1 == stop:
        return -1
    if data[found + 1] != 0x0A:
        raise HTTPError(400, "A line contains CR")
    return found

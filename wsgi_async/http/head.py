"""What a request head is, and when it is valid: for every parser of heads, and below them all.

``http1/reader.py`` reads heads with h11 and has :func:`admit` judge them; the fast lane accepts a
subset of that; the chunked decoder reads its lines by the same rule. Pure functions; any thread.
"""

from __future__ import annotations

import ipaddress
import re
import sys
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from wsgi_async.errors import HTTPError

from .variables import request_variables

__all__ = ["Limits", "RequestHead", "admit", "end_of_line", "valid_authority"]


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


@dataclass(slots=True)  # each look into a named tuple takes three times as long and more
class RequestHead:
    """A request head that has been judged valid. Never changed; text is latin-1."""

    method: str
    target: str
    """The request target as received (``RAW_URI``)."""
    path: str
    """Still percent-encoded; "" for the asterisk-form (RFC 9112 §3.2.4)."""
    query: str
    """What follows the first "?", without it."""
    version: str
    """``HTTP/1.1`` or ``HTTP/1.0``; a later minor version is treated as 1.1 (RFC 9110 §2.5)."""
    text: str
    """All of it as received, from the method to the empty line."""
    field_count: int
    variables: dict[str, str]
    """What all that is in the environ, see ``http/variables.py``. To be copied, never changed."""
    content_length: int | None
    """In bytes; None where the request has no Content-Length."""
    chunked: bool
    keep_alive: bool
    """What the client asked for, by its version and Connection (RFC 9112 §9.3)."""
    expect_continue: bool
    """The client waits for a 100 before it sends its body; only True where there is a body."""

    @property
    def fields(self) -> tuple[tuple[str, str], ...]:
        """Name and value of each field, as received and in their order; made when asked for.

        Values are without surrounding whitespace. With a target in absolute-form, Host holds the
        target's authority (RFC 9112 §3.2.2).
        """
        fields = _take_apart(_field_lines(self.text))
        authority = _read_target(self.method, self.target)[2]
        return fields if authority is None else _replace_host(fields, authority)

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


# -- the rules of RFC 9110 and 9112 that h11 leaves to its user

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_DIGITS = re.compile(r"[0-9]{1,20}")  # 20: as h11
# RFC 9110 §5.6.3 allows it. Nobody writes it but who looks for a proxy that strips spaces only, and
# so takes the body for one without a coding.
_CODING_WITH_TAB = re.compile(r"\r\nTransfer-Encoding:[^\r\t]*\t", re.IGNORECASE)
_ABSOLUTE = re.compile(r"[Hh][Tt][Tt][Pp][Ss]?://([^/?]*)([^?]*)(?:(\?)(.*))?")


def admit(method: str, target: str, version: str, text: str) -> RequestHead:
    """Judge a head that is syntactically sound, and say what it means.

    :param method: a token.
    :param target: visible ASCII.
    :param version: ``1.1``, as after ``HTTP/``.
    :param text: the whole head, latin-1. Each of its field lines is a token, a colon, a value that
        may have spaces and tabs around it, and CRLF.
    :raises HTTPError: 505 for another major version; 501 for CONNECT and for a transfer coding
        other than chunked; 417 for an unknown expectation; 400 for framing, Host, target or a
        value that RFC 9110 and 9112 call invalid or that two readers could read differently.

    A target may have characters that no URI has unencoded (``"<>\\^`{|}``): browsers send some of
    them (WHATWG URL, "percent-encode sets"), and all readers agree on where it ends.
    """
    if version[0] != "1":
        raise HTTPError(505, "Only HTTP/1.1 and HTTP/1.0 are spoken here")
    http11 = version[2:] != "0"
    if method == "CONNECT":
        raise HTTPError(501, "This is not a proxy")
    fields = given = _take_apart(_field_lines(text))
    values: dict[str, list[str]] = {}
    for name, value in fields:
        values.setdefault(name.lower(), []).append(value)
    if _CONTROL.search("\t".join([value for _, value in fields])):
        raise HTTPError(400, "A header field contains a control character")
    if len(values.get("content-type", [])) > 1:
        # Two readers may each take the other one, and see another body in the same bytes.
        raise HTTPError(400, "There is more than one Content-Type field")
    _check_host(values.get("host", []), http11)
    content_length, chunked = _framing(values, http11)
    if chunked and _CODING_WITH_TAB.search(text):
        raise HTTPError(400, "A tab stands beside the transfer coding")
    path, query, authority = _read_target(method, target)
    if authority is not None:
        fields = _replace_host(fields, authority)
    connection = _members(values.get("connection", []))
    expectations = _members(values.get("expect", [])) if http11 else set()
    if expectations - {"100-continue"}:
        raise HTTPError(417, "The only expectation met here is 100-continue")
    version = "HTTP/1.1" if http11 else "HTTP/1.0"
    return RequestHead(
        method,
        target,
        path,
        query,
        version,
        text,
        len(given),
        request_variables(method, target, path, query, version, fields, content_length),
        content_length,
        chunked,
        "close" not in connection and (http11 or "keep-alive" in connection),
        bool(expectations) and (chunked or bool(content_length)),
    )


def _field_lines(text: str) -> list[str]:
    return text.split("\r\n")[1:-2]


def _take_apart(lines: list[str]) -> tuple[tuple[str, str], ...]:
    """Name and value of each line; whitespace around a value is not part of it (RFC 9112 §5)."""
    cut = [line.partition(":") for line in lines]
    return tuple([(name, value.strip(" \t")) for name, _, value in cut])


def _members(values: list[str]) -> set[str]:
    """The members of a list of tokens, in lower case (RFC 9110 §5.6.1)."""
    members = {member.strip(" \t").lower() for value in values for member in value.split(",")}
    return members - {""}


def _check_host(hosts: list[str], http11: bool) -> None:
    """RFC 9112 §3.2: exactly one valid Host; HTTP/1.0 may do without."""
    if len(hosts) > 1:
        raise HTTPError(400, "There is more than one Host field")
    if not hosts and http11:
        raise HTTPError(400, "There is no Host field")
    if hosts and not valid_authority(hosts[0]):
        raise HTTPError(400, "The Host field is not a host")


def _framing(values: dict[str, list[str]], http11: bool) -> tuple[int | None, bool]:
    """Content-Length and whether the body is chunked; RFC 9112 §6.1 to §6.3, its strict side."""
    codings = values.get("transfer-encoding", [])
    lengths = values.get("content-length", [])
    if codings:
        if lengths:
            raise HTTPError(400, "Content-Length and Transfer-Encoding exclude each other")
        if not http11:
            raise HTTPError(400, "HTTP/1.0 has no Transfer-Encoding")
        if [coding.lower() for coding in codings] != ["chunked"]:
            raise HTTPError(501, "The only transfer coding understood here is chunked")
        return None, True
    if not lengths:
        return None, False
    if len(lengths) > 1 or not _DIGITS.fullmatch(lengths[0]):
        raise HTTPError(400, "Content-Length is not a number of bytes")
    return int(lengths[0]), False


def _read_target(method: str, target: str) -> tuple[str, str, str | None]:
    """Path, query, and the authority of an absolute-form (RFC 9112 §3.2)."""
    if "#" in target:
        raise HTTPError(400, "A request target has no fragment")
    if target[0] == "/":  # never urlsplit: it takes "//host/x" apart
        path, _, query = target.partition("?")
        return path, query, None
    if target == "*":
        if method != "OPTIONS":
            raise HTTPError(400, "Only OPTIONS may ask for *")
        return "", "", None
    match = _ABSOLUTE.fullmatch(target)
    if match is None or not valid_authority(match[1]):
        raise HTTPError(400, "The request target is neither a path nor an http URI")
    path = match[2]
    if not path and not (method == "OPTIONS" and match[3] is None):  # RFC 9112 §3.2.4
        path = "/"
    return path, match[4] or "", match[1]


def _replace_host(
    fields: tuple[tuple[str, str], ...], authority: str
) -> tuple[tuple[str, str], ...]:
    """RFC 9112 §3.2.2: what Host says is ignored in favour of the target's authority."""
    replaced = tuple(
        (name, authority if name.lower() == "host" else value) for name, value in fields
    )
    if not any(name.lower() == "host" for name, _ in fields):
        replaced += (("Host", authority),)
    return replaced

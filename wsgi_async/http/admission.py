"""Which request heads are valid: what RFC 9110 and 9112 ask beyond their syntax.

Below all parsers of heads: ``http1/reader.py`` reads heads with h11 and has :func:`admit` judge
them; the fast path accepts a subset of that. Pure functions; any thread.
"""

from __future__ import annotations

import re

from wsgi_async.errors import HTTPError

from .request import RequestHead, fields_of, replace_host
from .target import read_target, valid_authority
from .tokens import members_of
from .variables import request_variables

__all__ = ["admit", "check_host", "has_control", "read_length"]

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_DIGITS = re.compile(r"[0-9]{1,20}")  # 20: as h11
# RFC 9110 §5.6.3 allows it. Nobody writes it but who looks for a proxy that strips spaces only, and
# so takes the body for one without a coding.
_CODING_WITH_TAB = re.compile(r"\r\nTransfer-Encoding:[^\r\t]*\t", re.IGNORECASE)


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
    fields = given = fields_of(text)
    values: dict[str, list[str]] = {}
    for name, value in fields:
        values.setdefault(name.lower(), []).append(value)
    if has_control("\t".join([value for _, value in fields])):
        raise HTTPError(400, "A header field contains a control character")
    if len(values.get("content-type", [])) > 1:
        # Two readers may each take the other one, and see another body in the same bytes.
        raise HTTPError(400, "There is more than one Content-Type field")
    check_host(values.get("host", []), required=http11)
    content_length, chunked = _framing(values, http11)
    if chunked and _CODING_WITH_TAB.search(text):
        raise HTTPError(400, "A tab stands beside the transfer coding")
    path, query, authority = read_target(method, target)
    if authority is not None:
        fields = replace_host(fields, authority)
    connection = members_of(values.get("connection", ()))
    expectations = members_of(values.get("expect", ())) if http11 else set()
    if expectations - {"100-continue"}:
        raise HTTPError(417, "The only expectation met here is 100-continue")
    version = "HTTP/1.1" if http11 else "HTTP/1.0"
    return RequestHead(
        method=method,
        target=target,
        path=path,
        query=query,
        version=version,
        text=text,
        field_count=len(given),
        variables=request_variables(method, target, path, query, version, fields, content_length),
        content_length=content_length,
        chunked=chunked,
        keep_alive="close" not in connection and (http11 or "keep-alive" in connection),
        expect_continue=bool(expectations) and (chunked or bool(content_length)),
        drops="_" in "".join(values),
    )


def has_control(value: str) -> bool:
    """Whether it has a control character, as no value of a field may (RFC 9110 §5.5)."""
    return _CONTROL.search(value) is not None


def check_host(hosts: list[str], *, required: bool) -> None:
    """RFC 9112 §3.2: exactly one valid Host; HTTP/1.0 may do without.

    :raises HTTPError: 400.
    """
    if len(hosts) > 1:
        raise HTTPError(400, "There is more than one Host field")
    if not hosts and required:
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
    if len(lengths) > 1:
        raise HTTPError(400, _NO_LENGTH)
    return read_length(lengths[0]), False


_NO_LENGTH = "Content-Length is not a number of bytes"


def read_length(text: str) -> int:
    """Content-Length, digits only (RFC 9110 §8.6).

    :raises HTTPError: 400.
    """
    if not _DIGITS.fullmatch(text):
        raise HTTPError(400, _NO_LENGTH)
    return int(text)

"""The fast lane: one regular expression proves an ordinary request head and takes it apart.

:func:`parse` accepts a strict subset of what h11 and :func:`.head.admit` accept, with the
identical :class:`RequestHead`; for everything else, every error included, it returns None and h11
has the word. A differential property test holds it to that. An optimisation and nothing more: the
server works without this file, and ``parser="h11"`` turns it off.
"""

from __future__ import annotations

import re

from .head import RequestHead, valid_authority

__all__ = ["parse"]

MAX_FIELDS = 24
"""A head with more fields is for h11. Browsers send 10 to 16; each proxy adds some."""


def _head_pattern() -> str:
    # A name without underscore; at most one space, then a value that has no whitespace at its
    # ends and is not empty. Possessive (*+): what one part has matched no other could, so
    # nothing is tried twice.
    field = r"([-!#$%&'*+.^`|~0-9A-Za-z]++): ?([!-~\x80-\xff][\t -~\x80-\xff]*+)(?<![\t ])\r\n"
    # Two groups per field, nested "this field and the rest, or nothing": 1.0 us for ten fields
    # less than a repeated group that is then split.
    fields = ""
    for _ in range(MAX_FIELDS):
        fields = f"(?:{field}{fields}|)"
    method = r"([-!#$%&'*+.^_`|~0-9A-Za-z]++)"
    return method + r' (/[!"$->@-~]*+)(?:\?([!"$-~]*+))? HTTP/1\.1\r\n' + fields + r"\r\n"


_match = re.compile(_head_pattern()).fullmatch
_is_length = re.compile(r"[0-9]{1,18}").fullmatch
_KEEP_ALIVE = {"keep-alive": True, "Keep-Alive": True, "close": False, "Close": False}

_new = tuple.__new__  # RequestHead(...) goes through a Python function: 0.15 us more


def parse(raw: bytes) -> RequestHead | None:
    """Read one complete head (it ends in CRLF CRLF), or decline. Any thread."""
    match = _match(raw.decode("latin-1"))
    if match is None:
        return None
    groups = match.groups()
    flat = iter(groups[3 : match.lastindex])
    fields = tuple(zip(flat, flat))  # noqa: B905 (strict=True takes 0.2 us; the groups are pairs)
    values = {name.lower(): value for name, value in fields}
    method, target, query = groups[:3]
    if (
        len(values) != len(fields)  # a name is repeated
        or "transfer-encoding" in values
        or "expect" in values
        or "upgrade" in values
        or method == "CONNECT"
        or not valid_authority(values.get("host", ""))
    ):
        return None
    path = target
    if query is None:
        query = ""
    else:
        target = f"{path}?{query}"
    keep_alive: bool | None = True
    if "connection" in values:
        keep_alive = _KEEP_ALIVE.get(values["connection"])
        if keep_alive is None:
            return None
    length = None
    if "content-length" in values:
        if not _is_length(values["content-length"]):
            return None
        length = int(values["content-length"])
    return _new(
        RequestHead,
        (method, target, path, query, "HTTP/1.1", fields, length, False, keep_alive, False),
    )

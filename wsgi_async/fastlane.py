"""The fast lane: one regular expression proves an ordinary request head and takes it apart.

:func:`parse` accepts a strict subset of what h11 and :func:`.head.admit` accept, with the
identical :class:`RequestHead`; for everything else, every error included, it returns None and h11
has the word. A differential property test holds it to that. An optimisation and nothing more: the
server works without this file, and ``parser="h11"`` turns it off.
"""

from __future__ import annotations

import re

from .head import RequestHead, valid_authority
from .variables import DROPPED, KEYS, key_of, path_info

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

_key = KEYS.__getitem__
_new = tuple.__new__  # RequestHead(...) goes through a Python function: 0.15 us more


def parse(raw: bytes) -> RequestHead | None:
    """Read one complete head (it ends in CRLF CRLF), or decline. Any thread."""
    match = _match(raw.decode("latin-1"))
    if match is None:
        return None
    groups = match.groups()
    end = match.lastindex
    names, values = groups[3:end:2], groups[4:end:2]
    try:
        variables = dict(zip(map(_key, names), values))  # noqa: B905 (strict=True takes 0.2 us)
    except KeyError:
        variables = dict(zip(map(key_of, names), values, strict=True))
    method, target, query = groups[:3]
    if (
        len(variables) != len(names)  # a name is repeated
        or DROPPED in variables
        or "HTTP_TRANSFER_ENCODING" in variables
        or "HTTP_EXPECT" in variables
        or "HTTP_UPGRADE" in variables
        or method == "CONNECT"
        or not valid_authority(variables.get("HTTP_HOST", ""))
    ):
        return None
    path = target
    if query is None:
        query = ""
    else:
        target = f"{path}?{query}"
    keep_alive: bool | None = True
    if "HTTP_CONNECTION" in variables:
        keep_alive = _KEEP_ALIVE.get(variables["HTTP_CONNECTION"])
        if keep_alive is None:
            return None
    length = None
    if "CONTENT_LENGTH" in variables:
        if not _is_length(variables["CONTENT_LENGTH"]):
            return None
        length = int(variables["CONTENT_LENGTH"])
        variables["CONTENT_LENGTH"] = str(length)
    variables["REQUEST_METHOD"] = method
    variables["RAW_URI"] = variables["REQUEST_URI"] = target
    variables["PATH_INFO"] = path_info(path)
    variables["QUERY_STRING"] = query
    variables["SERVER_PROTOCOL"] = "HTTP/1.1"
    return _new(
        RequestHead,
        (
            method,
            target,
            path,
            query,
            "HTTP/1.1",
            names,
            values,
            variables,
            length,
            False,
            keep_alive,
            False,
        ),
    )

"""The fast lane: proves an ordinary request head line by line, most lines from memory.

:func:`parse` accepts a strict subset of what h11 and :func:`.head.admit` accept, with the
identical :class:`RequestHead`; for everything else, every error included, it returns None and h11
has the word. A differential property test holds it to that. An optimisation and nothing more: the
server works without this file, and ``parser="h11"`` turns it off.

The lines of a client's heads are mostly the same ones. What such a line means is remembered when it
has been proved for the first time; of the rest (cookies, references, ids) only the value is new.
One regular expression over the whole head took 57 thousand instructions for a browser's ten fields
where this takes 45; for curl's three, 29 and 19.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from .head import RequestHead, valid_authority
from .variables import DROPPED, KEYS, key_of, path_info

__all__ = ["parse"]

MAX_FIELDS = 40
"""A head with more fields is for h11. Browsers send 10 to 16; each proxy adds some."""

_METHOD_NAMES = """
    GET HEAD POST PUT DELETE OPTIONS PATCH TRACE
    PROPFIND PROPPATCH REPORT SEARCH MKCOL COPY MOVE LOCK UNLOCK
"""
_METHODS = frozenset(_METHOD_NAMES.split())

# A name without underscore; at most one space, then a value that has no whitespace at its ends and
# is not empty. Possessive (*+): what one part has matched no other could.
_match_field = re.compile(
    r"([-!#$%&'*+.^`|~0-9A-Za-z]++): ?([!-~\x80-\xff][\t -~\x80-\xff]*+)(?<![\t ])"
).fullmatch

_KEEP_ALIVE = {"keep-alive": True, "Keep-Alive": True, "close": False, "Close": False}


def _never(value: str) -> bool:
    return False


_CHECKS: dict[str, Callable[[str], object]] = {
    "HTTP_HOST": valid_authority,
    "HTTP_CONNECTION": _KEEP_ALIVE.__contains__,
    "CONTENT_LENGTH": re.compile(r"[0-9]{1,18}").fullmatch,
    "HTTP_TRANSFER_ENCODING": _never,
    "HTTP_EXPECT": _never,
    "HTTP_UPGRADE": _never,
    DROPPED: _never,
}
"""Fields whose value decides whether the head is an ordinary one."""

_COMING_AGAIN = """
    Host User-Agent Connection Accept Accept-Charset Accept-Encoding Accept-Language Cache-Control
    Pragma DNT Sec-GPC Priority Origin Save-Data TE Upgrade-Insecure-Requests Content-Type
    Sec-Fetch-Dest Sec-Fetch-Mode Sec-Fetch-Site Sec-Fetch-User Sec-CH-UA Sec-CH-UA-Mobile
    Sec-CH-UA-Platform X-Requested-With Via X-Forwarded-Proto X-Forwarded-Host X-Forwarded-Port
    X-Forwarded-Server
"""
"""Fields whose lines come again, and are remembered. Never those that tell one person or one
request from the others (Cookie, Authorization, Referer, addresses, ids): they would only fill the
memory, and secrets have no business in it."""

_REPEATING = frozenset(map(key_of, _COMING_AGAIN.split()))
_NOT_PLAIN = _REPEATING | _CHECKS.keys()

_lines: dict[str, tuple[str, str]] = {}
"""Line -> key in the environ and value; each has been proved. Clients choose the lines, so it is
bounded (to 1 MB at worst): emptied when it is full, and those of every day are soon back. Threads
may race for the last places; nothing breaks."""

_LINES_LIMIT = 1024
_LINE_SIZE_LIMIT = 256

_new = tuple.__new__  # RequestHead(...) goes through a Python function: 0.15 us more


def parse(raw: bytes) -> RequestHead | None:
    """Read one complete head (it ends in CRLF CRLF), or decline. Any thread."""
    # No CR or LF is left in a line that is then proved, so a bare one needs no look of its own;
    # nor does an empty line before the last, which is no field.
    lines = raw.decode("latin-1").split("\r\n")
    fields = lines[1:-2]
    if raw[-4:] != b"\r\n\r\n" or len(fields) > MAX_FIELDS:
        return None
    try:
        method, target, version = lines[0].split(" ")
    except ValueError:
        return None
    if (
        version != "HTTP/1.1"
        or method not in _METHODS
        or target[:1] != "/"
        or not target.isprintable()
        or not target.isascii()
        or "#" in target
    ):
        return None
    path, _, query = target.partition("?")
    variables = {
        "REQUEST_METHOD": method,
        "RAW_URI": target,
        "REQUEST_URI": target,
        "PATH_INFO": path_info(path) if "%" in path else path,
        "QUERY_STRING": query,
        "SERVER_PROTOCOL": version,
    }
    others = len(variables)
    for line in fields:
        pair = _lines.get(line)
        if pair is None:
            # In place, as most new lines are plain: 4.9 thousand instructions less for each
            name, _, value = line.partition(": ")
            key = KEYS.get(name, DROPPED)  # a name in there is a token
            if (
                key in _NOT_PLAIN
                or not value
                or not value.isprintable()  # of latin-1, a part of what a value may hold
                or value.strip(" ") != value
            ):
                pair = _take_apart(line)
                if pair is None:
                    return None
                key, value = pair
        else:
            key, value = pair
        variables[key] = value
    if len(variables) != others + len(fields):  # a name is repeated
        return None
    if "HTTP_HOST" not in variables:
        return None
    keep_alive = True
    if "HTTP_CONNECTION" in variables:
        keep_alive = _KEEP_ALIVE[variables["HTTP_CONNECTION"]]
    length = None
    if "CONTENT_LENGTH" in variables:
        length = int(variables["CONTENT_LENGTH"])
        variables["CONTENT_LENGTH"] = str(length)
    return _new(
        RequestHead,
        (
            method,
            target,
            path,
            query,
            version,
            fields,
            variables,
            length,
            False,
            keep_alive,
            False,
        ),
    )


def _take_apart(line: str) -> tuple[str, str] | None:
    """Key and value of any field line, which may be remembered now; None where it is for h11."""
    match = _match_field(line)
    if match is None:
        return None
    name, value = match.groups()
    key = KEYS.get(name) or key_of(name)
    check = _CHECKS.get(key)
    if check is not None and not check(value):
        return None
    pair = key, value
    if key in _REPEATING and len(line) <= _LINE_SIZE_LIMIT:
        if len(_lines) >= _LINES_LIMIT:
            _lines.clear()
        _lines[line] = pair
    return pair

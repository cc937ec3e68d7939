"""What PEP 3333 asks of what an application gives: its status, its headers, its chunks.

Pool threads only. Each complaint says how to mend it.
"""

from __future__ import annotations

import re
from typing import NoReturn

from wsgi_async.errors import ApplicationError
from wsgi_async.http.bounded_cache import BoundedCache
from wsgi_async.http.response import ResponseHead
from wsgi_async.http.tokens import is_token, members_of

__all__ = [
    "HEADS",
    "HOP_BY_HOP",
    "NAMES",
    "brief",
    "check_chunk",
    "check_field",
    "check_head",
    "remembered_head",
    "why_dropped",
]

# RFC 9110 §7.6.1 and PEP 3333 ("Other HTTP Features"): the server's own business, and not sent.
# Refused they were a 500 for half of all event-stream snippets, which set `Connection: keep-alive`;
# gunicorn drops them too. `Connection: close` is obeyed. Transfer-Encoding is dropped whatever it
# says, as there: who sets it means a body that ends some time, seldom chunks framed by himself.
# An Upgrade would promise what WSGI cannot keep: there is no 101.
HOP_BY_HOP = frozenset(
    (
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "trailers",
        "transfer-encoding",
        "upgrade",
    )
)
_STATUS = re.compile(r"([2-9][0-9][0-9])(?: ([\t\x20-\x7e\x80-\xff]*))?", re.ASCII)
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_DIGITS = re.compile(r"[0-9]{1,19}")

HEADS: BoundedCache[tuple[object, ...], ResponseHead] = BoundedCache(1024)
_HEAD_SIZE_LIMIT = 512
"""Checked heads by (status, *headers), because most responses repeat them: of at most 512
characters, and none with a Set-Cookie."""

remembered_head = HEADS.get
"""The checked head, where it is one of them."""

NAMES: BoundedCache[str, str] = BoundedCache(1024)
_NAME_SIZE_LIMIT = 64
"""Checked names of fields, with what they are in lower case: heads that differ each time have the
same ones all the same."""

_known_name = NAMES.get

# Fields that are more to the server than what it sends.
_NOTED = HOP_BY_HOP | {"content-length", "set-cookie", "date", "server"}


def check_head(status: object, headers: object) -> tuple[ResponseHead, tuple[str, ...]]:
    """Judge what ``start_response`` was given.

    :returns: what is sent of it, and the names of the hop-by-hop fields that are not. A head
        without some of its fields is not remembered: whoever sends it is to be told, and is asked
        each time whether he has been.
    :raises ApplicationError: a wrong type or syntax.
    """
    match = _STATUS.fullmatch(status) if isinstance(status, str) else None
    if match is None:
        _refuse_status(status)
    if not isinstance(headers, list):
        raise ApplicationError(
            f"start_response headers must be a list of (name, value) tuples, "
            f"not {type(headers).__name__}"
        )
    code, reason = match.groups("")
    fields = []
    size = len(reason)
    length: int | None = None
    recurs = True
    closes = has_date = has_server = False
    dropped: dict[str, str] = {}
    for item in headers:
        if type(item) is not tuple or len(item) != 2:
            raise ApplicationError(f"each header must be a (name, value) tuple, not {brief(item)}")
        name, value = item
        if type(name) is not str or type(value) is not str:
            item = name, value = _as_str(name, value)
        lowered = _known_name(name)
        if lowered is None:
            lowered = _check_name(name)
        # What is printable ASCII is a value; the expression, which knows the rest, takes longer.
        if not (value.isascii() and value.isprintable()):
            _check_value(name, value)
        if lowered in _NOTED:
            if lowered == "content-length":
                if _DIGITS.fullmatch(value) is None:
                    raise ApplicationError(
                        f"Content-Length must be digits only, not {brief(value)}"
                    )
                if length is not None and length != int(value):
                    raise ApplicationError("two Content-Length headers that differ")
                length = int(value)
                continue
            if lowered == "set-cookie":
                recurs = False
            elif lowered == "date":
                has_date = True
            elif lowered == "server":
                has_server = True
            else:
                options = members_of((value,)) if lowered == "connection" else set()
                if "close" in options:
                    closes = True
                if options != {"close"}:
                    dropped.setdefault(lowered, name)
                continue
        fields.append(item)
        size += len(name) + len(value)
    recurs = recurs and size <= _HEAD_SIZE_LIMIT and not dropped
    head = ResponseHead(
        int(code), reason, tuple(fields), length, recurs, closes, has_date, has_server
    )
    if recurs:
        HEADS.keep((status, *headers), head)
    return head, tuple(dropped.values())


def check_field(name: object, value: object) -> tuple[str, str, str]:
    """Judge one field by itself.

    :returns: what is sent of it, and its name in lower case.
    :raises ApplicationError: a wrong type or syntax (RFC 9110 §5).
    """
    name, value = _as_str(name, value)
    lowered = _known_name(name) or _check_name(name)
    _check_value(name, value)
    return name, value, lowered


def _as_str(name: object, value: object) -> tuple[str, str]:
    """A field of subclasses of str: what was judged is sent, not what one of them makes of it when
    it is asked."""
    if not isinstance(name, str) or not isinstance(value, str):
        raise ApplicationError(
            f"header names and values must be str, not {brief(name)}: {brief(value)}"
        )
    return str.__str__(name), str.__str__(value)


def _check_name(name: str) -> str:
    """What a name is in lower case, where it is one."""
    if not is_token(name):
        raise ApplicationError(f"{brief(name)} is not a valid header name (RFC 9110 §5.1)")
    lowered = name.lower()
    if len(name) <= _NAME_SIZE_LIMIT:
        NAMES.keep(name, lowered)
    return lowered


def _check_value(name: str, value: str) -> None:
    if _VALUE.fullmatch(value) is None:
        raise ApplicationError(
            f"the value of header {name} has a control character or one outside latin-1: "
            f"{brief(value)}; encode it first (RFC 9110 §5.5)"
        )


def why_dropped(name: str) -> str:
    """The sentence on a hop-by-hop field that was not sent."""
    if name.lower() == "transfer-encoding":
        return (
            f"the header {name} was not sent: the server frames the body, and chunks that the "
            "application frames itself arrive framed twice; remove it and yield the plain body "
            "(PEP 3333)"
        )
    return (
        f"the hop-by-hop header {name} was not sent: it belongs to the server, remove it (PEP 3333)"
    )


def _refuse_status(status: object) -> NoReturn:
    if not isinstance(status, str):
        raise ApplicationError(
            f"the status must be str like '200 OK', not {type(status).__name__}: {brief(status)}"
        )
    raise ApplicationError(
        f"the status must be three digits from 200 to 999, a space and a reason, "
        f"like '200 OK', not {brief(status)}"
    )


def check_chunk(chunk: object, *, is_live: bool = False) -> None:
    """Only ``bytes`` may reach the transport: it keeps references, and a mutable buffer that is
    used again puts wrong bytes on the wire.

    :param is_live: it is of an asynchronous body, which ``--encode-str`` leaves alone.
    """
    if isinstance(chunk, bytes):
        return
    if isinstance(chunk, str):
        hint = "encode it: .encode('utf-8'), or write b'...'"
        if not is_live:
            hint += "; or start with --encode-str utf-8"
    elif isinstance(chunk, bytearray | memoryview):
        hint = "convert it with bytes(...)"
    else:
        hint = "the body must be bytes"
    raise ApplicationError(f"the application yielded {type(chunk).__name__}; {hint}")


def brief(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."

"""``wsgi.early_hints``: fields that a client may act on before there is a response (RFC 8297).

Pool threads, and whatever thread the application calls it on. The key and what it takes are
gunicorn's.
"""

from __future__ import annotations

from collections.abc import Iterable

from wsgi_async.errors import ApplicationError
from wsgi_async.http.response import ResponseHead

from .checks import HOP_BY_HOP, brief, check_field

__all__ = ["SIZE_LIMIT", "EarlyFields", "check_hints", "why_not_sent", "why_too_much"]

EarlyFields = Iterable[tuple[str, str]]
"""What ``wsgi.early_hints`` takes: name and value of each field. Bytes are read as latin-1, as
gunicorn does."""

SIZE_LIMIT = 16 * 1024
"""Bytes that the fields of one call may have."""

_OVERHEAD = 4
"""Bytes of a field beside its name and value: a colon, a space, the end of the line."""

# RFC 9110 §8.6 and RFC 9112 §6.1: a response without content has no framing.
_NOT_SENT = HOP_BY_HOP | {"content-length"}


def check_hints(fields: object) -> tuple[ResponseHead | None, int, tuple[str, ...]]:
    """Judge what ``wsgi.early_hints`` was given.

    :returns: the head to send, None where there are no fields, or more than :data:`SIZE_LIMIT`; its
        size in bytes; and the names of the fields that are not for an interim response.
    :raises ApplicationError: a wrong type or syntax, as for ``start_response``.
    """
    if isinstance(fields, str | bytes) or not isinstance(fields, Iterable):
        raise ApplicationError(
            f"wsgi.early_hints takes an iterable of (name, value) tuples, not {brief(fields)}"
        )
    checked: list[tuple[str, str]] = []
    dropped: dict[str, str] = {}
    size = 0
    for item in fields:
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise ApplicationError(
                f"each early hint must be a (name, value) tuple, not {brief(item)}"
            )
        name, value = (part.decode("latin-1") if type(part) is bytes else part for part in item)
        name, value, lowered = check_field(name, value)
        size += len(name) + len(value) + _OVERHEAD
        if size > SIZE_LIMIT:
            return None, size, tuple(dropped.values())  # it may have no end
        if lowered in _NOT_SENT:
            dropped.setdefault(lowered, name)
        else:
            checked.append((name, value))
    head = ResponseHead(103, "Early Hints", tuple(checked)) if checked else None
    return head, size, tuple(dropped.values())


def why_not_sent(name: str) -> str:
    """The sentence on a field that is not for an interim response."""
    return f"the early hint {name} was not sent: it is for final responses only, remove it"


def why_too_much(size: int) -> str:
    """The sentence on hints that were left out."""
    if size > SIZE_LIMIT:
        return f"early hints were not sent: those of one call may have {SIZE_LIMIT} bytes"
    return "early hints were not sent: too many wait for their client already"

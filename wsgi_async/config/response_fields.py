"""``--header``: fields that an operator has the server add to its responses."""

from __future__ import annotations

from collections.abc import Iterable

from wsgi_async.errors import ApplicationError, ConfigError
from wsgi_async.wsgi.checks import HOP_BY_HOP, check_field

__all__ = ["TAKES", "are_fields", "parse_fields"]

TAKES = "fields such as 'X-Frame-Options: DENY'"

# What is said of the framing, the connection and the time is true of one response only.
_SERVERS_OWN = HOP_BY_HOP | {"content-length", "date"}


def are_fields(texts: Iterable[str]) -> bool:
    """Whether each is a field that may be added.

    :raises ConfigError: one is, but the server writes it itself.
    """
    try:
        parse_fields(texts)
    except ApplicationError:
        return False
    return True


def parse_fields(texts: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Name and value of each ``NAME: VALUE``; uvicorn's ``NAME:VALUE`` is the same.

    :raises ApplicationError: it is no such thing (RFC 9110 §5).
    :raises ConfigError: the server writes it itself.
    """
    fields = []
    for text in texts:
        name, colon, value = text.partition(":")
        if not colon:
            raise ApplicationError("a field has a colon")
        name, value, lowered = check_field(name, value.strip(" \t"))
        if lowered in _SERVERS_OWN:
            raise ConfigError(
                f"--header: {name} is the server's own, which writes it where it belongs: "
                "leave it out"
            )
        fields.append((name, value))
    return tuple(fields)

"""Fields that an operator has the server add to its responses: those of ``--header``, and the one
that ``--request-id-header`` names."""

from __future__ import annotations

import re
from collections.abc import Iterable

from wsgi_async.errors import ApplicationError, ConfigError
from wsgi_async.wsgi.checks import HOP_BY_HOP, check_field

__all__ = ["ID_FIELD", "TAKES", "are_fields", "is_id_field", "parse_fields"]

TAKES = "fields such as 'X-Frame-Options: DENY'"

ID_FIELD = "the name of a field that is there for this, such as X-Request-ID"

# What is said of the framing, the connection and the time is true of one response only.
_SERVERS_OWN = HOP_BY_HOP | {"content-length", "date"}


# Nor may what is secret, or means something else to either side, be taken for an id, and logged.
_NO_ID = _SERVERS_OWN | {
    *("accept", "authorization", "content-encoding", "content-type", "cookie", "expect", "host"),
    *("location", "origin", "proxy", "range", "referer", "server", "server-timing", "set-cookie"),
    "user-agent",
}
# With an underscore it would not be taken from clients.
_NAME = re.compile(r"[A-Za-z0-9-]{1,64}", re.ASCII)


def is_id_field(name: str) -> bool:
    """Whether it may be the name of the field with a request's id."""
    return _NAME.fullmatch(name) is not None and name.lower() not in _NO_ID


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

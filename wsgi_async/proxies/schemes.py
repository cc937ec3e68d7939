"""The fields that say the scheme, in gunicorn's way. Pure; any thread."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from wsgi_async.errors import ConfigError
from wsgi_async.http.tokens import TOKEN
from wsgi_async.http.variables import DROPPED, key_of

from .x_forwarded import SCHEMES, read_scheme

__all__ = ["SECURE_SCHEME_HEADERS", "SchemeField", "scheme_fields"]

SECURE_SCHEME_HEADERS = (
    "X-Forwarded-Protocol=ssl",
    "X-Forwarded-Proto=https",
    "X-Forwarded-Ssl=on",
)
"""gunicorn's default."""

_FIELD = re.compile(rf"({TOKEN})=([!-~]+)")


@dataclass(frozen=True, slots=True)
class SchemeField:
    """One field that says the scheme."""

    name: str
    """As errors write it."""
    key: str
    """In a head's variables."""
    secure: str
    """The value by which it says https, in lower case."""

    def is_secure(self, value: str) -> bool:
        """Whether `value`, all of it, is the one that means https. (gunicorn minds the case.)"""
        return value.lower() == self.secure

    def read(self, entry: str) -> str:
        """``http`` or ``https``, from an entry.

        :raises HTTPError: 400 where the field has schemes as its values (its secure value is
            ``https``), and this is none. In other fields anything that is not secure, nor ``https``
            itself, is http: ``off``, ``0``.
        """
        if self.is_secure(entry):
            return "https"
        if self.secure in SCHEMES:
            return read_scheme(entry, self.name)
        return SCHEMES.get(entry.lower(), "http")


def scheme_fields(
    texts: Iterable[str], *, flag: str = "--secure-scheme-headers"
) -> tuple[SchemeField, ...]:
    """The fields of gunicorn's ``secure_scheme_headers``.

    :param texts: ``NAME=VALUE``, the name in any case, with the value by which it says https.
    :param flag: the option, for errors.
    :raises ConfigError: what is no name of a field, has an underscore, or has no value.
    """
    fields = []
    for text in texts:
        match = _FIELD.fullmatch(text)
        if match is None:
            raise ConfigError(f"{flag} takes fields such as X-Forwarded-Proto=https, not {text!r}")
        name, secure = match.groups()
        key = key_of(name)
        if key == DROPPED:
            raise ConfigError(
                f"{flag}: {name} never comes in: write it with hyphens, here and in the proxy"
            )
        fields.append(SchemeField(name.title(), key, secure.lower()))
    return tuple(fields)

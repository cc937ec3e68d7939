"""Tokens, and lists of them, as fields have them. Pure functions; any thread."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["TOKEN", "is_token", "members_of"]

TOKEN = r"[-!#$%&'*+.^_`|~0-9A-Za-z]+"
"""What names of fields, methods and parameters are (RFC 9110 §5.6.2): a pattern, for others."""

_TOKEN = re.compile(TOKEN)


def is_token(text: str) -> bool:
    """Whether all of it is one."""
    return _TOKEN.fullmatch(text) is not None


def members_of(values: Iterable[str]) -> set[str]:
    """The members of a list of tokens, in lower case; those that are empty count for nothing (RFC
    9110 §5.6.1).

    :param values: of all lines of the field.
    """
    return {member.strip(" \t").lower() for value in values for member in value.split(",")} - {""}

"""How much a report takes in, and how much it makes of that: a few lines that double themselves
would else come to more than there is memory for.
"""

from __future__ import annotations

import re
from typing import Any

from wsgi_async.errors import ConfigError

__all__ = ["LARGEST", "LETTERS", "TooLarge", "bounded", "check_text"]

LETTERS = 1 << 20
"""Of a source."""

LARGEST = 1 << 16
"""Letters, parts and names of a value, all together."""

_LONGEST_LINE = 1 << 14
"""Letters, with the lines that it goes on in: to look for names and quotes in them takes the square
of that."""

_MOST_LINES = 10_000

_GREATEST = 1 << 64
"""No number of a configuration is; Python cannot write down those of more than 4300 digits."""

_GOES_ON = re.compile(r"\\[ \t]*\r?\n")


class TooLarge(Exception):
    """A value is more than any configuration has."""


def bounded(value: Any) -> Any:
    """The value.

    :raises TooLarge: it is larger than :data:`LARGEST`, all that is in it counted as often as it is
        there, or a number that is as large.
    """
    rest, size = [value], 0
    while rest:
        each = rest.pop()
        if isinstance(each, str | bytes):
            size += len(each)
        elif isinstance(each, list | tuple):
            rest += each
        elif isinstance(each, dict):
            rest += each.keys()
            rest += each.values()
        elif isinstance(each, int) and abs(each) > _GREATEST:
            raise TooLarge
        size += 1
        if size + len(rest) > LARGEST:
            raise TooLarge
    return value


def check_text(text: str, name: str) -> None:
    """Hold a source to what a configuration may be.

    :raises ConfigError: it has more letters or lines, or longer ones.
    """
    if len(text) > LETTERS:
        raise ConfigError(f"{name} is larger than 1 MiB")
    lines = _GOES_ON.sub("", text).splitlines()
    if len(lines) > _MOST_LINES:
        raise ConfigError(f"{name} has more than {_MOST_LINES} lines: no configuration has as many")
    if max(map(len, lines), default=0) > _LONGEST_LINE:
        raise ConfigError(f"{name} has a line of more than {_LONGEST_LINE} letters: leave it out")

"""The field Forwarded (RFC 7239). Pure functions; any thread."""

from __future__ import annotations

import re
from collections.abc import Iterable

from wsgi_async.errors import HTTPError

__all__ = ["read_forwarded"]

Element = dict[str, str]
"""Parameter in lower case -> value, without quotes."""

_TOKEN = r"[-!#$%&'*+.^_`|~0-9A-Za-z]+"
# RFC 9110 §5.6.4; backslash first, as it is in the ranges of what may be quoted
_QUOTED = r'"((?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*)"'
_PAIR = re.compile(rf"({_TOKEN})=(?:({_TOKEN})|{_QUOTED})")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_SPACE = re.compile(r"[ \t]*")


def read_forwarded(lines: Iterable[str]) -> list[Element]:
    """The elements of all lines of the field, from the client to the nearest proxy.

    Whitespace is allowed around commas (RFC 9110 §5.6.1) and around semicolons (§5.6.6, which is
    younger than RFC 7239, and what many proxies write). Elements that are empty count for nothing.

    :param lines: the values of the field's lines, each by itself: what is quoted ends in its line.
    :raises HTTPError: 400 where a line is not of the grammar, or has a parameter twice in one
        element (RFC 7239 §4).
    """
    return [element for line in lines for element in _read_line(line)]


def _read_line(line: str) -> list[Element]:
    elements: list[Element] = []
    element: Element = {}
    is_empty = True  # nothing of the element has been seen, no semicolon either
    position = _skip(line, 0)
    while position < len(line):
        match = _PAIR.match(line, position)
        if match is not None:
            name = match[1].lower()
            if name in element:
                raise HTTPError(400, "The Forwarded field has a parameter twice in one element")
            quoted = match[3]
            element[name] = match[2] if quoted is None else _ESCAPED.sub(r"\1", quoted)
            is_empty = False
            position = _skip(line, match.end())
        if position == len(line):
            break
        if line[position] == ",":
            if not is_empty:
                elements.append(element)
            element, is_empty = {}, True
        elif line[position] == ";":
            is_empty = False
        else:
            raise HTTPError(400, "The Forwarded field is not of the grammar in RFC 7239")
        position = _skip(line, position + 1)
    if not is_empty:
        elements.append(element)
    return elements


def _skip(line: str, position: int) -> int:
    match = _SPACE.match(line, position)
    assert match is not None
    return match.end()

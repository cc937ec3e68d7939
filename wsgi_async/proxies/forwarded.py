"""The field Forwarded (RFC 7239). Pure functions; any thread."""

from __future__ import annotations

import re
from collections.abc import Iterable

from wsgi_async.errors import HTTPError
from wsgi_async.http.tokens import TOKEN

__all__ = ["MOST_PARTS", "read_forwarded"]

MOST_PARTS = 400
"""Elements and parameters of the field at most: a hop has four parameters (RFC 7239 §4), and no
chain of proxies has a hundred hops. A head has room for thousands, which would hold up the loop.
What is quoted must be read from its beginning: so the nearest cannot be read without the others."""

Element = dict[str, str]
"""Parameter in lower case -> value, without quotes."""

# RFC 9110 §5.6.4; backslash first, as it is in the ranges of what may be quoted
_QUOTED = r'"((?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*)"'
_PAIR = re.compile(rf"({TOKEN})=(?:({TOKEN})|{_QUOTED})")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_SPACE = re.compile(r"[ \t]*")


def read_forwarded(lines: Iterable[str]) -> list[Element]:
    """The elements of all lines of the field, from the client to the nearest proxy.

    Whitespace is allowed around commas (RFC 9110 §5.6.1) and around semicolons (§5.6.6, which is
    younger than RFC 7239, and what many proxies write). Elements that are empty count for nothing.

    :param lines: the values of the field's lines, each by itself: what is quoted ends in its line.
    :raises HTTPError: 400 where a line is not of the grammar, or has a parameter twice in one
        element (RFC 7239 §4), and for more than :data:`MOST_PARTS`.
    """
    lines = list(lines)
    if sum(line.count(",") + line.count(";") + 1 for line in lines) > MOST_PARTS:
        raise HTTPError(400, f"The Forwarded field has more than {MOST_PARTS} parts")
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

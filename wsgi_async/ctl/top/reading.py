"""What may be in an answer, or may not: a value that is not there, or another kind of thing, is not
known. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from wsgi_async.ctl.text import clean

__all__ = [
    "Json",
    "lines",
    "number",
    "numbers",
    "part",
    "parts",
    "series",
    "text",
    "texts",
    "whole",
]

Json = Mapping[str, Any]


def number(of: Json, name: str) -> float | None:
    """A number that can be reckoned with."""
    return _number(of.get(name))


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return value


def whole(of: Json, name: str) -> int | None:
    """A number without its fraction."""
    value = number(of, name)
    return None if value is None else int(value)


def numbers(of: Json, name: str) -> dict[str, float]:
    """Numbers by name, those that are known."""
    found = part(of, name)
    known = {str(key): number(found, key) for key in found}
    return {clean(key): value for key, value in known.items() if value is not None}


def series(of: Json, name: str) -> list[float]:
    """Numbers in their order; none where one of them is not known."""
    found = [_number(value) for value in _list(of.get(name))]
    known = [value for value in found if value is not None]
    return known if len(known) == len(found) else []


def text(of: Json, name: str) -> str:
    """On one line, without anything that steers a terminal; empty where there is none."""
    value = of.get(name)
    return "" if value is None else clean(str(value))


def texts(of: Json, name: str) -> tuple[str, ...]:
    """Each as :func:`text` has it."""
    return tuple(clean(str(value)) for value in _list(of.get(name)))


def lines(of: Json, name: str) -> tuple[str, ...] | None:
    """Lines of code, in which there may be tabs; None where there are none."""
    if of.get(name) is None:
        return None
    return tuple(clean(str(line).replace("\t", "    ")) for line in _list(of.get(name)))


def part(of: Json, name: str) -> Json:
    """A part that has parts itself; an empty one where there is none."""
    value = of.get(name)
    return value if isinstance(value, Mapping) else {}


def parts(of: Json, name: str) -> list[Json]:
    """Several of these."""
    return [entry for entry in _list(of.get(name)) if isinstance(entry, Mapping)]


def _list(value: object) -> Sequence[Any]:
    return value if isinstance(value, (list, tuple)) else ()

"""A record as one line of JSON: whatever is in it, it is one object, and stays on its line."""

from __future__ import annotations

import json
from collections.abc import Mapping

__all__ = ["json_line"]

_encode = json.JSONEncoder(default=str).encode


def json_line(fields: Mapping[str, object]) -> str:
    """The object on one line, without its end, in printable ASCII: no encoding of a stream can
    fail, nothing steers a terminal, and nothing that a program takes for the end of a line is in it
    (RFC 8259 §7).

    :param fields: texts, numbers, None, and lists and mappings of these.
    """
    return _encode(_sound(fields)).replace("\x7f", "\\u007f")


def _sound(value: object) -> object:
    """Without halves of surrogate pairs, for which a strict reader would refuse the whole line
    (RFC 8259 §8.2): ``\\udc80`` becomes these six characters."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, Mapping):
        return {_sound(name): _sound(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return list(map(_sound, value))
    return value

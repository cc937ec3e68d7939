"""Options as an operator would write them: a line of ``wsgi_async.toml``, words of a command
line."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from .option import OFF, Option

__all__ = ["as_toml", "as_words", "flag_of"]


def as_toml(spec: Option, value: Any) -> str:
    """The value as TOML has it.

    :param value: in the option's type.
    :raises ValueError: there is something in a table that TOML does not have, such as None.
    """
    if spec.kind in ("number", "mode", "bool") or (
        spec.kind == "size" and spec.format(value) == str(value)
    ):
        return spec.format(value)
    if isinstance(value, Mapping):
        return _any(value)
    # TOML's basic strings and arrays of them are written as JSON's are.
    return json.dumps(value if spec.kind == "texts" else spec.format(value), ensure_ascii=False)


def _any(value: object) -> str:
    if isinstance(value, Mapping):
        pairs = [f"{_key(key)} = {_any(part)}" for key, part in value.items()]
        return f"{{ {', '.join(pairs)} }}" if pairs else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_any, value))}]"
    if isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return json.dumps(value, ensure_ascii=False)
    raise ValueError(f"TOML has no {type(value).__name__}")


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise ValueError(f"a key of TOML is text, not {key!r}")
    is_bare = key.isascii() and key.replace("-", "a").replace("_", "a").isalnum()
    return key if is_bare else json.dumps(key, ensure_ascii=False)


def flag_of(spec: Option) -> str:
    """The flag that people write: ``-b``, ``--keep-alive``."""
    return spec.flags[0] if spec.flags and spec.is_everyday else spec.flag


def as_words(spec: Option, value: Any) -> list[str]:
    """The value as words of a command line, for each text of a list a flag.

    :param value: in the option's type; no table.
    """
    flag = flag_of(spec)
    if spec.kind == "bool":
        return [spec.flag if value else f"--no-{spec.flag[2:]}"]
    if spec.kind == "texts":
        if spec.splits or spec.words is not None or not value:
            return [flag, spec.separator.join(value)]
        return [word for text in value for word in (flag, text)]
    if spec.bare and value == OFF:
        return [f"--no-{spec.flag[2:]}"]
    return [flag, spec.format(value)]

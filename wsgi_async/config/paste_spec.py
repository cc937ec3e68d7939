"""How an application of a PasteDeploy file is named: ``FILE.ini#NAME``, as gunicorn has it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

__all__ = ["MAIN", "PasteSpec", "parse_variables", "paste_spec", "paste_specs"]

MAIN = "main"
"""The name of the section where none is given."""

_SPEC = re.compile(r"(.*\.ini)(?:#([^#]*))?", re.DOTALL)


class PasteSpec(NamedTuple):
    file: str
    """As it is written."""
    name: str
    """NAME of [app:NAME], [composite:NAME] or [pipeline:NAME]; empty where it is not written."""


def paste_spec(text: str) -> PasteSpec | None:
    """What ``FILE.ini`` or ``FILE.ini#NAME`` names; None where it is neither."""
    found = _SPEC.fullmatch(text)
    return PasteSpec(found[1], found[2] or "") if found else None


def paste_specs(app: str, mounts: Iterable[str]) -> list[PasteSpec]:
    """What the options ``app`` and ``mount`` name of that kind."""
    texts = [app, *(text.partition("=")[2].strip(" ") for text in mounts)]
    return [spec for text in texts if (spec := paste_spec(text)) is not None]


def parse_variables(pairs: Iterable[str]) -> dict[str, str]:
    """The value of ``--paste-global``, by name."""
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs)}

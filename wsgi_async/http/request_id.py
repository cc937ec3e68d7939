"""The id of a request that a field of its head carries, from one server to the next. Any thread."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["KEY", "RequestIdField", "new_request_id"]

KEY = "wsgi_async.request_id"
"""Where an application finds it in its environ."""

# What UUIDs, ULIDs, trace ids and Amazon's Root=1-67-...@... are made of, and no more: it goes into
# logs and into a header field.
_SANE = re.compile(r"[A-Za-z0-9._~+/=:@-]{1,128}", re.ASCII)


def new_request_id() -> str:
    """One that is not met a second time anywhere: 32 hexadecimal digits, as of a trace (W3C Trace
    Context §3.2.2.3)."""
    return os.urandom(16).hex()


@dataclass(frozen=True, slots=True)
class RequestIdField:
    """The field that carries it, both ways."""

    name: str
    variable: str = field(init=False)
    """Its name in the environ."""
    lowered: str = field(init=False)
    """Its name in lower case."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "variable", "HTTP_" + self.name.upper().replace("-", "_"))
        object.__setattr__(self, "lowered", self.name.lower())

    def read(self, variables: Mapping[str, str]) -> str:
        """The id that a request came with, if that is 1 to 128 letters, digits and
        ``. _ ~ + / = : @ -``; nothing where it has none, or two, which are joined by a comma.

        :param variables: of its head, or its environ.
        """
        text = variables.get(self.variable, "")
        return text if _SANE.fullmatch(text) else ""

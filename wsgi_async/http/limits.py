"""How large a request head may be. Pure; any thread."""

from __future__ import annotations

import sys
from typing import NamedTuple

__all__ = ["Limits"]


class Limits(NamedTuple):
    """Bounds on a request head; 0 means no bound.

    Lengths of lines are without their CRLF. Trailers obey the last three too.
    """

    request_line: int
    """Bytes in the request line; one more is a 414."""
    fields: int
    """Number of field lines; one more is a 431."""
    field_size: int
    """Bytes in one field line, name and value; one more is a 431."""
    header_size: int
    """Bytes in the whole head, from the method to the empty line with its CRLF; else a 431."""

    def bounds(self) -> Limits:
        """The same, with 0 replaced by a number that nothing reaches."""
        return Limits(*(limit or sys.maxsize for limit in self))

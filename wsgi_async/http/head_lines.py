"""The lines of a response head, as HTTP/1.1 and CGI have them in common. Pure; any thread."""

from __future__ import annotations

from collections.abc import Iterable

from .response import ResponseHead

__all__ = ["Added", "Lines", "as_added", "lines_of"]

Lines = tuple[bytes, bytes]
"""The start line and the field lines of a head, whatever its framing will be."""


Added = tuple[tuple[str, bytes], ...]
"""Fields that the server adds where a head has none of that name: the name in lower case, the
line."""


def as_added(fields: Iterable[tuple[str, str]]) -> Added:
    """Write fields that are to be added."""
    return tuple((name.lower(), f"{name}: {value}\r\n".encode("latin-1")) for name, value in fields)


def lines_of(head: ResponseHead, added: Added = ()) -> Lines:
    """Write what a head says, and what is added to it."""
    start_line = f"HTTP/1.1 {head.status} {head.reason}\r\n"
    fields = "".join([f"{name}: {value}\r\n" for name, value in head.fields]).encode("latin-1")
    if added:
        own = {name.lower() for name, _ in head.fields}
        fields += b"".join([line for name, line in added if name not in own])
    return start_line.encode("latin-1"), fields

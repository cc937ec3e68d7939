"""What a request head says, whatever has read it. Any thread."""

from __future__ import annotations

from dataclasses import dataclass

from .target import read_target

__all__ = ["RequestHead", "fields_of", "replace_host"]


@dataclass(slots=True)  # each look into a named tuple is slow
class RequestHead:
    """A request head that has been judged valid. Never changed; text is latin-1."""

    method: str
    target: str
    """The request target as received (``RAW_URI``)."""
    path: str
    """Still percent-encoded; "" for the asterisk-form (RFC 9112 §3.2.4)."""
    query: str
    """What follows the first "?", without it."""
    version: str
    """``HTTP/1.1`` or ``HTTP/1.0``; a later minor version is treated as 1.1 (RFC 9110 §2.5)."""
    text: str
    """All of it as received, from the method to the empty line."""
    field_count: int
    variables: dict[str, str]
    """What all that is in the environ, see ``http/variables.py``. To be copied, never changed."""
    content_length: int | None
    """In bytes; None where the request has no Content-Length."""
    chunked: bool
    keep_alive: bool
    """What the client asked for, by its version and Connection (RFC 9112 §9.3)."""
    expect_continue: bool
    """The client waits for a 100 before it sends its body; only True where there is a body."""
    drops: bool = False
    """Whether it has a field that is not among `variables`, for its name has an underscore: see
    ``http/variables.py``."""

    @property
    def fields(self) -> tuple[tuple[str, str], ...]:
        """Name and value of each field, as received and in their order; made when asked for.

        Values are without surrounding whitespace. With a target in absolute-form, Host holds the
        target's authority (RFC 9112 §3.2.2).
        """
        fields = fields_of(self.text)
        if self.target[0] == "/":  # nearly every one
            return fields
        authority = read_target(self.method, self.target)[2]
        return fields if authority is None else replace_host(fields, authority)

    @property
    def has_body(self) -> bool:
        return self.chunked or bool(self.content_length)


def fields_of(text: str) -> tuple[tuple[str, str], ...]:
    """Name and value of each field of a head; whitespace around a value is not part of it (RFC 9112
    §5)."""
    cut = [line.partition(":") for line in text.split("\r\n")[1:-2]]
    return tuple([(name, value.strip(" \t")) for name, _, value in cut])


def replace_host(
    fields: tuple[tuple[str, str], ...], authority: str
) -> tuple[tuple[str, str], ...]:
    """RFC 9112 §3.2.2: what Host says is ignored in favour of the target's authority."""
    replaced = tuple(
        (name, authority if name.lower() == "host" else value) for name, value in fields
    )
    if not any(name.lower() == "host" for name, _ in fields):
        replaced += (("Host", authority),)
    return replaced

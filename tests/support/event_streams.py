"""What an ``EventSource`` makes of a stream: written from the HTML standard, section 9.2, and not
from what the package sends."""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["Received", "Stream", "is_stream", "read"]

# 9.2.5, "Parsing an event stream": the ABNF, as an expression.
_END_OF_LINE = r"(?>\r\n|\r|\n)"
_ANY = r"[^\r\n]"
_COMMENT = rf":{_ANY}*{_END_OF_LINE}"
_FIELD = rf"[^\r\n:]+(?::{_ANY}*)?{_END_OF_LINE}"
_EVENT = rf"(?:{_COMMENT}|{_FIELD})*{_END_OF_LINE}"
_STREAM = re.compile(rf"\ufeff?(?:{_EVENT})*")


def is_stream(data: bytes) -> bool:
    """Whether it is one by the grammar, up to its last byte."""
    return _STREAM.fullmatch(data.decode()) is not None


class Received(NamedTuple):
    """An event as a page gets it."""

    type: str
    data: str
    last_id: str


class Stream(NamedTuple):
    """All that was read."""

    events: list[Received]
    comments: list[str]
    retry: int | None
    last_id: str
    """What would come as ``Last-Event-ID``."""


def read(data: bytes) -> Stream:
    """9.2.6, "Interpreting an event stream". What no empty line ends is dropped."""
    text = data.decode("utf-8", "replace").removeprefix("\ufeff")
    events: list[Received] = []
    comments: list[str] = []
    retry: int | None = None
    buffer = kind = id_buffer = last_id = ""
    lines = re.split(_END_OF_LINE, text)
    for line in lines[:-1]:  # the last one has no end
        if not line:
            last_id = id_buffer
            if buffer:
                events.append(Received(kind or "message", buffer.removesuffix("\n"), last_id))
            buffer = kind = ""
            continue
        if line.startswith(":"):
            comments.append(line[1:].removeprefix(" "))
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            kind = value
        elif name == "data":
            buffer += value + "\n"
        elif name == "id":
            if "\0" not in value:
                id_buffer = value
        elif name == "retry" and re.fullmatch("[0-9]+", value):
            retry = int(value)
    return Stream(events, comments, retry, last_id)

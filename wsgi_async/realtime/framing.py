"""Events of an event stream as bytes, as the HTML standard reads them (9.2, "Server-sent events").

No I/O; any thread.
"""

from __future__ import annotations

import json as json_module
import re
from collections.abc import Mapping
from typing import Any, TypeAlias

__all__ = ["Event", "comment", "ends_event", "event", "framed"]

Event: TypeAlias = bytes | str | Mapping[str, Any]
"""What a source makes: what :func:`event` or :func:`comment` returns; a text, which is the data of
an event; or the arguments of :func:`event` by their names."""

_LINE_ENDS = re.compile("\r\n|\r|\n")
_NO_ID = re.compile("[\x00-\x08\x0a-\x1f\x7f]|^[\t ]|[\t ]$")
"""What cannot come back in a field of a request (RFC 9110 §5.5), or not as it was."""

_UNSET: Any = object()
_ARGUMENTS = ("data", "event", "id", "json", "retry")


def event(
    data: str | None = None,
    *,
    json: Any = _UNSET,
    event: str | None = None,
    id: str | int | None = None,
    retry: int | None = None,
) -> bytes:
    """One event, as bytes.

    :param data: its text, of any number of lines; each kind of line end arrives as ``\\n``.
    :param json: in place of `data`: a value that is sent as JSON.
    :param event: its type, for ``addEventListener``; without, the browser has it as a ``message``.
    :param id: comes back as ``Last-Event-ID`` when the browser connects anew. An empty one makes it
        forget the last.
    :param retry: milliseconds after which it is to connect anew.
    :raises TypeError: a value of another type.
    :raises ValueError: what cannot be sent so; the message says why. A type without data is one:
        browsers make no event of it. An `id` or `retry` alone is noted there, and makes none.
    """
    if json is not _UNSET:
        if data is not None:
            raise ValueError("an event has either data or json")
        data = json_module.dumps(json, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    lines = []
    if event is not None:
        if not isinstance(event, str):
            raise TypeError(f"the type of an event must be a str, not {type(event).__name__}")
        if _LINE_ENDS.search(event):
            raise ValueError("the type of an event must be one line")
        if data is None:
            raise ValueError("an event with a type and no data is dropped by browsers: data=''")
        lines.append(f"event: {event}")
    if id is not None:
        lines.append(f"id: {_checked_id(id)}")
    if retry is not None:
        if type(retry) is not int:
            raise TypeError(f"retry must be an int of milliseconds, not {type(retry).__name__}")
        if retry < 0:
            raise ValueError("retry must not be negative")
        lines.append(f"retry: {retry}")
    if data is not None:
        if not isinstance(data, str):
            raise TypeError(
                f"the data of an event must be a str, not {type(data).__name__}: json= for a value"
            )
        lines.extend(f"data: {line}" for line in _LINE_ENDS.split(data))
    if not lines:
        raise ValueError("an event needs data, or an id or retry")
    return _encoded("\n".join(lines))


def comment(text: str = "") -> bytes:
    """A comment, which browsers pass over: it shows that the connection is alive.

    :param text: of any number of lines.
    """
    return _encoded("\n".join(f": {line}" if line else ":" for line in _LINE_ENDS.split(text)))


def ends_event(data: bytes) -> bool:
    """Whether these bytes end with an empty line, which ends an event. Lines may end in any of
    three ways."""
    return data[-4:].replace(b"\r\n", b"\n").replace(b"\r", b"\n").endswith(b"\n\n")


def framed(item: object) -> bytes:
    """An item of a source as bytes; see :data:`Event`."""
    if isinstance(item, bytes):
        # Between two items a comment may come, and at a stop a word of the server's.
        if not ends_event(item):
            raise ValueError(
                "bytes in an event stream must be whole events, as sse.event() makes them"
            )
        return item
    if isinstance(item, str):
        return event(item)
    if isinstance(item, Mapping):
        unknown = [name for name in item if name not in _ARGUMENTS]
        if unknown:
            raise ValueError(
                f"a dictionary in an event stream has some of {', '.join(_ARGUMENTS)}; "
                "one to be sent as JSON is {'json': {...}}"
            )
        return event(**item)
    raise TypeError(
        "an event is what sse.event() makes, a str, or a dictionary of sse.event()'s arguments, "
        f"not {type(item).__name__}"
    )


def _checked_id(id: object) -> str:
    if isinstance(id, bool) or not isinstance(id, (str, int)):
        raise TypeError(f"the id of an event must be a str or an int, not {type(id).__name__}")
    text = str(id)
    if _NO_ID.search(text):
        raise ValueError(
            "the id of an event comes back in a header field, which cannot have it so: no control "
            "characters, nor space at its begin or end"
        )
    return text


def _encoded(text: str) -> bytes:
    try:
        return f"{text}\n\n".encode()
    except UnicodeEncodeError:
        raise ValueError("an event with a lone surrogate, which no UTF-8 can have") from None

"""Which bodies are asynchronous: they are taken by ``await``, and hold no thread meanwhile."""

from __future__ import annotations

import enum

from .checks import brief

__all__ = [
    "EVENT_STREAM",
    "UNCHANGED",
    "LivePhase",
    "advise",
    "is_async_body",
    "is_event_stream",
    "is_event_type",
    "why_not_async",
]

EVENT_STREAM = "text/event-stream"

UNCHANGED = "identity"
"""A content coding that changes nothing: it keeps others from compressing (``sse.headers()``)."""


class LivePhase(enum.Enum):
    """How far who awaits asynchronous bodies is from the end. It only ever goes forwards."""

    SERVING = "as ever"
    TOLD = "clients of event streams are told to come again"
    STREAMS_END = "event streams are complete, and cancelled"
    ALL_END = "every body is cancelled"

    __hash__ = object.__hash__  # Enum's own is Python code


def is_async_body(iterable: object) -> bool:
    """Whether what an application has returned is a body to be awaited: of a type that has
    ``__aiter__``, and itself with an ``is_async`` that is true.

    The former alone says nothing: Django's ``StreamingHttpResponse`` always has it. *Pool thread.*
    """
    return hasattr(type(iterable), "__aiter__") and bool(getattr(iterable, "is_async", False))


def why_not_async(iterable: object) -> str | None:
    """What to say of one that is asynchronous, but does not say that a server may take it so; None
    where it is nothing of the kind."""
    if not hasattr(type(iterable), "__aiter__"):
        return None
    return (
        f"the application returned {brief(iterable)}, which is asynchronous; "
        "wrap it: wsgi_async.live(...)"
    )


def advise(error: BaseException) -> None:
    """Add to what an application has raised what to write instead, where an asynchronous generator
    was given to what takes none: Python's own words do not say so. *Any thread.*"""
    if (
        isinstance(error, TypeError)
        and error.args == ("'async_generator' object is not iterable",)
        and _AS_BODY not in getattr(error, "__notes__", ())  # it may be raised again
    ):
        error.add_note(_AS_BODY)


_AS_BODY = (
    "Where it is the body of a response: return it in a wsgi_async.flask.LiveResponse (Flask), "
    "or by wsgi_async.live()."
)


def is_event_type(content_type: str) -> bool:
    """Whether this Content-Type is that of server-sent events."""
    return content_type.partition(";")[0].strip().lower() == EVENT_STREAM


def is_event_stream(fields: tuple[tuple[str, str], ...]) -> bool:
    """Whether a response with these fields is a stream of server-sent events, as it is: what is
    compressed cannot be added to."""
    is_stream = False
    for name, value in fields:
        lowered = name.lower()
        if lowered == "content-type":
            is_stream = is_event_type(value)
        elif lowered == "content-encoding" and value.strip().lower() != UNCHANGED:
            return False
    return is_stream

"""Server-sent events: see :mod:`.realtime.sse`, of which this is the public name."""

from .realtime.sse import (
    KEEP_ALIVE,
    OPENING,
    Event,
    EventStream,
    comment,
    event,
    headers,
    last_event_id,
    stream,
)

__all__ = [
    "KEEP_ALIVE",
    "OPENING",
    "Event",
    "EventStream",
    "comment",
    "event",
    "headers",
    "last_event_id",
    "stream",
]

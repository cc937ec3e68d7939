"""What a server may add to a stream of server-sent events: a word to come again, between two of
them (HTML Standard §9.2.6)."""

from __future__ import annotations

import random

from .framing import ends_event, event

__all__ = ["RETRY_AFTER", "EventTail", "retry_event"]

RETRY_AFTER = (1000, 3000)
"""Milliseconds after which a client is to come again, at least and at most: not all of them at
once."""


def retry_event() -> bytes:
    """It says after how long a client is to come again."""
    return event(retry=random.randint(*RETRY_AFTER))


class EventTail:
    """The end of what has been sent of a stream."""

    __slots__ = ("_tail",)

    def __init__(self) -> None:
        self._tail = b"\n\n"

    def feed(self, chunk: bytes) -> None:
        """This was sent."""
        self._tail = (self._tail + chunk)[-4:] if len(chunk) < 4 else chunk[-4:]

    @property
    def is_between_events(self) -> bool:
        """Whether what was sent last is the end of an event."""
        return ends_event(self._tail)

"""What a reader of FastCGI makes of bytes, with each request answered as soon as it is complete."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest

from wsgi_async.errors import HTTPError, ProtocolFault
from wsgi_async.gateways.fastcgi import FastCGIReader
from wsgi_async.http.limits import Limits
from wsgi_async.http.reading import Signal
from wsgi_async.http.request import RequestHead

__all__ = ["LIMITS", "Story", "read"]

LIMITS = Limits(request_line=8190, fields=100, field_size=8190, header_size=65536)


@dataclass
class Story:
    """What a reader has made of some bytes."""

    requests: list[tuple[str, str, int | None, bool, bool]] = field(default_factory=list)
    bodies: list[bytes | None] = field(default_factory=list)
    """Those that came to their end, and None for a request without."""
    partial: bytes = b""
    aborted: int = 0
    replies: bytes = b""
    error: str = ""


def read(pieces: Iterable[bytes], limits: Limits = LIMITS, *, by_lone_heads: bool = True) -> Story:
    """Feed a reader, and answer each request as soon as it is complete.

    :param by_lone_heads: whether it is asked for those first, as a connection does.
    """
    reader, story = FastCGIReader(limits, 5), Story()
    for piece in pieces:
        head = reader.lone_head(piece) if by_lone_heads else None
        if head is None:
            reader.receive_data(piece)
        try:
            if head is not None:
                _answer(reader, story, head)
            while _take(reader, story):
                pass
        except (HTTPError, ProtocolFault) as error:
            with pytest.raises(type(error), match=r"."):
                reader.next_event()
            story.error = story.error or str(error)
        story.replies += reader.replies()
    return story


def _take(reader: FastCGIReader, story: Story) -> bool:
    event = reader.next_event()
    return event is not Signal.NEED_DATA and _answer(reader, story, event)


def _answer(reader: FastCGIReader, story: Story, event: RequestHead | bytes | Signal) -> bool:
    if event is Signal.ABORTED:
        assert reader.next_event() is event, "it was told once only"
        story.aborted += 1
        reader.answered()
        return True
    if isinstance(event, RequestHead):
        story.requests.append(
            (event.method, event.target, event.content_length, event.chunked, event.keep_alive)
        )
        story.partial = b""
        if event.has_body:
            return True
        story.bodies.append(None)
    elif isinstance(event, bytes):
        assert event
        story.partial += event
        return True
    else:
        assert event is Signal.END_OF_BODY
        story.bodies.append(story.partial)
        story.partial = b""
    reader.response_ended()
    assert reader.next_event() is Signal.NEED_DATA, "there can be no request yet"
    reader.answered()
    return True

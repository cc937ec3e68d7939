"""Clients of event streams over HTTP, which get event by event, as they come."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import httpx
from event_streams import Received, read
from rawclient import TIMEOUT

__all__ = ["EventSource", "event_source"]


class EventSource:
    """A stream that is open; iterating it is waiting for its events."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.last_id = ""
        self.retry: int | None = None
        """In milliseconds, as the server last said."""
        self._events = self._read(response.iter_lines())

    def _read(self, lines: Iterator[str]) -> Iterator[Received]:
        block = ""
        for line in lines:
            block += line + "\n"
            if line:
                continue
            found, block = read(block.encode()), ""
            self.retry = self.retry if found.retry is None else found.retry
            self.last_id = found.last_id or self.last_id
            for event in found.events:
                yield event._replace(last_id=self.last_id)

    def __iter__(self) -> Iterator[Received]:
        return self._events

    def next(self, kind: str = "") -> Received:
        """The next event, of that type if one is named."""
        return next(event for event in self._events if kind in ("", event.type))


@contextlib.contextmanager
def event_source(
    url: str, *, last_id: str = "", client: httpx.Client | None = None
) -> Iterator[EventSource]:
    """Ask for one, as a browser does that has seen `last_id`; it is left with the block.

    :param client: keeps its connections for the next one, as browsers do.
    """
    fields = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
    if last_id:
        fields["Last-Event-ID"] = last_id
    with contextlib.ExitStack() as stack:
        if client is None:
            client = stack.enter_context(httpx.Client(trust_env=False))
        asked = client.stream("GET", url, headers=fields, timeout=TIMEOUT)
        yield EventSource(stack.enter_context(asked))

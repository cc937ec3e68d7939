"""Exchanges that tell what was said in them: the response's fields, and the environ. They are made
only where a subscriber wants that: see :mod:`.kinds`.

The environ refers to its exchange (by ``wsgi.errors``), so the exchange refers to it only until it
has told of its end: else each request would be left to the garbage collector.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextvars import ContextVar

from wsgi_async.events import ResponseInfo
from wsgi_async.http.response import ResponseHead
from wsgi_async.wsgi.calling import Step
from wsgi_async.wsgi.types import Application, Environ, StartResponse

from .exchange import Exchange

__all__ = ["EnvironExchange", "FieldsExchange", "application_for"]

_SEEN: ContextVar[list[Environ]] = ContextVar("wsgi_async.seen")
"""In the context of a request: where its environ is put."""


class FieldsExchange(Exchange):
    """Tells the response's fields."""

    __slots__ = ()

    def ended(self, status: int, body_size: int, complete: bool, now: float) -> ResponseInfo:
        """See there."""
        info = super().ended(status, body_size, complete, now)
        return info._replace(fields=self._fields(status))

    def _fields(self, status: int) -> tuple[tuple[str, str], ...] | None:
        head = self._head
        if head is None or head.status != status:  # that is what the server has sent instead
            return None
        if head.content_length is None or status == 204:
            return head.fields
        return (*head.fields, ("Content-Length", str(head.content_length)))

    @property
    def _head(self) -> ResponseHead | None:
        whole, pipe = self.writer.whole, self.writer.pipe
        if whole is not None:
            return whole[0]
        return None if pipe is None else pipe.head


class EnvironExchange(Exchange):
    """Tells the environ. The application is to be one of :func:`application_for`."""

    __slots__ = ()

    def _first_step(self) -> Step:
        _SEEN.set([])
        return super()._first_step()

    def ended(self, status: int, body_size: int, complete: bool, now: float) -> ResponseInfo:
        """See there."""
        info = super().ended(status, body_size, complete, now)
        seen = self._context.get(_SEEN)
        return info._replace(environ=seen.pop()) if seen else info


def application_for(kind: type[Exchange], application: Application) -> Application:
    """The application; one that has its exchange know the environ, where that tells it.

    :param kind: of its exchanges.
    """
    if not issubclass(kind, EnvironExchange):
        return application

    def call(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        _SEEN.get().append(environ)
        return application(environ, start_response)

    return call

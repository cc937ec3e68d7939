"""Exchanges whose responses get fields of the server's own: which request it was, and where its
time went. They cost more, so they are made only where an option asks for that.

The fields come to the head in the exchange's thread, as it hands it over, together with the first
chunk: so a small response still crosses as one value, and what is known then is what is told.
"""

from __future__ import annotations

from wsgi_async.events import RequestInfo
from wsgi_async.http.request import RequestHead
from wsgi_async.http.request_id import KEY, RequestIdField
from wsgi_async.http.response import ResponseHead, with_fields
from wsgi_async.threads import ExtendingWriter

from .exchange import Exchange
from .gateway import ExchangeConnection, Gateway
from .timing import TimedExchange

__all__ = ["IdentifiedExchange", "ServerTimedExchange", "id_fields", "server_timing"]

Fields = tuple[tuple[str, str], ...]


def server_timing(queue: float, app: float, cpu: float) -> tuple[str, str]:
    """The field that says where the time went, for a browser's developer tools (W3C Server Timing
    §2). All in seconds; it has milliseconds."""
    parts = (("queue", queue), ("app", app), ("cpu", cpu))
    return "Server-Timing", ", ".join([f"{name};dur={time * 1000:.1f}" for name, time in parts])


def id_fields(field: RequestIdField, request_id: str, head: ResponseHead) -> Fields:
    """The field with the id of a request, unless the application's response has one of its own."""
    if any(name.lower() == field.lowered for name, _ in head.fields):
        return ()
    return ((field.name, request_id),)


class ExtendingExchange(Exchange):
    """Adds fields to the head of its response."""

    __slots__ = ()

    def __init__(
        self,
        gateway: Gateway[Exchange],
        connection: ExchangeConnection[Exchange],
        head: RequestHead,
        began: float,
    ) -> None:
        super().__init__(gateway, connection, head, began)
        self.writer = ExtendingWriter.in_place_of(self.writer, self)

    def extended(self, head: ResponseHead) -> ResponseHead:
        """*Pool thread:* the head with what is added to it."""
        return with_fields(head, self._fields_for(head))

    def _fields_for(self, head: ResponseHead) -> Fields:
        return ()


class IdentifiedExchange(ExtendingExchange):
    """Has the id that its client gave it by ``request_id_header``, if that is sane, else one that
    is made; it is in the environ, in the response, and in all that is told of it."""

    __slots__ = ()

    @property
    def _field(self) -> RequestIdField:
        field = self._gateway.id_field
        assert field is not None
        return field

    def _make_info(self, given_id: str = "") -> RequestInfo:
        return super()._make_info(given_id or self._field.read(self.head.variables))

    def submit(self) -> bool:
        """See there."""
        variables = self.variables
        if variables is None:
            self.variables = variables = {}
        # In place of the client's too: what is not sane must not get into the logs of others.
        variables[KEY] = variables[self._field.variable] = self.info.id
        return super().submit()

    def answer(self, head: ResponseHead, body: bytes) -> None:
        """See there."""
        super().answer(with_fields(head, self.refusal_fields), body)

    def _fields_for(self, head: ResponseHead) -> Fields:
        return (*super()._fields_for(head), *id_fields(self._field, self.info.id, head))

    @property
    def refusal_fields(self) -> Fields:
        """See there."""
        return ((self._field.name, self.info.id),)


class ServerTimedExchange(TimedExchange, ExtendingExchange):
    """Tells its client, in the head of the application's response, where the time went until then:
    that may be beside what the application says of it."""

    __slots__ = ()

    def _fields_for(self, head: ResponseHead) -> Fields:
        times = self.times
        cpu = times.cpu  # before what it is a part of
        field = server_timing(times.queue, times.app, cpu)
        return (*super()._fields_for(head), field)

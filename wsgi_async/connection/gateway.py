"""What an exchange knows of its surroundings: its connection, what all exchanges of a server share,
and who awaits a body that is asynchronous."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping
from contextvars import Context
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from wsgi_async.errors import HTTPError
from wsgi_async.events import Observer
from wsgi_async.http.request import RequestHead
from wsgi_async.http.request_id import RequestIdField
from wsgi_async.threads import Mailbox, Posted, ResponseBounds, ResponseWriter
from wsgi_async.threads.pool import ThreadPool
from wsgi_async.threads.tasks import Task
from wsgi_async.wsgi.calling import Step, WSGIResponse
from wsgi_async.wsgi.client_watch import Presence
from wsgi_async.wsgi.types import Application

__all__ = ["Errors", "ExchangeConnection", "Gateway", "LiveBodies", "LiveBody", "request_ids"]

X = TypeVar("X", bound=Task)
"""The exchange, which stands on this."""
OfX = TypeVar("OfX", bound=Task, contravariant=True)


class Errors(Posted, Protocol):
    """Who else than the log is told what an application writes to ``wsgi.errors``."""

    def add(self, head: RequestHead, line: str) -> bool:
        """*Any thread:* take a line without its newline.

        :param head: that of the request that says it.
        :returns: whether this is to be posted.
        """


class ExchangeConnection(Protocol[OfX]):
    """The connection an exchange belongs to, as far as the exchange knows it."""

    server_variables: dict[str, object]
    """The part of the environ that is the server's."""
    remote_addr: str
    remote_port: str

    def exchange_woke(self, exchange: OfX) -> None:
        """*Loop:* the exchange's thread has something for the loop."""

    def give_up(self, exchange: OfX, error: HTTPError) -> None:
        """*Loop:* the application has not answered in time: answer instead, or cut the response."""

    def presence_for(self, exchange: OfX) -> Presence:
        """*Any thread:* what has become of the client, as far as this exchange goes; SERVED where
        the connection has let it go, for whatever reason."""

    @property
    def has_ended_its_side(self) -> bool:
        """*Any thread:* whether its client will send nothing more."""

    @property
    def errors(self) -> Errors | None:
        """*Any thread:* who else is told what is written to ``wsgi.errors``; see
        :mod:`.front_errors`."""


class LiveBody(Protocol):
    """An asynchronous body, in its response's place from when its thread has handed it over. See
    :mod:`wsgi_async.realtime.bodies`."""

    is_event_stream: bool
    """*Any thread:* whether it ends as soon as its client ends its side."""

    def begin(self) -> None:
        """*Any thread:* have it awaited from now on. Harmless if repeated."""

    def resume(self) -> None:
        """*Loop:* the client has taken what it was suspended for."""

    def leave(self) -> None:
        """*Loop:* nobody is there to take anything any more: it is to end, and be closed."""

    def break_off(self) -> None:
        """*Any thread:* it has taken too long: it is to end, and be closed."""

    def stack(self) -> list[str]:
        """*Any thread:* what it awaits, see :func:`wsgi_async.system.stacks.stack_of`."""

    def advance(self) -> Step:
        """*Pool thread:* close it. Nobody awaits it any more."""

    def abandon(self) -> None:
        """*Pool thread:* the same."""

    def disown(self, writer: ResponseWriter) -> None:
        """See :meth:`.WSGIResponse.disown`."""


class LiveBodies(Protocol[OfX]):
    """Who awaits asynchronous bodies."""

    def take(self, exchange: OfX, response: WSGIResponse, context: Context) -> LiveBody | HTTPError:
        """*Pool thread:* take one over; it is not awaited before :meth:`LiveBody.begin`.

        :param context: the request's, which is left to the thread that closes it.
        :returns: what stands for the response from then on; or why there is none.
        """

    def __len__(self) -> int:
        """*Any thread:* how many there are."""

    @property
    def ends(self) -> Mapping[str, int]:
        """*Any thread:* how many have ended, by why."""


@dataclass(frozen=True, slots=True)  # each look into a named tuple is slow
class Gateway(Generic[X]):
    """What all exchanges of one server share."""

    application: Application
    pool: ThreadPool[X]
    mailbox: Mailbox
    bounds: ResponseBounds
    observer: Observer
    next_id: Callable[[], str]
    exchange: Callable[[Gateway[X], ExchangeConnection[X], RequestHead, float], X]
    """The kind of exchange: see :mod:`.kinds`."""
    warned: dict[str, object] = field(default_factory=dict)
    """Of what the application has been warned: once is enough. *Any thread.*"""
    id_field: RequestIdField | None = None
    """The field by which requests have ids of their clients, if one does."""
    live: LiveBodies[X] | None = None
    """Who awaits asynchronous bodies."""


def request_ids() -> Callable[[], str]:
    """A source of ids that are unique across processes and restarts: a random part, a number."""
    prefix = os.urandom(4).hex()
    numbers = itertools.count(1)
    return lambda: f"{prefix}-{next(numbers):x}"

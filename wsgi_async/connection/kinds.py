"""Which kind of exchange does what a server's options and subscribers ask for, and no more."""

from __future__ import annotations

import functools

from wsgi_async.config.options import Config
from wsgi_async.events import Observer, hears
from wsgi_async.http.request_id import RequestIdField

from .exchange import Exchange
from .front_errors import FrontErrorsExchange
from .own_fields import IdentifiedExchange, ServerTimedExchange
from .telling import EnvironExchange, FieldsExchange
from .timing import StartedExchange, TimedExchange

__all__ = ["exchange_for", "id_field_of"]


def id_field_of(config: Config) -> RequestIdField | None:
    """The field by which requests have ids of their clients, if one does."""
    return RequestIdField(config.request_id_header) if config.request_id_header else None


def exchange_for(observer: Observer, config: Config) -> type[Exchange]:
    """The kind of exchange that tells this observer, and as the options ask also the client, what
    they want to know."""
    hears_of_ends = bool(observer.wants_requests)
    is_timed = hears_of_ends and observer.wants_timings
    wanted: dict[type[Exchange], object] = {
        StartedExchange: hears(observer, "request_started"),
        FieldsExchange: hears_of_ends and observer.wants_fields,
        EnvironExchange: hears_of_ends and observer.wants_environ,
        IdentifiedExchange: config.request_id_header,
        ServerTimedExchange: config.server_timing,
        FrontErrorsExchange: config.fastcgi_stderr,
        TimedExchange: is_timed and not config.server_timing,  # which is timed anyway
    }
    kinds = tuple(kind for kind, is_wanted in wanted.items() if is_wanted)
    if len(kinds) > 1:
        return _joined(kinds)
    return kinds[0] if kinds else Exchange


@functools.cache
def _joined(kinds: tuple[type[Exchange], ...]) -> type[Exchange]:
    """One that is all of these: a class of its own for each combination that is asked for."""
    name = "".join(kind.__name__.removesuffix("Exchange") for kind in kinds)
    return type(f"{name}Exchange", kinds, {"__slots__": ()})

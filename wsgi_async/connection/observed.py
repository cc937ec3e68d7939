"""A request, as the observer hears of it: who it is, and what is said of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from wsgi_async.errors import HTTPError
from wsgi_async.events import RequestInfo
from wsgi_async.http.origin import Origin
from wsgi_async.http.request import RequestHead
from wsgi_async.system.stacks import RunningMethods
from wsgi_async.threads import Posted
from wsgi_async.wsgi.environ import client_name

from .exchange_states import ExchangeState
from .gateway import ExchangeConnection, Gateway

__all__ = ["ObservedRequest", "Refused", "current_request_id", "runs_requests"]

_naming = threading.Lock()
"""Held while a request gets its id: the loop may ask for it at the same time as its thread."""

_GIVEN_UP = ExchangeState.GIVEN_UP


class ObservedRequest:
    """What an exchange has for those that are told of it; they are told of a request that was given
    up no more. The exchange sets all of it."""

    __slots__ = ("_gateway", "_info", "connection", "head", "origin", "state")

    _gateway: Gateway[Any]
    _info: RequestInfo | None
    connection: ExchangeConnection[Any]
    head: RequestHead
    origin: Origin | None
    """What a proxy or a front server says, where one may."""
    state: ExchangeState

    def post(self, item: Posted) -> None:
        """*Any thread:* have the loop look at `item`."""
        self._gateway.mailbox.post(item)

    @property
    def info(self) -> RequestInfo:
        """*Any thread:* the facts for a log line; made when first asked for."""
        if self._info is None:
            with _naming:
                if self._info is None:
                    self._info = self._make_info()
        return self._info

    @property
    def client(self) -> str:
        """*Any thread:* its client's name for log lines."""
        connection = self.connection
        return client_name(connection.remote_addr, connection.remote_port, self.origin)

    @property
    def is_given_up(self) -> bool:
        """*Any thread:* whether nobody waits for its thread any more."""
        return self.state is _GIVEN_UP

    def _make_info(self, given_id: str = "") -> RequestInfo:
        head = self.head
        return RequestInfo(
            given_id or self._gateway.next_id(),
            head.method,
            head.target,
            head.version,
            self.client,
            head.fields,
        )

    def app_error(self, message: str, error: BaseException | None) -> None:
        if self.state is not _GIVEN_UP:
            self._gateway.observer.app_error(self.info, message, error)

    def app_warning(self, topic: str, message: str) -> None:
        # One call on one dict is atomic, without the GIL too: of two threads one is the first.
        mine = object()
        if self._gateway.warned.setdefault(topic, mine) is mine:
            self._gateway.observer.app_warning(self.info, message)

    def app_stderr(self, line: str) -> None:
        self._gateway.observer.app_stderr(self.info, line)

    def refused(self, error: HTTPError) -> None:
        """*Loop:* tell that it was refused although a thread had it."""
        info, observer = self.info, self._gateway.observer
        observer.request_refused(info.client, error.status, error.detail, info, is_running=True)

    def has_returned(self, seconds: float) -> None:
        """*Pool thread:* a thread that was given up has come back, so long after."""
        self._gateway.observer.thread_returned(self.info, seconds)

    def disown(self) -> None:
        """*In a process that the application has forked, in this request's thread.*"""
        global _naming
        _naming = threading.Lock()


class Refused:
    """Tells the observer of a request that the server has refused in a pool thread."""

    def __init__(self, request: ObservedRequest, error: HTTPError) -> None:
        self._request = request
        self._error = error

    def on_wake(self) -> None:
        """*Loop.*"""
        self._request.refused(self._error)


def current_request_id() -> str:
    """*Any thread:* the id of the request that this thread runs, or calls something for, or whose
    asynchronous body it runs; an empty string where it runs none."""
    request = _running.of_this_thread()
    return "" if request is None else request.info.id


def runs_requests(method: Callable[..., Any], request_of: Callable[[Any], ObservedRequest]) -> None:
    """*Any thread:* what this method calls is called for a request: see :func:`current_request_id`.

    :param request_of: the request, by what it is a method of.
    """
    _running.add(method, request_of)


_running: RunningMethods[ObservedRequest] = RunningMethods()

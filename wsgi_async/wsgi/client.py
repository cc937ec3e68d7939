"""``environ["wsgi_async.client"]``: whether the client is still there, and what is to be done when
it goes.

No object is made for it: :class:`Client` is what the response of the request, which there is
anyway, shows to the application of itself. What somebody registers is kept in a
:class:`.client_watch.Watch`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from wsgi_async.system.stacks import RunningMethods

from .client_watch import Alarm, Registration, Watch, WatchedRequest

__all__ = [
    "Client",
    "ClientRequest",
    "Registration",
    "StayingRequest",
    "current_client",
    "runs_applications",
]

_COROUTINE = 0x80
"""The flag of a coroutine function's code (``inspect.CO_COROUTINE``)."""


class ClientRequest(WatchedRequest, Protocol):
    """The request, as far as its client's object knows it."""

    @property
    def client_gone(self) -> bool:
        """*Any thread:* see :attr:`Client.gone`."""

    def watch(self) -> Watch:
        """*Any thread:* what keeps those that are to be told; made when first asked for."""

    def app_warning(self, topic: str, message: str) -> None:
        """*Any thread:* one line in the log, once for each `topic`."""


class StayingRequest:
    """The request of a client that is not seen to leave, for the server has no connection: CGI."""

    client_gone = is_given_up = False

    def __init__(self) -> None:
        self._watch = Watch()

    def watch(self) -> Watch:
        """See :class:`ClientRequest`."""
        return self._watch

    def call_soon(self, function: Callable[[], object]) -> None:
        """Nothing is ever to be called."""

    def callback_failed(self, error: BaseException) -> None:
        """Nor fails."""

    def app_warning(self, topic: str, message: str) -> None:
        """See :class:`ClientRequest`."""


class Client:
    """The client of one request. *Any thread* may ask, during the request and after it.

    It has *gone* where nobody is there any more who would take what the application still does:

    * it has closed its connection, or the network has;
    * it has ended its side only (a FIN, or ``close_notify``): a browser's closed tab sends no more
      than that. Who half-closes and reads on gets its response all the same;
    * the server has ended the connection: a client too slow, a request given up and answered 504,
      the end of a stop.

    A response that ends, however small it is, ends this too: a client that goes afterwards has not
    gone for this request. The next request of the connection has an object of its own.
    """

    __slots__ = ()

    _reporter: ClientRequest

    @property
    def gone(self) -> bool:
        """Whether it has gone. A look at what the server knows, without I/O: a loop may ask in
        every round."""
        return self._reporter.client_gone

    def on_gone(self, callback: Callable[[], object]) -> Registration:
        """Have it called when the client goes; at once if it has gone, never once the response has
        ended.

        It is called without arguments, at most once, on a thread of the pool (if all of those are
        busy for long, on a spare one), in a copy of the context in which this was called, and
        never by the thread that calls this. What it raises is logged.

        :returns: what cancels it.
        :raises TypeError: it cannot be called, or is a coroutine function.
        """
        if not callable(callback):
            raise TypeError(f"on_gone takes a callable, not {type(callback).__name__}")
        code = getattr(callback, "__code__", None)
        if getattr(code, "co_flags", 0) & _COROUTINE:
            raise TypeError(
                "on_gone takes a plain function, not a coroutine function; "
                "have it call wsgi_async.spawn(...)"
            )
        request = self._reporter
        return request.watch().on_gone(callback, request)

    def wait(self, seconds: float) -> bool:
        """Wait until the client goes or the response ends, so many seconds at most.

        The thread waits in its own place of the pool: who wants to wait for long with many clients
        returns an async body.

        :returns: whether the client has gone.
        """
        return self._reporter.watch().wait(seconds)

    def on_over(self, callback: Callable[[], object], *, gone: bool = True) -> Alarm:
        """For the server's own parts: have it called where the request is given up
        (``request_timeout``, or an operator); and, where `gone` is true, when the client goes.

        Not on a pool thread, of which all may wait for just this: on the loop, or, if it is so
        already, by the thread that calls this before it returns. It may not block.

        :returns: what cancels it: to be called in the end.
        """
        request = self._reporter
        return request.watch().on_over(callback, request, gone=gone)

    def warn(self, topic: str, message: str) -> None:
        """For the server's own parts: warn of something in this request, once for each `topic`."""
        self._reporter.app_warning(topic, message)

    def tell_thread(self) -> None:
        """For the server's own parts, on the request's thread: it is about to be raised there that
        the request was given up, so nobody is to raise it from outside."""
        self._reporter.watch().is_told = True

    @property
    def is_given_up(self) -> bool:
        """Whether the request was given up: it was answered without the application, or the server
        has stopped to wait for its end."""
        return self._reporter.is_given_up


_running: RunningMethods[Client] = RunningMethods()


def runs_applications(*methods: Callable[..., Any]) -> None:
    """Say which methods of a :class:`Client` call the application."""
    for method in methods:
        _running.add(method, lambda client: client)


def current_client() -> Client | None:
    """*Any thread:* the client of the request that this thread runs; None where it runs none."""
    return _running.of_this_thread()

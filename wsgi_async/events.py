"""What the core tells about itself. The core publishes here; the edge (logs, metrics) subscribes.

The methods of :class:`Observer` do nothing. They are called on the loop thread unless their
docstring says otherwise, must return quickly and must not raise.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import NamedTuple

__all__ = ["HAS_ACCESS_LINE", "Observer", "RequestInfo", "ResponseInfo"]

HAS_ACCESS_LINE: ContextVar[bool] = ContextVar("wsgi_async.has_access_line", default=False)
"""Set by middleware, in the context of a request, that logs it to ``wsgi_async.access`` itself."""


class RequestInfo(NamedTuple):
    """The facts of one request, as a log line needs them. Text is latin-1 and *not* escaped."""

    id: str
    method: str
    target: str
    version: str
    client: str
    """``127.0.0.1:50312``, ``[::1]:50312``, or ``unix``."""
    fields: tuple[tuple[str, str], ...]
    """Header fields as received: name, value."""


class ResponseInfo(NamedTuple):
    """How one request ended."""

    status: int
    """The status sent, or 499 where the client left before there was one."""
    body_size: int
    """Bytes of the body handed to the transport, without chunked framing."""
    duration: float
    """Seconds from the complete head to the end of the response."""
    complete: bool
    """False where the response was cut: application error, promise broken, client gone."""
    is_logged: bool = False
    """Whether middleware has a line for it in the access log: a second one would count it twice."""


class Observer:
    """Receives what happens in a server. Override what is of interest."""

    def started(
        self,
        addresses: tuple[str, ...],
        threads: int,
        loop: str,
        parser: str,
        processes: int = 1,
    ) -> None:
        """The server listens on `addresses` (``http://127.0.0.1:8000``, ``unix:/run/app.sock``).

        :param threads: of each process.
        """

    def stopping(self, in_flight: int) -> None:
        """A graceful stop began with this many exchanges in flight."""

    def interrupted(self, patience: float) -> None:
        """Ctrl-C came a moment ago, and requests are in flight still: they get so many seconds, 0
        is any number, and a second Ctrl-C drops them."""

    def stopped(self, stuck_threads: int) -> None:
        """The server has stopped; this many threads never returned from the application."""

    wants_requests = False
    """Whether :meth:`request_finished` is to be called: it costs a few objects a request."""

    def request_finished(self, request: RequestInfo, response: ResponseInfo) -> None:
        """A request has been answered, or given up."""

    def request_refused(
        self,
        client: str,
        status: int,
        detail: str,
        request: RequestInfo | None = None,
        *,
        is_running: bool = False,
    ) -> None:
        """The server itself refused a request with this 4xx/5xx.

        :param request: the request, where its head could be read.
        :param is_running: whether it had been given to the application, which reads its body as
            it arrives: :meth:`request_finished` is told of it then too, else not.
        """

    def connection_dropped(self, client: str, why: str) -> None:
        """The server gave a connection up: a stalled or too slow client, a cut response."""

    def app_error(
        self, request: RequestInfo, message: str, error: BaseException | None = None
    ) -> None:
        """The application failed or broke PEP 3333. *Any thread.*

        :param message: one line that says what happened and how to mend it.
        :param error: the exception, where there is one whose traceback helps.
        """

    def app_warning(self, request: RequestInfo, message: str) -> None:
        """The application did what it may not, and the server has mended it. *Any thread.*

        :param message: one line that says what was done, and what to change.
        """

    def app_stderr(self, request: RequestInfo, text: str) -> None:
        """The application wrote a complete line to ``wsgi.errors``: text of its own, perhaps with a
        level and a time, such as Flask's log. *Any thread.*"""

    def info(self, message: str) -> None:
        """Something an operator may like to know: one line. *Any thread.*"""

    def report(self, text: str) -> None:
        """Several lines about one failure, the first of which says what to change. *Any thread.*"""

    def thread_lost(
        self, request: RequestInfo, thread: str, seconds: float, stack: list[str]
    ) -> None:
        """A thread was given up, and replaced: the application is later than ``request_timeout``.

        :param thread: its name.
        :param seconds: for how long the application has produced nothing.
        :param stack: what it is doing, as the lines of a traceback, outermost call first.
        """

    def thread_returned(self, request: RequestInfo, seconds: float) -> None:
        """A thread that was given up has come back, and ends. *Pool thread.*

        :param seconds: how long after it was given up.
        """

    def threads_exhausted(self, lost: int) -> None:
        """So many threads are lost that new requests are refused with 503 from now on."""

    def threads_recovered(self, lost: int) -> None:
        """Enough threads have come back: requests are taken again, with so many still lost."""

    def warning(self, message: str) -> None:
        """Something an operator should know: one line. *Any thread.*"""

    def error(self, message: str, error: BaseException | None = None) -> None:
        """Something of the server's own failed. *Any thread.*"""

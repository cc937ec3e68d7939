"""Every exception this package raises on purpose.

::

    WsgiAsyncError
    ├── ConfigError          the operator asked for something impossible   (EXIT_FAILED)
    ├── LoadError            the application could not be loaded           (EXIT_NOT_LOADED)
    ├── HTTPError            a request deserves this 4xx/5xx, not the application
    └── ApplicationError     the application broke PEP 3333  (also an AssertionError)
    ClientDisconnected       the client is gone              (an OSError, as file-like code expects)
    RequestTimeout           the application is too late  (a BaseException: nobody is to catch it)
    StorageExhausted         a spool's bound or its disk is full          (an OSError)
    ProtocolFault            who passes for a front server has sent what is not its protocol

An error names whose fault it is: the operator's, the client's or the application's.
What is full where the status is 503 is an ``Overload``.
"""

from __future__ import annotations

import enum
from http import HTTPStatus

__all__ = [
    "EXIT_FAILED",
    "EXIT_NOT_LOADED",
    "ApplicationError",
    "ClientDisconnected",
    "ConfigError",
    "HTTPError",
    "LoadError",
    "Overload",
    "ProtocolFault",
    "RequestTimeout",
    "StorageExhausted",
    "WsgiAsyncError",
]

EXIT_FAILED = 1
"""The exit code where the configuration is wrong, the server has an error, or something did not
end in time."""

EXIT_NOT_LOADED = 3
"""The exit code where the application could not be loaded. Also what counts as the exit code of a
process that has none: ended by a signal, never forked, or waited for by somebody else."""


class WsgiAsyncError(Exception):
    """Base of the errors below that belong to the server itself."""


class ConfigError(WsgiAsyncError):
    """A setting is wrong or cannot be had. The message is one line that says what to change."""


class LoadError(WsgiAsyncError):
    """The application could not be loaded.

    The message is one line; where importing the application raised, that exception is the
    ``__cause__``, and its traceback is what the operator needs to see.
    """


class HTTPError(WsgiAsyncError):
    """A request that the server answers itself, and after which it closes the connection.

    :param status: the status code of the answer (RFC 9110 §15).
    :param detail: one sentence for the client; never text that the client sent.
    :param retry_after: seconds for a ``Retry-After`` field (RFC 9110 §10.2.3), or None.
    """

    cause = ""
    """For the log: what the client seems to speak instead of HTTP, and what to do. Only of a
    request that could not be read."""

    def __init__(self, status: int, detail: str, *, retry_after: int | None = None) -> None:
        super().__init__(status, detail)
        self.status = status
        self.detail = detail
        self.retry_after = retry_after

    @property
    def reason(self) -> str:
        return HTTPStatus(self.status).phrase

    def __str__(self) -> str:
        return f"{self.status} {self.reason}: {self.detail}"


class Overload(enum.Enum):
    """What is full where a request gets a 503, in words for its client. By these it is known in
    metrics too, each under its name."""

    QUEUE_FULL = "All threads are busy"
    QUEUE_TIMEOUT = "No thread was free in time"
    CONNECTIONS_FULL = "Too many connections"
    BUFFERS_FULL = "The server has no room for the body"
    LIVE_FULL = "Too many live responses"

    def error(self, retry_after: int) -> HTTPError:
        """That 503.

        :param retry_after: seconds, see :class:`HTTPError`.
        """
        return HTTPError(503, self.value, retry_after=retry_after)


class ApplicationError(WsgiAsyncError, AssertionError):
    """The application broke PEP 3333; the message says how to mend it.

    An ``AssertionError`` too, because that is what PEP 3333's own sample server and
    ``wsgiref`` raise, and middleware that catches it exists.
    """


class ClientDisconnected(ConnectionError):
    """The client is gone: raised from ``wsgi.input`` reads and from ``write()``."""


class RequestTimeout(BaseException):
    """The application is later than ``request_timeout`` allows, and ``interrupt_late`` is on, or it
    waits in :func:`~wsgi_async.run`.

    Raised in its thread from outside, once, wherever it is: ``finally`` clauses run, ``except
    Exception`` lets it pass. It comes when Python code runs again there: a call into C that
    waits, such as a read from a socket without a timeout, is not broken off. Nothing that is sent
    afterwards reaches the client, who has had its 504. (CPython 3.13.0 may pass over clauses right
    around a ``while`` loop, as it does at KeyboardInterrupt: those of the function's caller run.)
    """


class StorageExhausted(OSError):
    """A spool has reached its bound, or the disk beneath it is full."""


class ProtocolFault(Exception):
    """Bytes that are none of the protocol in which front servers are to speak here: there is nobody
    who would understand an answer, so the connection is closed without one.

    The message is a line for the log; never text that the other end has sent.
    """

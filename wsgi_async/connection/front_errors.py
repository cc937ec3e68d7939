"""What an application writes to ``wsgi.errors``, on its way to the log of a front server that has
one for it: where ``fastcgi_stderr`` asks for that. It is in our own log as well, and all of it.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

from wsgi_async.http.request import RequestHead

from .exchange import Exchange

__all__ = ["FRONT_ERRORS_LIMIT", "FrontErrors", "FrontErrorsExchange"]

FRONT_ERRORS_LIMIT = 64 * 1024
"""Bytes of one request's text, from which on a front server is told no more."""

_MORE = b"(there is more, in the log of the server behind)\n"
_FREE = 16
"""Bytes that a line counts beside its own, so that many empty ones are many too."""

_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(9), *range(10, 32), 127)}
"""A front server writes what it is told to its log, and not all of them look at it."""


class ErrorsConnection(Protocol):
    """The connection of a front server."""

    def tell_errors(self, errors: FrontErrors, text: bytes) -> None:
        """*Loop:* have the front server log it, where its request is still that of `errors`."""


class FrontErrors:
    """The text of one request.

    :param connection: where the request came from.
    :param head: the request's.
    """

    __slots__ = ("_connection", "_head", "_lines", "_size")

    def __init__(self, connection: ErrorsConnection, head: RequestHead) -> None:
        self._connection = connection
        self._head = head
        self._lines: deque[bytes] = deque()
        self._size = 0

    def add(self, head: RequestHead, line: str) -> bool:
        """*Any thread:* take a line without its newline.

        :param head: that of the request that says it: a thread that was given up may still write.
        :returns: whether the loop is to look at it.
        """
        if head is not self._head or self._size > FRONT_ERRORS_LIMIT:
            return False
        text = line.translate(_CONTROLS).encode("utf-8", "backslashreplace") + b"\n"
        # Threads of one request that race here may let a line more through, and say twice that
        # there is more: the bound is that of one who counts without them, but for as many lines.
        self._size += len(text) + _FREE
        self._lines.append(text if self._size <= FRONT_ERRORS_LIMIT else _MORE)
        return True

    def on_wake(self) -> None:
        """*Loop:* pass on what is there; once for each line, so mostly nothing."""
        lines = self._lines
        # As many as there are now: who goes on writing does not keep the loop.
        text = b"".join([lines.popleft() for _ in range(len(lines))])
        if text:
            self._connection.tell_errors(self, text)


class FrontErrorsExchange(Exchange):
    """Tells its front server, too."""

    __slots__ = ()

    def app_stderr(self, line: str) -> None:
        """See there."""
        super().app_stderr(line)
        errors = self.connection.errors
        # A process that the application has forked has nobody to tell: see disown_client().
        if errors is not None and not self.writer.gone and errors.add(self.head, line):
            self.post(errors)

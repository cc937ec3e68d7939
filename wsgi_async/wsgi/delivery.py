"""What a response comes to: its head and its chunks are handed to a writer, and what the head has
promised is kept.

It asks the application for nothing, and does not mind who has asked: that is :mod:`.calling`, or
:mod:`.awaited`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from wsgi_async.errors import ApplicationError, ClientDisconnected
from wsgi_async.http.response import ResponseHead
from wsgi_async.http.statuses import BODILESS

from .async_bodies import advise
from .checks import check_chunk
from .client import Client
from .file_wrapper import FileWrapper
from .outside import Pipe, Reporter, Writer

__all__ = ["JOIN_LIMIT", "Delivery", "send_error"]

JOIN_LIMIT = 256 * 1024
"""Bytes up to which the items of a list are joined into one: beyond it, copying costs more than
the extra writes."""


class Delivery(Client):
    """How far a response has been handed over. *Whoever has its chunks.*"""

    __slots__ = (
        "_head",
        "_head_only",
        "_head_sent",
        "_iterable",
        "_iterator",
        "_pipe",
        "_remaining",
        "_reporter",
        "_writer",
    )

    _head: ResponseHead | None
    _head_only: bool
    _head_sent: bool
    _iterable: Iterable[bytes] | None
    _iterator: Any  # an iterator of chunks, or an asynchronous one
    _pipe: Pipe
    _remaining: int | None
    _reporter: Reporter
    _writer: Writer

    def _respond(self, items: list[bytes] | tuple[bytes, ...]) -> bool:
        """A list or tuple is all there at once: its length is known (PEP 3333, "Handling the
        Content-Length Header")."""
        if len(items) == 1:
            body = items[0]
            if type(body) is not bytes:
                check_chunk(body)
            size = len(body)
        else:
            for item in items:
                if type(item) is not bytes:
                    check_chunk(item)
            size = sum(map(len, items))
            if size > JOIN_LIMIT:
                self._remaining = size
                return False
            body = b"".join(items)
        head = self._head
        if head is None:
            head = self._known_head()
        length = head.content_length
        if self._head_only or head.status in BODILESS:
            body = b""
        elif length is None:
            length = size
        elif size != length:
            if size < length:
                self._head_sent = True
                pipe = self._writer.start(head, length)
                if body:
                    pipe.write(body)
                self._too_short(length - size)
                return True
            self._reporter.app_error(_TOO_LONG, None)
            body = body[:length]
        self._head_sent = True
        self._writer.respond(head, body, length)
        return True

    def _is_all(self, chunk: bytes) -> bool:
        """Hand over the head together with the first chunk, if that is as long as was promised:
        most responses of frameworks. False: nothing is done."""
        head = self._head
        if head is None:
            head = self._known_head()
        length = head.content_length
        if length != len(chunk) or self._head_only or head.status in BODILESS:
            return False
        self._head_sent = True
        self._remaining = 0
        self._writer.respond(head, chunk, length)
        return True

    def _write_counted(self, chunk: bytes, write: Callable[[bytes], bool]) -> bool:
        """Write under a promised length; `_remaining` is negative once too much has come."""
        remaining = self._remaining
        assert remaining is not None
        size = len(chunk)
        if size < remaining:
            self._remaining = remaining - size
            return write(chunk)
        if remaining > 0:
            # The chunk that completes the length ends the response: no second wake for the end.
            self._pipe.write_last(chunk if size == remaining else chunk[:remaining])
        if size == remaining:
            self._remaining = 0
        elif remaining >= 0:
            self._remaining = -1
            # PEP 3333 lets a Content-Length choose how much of a wrapped file is sent.
            if type(self._iterable) is not FileWrapper:
                self._reporter.app_error(_TOO_LONG, None)
        return True

    def _start(self) -> bool:
        """Hand over the head, as the first non-empty chunk demands. False: no body follows."""
        head = self._known_head()
        length = head.content_length
        self._head_sent = True
        if self._head_only or head.status in BODILESS:
            self._writer.respond(head, b"", length)
            self._head_only = True
            return False
        if length is not None:
            self._remaining = length
        if self._remaining == 0:
            self._writer.respond(head, b"", 0)  # and the chunk at hand is already too much
        else:
            self._pipe = self._writer.start(head, self._remaining)
        return True

    def _end(self) -> None:
        """The iterable is exhausted."""
        if not self._head_sent:
            head = self._known_head()
            length = head.content_length
            self._head_sent = True
            if self._head_only or head.status in BODILESS:
                self._writer.respond(head, b"", length)
            elif length:
                self._writer.start(head, length)
                self._too_short(length)
            else:
                self._writer.respond(head, b"", 0)
        elif self._remaining is None:
            if not self._head_only:
                self._pipe.finish()
        elif self._remaining > 0 and not self._head_only:
            self._too_short(self._remaining)

    def _write(self, data: bytes) -> None:
        """The legacy ``write()`` callable (PEP 3333, "The write() Callable")."""
        if hasattr(self._iterator, "__anext__"):
            raise ApplicationError(
                "write() was called in an asynchronous body, where nobody may wait for the client; "
                "yield what is to be sent"
            )
        if type(data) is not bytes:
            check_chunk(data)
        if not data:
            return
        if not self._head_sent:
            self._start()
        if self._head_only:
            return
        if self._remaining is None:
            self._pipe.write_and_wait(data)
        else:
            self._write_counted(data, self._write_waiting)

    def _write_waiting(self, data: bytes) -> bool:
        self._pipe.write_and_wait(data)
        return True

    # --- ends --------------------------------------------------------------------------------

    def _fail(self, error: BaseException) -> None:
        """Answer 500 where nothing is sent yet, else cut: the client must be able to tell."""
        if isinstance(error, ClientDisconnected):
            self._head_sent = True  # what close() may still write goes nowhere
            self._writer.cut()
            return
        advise(error)
        broken = isinstance(error, ApplicationError)
        self._reporter.app_error(str(error) if broken else "the application raised", error)
        if self._head_sent:
            self._writer.cut()
            return
        self._head_sent = True
        send_error(self._writer, self._head_only)

    def _too_short(self, missing: int) -> None:
        message = f"the body is {missing} bytes shorter than its Content-Length"
        self._reporter.app_error(message, None)
        self._writer.cut()

    def _known_head(self) -> ResponseHead:
        if self._head is None:
            raise ApplicationError(
                "start_response was not called before the first chunk of the body"
            )
        return self._head


_TOO_LONG = "the body is longer than its Content-Length; the rest was not sent"
_INTERNAL_ERROR = ResponseHead(
    500, "Internal Server Error", (("Content-Type", "text/plain; charset=utf-8"),)
)
_INTERNAL_ERROR_BODY = b"500 Internal Server Error\n"


def send_error(writer: Writer, head_only: bool) -> None:
    """*Pool thread:* answer 500."""
    body = b"" if head_only else _INTERNAL_ERROR_BODY
    writer.respond(_INTERNAL_ERROR, body, len(_INTERNAL_ERROR_BODY))

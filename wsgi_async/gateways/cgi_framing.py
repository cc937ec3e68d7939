"""Responses to front servers as bytes: heads, and how a body ends that has no frames.

A head is that of CGI (RFC 3875 §6.2), or of HTTP/1.1 where uwsgi wants that. Nothing in it is of
the connection: no Transfer-Encoding, no Connection field. Interim responses there are none.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable

from wsgi_async.http.framed_heads import FramedHeads
from wsgi_async.http.framing import BodyFraming, FramedHead, Wanted
from wsgi_async.http.head_lines import Added, Lines, lines_of
from wsgi_async.http.response import ResponseHead

__all__ = ["CGIFramer", "StatusLine"]

_NONE, _LENGTH, _CLOSE = BodyFraming.NONE, BodyFraming.LENGTH, BodyFraming.CLOSE

_VERSION = b"HTTP/1.1 "

_STATUS = re.compile(rb"^status:.*\r\n", re.IGNORECASE | re.MULTILINE)
"""The application's own field of that name. In a head of CGI it would be the status once more, and
of two the last counts for Apache."""


class StatusLine(enum.Enum):
    """What is before the status in the first line of a head."""

    HTTP = _VERSION
    CGI = b"Status: "


def _without_status(head: ResponseHead, added: Added) -> Lines:
    start_line, fields = lines_of(head, added)
    return start_line, _STATUS.sub(b"", fields)


class CGIFramer(FramedHeads):
    """The framed heads of one server's responses to front servers: see :class:`FramedHeads` and
    :class:`wsgi_async.http.reading.GatewayFramer`. On the loop.

    :param status_line: how a head begins.
    """

    __slots__ = ("_begins",)

    continue_head = b""
    """The front server answers an expectation itself."""

    def __init__(
        self, server: str, fields: Iterable[tuple[str, str]] = (), *, status_line: StatusLine
    ) -> None:
        super().__init__(server, fields)
        self._begins = status_line.value
        if status_line is StatusLine.CGI:
            self._lines_of = _without_status

    def _frame(self, wanted: Wanted, lines: Lines) -> FramedHead:
        head, length, method, _, persists = wanted
        start_line, fields = lines
        status = head.status
        if status == 204:
            framing, length = _NONE, None
        elif status == 205:
            framing, length = _NONE, 0
        elif method == "HEAD" or status == 304:
            framing = _NONE
        else:
            framing = _CLOSE if length is None else _LENGTH
        data = b"".join(
            (
                self._begins,
                start_line[len(_VERSION) :],
                b"" if head.has_server else self._server,
                b"" if head.has_date else self._date,
                fields,
                b"" if length is None else b"Content-Length: %d\r\n" % length,
                b"\r\n",
            )
        )
        return FramedHead(status, data, framing, persists and not head.closes)

    def interim_head(self, head: ResponseHead, version: str) -> bytes:
        """Nothing: CGI has none."""
        return b""

    def errors(self, text: bytes) -> bytes:
        """Nothing: there is no way for it."""
        return b""

    def cut(self) -> bytes:
        """Nothing: there is no word for it."""
        return b""

    def end_connection(self) -> None:
        """It is anyway."""

    def aborted(self) -> bytes:
        """Nothing: no request is taken back here."""
        return b""

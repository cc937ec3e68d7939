"""Responses of HTTP/1.1 as bytes: heads, body framing, and the server's own error answers.

Sans-I/O. How a body is delimited and whether the connection persists is decided here, once, when
the head is framed (RFC 9112 §6.3, §9.3); what a head contains was checked in ``wsgi`` before.
"""

from __future__ import annotations

from collections.abc import Sequence

from wsgi_async.http.framed_heads import FramedHeads
from wsgi_async.http.framing import BodyFraming, FramedHead, Wanted
from wsgi_async.http.head_lines import Lines, lines_of
from wsgi_async.http.response import ResponseHead

__all__ = ["CONTINUE", "HTTP1Framer", "frame_chunks"]

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

LAST_CHUNK = b"0\r\n\r\n"

_NONE, _LENGTH = BodyFraming.NONE, BodyFraming.LENGTH
_CHUNKED, _CLOSE = BodyFraming.FRAMED, BodyFraming.CLOSE


class HTTP1Framer(FramedHeads):
    """The framed heads of one server's responses: see :class:`FramedHeads`. On the loop."""

    __slots__ = ()

    continue_head = CONTINUE

    def _frame(self, wanted: Wanted, lines: Lines) -> FramedHead:
        head, length, method, version, persists = wanted
        http10 = version == "HTTP/1.0"
        start_line, fields = lines
        status = head.status
        framing_line = b""
        if status == 204:
            # RFC 9110 §8.6: no Content-Length in a 204, whatever the application says.
            framing = _NONE
        elif status == 205:
            # RFC 9110 §15.3.6: a 205 has no content, and must let the client know.
            framing = _NONE
            framing_line = b"Content-Length: 0\r\n"
        elif method == "HEAD" or status == 304:
            framing = _NONE
            if length is not None:
                framing_line = b"Content-Length: %d\r\n" % length
        elif length is not None:
            framing = _LENGTH
            framing_line = b"Content-Length: %d\r\n" % length
        elif not http10:
            framing = _CHUNKED
            framing_line = b"Transfer-Encoding: chunked\r\n"
        else:
            framing = _CLOSE
            persists = False
        if head.closes:
            persists = False
        if not persists:
            connection = b"Connection: close\r\n\r\n"
        elif http10:
            connection = b"Connection: keep-alive\r\n\r\n"
        else:
            connection = b"\r\n"
        data = b"".join(
            (
                start_line,
                b"" if head.has_server else self._server,
                b"" if head.has_date else self._date,
                fields,
                framing_line,
                connection,
            )
        )
        if framing is _CHUNKED:
            return FramedHead(status, data, framing, persists, frame_chunks)
        return FramedHead(status, data, framing, persists)

    def interim_head(self, head: ResponseHead, version: str) -> bytes:
        """An interim response; nothing for a client of HTTP/1.0 (RFC 9110 §15.2)."""
        if version == "HTTP/1.0":
            return b""
        return b"".join((*lines_of(head), b"\r\n"))


def frame_chunks(pieces: Sequence[bytes], last: bool) -> list[bytes]:
    """Frame what is ready as *one* chunk of the chunked coding (RFC 9112 §7.1).

    The application's own chunk boundaries mean nothing in HTTP, so a thousand small pieces that
    are ready together cost one line of framing.
    """
    framed: list[bytes] = []
    size = sum(map(len, pieces))
    if size:
        framed = [b"%x\r\n" % size, *pieces, b"\r\n"]
    if last:
        framed.append(LAST_CHUNK)
    return framed

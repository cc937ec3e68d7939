"""Responses of HTTP/1.1 as bytes: heads, body framing, and the server's own error answers.

Sans-I/O. How a body is delimited and whether the connection persists is decided here, once, when
the head is framed (RFC 9112 §6.3, §9.3); what a head contains was checked in ``wsgi`` before.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from wsgi_async.errors import HTTPError
from wsgi_async.http.bounded_cache import BoundedCache
from wsgi_async.http.framing import BodyFraming, FramedHead, Wanted
from wsgi_async.http.response import ResponseHead, error_response

__all__ = ["CONTINUE", "HTTP1Framer", "frame_chunks", "frame_head"]

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

FRAMED_LIMIT = 256
FRAMED_SIZE_LIMIT = 1024
"""Framed heads that are remembered, and bytes of each at most."""
LINES_LIMIT = 1024
"""Heads whose lines are remembered; ``wsgi/checks.py`` bounds the size of a head that recurs."""

LAST_CHUNK = b"0\r\n\r\n"

_NONE, _LENGTH = BodyFraming.NONE, BodyFraming.LENGTH
_CHUNKED, _CLOSE = BodyFraming.FRAMED, BodyFraming.CLOSE


Lines = tuple[bytes, bytes]
"""The start line and the field lines of a head, whatever its framing will be."""


Added = tuple[tuple[str, bytes], ...]
"""Fields that the server adds where a head has none of that name: the name in lower case, the
line."""


def as_added(fields: Iterable[tuple[str, str]]) -> Added:
    """Write fields that are to be added."""
    return tuple((name.lower(), f"{name}: {value}\r\n".encode("latin-1")) for name, value in fields)


def lines_of(head: ResponseHead, added: Added = ()) -> Lines:
    """Write what a head says, and what is added to it."""
    start_line = f"HTTP/1.1 {head.status} {head.reason}\r\n"
    fields = "".join([f"{name}: {value}\r\n" for name, value in head.fields]).encode("latin-1")
    if added:
        own = {name.lower() for name, _ in head.fields}
        fields += b"".join([line for name, line in added if name not in own])
    return start_line.encode("latin-1"), fields


class HTTP1Framer(BoundedCache[Wanted, FramedHead]):
    """The framed heads of one server's responses: looking one up frames it; see
    :class:`wsgi_async.http.framing.Framer`. Those that recur are remembered for as long as the Date
    stays the same, their lines beyond that. On the loop.

    :param server: what the ``Server`` field says; empty for none.
    :param fields: name and value of each field that is added to responses, the server's own
        answers included, which have none of that name.
    """

    __slots__ = ("_added", "_date", "_lines", "_server", "_size_limit")

    continue_head = CONTINUE

    def __init__(self, server: str, fields: Iterable[tuple[str, str]] = ()) -> None:
        super().__init__(FRAMED_LIMIT)
        self._added = added = as_added(fields)
        # What is added must not be why a head is framed anew for each response.
        self._size_limit = FRAMED_SIZE_LIMIT + sum(len(line) for _, line in added)
        if not server or any(name == "server" for name, _ in added):
            self._server = b""
        else:
            self._server = f"Server: {server}\r\n".encode("latin-1")
        self._date = b""
        self._lines: BoundedCache[ResponseHead, Lines] = BoundedCache(LINES_LIMIT)

    def set_date(self, date: str) -> None:
        """Begin another second."""
        self._date = f"Date: {date}\r\n".encode("latin-1")
        self.clear()

    def __missing__(self, wanted: Wanted) -> FramedHead:
        head, length, method, version, persists = wanted
        lines = self._lines.get(head) if head.recurs else None
        if lines is None:
            lines = lines_of(head, self._added)
            if head.recurs:
                self._lines.keep(head, lines)
        framed = frame_head(
            head,
            lines,
            length,
            head_only=method == "HEAD",
            http10=version == "HTTP/1.0",
            persists=persists,
            date=self._date,
            server=self._server,
        )
        if head.recurs and len(framed.data) <= self._size_limit:
            self.keep(wanted, framed)
        return framed

    def interim_head(self, head: ResponseHead, version: str) -> bytes:
        """An interim response; nothing for a client of HTTP/1.0 (RFC 9110 §15.2)."""
        if version == "HTTP/1.0":
            return b""
        return b"".join((*lines_of(head), b"\r\n"))

    def error_answer(
        self, error: HTTPError, *, head_only: bool, fields: tuple[tuple[str, str], ...] = ()
    ) -> bytes:
        """A whole answer of the server's own, after which the connection is closed."""
        head, body = error_response(error, fields)
        framed = self[head, len(body), "HEAD" if head_only else "GET", "HTTP/1.1", False]
        return framed.data if head_only else framed.data + body


def frame_head(
    head: ResponseHead,
    lines: Lines,
    length: int | None,
    *,
    head_only: bool,
    http10: bool,
    persists: bool,
    date: bytes,
    server: bytes,
) -> FramedHead:
    """Decide the framing and write the head.

    :param lines: what the head says, from :func:`lines_of`.
    :param length: the size of the body, promised or known; None where nobody knows it yet.
    :param head_only: the request was a HEAD (RFC 9110 §9.3.2: same fields, no content).
    :param http10: the client speaks HTTP/1.0: no chunked coding, keep-alive has to be said.
    :param persists: False where the connection must end for a reason outside this head; the head
        itself may ask for that too.
    :param date: the ``Date`` field line, left out where the application sent its own.
    :param server: the ``Server`` field line, likewise.
    """
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
    elif head_only or status == 304:
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
            b"" if head.has_server else server,
            b"" if head.has_date else date,
            fields,
            framing_line,
            connection,
        )
    )
    if framing is _CHUNKED:
        return FramedHead(status, data, framing, persists, frame_chunks)
    return FramedHead(status, data, framing, persists)


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

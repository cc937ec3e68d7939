"""Responses of HTTP/1.1 as bytes: heads, body framing, and the server's own error answers.

Sans-I/O. How a body is delimited and whether the connection persists is decided here, once, when
the head is framed (RFC 9112 §6.3, §9.3); what a head contains was checked in ``wsgi`` before.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from wsgi_async.errors import HTTPError

__all__ = [
    "CONTINUE",
    "BodyFraming",
    "FramedHead",
    "Framer",
    "ResponseHead",
    "error_answer",
    "frame_chunks",
    "frame_head",
]

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
"""The interim answer that a client with ``Expect: 100-continue`` waits for (RFC 9110 §10.1.1)."""

FRAMED_LIMIT = 256
FRAMED_SIZE_LIMIT = 1024
"""Framed heads that are remembered, and bytes of each at most."""

LAST_CHUNK = b"0\r\n\r\n"


class BodyFraming(enum.Enum):
    """How the end of a response's body is told (RFC 9112 §6.3)."""

    NONE = "no body"
    LENGTH = "Content-Length"
    CHUNKED = "Transfer-Encoding: chunked"
    CLOSE = "the end of the connection"


_NONE = BodyFraming.NONE
_LENGTH = BodyFraming.LENGTH
_CHUNKED = BodyFraming.CHUNKED
_CLOSE = BodyFraming.CLOSE


# Each look into a named tuple takes three times as long as one into these, and there are a dozen in
# a request. They are not frozen, for that makes them slower to make, but nobody changes them; and
# one is equal to itself only, so that finding it in a dict compares no fields.


@dataclass(slots=True, eq=False)
class ResponseHead:
    """A checked head, before its framing. Immutable: the same one serves many responses."""

    status: int
    start_line: bytes
    """``b"HTTP/1.1 200 OK\\r\\n"``"""
    fields: bytes
    """Field lines ready to send, without Content-Length."""
    content_length: int | None
    """As the application promised, None where it did not."""
    has_date: bool = False
    has_server: bool = False
    recurs: bool = False
    """Whether this very object is kept for further responses."""
    closes: bool = False
    """Whether the application asks for the connection to end after it."""
    dropped: tuple[str, ...] = ()
    """Names of fields that the application gave and that are not sent: see ``checks``."""


@dataclass(slots=True, eq=False)
class FramedHead:
    """A head ready to send, and what follows from it."""

    status: int
    data: bytes
    framing: BodyFraming
    persists: bool
    """Whether the connection may carry another request afterwards."""


Wanted = tuple[ResponseHead, int | None, str, str, bool]
"""What is to be framed: a head, the length of its body, the request's method and version, and
whether the connection may persist; see :func:`frame_head`."""


class Framer(dict[Wanted, FramedHead]):
    """The framed heads of one server's responses: looking one up frames it. Those that recur are
    remembered for as long as the Date stays the same: 0.5 us a request. On the loop.

    :param server: the ``Server`` field line.
    """

    __slots__ = ("date", "server")

    def __init__(self, server: bytes) -> None:
        self.server = server
        self.date = b""
        """The ``Date`` field line (RFC 9110 §6.6.1); set with :meth:`set_date`."""

    def set_date(self, date: bytes) -> None:
        """Begin another second.

        :param date: the ``Date`` field line.
        """
        self.date = date
        self.clear()

    def __missing__(self, wanted: Wanted) -> FramedHead:
        head, length, method, version, persists = wanted
        framed = frame_head(
            head,
            length,
            head_only=method == "HEAD",
            http10=version == "HTTP/1.0",
            persists=persists,
            date=self.date,
            server=self.server,
        )
        if head.recurs and len(framed.data) <= FRAMED_SIZE_LIMIT:
            if len(self) >= FRAMED_LIMIT:
                self.clear()
            self[wanted] = framed
        return framed


def frame_head(
    head: ResponseHead,
    length: int | None,
    *,
    head_only: bool,
    http10: bool,
    persists: bool,
    date: bytes,
    server: bytes,
) -> FramedHead:
    """Decide the framing and write the head.

    :param length: the size of the body, promised or known; None where nobody knows it yet.
    :param head_only: the request was a HEAD (RFC 9110 §9.3.2: same fields, no content).
    :param http10: the client speaks HTTP/1.0: no chunked coding, keep-alive has to be said.
    :param persists: False where the connection must end for a reason outside this head; the head
        itself may ask for that too.
    :param date: the ``Date`` field line, left out where the application sent its own.
    :param server: the ``Server`` field line, likewise.
    """
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
            head.start_line,
            b"" if head.has_server else server,
            b"" if head.has_date else date,
            head.fields,
            framing_line,
            connection,
        )
    )
    return FramedHead(status, data, framing, persists)


def frame_chunks(pieces: Sequence[bytes], *, last: bool) -> list[bytes]:
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


def error_answer(error: HTTPError, *, head_only: bool, date: bytes, server: bytes) -> bytes:
    """A whole answer of the server's own, after which the connection is closed."""
    body = f"{error.status} {error.reason}\n\n{error.detail}\n".encode("latin-1")
    fields = b"Content-Type: text/plain; charset=utf-8\r\n"
    if error.retry_after is not None:
        fields += b"Retry-After: %d\r\n" % error.retry_after
    start_line = f"HTTP/1.1 {error.status} {error.reason}\r\n".encode("latin-1")
    framed = frame_head(
        ResponseHead(error.status, start_line, fields, None),
        len(body),
        head_only=head_only,
        http10=False,
        persists=False,
        date=date,
        server=server,
    )
    return framed.data if head_only else framed.data + body

"""The request side of HTTP/1.1 without I/O: bytes in, events out. The only importer of h11.

The reader finds the lines of a head itself, in the order of the bytes, so that limits and
verdicts never depend on how the bytes were cut (h11 counts incomplete events only). A complete
head goes to the fast path, and where that declines to a fresh h11 connection and then to
:func:`admit`, which refuses what h11 lets pass. h11 sees heads only: bodies with a
Content-Length are counted here, chunked ones decoded by :mod:`wsgi_async.http1.chunked`.

Nothing here knows a thread or a clock; an object is used by one thread at a time.
"""

from __future__ import annotations

import enum
import re
from functools import cache, lru_cache
from typing import Any

from wsgi_async._imports import Found
from wsgi_async.errors import HTTPError
from wsgi_async.http.admission import admit
from wsgi_async.http.bounded_cache import BoundedCache
from wsgi_async.http.limits import Limits
from wsgi_async.http.reading import Signal, joined
from wsgi_async.http.request import RequestHead
from wsgi_async.http1.lines import end_of_line

from .chunked import ChunkedDecoder
from .diagnosis import begins_as_scgi, foreign_protocol, sentence_for

try:  # It is an optimisation: without its file everything goes to h11.
    from .fast_path import FastPath
except ModuleNotFoundError:  # pragma: no cover
    FastPath = None  # type: ignore[assignment,misc]

__all__ = ["RequestReader"]


_NEED_DATA = Signal.NEED_DATA
_END_OF_BODY = Signal.END_OF_BODY


class _Expected(enum.Enum):
    HEAD = enum.auto()  # a head is next, or in parts here
    COUNTED = enum.auto()  # inside a body with a Content-Length
    CHUNKED = enum.auto()  # inside a chunked body
    ENDED = enum.auto()  # the body is out, END_OF_BODY is not
    ERROR = enum.auto()  # for good


# a global is quicker than an enum's attribute
_HEAD = _Expected.HEAD
_COUNTED = _Expected.COUNTED
_CHUNKED = _Expected.CHUNKED
_ENDED = _Expected.ENDED
_ERROR = _Expected.ERROR


# To import it takes a tenth of the start, and ordinary heads never get to it.
_FOUND = Found("h11")


@cache
def _h11() -> Any:
    with _FOUND:
        import h11

    return h11


_TOKEN_BYTES = frozenset(
    b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
)
# A head whose every line ends in CRLF, none folded: most are, and need no scan by lines.
_SOUND_LINES = re.compile(rb"(?:[^\r\n\t ][^\r\n]*+\r\n)++\r\n")
# Short heads that were read before, by either parser: health checks, polls and API clients send the
# same bytes again and again. A browser's head is longer, hardly ever the same twice, and not kept.
_heads: BoundedCache[bytes, RequestHead] = BoundedCache(256)
_HEAD_SIZE_LIMIT = 256
_LINE_TOO_LONG = (414, "The request line is too long")
_FIELD_TOO_LONG = (431, "A header field is too long")
_TOO_MANY_FIELDS = (431, "There are too many header fields")
_HEAD_TOO_LONG = (431, "The request head is too long")


class RequestReader:
    """Turns the bytes of one connection into requests.

    ``receive_data`` takes bytes as they come, ``next_event`` gives what they amount to: a
    :class:`RequestHead`, then, if ``head.has_body``, its body as ``bytes`` and
    ``Signal.END_OF_BODY``; ``Signal.NEED_DATA`` where there is nothing to say yet. Bytes of a
    following request stay buffered until they are asked for.

    :param limits: bounds on heads and trailers. The size of a body is for the caller to judge.
    :param parser: ``auto`` (the fast path, then h11) or ``h11``.
    """

    __slots__ = (
        "_bounds",
        "_crlf_skipped",
        "_data",
        "_decoder",
        "_error",
        "_fast_path",
        "_has_fast_path",
        "_line",
        "_lines",
        "_pos",
        "_quick_size",
        "_remaining",
        "_resume",
        "_state",
    )

    def __init__(self, limits: Limits, parser: str = "auto") -> None:
        self._bounds, self._quick_size = _bounds(limits)
        self._has_fast_path = parser == "auto" and FastPath is not None
        self._fast_path: FastPath | None = None  # until there is a head to parse
        self._state = _HEAD
        self._data: bytes | bytearray = b""  # a bytearray only where pieces had to be joined
        self._pos = 0  # what lies before it has been turned into events
        # How far a head that is not complete has been read; offsets from _pos:
        self._crlf_skipped = False
        self._lines = 0
        self._line = 0  # where its last line begins
        self._resume = 0  # no CR or LF between that and here
        self._remaining = 0  # bytes of the body still to come
        self._decoder: ChunkedDecoder | None = None
        self._error: tuple[int, str] | None = None

    @property
    def buffered(self) -> int:
        """Bytes received and not yet turned into events."""
        pending = self._decoder.buffered if self._decoder is not None else 0
        return len(self._data) - self._pos + pending

    @property
    def head_started(self) -> bool:
        """Whether a byte of the next head is here, beyond the CRLF that may precede it."""
        start = self._pos
        if self._state is _COUNTED:
            start += self._remaining
        elif self._state is _CHUNKED or self._state is _ERROR:
            return False
        size = len(self._data) - start
        if size <= 0:
            return False
        if self._crlf_skipped or self._data[start] != 0x0D:
            return True
        return size > 2 or (size == 2 and self._data[start + 1] != 0x0A)

    @property
    def body_left(self) -> int:
        """Bytes still to come of a body with a Content-Length, if nothing is buffered; else 0."""
        is_counted = self._state is _COUNTED and self._pos == len(self._data)
        return self._remaining if is_counted else 0

    def skip_body(self, size: int) -> None:
        """Somebody else has received that many bytes of :attr:`body_left`."""
        self._remaining -= size
        if not self._remaining:
            self._state = _ENDED

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the connection. Cheap: nothing is looked at."""
        if self._state is _ERROR:
            return
        if self._pos == len(self._data):
            self._data = data
        else:
            self._data = joined(self._data, self._pos, data)
        self._pos = 0

    def lone_head(self, data: bytes) -> RequestHead | None:
        """The common case in one step: a head that is all of `data`, after nothing else.

        None, and nothing done, where it is not: then ``receive_data`` takes it.

        :raises HTTPError: as :meth:`next_event`.
        """
        if self._data or self._state is not _HEAD or self._crlf_skipped:
            return None
        size = len(data)
        if size > self._quick_size:
            return None
        # Its readers may have had other limits.
        head = _heads.get(data) if size <= _HEAD_SIZE_LIMIT else None
        if head is None:
            if data[-4:] != b"\r\n\r\n":
                return None
            try:
                head = self._read_whole(data)
            except HTTPError as error:
                self._data = data
                self._fail(error)
                raise
            if head is None:
                return None
        if head.field_count > self._bounds.fields:
            return None
        return self._begin(head, 0) if head.chunked or head.content_length else head

    def next_event(self) -> RequestHead | bytes | Signal:
        """What the bytes so far amount to; each event is given once, NEED_DATA any number of times.

        Ask for the head of a following request only when this one has been answered.

        :raises HTTPError: the request is refused with 400, 414, 417, 431, 501 or 505. Nothing can
            be read after it: answer and close. Asking again raises it again.
        """
        try:
            state = self._state
            if state is _HEAD:
                return self._next_head()
            if state is _COUNTED:
                return self._next_counted()
            if state is _CHUNKED:
                return self._next_chunked()
            if state is _ENDED:
                self._state = _HEAD
                return _END_OF_BODY
        except HTTPError as error:
            self._fail(error)
            raise
        assert self._error is not None
        raise HTTPError(*self._error)

    def _fail(self, error: HTTPError) -> None:
        if self._state is _HEAD:
            start = bytes(self._data[self._pos : self._pos + 16])
            error.cause = foreign_protocol(start, after_crlf=self._crlf_skipped)
        self._state = _ERROR
        self._error = (error.status, error.detail)
        self._data, self._pos, self._decoder = b"", 0, None

    # -- heads

    def _next_head(self) -> RequestHead | Signal:
        data, pos = self._data, self._pos
        if pos == len(data):
            return _NEED_DATA
        if not self._resume:
            end = data.find(b"\r\n\r\n", pos) + 4
            if end > 3 and end - pos <= self._quick_size:
                raw = bytes(data[pos:end])
                head = _heads.get(raw) if len(raw) <= _HEAD_SIZE_LIMIT else None
                if head is None:
                    head = self._read_whole(raw)
                if head is not None and head.field_count <= self._bounds.fields:
                    return self._begin(head, end)
        if not self._at_token():
            return _NEED_DATA
        end = self._scan()
        if end < 0:
            return _NEED_DATA
        raw = bytes(self._data[self._pos : end])
        return self._begin(self._parse_quickly(raw) or _parse_with_h11(raw), end)

    def _parse_quickly(self, raw: bytes) -> RequestHead | None:
        """None where the fast path declines, or is not wanted."""
        path = self._fast_path
        if path is None:
            if not self._has_fast_path:
                return None
            self._fast_path = path = FastPath()
        return path.parse(raw)

    def _read_whole(self, raw: bytes) -> RequestHead | None:
        """A head that came in one piece, and to which no limit on lengths can apply.

        It needs no line scan if it can be seen at once that its lines are sound; the fast path
        proves that by the way. None where the lines have to be looked at in their order, or where
        `raw` ends in an empty line but is not one head.
        """
        path = self._fast_path
        head = path.parse(raw) if path is not None else self._parse_quickly(raw)
        if head is None:
            # What begins with no token gets its sentence from _at_token, as where it came in parts.
            sound = raw[0] in _TOKEN_BYTES and _SOUND_LINES.fullmatch(raw) is not None
            if not sound or raw.count(b"\n") - 2 > self._bounds.fields:
                return None
            head = _parse_with_h11(raw)
        if len(raw) <= _HEAD_SIZE_LIMIT:
            _heads.keep(raw, head)
        return head

    def _begin(self, head: RequestHead, end: int) -> RequestHead:
        """The head that ends at `end` is valid: what follows is its body, or the next head."""
        self._pos = end
        if end == len(self._data):
            self._data = b""
            self._pos = 0
        self._crlf_skipped = False
        self._lines = self._line = self._resume = 0
        if head.chunked:
            self._state = _CHUNKED
            self._decoder = ChunkedDecoder(self._bounds)
        elif head.content_length:
            self._state = _COUNTED
            self._remaining = head.content_length
        return head

    def _at_token(self) -> bool:
        """Skip one CRLF before a head (RFC 9112 §2.2); whether a byte that may start one is here.

        Anything but a token is refused at its first byte: a TLS hello gets its 400 at once.
        """
        data, pos = self._data, self._pos
        if data[pos] == 0x0D and not self._crlf_skipped:
            if pos + 1 == len(data):
                return False
            if data[pos + 1] != 0x0A:
                raise HTTPError(400, "A line contains CR")
            self._crlf_skipped = True
            self._pos = pos = pos + 2
            if pos == len(data):
                return False
        first = data[pos]
        # Of SCGI there may never come a line: it is told by its beginning.
        if first not in _TOKEN_BYTES or (first <= 0x39 and begins_as_scgi(data, pos)):
            raise HTTPError(400, "This is not an HTTP request")
        return True

    def _scan(self) -> int:
        """Go through the lines that are here, in the order of the bytes.

        Returns the index after the head, or -1 if it is not complete.
        """
        data, base, bounds = self._data, self._pos, self._bounds
        stop = min(len(data), base + bounds.header_size)
        start, resume, lines = base + self._line, base + self._resume, self._lines
        while start < stop:
            if lines:
                first = data[start]
                if first == 0x20 or first == 0x09:
                    raise HTTPError(400, "A header field is folded over several lines")
                if lines > bounds.fields and first != 0x0D and first != 0x0A:
                    raise HTTPError(*_TOO_MANY_FIELDS)
                end = end_of_line(data, start, resume, stop, bounds.field_size, _FIELD_TOO_LONG)
            else:
                end = end_of_line(data, start, resume, stop, bounds.request_line, _LINE_TOO_LONG)
            if end < 0:
                resume = max(start, stop - 1)
                break
            if end == start:
                return end + 2
            start = resume = end + 2
            lines += 1
        if len(data) > stop:
            raise HTTPError(*(_HEAD_TOO_LONG if lines else _LINE_TOO_LONG))
        self._line, self._resume, self._lines = start - base, resume - base, lines
        return -1

    # -- bodies

    def _next_counted(self) -> bytes | Signal:
        data, pos = self._data, self._pos
        size = len(data) - pos
        if not size:
            return _NEED_DATA
        if size <= self._remaining:
            piece = self._take_all()
        else:
            self._pos = pos + self._remaining
            piece = bytes(memoryview(data)[pos : self._pos])
        self._remaining -= len(piece)
        if not self._remaining:
            self._state = _ENDED
        return piece

    def _next_chunked(self) -> bytes | Signal:
        decoder = self._decoder
        assert decoder is not None
        piece = decoder.decode(self._take_all())
        if decoder.finished:
            self._data = decoder.trailing_data
            self._decoder = None
            self._state = _ENDED if piece else _HEAD
            return piece or _END_OF_BODY
        return piece or _NEED_DATA

    def _take_all(self) -> bytes:
        """Everything that is buffered, without a copy where it is as it came."""
        data, pos = self._data, self._pos
        self._data, self._pos = b"", 0
        if not pos and isinstance(data, bytes):
            return data
        return bytes(memoryview(data)[pos:])


@lru_cache(maxsize=16)
def _bounds(limits: Limits) -> tuple[Limits, int]:
    """The limits as bounds, and the size up to which no limit on lengths can be exceeded."""
    bounds = limits.bounds()
    return bounds, min(bounds.request_line, bounds.field_size, bounds.header_size)


_CONTENT_LENGTH = re.compile(rb"\r\nContent-Length:([^\r]*)", re.IGNORECASE)


def _parse_with_h11(raw: bytes) -> RequestHead:
    """Read one complete head, whose lines end in CRLF, with h11; judge it with :func:`admit`."""
    h11 = _h11()
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(raw)
    try:
        event = connection.next_event()
    except h11.RemoteProtocolError as error:
        status = error.error_status_hint
        status = status if 400 <= status < 500 or status == 501 else 400
        raise HTTPError(status, sentence_for(str(error))) from None
    assert isinstance(event, h11.Request)
    # h11 merges "5, 5" and repeated equal lengths (RFC 9112 §6.3 permits either); here a
    # length that was said twice is a sign of two parsers on the way, and refused.
    lengths = _CONTENT_LENGTH.findall(raw)
    if len(lengths) > 1 or (lengths and b"," in lengths[0]):
        raise HTTPError(400, "Content-Length is given more than once")
    # What h11 has found sound is cut where h11 cuts it: a name has no colon, a value no whitespace
    # at its ends, and every line ends in CRLF.
    return admit(
        event.method.decode("latin-1"),
        event.target.decode("latin-1"),
        event.http_version.decode("latin-1"),
        raw.decode("latin-1"),
    )

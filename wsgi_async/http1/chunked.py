"""A strict incremental decoder of the chunked transfer coding (RFC 9112 §7.1), without I/O.

h11's own is not used: it takes bare LF, folded trailers and NUL in extensions, and its limits
depend on how the bytes were cut. Whatever this decoder accepts, h11 accepts with the same data;
its verdict is the same for every segmentation.

Stricter than RFC 9112 in five points. Four are known ways to make two readers disagree: no
whitespace between a chunk's size and what follows it, at most 16 digits of size, no
Content-Length or Transfer-Encoding among the trailers, and bounds on extensions. The fifth bounds
what a client can make the loop do for a byte of data: framing may not outweigh the body.
"""

from __future__ import annotations

import enum
import re

from wsgi_async.errors import HTTPError
from wsgi_async.http.limits import Limits
from wsgi_async.http.tokens import TOKEN
from wsgi_async.http1.lines import end_of_line

__all__ = ["FREE_FRAMING_SIZE", "MAX_EXTENSIONS_SIZE", "MAX_LINE_SIZE", "ChunkedDecoder"]

MAX_LINE_SIZE = 8190
"""Bytes in the line before a chunk, without its CRLF; more is a 400."""
MAX_EXTENSIONS_SIZE = 16 * 1024
"""Bytes of extensions in one body; more is a 400. Nobody needs them; some hide payload there."""

FREE_FRAMING_SIZE = 64 * 1024
"""Bytes by which the framing of a body may exceed the data before it; more is a 400.

Framing is the lines before the chunks and the CRLFs after them (trailers have their own bounds):
five bytes for a chunk of less than 16. So only a body in chunks of one to four bytes can meet the
bound: after 16 KiB where each carries one byte."""

_TOKEN = TOKEN.encode("ascii")
_QUOTED = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*+"'
_SIZE_LINE = re.compile(
    rb"([0-9A-Fa-f]{1,16})"
    rb"((?:;[ \t]*+" + _TOKEN + rb"(?:[ \t]*=[ \t]*+(?:" + _TOKEN + rb"|" + _QUOTED + rb"))?"
    rb"(?:[ \t]+(?=;))?)*)"
)
_PLAIN_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,8})\r\n")
_FIELD_LINE = re.compile(rb"(" + _TOKEN + rb"):[\t \x21-\x7e\x80-\xff]*")
_FRAMING_FIELDS = (b"content-length", b"transfer-encoding")

_LINE_TOO_LONG = (400, "The line before a chunk is too long")
_NO_CRLF = (400, "A chunk does not end where its size says")
_TOO_MUCH_FRAMING = (400, "The chunk framing is larger than the body")
_TRAILER_TOO_LONG = (431, "A trailer field is too long")


class _Part(enum.Enum):
    SIZE = enum.auto()  # the line before a chunk
    DATA = enum.auto()
    CRLF = enum.auto()  # after a chunk
    TRAILERS = enum.auto()
    FINISHED = enum.auto()


# a global is quicker than an enum's attribute
_SIZE = _Part.SIZE
_DATA = _Part.DATA
_CRLF = _Part.CRLF
_TRAILERS = _Part.TRAILERS
_FINISHED = _Part.FINISHED


class ChunkedDecoder:
    """Decodes one chunked body.

    :param limits: bounds for the trailer section; 0 is *no* byte here, see ``Limits.bounds()``.
    """

    __slots__ = (
        "_allowance",
        "_bounds",
        "_error",
        "_extensions",
        "_left",
        "_pending",
        "_resume",
        "_state",
        "_trailers",
        "_trailers_size",
        "trailing_data",
    )

    def __init__(self, limits: Limits) -> None:
        self._bounds = limits
        self._state = _SIZE
        self._pending = b""  # a line that is not complete
        self._resume = 0  # no CR or LF in it before
        self._left = 0  # bytes of the current chunk still to come
        self._extensions = 0  # bytes
        self._allowance = FREE_FRAMING_SIZE  # + bytes of data - bytes of framing, so far
        self._trailers = 0
        self._trailers_size = 0  # bytes of the complete trailer lines
        self._error: tuple[int, str] | None = None
        self.trailing_data = b""
        """Once `finished`: the bytes after the body."""

    @property
    def finished(self) -> bool:
        """Whether the body, its trailers included, is complete."""
        return self._state is _FINISHED

    @property
    def buffered(self) -> int:
        """Bytes taken that wait for the rest of their line."""
        return len(self._pending)

    def decode(self, data: bytes) -> bytes:
        """Take the next bytes of the connection, return what they hold of the body.

        Data that precedes an error is returned; the error is raised by the next call. So whoever
        counts the data comes to the same verdict however the bytes were cut.

        :raises HTTPError: 400, or 431 for trailers over their limits; and again ever after.
        """
        if self._error is not None:
            raise HTTPError(*self._error)
        pieces: list[bytes] = []
        try:
            self._run(data, pieces)
        except HTTPError as error:
            self._error = (error.status, error.detail)
            self._pending = b""
            if not pieces:
                raise
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _run(self, new: bytes, pieces: list[bytes]) -> None:
        """Consume all of `new`, or up to the end of the body; append data to `pieces`."""
        data = self._pending + new if self._pending else new
        self._pending = b""
        pos, size = 0, len(data)
        state = self._state
        while pos < size:
            if state is _DATA:
                end = min(size, pos + self._left)
                pieces.append(data[pos:end])  # all of it is `data` itself: not copied
                self._left -= end - pos
                self._allowance += end - pos
                pos = end
                if not self._left:
                    self._state = state = _CRLF
                continue
            if state is _SIZE and not self._resume:
                pos = self._take_whole_chunks(data, pos, pieces)
            end = self._end_of_line(data, pos, state)
            if end < 0:
                self._pending = data[pos:]
                self._resume = max(0, size - pos - 1)
                return
            self._resume = 0
            if state is _SIZE:
                state = self._begin_chunk(data, pos, end)
            elif state is _CRLF:
                self._allowance -= 2
                state = _SIZE
            elif end == pos:
                state = _FINISHED
            else:
                self._check_trailer(data, pos, end)
            self._state = state
            pos = end + 2
            if state is _FINISHED:
                self.trailing_data = data[pos:]
                return

    def _take_whole_chunks(self, data: bytes, pos: int, pieces: list[bytes]) -> int:
        """The chunks that begin at `pos`, are all there and as plain as nearly every chunk is.

        To the same end as one by one, and quicker where they are small.

        :returns: where the first one begins that is not like that.
        """
        match = _PLAIN_SIZE_LINE.match
        while found := match(data, pos):
            start = found.end()
            amount = int(found[1], 16)
            end = start + amount
            if not amount or data[end : end + 2] != b"\r\n":
                break
            self._count_framing(start - pos)
            self._allowance += amount - 2
            pieces.append(data[start:end])
            pos = end + 2
        return pos

    def _count_framing(self, size: int) -> None:
        """A line before a chunk is complete: `size` bytes with its CRLF.

        The only place where the allowance is judged: what came before is then complete too, so
        that the verdict depends on the bytes alone.
        """
        self._allowance -= size
        if self._allowance < 0:
            raise HTTPError(*_TOO_MUCH_FRAMING)

    def _end_of_line(self, data: bytes, pos: int, state: _Part) -> int:
        """As :func:`end_of_line`, under the limits of `state`."""
        size = len(data)
        resume = pos + self._resume
        if state is _SIZE:
            return end_of_line(data, pos, resume, size, MAX_LINE_SIZE, _LINE_TOO_LONG)
        if state is _CRLF:
            return end_of_line(data, pos, resume, size, 0, _NO_CRLF)
        bounds = self._bounds
        stop = min(size, pos + bounds.header_size - self._trailers_size)
        end = -1
        if pos < stop:
            if data[pos] in b" \t":
                raise HTTPError(400, "A trailer field is folded over several lines")
            if self._trailers >= bounds.fields and data[pos] not in b"\r\n":
                raise HTTPError(431, "There are too many trailer fields")
            end = end_of_line(data, pos, resume, stop, bounds.field_size, _TRAILER_TOO_LONG)
        if end < 0 and size > stop:
            raise HTTPError(431, "The trailer section is too long")
        return end

    def _begin_chunk(self, data: bytes, start: int, end: int) -> _Part:
        match = _SIZE_LINE.fullmatch(data, start, end)
        if match is None:
            raise HTTPError(400, "The line before a chunk is not a chunk size")
        self._extensions += match.end(2) - match.start(2)
        if self._extensions > MAX_EXTENSIONS_SIZE:
            raise HTTPError(400, "There are too many chunk extensions")
        self._count_framing(end + 2 - start)
        self._left = int(match[1], 16)
        return _DATA if self._left else _TRAILERS

    def _check_trailer(self, data: bytes, start: int, end: int) -> None:
        """Trailers are validated like fields and then dropped (RFC 9112 §7.1.2)."""
        match = _FIELD_LINE.fullmatch(data, start, end)
        if match is None:
            raise HTTPError(400, "A trailer is not a header field")
        if match[1].lower() in _FRAMING_FIELDS:
            raise HTTPError(400, "A trailer cannot carry framing")
        self._trailers += 1
        self._trailers_size += end + 2 - start

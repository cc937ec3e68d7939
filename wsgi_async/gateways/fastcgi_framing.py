"""Responses of FastCGI 1.0 as bytes: the head as a CGI program writes it, in records."""

from __future__ import annotations

from functools import lru_cache

from wsgi_async.errors import HTTPError
from wsgi_async.http.framing import BodyFraming, FramedHead, Framer, Wanted
from wsgi_async.http.response import ResponseHead

from .fastcgi import FastCGIReader
from .fastcgi_records import FAULTY, Kind, end_request, record, stream

__all__ = ["FastCGIFramer"]

_STDOUT, _STDERR = Kind.STDOUT, Kind.STDERR
_NONE, _FRAMED = BodyFraming.NONE, BodyFraming.FRAMED

_LAST = record(Kind.UNKNOWN_TYPE, 0, bytes(8))
"""Goes behind the end of a response where the connection was to be kept, and is closed. FastCGI has
no word for that, so nginx may send its next request just before it sees the close, in vain; but it
does not keep a connection on which it has read more than the end."""

_CUT = b"the application's response ends here, and is not complete\n"


class FastCGIFramer:
    """Frames the responses of one connection; see :class:`.GatewayFramer`. On the loop.

    :param heads: makes the heads as CGI has them, those of all connections.
    :param reader: knows which request it is that is answered, and is told when it has been.
    """

    __slots__ = ("_ends_stderr", "_has_ended", "_heads", "_is_last", "_reader")

    continue_head = b""

    def __init__(self, heads: Framer, reader: FastCGIReader) -> None:
        self._heads = heads
        self._reader = reader
        self._has_ended = True
        """Whether no more may be written of the last response whose head was framed."""
        self._ends_stderr = False
        self._is_last = False
        """Whether the front server is to be told that the response is the connection's last."""

    def set_date(self, date: str) -> None:
        """Theirs is the heads'."""

    def __getitem__(self, wanted: Wanted, /) -> FramedHead:
        framed = self._heads[wanted]
        head = stream(_STDOUT, self._reader.request_id, (framed.data,))
        self._has_ended = False
        self._is_last = self._reader.is_kept and not framed.persists
        if framed.framing is _NONE:
            data = b"".join((*head, self._end()))
            return FramedHead(framed.status, data, _NONE, framed.persists)
        data = b"".join(head)
        return FramedHead(framed.status, data, _FRAMED, framed.persists, self._frame_body)

    def _frame_body(self, pieces: list[bytes], last: bool) -> list[bytes]:
        framed = stream(_STDOUT, self._reader.request_id, pieces)
        if last:
            framed.append(self._end())
        return framed

    def _end(self) -> bytes:
        """The end of all that is said of a request."""
        ends_stderr, self._ends_stderr = self._ends_stderr, False
        self._has_ended = True
        self._reader.response_ended()
        end = _end_of(self._reader.request_id, ends_stderr=ends_stderr)
        return end + _LAST if self._is_last else end

    def interim_head(self, head: ResponseHead, version: str) -> bytes:
        """CGI has none (RFC 3875 §6): nothing."""
        return b""

    def error_answer(
        self, error: HTTPError, *, head_only: bool, fields: tuple[tuple[str, str], ...] = ()
    ) -> bytes:
        """A whole answer of the server's own, after which the connection is closed; nothing where
        no request has begun that it could be an answer to."""
        if not self._reader.awaits_response:
            return b""
        self._is_last = self._reader.is_kept
        answer = self._heads.error_answer(error, head_only=head_only, fields=fields)
        return b"".join((*stream(_STDOUT, self._reader.request_id, (answer,)), self._end()))

    def errors(self, text: bytes) -> bytes:
        """Text for the front server's log; nothing where it would come too late."""
        if not self._reader.awaits_response:
            return b""
        self._ends_stderr = True
        return b"".join(stream(_STDERR, self._reader.request_id, (text,)))

    def cut(self) -> bytes:
        """What is written where a response that has begun ends here, incomplete.

        Neither nginx nor Apache looks at the application's status in the record that ends a
        request: with that, a response without Content-Length would be complete for them. So it is
        left out, and in its place is what nobody takes for a record.
        """
        if self._has_ended:
            return b""
        self._has_ended = True
        return b"".join((*stream(_STDERR, self._reader.request_id, (_CUT,)), FAULTY))

    def end_connection(self) -> None:
        """Tell the front server, if it would keep the connection."""
        self._is_last = self._reader.is_kept

    def aborted(self) -> bytes:
        """What is written of a request that was taken back."""
        self._has_ended = True
        self._ends_stderr = False
        return end_request(self._reader.request_id, app_status=1)


@lru_cache(maxsize=64)
def _end_of(request_id: int, *, ends_stderr: bool) -> bytes:
    """An empty record ends a stream (§3.3), also the one of errors, if there was something in it
    (§5.5)."""
    streams = (_STDOUT, _STDERR) if ends_stderr else (_STDOUT,)
    return b"".join([record(kind, request_id) for kind in streams] + [end_request(request_id)])

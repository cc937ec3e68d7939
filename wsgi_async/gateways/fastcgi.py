"""The request side of FastCGI 1.0 without I/O: bytes in, events out. § is of the specification, see
:mod:`.fastcgi_records`.

One connection carries one request after another, never two at once: who begins a second one is told
so, as §5.5 provides, and who asks first hears it from GET_VALUES (§4.1). The verdict on what comes
never depends on how the bytes were cut.
"""

from __future__ import annotations

import enum

from wsgi_async.errors import HTTPError, ProtocolFault
from wsgi_async.http.limits import Limits
from wsgi_async.http.reading import Signal
from wsgi_async.http.request import RequestHead

from .diagnosis import what_was_spoken
from .fastcgi_input import RecordInput
from .fastcgi_records import (
    BEGIN_SIZE,
    HEADER_SIZE,
    VERSION,
    Header,
    Kind,
    ProtocolStatus,
    Role,
    end_request,
    name_values,
    read_begin,
    read_header,
    read_plain_request,
    unknown_type,
    values_result,
)
from .variables import most_bytes, request_head

__all__ = ["BESIDE_LIMIT", "FastCGIReader"]

BESIDE_LIMIT = 64 * 1024
"""Bytes, between two requests, of records that are no part of one: what is answered to them, what
they ask, and the header of each that is passed over."""

_NEED_DATA = Signal.NEED_DATA
_END_OF_BODY = Signal.END_OF_BODY
_ABORTED = Signal.ABORTED

_NO_LENGTH = (b"CONTENT_LENGTH", b"-1")
"""What Caddy says of a body that comes in chunks."""

# A global is quicker than an enum's attribute.
_BEGIN_REQUEST = Kind.BEGIN_REQUEST
_ABORT_REQUEST = Kind.ABORT_REQUEST
_PARAMS = Kind.PARAMS
_STDIN = Kind.STDIN


class _Stage(enum.Enum):
    IDLE = "there is no request"
    VARIABLES = "one has begun, its variables come"
    STDIN_DUE = "they are here; whether there is a body shows when its stream begins"
    BODY = "the body comes"
    RECEIVED = "all of the request is here"
    ABORTED = "the front server has taken the request back"
    ENDED = "all of the response has been framed"
    FAILED = "for good"


_IDLE = _Stage.IDLE
_VARIABLES = _Stage.VARIABLES
_STDIN_DUE = _Stage.STDIN_DUE
_BODY = _Stage.BODY
_RECEIVED = _Stage.RECEIVED
_TAKEN_BACK = _Stage.ABORTED
_ENDED = _Stage.ENDED
_FAILED = _Stage.FAILED


class FastCGIReader(RecordInput):
    """Turns the bytes of one connection into requests; see :class:`.GatewayReader`.

    :param limits: bounds on heads.
    :param capacity: how many requests, and connections, the server takes at a time: front servers
        may ask for that.
    """

    __slots__ = (
        "_beside",
        "_capacity",
        "_error",
        "_head",
        "_is_fastcgi",
        "_keeps",
        "_limits",
        "_owed",
        "_replies",
        "_stage",
        "_variables",
        "_variables_limit",
        "request_id",
    )

    is_framed = True
    body_left = 0
    """Records are in between: nobody else can receive a body."""

    def __init__(self, limits: Limits, capacity: int = 1) -> None:
        super().__init__()
        self._limits = limits
        self._variables_limit = most_bytes(limits)
        self._capacity = capacity
        self._stage = _IDLE
        self.request_id = 0
        """The front server's number for the request that there is; 0 before the first one."""
        self._keeps = False  # whether the connection outlives that request
        self._variables = bytearray()
        self._head: RequestHead | None = None  # waits for STDIN
        self._owed: int | None = None  # bytes of the body that no record has announced yet
        self._replies: list[bytes] = []
        self._beside = 0  # bytes
        self._error: tuple[int, str] | str | None = None
        self._is_fastcgi = False  # whether it has begun as that

    @property
    def head_started(self) -> bool:
        """Whether a request has begun, or a record."""
        stage = self._stage
        if stage is _IDLE or stage is _ENDED:
            return self.buffered > self._skip
        return stage is _VARIABLES or stage is _STDIN_DUE

    @property
    def awaits_response(self) -> bool:
        """Whether there is a request to which something can still be said."""
        stage = self._stage
        return stage is not _IDLE and stage is not _ENDED and stage is not _TAKEN_BACK

    @property
    def is_kept(self) -> bool:
        """Whether the front server means to send its next request on this connection, too."""
        return self._keeps

    def skip_body(self, size: int) -> None:
        """Nobody has that to say here: see :attr:`body_left`."""
        raise RuntimeError("a body in records is received by its reader alone")

    def lone_head(self, data: bytes) -> RequestHead | None:
        """The common case in one step: a request without a body that is all of `data`, as nginx
        sends it. None, and nothing done, where it is not, or not right."""
        if self._stage is not _IDLE or self._skip or self.buffered:
            return None
        plain = read_plain_request(data)
        if plain is None:
            return None
        request_id, keeps, content = plain
        try:
            head = request_head(name_values(content), self._limits, ends_bodies=True)
        except (HTTPError, ProtocolFault):
            return None
        if head.has_body or len(content) > self._variables_limit:
            return None
        head.keep_alive = self._keeps = keeps
        self.request_id = request_id
        self._is_fastcgi = True
        self._stage = _RECEIVED
        return head

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the connection. Cheap: nothing is looked at."""
        if self._stage is not _FAILED:
            super().receive_data(data)

    def replies(self) -> bytes:
        """What the protocol itself answers, each once."""
        if not self._replies:
            return b""
        replies = b"".join(self._replies)
        self._replies.clear()
        return replies

    def response_ended(self) -> None:
        """All of the response has been framed: the front server may send its next request as soon
        as it has that, and what comes of this one means nothing any more."""
        if self._stage is not _FAILED:
            self._stage = _ENDED

    def answered(self) -> None:
        """The response has been given to the transport, or the request was taken back, and the
        connection is kept: from here on the next one may come."""
        if self._stage is _IDLE:
            return
        self._stage = _IDLE
        self._leave_all()
        self._beside = 0

    # -- events

    def next_event(self) -> RequestHead | bytes | Signal:
        """What the bytes so far amount to; see :meth:`.Reader.next_event`.

        :raises HTTPError: the request is refused with 400, 414, 431 or 501. Nothing can be read
            after it: answer and close. Asking again raises it again.
        :raises ProtocolFault: likewise, but nobody is there who would understand an answer.
        """
        error = self._error
        if error is not None:
            raise ProtocolFault(error) if isinstance(error, str) else HTTPError(*error)
        try:
            if self._content and self._stage is _BODY:
                return self._take_body()
            while True:
                stage = self._stage
                if stage is _TAKEN_BACK:
                    return _ABORTED
                if stage is _ENDED or (self._content and not self._take_variables()):
                    return _NEED_DATA
                if self._skip and not self._skip_over():
                    return _NEED_DATA
                data, pos = self._data, self._pos
                if len(data) - pos < HEADER_SIZE:
                    return _NEED_DATA
                if data[pos] != VERSION:
                    raise ProtocolFault(self._another_version(bytes(data[pos : pos + HEADER_SIZE])))
                self._is_fastcgi = True
                event = self._read(read_header(data, pos))
                if event is not None:
                    return event
        except HTTPError as failure:
            self._fail((failure.status, failure.detail))
            raise
        except ProtocolFault as failure:
            self._fail(str(failure))
            raise

    def _fail(self, error: tuple[int, str] | str) -> None:
        self._stage = _FAILED
        self._error = error
        self._drop()
        self._variables.clear()
        self._head = None

    def _another_version(self, beginning: bytes) -> str:
        """What to say of a record that is none."""
        if not self._is_fastcgi:
            return what_was_spoken(beginning, "FastCGI")
        return "a record is not of FastCGI 1.0"

    def _read(self, header: Header) -> RequestHead | bytes | Signal | None:
        """Go on with a record whose header is here. None where there is more to look at."""
        kind, request_id = header.kind, header.request_id
        if not request_id:
            return self._manage(header)
        stage = self._stage
        if stage is _IDLE or request_id != self.request_id:
            if kind == _BEGIN_REQUEST:
                return self._begin(header)
            # §3.3: of a request that there is not, or not any more.
            self._count(HEADER_SIZE)
            self._pass_over(header)
            return None
        if kind == _STDIN and stage is not _VARIABLES:
            return self._read_stdin(header)
        if kind == _PARAMS and stage is _VARIABLES:
            return self._read_variables(header)
        if kind == _ABORT_REQUEST:
            self._abort(header)
            return None
        raise ProtocolFault("a record of FastCGI comes where it cannot be")

    def _begin(self, header: Header) -> Signal | None:
        """A request is to begin (§5.1)."""
        if self._stage is not _IDLE:
            self._pass_over(header)
            self._reply(end_request(header.request_id, ProtocolStatus.CANT_MPX_CONN))
            return None
        if header.size != BEGIN_SIZE:
            raise ProtocolFault("a request of FastCGI does not begin as it should")
        if len(self._data) - self._pos < HEADER_SIZE + BEGIN_SIZE:
            return _NEED_DATA
        role, self._keeps = read_begin(self._data, self._pos + HEADER_SIZE)
        self._pass_over(header)
        if role != Role.RESPONDER:
            self._reply(end_request(header.request_id, ProtocolStatus.UNKNOWN_ROLE))
            if not self._keeps:
                raise ProtocolFault("the role that is asked for is not that of a responder")
            return None
        self.request_id = header.request_id
        self._variables.clear()
        self._stage = _VARIABLES
        return None

    def _abort(self, header: Header) -> None:
        """The front server takes the request back (§5.4)."""
        self._pass_over(header)
        if self._stage is not _VARIABLES and self._stage is not _STDIN_DUE:
            self._stage = _TAKEN_BACK
            return
        self._head = None  # nobody has heard of it
        self._reply(end_request(self.request_id, app_status=1))
        if not self._keeps:
            raise ProtocolFault("the request was taken back before it was complete")
        self._stage = _IDLE

    # -- heads

    def _read_variables(self, header: Header) -> RequestHead | None:
        """A record of variables; an empty one ends them (§5.2)."""
        size = header.size
        if size:
            if len(self._variables) + size > self._variables_limit:
                raise HTTPError(431, "The request head is too long")
            self._enter(header)
            return None
        self._pass_over(header)
        variables, given = name_values(self._variables), len(self._variables)
        self._variables.clear()
        if _NO_LENGTH in variables:
            variables.remove(_NO_LENGTH)
        head = request_head(variables, self._limits, size=given, ends_bodies=True)
        head.keep_alive = self._keeps
        self._owed = head.content_length
        if head.has_body:
            self._stage = _BODY
            return head
        self._head = head
        self._stage = _STDIN_DUE
        return None

    def _take_variables(self) -> bool:
        """What is here of a record of variables. False where there is more to come of it."""
        pos = self._pos
        end = min(pos + self._content, len(self._data))
        self._variables += memoryview(self._data)[pos:end]
        return self._leave(end - pos)

    # -- bodies

    def _read_stdin(self, header: Header) -> RequestHead | bytes | Signal | None:
        """A record of the body; an empty one ends it (§5.3).

        §6.2: what came is to be compared with CONTENT_LENGTH, and nothing is to be done where the
        two differ.
        """
        stage, size, owed = self._stage, header.size, self._owed
        if stage is _RECEIVED:
            raise ProtocolFault("a record of FastCGI comes where it cannot be")
        if owed is not None and (size > owed if size else owed):
            raise HTTPError(400, "The body is not as long as CONTENT_LENGTH says")
        if not size:
            self._pass_over(header)
            self._stage = _RECEIVED
            head, self._head = self._head, None
            return _END_OF_BODY if stage is _BODY else head
        if stage is _STDIN_DUE:
            head, self._head = self._head, None
            assert head is not None
            head.chunked = True  # it has a body, and nobody says how long that is
            self._stage = _BODY
            return head
        self._announce(header)
        return self._take_body()

    def _announce(self, header: Header) -> None:
        """Enter a record of the body."""
        if self._owed is not None:
            self._owed -= header.size
        self._enter(header)

    def _take_body(self) -> bytes | Signal:
        """All that is here of the body, of as many records as there are.

        What is not a further record of it is left to the next call, so that the data before an
        error is given first.
        """
        data = self._data
        size = len(data)
        if not self._pos and self._content > size and isinstance(data, bytes):
            if not size:
                return _NEED_DATA
            self._leave(size)
            return data
        pieces: list[memoryview] = []
        view = memoryview(data)
        while True:
            pos = self._pos
            end = min(pos + self._content, size)
            if end > pos:
                pieces.append(view[pos:end])
            if not self._leave(end - pos) or not self._skip_over():
                break
            pos = self._pos
            if size - pos < HEADER_SIZE or data[pos] != VERSION or data[pos + 1] != _STDIN:
                break
            header = read_header(data, pos)
            if header.request_id != self.request_id or not header.size:
                break
            if self._owed is not None and header.size > self._owed:
                break
            self._announce(header)
        return b"".join(pieces) if pieces else _NEED_DATA

    # -- what is no part of a request

    def _manage(self, header: Header) -> Signal | None:
        """A record that is about the application (§4)."""
        kind, size = header.kind, header.size
        if Kind.BEGIN_REQUEST <= kind <= Kind.DATA:
            raise ProtocolFault("a record of a request of FastCGI does not say of which")
        if kind in (Kind.GET_VALUES_RESULT, Kind.UNKNOWN_TYPE):
            raise ProtocolFault("this is what an application answers, and not a front server")
        if kind != Kind.GET_VALUES:
            self._pass_over(header)
            self._reply(unknown_type(kind))
            return None
        start = self._pos + HEADER_SIZE
        if len(self._data) - start < size:
            return _NEED_DATA
        self._count(size)
        answer = values_result(self._data[start : start + size], self._capacity)
        self._pass_over(header)
        self._reply(answer)
        return None

    def _reply(self, data: bytes) -> None:
        self._count(len(data))
        self._replies.append(data)

    def _count(self, size: int) -> None:
        """Bytes of what is no part of a request."""
        self._beside += size
        if self._beside > BESIDE_LIMIT:
            raise ProtocolFault("there are too many records of FastCGI that belong to no request")

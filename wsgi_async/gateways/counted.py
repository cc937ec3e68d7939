"""What uwsgi and SCGI have in common: a block of variables, then a body of CONTENT_LENGTH bytes,
and that is all of a connection."""

from __future__ import annotations

import enum
from collections.abc import Sequence

from wsgi_async.errors import HTTPError, ProtocolFault
from wsgi_async.http.limits import Limits
from wsgi_async.http.reading import Signal, joined
from wsgi_async.http.request import RequestHead

from .diagnosis import may_be_http, what_was_spoken
from .taking import Pair
from .variables import request_head

__all__ = ["CountedReader", "Variables"]

Variables = Sequence[Pair]
"""Name and value of each, in their order."""

_NEED_DATA = Signal.NEED_DATA
_END_OF_BODY = Signal.END_OF_BODY


class _Expected(enum.Enum):
    HEAD = enum.auto()  # the variables are next, or in parts here
    BODY = enum.auto()
    ENDED = enum.auto()  # the body is out, END_OF_BODY is not
    NOTHING = enum.auto()  # the request is out, or was refused: what still comes is nobody's


_HEAD = _Expected.HEAD
_BODY = _Expected.BODY
_ENDED = _Expected.ENDED
_NOTHING = _Expected.NOTHING


class CountedReader:
    """Turns the bytes of one connection into one request: see
    :class:`wsgi_async.http.reading.GatewayReader`.

    :param limits: bounds on the variables. The size of a body is for the caller to judge.
    """

    __slots__ = ("_data", "_limits", "_remaining", "_state")

    is_framed = False
    name = ""
    """The protocol's, in log lines."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._state = _HEAD
        self._data: bytes | bytearray = b""  # a bytearray only where pieces had to be joined
        self._remaining = 0  # bytes of the body still to come

    def _read_block(self, data: bytes | bytearray) -> tuple[Variables, int] | None:
        """The variables that `data` begins with, and the index after them. None: more must come.

        :raises ProtocolFault: they are none.
        :raises HTTPError: 431, there are too many of them.
        """
        raise NotImplementedError

    @property
    def buffered(self) -> int:
        """See :class:`.Reader`, and so for all of these."""
        return len(self._data)

    @property
    def head_started(self) -> bool:
        return self._state is _HEAD and bool(self._data)

    @property
    def body_left(self) -> int:
        return self._remaining if self._state is _BODY and not self._data else 0

    def skip_body(self, size: int) -> None:
        self._remaining -= size
        if not self._remaining:
            self._state = _ENDED

    def receive_data(self, data: bytes) -> None:
        if self._state is _ENDED or self._state is _NOTHING:
            return
        self._data = joined(self._data, 0, data) if self._data else data

    def lone_head(self, data: bytes) -> RequestHead | None:
        if self._data or self._state is not _HEAD:
            return None
        try:
            found = self._read_block(data)
            if found is None or found[1] != len(data):
                return None
            return self._begin(*found)
        except (HTTPError, ProtocolFault):
            self._state = _NOTHING
            raise

    def next_event(self) -> RequestHead | bytes | Signal:
        state = self._state
        if state is _HEAD:
            try:
                found = self._read_block(self._data) if self._data else None
                return _NEED_DATA if found is None else self._begin(*found)
            except (HTTPError, ProtocolFault):
                self._data, self._state = b"", _NOTHING
                raise
        if state is _BODY:
            return self._next_piece()
        if state is _ENDED:
            self._data, self._state = b"", _NOTHING
            return _END_OF_BODY
        return _NEED_DATA

    def _begin(self, variables: Variables, end: int) -> RequestHead:
        """The head of the request; what is from `end` on is its body."""
        head = request_head(variables, self._limits, size=end)
        self._remaining = head.content_length or 0
        self._state = _BODY if self._remaining else _NOTHING
        self._data = bytes(memoryview(self._data)[end:]) if self._remaining else b""
        return head

    def _next_piece(self) -> bytes | Signal:
        data = self._data
        if not data:
            return _NEED_DATA
        if len(data) <= self._remaining and isinstance(data, bytes):
            piece = data  # without a copy, where it is as it came
        else:
            piece = bytes(memoryview(data)[: self._remaining])
        self._data = b""  # what comes after the body is nobody's
        self._remaining -= len(piece)
        if not self._remaining:
            self._state = _ENDED
        return piece

    def _fault(self, data: bytes | bytearray) -> None:
        """What begins so is none of the protocol; unless it may be HTTP, which is told by its name.

        :raises ProtocolFault: always, but where more must come to tell.
        """
        beginning = bytes(data[:64])
        if not may_be_http(beginning):
            raise ProtocolFault(what_was_spoken(beginning, self.name))

    def replies(self) -> bytes:
        """Nothing: see :class:`.GatewayReader`."""
        return b""

    def answered(self) -> None:
        """It never comes to that: the connection is closed."""

"""Records of FastCGI 1.0: what every byte on such a connection is part of.

The specification is https://fastcgi-archives.github.io/FastCGI_Specification.html; § below is of
it. Pure functions; any thread.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from wsgi_async.errors import ProtocolFault

__all__ = [
    "BEGIN_SIZE",
    "FAULTY",
    "HEADER_SIZE",
    "VERSION",
    "Header",
    "Kind",
    "ProtocolStatus",
    "Role",
    "end_request",
    "name_value",
    "name_values",
    "read_begin",
    "read_header",
    "read_plain_request",
    "record",
    "stream",
    "unknown_type",
    "values_result",
]

HEADER_SIZE = 8
VERSION = 1
BEGIN_SIZE = 8
"""Bytes of content of a record that begins a request."""

_HEADER = struct.Struct("!BBHHBx")  # version, type, request id, size of content, of padding
_BEGIN = struct.Struct("!HB5x")  # role, flags
_PLAIN = struct.Struct("!BBHHBxHB5xBBHHBx")  # a record that begins a request, and the next header
_END = struct.Struct("!IB3x")  # application status, protocol status
_LONG = struct.Struct("!I")
_IS_LONG = 0x80000000

_LARGEST = 0xFFFF
"""Bytes of content that one record can have."""
_LARGE = 0xFFF8
"""Likewise, where more follows: a multiple of eight, so that the next header is aligned (§3.3)."""

FAULTY = bytes(HEADER_SIZE)
"""No record of any version. Who reads it knows that something broke off here."""


class Kind(enum.IntEnum):
    """What a record is (§8)."""

    BEGIN_REQUEST = 1
    ABORT_REQUEST = 2
    END_REQUEST = 3
    PARAMS = 4
    STDIN = 5
    STDOUT = 6
    STDERR = 7
    DATA = 8
    GET_VALUES = 9
    GET_VALUES_RESULT = 10
    UNKNOWN_TYPE = 11


class Role(enum.IntEnum):
    """What a front server asks an application to be (§6)."""

    RESPONDER = 1
    AUTHORIZER = 2
    FILTER = 3


class ProtocolStatus(enum.IntEnum):
    """How a request has ended, as the protocol sees it (§5.5)."""

    REQUEST_COMPLETE = 0
    CANT_MPX_CONN = 1
    OVERLOADED = 2
    UNKNOWN_ROLE = 3


_KEEP_CONN = 1
_PARAMS = int(Kind.PARAMS)
_PLAIN_BEGIN = (VERSION, int(Kind.BEGIN_REQUEST), BEGIN_SIZE, 0, int(Role.RESPONDER))


class Header(NamedTuple):
    """What a record says of itself (§3.3). Its numbers need not be any that are known."""

    version: int
    kind: int
    request_id: int
    size: int
    """Bytes of content."""
    padding: int
    """Bytes behind them that mean nothing."""


def read_header(data: bytes | bytearray, start: int) -> Header:
    """The header whose :data:`HEADER_SIZE` bytes begin there, of whatever version."""
    return Header._make(_HEADER.unpack_from(data, start))


def read_begin(data: bytes | bytearray, start: int) -> tuple[int, bool]:
    """The role that is asked for, and whether the connection is to be kept (§5.1)."""
    role, flags = _BEGIN.unpack_from(data, start)
    return role, bool(flags & _KEEP_CONN)


def read_plain_request(data: bytes) -> tuple[int, bool, bytes] | None:
    """A request for a responder, with its variables in one record and without a body, that is all
    of `data`: its number, whether the connection is to be kept, and the variables. None where it is
    not just that."""
    if len(data) < _PLAIN.size:
        return None
    version, begin, request_id, eight, none, role, flags, *rest = _PLAIN.unpack_from(data)
    also, params, same_id, size, padding = rest
    end = _PLAIN.size + size
    if (
        (version, begin, eight, none, role) != _PLAIN_BEGIN
        or (also, params, same_id) != (VERSION, _PARAMS, request_id)
        or not size
        or not request_id
        or data[end + padding :] != _plain_end(request_id)
    ):
        return None
    return request_id, bool(flags & _KEEP_CONN), data[_PLAIN.size : end]


def record(kind: Kind, request_id: int, content: bytes = b"") -> bytes:
    """One record.

    :param content: as much as a record can have at most.
    """
    return _HEADER.pack(VERSION, kind, request_id, len(content), 0) + content


def stream(kind: Kind, request_id: int, pieces: Iterable[bytes]) -> list[bytes]:
    """Pieces of a stream as records (§3.3), large ones cut in equal parts, small ones together in
    one. No piece is copied but one that has to be cut. The stream's end is not among them."""
    framed: list[bytes] = []
    together: list[bytes] = []
    size = 0
    for piece in pieces:
        if not piece:
            continue
        if size + len(piece) > _LARGEST:
            if together:
                framed += (_HEADER.pack(VERSION, kind, request_id, size, 0), *together)
                together, size = [], 0
            if len(piece) > _LARGEST:
                framed += _cut(kind, request_id, piece)
                continue
        together.append(piece)
        size += len(piece)
    if together:
        framed += (_HEADER.pack(VERSION, kind, request_id, size, 0), *together)
    return framed


def _cut(kind: Kind, request_id: int, piece: bytes) -> list[bytes]:
    """One piece that is more than a record can have."""
    size = len(piece)
    parts = -(-size // _LARGE)
    step = (-(-size // parts) + 7) & ~7
    header = _HEADER.pack(VERSION, kind, request_id, step, 0)
    framed: list[bytes] = []
    for start in range(0, size - step, step):
        framed += (header, piece[start : start + step])
    rest = piece[start + step :]
    framed += (_HEADER.pack(VERSION, kind, request_id, len(rest), 0), rest)
    return framed


@lru_cache(maxsize=64)
def _plain_end(request_id: int) -> bytes:
    """What is behind the variables of a request without a body."""
    return record(Kind.PARAMS, request_id) + record(Kind.STDIN, request_id)


@lru_cache(maxsize=64)  # nearly every front server has one number for all of its requests
def end_request(
    request_id: int,
    status: ProtocolStatus = ProtocolStatus.REQUEST_COMPLETE,
    *,
    app_status: int = 0,
) -> bytes:
    """The record that ends a request (§5.5).

    :param app_status: as the exit code of a CGI program.
    """
    return record(Kind.END_REQUEST, request_id, _END.pack(app_status, status))


def name_value(name: bytes, value: bytes) -> bytes:
    """One name with its value (§3.4)."""
    return b"".join((_length(name), _length(value), name, value))


def _length(text: bytes) -> bytes:
    size = len(text)
    return bytes((size,)) if size < 0x80 else _LONG.pack(size | _IS_LONG)


def _read_length(data: bytes, position: int) -> tuple[int, int]:
    """A length, and the index after it."""
    size = data[position]
    if size < 0x80:
        return size, position + 1
    long: int = _LONG.unpack_from(data, position)[0]
    return long & ~_IS_LONG, position + 4


def name_values(content: bytes | bytearray) -> list[tuple[bytes, bytes]]:
    """Names with their values, in their order (§3.4).

    :raises ProtocolFault: their lengths are not those of what is there.
    """
    data = bytes(content)
    pairs: list[tuple[bytes, bytes]] = []
    position, end = 0, len(data)
    try:
        while position < end:
            name_size, value_size = data[position], data[position + 1]
            if name_size | value_size < 0x80:  # nearly every one
                position += 2
            else:
                name_size, position = _read_length(data, position)
                value_size, position = _read_length(data, position)
            middle = position + name_size
            name = data[position:middle]
            position = middle + value_size
            pairs.append((name, data[middle:position]))
    except (IndexError, struct.error):
        position = -1
    if position != end:
        raise ProtocolFault("the lengths of variables are not those of what is there")
    return pairs


def unknown_type(kind: int) -> bytes:
    """The record that answers one about the application that is not known (§4.2).

    :param kind: its type, a byte.
    """
    return record(Kind.UNKNOWN_TYPE, 0, bytes((kind,)).ljust(8, b"\0"))


def values_result(asked: bytes | bytearray, capacity: int) -> bytes:
    """The record that answers what a front server may ask of an application (§4.1).

    :param asked: the names, with values that mean nothing.
    :param capacity: how many requests, and connections, it takes at a time.
    :raises ProtocolFault: as :func:`name_values`.
    """
    known = {
        b"FCGI_MAX_CONNS": b"%d" % capacity,
        b"FCGI_MAX_REQS": b"%d" % capacity,
        b"FCGI_MPXS_CONNS": b"0",
    }
    values = [name_value(name, known[name]) for name in dict(name_values(asked)) if name in known]
    return record(Kind.GET_VALUES_RESULT, 0, b"".join(values))

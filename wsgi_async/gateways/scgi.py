"""SCGI without I/O: https://python.ca/scgi/protocol.txt.

A request is a netstring of variables, each a name and a value with NUL behind them, of which
CONTENT_LENGTH is the first and SCGI is 1, and a body of CONTENT_LENGTH bytes.
"""

from __future__ import annotations

import re

from wsgi_async.errors import HTTPError, ProtocolFault

from .counted import CountedReader, Variables
from .variables import most_bytes

__all__ = ["SCGIReader"]

# "0:," has no CONTENT_LENGTH; a netstring's number has no zeros in front.
_SIZE = re.compile(rb"([1-9][0-9]{0,8}):")
_BEGINNING = re.compile(rb"[1-9][0-9]{0,8}")


class SCGIReader(CountedReader):
    """Turns the bytes of one connection into one request: see
    :class:`wsgi_async.http.reading.GatewayReader`."""

    __slots__ = ()

    name = "SCGI"

    def _read_block(self, data: bytes | bytearray) -> tuple[Variables, int] | None:
        match = _SIZE.match(data)
        if match is None:
            if not _BEGINNING.fullmatch(data):
                self._fault(data)
            return None
        begin, size = match.end(), int(match[1])
        if size > most_bytes(self._limits):
            raise HTTPError(431, "The request head is too long")
        end = begin + size
        if len(data) <= end:
            return None
        if data[end] != 0x2C:
            raise ProtocolFault("the netstring of its SCGI variables has no comma at its end")
        return _pairs(bytes(memoryview(data)[begin:end])), end + 1


def _pairs(block: bytes) -> list[tuple[bytes, bytes]]:
    """The names and values in a block.

    :raises ProtocolFault: it is none of SCGI.
    """
    parts = block.split(b"\0")
    if parts.pop() or len(parts) % 2:
        raise ProtocolFault("its SCGI variables do not each end with NUL")
    pairs = list(zip(parts[::2], parts[1::2], strict=True))
    if pairs[0][0] != b"CONTENT_LENGTH" or (b"SCGI", b"1") not in pairs:
        raise ProtocolFault(
            "its SCGI variables lack CONTENT_LENGTH at their beginning, or SCGI: in nginx, include "
            "scgi_params"
        )
    return pairs

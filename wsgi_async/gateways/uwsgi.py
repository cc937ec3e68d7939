"""The uwsgi protocol without I/O, as nginx and Apache speak it to a WSGI server.

A request is four bytes (modifier1, the size of the variables as two bytes little-endian,
modifier2), the variables, each a name and a value with their sizes before them, and a body of
CONTENT_LENGTH bytes. See https://uwsgi-docs.readthedocs.io/en/latest/Protocol.html; there is no
other specification.
"""

from __future__ import annotations

from wsgi_async.errors import ProtocolFault

from .counted import CountedReader, Variables

__all__ = ["UwsgiReader"]

_HEADER_SIZE = 4
_WSGI = (0, 30)
"""modifier1 of a request for a WSGI application. 30, in old configurations, asks that SCRIPT_NAME
be taken off PATH_INFO, which is done here anyway."""


class UwsgiReader(CountedReader):
    """Turns the bytes of one connection into one request: see
    :class:`wsgi_async.http.reading.GatewayReader`."""

    __slots__ = ()

    name = "uwsgi"

    def _read_block(self, data: bytes | bytearray) -> tuple[Variables, int] | None:
        if data[0] not in _WSGI:
            self._fault(data)
            return None
        if len(data) < _HEADER_SIZE:
            return None
        end = _HEADER_SIZE + data[1] + (data[2] << 8)
        if len(data) < end:
            return None
        return _pairs(bytes(data[_HEADER_SIZE:end])), end


def _pairs(block: bytes) -> list[tuple[bytes, bytes]]:
    """The names and values in a block.

    :raises ProtocolFault: their sizes do not add up to it.
    """
    pairs: list[tuple[bytes, bytes]] = []
    position, size = 0, len(block)
    try:
        while position < size:
            begin = position + 2
            middle = begin + block[position] + (block[position + 1] << 8)
            value = middle + 2
            position = value + block[middle] + (block[middle + 1] << 8)
            pairs.append((block[begin:middle], block[value:position]))
    except IndexError:
        position = -1
    if position != size:
        raise ProtocolFault("the sizes of its uwsgi variables contradict each other")
    return pairs

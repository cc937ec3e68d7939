"""Records: the samples of a process as bytes, in an area of shared memory or behind each other."""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["Area", "Record", "pack", "read_area", "record_size", "unpack"]

_LENGTH = struct.Struct("=Q")
_VALUES = struct.Struct("=dd")


class Record(NamedTuple):
    """A sample."""

    key: bytes
    value: float
    timestamp: float
    """When it was set, in seconds since the epoch, where that matters; else 0."""


def record_size(key: bytes) -> int:
    """Bytes of a record."""
    return _LENGTH.size + _padded(key) + _VALUES.size


def _padded(key: bytes) -> int:
    return -(-len(key) // 8) * 8


def pack(record: Record) -> bytes:
    """As it is in memory."""
    key = record.key
    values = _VALUES.pack(record.value, record.timestamp)
    return _LENGTH.pack(len(key)) + key.ljust(_padded(key), b"\0") + values


def unpack(data: bytes) -> Iterator[Record]:
    """The records in it, up to the first that cannot be one."""
    at = 0
    while at + _LENGTH.size <= len(data):
        (length,) = _LENGTH.unpack_from(data, at)
        begin = at + _LENGTH.size
        values = begin + -(-length // 8) * 8
        at = values + _VALUES.size
        if at > len(data):
            return
        yield Record(data[begin : begin + length], *_VALUES.unpack_from(data, values))


class Area:
    """One process's records: each is appended once, and stays where it is. One thread at a time.

    A value is one aligned word, so who reads it has all of it.

    :param memory: all of it.
    :param refused: counts records without room.
    """

    def __init__(self, memory: mmap.mmap, refused: memoryview) -> None:
        self.values = memoryview(memory).cast("d")
        """Its words: a value is at the place that :meth:`append` has told, its timestamp behind
        it."""
        self._memory = memory
        self._end = memoryview(memory).cast("Q")[:1]
        self._refused = refused
        self._end[0] = self._end.nbytes

    def append(self, key: bytes) -> int | None:
        """A record that is 0. None where there is no room, which is counted.

        :returns: the place of its value.
        """
        begin = self._end[0]
        end = begin + record_size(key)
        if end > len(self._memory):
            self._refused[0] += 1
            return None
        self._memory[begin:end] = pack(Record(key, 0.0, 0.0))
        self._end[0] = end  # last: until then it is not there
        return int(end // 8 - 2)


def read_area(file: int, offset: int, size: int) -> Iterator[Record]:
    """The records of an :class:`Area`, whose process may be appending others.

    :param file: the descriptor of the memory.
    :param offset: where it begins there.
    :param size: bytes of all of it.
    """
    begin = _LENGTH.size
    (end,) = _LENGTH.unpack(os.pread(file, begin, offset))
    return unpack(os.pread(file, max(0, min(end, size) - begin), offset + begin))

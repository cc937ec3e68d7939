"""The bytes of a FastCGI connection as they come, and how far they have been read. Without I/O."""

from __future__ import annotations

from wsgi_async.http.reading import joined

from .fastcgi_records import HEADER_SIZE, Header

__all__ = ["RecordInput"]


class RecordInput:
    """What has been received, and the place in it: between two records, or within one."""

    __slots__ = ("_content", "_data", "_padding", "_pos", "_skip")

    def __init__(self) -> None:
        self._data: bytes | bytearray = b""  # a bytearray only where pieces had to be joined
        self._pos = 0  # what lies before it has been turned into events
        self._skip = 0  # bytes of no meaning behind that
        self._content = 0  # bytes still to come of a record that belongs to a stream
        self._padding = 0  # bytes of no meaning behind that

    @property
    def buffered(self) -> int:
        """Bytes received and not yet turned into events."""
        return len(self._data) - self._pos

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the connection. Cheap: nothing is looked at."""
        if self._pos == len(self._data):
            self._data = data
        else:
            self._data = joined(self._data, self._pos, data)
        self._pos = 0

    def _enter(self, header: Header) -> None:
        """The content of the record here is to be taken, as it comes."""
        self._pos += HEADER_SIZE
        self._content, self._padding = header.size, header.padding

    def _leave(self, size: int) -> bool:
        """So much of its content has been taken. False where there is more to come of it."""
        self._pos += size
        self._content -= size
        if self._content:
            return False
        self._skip, self._padding = self._padding, 0
        return True

    def _leave_all(self) -> None:
        """What is still to come of it has no meaning."""
        self._skip += self._content + self._padding
        self._content = self._padding = 0

    def _pass_over(self, header: Header) -> None:
        """Nothing of the record here is to be taken, or it has been taken."""
        self._pos += HEADER_SIZE
        self._skip = header.size + header.padding

    def _skip_over(self) -> bool:
        """Pass what has no meaning. False where there is more to come of it."""
        skipped = min(self._skip, len(self._data) - self._pos)
        self._pos += skipped
        self._skip -= skipped
        return not self._skip

    def _drop(self) -> None:
        """Nothing is read any more."""
        self._data, self._pos, self._skip, self._content = b"", 0, 0, 0

"""What of a response waits in a file: chunks that were spooled, or the application's own file."""

from __future__ import annotations

from typing import NamedTuple

from wsgi_async.buffers.spool import SourceFile, SpoolFile

__all__ = ["Backlog", "Extent"]


class Extent(NamedTuple):
    """A stretch of a file that is to be sent next."""

    descriptor: int
    offset: int
    size: int


class Backlog:
    """The stretch of a file between what has been sent and what has been written.

    It has no lock: the writer's guards these numbers. Only the pool thread moves `end` and only
    the loop moves `start`, so both do their input and output without the lock.
    """

    __slots__ = ("end", "file", "is_read", "start")

    def __init__(self, file: SpoolFile | SourceFile, start: int, end: int) -> None:
        self.file = file
        self.start = start
        self.end = end
        self.is_read = False
        """An I/O thread is reading just now, so the file must stay open. Not the response's state
        (``Consumer.READING``): the response may be given up while the read goes on."""

    @property
    def is_empty(self) -> bool:
        return self.start == self.end

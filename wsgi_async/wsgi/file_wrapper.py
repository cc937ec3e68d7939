"""``wsgi.file_wrapper``: files that the server may send by itself."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from typing import Any

__all__ = ["FileWrapper", "is_wrapped_file"]

LARGEST_PAGE = 64 * 1024
"""Bytes of a memory page on any CPU: files of /sys say that they are as large as one."""


class FileWrapper:
    """``wsgi.file_wrapper`` (PEP 3333, "Optional Platform-Specific File Handling").

    :param filelike: an object with ``read(size)``; its ``close``, if any, is called.
    :param block_size: bytes per read where the file has to be iterated.
    """

    size: int | None = None
    """Most bytes that an iteration gives, for a part of a file; None: all that there is. A server
    that sends the file by itself goes by Content-Length."""

    def __init__(self, filelike: Any, block_size: int = 65536) -> None:
        self.filelike = filelike
        self.block_size = block_size
        if hasattr(filelike, "close"):
            self.close = filelike.close

    def __iter__(self) -> Iterator[bytes]:
        if self.size is not None:
            return self._part(self.size)
        return iter(lambda: self.filelike.read(self.block_size), b"")

    def _part(self, left: int) -> Iterator[bytes]:
        while left and (data := self.filelike.read(min(left, self.block_size))):
            left -= len(data)
            yield data

    def regular_file(self) -> tuple[int, int, int] | None:
        """The descriptor, position and remaining size, if this is a plain file on disk.

        Only the classes that ``open`` returns count: a ``GzipFile`` has a descriptor too, of
        compressed bytes, behind a ``BufferedReader`` as well, and a pipe has no size. Nor
        has a file of /proc or /sys: it says 0 or one page, whatever a read gives, and that it has
        no block on disk.
        """
        file = self.filelike
        try:
            raw = file if type(file) is io.FileIO else _raw_of(file)
            if type(raw) is not io.FileIO:
                return None
            if type(file) is io.BufferedRandom:
                file.flush()
            descriptor = file.fileno()
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                return None
            if not status.st_blocks and status.st_size <= LARGEST_PAGE:
                return None
            if not file.readable():
                return None
            offset = file.tell()
        except (OSError, ValueError):
            return None
        return descriptor, offset, max(0, status.st_size - offset)


def _raw_of(file: Any) -> object:
    """What the buffer of ``open`` is filled from; None where `file` is no such buffer."""
    return file.raw if type(file) in (io.BufferedReader, io.BufferedRandom) else None


def is_wrapped_file(result: object, wrapper: object) -> bool:
    """Whether an application returned what it made with ``wsgi.file_wrapper``.

    :param result: what it returned.
    :param wrapper: what the environ had for it. A wrapper that is no class cannot be recognised.
    """
    return isinstance(wrapper, type) and isinstance(result, wrapper)

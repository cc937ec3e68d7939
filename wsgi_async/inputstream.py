"""``wsgi.input`` for a body that is still arriving. Pool threads."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["InputStream"]

LINE_BUFFER = 64 * 1024
"""Bytes that are read ahead for who reads lines."""


class InputStream(io.BufferedIOBase):
    """The file that PEP 3333 ("Input and Error Streams") asks for, over a raw one.

    ``read`` hands out the bytes as the raw file has them, where ``io.BufferedReader`` copies them
    once more. At lines nothing is quicker than that one: whoever asks for anything but ``read``
    has it from then on.

    :param raw: its ``read`` waits for bytes and returns some; ``b""`` at the end only.
    """

    def __init__(self, raw: io.RawIOBase) -> None:
        super().__init__()
        self._raw = raw
        self._reader: io.BufferedReader | None = None

    def readable(self) -> bool:
        return not self.closed

    def read(self, size: int | None = -1, /) -> bytes:
        """Wait for `size` bytes, or for all; fewer at the end of the body only.

        :raises ClientDisconnected: the rest will not come.
        """
        if self._reader is not None:
            return self._reader.read(size)
        if self.closed:
            raise ValueError("read of closed file")
        if size is None or size < 0:
            size = sys.maxsize
        piece = self._raw.read(size) or b""
        if len(piece) == size:
            return piece
        pieces = []
        while piece:
            pieces.append(piece)
            size -= len(piece)
            piece = self._raw.read(size) or b""
        return b"".join(pieces)

    def _buffered(self) -> io.BufferedReader:
        if self._reader is None:
            if self.closed:
                raise ValueError("read of closed file")
            self._reader = io.BufferedReader(self._raw, LINE_BUFFER)
        return self._reader

    def read1(self, size: int = -1, /) -> bytes:
        return self._buffered().read1(size)

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        return self._buffered().readinto(buffer)

    def readinto1(self, buffer: WriteableBuffer, /) -> int:
        return self._buffered().readinto1(buffer)

    def peek(self, size: int = 0, /) -> bytes:
        """As ``io.BufferedReader.peek``."""
        return self._buffered().peek(size)

    def readline(self, size: int | None = -1, /) -> bytes:
        return self._buffered().readline(size)

    def __next__(self) -> bytes:
        return next(self._buffered())

    def close(self) -> None:
        """Nothing can be read after it."""
        if not self.closed:
            self._raw.close()
            super().close()

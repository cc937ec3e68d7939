"""``wsgi.input`` for a body that is still arriving. Pool threads."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

from .request_body import RequestBody

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["InputStream"]

LINE_BUFFER = 64 * 1024
"""Bytes that are read ahead for who reads lines."""


class InputStream(io.BufferedIOBase):
    """The file that PEP 3333 ("Input and Error Streams") asks for. *Pool thread*, all of it.

    ``read`` hands out the bytes as the body has them, where ``io.BufferedReader`` copies them once
    more. At lines nothing is quicker than that one: whoever asks for anything but ``read`` has it
    from then on.

    :param body: what is read.
    """

    def __init__(self, body: RequestBody) -> None:
        super().__init__()
        self._body = body
        self._piece = b""
        self._at = 0
        """What lies before it in the piece has been read."""
        self._reader: io.BufferedReader | None = None

    def readable(self) -> bool:
        return not self.closed

    def read(self, size: int | None = -1, /) -> bytes:
        """Wait for `size` bytes, or for all; fewer at the end of the body only.

        :raises ClientDisconnected: the rest will not come.
        """
        if size is None or size < 0:
            size = sys.maxsize
        at = self._at
        end = at + size
        if end > len(self._piece):
            return self._read_on(size)
        self._at = end
        return self._piece[at:end]

    def _read_on(self, size: int) -> bytes:
        """Read beyond the piece that is here."""
        if self._reader is not None:
            return self._reader.read(size if size < sys.maxsize else -1)
        self._check_open()
        rest = self._give_up_piece()
        pieces = [rest] if rest else []
        left = size - len(rest)
        while left > 0:
            piece = self._body.pull()
            if not piece:
                break
            if len(piece) > left:
                self._piece, self._at = piece, left
                piece = piece[:left]
            pieces.append(piece)
            left -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _give_up_piece(self) -> bytes:
        rest = self._piece[self._at :]
        self._piece, self._at = b"", 0
        return rest

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file")

    def _buffered(self) -> io.BufferedReader:
        if self._reader is None:
            self._check_open()
            self._body.unpull(self._give_up_piece())
            self._reader = io.BufferedReader(self._body, LINE_BUFFER)
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
            self._give_up_piece()
            self._body.close()
            super().close()

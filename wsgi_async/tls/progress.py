"""How much of what was written a client has, where what it has is counted encrypted. On the loop.

A record is 20 to 30 bytes larger than what is in it: nothing beside a block of a file, and most of
an event of a few bytes.
"""

from __future__ import annotations

from collections import deque

__all__ = ["SPAN", "Progress"]

SPAN = 128 * 1024
"""Encrypted bytes from one mark to the next; between two the proportion is taken."""

MARKS = 32
"""Marks that are kept: as far back as the kernel's buffer and the transport's may reach."""


class Progress:
    """Two counts side by side, from the first byte written to the last."""

    __slots__ = ("_marks", "_next", "encrypted", "written")

    def __init__(self) -> None:
        self.written = 0
        """Bytes that were encrypted, as the protocol has written them."""
        self.encrypted = 0
        """Bytes that they have become, and TLS's own messages beside them."""
        self._next = SPAN
        self._marks: deque[tuple[int, int]] | None = None

    def add(self, written: int, encrypted: int) -> None:
        """So many more."""
        self.written += written
        self.encrypted += encrypted
        if self.encrypted >= self._next:
            self._next = self.encrypted + SPAN
            if self._marks is None:
                self._marks = deque(maxlen=MARKS)
            self._marks.append((self.encrypted, self.written))

    def written_in(self, encrypted: int) -> int:
        """How much of what was written is in the first so many encrypted bytes."""
        if encrypted >= self.encrypted:
            return self.written
        if encrypted <= 0:
            return 0
        above = (self.encrypted, self.written)
        below = (0, 0)
        for mark in reversed(self._marks or ()):
            if mark[0] <= encrypted:
                below = mark
                break
            above = mark
        share = encrypted - below[0]
        return below[1] + share * (above[1] - below[1]) // (above[0] - below[0])

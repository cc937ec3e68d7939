"""Reads of a file that never wait for its disk. Any thread."""

from __future__ import annotations

import errno
import os

__all__ = ["KNOWS_PAGE_CACHE", "can_read_nowait", "read_nowait"]

_NOWAIT: int = getattr(os, "RWF_NOWAIT", 0)
KNOWS_PAGE_CACHE = _NOWAIT != 0
"""Whether the system tells what is in its page cache."""
_PROBE = bytearray(1)  # written by all loops, read by none


def can_read_nowait(descriptor: int, offset: int) -> bool:
    """Whether the byte at `offset` is in the page cache; False also where nobody can tell."""
    try:
        return _NOWAIT != 0 and os.preadv(descriptor, [_PROBE], offset, _NOWAIT) == 1
    except OSError:
        return False


def read_nowait(descriptor: int, amount: int, offset: int) -> bytes | None:
    """Read from the page cache, or None where only the disk itself could answer.

    A loop that waits for a cold disk stalls every client, so it asks the kernel not to wait
    (``preadv2`` with ``RWF_NOWAIT``, Linux 4.14); None also where the system or the file system
    cannot promise that.
    """
    if not _NOWAIT:
        return None
    buffer = bytearray(amount)
    try:
        count = os.preadv(descriptor, [buffer], offset, _NOWAIT)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
            return None
        raise
    return bytes(memoryview(buffer)[:count])

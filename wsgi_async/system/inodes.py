"""What tells an open file from whatever else is given its descriptor: an application may close one
of the server's, and the system gives its number to the next file that is opened."""

from __future__ import annotations

import os

__all__ = ["inode_of"]


def inode_of(descriptor: int) -> tuple[int, int] | None:
    """*Any thread:* device and inode of what is open there; None where nothing is."""
    try:
        found = os.fstat(descriptor)
    except OSError:
        return None
    return found.st_dev, found.st_ino

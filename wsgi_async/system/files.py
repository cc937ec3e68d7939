"""Files that an option names: whatever is at that path, or is led to by it, nobody waits for it and
none is taken for a file that is none.

What goes wrong is an OSError whose ``strerror`` is for the operator.
"""

from __future__ import annotations

import errno
import os
import stat

__all__ = ["append", "kind_of", "read_bytes", "read_text"]

LARGEST = 1 << 20
"""Bytes of a file that is read whole: settings, not data."""

_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def kind_of(mode: int) -> str:
    """``a pipe`` for ``st_mode``; empty for an ordinary file."""
    return _KINDS.get(stat.S_IFMT(mode), "")


def read_text(path: str | os.PathLike[str]) -> str:
    """The whole text of an ordinary file, UTF-8; see :func:`read_bytes`.

    :raises OSError: it is no ordinary file, is too large, or cannot be read.
    :raises UnicodeDecodeError: it is not UTF-8.
    """
    return read_bytes(path).decode()


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """The whole of an ordinary file.

    A pipe is none, also where somebody writes to it: it can be read once, and each process and each
    reload reads anew.

    :raises OSError: it is no ordinary file, is too large, or cannot be read.
    """
    # Without O_NONBLOCK a pipe's open() waits for a writer, and some devices' for a carrier.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    with open(_open(path, flags), "rb") as file:
        if kind := kind_of(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, f"it is {kind}, not an ordinary file")
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise OSError(errno.EFBIG, "it is larger than 1 MiB")
    return data


def append(path: str, mode: int = 0o666) -> int:
    """A descriptor to append to a file, which is made if it is not there; also a character device,
    such as a terminal or /dev/null, and a pipe that somebody reads.

    :raises OSError: it is none of these.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY
    try:
        descriptor = _open(path, flags | os.O_NONBLOCK, mode)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise OSError(errno.ENXIO, "it is a pipe that nobody reads, or a socket") from None
        raise
    if stat.S_ISBLK(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is a disk")
    os.set_blocking(descriptor, True)
    return descriptor


def _open(path: str | os.PathLike[str], flags: int, mode: int = 0) -> int:
    try:
        return os.open(path, flags, mode)
    except ValueError:  # NUL is in it, or what no encoding has
        raise OSError(errno.EINVAL, "no path has such characters") from None

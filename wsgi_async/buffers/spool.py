"""Bytes that wait: in memory first, then in a temporary file, within :mod:`.budgets`.

No loop and no threads here.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import tempfile
from collections.abc import MutableSequence
from typing import BinaryIO

from wsgi_async.errors import StorageExhausted

from .budgets import Budgets

__all__ = ["BodySpool", "Part", "SourceFile", "SpoolFile", "append_part"]

Part = bytes | bytearray | memoryview
"""A stretch of a body that waits in memory."""
SMALL_PART = 4 * 1024
"""Bytes below which a part is joined to the one before it, if that is small or has been joined."""
JOINED_PART = 64 * 1024
"""Bytes up to which parts are joined."""


def append_part(parts: MutableSequence[Part], data: bytes) -> None:
    """Put `data` behind `parts` as it is, or, where both are small, into the last of them.

    A client may send its body in segments of a byte, and each object costs 40 bytes and more.
    """
    if len(data) < SMALL_PART and parts:
        last = parts[-1]
        if type(last) is bytearray and len(last) < JOINED_PART:
            last += data
            return
        if type(last) is bytes and len(last) < SMALL_PART:
            parts[-1] = bytearray(last) + data
            return
    parts.append(data)


class SpoolFile:
    """An unnamed temporary file that grows at its end and may be read anywhere.

    Reads and writes name their offset, so a writing and a reading thread share no position.

    :param budgets: the process's bounds.
    :param limit: bytes that this file may hold.
    :param for_response: whether the responses' share of the disk bounds it too.
    :raises StorageExhausted: the budget of files is used up.
    :raises OSError: the system's own word: no descriptor (``errno.EMFILE``), no directory.
    """

    __slots__ = ("_budgets", "_limit", "_shares", "file", "size")

    def __init__(self, budgets: Budgets, limit: int, *, for_response: bool = False) -> None:
        self._budgets = budgets
        disk = budgets.disk
        self._shares = (budgets.response_disk, disk) if for_response else (disk,)
        self._limit = limit
        self.size = 0
        if not budgets.files.reserve(1):
            raise StorageExhausted(errno.EDQUOT, "all spool files are in use")
        try:
            self.file = tempfile.TemporaryFile(dir=budgets.directory)  # noqa: SIM115
        except BaseException:
            budgets.files.release(1)
            raise

    def fileno(self) -> int:
        return self.file.fileno()

    def append(self, data: Part) -> None:
        """Write all of it at the end, or nothing: what a full disk took of it is given back.

        :raises StorageExhausted: the file's or the process's bound (``errno.EDQUOT``).
        :raises OSError: the disk's own word, ``errno.ENOSPC`` for one that is full.
        """
        amount = len(data)
        if self.size + amount > self._limit or not self._reserve(amount):
            raise StorageExhausted(errno.EDQUOT, "the spool's bound is reached")
        try:
            view = memoryview(data)
            offset = self.size
            while view:
                written = os.pwrite(self.file.fileno(), view, offset)
                if not written:  # POSIX leaves open what that means; again and again it is no use
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                offset += written
                view = view[written:]
        except BaseException:
            self._release(amount)
            with contextlib.suppress(OSError):
                os.ftruncate(self.file.fileno(), self.size)
            raise
        self.size += amount

    def _reserve(self, amount: int) -> bool:
        """Take it from each share, or from none."""
        for number, share in enumerate(self._shares):
            if not share.reserve(amount):
                for taken in self._shares[:number]:
                    taken.release(amount)
                return False
        return True

    def _release(self, amount: int) -> None:
        for share in self._shares:
            share.release(amount)

    def empty(self) -> None:
        """Forget the content and give its disk back; the file stays open for more."""
        os.ftruncate(self.file.fileno(), 0)
        self._release(self.size)
        self.size = 0

    def close(self) -> None:
        """Give everything back. The application may have closed the file before: no matter.

        Nor that the file cannot be closed in order (the application wrote to it, and its disk is
        full; a network's disk tells here what it could not write): nobody wants what is in it.
        """
        if self._limit < 0:
            return
        self._limit = -1
        self._release(self.size)
        self._budgets.files.release(1)
        with contextlib.suppress(OSError, ValueError):  # ValueError: its buffer was detached
            self.file.close()


class SourceFile:
    """A duplicate of a descriptor that the application sends from, so that it may close its own.

    :raises StorageExhausted: no more files may be open.
    :raises OSError: the descriptor cannot be duplicated.
    """

    __slots__ = ("_budgets", "_descriptor")

    def __init__(self, budgets: Budgets, descriptor: int) -> None:
        self._budgets = budgets
        if not budgets.files.reserve(1):
            raise StorageExhausted(errno.EDQUOT, "all files are in use")
        try:
            self._descriptor = os.dup(descriptor)
        except OSError:
            budgets.files.release(1)
            raise

    def fileno(self) -> int:
        return self._descriptor

    def close(self) -> None:
        """Close it, once."""
        self._budgets.files.release(1)
        with contextlib.suppress(OSError):  # whatever it says, Linux has closed it
            os.close(self._descriptor)


class BodySpool:
    """Collects one request body and serves it as a file: ``BytesIO``, or a temporary file.

    :param budgets: the process's bounds.
    :param threshold: bytes kept in RAM before a file is made.
    :param limit: bytes that the file may hold.
    """

    __slots__ = ("_budgets", "_file", "_limit", "_memory", "_parts", "_threshold", "size")

    def __init__(self, budgets: Budgets, threshold: int, limit: int) -> None:
        self._budgets = budgets
        self._threshold = threshold
        self._limit = limit
        self._parts: list[Part] = []
        self._memory = 0
        self._file: SpoolFile | None = None
        self.size = 0

    def append(self, data: bytes) -> None:
        """Take the next bytes.

        :raises StorageExhausted: a bound is reached (``errno.EDQUOT``).
        :raises OSError: the disk's own word, ``errno.ENOSPC`` for one that is full.
        """
        amount = len(data)
        self.size += amount
        if self._file is None:
            budgets = self._budgets
            fits = self.size <= self._threshold or not budgets.has_disk
            if fits and budgets.memory.reserve(amount):
                self._memory += amount
                append_part(self._parts, data)
                return
            if not budgets.has_disk:
                raise StorageExhausted(errno.EDQUOT, "no directory for temporary files")
            self._move_to_file()
        assert self._file is not None
        self._file.append(data)

    def _move_to_file(self) -> None:
        self._file = SpoolFile(self._budgets, self._limit)
        for part in self._parts:
            self._file.append(part)
        self._drop_memory()

    def _drop_memory(self) -> None:
        self._parts = []
        self._budgets.memory.release(self._memory)
        self._memory = 0

    @property
    def is_on_disk(self) -> bool:
        """Whether a file has been made for it."""
        return self._file is not None

    def open(self) -> BinaryIO:
        """The whole body as a file at its start. Call once, when all has been appended."""
        if self._file is None:
            parts, self._parts = self._parts, []
            return io.BytesIO(parts[0] if len(parts) == 1 else b"".join(parts))
        self._file.file.seek(0)
        return self._file.file

    def close(self) -> None:
        """Give everything back."""
        if self._file is not None:
            self._file.close()
        if self._memory:
            self._drop_memory()

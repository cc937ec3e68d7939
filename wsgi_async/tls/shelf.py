"""Where the parent puts the material for its processes, and where they take it.

It is a file without a name (:func:`~wsgi_async.system.private_files.shared_file`), made before any
process is forked: who has not inherited it cannot open it. So a key that only root may read reaches
processes that run as somebody else, and a process that starts late finds what is newest.
"""

from __future__ import annotations

import os
import weakref
from typing import IO

from wsgi_async._imports import StandardFirst
from wsgi_async.system.forks import Holding
from wsgi_async.system.private_files import shared_file

from .material import Material

__all__ = ["Shelf"]

_NUMBER = 8
_SUM = 32  # bytes of a SHA-256


class Shelf:
    """Holds one material, the newest.

    :raises OSError: there can be no such file.
    """

    def __init__(self) -> None:
        self._writer, self._reader = shared_file()
        # What the application forks is not to have it; our own processes are.
        both = (self._writer, self._reader)
        holding = Holding(files=lambda: [file for file in both if not file.closed])
        self._number = 0
        self.close = weakref.finalize(self, _close, both, holding)
        """It is needed no more. Harmless if repeated."""
        # At the end of a program there is no later moment in which this is called by itself.
        self.close.atexit = False

    def put(self, material: Material) -> None:
        """*In the parent:* this is the newest."""
        self._number += 1
        data = self._number.to_bytes(_NUMBER, "big") + material.to_bytes()
        data = _digest(data) + data
        descriptor = self._writer.fileno()
        os.pwrite(descriptor, data, 0)
        os.ftruncate(descriptor, len(data))

    def inherit(self) -> None:
        """*In a process that serves:* only read from here on."""
        self._writer.close()

    def take(self) -> Material | None:
        """The newest; None where it is the one that this process has already, or is being put there
        in this moment: who puts it says so afterwards."""
        descriptor = self._reader.fileno()
        data = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
        checksum, data = data[:_SUM], data[_SUM:]
        if _digest(data) != checksum:
            return None
        number = int.from_bytes(data[:_NUMBER], "big")
        if number == self._number:
            return None
        self._number = number
        return Material.from_bytes(data[_NUMBER:])

    def forget(self) -> None:
        """*In a process that serves:* :meth:`take` the newest again: it could not be used."""
        self._number = 0


def _close(files: tuple[IO[bytes], ...], holding: Holding) -> None:
    for file in files:
        file.close()
    holding.release()


def _digest(data: bytes) -> bytes:
    with StandardFirst():
        import hashlib  # only where there is a certificate

    return hashlib.sha256(data).digest()

"""What all requests and responses of a process may hold together: RAM, disk and open files.

Any thread.
"""

from __future__ import annotations

import errno
import tempfile
import threading

from wsgi_async.errors import ConfigError

__all__ = ["Budget", "Budgets", "require_directory"]

_PASSING = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE))
"""Why a file cannot be made now and may be made later."""


class Budget:
    """An amount that many share. *Any thread* may reserve and release."""

    __slots__ = ("_lock", "limit", "peak", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self.peak = 0
        self._lock = threading.Lock()

    def reserve(self, amount: int) -> bool:
        """Take `amount`, or nothing and return False where that would pass the limit."""
        with self._lock:
            used = self.used + amount
            if used > self.limit:
                return False
            self.used = used
            self.peak = max(self.peak, used)
            return True

    def release(self, amount: int) -> None:
        """Give back what was reserved."""
        with self._lock:
            self.used -= amount


class Budgets:
    """What one process may hold for all its exchanges together.

    :param memory: bytes in RAM. At the bound bodies go straight to disk and responses block.
    :param disk: bytes in temporary files, of which those of responses take at most half: clients
        that do not read must leave room for uploads.
    :param files: open temporary files and files being sent.
    :param directory: where temporary files go; "" is the system's directory for them.
    """

    __slots__ = ("directory", "disk", "files", "has_disk", "memory", "response_disk")

    def __init__(self, *, memory: int, disk: int, files: int, directory: str) -> None:
        self.memory = Budget(memory)
        self.disk = Budget(disk)
        self.response_disk = Budget(disk // 2)
        self.files = Budget(files)
        self.directory = directory or None
        self.has_disk = True
        """Whether temporary files can be made at all; see :meth:`probe_disk`."""

    def probe_disk(self) -> OSError | None:
        """Try the directory once; where no file can ever be made there, everything stays in RAM."""
        try:
            with tempfile.TemporaryFile(dir=self.directory):
                self.has_disk = True
        except OSError as error:
            self.has_disk = error.errno in _PASSING
            return error
        return None


def require_directory(directory: str) -> None:
    """Refuse a directory in which no temporary file can ever be made.

    :param directory: "" is the system's, and nobody has asked for that.
    :raises ConfigError: it is not there, is no directory, or is not ours to write to.
    """
    if directory:
        failure = Budgets(memory=0, disk=0, files=0, directory=directory).probe_disk()
        if failure is not None and failure.errno not in _PASSING:
            raise ConfigError(
                f"--spool-dir: no file can be made in {directory!r}: {failure.strerror}"
            )

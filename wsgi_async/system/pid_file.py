"""The file that ``--pid`` names: the number of the parent process, and a newline."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import tempfile

from wsgi_async.errors import ConfigError

from .files import kind_of

__all__ = ["PidFile"]

# 0 and negative numbers would ask kill(2) about groups of processes; pids end at 2^22 on Linux.
_PID = re.compile(rb"[1-9][0-9]{0,8}", re.ASCII)


class PidFile:
    """The pid file of this process. The path is made absolute at once: chdir() may follow."""

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)
        self._owner = 0  # the process that wrote it: a forked child must not remove it

    def create(self) -> None:
        """Write it, in place of one that a dead process left behind.

        Nobody ever reads half of it: it is complete before it has its name.

        :raises ConfigError: it names another process that lives, or it cannot be written.
        """
        try:
            self._check()
            # In the same directory, because rename(2) works within a file system only.
            directory, name = os.path.split(self.path)
            descriptor, temporary = tempfile.mkstemp(prefix=f".{name}.", dir=directory)
            try:
                with open(descriptor, "wb") as file:
                    file.write(b"%d\n" % os.getpid())
                    os.fchmod(descriptor, 0o644)
                self._put(temporary)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)
                raise
        except OSError as error:
            raise ConfigError(f"--pid: cannot write {self.path!r}: {error.strerror}") from None
        self._owner = os.getpid()

    def remove(self) -> None:
        """Remove it, if this process wrote it and nobody has since. Never raises."""
        if self._owner != os.getpid():
            return
        self._owner = 0
        with contextlib.suppress(OSError):
            if self._read() == os.getpid():
                os.unlink(self.path)

    def _put(self, temporary: str) -> None:
        """Give the new file its name; of two servers that start at once, one is refused."""
        try:
            os.link(temporary, self.path)
        except FileExistsError:
            self._check()
            os.replace(temporary, self.path)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EOPNOTSUPP):  # no links, as on FAT
                raise
            os.replace(temporary, self.path)
        else:
            os.unlink(temporary)

    def _check(self) -> None:
        """Raise if the file must stay as it is."""
        with contextlib.suppress(FileNotFoundError):
            mode = os.lstat(self.path).st_mode
            if stat.S_ISLNK(mode):
                mode = os.stat(self.path).st_mode
            # Else root's rename() would take away /dev/null.
            if kind := kind_of(mode):
                raise ConfigError(f"--pid: {self.path!r} is {kind}, not an ordinary file")
            pid = self._read()
            if pid is not None and pid != os.getpid() and _is_alive(pid):
                raise ConfigError(
                    f"--pid: {self.path!r} says that process {pid} runs already; stop it, or "
                    "remove the file if that is another program"
                )

    def _read(self) -> int | None:
        """The number in the file, or None where that is something else."""
        # Whatever has come to be there meanwhile: a pipe's open() would wait.
        descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb", buffering=0) as file:
            text = (file.read(64) or b"").strip(b" \t\r\n")
        return int(text) if _PID.fullmatch(text) else None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)  # sends nothing
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True

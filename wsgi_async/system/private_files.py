"""Files that no other user can read, for what must be in a file to be read or to be shared.

They are in memory and have no name where the system can do that (memfd_create(2)), and else files
of mode 0600 that are removed.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from typing import IO

from .forks import Holding

__all__ = ["private_path", "shared_file"]

_NAME = "wsgi_async"


@contextlib.contextmanager
def private_path(data: bytes) -> Iterator[str]:
    """A path at which this process can open `data` while the block runs. *Any thread.*

    :raises OSError: there can be no such file.
    """
    with contextlib.ExitStack() as stack:
        file: IO[bytes]
        memory = _in_memory()
        if memory is None:
            file = stack.enter_context(tempfile.NamedTemporaryFile(prefix=f"{_NAME}-"))
            path = file.name
        else:
            file = stack.enter_context(memory)
            path = _path(memory)
        # Whatever the application forks in between is not to have it.
        stack.callback(Holding(files=lambda: [file]).release)
        file.write(data)
        file.flush()
        yield path


def shared_file() -> tuple[IO[bytes], IO[bytes]]:
    """A file without a name, to be shared with processes that are forked from here on.

    :returns: it, unbuffered: to be written by, and to be read by only. No program that is started
        inherits either.
    :raises OSError: there can be no such file.
    """
    with contextlib.ExitStack() as undo:
        memory = _in_memory()
        if memory is not None:
            undo.callback(memory.close)
            reader = open(_path(memory), "rb", buffering=0)  # noqa: SIM115
            undo.pop_all()
            return memory, reader
        named = undo.enter_context(tempfile.NamedTemporaryFile(prefix=f"{_NAME}-"))
        writer = open(named.name, "r+b", buffering=0)  # noqa: SIM115
        return writer, open(named.name, "rb", buffering=0)


def _in_memory() -> IO[bytes] | None:
    """A file in memory that can be opened by a path; None where there is no such thing."""
    create = getattr(os, "memfd_create", None)
    if create is None:
        return None
    with contextlib.ExitStack() as undo:
        try:
            file = open(create(_NAME), "r+b", buffering=0)  # noqa: SIM115
            undo.callback(file.close)
            # It begins with a mode for everybody: who may only read it, a process that runs as
            # somebody else, could open it by /proc to write.
            os.fchmod(file.fileno(), 0o600)
            os.close(os.open(_path(file), os.O_RDONLY | os.O_CLOEXEC))
        except OSError:  # a kernel that refuses it, or no /proc
            return None
        undo.pop_all()
    return file


def _path(file: IO[bytes]) -> str:
    return f"/proc/self/fd/{file.fileno()}"

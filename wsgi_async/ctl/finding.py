"""Where the control socket is.

It is named, by ``--socket`` or ``$WSGI_ASYNC_CONTROL_SOCKET``, or found from the pid file: of the
unix sockets on which that process listens (``/proc/PID/fd`` and ``/proc/PID/net/unix``) it is the
one that tells of a fleet. So it is found however the server was told of it, by its command line, a
variable or a file, and whatever has become of these since. Only root and the user of that process
may look there, and these are the ones who may use the socket.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Iterator, Mapping

from .client import Client
from .exits import Exit, Failed
from .text import clean

__all__ = ["PID_VARIABLE", "SOCKET_VARIABLE", "find_socket"]

SOCKET_VARIABLE = "WSGI_ASYNC_CONTROL_SOCKET"
PID_VARIABLE = "WSGI_ASYNC_PID"

_PID = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)
# As proc(5) has it: flags, type, state, inode, path. 00010000 is __SO_ACCEPTCON, 0001 a stream.
_LISTENING = re.compile(r"\S+ \S+ \S+ 00010000 0001 \S+ +([0-9]+) (.+)")
_INODE = re.compile(r"socket:\[([0-9]+)\]")
_PATIENCE = 3.0
"""Seconds for each socket that may be the one."""


def find_socket(named: str, pid_file: str, environ: Mapping[str, str]) -> str:
    """Its path, or ``@NAME`` in Linux's abstract namespace.

    :param named: what ``--socket`` says, or "".
    :param pid_file: what ``--pid`` says, or "": a pid file, or a number.
    :param environ: the variables of this process; options go before them.
    :raises Failed: there is none, with what to do.
    """
    if named and pid_file:
        raise Failed(Exit.WRONG, "--socket says where it is, and so does --pid: give one of them")
    if pid_file:
        return _socket_of(_read_pid(pid_file), pid_file)
    if named or (named := environ.get(SOCKET_VARIABLE, "")):
        return named.removeprefix("unix:")
    if pid_file := environ.get(PID_VARIABLE, ""):
        return _socket_of(_read_pid(pid_file), pid_file)
    raise Failed(
        Exit.UNREACHABLE,
        f"Which server? Give --socket PATH or --pid FILE, or set ${SOCKET_VARIABLE}: the PATH that "
        "the server has for its --control-socket, or the FILE for its --pid",
    )


def _read_pid(file: str) -> int:
    """The number in the file, or `file` itself where that is a number and no file."""
    shown = clean(file)
    try:
        # Whatever it is: a pipe's open() would wait.
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb", buffering=0) as opened:
            text = (opened.read(64) or b"").decode("ascii", "replace").strip()
    except FileNotFoundError:
        if _PID.fullmatch(file):
            return int(file)
        raise Failed(
            Exit.UNREACHABLE, f"There is no {shown}: does the server run, and with --pid {shown}?"
        ) from None
    except OSError as error:
        raise Failed(Exit.UNREACHABLE, f"Cannot read {shown}: {error.strerror}") from None
    if not _PID.fullmatch(text):
        raise Failed(Exit.UNREACHABLE, f"{shown} is no pid file: it has no number in it")
    return int(text)


def _socket_of(pid: int, file: str) -> str:
    """The control socket of a server's parent.

    :param file: where its number is from.
    """
    shown = clean(file)
    try:
        candidates = list(_listening(pid))
    except PermissionError:
        raise Failed(
            Exit.REFUSED,
            f"Process {pid} of {shown} is another user's: be root or that user, or give --socket",
        ) from None
    except OSError:
        raise Failed(Exit.UNREACHABLE, _why_none(pid, shown)) from None
    late: Failed | None = None
    for path in sorted(candidates, key=_is_for_others):
        try:
            answer = Client(path, _PATIENCE).get("/status")
        except Failed as failed:
            if failed.code is Exit.REFUSED and not _is_for_others(path):
                raise
            if failed.code is Exit.LATE and not _is_for_others(path):
                late = late or failed
            continue
        if "fleet" in answer:
            return path
    if late is not None:
        raise late
    raise Failed(
        Exit.UNREACHABLE,
        f"Process {pid} of {shown} has no control socket: start the server with --control-socket "
        "PATH",
    )


def _why_none(pid: int, shown: str) -> str:
    if not os.path.isdir("/proc/self/fd"):
        return "Without /proc nothing can be found from a pid file: give --socket PATH"
    return f"Process {pid} of {shown} has ended: the server does not run"


def _listening(pid: int) -> Iterator[str]:
    """The unix sockets on which a process listens, as this one can connect to them.

    :raises OSError: it has ended, or is another user's.
    """
    directory = f"/proc/{pid}"
    inodes = set()
    for entry in os.scandir(f"{directory}/fd"):
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            if match := _INODE.fullmatch(os.readlink(entry.path)):
                inodes.add(match[1])
    root = ""
    here, there = os.stat("/"), os.stat(f"{directory}/root")
    if (here.st_dev, here.st_ino) != (there.st_dev, there.st_ino):  # in a container of its own
        root = f"{directory}/root"
    with open(f"{directory}/net/unix", encoding="utf-8", errors="surrogateescape") as table:
        for line in table:
            match = _LISTENING.fullmatch(line.rstrip("\n"))
            if match and match[1] in inodes:
                path = match[2]
                if path.startswith("@"):
                    yield path
                else:
                    yield root + os.path.join("/", os.readlink(f"{directory}/cwd"), path)


def _is_for_others(path: str) -> bool:
    """Whether others than its owner may connect, as is usual where an application is served."""
    try:
        return bool(stat.S_IMODE(os.stat(path).st_mode) & 0o077)
    except OSError:
        return True

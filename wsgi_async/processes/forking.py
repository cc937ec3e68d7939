"""Forks, and how a new process gets away from what its parent was doing."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable

from wsgi_async.errors import EXIT_NOT_LOADED, ConfigError
from wsgi_async.system import forks

from .channel import Channel
from .signals import SIGNALS

__all__ = [
    "Forked",
    "become_subreaper",
    "end_child",
    "end_with_parent",
    "fork",
    "fork_orphan",
    "fork_with_channel",
    "ignore",
    "verdict",
]

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


class Forked(BaseException):
    """Unwinds the parent's stack in a new process, which goes on with `job`."""

    def __init__(self, job: Callable[[], int]) -> None:
        super().__init__()
        self.job = job


def fork() -> int:
    """Fork. In the new process, where this is 0, the parent's signal handlers are gone."""
    forks.flush()
    global _parent
    parent = os.getpid()
    everything = signal.valid_signals()
    # A signal that comes before the new process has its own handlers must wait for them.
    signal.pthread_sigmask(signal.SIG_BLOCK, everything)
    try:
        with forks.keeping():
            pid = os.fork()
        if not pid:
            _parent = parent
            _forget_signals()
            _forget_children()
        return pid
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, everything)


def fork_with_channel() -> tuple[int, Channel]:
    """The same, with a channel between the two, of which each has its own end alone.

    :raises OSError: there can be no more processes or descriptors.
    """
    ours, theirs = Channel.pair()
    try:
        pid = fork()
    except BaseException:
        ours.close()
        theirs.close()
        raise
    mine, others = (ours, theirs) if pid else (theirs, ours)
    others.close()
    return pid, mine


def _forget_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in (*SIGNALS, signal.SIGCHLD):
        forks.take_signal(number, signal.SIG_DFL)
    # A terminal sends Ctrl-C to the whole group. Not SIG_IGN: programs that the application
    # starts would inherit that, and not a handler.
    for number in set(SIGNALS) - {signal.SIGTERM, signal.SIGTTIN, signal.SIGTTOU}:
        forks.take_signal(number, ignore)


def _forget_children() -> None:
    """What ``multiprocessing`` has started is the parent's: at the end of this process it would
    end those that are daemons, and fail to wait for the others."""
    module = sys.modules.get("multiprocessing.process")
    if module is not None:
        module._children.clear()  # as each process that it starts does


def fork_orphan() -> bool:
    """Fork twice: True in a process whose parent has ended, so that the supervisor inherits it."""
    with warnings.catch_warnings():
        # From 3.12 on Python warns where the application has started threads: they do not follow
        # into the new process, which is known of every preloading server.
        warnings.simplefilter("ignore", DeprecationWarning)
        with forks.keeping():
            pid = os.fork()
            if pid:
                os.waitpid(pid, 0)
                return False
            if os.fork():
                os._exit(0)
            _forget_children()
            return True


def ignore(number: int, frame: object) -> None:
    """Children obey their supervisor only."""


_parent = 0
"""The process that has forked this one by :func:`fork`; 0 in others."""


def end_with_parent(*, ends: bool = True) -> None:
    """Have SIGTERM come when the process that has forked this one ends (Linux, prctl(2)), for as
    long as nobody reads its channel: while the application is loaded, for ever perhaps.

    To be repeated once this process runs as somebody else: the kernel takes it back then.

    :param ends: False where the channel tells it from now on.
    """
    if not _parent:
        return
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM if ends else 0, 0, 0, 0)
        if ends and os.getppid() != _parent:  # it was too late
            os.kill(os.getpid(), signal.SIGTERM)


def end_child(pid: int, within: float) -> None:
    """Wait until a child has ended, which has been told to; kill it after so many seconds."""
    until = time.monotonic() + within
    with contextlib.suppress(ChildProcessError):
        while time.monotonic() < until:
            if os.waitpid(pid, os.WNOHANG)[0]:
                return
            time.sleep(0.005)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def become_subreaper() -> None:
    """Inherit the orphans among this process's descendants (Linux, prctl(2)).

    :raises ConfigError: the system has no such thing.
    """
    try:
        if ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0:
            return
    except (OSError, AttributeError):
        pass
    raise ConfigError("--preload needs Linux 3.4 or later")


def verdict(status: int) -> tuple[str, int]:
    """How a process ended, in words, and its exit code, or EXIT_NOT_LOADED after a signal."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"exit code {code}", code
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "unknown"
    hint = "; out of memory, perhaps" if -code == signal.SIGKILL else ""
    return f"signal {-code} ({name}{hint})", EXIT_NOT_LOADED

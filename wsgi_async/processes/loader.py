"""The supervisor's side of a loader: the process that has the application of one generation."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Callable
from functools import partial

from wsgi_async.system.forks import HasFileno

from . import jobs
from .channel import Channel
from .forking import Forked, end_child, fork_with_channel
from .interfaces import Boot, Program
from .process import Process

__all__ = ["Loader"]

_ENDS_WITHIN = 2.0
"""Seconds for the end of a loader, with what the application has registered for it."""


class Loader:
    """A loader, from its fork to its end.

    :param program: what it is to load.
    :param is_first: see :class:`Boot`.
    :param leave_parent: drops, in the new process, what is the parent's alone.
    :raises OSError: there can be no more processes or descriptors.
    """

    def __init__(
        self, program: Program, *, is_first: bool, leave_parent: Callable[[], object]
    ) -> None:
        self.waiting: list[Process] = []
        """Processes that are to be forked once the application is loaded."""
        self.is_ready = False
        with contextlib.ExitStack() as undo:
            self._orders, their_orders = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            undo.callback(self._orders.close)
            undo.callback(their_orders.close)
            self.pid, self.channel = fork_with_channel()
            undo.pop_all()
        if not self.pid:
            leave_parent()
            self._orders.close()
            boot = Boot(self.channel, -1, -1, is_first)
            raise Forked(partial(jobs.load, program, boot, their_orders))
        their_orders.close()

    def fork(self, number: int, place: int, *, is_first: bool) -> Channel | None:
        """Have it fork a process. None where it is dead, which the kernel will tell as well.

        :returns: the way to that process, which says ``hello`` with its pid.
        :raises OSError: there can be no more descriptors.
        """
        ours, theirs = Channel.pair()
        try:
            order = f"{number} {place} {int(is_first)}".encode()
            socket.send_fds(self._orders, [order], [theirs.fileno()])
        except OSError:
            ours.close()
            return None
        finally:
            theirs.close()
        return ours

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """It serves nobody, so nothing is lost."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    @property
    def files(self) -> list[HasFileno]:
        """The ways to it."""
        return [self.channel, self._orders]

    def close_sockets(self) -> None:
        """Have it stop listening: while it does, clients can connect and are never answered. What
        the application has started there lives on for those that serve still."""
        try:
            if self.is_ready:
                self._orders.send(jobs.CLOSE)
                return
        except OSError:
            pass
        self.kill()

    def dismiss(self) -> None:
        """Let it end: it reads the end of its orders."""
        self._orders.close()

    def end(self) -> None:
        """Dismiss it, and wait until it has ended. One that still loads is killed."""
        self.close()
        end_child(self.pid, _ENDS_WITHIN if self.is_ready else 0.0)

    def close(self) -> None:
        """Drop the ways to it."""
        self._orders.close()
        self.channel.close()

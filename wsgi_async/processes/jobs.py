"""What new processes do: serve, or load the application and fork those that serve."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from functools import partial
from typing import Any

from wsgi_async.system import forks

from .channel import Channel
from .forking import Forked, fork_orphan, ignore
from .interfaces import Boot, Program

__all__ = ["CLOSE", "load", "serve"]

CLOSE = b"close"
"""The order to stop listening. The others are of numbers."""

_ORDER_SIZE = 32
"""Bytes of an order: number and place of the new process, and whether none has been ready yet."""


def serve(program: Program, boot: Boot, application: Any = None) -> int:
    """*In a new process:* serve.

    :param application: what a loader has loaded; None where this process is to do it.
    """
    boot.channel.say("hello", str(os.getpid()))
    forks.Holding(files=lambda: [boot.channel])
    try:
        with forks.fence():
            return program.serve(application, boot)
    except Exception as error:
        return program.explain(error, boot)
    finally:
        boot.channel.close()


def load(program: Program, boot: Boot, orders: socket.socket) -> int:
    """*In a loader:* import the application, then fork a process for each order."""
    holding = forks.Holding(files=lambda: [boot.channel, orders])
    try:
        application = program.load()
    except Exception as error:
        try:
            return program.explain(error, boot)
        finally:
            with contextlib.suppress(OSError):  # the application has closed it
                orders.close()
            boot.channel.close()
    forks.flush()
    forks.take_signal(signal.SIGTERM, ignore)
    boot.channel.say("ready")
    while True:
        order, descriptors, _, _ = socket.recv_fds(orders, _ORDER_SIZE, 1)
        if not order:
            orders.close()
            boot.channel.close()
            return 0
        if order == CLOSE:
            program.close_sockets()
            continue
        number, place, is_first = map(int, order.split())
        channel = Channel(socket.socket(fileno=descriptors[0]))
        if fork_orphan():
            holding.release()
            orders.close()
            boot.channel.close()
            forks.take_signal(signal.SIGTERM, signal.SIG_DFL)
            boot = Boot(channel, number, place, bool(is_first))
            raise Forked(partial(serve, program, boot, application))
        channel.close()

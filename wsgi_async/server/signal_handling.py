"""A server that serves until a signal ends it, in the one process that it has."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import signal
import threading
from typing import Any, Protocol

from wsgi_async.config.options import Config
from wsgi_async.logs import setup as logs
from wsgi_async.system import forks

from .stopping import Stop, Stoppable, obey

__all__ = ["serve_until_signalled"]

END_TIME = 1.0
"""Seconds in which the thread of a server gets to end it where the program ends around it."""


class Signallable(Stoppable, Protocol):
    """A server, as far as this module knows it."""

    config: Config

    async def start(self) -> None: ...
    def announce_wait(self) -> None: ...
    def report_in_flight(self) -> None: ...
    def renew_certificates(self) -> None: ...


async def serve_until_signalled(server: Signallable) -> int:
    """See :meth:`~wsgi_async.server.server.Server.serve_until_signalled`."""
    loop = asyncio.get_running_loop()
    stops: asyncio.Queue[Stop] = asyncio.Queue()

    def drain() -> None:
        stops.put_nowait(Stop.DRAIN)
        asked.append(Stop.DRAIN)

    def interrupt() -> None:
        stops.put_nowait(Stop.NOW if asked else Stop.DRAIN)
        if not asked:
            server.announce_wait()
        asked.append(Stop.DRAIN)

    def report() -> None:
        logs.reopen()
        server.report_in_flight()

    asked: list[Stop] = []
    handlers = {
        signal.SIGTERM: drain,
        signal.SIGINT: interrupt,
        signal.SIGQUIT: lambda: stops.put_nowait(Stop.NOW),
        signal.SIGUSR1: report,
    }
    if server.config.certfile:  # else it ends the program, as ever
        handlers[signal.SIGHUP] = server.renew_certificates
    is_main = threading.current_thread() is threading.main_thread()
    previous = {number: signal.getsignal(number) for number in handlers} if is_main else {}
    for number in previous:
        loop.add_signal_handler(number, handlers[number])
        forks.take_signal(number, None, _before_runner(previous[number]))
    thread = threading.current_thread()

    def end_with_program() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(stops.put_nowait, Stop.NOW)
        with contextlib.suppress(AssertionError, RuntimeError):  # a thread made in C
            thread.join(END_TIME)

    if not is_main:
        atexit.register(end_with_program)
    try:
        await server.start()
        return await obey(server, stops, drain_delay=server.config.drain_delay)
    finally:
        await server.stop()
        atexit.unregister(end_with_program)
        for number, handler in previous.items():
            forks.drop_signal(number)
            loop.remove_signal_handler(number)
            if handler is not None:  # None: it was not installed by Python
                signal.signal(number, handler)


def _before_runner(handler: Any) -> Any:
    """What was in force before ``asyncio.Runner`` put its own handler of SIGINT there."""
    of = getattr(getattr(handler, "func", None), "__self__", None)
    return signal.default_int_handler if isinstance(of, asyncio.Runner) else handler

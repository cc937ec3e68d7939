"""What a server has to do with the application loop, where there is one. On its own loop.

Nobody imports anything of :mod:`wsgi_async.realtime` for it: where the application has not, a look
at ``sys.modules`` is all.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import sys
from typing import TYPE_CHECKING

from wsgi_async import events
from wsgi_async.events import Observer

if TYPE_CHECKING:
    from wsgi_async.realtime.application_loop import ApplicationLoop

__all__ = ["ApplicationLoopSide"]


class ApplicationLoopSide:
    """One server's side of it.

    :param observer: the server's.
    """

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._has_begun = False

    async def begin(self, limit: float) -> None:
        """Have the hooks of ``on_start`` entered. To be ended also where this fails.

        :param limit: seconds for all of them; 0 for no bound.
        :raises LoadError: one has failed.
        """
        events.RUNNING.append(self._observer)
        self._has_begun = True
        if "wsgi_async.realtime.hooks" in sys.modules:
            from wsgi_async.realtime.hooks import start_all

            await start_all(limit)

    def look(self) -> None:
        """Several times a second: whether code blocks it."""
        loop = self.loop
        if loop is None:
            return
        from wsgi_async.realtime.blocking import Sight

        sight, seconds = loop.look()
        if sight is Sight.BLOCKED:
            self._observer.application_loop_blocked(seconds, loop.stack())
        elif sight is Sight.RECOVERED:
            self._observer.application_loop_recovered(seconds)

    @property
    def loop(self) -> ApplicationLoop | None:
        """*Any thread:* the application loop, where there is one."""
        if "wsgi_async.realtime.application_loop" not in sys.modules:
            return None
        from wsgi_async.realtime.application_loop import existing

        return existing()

    @property
    def blocked_for(self) -> float | None:
        """*Any thread:* seconds for which code has blocked it; None where there is none."""
        loop = self.loop
        return None if loop is None else loop.blocked_for()

    @property
    def blocked_stack(self) -> list[str] | None:
        """*Any thread:* what its thread is doing, as the lines of a traceback, where code blocks
        it; None where none does."""
        loop = self.loop
        return loop.stack() if loop is not None and loop.blocked_for() else None

    def let_go(self) -> None:
        """Nothing more is told to this server's observer. Harmless if repeated."""
        with contextlib.suppress(ValueError):
            events.RUNNING.remove(self._observer)

    async def end(self, grace: float, at_once: asyncio.Event) -> bool:
        """The server ends: end the loop, where no other server needs it.

        :param grace: seconds for what was spawned; infinity for no bound.
        :param at_once: set where nothing is to be waited for any longer.
        :returns: False where code of the application's does not let it end.
        """
        self.let_go()
        loop = self.loop
        if loop is None or not self._has_begun:
            return True
        from wsgi_async.realtime.ending import LAST, finish, hurry

        loop.observer = self._observer
        here, over = asyncio.get_running_loop(), asyncio.Event()

        def tell(_: object) -> None:
            with contextlib.suppress(RuntimeError):  # it ends late, and this loop is closed
                here.call_soon_threadsafe(over.set)

        finish(loop, grace).add_done_callback(tell)
        waits = [asyncio.ensure_future(event.wait()) for event in (over, at_once)]
        try:
            bound = None if grace == math.inf else grace
            await asyncio.wait(waits, timeout=bound, return_when=asyncio.FIRST_COMPLETED)
            if not over.is_set():
                hurry(loop)
                await asyncio.wait(waits[:1], timeout=LAST)
        finally:
            for wait in waits:
                wait.cancel()
        if not over.is_set():
            loop.is_left = True
            self._observer.application_loop_blocked(loop.blocked_for(), loop.stack())
        return over.is_set()

"""Asynchronous bodies of a server, as far as one knows of them where nobody has any: what awaits
them is made, and imported, for the first."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextvars import Context
from typing import TYPE_CHECKING

from wsgi_async.config.options import Config
from wsgi_async.connection.exchange import Exchange
from wsgi_async.connection.gateway import LiveBody
from wsgi_async.connection.observed import runs_requests
from wsgi_async.errors import HTTPError
from wsgi_async.events import Observer
from wsgi_async.wsgi.async_bodies import LivePhase
from wsgi_async.wsgi.calling import WSGIResponse

if TYPE_CHECKING:
    from wsgi_async.realtime.bodies import Bodies

__all__ = ["LiveResponses"]

_PHASES = list(LivePhase)


class LiveResponses:
    """See :class:`wsgi_async.connection.gateway.LiveBodies`.

    :param config: the options.
    :param observer: of the server.
    :param retry_after: seconds for a 503.
    :param wake: has a function called by the server's loop. *Any thread.*
    """

    def __init__(
        self,
        config: Config,
        observer: Observer,
        retry_after: Callable[[], int],
        wake: Callable[[Callable[[], object]], object],
    ) -> None:
        self.bodies: Bodies | None = None
        """*Any thread:* what there are, once there was one."""
        self._config = config
        self._observer = observer
        self._retry_after = retry_after
        self._wake = wake
        self._phase = LivePhase.SERVING
        self._making = threading.Lock()

    def __len__(self) -> int:
        """*Any thread:* how many there are."""
        return 0 if self.bodies is None else len(self.bodies)

    @property
    def ends(self) -> dict[str, int]:
        """*Any thread:* how many have ended, by why."""
        bodies = self.bodies
        return {} if bodies is None else {end.value: n for end, n in bodies.ends.items()}

    def take(
        self, exchange: Exchange, response: WSGIResponse, context: Context
    ) -> LiveBody | HTTPError:
        """*Pool thread:* see there."""
        bodies = self.bodies
        if bodies is None:
            bodies = self._make()
        return bodies.take(exchange, response, context)

    def _make(self) -> Bodies:
        from wsgi_async.realtime import executors
        from wsgi_async.realtime.application_loop import application_loop
        from wsgi_async.realtime.bodies import Bodies, LiveLimits
        from wsgi_async.realtime.body import RUN

        config = self._config
        runs_requests(RUN, lambda body: body.exchange)
        with self._making:
            if self.bodies is None:
                executors.allow(config.live_threads)
                self.bodies = Bodies(
                    LiveLimits(
                        first_chunk=config.request_timeout,
                        between_chunks=config.live_timeout,
                        count=config.max_live,
                    ),
                    application_loop(),
                    self._observer,
                    self._retry_after,
                    self._wake,
                    self._phase,
                )
            return self.bodies

    # --- the end ---------------------------------------------------------------------------------

    def end_streams(self, grace: float, call_later: Callable[..., object]) -> None:
        """*Loop:* the server stops. Event streams have their clients told to come again, and end
        after so many seconds.

        :param call_later: the loop's.
        """
        self._enter(LivePhase.TOLD)
        call_later(grace, self._enter, LivePhase.STREAMS_END)

    def end_all(self) -> None:
        """*Loop:* whatever goes on is cancelled."""
        self._enter(LivePhase.ALL_END)

    def _enter(self, phase: LivePhase) -> None:
        with self._making:
            if _PHASES.index(phase) <= _PHASES.index(self._phase):
                return
            self._phase = phase
            bodies = self.bodies
        if bodies is not None:
            bodies.enter(phase)

    def none_left(self) -> asyncio.Event:
        """*Loop:* an event that is set once there is none."""
        if self.bodies is not None:
            return self.bodies.none_left()
        none_left = asyncio.Event()
        none_left.set()
        return none_left

    def let_go(self) -> int:
        """*Loop:* nobody waits any longer for those that have not ended. How many."""
        return 0 if self.bodies is None else self.bodies.let_go()

    def close_left(self) -> None:
        """*Loop:* see :meth:`.Bodies.close_left`."""
        if self.bodies is not None:
            self.bodies.close_left()

    # ---

    def sweep(self, now: float) -> None:
        """*Loop:* see :meth:`.Bodies.sweep`."""
        if self.bodies is not None:
            self.bodies.sweep(now)

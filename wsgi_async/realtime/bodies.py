"""All asynchronous bodies of one server: how many there may be, when they are late, how they end
with it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from contextvars import Context

from wsgi_async.errors import HTTPError, Overload
from wsgi_async.events import Observer
from wsgi_async.wsgi.async_bodies import LivePhase
from wsgi_async.wsgi.calling import WSGIResponse

from . import frameworks
from .application_loop import ApplicationLoop
from .body import Body, LiveExchange
from .body_states import BodyState, End

__all__ = ["CANCEL_EVERY", "Bodies", "LiveLimits"]

CANCEL_EVERY = 10.0
"""Seconds after which a body that goes on although it was cancelled, or is over, is cancelled
(again). What a ``finally`` awaits has so much time."""

TOLD_AT_ONCE = 8
"""Bodies of which the stack is shown with one sweep: each has its source read, and keeps the loop
from its clients."""

_GOES_ON = (BodyState.RUNNING, BodyState.BEHIND, BodyState.ENDING)
"""Where a body may be although no more of it is wanted."""

SWEEP_AT_LEAST = 1.0
"""Seconds between two sweeps, at most: each looks at all bodies."""

CLOSING = "wsgi_async-closing"
"""What a thread is called that closes a body at the very end."""

TOLERANCE = 0.01
"""Seconds by which the loop's time may be behind."""


class LiveLimits:
    """How late bodies may be, and how many of them there may be; 0 is without a limit.

    :param first_chunk: seconds from the complete request (``request_timeout``).
    :param between_chunks: seconds (``live_timeout``).
    :param count: ``max_live``.
    """

    def __init__(self, *, first_chunk: float, between_chunks: float, count: int) -> None:
        self.first_chunk = first_chunk
        self.between_chunks = between_chunks
        self.count = count
        shortest = min((each for each in (first_chunk, between_chunks) if each), default=10.0)
        self.sweep_every = min(SWEEP_AT_LEAST, shortest / 10)


class Bodies:
    """The asynchronous bodies of one server.

    :param limits: their bounds.
    :param loop: the application loop.
    :param observer: told of those that are late, or do not end.
    :param retry_after: seconds for a 503.
    :param wake: has a function called by the server's loop. *Any thread.*
    """

    def __init__(
        self,
        limits: LiveLimits,
        loop: ApplicationLoop,
        observer: Observer,
        retry_after: Callable[[], int],
        wake: Callable[[Callable[[], object]], object],
        phase: LivePhase = LivePhase.SERVING,
    ) -> None:
        self.phase = phase
        self.ends = dict.fromkeys(End, 0)
        """*Any thread reads:* how many have ended, by why."""
        self.stubborn = 0
        """*Loop:* how many have gone on although they were cancelled."""
        self._limits = limits
        self._loop = loop
        self._observer = observer
        self._retry_after = retry_after
        self._wake = wake
        self._lock = threading.Lock()
        self._bodies: set[Body] = set()
        self._none_left = asyncio.Event()
        self._swept_at = 0.0
        self._has_let_go = False

    def __len__(self) -> int:
        """*Any thread:* how many there are."""
        return len(self._bodies)

    # --- pool thread -------------------------------------------------------------------------

    def take(
        self, exchange: LiveExchange, response: WSGIResponse, context: Context
    ) -> Body | HTTPError:
        """*Pool thread, whose request this is:* take it over.

        :param context: the request's, which has been left.
        :returns: a body that is yet to begin; or why it may not.
        """
        copy = context.copy()  # as it was when the application returned
        body = Body(self, self._loop, exchange, response, copy)
        with self._lock:
            if 0 < self._limits.count <= len(self._bodies):
                return Overload.LIVE_FULL.error(self._retry_after())
            self._bodies.add(body)
        if exchange.body is not None:
            exchange.body.never_waits = self._loop.ident
        context.run(frameworks.handing_over, response.iterable)
        if self.phase is not LivePhase.SERVING:
            self._loop.call(self._follow, [body])
        return body

    def drop(self, body: Body) -> None:
        """*Pool thread:* it has been closed. Harmless if repeated."""
        with self._lock:
            if body not in self._bodies:
                return
            self._bodies.discard(body)
            if body.end is not None:
                self.ends[body.end] += 1
            is_last = not self._bodies and self.phase is not LivePhase.SERVING
        if is_last:
            with contextlib.suppress(RuntimeError):  # that loop has ended: nobody waits any more
                self._wake(self._look_whether_over)

    # --- loop --------------------------------------------------------------------------------

    def sweep(self, now: float) -> None:
        """*Loop, now and then:* find those that are late, or that do not end.

        :param now: the loop's time.
        """
        if not self._bodies or now - self._swept_at < self._limits.sweep_every:
            return
        self._swept_at = now
        over_before = time.monotonic() - CANCEL_EVERY
        late: list[Body] = []
        stubborn: list[Body] = []
        for body in self._all():
            state = body.state
            if state is BodyState.HANDED and self._mend(body, over_before):
                continue
            if body.end is not None:
                if body.ended_at < over_before and state in _GOES_ON:
                    stubborn.append(body)
            elif state is BodyState.BEHIND or body.marks != body.seen:
                body.seen = body.marks
                body.since = now
            else:
                limit = self._limits.between_chunks if body.seen else self._limits.first_chunk
                if limit and now - body.since >= limit + TOLERANCE:
                    late.append(body)
        if late:
            self._expire(late, now)
        if stubborn:
            self._insist(stubborn)

    def _mend(self, body: Body, long_ago: float) -> bool:
        """Look after one that has not begun. True where it never will."""
        exchange = body.exchange
        if exchange.live is not body:
            if exchange.writer.has_ended:
                self.drop(body)  # its thread was struck before it could hand it over
            return True
        if body.begun_at < long_ago:  # code blocks the loop, or it had no memory for the task
            body.begin()
        return False

    def _all(self) -> list[Body]:
        with self._lock:
            return list(self._bodies)

    def _expire(self, late: list[Body], now: float) -> None:
        self._tell(
            [
                (body, f"has produced nothing for {now - body.since:.1f} s, and is cancelled")
                for body in late
            ]
        )
        for body in late:
            body.break_off()
            body.exchange.give_up_response(_too_late())

    def _insist(self, stubborn: list[Body]) -> None:
        """No more of them is wanted, and they go on."""
        told: list[tuple[Body, str]] = []
        for body in stubborn:
            if not body.is_told:
                body.is_told = True
                after = "it was cancelled" if body.cancelled_at else "its last chunk"
                told.append((body, f"goes on {CANCEL_EVERY:.0f} s after {after}"))
        self.stubborn += len(told)
        self._tell(told)
        for body in stubborn:
            body.cancel_again()

    def _tell(self, told: list[tuple[Body, str]]) -> None:
        """A few of them each with its stack, and of the others how many there are: a thousand may
        be late at once."""
        for body, what in told[:TOLD_AT_ONCE]:
            lines = [
                f"the asynchronous body of request {body.exchange.info.id} {what}; it awaits",
                *(f"    {line}" for line in body.stack()),
            ]
            self._observer.report("\n".join(lines))
        if len(told) > TOLD_AT_ONCE:
            more = len(told) - TOLD_AT_ONCE
            self._observer.warning(f"so it is with {more} more asynchronous bodies")

    # --- the end of the server -------------------------------------------------------------------

    def enter(self, phase: LivePhase) -> None:
        """*Loop:* the server stops, and is so far."""
        self.phase = phase
        self._loop.call(self._follow, self._all())

    def _follow(self, bodies: list[Body]) -> None:
        """*Application loop:* have them do what the phase asks for."""
        phase = self.phase
        for body in bodies:
            if phase is LivePhase.ALL_END or (
                phase is LivePhase.STREAMS_END and body.is_event_stream
            ):
                body.stop(End.STOPPED)
                if not body.cancelled_at:
                    body.cancel_again()  # it has come to its end, and is not closed
            else:
                body.announce()

    def none_left(self) -> asyncio.Event:
        """*Loop:* an event that is set once the last one is closed."""
        self._look_whether_over()
        return self._none_left

    def _look_whether_over(self) -> None:
        if self._bodies:
            self._none_left.clear()
        else:
            self._none_left.set()

    def let_go(self) -> int:
        """*Loop:* nobody waits any longer for those that have not ended. How many."""
        left = [body for body in self._all() if body.state is not BodyState.CLOSING]
        self._has_let_go = True
        self._tell([(body, "does not end, and is left to itself") for body in left])
        return len(left)

    def close_left(self) -> None:
        """*Loop, at the very end:* those that the application loop has not let end, if it has ended
        itself, are closed as they are: nobody will ever await them."""
        if self._bodies and not self._loop.call(int):
            for body in self._all():
                _close(body)

    # --- application loop --------------------------------------------------------------------

    def close_soon(self, body: Body) -> None:
        """*Application loop:* have a thread close it: one of the pool, as long as there is one."""
        if self._has_let_go:
            _close(body)
        else:
            body.exchange.post(body)


def _close(body: Body) -> None:
    """Have a thread of its own close it."""
    with contextlib.suppress(RuntimeError):  # at the end of the program there is none
        threading.Thread(target=body.exchange.run, name=CLOSING, daemon=True).start()


def _too_late() -> HTTPError:
    return HTTPError(504, "The application did not answer in time")

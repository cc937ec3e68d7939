"""Requests that take too long: in the queue, or in the application. On the loop.

The server calls :meth:`RequestTimeouts.sweep_queue` with each tick, and
:meth:`RequestTimeouts.sweep` every :data:`SWEEP` seconds if there is a ``request_timeout``. A
request costs nothing until one of them finds it at work or at the head of the queue.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from wsgi_async.config.options import Config
from wsgi_async.errors import HTTPError, Overload, RequestTimeout
from wsgi_async.events import Observer
from wsgi_async.system import stacks
from wsgi_async.threads import Producer, Progress
from wsgi_async.threads.pool import ThreadPool

from .exchange import Exchange

__all__ = ["SWEEP", "AtWork", "RequestTimeouts"]

SWEEP = 0.1
"""Seconds between two looks at what the threads do. Progress is noticed so much later at most, and
the deadline after it so much later again: a quarter of a second with what the timer adds."""

TOLERANCE = 0.01
"""Seconds by which the loop's time may be behind: it is taken once a turn, in milliseconds. So no
request is given up too early."""

AT_ONCE = 1000
"""Queued requests that are given up in one sweep: each keeps the loop from its clients."""


_NOTHING: Progress = (0, 0, Producer.RUNNING)


class AtWork:
    """For how long a request has been a thread's to work on, without what that has waited for the
    client.

    :param since: the loop's time from which on it counts.
    :param last_look: the loop's time when somebody last looked, and did not see it.
    """

    __slots__ = ("seen_at", "since", "waits")

    def __init__(self, since: float, last_look: float) -> None:
        self.waits = 0
        self.since = since
        """Moves on with the time that the thread waits for the client."""
        self.seen_at = max(since, last_look)

    def look(self, exchange: Exchange, now: float) -> float:
        """Seconds so far.

        The time between two looks counts unless the thread waited for the client in it, be it
        for a moment: the loop's clock is the only one, and nobody is given up, or told of, too
        early.
        """
        waits, body = exchange.writer.waits, exchange.body
        is_waiting = waits % 2 == 1
        if body is not None:
            is_waiting = is_waiting or body.waits % 2 == 1
            waits += body.waits
        if is_waiting or waits != self.waits:
            self.since += now - self.seen_at
        self.waits = waits
        self.seen_at = now
        return now - self.since


class _Expected(AtWork):
    """For how long the application has let somebody wait for its next chunk."""

    __slots__ = ("progress", "read")

    def __init__(self, exchange: Exchange, last_look: float) -> None:
        super().__init__(exchange.waits_since, last_look)
        self.progress: Progress = _NOTHING
        self.read = 0

    def look(self, exchange: Exchange, now: float) -> float:
        """See there; it begins anew whenever the application has produced or read something."""
        body, progress = exchange.body, exchange.writer.progress
        super().look(exchange, now)
        read = 0 if body is None else body.progress
        if progress != self.progress or read != self.read:
            self.progress = progress
            self.read = read
            self.since = now
        return now - self.since


class RequestTimeouts:
    """Finds requests whose time is over, and sees to it that they are answered all the same.

    ``request_timeout``: the clock starts when the request is complete, so the upload is excluded
    and the wait for a thread included. It covers the time to the first chunk of the response, then
    that to each next one, and in the end that of ``close()``. Time in which the thread waits for
    the client, to take or to send, is free, and so is time in which the iteration is parked, or
    has ended and is sent from a file. An application that reads a body as it arrives begins anew
    with each piece, as long as the rest is still to come, and when all has come. At the deadline:

    * a queued request is withdrawn and answered 504, and no thread is lost;
    * of a running one the thread is given up and replaced, and its stack is told to the observer.
      The client gets a 504 at once, or a cut response where its head is out already. What the
      thread writes later goes nowhere, what it raises interests nobody; its iterable is closed
      when it returns.
    * with ``interrupt_late`` :class:`RequestTimeout` is raised in it, once, as soon as it is not in
      the server's own code.

    ``queue_timeout``: a request that has waited so long for a thread is withdrawn and answered 503.

    At ``pool.max_lost`` lost threads, the pool refuses new requests: told once, and once more when
    it takes them again.

    :param config: the options.
    :param pool: the threads.
    :param observer: told of lost threads.
    :param retry_after: seconds for a 503.
    """

    def __init__(
        self,
        config: Config,
        pool: ThreadPool[Exchange],
        observer: Observer,
        retry_after: Callable[[], int],
    ) -> None:
        self._pool = pool
        self._observer = observer
        self._retry_after = retry_after
        self._timeout = config.request_timeout or math.inf
        self._queue_timeout = config.queue_timeout or math.inf
        self._interrupts = config.interrupt_late
        self._at_work: dict[Exchange, _Expected] = {}
        self._to_interrupt: list[Exchange] = []
        self._swept_at = -math.inf
        self._was_exhausted = False

    def sweep_queue(self, now: float) -> None:
        """Give up what has waited for a thread for too long."""
        if self._to_interrupt:
            self._strike()  # there may be nobody who sweeps
        self._tell_capacity()
        longest = min(self._timeout, self._queue_timeout) + TOLERANCE
        for _ in range(AT_ONCE):
            exchange = self._pool.oldest
            if exchange is None or now - exchange.waits_since < longest:
                return
            if exchange.withdraw():
                exchange.connection.give_up(exchange, self._expiry())

    def _expiry(self) -> HTTPError:
        if self._timeout < self._queue_timeout:
            return _too_late()
        return Overload.QUEUE_TIMEOUT.error(self._retry_after())

    def sweep(self, now: float) -> None:
        """Give up what the application has had for too long, or what waits for it too long."""
        self.sweep_queue(now)
        before, self._at_work = self._at_work, {}
        for _, name, exchange, is_lost in self._pool.running():
            if is_lost:
                continue
            work = before.get(exchange) or _Expected(exchange, self._swept_at)
            seconds = work.look(exchange, now)
            if seconds < self._timeout + TOLERANCE:
                self._at_work[exchange] = work
            else:
                self._give_up(exchange, name, seconds, _too_late(), interrupts=self._interrupts)
        self._swept_at = now
        self._strike()
        self._tell_capacity()

    # --- an operator's word

    def call_off(self, exchange: Exchange) -> bool:
        """Answer a request that waits for a thread, and for which nobody is to wait any more.

        :returns: False, and nothing done, where a thread has it.
        """
        if not exchange.withdraw():
            return False
        self._observer.info(f"request {exchange.info.id} is broken off by an operator")
        exchange.connection.give_up(exchange, _interrupted())
        return True

    def break_off(self, exchange: Exchange) -> bool:
        """Have an asynchronous body cancelled, and its client answered.

        :returns: False, and nothing done, where it has ended.
        """
        live = exchange.live
        if live is None:
            return False
        self._observer.info(f"request {exchange.info.id} is broken off by an operator")
        live.break_off()
        exchange.connection.give_up(exchange, _interrupted())
        return True

    def interrupt(self, exchange: Exchange, name: str, now: float) -> bool:
        """Give up a thread that works on a request, and have it come back as with
        ``interrupt_late``, whatever the options are.

        :param name: the thread's.
        :param now: the loop's time.
        :returns: False, and nothing done, where the thread has just ended with it.
        """
        self._observer.info(f"request {exchange.info.id} is broken off by an operator")
        seconds = max(0.0, now - exchange.waits_since)
        if not self._give_up(exchange, name, seconds, _interrupted(), interrupts=True):
            return False
        self._strike()
        self._tell_capacity()
        return True

    def interrupt_lost(self, exchange: Exchange) -> bool:
        """The same, where its thread was given up before. False where that was done before too, or
        it has come back."""
        struck = self._interrupt(exchange)
        if struck is False and exchange not in self._to_interrupt:
            self._to_interrupt.append(exchange)
        return struck is not None

    # ---

    def _give_up(
        self, exchange: Exchange, name: str, seconds: float, error: HTTPError, *, interrupts: bool
    ) -> bool:
        ident = self._pool.lose(exchange)
        if ident is None:
            return False  # it has ended just now
        self._at_work.pop(exchange, None)
        exchange.give_up()
        self._observer.thread_lost(exchange.info, name, seconds, stacks.stack_of(ident))
        if not exchange.writer.has_ended:  # else it is its close() that hangs
            exchange.connection.give_up(exchange, error)
        exchange.tell_given_up()
        if interrupts:
            self._to_interrupt.append(exchange)
        return True

    def _strike(self) -> None:
        self._to_interrupt = [
            late
            for late in self._to_interrupt
            if not late.is_told and self._interrupt(late) is False
        ]

    def _interrupt(self, exchange: Exchange) -> bool | None:
        return self._pool.interrupt(exchange, _interrupt)

    def _tell_capacity(self) -> None:
        is_exhausted = self._pool.is_exhausted
        if is_exhausted is self._was_exhausted:
            return
        self._was_exhausted = is_exhausted
        if is_exhausted:
            self._observer.threads_exhausted(self._pool.lost)
        else:
            self._observer.threads_recovered(self._pool.lost)


def _too_late() -> HTTPError:
    return HTTPError(504, "The application did not answer in time")


def _interrupted() -> HTTPError:
    return HTTPError(504, "The request was broken off by an operator")


def _interrupt(ident: int) -> bool:
    if not stacks.is_in_application(ident):
        return False
    stacks.raise_in(ident, RequestTimeout)
    return True

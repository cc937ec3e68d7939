"""Requests that a thread is at work on for long: told once, with the stack of the thread. On the
loop.

The server calls :meth:`SlowRequests.look` with each tick, if there is a ``slow_request``. A request
costs nothing until a tick finds a thread at work on it.
"""

from __future__ import annotations

from wsgi_async.events import Observer
from wsgi_async.system import stacks
from wsgi_async.threads.pool import Running, ThreadPool

from .exchange import Exchange
from .request_timeouts import AtWork

__all__ = ["AT_ONCE", "SlowRequests"]

AT_ONCE = 8
"""Requests that are told with one tick, the oldest first: each has its stack taken, with the lines
of its source read, and keeps the loop from its clients. The others are told with the next."""


class SlowRequests:
    """Finds requests that are older than they should be while a thread is at work on them.

    Their age begins when they are complete, so that the upload is not in it, and the wait for a
    thread is. Time in which the thread waits for the client, to take or to send, is not, nor is
    that in which the iteration is suspended.

    :param limit: the age in seconds.
    :param pool: the threads.
    :param observer: told of each such request, once.
    """

    def __init__(self, limit: float, pool: ThreadPool[Exchange], observer: Observer) -> None:
        self._limit = limit
        self._pool = pool
        self._observer = observer
        self._watched: dict[Exchange, AtWork] = {}
        self._told: set[Exchange] = set()
        self._looked_at = 0.0

    def look(self, now: float) -> None:
        """Tell of those that have passed the age since the last look.

        :param now: the loop's time.
        """
        running = [each for each in self._pool.running() if not each.is_lost]
        at_work = {each.task for each in running}
        # One that is suspended, or queued to go on, may come back, and is not told of again.
        self._told = {one for one in self._told if one in at_work or not _is_over(one)}
        before, self._watched = self._watched, {}
        slow: list[tuple[float, Running[Exchange]]] = []
        for each in running:
            exchange = each.task
            if exchange in self._told:
                continue
            watched = before.get(exchange)
            if watched is None:
                # One that was suspended and is first seen now: for how long is not known any more.
                since = now if exchange.turn else exchange.waits_since
                watched = AtWork(since, self._looked_at)
            self._watched[exchange] = watched
            seconds = watched.look(exchange, now)
            if seconds >= self._limit:
                slow.append((seconds, each))
        self._looked_at = now
        if slow:
            slow.sort(key=lambda found: -found[0])
            self._tell(slow[:AT_ONCE])

    def _tell(self, slow: list[tuple[float, Running[Exchange]]]) -> None:
        found = [(seconds, each, stacks.stack_of(each.ident)) for seconds, each in slow]
        # What has been seen of a thread is its request's only if it has that still.
        running = {(each.ident, each.task) for each in self._pool.running()}
        for seconds, each, stack in found:
            if (each.ident, each.task) in running:
                self._told.add(each.task)
                self._observer.request_slow(each.task.info, each.name, seconds, stack)


def _is_over(exchange: Exchange) -> bool:
    """Whether it will not be seen at work again, once it is not."""
    writer = exchange.writer
    return writer.has_ended or writer.gone

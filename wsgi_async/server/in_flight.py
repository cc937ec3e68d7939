"""The table of requests in flight, as text for an operator. On the loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator

from wsgi_async.connection.connections import Connections
from wsgi_async.connection.exchange import Exchange, ExchangeState
from wsgi_async.connection.open_connection import InFlight
from wsgi_async.logs.text import escape
from wsgi_async.system.stacks import stack_of
from wsgi_async.threads.pool import Running

__all__ = ["REPORT_EVERY", "Occasions", "describe"]

REPORT_EVERY = 10.0
"""Seconds between two reports that a signal asks for: what rotates logs may send it for each of
them."""

MOST = 200
"""Requests that are shown, the oldest ones."""

STATES = ("running", "queued", "parked", "sending", "receiving", "abandoned", "lost")
"""Where a request may stand. An abandoned one has a thread, but its client has gone; of a lost one
the thread was given up, see ``request_timeout``."""

LONGEST = 200
"""Characters of a target that are shown."""


class Occasions:
    """Says whether to do again what is wanted only so often.

    :param every: seconds between two times, at least.
    :param clock: seconds, monotonic.
    """

    def __init__(self, every: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._every = every
        self._clock = clock
        self._last = -math.inf

    def take(self) -> bool:
        """Whether it is to be done now; then it counts as done."""
        now = self._clock()
        if now - self._last < self._every:
            return False
        self._last = now
        return True


def describe(connections: Connections, now: float) -> list[str]:
    """A line with counts, then one for each request in flight, the oldest first, and beneath it,
    indented, the stack of the thread that works on it.

    A thread that goes on after its client was answered, or has gone, is shown too.

    :param now: the loop's time.
    """
    pool = connections.gateway.pool
    running = {thread.task: thread for thread in pool.running()}
    entries: list[tuple[float, str, Exchange, Running[Exchange] | None, int]] = []
    counts = dict.fromkeys(STATES, 0)
    for connection in connections.open:
        found = connection.in_flight
        if found is None:
            continue
        thread = running.pop(found.exchange, None)
        state = _state(found, thread)
        counts[state] += 1
        entries.append((found.exchange.began, state, found.exchange, thread, found.sent))
    for exchange, thread in running.items():
        state = "lost" if thread.is_lost else "abandoned"
        counts[state] += 1
        entries.append((exchange.began, state, exchange, thread, 0))
    entries.sort(key=lambda entry: entry[0])
    lines = [
        f"requests in flight: {len(entries)}"
        + "".join(f", {count} {state}" for state, count in counts.items() if count)
        + f"; threads: {pool.threads}, {pool.lost} lost"
        + f"; connections: {len(connections.open)}"
    ]
    for _, state, exchange, thread, sent in entries[:MOST]:
        lines += _lines(state, exchange, thread, sent, now)
    if len(entries) > MOST:
        lines.append(f"and {len(entries) - MOST} more")
    return lines


def _state(found: InFlight, thread: Running[Exchange] | None) -> str:
    writer = found.exchange.writer
    if found.is_receiving:
        return "receiving"
    if writer.has_ended or found.exchange.state is ExchangeState.BEGUN:
        return "sending"
    if writer.is_parked:
        return "parked"
    return "running" if thread is not None else "queued"


def _lines(
    state: str, exchange: Exchange, thread: Running[Exchange] | None, sent: int, now: float
) -> Iterator[str]:
    info = exchange.info
    place = f"{state} on {thread.name}" if thread is not None else state
    target = escape(info.target)
    if len(target) > LONGEST:
        target = target[:LONGEST] + "..."
    yield (
        f"{now - exchange.began:.1f} s, {place}: {escape(info.method)} {target} "
        f"[{escape(info.client)} {escape(info.id)}], {sent} bytes sent"
    )
    if thread is not None:
        for line in stack_of(thread.ident):
            yield "    " + line

"""The requests in flight: what there is to see of each, and the table of them as text for an
operator."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from wsgi_async.connection.connections import Connections
from wsgi_async.connection.exchange import Exchange
from wsgi_async.connection.exchange_states import ExchangeState
from wsgi_async.connection.open_connection import InFlight
from wsgi_async.logs.text import escape
from wsgi_async.system.stacks import stack_of
from wsgi_async.threads.pool import Running

__all__ = [
    "MOST",
    "REPORT_EVERY",
    "STATES",
    "Entry",
    "Occasions",
    "Table",
    "describe",
    "find",
    "stack_of_request",
    "take_table",
    "take_table_of_threads",
]

REPORT_EVERY = 10.0
"""Seconds between two reports that a signal asks for: what rotates logs may send it for each of
them."""

MOST = 200
"""Requests that are shown, the oldest ones; those that are live come behind all others, and get
what room is left: they are meant to be old, and there may be thousands."""

STATES = ("running", "queued", "live", "parked", "sending", "receiving", "abandoned", "lost")
"""Where a request may stand. A live one has an asynchronous body, which holds no thread; an
abandoned one has a thread, but its client has gone; of a lost one the thread was given up, see
``request_timeout``."""

LONGEST = 200
"""Characters of a target that are shown, or of anything else that a client sent."""

Thread = Running[Exchange]


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


class Entry(NamedTuple):
    """A request in flight. What its client sent is escaped, and has a bound."""

    exchange: Exchange
    thread: Thread | None
    """The one that works on it."""
    id: str
    age: float
    """Seconds since its head was complete."""
    state: str
    """One of :data:`STATES`."""
    method: str
    target: str
    client: str
    sent: int | None
    """Bytes of the response's body that were given to the transport; None: only the loop knows."""
    received: int
    """Bytes of its own body that are here, or were."""


class Table(NamedTuple):
    """The requests in flight at one moment."""

    entries: list[Entry]
    """The oldest first, see :data:`MOST`."""
    counts: dict[str, int]
    """How many there are in each of :data:`STATES`, those that have no entry included."""
    threads: int
    lost: int
    connections: int

    @property
    def more(self) -> int:
        """How many have no entry."""
        return sum(self.counts.values()) - len(self.entries)


class _Standing(NamedTuple):
    """Where a request stands."""

    exchange: Exchange
    state: str
    thread: Thread | None
    sent: int | None


# --- on the loop -----------------------------------------------------------------------------


def take_table(connections: Connections, now: float) -> Table:
    """*Loop:* all requests in flight. A thread that goes on after its client was answered, or has
    gone, has one too.

    :param now: the loop's time.
    """
    return _table(connections, _standings(connections), now)


def find(connections: Connections, id: str) -> tuple[Exchange, str, Thread | None] | None:
    """*Loop:* the request in flight that is shown by this id, with its state, and the thread that
    works on it; None where there is none."""
    for standing in _standings(connections):
        if _shown(standing.exchange.info.id) == id:
            return standing.exchange, standing.state, standing.thread
    return None


def describe(connections: Connections, now: float) -> list[str]:
    """*Loop:* a line with counts, then one for each request in flight, see :data:`MOST`, and
    beneath it, indented, the stack of the thread that works on it.

    :param now: the loop's time.
    """
    table = take_table(connections, now)
    lines = [
        f"requests in flight: {sum(table.counts.values())}"
        + "".join(f", {count} {state}" for state, count in table.counts.items() if count)
        + f"; threads: {table.threads}, {table.lost} lost"
        + f"; connections: {table.connections}"
    ]
    for entry in table.entries:
        lines += _lines(entry)
    if table.more:
        lines.append(f"and {table.more} more")
    return lines


def _standings(connections: Connections) -> list[_Standing]:
    running = {thread.task: thread for thread in connections.gateway.pool.running()}
    found: list[_Standing] = []
    for connection in connections.open:
        busy = connection.in_flight
        if busy is not None:
            thread = running.pop(busy.exchange, None)
            found.append(_Standing(busy.exchange, _state(busy, thread), thread, busy.sent))
    for exchange, thread in running.items():
        state = "lost" if thread.is_lost else "abandoned"
        found.append(_Standing(exchange, state, thread, 0))
    return found


def _state(found: InFlight, thread: Thread | None) -> str:
    writer = found.exchange.writer
    if found.is_receiving:
        return "receiving"
    if writer.has_ended or found.exchange.state is ExchangeState.BEGUN:
        return "sending"
    if found.exchange.live is not None:
        return "live"
    if writer.is_parked:
        return "parked"
    return "running" if thread is not None else "queued"


def _lines(entry: Entry) -> Iterator[str]:
    thread = entry.thread
    place = f"{entry.state} on {thread.name}" if thread is not None else entry.state
    yield (
        f"{entry.age:.1f} s, {place}: {entry.method} {entry.target} "
        f"[{entry.client} {entry.id}], {entry.sent} bytes sent"
    )
    for line in stack_of_request(entry) or ():
        yield "    " + line


def stack_of_request(entry: Entry) -> list[str] | None:
    """*Any thread:* what is done for a request, by its thread or in its asynchronous body, as the
    lines of a traceback, outermost call first; None where nobody does anything."""
    if entry.thread is not None:
        return stack_of(entry.thread.ident)
    live = entry.exchange.live
    return None if live is None else live.stack()


# --- without the loop ------------------------------------------------------------------------


def take_table_of_threads(connections: Connections, now: float) -> Table:
    """*Any thread,* where the loop is blocked, or over: the requests that the threads work on, or
    that wait for one. The loop alone knows of others, and of clients that have gone.

    :param now: the loop's time.
    """
    pool = connections.gateway.pool
    waiting = pool.waiting()  # first: what a thread takes in between is in both
    standings = [
        _Standing(thread.task, "lost" if thread.is_lost else "running", thread, None)
        for thread in pool.running()
    ]
    known = {standing.exchange for standing in standings}
    standings += [
        _Standing(exchange, "queued", None, None) for exchange in waiting if exchange not in known
    ]
    return _table(connections, standings, now)


# --- either ------------------------------------------------------------------------------------


def _table(connections: Connections, standings: Iterable[_Standing], now: float) -> Table:
    oldest = sorted(standings, key=_began)
    counts = dict.fromkeys(STATES, 0)
    for standing in oldest:
        counts[standing.state] += 1
    pool = connections.gateway.pool
    return Table(
        [_entry(standing, now) for standing in sorted(oldest, key=_is_live)[:MOST]],
        counts,
        pool.threads,
        pool.lost,
        len(connections.open),
    )


def _began(standing: _Standing) -> float:
    return standing.exchange.began


def _is_live(standing: _Standing) -> bool:
    return standing.state == "live"


def _entry(standing: _Standing, now: float) -> Entry:
    exchange = standing.exchange
    info, body = exchange.info, exchange.spool or exchange.body
    return Entry(
        exchange,
        standing.thread,
        _shown(info.id),
        max(0.0, now - exchange.began),
        standing.state,
        _shown(info.method),
        _shown(info.target),
        _shown(info.client),
        standing.sent,
        0 if body is None else body.size,
    )


def _shown(text: str) -> str:
    text = escape(text)
    return text if len(text) <= LONGEST else text[:LONGEST] + "..."

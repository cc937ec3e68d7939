"""The life of a response that does not cross the thread line at once: two sides, a table each.

A pipe has one of both at any time, and changes them where it holds its lock: inline, for they
change with each drain, and what strikes a thread does so where a function begins. The tests hold
each change to these tables, see ``tests/support/threadline.py``.
"""

from __future__ import annotations

import enum

__all__ = ["CONSUMER_MOVES", "ENDED", "LEFT", "PRODUCER_MOVES", "Consumer", "Producer"]


class Producer(enum.Enum):
    """The pool thread's side of a response. It is changed by that thread; PARKED by the loop. Where
    its body is asynchronous the application loop is that thread, and may end it while PARKED."""

    RUNNING = "chunks wait in memory"
    SPOOLING = "chunks go into a file, until the client has caught up"
    PARKED = "the iteration is suspended"
    FINISHED = "nothing follows, and the response is complete"
    CUT = "nothing follows, and it is not"

    __hash__ = object.__hash__  # Enum's own is Python code


class Consumer(enum.Enum):
    """The loop's side of a response."""

    READY = "the transport takes more; nobody has told the loop that there is some"
    WOKEN = "a wake is on its way"
    FULL = "the transport is above its high water; the loop comes by itself when it drains"
    READING = "an I/O thread reads a block of the file; the loop comes by itself when it has it"
    EVICTED = "it is given up, and the loop is to cut it; it may be sending a file of it still"
    GONE = "the client is gone, and the loop does nothing more with it"

    __hash__ = object.__hash__


ENDED = frozenset({Producer.FINISHED, Producer.CUT})
"""Nothing more will come from the application."""

LEFT = frozenset({Consumer.EVICTED, Consumer.GONE})
"""Nobody takes what comes now."""

PRODUCER_MOVES: dict[Producer, set[Producer]] = {
    Producer.RUNNING: {Producer.SPOOLING, Producer.PARKED, Producer.FINISHED, Producer.CUT},
    Producer.SPOOLING: {Producer.RUNNING, Producer.PARKED, Producer.FINISHED, Producer.CUT},
    Producer.PARKED: {Producer.RUNNING, Producer.FINISHED, Producer.CUT},
    Producer.FINISHED: set(),
    Producer.CUT: set(),
}

CONSUMER_MOVES: dict[Consumer, set[Consumer]] = {
    Consumer.READY: {
        Consumer.READY,
        Consumer.WOKEN,
        Consumer.FULL,
        Consumer.READING,
        *LEFT,
    },
    Consumer.WOKEN: {Consumer.READY, Consumer.FULL, Consumer.READING, *LEFT},
    Consumer.FULL: {Consumer.READY, Consumer.FULL, *LEFT},
    Consumer.READING: {Consumer.READY, *LEFT},
    Consumer.EVICTED: {Consumer.GONE},
    Consumer.GONE: {Consumer.GONE},
}

"""What is told to statsd, line by line, and how many lines are a datagram. No I/O.

Names and types are gunicorn's (``gunicorn.*``), so that its dashboards stay as they are, and a few
of our own (``wsgi_async.*``). A line is made of our own words and of numbers, of what an operator
has written in the options, and of what the application has measured under a name of its own, which
is cleaned: no text of a client's is ever in one.
"""

from __future__ import annotations

import enum
import math
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

__all__ = ["LARGEST", "METRICS", "Kind", "Lines", "Metric", "pack", "taken_value"]

LARGEST = 1400
"""Bytes of a datagram, at most: with its headers it goes through an Ethernet (1,500) and most
tunnels in one piece."""

LONGEST_NAME = 200
"""Characters of a name that the application has given, at most."""

_NO_PART_OF_A_NAME = re.compile(r"[^!-9;-?A-{}~]")  # a line's own marks are : | @
_NUMBER = re.compile(r"[+-]?[0-9]{1,18}(?:\.[0-9]{1,18})?")


class Kind(enum.Enum):
    """What statsd makes of the values of a name, by its mark in a line."""

    COUNTER = "c|@1.0"  # of one in one, as gunicorn says it
    GAUGE = "g"
    HISTOGRAM = "h"
    TIMER = "ms"


class Metric(NamedTuple):
    """A name, and what its values say."""

    name: str
    kind: Kind
    help: str


REQUESTS = "gunicorn.requests"
DURATION = "gunicorn.request.duration"
STATUS = "gunicorn.request.status."
LOG = "gunicorn.log."
WORKERS = "gunicorn.workers"
QUEUE = "wsgi_async.request.queue"
BUSY = "wsgi_async.threads.busy."
LIVE = "wsgi_async.live."

METRICS: tuple[Metric, ...] = (
    Metric(REQUESTS, Kind.COUNTER, "requests answered, given up or refused"),
    Metric(
        DURATION,
        Kind.TIMER,
        "from the complete head to the end of the response, or to the first chunk of an "
        "asynchronous body; nothing of requests that were refused before they reached the "
        "application",
    ),
    Metric(f"{STATUS}NNN", Kind.COUNTER, "those of each status; 499 where the client left"),
    *(
        Metric(f"{LOG}{level}", Kind.COUNTER, what)
        for level, what in (
            ("critical", "records of the logger `wsgi_async`, in the parent too"),
            ("error", "likewise, without a traceback"),
            ("exception", "likewise, errors with a traceback"),
            ("warning", "likewise"),
        )
    ),
    Metric(WORKERS, Kind.GAUGE, "processes that accept connections"),
    Metric(QUEUE, Kind.TIMER, "from the complete body until a thread takes it"),
    Metric(
        f"{BUSY}N",
        Kind.GAUGE,
        "threads that run the application in the process at place N, from 0: statsd adds no gauges "
        "of one name up",
    ),
    Metric(f"{LIVE}N", Kind.GAUGE, "asynchronous bodies there, which hold no thread"),
)
"""All that the server tells of itself; an application may have measured more."""


class Lines:
    """Makes lines, of one prefix and with the same tags.

    :param prefix: what the names begin with; a dot follows it. "" for none.
    :param tags: as Datadog has them, separated by commas. "" for none.
    """

    def __init__(self, prefix: str, tags: str) -> None:
        prefix = prefix.rstrip(".")
        self._before = f"{prefix}." if prefix else ""
        self._after = f"|#{tags}" if tags else ""

    def make(self, name: str, value: object, kind: Kind) -> bytes:
        """The line of one value."""
        line = f"{self._before}{name}:{value}|{kind.value}{self._after}"
        return line.encode("ascii", "replace")

    def make_timers(self, name: str, seconds: Iterable[float]) -> list[bytes]:
        """The lines of many times, to the microsecond."""
        before, after = f"{self._before}{name}:".encode(), f"|ms{self._after}".encode()
        return [b"%b%.3f%b" % (before, 1000.0 * value, after) for value in seconds]

    def make_measured(self, name: str, value: object, kind: Kind) -> bytes | None:
        """The line of a value that the application has measured; None where it is no number."""
        taken = taken_value(value)
        if taken is None or not name:
            return None
        return self.make(_NO_PART_OF_A_NAME.sub("_", name[:LONGEST_NAME]), taken, kind)


def taken_value(value: object) -> int | float | str | None:
    """A value of the application's as it may stand in a line: a finite number, or a text of one,
    such as the ``+1`` of a gauge that is changed. None for anything else."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int | float):
        return value if math.isfinite(value) and abs(value) < 1e18 else None
    return value if isinstance(value, str) and _NUMBER.fullmatch(value) else None


def pack(lines: Iterable[bytes], largest: int = LARGEST) -> Iterator[bytes]:
    """Datagrams of as many lines as fit in one. A line that is longer is one by itself.

    :param largest: bytes of a datagram.
    """
    gathered: list[bytes] = []
    size = 0
    for line in lines:
        if gathered and size + len(line) > largest:
            yield b"\n".join(gathered)
            gathered, size = [], 0
        gathered.append(line)
        size += len(line) + 1
    if gathered:
        yield b"\n".join(gathered)

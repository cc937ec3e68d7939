"""Who watches the dashboard: a bounded number of event streams, each a pool thread that waits.

There are so many places. Who finds none is told so, and asks now and then instead; but where
somebody has had one for long, he gives way, so that who holds on to his and never reads keeps it
from the others for a while only. A stream whose client does not take what it is sent is suspended,
and holds no thread; the server drops it soon.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

__all__ = ["LEASE", "VIEWERS", "Feed", "Places", "Viewer"]

VIEWERS = 16
"""Event streams at once."""

LEASE = 30.0
"""Seconds for which nobody has to give way."""

SILENCE = 5.0
"""Seconds after which a stream says that it is there, though there is nothing new."""

RETRY = 500
"""Milliseconds after which a browser connects again."""


class Feed:
    """That there is something new. *Any thread.*"""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.number = 0
        """How often there was something new."""
        self.is_over = False

    def publish(self) -> None:
        """There is something new."""
        with self._changed:
            self.number += 1
            self._changed.notify_all()

    def close(self) -> None:
        """There will be nothing any more. Harmless if repeated."""
        with self._changed:
            self.is_over = True
            self._changed.notify_all()

    def wait(self, seen: int, patience: float) -> int:
        """The number of what is new, once that is not `seen`, or time is up, or all is over."""
        with self._changed:
            self._changed.wait_for(lambda: self.is_over or self.number != seen, patience)
            return self.number


class Viewer(Iterator[bytes]):
    """One event stream, as what a WSGI application returns. One thread at a time.

    :param feed: what it waits for.
    :param make: makes the data of an event, on one line.
    :param gone: called when it has ended, once or more.
    """

    def __init__(
        self, feed: Feed, make: Callable[[], bytes], gone: Callable[[Viewer], object], since: float
    ) -> None:
        self.since = since
        """When it took its place, in seconds of the clock of :class:`Places`."""
        self.is_to_leave = False
        """Whether somebody else has its place."""
        self._feed = feed
        self._make = make
        self._gone = gone
        self._seen = -1

    def __next__(self) -> bytes:
        is_first = self._seen < 0
        number = self._feed.wait(self._seen, SILENCE)
        if self._feed.is_over or self.is_to_leave:
            raise StopIteration
        if number == self._seen:
            return b": nothing new\n\n"
        self._seen = number
        event = b"event: state\ndata: %b\n\n" % self._make()
        return b"retry: %d\n\n%b" % (RETRY, event) if is_first else event

    def close(self) -> None:
        """It has ended, in whatever way."""
        self._gone(self)


class Places:
    """Those who watch. *Any thread.*

    :param feed: what they wait for.
    :param make: makes the data of an event.
    :param most: at once.
    :param clock: seconds, monotonic.
    """

    def __init__(
        self,
        feed: Feed,
        make: Callable[[], bytes],
        most: int = VIEWERS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._feed = feed
        self._make = make
        self._most = most
        self._clock = clock
        self._lock = threading.Lock()
        self._taken: list[Viewer] = []  # the oldest first

    def __len__(self) -> int:
        return len(self._taken)

    def take(self) -> Viewer | None:
        """A place, or None: all are taken, and nobody has to give way."""
        now = self._clock()
        with self._lock:
            if len(self._taken) >= self._most:
                oldest = self._taken[0]
                if now - oldest.since < LEASE:
                    return None
                oldest.is_to_leave = True
                self._taken.remove(oldest)
            viewer = Viewer(self._feed, self._make, self._leave, now)
            self._taken.append(viewer)
        return viewer

    def dismiss(self) -> None:
        """All are to leave; who still wants to watch comes again."""
        with self._lock:
            for viewer in self._taken:
                viewer.is_to_leave = True
            self._taken.clear()

    def _leave(self, viewer: Viewer) -> None:
        with self._lock:
            if viewer in self._taken:
                self._taken.remove(viewer)

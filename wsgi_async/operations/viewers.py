"""Who watches the dashboard: a bounded number of event streams, none of which holds a thread.

They are asynchronous bodies: all of them wait on the application loop of this process, which starts
with the first, and are woken there by whoever has something new.

There are so many places. Who finds none is told so, and asks now and then instead; but where
somebody has had one for long, he gives way, so that who holds on to his and never reads keeps it
from the others for a while only. A stream whose client does not take what it is sent is suspended;
the server drops it soon.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable

__all__ = ["LEASE", "VIEWERS", "Feed", "Places", "Viewer", "prepare"]

VIEWERS = 64
"""Event streams at once: a screen for each of a large team. One costs no thread, but a connection
and some kilobytes, and is sent the state each second: who watches is to take little of a machine
whose processors are the application's."""

LEASE = 30.0
"""Seconds for which nobody has to give way."""

SILENCE = 5.0
"""Seconds after which a stream says that it is there, though there is nothing new."""

RETRY = 500
"""Milliseconds after which a browser connects again."""


def prepare() -> None:
    """Import what event streams need, and nobody else who has this module: later it may be too
    late, as another user."""
    from wsgi_async.realtime import bodies, live, sse  # noqa: F401


class Feed:
    """That there is something new. *Any thread,* but for what says otherwise."""

    def __init__(self) -> None:
        self.number = 0
        """How often there was something new."""
        self.is_over = False
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiters: set[asyncio.Future[None]] = set()  # the application loop's

    def publish(self) -> None:
        """There is something new."""
        with self._lock:
            self.number += 1
        self.wake()

    def close(self) -> None:
        """There will be nothing any more. Harmless if repeated."""
        self.is_over = True
        self.wake()

    def wake(self) -> None:
        """Who waits looks again."""
        loop = self._loop  # of the last who began to wait; he looks once more after that
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # it has ended, and nobody waits
                loop.call_soon_threadsafe(self._wake_all)

    async def wait(self, seen: int, patience: float, *, has_changed: Callable[[], bool]) -> int:
        """*Application loop:* the number of what is new, once that is not `seen`, or time is up, or
        all is over.

        :param has_changed: whether there is another reason to wait no longer.
        """
        loop = self._loop = asyncio.get_running_loop()
        until = loop.time() + patience
        while not (self.is_over or self.number != seen or has_changed()):
            waiter = loop.create_future()
            self._waiters.add(waiter)
            timer = loop.call_at(until, _wake, waiter)
            try:
                await waiter
            finally:
                timer.cancel()
                self._waiters.discard(waiter)
            if loop.time() >= until:
                break
        return self.number

    def _wake_all(self) -> None:
        """*Application loop.*"""
        for waiter in self._waiters:
            _wake(waiter)


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


class Viewer:
    """One event stream, for ``live()``.

    :param places: where it has one.
    """

    def __init__(self, places: Places, since: float) -> None:
        self.since = since
        """When it took its place, in seconds of the clock of :class:`Places`."""
        self.is_to_leave = False
        """Whether somebody else has its place."""
        self._places = places

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._events()

    async def _events(self) -> AsyncIterator[bytes]:
        from wsgi_async.realtime import sse

        feed, is_over = self._places.feed, self._is_over
        opening, seen = sse.event(retry=RETRY), -1
        while True:
            number = await feed.wait(seen, SILENCE, has_changed=is_over)
            if is_over():
                break
            if number != seen:
                seen = number
                yield opening + self._places.event()
                opening = b""
            else:
                yield sse.comment("nothing new")
        # A server that stops may have told it of a longer time meanwhile: this is the last word,
        # for the end follows without an await.
        yield sse.event(retry=RETRY)

    def close(self) -> None:
        """*Any thread:* it has ended, in whatever way. Harmless if repeated."""
        self._places.leave(self)

    def _is_over(self) -> bool:
        return self.is_to_leave or self._places.feed.is_over


class Places:
    """Those who watch. *Any thread,* but for what says otherwise.

    :param feed: what they wait for.
    :param make: makes the data of an event, on one line.
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
        self.feed = feed
        self._make = make
        self._most = most
        self._clock = clock
        self._lock = threading.Lock()
        self._taken: list[Viewer] = []  # the oldest first
        self._data = self._event = b""

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
                self._dismiss(oldest)
                self.feed.wake()
            viewer = Viewer(self, now)
            self._taken.append(viewer)
        return viewer

    def leave(self, viewer: Viewer) -> None:
        """A viewer has ended. Harmless if repeated."""
        with self._lock:
            if viewer in self._taken:
                self._taken.remove(viewer)

    def dismiss(self) -> None:
        """All are to leave; who still wants to watch comes again."""
        with self._lock:
            for viewer in list(self._taken):
                self._dismiss(viewer)
        self.feed.wake()

    def _dismiss(self, viewer: Viewer) -> None:
        viewer.is_to_leave = True
        self._taken.remove(viewer)

    def event(self) -> bytes:
        """*Application loop:* the newest event. Made once for all who are sent it."""
        from wsgi_async.realtime import sse

        data = self._make()
        if data is not self._data:
            self._data, self._event = data, sse.event(data.decode(), event="state")
        return self._event

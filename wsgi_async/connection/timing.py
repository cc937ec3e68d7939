"""Exchanges that tell more of themselves than the plain one: when they start, and where their time
goes. They cost more, so they are made only where a subscriber wants that: :func:`exchange_for`.

=========================== ====================================================================
`request_started`           one call, on the loop, once the request is queued
`wants_timings`             the loop notes when it came, was queued and ended; its thread, when it
                            took it, suspended it and was through, and its own processor time
                            then and whenever it has news for the loop
=========================== ====================================================================

The processor time is noted with the news because the loop may be through with the response before
the thread is: it has no other way to learn it.
"""

from __future__ import annotations

import functools
import threading
import time
from typing import Any, cast

from wsgi_async.events import Observer, ResponseInfo, hears
from wsgi_async.http.request import RequestHead
from wsgi_async.http.response import ResponseHead
from wsgi_async.threads import Mailbox, Posted, ResponseWriter

from .exchange import Exchange, ExchangeConnection, ExchangeState, Gateway
from .telling import EnvironExchange, FieldsExchange

__all__ = ["StartedExchange", "TimedExchange", "exchange_for"]


class Stopwatch:
    """What one exchange has taken so far, in seconds. Its thread writes it, the loop reads it.

    To the exchange's writer it is the mailbox.

    :param mailbox: what is posted goes there.
    """

    __slots__ = (
        "_cpu_before",
        "_cpu_from",
        "_ident",
        "_mailbox",
        "cpu",
        "taken_at",
        "thread",
        "work",
    )

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox
        self._ident = 0
        self._cpu_before = self._cpu_from = 0.0
        self.cpu = 0.0
        """Processor time, up to the last news."""
        self.taken_at: float | None = None
        """When a thread took it first."""
        self.thread: str | None = None
        """The name of that thread."""
        self.work: tuple[float, float | None] = (0.0, None)
        """What the stretches that are over took, and since when a thread is at another one. One
        value, so that the loop never sees half of a change."""

    def start(self) -> None:
        """*Pool thread:* it begins, or goes on."""
        self._ident = threading.get_ident()
        self._cpu_before = self.cpu
        self._cpu_from = time.thread_time()
        now = time.monotonic()
        if self.taken_at is None:
            self.thread = threading.current_thread().name
            self.taken_at = now
        self.work = (self.work[0], now)

    def stop(self) -> None:
        """*Pool thread:* it is suspended, or through. Nothing, where it was that before."""
        before, since = self.work
        if since is not None:
            self._note_cpu()
            self.work = (before + time.monotonic() - since, None)

    def post(self, item: Posted) -> None:
        """*Any thread:* see :meth:`Mailbox.post`."""
        self._note_cpu()
        self._mailbox.post(item)

    def _note_cpu(self) -> None:
        # What a thread has left undone, another one may end, which has a clock of its own.
        if threading.get_ident() == self._ident:
            self.cpu = self._cpu_before + time.thread_time() - self._cpu_from


class TimedExchange(Exchange):
    """Measures the parts of its time."""

    __slots__ = ("_came_at", "_collected", "_queued_at", "_watch")

    def __init__(
        self, gateway: Gateway, connection: ExchangeConnection, head: RequestHead, began: float
    ) -> None:
        super().__init__(gateway, connection, head, began)
        # Not the loop's time, which goes by the millisecond, and stands still while it works.
        self._came_at = self._queued_at = time.monotonic()
        self._collected = (0, False)  # bytes of a body, and whether they are in a file
        self._watch = watch = Stopwatch(gateway.mailbox)
        self.writer = ResponseWriter(gateway.bounds, cast("Mailbox", watch), self)

    def submit(self) -> bool:
        """See there."""
        self._queued_at = time.monotonic()
        spool = self.spool
        if spool is not None:  # who withdraws it from the queue drops this
            self._collected = spool.size, spool.is_on_disk
        return super().submit()

    def run(self) -> None:
        """See there."""
        self._watch.start()
        super().run()

    def _park(self) -> bool:
        # Before it is published: from then on the next thread may have it.
        self._watch.stop()
        if super()._park():
            return True
        self._watch.start()
        return False

    def _clean_up(self) -> None:
        super()._clean_up()
        self._watch.stop()

    def ended(self, status: int, body_size: int, complete: bool, now: float) -> ResponseInfo:
        """See there. The parts add up to the duration."""
        info = super().ended(status, body_size, complete, now)._replace(**self._facts())
        end = time.monotonic()
        duration = end - self._came_at
        if self.state is ExchangeState.ANSWERED:
            return info._replace(duration=duration)
        upload = self._queued_at - self._came_at
        watch = self._watch
        if watch.taken_at is None:
            queue = end - self._queued_at
            return info._replace(duration=duration, upload=upload, queue=queue)
        queue = watch.taken_at - self._queued_at
        app, since = watch.work
        if since is not None:
            app += max(0.0, end - since)
        is_told = since is None or self.writer.has_ended
        return info._replace(
            duration=duration,
            upload=upload,
            queue=queue,
            app=app,
            cpu=watch.cpu if is_told else None,
            send=max(0.0, duration - upload - queue - app),
        )

    def _facts(self) -> dict[str, Any]:
        """*Loop:* what else a :class:`ResponseInfo` has where somebody asks."""
        received, was_spooled = self._collected
        if self.body is not None:
            received = self.body.size
        pipe = self.writer.pipe
        return {
            "received": received,
            "thread": self._watch.thread,
            "was_spooled": was_spooled or (pipe is not None and pipe.was_spooled),
            "was_parked": self.turn > 0,
            "is_given_up": self.state is ExchangeState.GIVEN_UP,
        }


class StartedExchange(Exchange):
    """Tells that it has started."""

    __slots__ = ()

    def submit(self) -> bool:
        """See there."""
        is_queued = super().submit()
        if is_queued:
            self._tell_start()
        return is_queued

    def answer(self, head: ResponseHead, body: bytes) -> None:
        """See there."""
        super().answer(head, body)
        self._tell_start()

    def _tell_start(self) -> None:
        self._gateway.observer.request_started(self.info)


@functools.cache
def _joined(kinds: tuple[type[Exchange], ...]) -> type[Exchange]:
    """One that is all of these: a class of its own for each combination that is asked for."""
    name = "".join(kind.__name__.removesuffix("Exchange") for kind in kinds)
    return type(f"{name}Exchange", kinds, {"__slots__": ()})


def exchange_for(observer: Observer) -> type[Exchange]:
    """The kind of exchange that tells this observer what it wants to know, and no more."""
    hears_of_ends = bool(observer.wants_requests)
    wanted = {
        StartedExchange: hears(observer, "request_started"),
        FieldsExchange: hears_of_ends and observer.wants_fields,
        EnvironExchange: hears_of_ends and observer.wants_environ,
        TimedExchange: hears_of_ends and observer.wants_timings,
    }
    kinds = tuple(kind for kind, is_wanted in wanted.items() if is_wanted)
    if len(kinds) > 1:
        return _joined(kinds)
    return kinds[0] if kinds else Exchange

"""Exchanges that tell more of themselves than the plain one: when they start, and where their time
goes. They cost more, so they are made only where somebody wants that: see :mod:`.kinds`.

=========================== ====================================================================
`request_started`           one call, on the loop, once the request is queued
`wants_timings`             the loop notes when it came, was queued and ended; its thread, when it
                            took it, suspended it and was through, and its own processor time
                            then and whenever it has news for the loop; the application finds what
                            is known so far in its environ
=========================== ====================================================================

The processor time is noted with the news because the loop may be through with the response before
the thread is: it has no other way to learn it.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from wsgi_async.events import ResponseInfo
from wsgi_async.http.request import RequestHead
from wsgi_async.http.response import ResponseHead
from wsgi_async.threads import Mailbox

from .exchange import Exchange
from .exchange_states import ExchangeState
from .gateway import ExchangeConnection, Gateway

__all__ = ["TIMES", "RequestTimes", "StartedExchange", "TimedExchange"]

TIMES = "wsgi_async.times"
"""Where the application finds its :class:`RequestTimes`."""


class Stopwatch:
    """What one exchange has taken so far, in seconds. The loop makes it; then its thread writes it,
    and anybody reads it.

    To the exchange's writer it is the mailbox: see :class:`.Posting`.

    :param mailbox: what is posted goes there.
    """

    __slots__ = (
        "_cpu_before",
        "_cpu_from",
        "_ident",
        "_mailbox",
        "came_at",
        "cpu",
        "first",
        "is_live",
        "queued_at",
        "taken_at",
        "thread",
        "work",
    )

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox
        # Not the loop's time, which goes by the millisecond, and stands still while it works.
        self.came_at = self.queued_at = time.monotonic()
        """When its head was complete, and when it was queued for a thread."""
        self._ident = 0
        self._cpu_before = self._cpu_from = 0.0
        self.cpu = 0.0
        """Processor time, up to the last news."""
        self.first: float | None = None
        """How long a thread had had it when it handed over the first chunk, or how long ago one had
        taken it."""
        self.is_live = False
        """Whether its body is asynchronous."""
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
        now = time.monotonic()
        self._cpu_from = time.thread_time()  # within the other: it never seems to take more
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

    def post(self, item: Exchange) -> None:
        """*Any thread:* see :meth:`Mailbox.post`."""
        if threading.get_ident() == self._ident:  # as below, without a call
            self.cpu = self._cpu_before + time.thread_time() - self._cpu_from
        if self.first is None and self.taken_at is not None:
            writer = item.writer
            pipe = writer.pipe
            # Neither what goes before a response, nor its end alone.
            if writer.whole is not None or (pipe is not None and pipe.head is not None):
                self.first = time.monotonic() - self.taken_at
        self._mailbox.post(item)

    def _note_cpu(self) -> None:
        # What a thread has left undone, another one may end, which has a clock of its own.
        if threading.get_ident() == self._ident:
            self.cpu = self._cpu_before + time.thread_time() - self._cpu_from

    # --- any thread ------------------------------------------------------------------------------

    def now(self) -> float:
        """*Any thread:* the time that this goes by."""
        return time.monotonic()

    def worked(self, until: float) -> float:
        """*Any thread:* for how long threads have been at work on it."""
        before, since = self.work
        return before if since is None else before + max(0.0, until - since)

    def measure_cpu(self) -> float:
        """*Any thread:* its processor time: of the thread that asks, if that is at work on it, up
        to now, else up to the last news."""
        if self.work[1] is not None:
            self._note_cpu()
        return self.cpu


class RequestTimes:
    """Where the time of a request has gone so far, in seconds: ``environ["wsgi_async.times"]``.

    It is measured when it is asked for. *Any thread* may; it can be kept, and tells the whole once
    the request is over.
    """

    __slots__ = ("_watch",)

    def __init__(self, watch: Stopwatch) -> None:
        self._watch = watch

    @property
    def upload(self) -> float:
        """From the complete head to the complete body; nothing where that is read as it arrives."""
        return self._watch.queued_at - self._watch.came_at

    @property
    def queue(self) -> float:
        """From then on, waiting for a thread."""
        watch = self._watch
        taken_at = watch.taken_at
        return (watch.now() if taken_at is None else taken_at) - watch.queued_at

    @property
    def app(self) -> float:
        """In the application: time in which the iteration was suspended is not in it."""
        return self._watch.worked(self._watch.now())

    @property
    def first(self) -> float | None:
        """Of that, until the first chunk was handed over; None before."""
        return self._watch.first

    @property
    def cpu(self) -> float:
        """Of `app`, what its thread took of a processor. Asked in another thread: up to what the
        application last handed over."""
        return self._watch.measure_cpu()

    def __repr__(self) -> str:
        cpu = self.cpu  # before what it is a part of
        parts = (("upload", self.upload), ("queue", self.queue), ("app", self.app), ("cpu", cpu))
        return f"<{', '.join(f'{name} {part * 1000:.1f} ms' for name, part in parts)}>"


class TimedExchange(Exchange):
    """Measures the parts of its time."""

    __slots__ = ("_collected", "_watch", "times")

    def __init__(
        self,
        gateway: Gateway[Exchange],
        connection: ExchangeConnection[Exchange],
        head: RequestHead,
        began: float,
    ) -> None:
        super().__init__(gateway, connection, head, began)
        self._collected = (0, False)  # bytes of a body, and whether they are in a file
        self._watch = watch = Stopwatch(gateway.mailbox)
        mailbox: Any = watch
        self.writer.wake_by(mailbox)
        self.times = RequestTimes(watch)
        """What the application may know of it."""
        self.variables = {TIMES: self.times}

    def submit(self) -> bool:
        """See there."""
        self._watch.queued_at = time.monotonic()
        spool = self.spool
        if spool is not None:  # who withdraws it from the queue drops this
            self._collected = spool.size, spool.is_on_disk
        return super().submit()

    # Of these there is one other kind only, and super() makes an object for each call.

    def run(self) -> None:
        """See there."""
        self._watch.start()
        Exchange.run(self)

    def _park(self) -> bool:
        # Before it is published: from then on the next thread may have it.
        self._watch.stop()
        if super()._park():
            return True
        self._watch.start()
        return False

    def _hand_over(self) -> bool:
        watch = self._watch
        watch.stop()  # likewise
        watch.is_live = True
        if super()._hand_over():
            return True
        watch.is_live = False
        watch.start()
        return False

    def _clean_up(self) -> None:
        Exchange._clean_up(self)
        self._watch.stop()

    def ended(self, status: int, body_size: int, complete: bool, now: float) -> ResponseInfo:
        """See there. The parts add up to the duration."""
        watch, state, body, pipe = self._watch, self.state, self.body, self.writer.pipe
        end = time.monotonic()
        duration = end - watch.came_at
        upload = queue = app = cpu = send = None
        if state is not ExchangeState.ANSWERED:
            queued_at, taken_at = watch.queued_at, watch.taken_at
            upload = queued_at - watch.came_at
            if taken_at is None:
                queue = end - queued_at
            else:
                queue = taken_at - queued_at
                app = watch.worked(end)
                if watch.work[1] is None or self.writer.has_ended:
                    cpu = watch.cpu
                send = max(0.0, duration - upload - queue - app)
        received, was_spooled = self._collected
        # All at once: each _replace() of so long a tuple costs what counting the request does.
        return ResponseInfo(
            status,
            body_size,
            duration,
            complete,
            self.is_logged,
            upload,
            queue,
            app,
            cpu,
            send,
            received if body is None else body.size,
            watch.thread,
            was_spooled or (pipe is not None and pipe.was_spooled),
            pipe is not None and pipe.parks > 0,
            state is ExchangeState.GIVEN_UP,
            watch.first,
            watch.is_live,
        )


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

"""Metrics for statsd: gunicorn's, under its names, and a few of our own; by UDP or a unix socket.

:class:`Statsd` is the way there, and takes what is logged (``logs/measures.py``) wherever that is;
:class:`StatsdObserver` counts the requests of a serving process. A request costs two additions to
lists: what they come to is sent in as few datagrams as hold it, ten times a second at most, and
counters as sums. Nobody waits for statsd, and nobody fails with it: what it does not take is lost,
counted, and said once.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping

from wsgi_async.config.statsd_options import statsd_address
from wsgi_async.events import Observer, RequestInfo, ResponseInfo
from wsgi_async.logs.observer import LogObserver
from wsgi_async.server.repeating import Repeating
from wsgi_async.server.server import Server
from wsgi_async.system.datagrams import DatagramSocket, Target, has_name, look_up
from wsgi_async.system.forks import Holding

from .statsd_lines import (
    BUSY,
    DURATION,
    LIVE,
    LOG,
    QUEUE,
    REQUESTS,
    STATUS,
    WORKERS,
    Kind,
    Lines,
    pack,
)

__all__ = ["Statsd", "StatsdObserver"]

FLUSH_EVERY = 0.1
"""Seconds from a request to its datagram, at most."""

MANY = 100
"""Requests that are sent sooner: the few datagrams that they make are no burst that is lost."""

SAMPLE_EVERY = 1.0
"""Seconds between two gauges. They are told again though they have not changed: a datagram may be
lost, and statsd begin anew."""

LOOK_UP_EVERY = 60.0
"""Seconds after which a name is looked up again."""

MOST_WAITING = 1000
"""Lines of log records that wait for the loop, at most."""


def _alone(is_over: bool) -> int | None:
    return 0 if is_over else 1


class Statsd:
    """The way to a statsd.

    :param address: see :func:`~wsgi_async.config.statsd_options.statsd_address`.
    :param prefix: what the names begin with; a dot follows it.
    :param tags: Datadog's, separated by commas.
    :param warn: told once that it cannot be found, and once that it takes nothing. *Any thread.*
        None: the log.
    :raises ConfigError: what is given as `address` is none.

    An address without a name is in use at once, and one with a name after :meth:`look_up` and
    :meth:`adopt`.
    """

    def __init__(
        self,
        address: str,
        *,
        prefix: str = "",
        tags: str = "",
        warn: Callable[[str], object] | None = None,
    ) -> None:
        self.lines = Lines(prefix, tags)
        self.lost = 0
        """Datagrams that it has not taken, and lines for which there was no room."""
        self._address = statsd_address(address)
        self._warn = warn or LogObserver().warning
        self._has_name = has_name(self._address)
        self._found: Target | None = None
        self._target: Target | None = None
        self._socket: DatagramSocket | None = None
        self._told: dict[str, object] = {}
        self._waiting: deque[bytes] | None = None
        self._is_disowned = False
        if not self._has_name:
            self.look_up()
            self.adopt()

    @property
    def is_to_be_looked_up(self) -> bool:
        """Whether :meth:`look_up` may find something else than before."""
        return self._has_name or self._found is None

    @property
    def is_found(self) -> bool:
        """Whether it is known where it is."""
        return self._found is not None

    def look_up(self) -> None:
        """*Any thread but a loop's:* find out where it is, which may take a while. A place that was
        found before stays where nothing is found."""
        try:
            self._found = look_up(self._address)
        except OSError as error:
            self._tell("found", f"cannot be found: {error.strerror}; it is looked for again")

    def adopt(self) -> None:
        """*Who sends:* send to where it was found last."""
        found, former = self._found, self._socket
        if found is None:
            return
        if former is not None and found == self._target and former.is_own:
            return
        try:
            self._socket = DatagramSocket(found)
        except OSError as error:  # no descriptor, perhaps: the next time may do
            self._tell("reached", f"cannot be reached: {error.strerror}")
            return
        self._target = found
        if former is not None:
            former.close()

    def close(self) -> None:
        """*Who sends, as the last thing:* let the socket go. Harmless if repeated."""
        former, self._socket = self._socket, None
        if former is not None:
            former.close()

    def send(self, lines: Iterable[bytes]) -> None:
        """*Any thread:* send them now, without waiting."""
        if self._is_disowned:
            return
        for datagram in pack(lines):
            sender = self._socket
            if sender is None or not sender.is_own:
                self.lost += 1
                continue
            failure = sender.send(datagram)
            if failure is not None:
                self.lost += 1
                what = failure.strerror or type(failure).__name__
                self._tell("taken", f"does not take all: {what}; what it does not take is lost")

    def attach(
        self,
        server: Server,
        *,
        place: int = 0,
        workers: Callable[[bool], int | None] = _alone,
    ) -> None:
        """Tell of this server, which is not started yet; see :class:`StatsdObserver`."""

        def gauges() -> dict[str, int]:
            figures = server.figures()
            if figures is None:
                return dict.fromkeys((BUSY, LIVE), 0)
            busy, loop = figures.vitals.busy, figures.vitals.application_loop
            return {BUSY: busy, LIVE: 0 if loop is None else loop.live}

        server.subscribe(StatsdObserver(self, gauges=gauges, place=place, workers=workers))

    def logged(self, level: str) -> None:
        """*Any thread:* see :class:`~wsgi_async.logs.measures.Measures`."""
        self._put(self.lines.make(LOG + level, 1, Kind.COUNTER))

    def measured(self, name: str, value: object, kind: str) -> None:
        """*Any thread:* likewise. What is no number is left out, as is a kind that is none."""
        known = _KINDS.get(kind)
        if known is not None:
            line = self.lines.make_measured(name, value, known)
            if line is not None:
                self._put(line)

    def gather(self, *, is_on: bool) -> None:
        """*Loop:* whether what is logged waits for :meth:`take`, instead of being sent at once."""
        lines = self.take()
        self._waiting = deque() if is_on else None
        self.send(lines)

    def take(self) -> list[bytes]:
        """*Loop:* the lines that wait."""
        waiting = self._waiting
        lines: list[bytes] = []
        while waiting:
            lines.append(waiting.popleft())  # others may add at the other end meanwhile
        return lines

    def hold(self) -> Holding:
        """Let no process that the application forks send anything."""
        return Holding(
            files=lambda: [self._socket] if self._socket is not None else [],
            in_child=self._disown,
        )

    def _disown(self) -> None:
        self._is_disowned = True

    def _put(self, line: bytes) -> None:
        waiting = self._waiting
        if waiting is None:
            self.send([line])
        elif len(waiting) < MOST_WAITING:  # or a few more: that many threads may have looked
            waiting.append(line)
        else:
            self.lost += 1

    def _tell(self, about: str, what: str) -> None:
        mine = object()  # one call on one dict is atomic, without the GIL too
        if self._told.setdefault(about, mine) is mine:
            self._warn(f"--statsd-host: {self._address.text} {what}")


_KINDS = {
    "counter": Kind.COUNTER,
    "gauge": Kind.GAUGE,
    "histogram": Kind.HISTOGRAM,
    "timer": Kind.TIMER,
}


class StatsdObserver(Observer):
    """Tells statsd of one process that serves.

    :param statsd: the way there.
    :param gauges: how full the process is, by the beginnings of names; asked on the loop. None:
        that is not told.
    :param place: which place of the fleet the process has, from 0.
    :param workers: how many processes serve, where it is this one's to tell; else None. It is given
        whether this one has stopped. Without it this process is the only one.
    """

    wants_timings = True

    def __init__(
        self,
        statsd: Statsd,
        *,
        gauges: Callable[[], Mapping[str, int]] | None = None,
        place: int = 0,
        workers: Callable[[bool], int | None] = _alone,
    ) -> None:
        self._statsd = statsd
        self._gauges = gauges
        self._place = place
        self._workers = workers
        self._statuses: dict[int, int] = {}
        self._durations: list[float] = []
        self._queues: list[float] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._samples: Repeating | None = None
        self._holding: Holding | None = None
        self._thread: threading.Thread | None = None
        self._look_up_at = 0.0

    def started(
        self,
        addresses: tuple[str, ...],
        threads: int,
        loop: str,
        parser: str,
        processes: int = 1,
    ) -> None:
        self._loop = running = asyncio.get_running_loop()
        self._statsd.lost = 0
        self._statsd.gather(is_on=True)
        self._holding = self._statsd.hold()
        if self._statsd.is_found:
            self._look_up_at = running.time() + LOOK_UP_EVERY
        self._samples = Repeating(running, SAMPLE_EVERY, self._sample, self._own_error)
        self._samples.start()

    def stopped(self, stuck_threads: int) -> None:
        if self._samples is not None:
            self._samples.stop()
        if self._timer is not None:
            self._timer.cancel()
        self._loop = self._timer = None
        self._send_all(is_over=True)
        self._statsd.gather(is_on=False)
        if lost := self._statsd.lost:
            LogObserver().info(f"--statsd-host: datagrams that were lost: {lost}")
        if self._holding is not None:
            self._holding.release()

    def request_finished(self, request: RequestInfo, response: ResponseInfo) -> None:
        self._durations.append(response.latency)
        if response.queue is not None:
            self._queues.append(response.queue)
        self._count(response.status)

    def request_refused(
        self,
        client: str,
        status: int,
        detail: str,
        request: RequestInfo | None = None,
        *,
        is_running: bool = False,
    ) -> None:
        if not is_running:
            self._count(status)

    def _count(self, status: int) -> None:
        statuses = self._statuses
        statuses[status] = statuses.get(status, 0) + 1
        if len(self._durations) >= MANY:
            self._flush()
        elif self._timer is None and self._loop is not None:
            self._timer = self._loop.call_later(FLUSH_EVERY, self._flush_in_time)

    def _flush_in_time(self) -> None:
        self._timer = None
        self._flush()

    def _flush(self) -> None:
        self._statsd.send(self._take())

    def _take(self) -> list[bytes]:
        """The lines of what there is since the last time."""
        lines = self._statsd.take()
        statuses, self._statuses = self._statuses, {}
        durations, self._durations = self._durations, []
        queues, self._queues = self._queues, []
        make, make_timers = self._statsd.lines.make, self._statsd.lines.make_timers
        if statuses:
            lines.append(make(REQUESTS, sum(statuses.values()), Kind.COUNTER))
            lines += [make(f"{STATUS}{each}", n, Kind.COUNTER) for each, n in statuses.items()]
        return lines + make_timers(DURATION, durations) + make_timers(QUEUE, queues)

    def _sample(self) -> None:
        """Once a second."""
        self._look_up_rarely()
        self._statsd.adopt()
        self._send_all(is_over=False)

    def _send_all(self, *, is_over: bool) -> None:
        lines, make = self._take(), self._statsd.lines.make
        if self._gauges is not None:
            lines += [
                make(f"{name}{self._place}", 0 if is_over else value, Kind.GAUGE)
                for name, value in self._gauges().items()
            ]
        workers = self._workers(is_over)
        if workers is not None:
            lines.append(make(WORKERS, workers, Kind.GAUGE))
        self._statsd.send(lines)

    def _look_up_rarely(self) -> None:
        """By a thread: a resolver that does not answer takes half a minute to say so."""
        assert self._loop is not None
        now = self._loop.time()
        if now < self._look_up_at or not self._statsd.is_to_be_looked_up:
            return
        if self._thread is not None and self._thread.is_alive():
            return
        self._look_up_at = now + LOOK_UP_EVERY
        self._thread = threading.Thread(
            target=self._statsd.look_up, name="wsgi_async-statsd", daemon=True
        )
        with contextlib.suppress(RuntimeError):  # no thread to be had: the next time
            self._thread.start()

    def _own_error(self, error: BaseException) -> None:
        with contextlib.suppress(Exception):
            LogObserver().error("an error inside the server", error)

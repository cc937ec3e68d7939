"""What a serving process does between its boot and its end, under a supervisor."""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import signal
import time
from collections.abc import Callable, Sequence

from wsgi_async.config.options import Config
from wsgi_async.errors import EXIT_FAILED
from wsgi_async.events import Observer
from wsgi_async.logs.setup import error_descriptor
from wsgi_async.processes import Channel, Restart, end_with_parent
from wsgi_async.server.connection_counts import OwnCount
from wsgi_async.server.figures import SAMPLE_EVERY, Figures
from wsgi_async.server.repeating import Repeating
from wsgi_async.server.server import Server
from wsgi_async.server.stopping import IDLE_LINGER, Stop, obey
from wsgi_async.system.forks import Holding, take_signal
from wsgi_async.system.sockets import BoundSocket
from wsgi_async.tls.current import ContextSource
from wsgi_async.wsgi.types import Application

from .ending import LAST, end_within

__all__ = ["serve_under_supervisor"]

CHECK = 0.25
"""Seconds between two looks at whether this process is to be replaced."""

BEAT = 1.0
"""Seconds between two signs of life, at most."""


async def serve_under_supervisor(
    application: Application,
    config: Config,
    observers: Sequence[Observer],
    sockets: Sequence[BoundSocket],
    own_count: OwnCount | None,
    channel: Channel,
    *,
    reopen_logs: Callable[[], object],
    linger: float = IDLE_LINGER,
    context_source: ContextSource | None = None,
    sample: Callable[[Figures | None], object] | None = None,
    prepare: Callable[[Server], object] = lambda server: None,
) -> int:
    """Serve on inherited sockets until the supervisor tells this process to end, or dies.

    Signals that come from elsewhere are not obeyed: a terminal sends them to the whole group.
    SIGTERM to this process alone asks the supervisor to replace it, SIGUSR1 is a report of it.

    :param observers: told what happens, in this order.
    :param linger: seconds for which idle connections are kept once a successor accepts.
    :param context_source: what the parent hands down for TLS.
    :param sample: told about once a second how full the server is.
    :param prepare: is given the server before its start.
    :returns: the number of threads that never returned from the application.
    :raises ConfigError: an option that does not fit this machine.
    :raises LoadError: the application did not answer its warm-up.
    """
    first, *others = observers
    server = Server(application, config=config, observer=first, observers=others)
    server.is_supervised = True
    server.context_source = context_source
    prepare(server)
    child = _Child(server, config, channel, reopen_logs, linger, sample)
    try:
        await server.start(sockets, own_count, child.get_permission, lambda: channel.say("deaf"))
    except _NotWantedError:
        return 0
    return await child.run()


class _NotWantedError(Exception):
    """Before this process was ready, it was told to end."""


class _Child:
    """A server that shows that it lives, and obeys."""

    def __init__(
        self,
        server: Server,
        config: Config,
        channel: Channel,
        reopen_logs: Callable[[], object],
        linger: float,
        sample: Callable[[Figures | None], object] | None,
    ) -> None:
        self._server = server
        self._config = config
        self._channel = channel
        self._reopen_logs = reopen_logs
        self._linger = linger
        self._stops: asyncio.Queue[Stop] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._beat_every = min(BEAT, config.timeout / 4) if config.timeout else BEAT
        self._beat_at = 0.0
        self._told: dict[Stop, float] = {}  # when for the first time
        every = min(CHECK, self._beat_every)
        # Where even this one dies, the beats end, and the supervisor replaces the process.
        self._checks = Repeating(self._loop, every, self._check, self._own_error)
        self._samples: Repeating | None = None
        if sample is not None:
            self._samples = Repeating(
                self._loop, SAMPLE_EVERY, lambda: sample(server.figures()), self._own_error
            )
        self._permission: asyncio.Future[bool] = self._loop.create_future()
        self._asked = False
        self._warm_up = 0  # requests
        self._signals: dict[signal.Signals, Callable[[], object]] = {
            signal.SIGTERM: lambda: self._ask(Restart.SIGNAL, "it got SIGTERM"),
            signal.SIGUSR1: self._report,
        }
        # Processes that began together should not all be replaced together.
        self._last_request = config.max_requests + random.randint(0, config.max_requests_jitter)
        lifetime = config.worker_lifetime * random.uniform(1.0, 1.1)
        self._ends_at = time.monotonic() + lifetime

    async def get_permission(self) -> None:
        """Say that this process could accept, and wait until it may.

        Until then SIGTERM ends it at once, as nobody waits for its answer; from then on it does
        not, as somebody may.
        """
        self._loop.add_reader(self._channel.fileno(), self._hear)
        self._channel.say("ready", self._server.loop_name)
        if not await self._permission:
            self._loop.remove_reader(self._channel.fileno())
            raise _NotWantedError
        end_with_parent(ends=False)
        for number in self._signals:
            take_signal(number, self._note)

    def _note(self, number: int, frame: object) -> None:
        """A signal has come. Not the loop's own way, by which a loop that closes has the next one
        end the process: one that comes then would make a bad end of a good one."""
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._signals[signal.Signals(number)])

    async def run(self) -> int:
        """Until told to end. The server is started."""
        self._warm_up = self._server.requests
        self._checks.start()
        if self._samples is not None:
            self._samples.start()
        try:
            delay = self._config.drain_delay
            stuck = await obey(self._server, self._stops, drain_delay=delay, linger=self._linger)
            self._see_to_the_end(stuck)
            return stuck
        finally:
            self._checks.stop()
            if self._samples is not None:
                self._samples.stop()
            self._loop.remove_reader(self._channel.fileno())
            # It is about to end, and well. Python gives up all handlers before it has ended: of a
            # signal that is only handled as if it were ignored, like a second Ctrl-C, it would die.
            for number in (*self._signals, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
                take_signal(number, signal.SIG_IGN)

    def _see_to_the_end(self, stuck: int) -> None:
        """The server has stopped: what is left in this process gets the rest of the grace.

        The supervisor is told meanwhile that this process lives, though its loop does not.
        """
        channel = self._channel.duplicate()
        Holding(files=lambda: [channel])

        def pulse() -> bool:
            channel.say("beat")
            return any(word == Stop.NOW.value for word, _ in channel.listen())

        end_within(
            max(LAST, self._grace_ends_at() - time.monotonic()),
            EXIT_FAILED if stuck else 0,
            self._server.observer.error,
            pulse=pulse,
            every=min(CHECK, self._beat_every),
            fading=lambda: channel.say("fading"),
            descriptor=error_descriptor(),
        )

    def _grace_ends_at(self) -> float:
        config, told = self._config, self._told
        if Stop.NOW in told or (not config.graceful_timeout and not self._channel.is_open):
            return 0.0  # nobody is left to ask for more
        if not config.graceful_timeout:
            return math.inf
        delay = config.drain_delay if Stop.DRAIN in told else 0.0
        return min(told.values()) + delay + config.graceful_timeout

    def _stop(self, stop: Stop) -> None:
        self._told.setdefault(stop, time.monotonic())
        self._stops.put_nowait(stop)

    def _hear(self) -> None:
        for word, _ in self._channel.listen():
            if word == "report":
                self._report()
            elif word == "renew":
                self._server.renew_certificates()
            elif word == "serve":
                self._permit(True)
            else:
                self._permit(False)
                self._stop(Stop(word))
        if not self._channel.is_open:
            self._loop.remove_reader(self._channel.fileno())
            self._server.observer.error("The supervisor has gone: this process ends")
            self._permit(False)
            self._stop(Stop.DRAIN)

    def _permit(self, may_serve: bool) -> None:
        if not self._permission.done():
            self._permission.set_result(may_serve)

    def _report(self) -> None:
        try:
            self._reopen_logs()
            self._server.report_in_flight()
        except Exception as error:  # the words that follow are obeyed all the same
            self._own_error(error)

    def _own_error(self, error: BaseException) -> None:
        with contextlib.suppress(Exception):
            self._server.observer.error("an error inside the server", error)

    def _check(self) -> None:
        """Show that the loop runs, and look at whether this process is to be replaced."""
        self._server.tend()
        if self._samples is not None:
            self._samples.tend()
        now = time.monotonic()
        if now >= self._beat_at:
            self._beat_at = now + self._beat_every * 0.9
            if self._server.is_stalled:
                self._channel.say("stalled")
            else:
                self._channel.say("beat")
        server, config = self._server, self._config
        answered = server.requests - self._warm_up
        if config.max_requests and answered >= self._last_request:
            self._ask(Restart.MAX_REQUESTS, f"it has answered {answered} requests")
        elif config.worker_lifetime and now >= self._ends_at:
            self._ask(Restart.LIFETIME, f"it is older than {config.worker_lifetime:g} s")
        elif server.lost_threads >= config.threads:
            lost = server.lost_threads
            why = f"{lost} of its threads do not return from the application"
            self._ask(Restart.THREADS_LOST, why)

    def _ask(self, reason: Restart, why: str) -> None:
        if not self._asked:
            self._asked = True
            self._channel.say("recycle", f"{reason.value} {why}")

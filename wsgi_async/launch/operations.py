"""The operations process: what shows how the server is, to whoever scrapes and probes it.

It is no serving process: it has neither the application nor a socket of it, so that what a scraper
does costs no client anything, and the death of either disturbs nobody. Its own sockets are the
parent's, which never accepts there: they outlive it, a reload, and each of its successors.

Imported where ``--metrics-bind`` is set only.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from functools import partial
from signal import SIG_IGN, SIGTERM

from wsgi_async._imports import StandardFirst
from wsgi_async.config.metrics_address import metrics_address
from wsgi_async.config.options import Config
from wsgi_async.errors import EXIT_FAILED, ConfigError
from wsgi_async.logs import setup as logs
from wsgi_async.logs.observer import LogObserver
from wsgi_async.operations.answers import METRICS, Answers
from wsgi_async.operations.application import HEALTHY, SCRAPES, OperationsApplication
from wsgi_async.operations.asking import Asking
from wsgi_async.operations.counting import CountingObserver, begin
from wsgi_async.operations.exchange import Answering, Exchange
from wsgi_async.operations.exposition import expose, require_prometheus_client
from wsgi_async.processes import Census, Channel, FleetState, end_with_parent
from wsgi_async.scoreboard import table
from wsgi_async.scoreboard.board import Area, Scoreboard
from wsgi_async.server.descriptors import plan_descriptors
from wsgi_async.server.event_loop import new_event_loop
from wsgi_async.server.figures import SAMPLE_EVERY
from wsgi_async.server.in_flight import Occasions
from wsgi_async.server.insight import Insight
from wsgi_async.server.repeating import Repeating
from wsgi_async.server.server import Server
from wsgi_async.system.forks import take_signal
from wsgi_async.system.sockets import address_of, bind, close_all, hold, listen
from wsgi_async.system.usage import open_files, resident_memory
from wsgi_async.system.user import Identity

__all__ = ["Operations", "check_operations", "put_census"]

CONNECTIONS = 64
"""At once, where there are descriptors for so many."""

BACKLOG = 64
"""Connections that wait, as at a restart of the process."""

LINGER = 1.0
"""Seconds for connections that are idle when another process is to follow: somebody may be about to
send a request."""

NICENESS = 5
"""So much less of a busy processor has it than those that serve, by setpriority(2): about a
third."""

BEAT = 5.0
"""Seconds between two signs of life."""


def _options(spool_dir: str) -> Config:
    """How it serves: small bounds, for nobody needs more."""
    possible = plan_descriptors(os.sysconf("SC_OPEN_MAX"), max_connections=0).connections
    return Config(
        threads=SCRAPES + 2,
        queue_size=64,
        queue_timeout=10.0,
        max_connections=min(CONNECTIONS, possible),
        header_timeout=5.0,
        body_timeout=5.0,
        send_timeout=10.0,
        backlog=BACKLOG,
        max_body_size=1,
        max_header_size=16384,
        response_overflow="park",
        spool_dir=spool_dir,
        graceful_timeout=1.5,
        forwarded_allow_ips=(),
        server_header=False,
        health_path=HEALTHY,
    )


def check_operations(config: Config) -> None:
    """For ``--check-config``.

    :raises ConfigError: prometheus-client is not installed.
    """
    require_prometheus_client()
    metrics_address(config.metrics_bind)


class Operations:
    """*In the parent:* what the operations process is given, made before any process is forked.

    :param config: its options.
    :raises ConfigError: the address cannot be had, or prometheus-client is not installed.
    """

    def __init__(self, config: Config) -> None:
        check_operations(config)
        with StandardFirst():  # it is installed
            from wsgi_async.operations.app_metrics import ApplicationMetrics
        address = metrics_address(config.metrics_bind)
        self.sockets = bind([address], socket_mode=config.socket_mode, flag="--metrics-bind")
        try:
            for sock in self.sockets:
                listen(sock, BACKLOG)
            self.application = ApplicationMetrics(config.metrics_collector)
            """The application's own metrics."""
            self._exchange = _exchange()
        except ConfigError:
            close_all(self.sockets)
            raise
        self._holding = hold(self.sockets)
        self._options = partial(_options, config.spool_dir)
        self.board = Scoreboard()
        """What all processes count in."""
        begin(self.board.parent)
        self._samples = Occasions(SAMPLE_EVERY)

    # --- in the parent -----------------------------------------------------------------------

    @property
    def announcement(self) -> str:
        """Where it is found, for the log."""
        addresses = ", ".join(map(address_of, self.sockets))
        return f"Metrics and probes of the server are served on {addresses}"

    def take_census(self, census: Census) -> None:
        """*In the parent:* its fleet has changed, perhaps."""
        put_census(self.board, census)
        if self._samples.take():  # each sign of life brings a census
            _sample(self.board.parent)

    def gone(self, number: int) -> None:
        """*In the parent:* a serving process has ended."""
        self.board.ended(number)

    def close(self) -> None:
        """Stop listening, and remove a socket file, where it is this process's. Harmless if
        repeated."""
        self._stop_listening()
        self.application.close()
        self._exchange.close()

    def _stop_listening(self) -> None:
        close_all(self.sockets)
        self._holding.release()

    # --- in serving processes ----------------------------------------------------------------

    def leave(self) -> None:
        """*In a serving process, or a loader:* its sockets are none of this one's."""
        for sock in self.sockets:
            sock.disown_file()
        self._stop_listening()

    def observer(self, number: int, warn: Callable[[str], object]) -> CountingObserver:
        """*In a serving process:* what counts for it.

        :param number: the process's.
        :param warn: told where there is no room for it.
        """
        return CountingObserver(self.board.area(number, warn))

    def answer(self, number: int, insight: Callable[[], Insight | None]) -> None:
        """*In a serving process:* answer the operations process from now on, in threads.

        :param number: the process's.
        :param insight: its server's; None before that has begun.
        """
        answers = {**Answers(number, insight).table, METRICS: self.application.answer}
        Answering(self._exchange, number, answers).start()

    # --- in its own process ------------------------------------------------------------------

    def run(self, identity: Identity | None, channel: Channel) -> int:
        """*In a process of its own:* serve until the parent has closed the channel, or is gone.

        :param identity: as whom to serve, if not as this one.
        """
        end_with_parent()
        for sock in self.sockets:
            sock.disown_file()
        try:
            os.nice(NICENESS)
            with StandardFirst():  # what it imports late, from where others may not read, perhaps
                expose(self.board, "")
            if identity is not None:
                identity.assume()
                end_with_parent()
            logs.write_by_thread()
            with asyncio.Runner(loop_factory=new_event_loop) as runner:
                runner.run(self._serve(channel))
        except ConfigError as error:
            LogObserver().report(str(error))
            return EXIT_FAILED
        except Exception as error:
            LogObserver().error("an error inside the operations process", error)
            return EXIT_FAILED
        finally:
            channel.close()
            logs.flush()
        return 0

    async def _serve(self, channel: Channel) -> None:
        log = _Log()
        asking = Asking(self._exchange.desk)
        collector = self.application.collector(asking, log.warning)
        application = OperationsApplication(self.board, collector)
        server = Server(application, config=self._options(), observer=log)
        loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        linger: asyncio.Future[float] = loop.create_future()

        def hear() -> None:
            words = {word for word, _ in channel.listen()}
            if "report" in words:
                logs.reopen()
            if not channel.is_open:
                loop.remove_reader(channel.fileno())
            is_followed = "retire" in words
            if not linger.done() and (is_followed or not channel.is_open):
                # Who has connected already is answered by this one, while another one follows.
                linger.set_result(LINGER if is_followed else 0.0)

        def own_error(error: BaseException) -> None:
            log.error("an error inside the operations process", error)

        area = self.board.operations
        begin(area)
        await server.start(self.sockets)
        loop.add_reader(channel.fileno(), hear)
        # A terminal, or systemd, sends signals to each process of the server, and the drain is to
        # be watched until its end: the parent says when this one is over.
        take_signal(SIGTERM, SIG_IGN)
        end_with_parent(ends=False)
        works = (
            Repeating(loop, BEAT, lambda: channel.say("beat"), own_error),
            Repeating(loop, SAMPLE_EVERY, partial(_sample, area), own_error),
        )
        for work in works:
            work.start()
        seconds = await linger
        for work in works:
            work.stop()
        await server.stop(linger=seconds)
        asking.close()


def _exchange() -> Exchange:
    try:
        return Exchange()
    except OSError as error:
        raise ConfigError(
            f"no sockets for questions to the processes that serve: {error.strerror}"
        ) from None


def put_census(board: Scoreboard, census: Census) -> None:
    """*In the parent:* put its own words on the board."""
    area = board.parent
    area.set(table.WANTED, census.wanted)
    area.set(table.READY, census.ready)
    for state in FleetState:
        area.set(table.FLEET, census.state is state, state.name.lower())
    for restart, count in census.restarts.items():
        area.ints[area.index(table.RESTARTS, restart.value)] = count
    for asker, count in census.reloads.items():
        area.ints[area.index(table.RELOADS, asker.value)] = count
    area.ints[area.index(table.RELOADS_FAILED)] = census.failed_reloads
    area.ints[area.index(table.OPERATIONS_RESTARTS)] = census.operations_restarts


class _Log(LogObserver):
    """The log of the server around the metrics, which is not the one that the log is about."""

    def __init__(self) -> None:
        super().__init__(announces=False)

    def stopping(self, in_flight: int) -> None:
        pass

    def stopped(self, stuck_threads: int) -> None:
        pass


def _sample(area: Area) -> None:
    """Of a process that serves no application."""
    area.set(table.MEMORY, resident_memory())
    area.set(table.FILES, open_files())

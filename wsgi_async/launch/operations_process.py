"""The operations process itself: a server for each surface, in one loop, until the parent says that
it is over."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Mapping, Sequence
from functools import partial
from signal import SIG_IGN, SIGTERM
from typing import Any

from wsgi_async._imports import StandardFirst
from wsgi_async.config.options import Config
from wsgi_async.config.surfaces import Surface
from wsgi_async.errors import EXIT_FAILED, ConfigError
from wsgi_async.events import RequestInfo
from wsgi_async.logs import setup as logs
from wsgi_async.logs.observer import LogObserver
from wsgi_async.operations import viewers
from wsgi_async.operations.asking import Asking
from wsgi_async.operations.counting import begin
from wsgi_async.operations.exposition import expose
from wsgi_async.operations.state import Facts
from wsgi_async.processes import Channel, end_with_parent
from wsgi_async.scoreboard import table
from wsgi_async.scoreboard.board import Area
from wsgi_async.server.figures import SAMPLE_EVERY
from wsgi_async.server.repeating import Repeating
from wsgi_async.server.server import Server
from wsgi_async.system.event_loop import new_event_loop
from wsgi_async.system.forks import take_signal
from wsgi_async.system.sockets import BoundSocket
from wsgi_async.system.usage import open_files, resident_memory
from wsgi_async.system.user import Identity

from .descriptors import raise_descriptor_limit
from .handed import Handed
from .surfaces import LOOK_EVERY, SURFACES, Given, Served, server_options

__all__ = ["OperationsProcess", "sample"]

LINGER = 1.0
"""Seconds for connections that are idle when another process is to follow: somebody may be about to
send a request."""

NICENESS = 5
"""So much less of a busy processor has it than those that serve, by setpriority(2): about a
third."""

BEAT = 5.0
"""Seconds between two signs of life."""


class OperationsProcess:
    """*In a process of its own.*

    :param config: the options in force.
    :param listeners: the sockets of each surface, which listen.
    :param handed: what the parent has handed down.
    :param facts: what does not change.
    :param options: the options as they are shown.
    :param starter: as whom the server was started: a uid.
    """

    def __init__(
        self,
        config: Config,
        listeners: Mapping[Surface, Sequence[BoundSocket]],
        handed: Handed,
        *,
        facts: Facts,
        options: Mapping[str, Any],
        starter: int,
    ) -> None:
        self._config = config
        self._listeners = listeners
        self._handed = handed
        self._facts = facts
        self._options = options
        self._starter = starter

    def run(self, identity: Identity | None, channel: Channel) -> int:
        """Serve until the parent has closed the channel, or is gone.

        :param identity: as whom to serve, if not as this one.
        """
        end_with_parent()
        for sockets in self._listeners.values():
            for sock in sockets:
                sock.disown_file()
        try:
            os.nice(NICENESS)
            raise_descriptor_limit()
            if Surface.METRICS in self._listeners:
                with StandardFirst():  # what it imports late, from where others may not read
                    expose(self._handed.board, "")
            if Surface.DASHBOARD in self._listeners:
                with StandardFirst():
                    viewers.prepare()
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
        loop = asyncio.get_running_loop()
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

        area = self._handed.board.operations
        begin(area)
        self._handed.log_level.follow()
        telling, asking = _Telling(channel), Asking(self._handed.exchange.desk)
        served, servers = self._make(telling, asking, log)
        for surface, server in servers.items():
            await server.start(self._listeners[surface])
        loop.add_reader(channel.fileno(), hear)
        # A terminal, or systemd, sends signals to each process of the server, and the drain is to
        # be watched until its end: the parent says when this one is over.
        take_signal(SIGTERM, SIG_IGN)
        end_with_parent(ends=False)
        works = (
            Repeating(loop, BEAT, lambda: channel.say("beat"), log.own_error),
            Repeating(loop, SAMPLE_EVERY, partial(sample, area), log.own_error),
            *(Repeating(loop, LOOK_EVERY, each.look, log.own_error) for each in served),
        )
        for work in works:
            work.start()
        seconds = await linger
        for work in works:
            work.stop()
        for each in served:
            each.retire()
        await asyncio.gather(*(server.stop(linger=seconds) for server in servers.values()))
        for each in served:
            each.close()
        telling.close()
        asking.close()

    def _make(
        self, telling: _Telling, asking: Asking, log: _Log
    ) -> tuple[list[Served], dict[Surface, Server]]:
        given = Given(
            self._config,
            self._handed,
            self._facts,
            self._options,
            self._starter,
            asking,
            say=telling.say,
            note=log.info,
            warn=log.warning,
            own_error=log.own_error,
            listeners=self._listeners,
        )
        all_served, servers = [], {}
        for surface in self._listeners:
            served = SURFACES[surface].make(given)
            all_served.append(served)
            options = server_options(surface, len(self._listeners), self._config.spool_dir)
            servers[surface] = Server(served.application, config=options, observer=log)
        return all_served, servers


class _Telling:
    """The way to the parent, for threads.

    :param channel: the loop's.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel.duplicate()
        self._lock = threading.Lock()

    def say(self, word: str, detail: str) -> bool:
        """Whether it could be said. *Any thread.*"""
        with self._lock:
            return self._channel.say(word, detail)

    def close(self) -> None:
        """*Any thread:* nothing is said any more."""
        with self._lock:
            self._channel.close()


class _Log(LogObserver):
    """The log of the servers around what is shown, which are not the one that the log is about."""

    def __init__(self) -> None:
        super().__init__(announces=False)

    def own_error(self, error: BaseException) -> None:
        """*Any thread:* something here has failed."""
        self.error("an error inside the operations process", error)

    # A query may have the token of the dashboard in it.

    def app_error(
        self, request: RequestInfo, message: str, error: BaseException | None = None
    ) -> None:
        super().app_error(_without_query(request), message, error)

    def app_warning(self, request: RequestInfo, message: str) -> None:
        super().app_warning(_without_query(request), message)

    def request_refused(
        self,
        client: str,
        status: int,
        detail: str,
        request: RequestInfo | None = None,
        *,
        is_running: bool = False,
    ) -> None:
        if request is not None:
            request = _without_query(request)
        super().request_refused(client, status, detail, request, is_running=is_running)

    def stopping(self, in_flight: int) -> None:
        pass

    def stopped(self, stuck_threads: int) -> None:
        pass


def _without_query(request: RequestInfo) -> RequestInfo:
    return request._replace(target=request.target.partition("?")[0])


def sample(area: Area) -> None:
    """Note how much a process has that serves no application."""
    area.set(table.MEMORY, resident_memory())
    area.set(table.FILES, open_files())

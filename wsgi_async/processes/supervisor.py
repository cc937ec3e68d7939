"""The parent: forks processes, hears them, reaps them, and obeys signals.

It never imports the application and runs no event loop and no thread, so nothing that the
application does can stop it. What is to be done is decided by :class:`~.fleet.Fleet`; here it is
done. Signal handlers only note the signal.

With `preload` there is one process more: a *loader* imports the application once and forks those
that serve, which the kernel then gives to the supervisor (they are orphans, and it is their
subreaper), so that it reaps all of them itself.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import selectors
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial

from wsgi_async.errors import EXIT_NOT_LOADED, ConfigError
from wsgi_async.events import Observer
from wsgi_async.system import forks
from wsgi_async.system.systemd import Notifier

from . import jobs
from .actions import Close, Interrupted, Kill, Note, Spawn, Tell
from .attendants import Attendant, Attendants, Duty
from .channel import Channel
from .fleet import Fleet
from .forking import Forked, become_subreaper, fork_with_channel, verdict
from .interfaces import Boot, BootFailed, Parent, Program
from .loader import Loader
from .orders import Orders
from .process import Process, ProcessState
from .signals import SIGNALS
from .states import Asker, FleetState, Reload, Restart

__all__ = ["Supervisor"]

LONGEST_WAIT = 3600.0
"""Seconds: epoll_wait(2) takes no more than 24 days."""

OVERSLEPT = 1.0
"""Seconds after the time to wake up from which on this process must have been stopped."""


class Supervisor:
    """Runs a fleet of processes.

    :param program: what to serve.
    :param parent: see there.
    :param observer: told what happens.
    :param notifier: told the state.
    """

    def __init__(
        self, program: Program, parent: Parent, observer: Observer, notifier: Notifier
    ) -> None:
        self._programs = {1: program}
        self._configured = program.processes
        self._fleet = Fleet(program.processes, program.limits, hasty=parent.watch is not None)
        self._wanted = program.processes
        self._parent = parent
        self._observer = observer
        self._notifier = notifier
        self._channels: dict[Process, Channel] = {}
        self._loaders: dict[int, Loader] = {}
        self._signals: deque[int] = deque()
        self._selector = selectors.DefaultSelector()
        self._report = self._loop_name = ""
        self._inherits_orphans = False
        works = {Duty.WATCHING: parent.watch, Duty.OPERATING: parent.operate}
        self._attendants = Attendants(works, observer, self._selector, self._leave)
        self._told = (self._fleet.state, self._fleet.last_reload)
        self._watchdog_at = self._look_at = math.inf
        self._holding: forks.Holding | None = None
        self._orders = Orders(self._fleet, partial(self._reload, Asker.CONTROL), observer)

    def run(self) -> int:
        """Serve until all is over. Returns the exit code; also, each with its own, in processes
        that were forked meanwhile.

        :raises BootFailed: the first processes could not start, and said why.
        """
        job: Callable[[], int] = self._supervise
        while True:
            try:
                return job()
            except Forked as forked:
                job = forked.job

    # --- the loop ----------------------------------------------------------------------------

    def _supervise(self) -> int:
        """The parent's part."""
        self._inherits_orphans = os.getpid() == 1  # as in a container
        self._prepare(self._programs[1])
        self._holding = holding = forks.Holding(files=self._files)
        wake, wakes = socket.socketpair()
        wake.setblocking(False)
        wakes.setblocking(False)
        self._selector.register(wake, selectors.EVENT_READ)
        before = {number: signal.getsignal(number) for number in (*SIGNALS, signal.SIGCHLD)}
        for number in before:
            forks.take_signal(number, lambda number, _: self._signals.append(number))
        old_wakeup = signal.set_wakeup_fd(wakes.fileno(), warn_on_full_buffer=False)
        if self._notifier.watchdog_interval is not None:
            self._watchdog_at = time.monotonic()
        try:
            self._attendants.begin()
            self._look()
            self._fleet.start(time.monotonic())
            while True:
                self._act()
                if self._fleet.exit_code is not None:
                    break
                self._wait(wake)
        finally:
            # In a process that was forked off in between the signals are as they must be already,
            # and the loaders are not its own.
            if not isinstance(sys.exception(), Forked):
                # Before the signals: one more of them is no reason to leave anybody behind.
                self._end_loaders()
                self._attendants.end()
                signal.set_wakeup_fd(old_wakeup)
                for number, handler in before.items():
                    forks.drop_signal(number)
                    signal.signal(number, signal.SIG_DFL if handler is None else handler)
                holding.release()
            self._selector.close()
            wake.close()
            wakes.close()
        if self._report:
            raise BootFailed(self._fleet.exit_code, self._report)
        return self._fleet.exit_code

    def _wait(self, wake: socket.socket) -> None:
        """Wait for the next event, and tell the fleet of it."""
        fleet = self._fleet
        began = time.monotonic()
        own = min(self._watchdog_at, self._look_at, self._attendants.next_time())
        until = min(max(began, fleet.next_time()), own, began + LONGEST_WAIT)
        ready = self._selector.select(max(0.0, until - began))
        if time.monotonic() - until >= OVERSLEPT:
            fleet.overslept(time.monotonic())
            self._attendants.overslept(time.monotonic())
        with contextlib.suppress(BlockingIOError):
            wake.recv(4096)
        for key, _ in ready:
            if isinstance(key.data, Process):
                self._hear(key.data)
            elif isinstance(key.data, int):
                self._hear_loader(key.data)
            elif isinstance(key.data, Attendant):
                self._hear_attendant(key.data)
        while self._signals:
            self._obey(self._signals.popleft())
        now = time.monotonic()
        if self._watchdog_at <= now:
            self._notifier.watchdog()
            self._watchdog_at = now + (self._notifier.watchdog_interval or math.inf)
        if self._look_at <= now:
            self._look()
        self._attendants.tick(now)
        fleet.tick(now)

    def _look(self) -> None:
        """Have the programs look for what is new to their processes, and these take it."""
        programs = self._programs.values()
        self._look_at = time.monotonic() + min(program.look_every for program in programs)
        are_to_renew = [program.look() for program in programs]
        if any(are_to_renew):
            for channel in self._channels.values():
                channel.say("renew")

    def _hear(self, process: Process) -> None:
        """What a process says."""
        channel = self._channels.get(process)
        if channel is None:
            return
        fleet, now = self._fleet, time.monotonic()
        for word, detail in channel.listen():
            process.heard_at = now
            if word == "hello" and detail.isascii() and detail.isdigit():
                process.pid = int(detail)
                if process.state is ProcessState.DOOMED:  # since before its number was known
                    self._kill(process, signal.SIGTERM)
            elif word == "ready":
                self._loop_name = detail
                fleet.ready(process, now)
            elif word == "beat":
                fleet.beat(process, now)
            elif word == "stalled":
                fleet.stalled(process)
            elif word == "deaf":
                fleet.deaf(process, now)
            elif word == "fading":
                fleet.fading(process)
            elif word == "recycle":
                reason, _, why = detail.partition(" ")
                fleet.recycle(process, why, now, Restart.of(reason))
            elif word == "failed":
                self._report = self._report or detail
        if not channel.is_open:
            self._unwatch(channel)
            if not process.pid:  # it died before it could say who it is
                self._bury(process, "it ended at once", EXIT_NOT_LOADED)

    def _hear_attendant(self, attendant: Attendant) -> None:
        words = self._attendants.hear(attendant)
        if attendant.duty is Duty.OPERATING:
            self._orders.obey(words, time.monotonic())
            return
        changes = [detail for word, detail in words if word == "changed"]
        if changes:
            self._observer.info(f"Changed: {changes[-1]}")
            self._reload(Asker.FILES)

    def _obey(self, number: int) -> None:
        """What an operator says, or the kernel of a child."""
        fleet, now = self._fleet, time.monotonic()
        if number == signal.SIGCHLD:
            self._reap()
        elif number == signal.SIGTERM:
            fleet.drain(now)
        elif number == signal.SIGINT:
            fleet.interrupt(now)
        elif number == signal.SIGQUIT:
            fleet.stop_now(now)
        elif number == signal.SIGHUP:
            self._reload()
        elif number == signal.SIGUSR1:
            self._parent.reopen_logs()
            fleet.report()
            self._attendants.tell("report")
        elif number == signal.SIGTTIN:
            fleet.change_wanted(1, now)
        elif number == signal.SIGTTOU:
            fleet.change_wanted(-1, now)
        else:
            self._observer.warning("SIGUSR2 does nothing: SIGHUP reloads the application")

    def _reload(self, asker: Asker = Asker.SIGNAL) -> None:
        fleet = self._fleet
        if fleet.is_stopping:
            return
        try:
            program = self._parent.reconfigure()
        except ConfigError as error:
            self._observer.error(f"Not reloaded: {error}")
            fleet.not_reloaded(asker)
            if fleet.state is FleetState.UP and fleet.last_reload is not Reload.UNDER_WAY:
                # systemctl waits for an answer.
                self._notifier.reloading()
                self._notifier.ready(f"{fleet.wanted} processes; the last reload has failed")
            return
        if program.processes != self._configured:  # else what SIGTTIN and SIGTTOU made it remains
            fleet.wanted = self._configured = program.processes
        fleet.limits = program.limits
        self._attendants.renew()
        fleet.reload(time.monotonic(), asker)
        self._programs[fleet.generation] = program
        self._look()
        self._prepare(program)

    def _reap(self) -> None:
        """Bury those that have ended."""
        for pid, status in self._ended():
            how, code = verdict(status)
            for attendant in self._attendants:
                if attendant.pid == pid:
                    self._hear_attendant(attendant)  # its last words: an order, perhaps
            self._attendants.buried(pid, how, is_stopping=self._fleet.is_stopping)
            for process in list(self._fleet.processes):
                if not process.pid:  # it may have said who it was since its channel was looked at
                    self._hear(process)
            for generation, loader in list(self._loaders.items()):
                if loader.pid == pid:
                    self._bury_loader(generation, how, code)
            for process in list(self._fleet.processes):
                if process.pid == pid:
                    self._hear(process)  # its last words
                    self._bury(process, how, code)

    def _ended(self) -> Iterator[tuple[int, int]]:
        """Children that have ended, and their statuses; also those that were inherited, where this
        process inherits any. Else others may be waited for by the program that started them."""
        children = (*self._fleet.processes, *self._attendants)
        known = [child.pid for child in children if child.pid]
        for pid in itertools.repeat(-1) if self._inherits_orphans else known:
            try:
                ended, status = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                if pid == -1:
                    return
                # Somebody else in this program has waited for it.
                ended, status = pid, EXIT_NOT_LOADED << 8
            if ended:
                yield ended, status
            elif pid == -1:
                return

    def _bury(self, process: Process, how: str, code: int) -> None:
        channel = self._channels.pop(process, None)
        if channel is not None:
            self._unwatch(channel)
            channel.close()
        self._parent.gone(process.number, process.pid)
        self._fleet.exited(process, "" if self._report else how, code, time.monotonic())
        if self._report and not self._fleet.is_stopping:
            # Others of the first have started, so this is no end.
            for line in self._report.splitlines():
                self._observer.error(line)
            self._report = ""

    # --- doing what was decided ----------------------------------------------------------------

    def _act(self) -> None:
        fleet = self._fleet
        self._take_census()  # who is told of something may look at once
        while fleet.actions:
            actions, fleet.actions = fleet.actions, []
            for action in actions:
                if isinstance(action, Spawn):
                    self._spawn(action.process)
                elif isinstance(action, Tell):
                    if action.process in self._channels:
                        self._channels[action.process].say(action.word)
                elif isinstance(action, Kill):
                    self._kill(action.process, action.signal)
                elif isinstance(action, Note):
                    getattr(self._observer, action.level)(action.message)
                elif isinstance(action, Interrupted):
                    self._observer.interrupted(action.patience)
                elif isinstance(action, Close):
                    self._parent.close_sockets()
                    self._close_loaders()
            self._take_census()
        if fleet.wanted != self._wanted:
            before, self._wanted = self._wanted, fleet.wanted
            self._parent.wanted(fleet.wanted, before)
        self._tell_state()
        self._forget_old_generations()

    def _take_census(self) -> None:
        if self._parent.take_census is not None:
            restarts = self._attendants.restarts(Duty.OPERATING)
            self._parent.take_census(self._fleet.census()._replace(operations_restarts=restarts))

    def _tell_state(self) -> None:
        """Tell of what has changed as a whole."""
        fleet = self._fleet
        (state, reload), self._told = self._told, (fleet.state, fleet.last_reload)
        if fleet.state is FleetState.STOPPING:
            # The last one may have been ready in this very moment: then nobody listens any more.
            if state is not FleetState.STOPPING:
                self._notifier.stopping()
            return
        if fleet.state is not state:
            self._parent.started(fleet.wanted, self._loop_name)
            self._notifier.ready(f"{fleet.wanted} processes")
        if fleet.last_reload is reload:
            return
        if fleet.last_reload is Reload.UNDER_WAY:
            self._notifier.reloading()
        elif reload is Reload.UNDER_WAY:
            failed = "; the last reload has failed" if fleet.last_reload is Reload.FAILED else ""
            self._notifier.ready(f"{fleet.wanted} processes{failed}")

    def _prepare(self, program: Program) -> None:
        if program.preload:
            become_subreaper()
            self._inherits_orphans = True

    def _spawn(self, process: Process) -> None:
        try:
            self._start(process)
        except OSError as error:  # no more processes, or descriptors
            self._bury(process, error.strerror or str(error), EXIT_NOT_LOADED)

    def _start(self, process: Process) -> None:
        program = self._programs[process.generation]
        is_first = self._fleet.state is FleetState.STARTING
        try:
            self._parent.forking(process.number)
        except ConfigError as error:
            self._report = self._report or "\n".join([str(error), *getattr(error, "__notes__", ())])
            self._bury(process, "", 1)
            return
        if program.preload:
            loader = self._loaders.get(process.generation)
            if loader is None:
                loader = Loader(program, is_first=is_first, leave_parent=self._leave)
                self._loaders[process.generation] = loader
                self._selector.register(loader.channel, selectors.EVENT_READ, process.generation)
            loader.waiting.append(process)
            self._use(loader)
            return
        pid, channel = fork_with_channel()
        if not pid:
            self._leave()
            boot = Boot(channel, process.number, process.place, is_first)
            raise Forked(partial(jobs.serve, program, boot))
        process.pid = pid
        self._watch(process, channel)

    def _leave(self) -> None:
        """*In a new process:* drop what is the parent's alone."""
        if self._holding is not None:
            self._holding.release()
        self._selector.close()
        self._attendants.close()
        for channel in self._channels.values():
            channel.close()
        for loader in self._loaders.values():
            loader.close()

    def _files(self) -> list[forks.HasFileno]:
        """What a process that the program around this one forks must not keep: a process of ours
        is to read the end of its channel when this one is gone."""
        loaders = [file for loader in self._loaders.values() for file in loader.files]
        attendants = [each.channel for each in self._attendants if each.channel is not None]
        return [*self._channels.values(), *loaders, *attendants]

    def _watch(self, process: Process, channel: Channel) -> None:
        self._channels[process] = channel
        self._selector.register(channel, selectors.EVENT_READ, process)

    def _unwatch(self, channel: Channel) -> None:
        with contextlib.suppress(KeyError):  # its end was read before
            self._selector.unregister(channel)

    def _kill(self, process: Process, number: signal.Signals) -> None:
        for loader in self._loaders.values():
            if process in loader.waiting:
                loader.kill(number)  # it is what takes too long, or is not needed
                return
        if process.pid:
            # It is a child that was not reaped, so the number is still its own.
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, number)

    # --- loaders -------------------------------------------------------------------------------

    def _use(self, loader: Loader) -> None:
        """Have a loader that is ready fork those that wait for it."""
        if not loader.is_ready:
            return
        is_first = self._fleet.state is FleetState.STARTING
        waiting, loader.waiting = loader.waiting, []
        for process in waiting:
            try:
                channel = loader.fork(process.number, process.place, is_first=is_first)
            except OSError as error:
                self._bury(process, error.strerror or str(error), EXIT_NOT_LOADED)
                continue
            if channel is None:
                loader.waiting.append(process)  # to be buried with it
            else:
                self._watch(process, channel)

    def _hear_loader(self, generation: int) -> None:
        loader = self._loaders.get(generation)
        if loader is None:
            return
        for word, detail in loader.channel.listen():
            if word == "ready":
                loader.is_ready = True
                self._use(loader)
            elif word == "failed":
                self._report = self._report or detail
        if not loader.channel.is_open:
            self._unwatch(loader.channel)

    def _bury_loader(self, generation: int, how: str, code: int) -> None:
        self._hear_loader(generation)
        loader = self._loaders.pop(generation)
        self._unwatch(loader.channel)
        loader.close()
        for process in loader.waiting:
            self._bury(process, how, code or EXIT_NOT_LOADED)

    def _close_loaders(self) -> None:
        """A loader has the listening sockets too. One that still loads is ended with who waits for
        it."""
        for loader in self._loaders.values():
            if not loader.waiting:
                loader.close_sockets()

    def _end_loaders(self) -> None:
        """What the application has started at import ends with its loader, as a daemon does."""
        for loader in self._loaders.values():
            loader.end()

    def _forget_old_generations(self) -> None:
        needed = self._fleet.generations
        for generation in self._programs.keys() - needed:
            del self._programs[generation]
        for generation in self._loaders.keys() - needed:
            self._loaders[generation].dismiss()

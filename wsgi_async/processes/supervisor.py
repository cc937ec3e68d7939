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
import ctypes
import itertools
import math
import os
import selectors
import signal
import socket
import sys
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple, NoReturn, Protocol

from wsgi_async.errors import ConfigError
from wsgi_async.observer import Observer

from .channel import Channel
from .fleet import Close, Fleet, Kill, Limits, Log, Process, Spawn, Tell
from .signals import SIGNALS

__all__ = ["Boot", "BootFailed", "Program", "Supervisor"]

_PR_SET_CHILD_SUBREAPER = 36
_NUMBER_SIZE = 16


class BootFailed(Exception):
    """The first processes could not start.

    :param code: the exit code.
    :param report: what to show.
    """

    def __init__(self, code: int, report: str) -> None:
        super().__init__(report)
        self.code = code
        self.report = report


class Boot(NamedTuple):
    """What a new process is given."""

    channel: Channel
    number: int
    """A small number that no other living process of this server has."""
    is_first: bool
    """Whether no process has ever been ready: what goes wrong is the operator's to see."""


class Program(Protocol):
    """What is to be served, as one reading of the configuration has it."""

    @property
    def processes(self) -> int: ...
    @property
    def preload(self) -> bool: ...
    @property
    def limits(self) -> Limits: ...

    def load(self) -> Any:
        """*In a new process:* the application."""

    def serve(self, application: Any, boot: Boot) -> int:
        """*In a new process:* serve until told to end, and return the exit code.

        :param application: what :meth:`load` returned, or None where this process is to load it.
        """

    def explain(self, error: Exception, boot: Boot) -> int:
        """*In a new process:* say why it cannot start, and return the exit code."""


class Notifier(Protocol):
    """Who is told of the server's state: systemd."""

    watchdog_interval: float | None
    """Seconds between two :meth:`watchdog` at most."""

    def ready(self, status: str = "") -> object: ...
    def reloading(self) -> object: ...
    def stopping(self) -> object: ...
    def watchdog(self) -> object: ...


class Host(Protocol):
    """Where a supervisor runs: what is done for the server as a whole."""

    def reconfigure(self) -> Program:
        """Read the configuration again, for a reload. May raise ConfigError."""

    def started(self, processes: int, loop: str) -> None:
        """All first processes are ready; they run this kind of loop."""

    def close_sockets(self) -> None:
        """Stop listening, and remove socket files."""

    def reopen_logs(self) -> None:
        """The log files were renamed."""

    def gone(self, number: int) -> None:
        """The process of this number has ended."""


class _Forked(BaseException):
    """Unwinds the parent's stack in a new process, which goes on with `job`."""

    def __init__(self, job: Callable[[], int]) -> None:
        super().__init__()
        self.job = job


class _Loader:
    """The process that has the application of one generation loaded."""

    def __init__(self, pid: int, channel: Channel, orders: socket.socket) -> None:
        self.pid = pid
        self.channel = channel
        self.orders = orders
        self.is_ready = False
        self.waiting: list[Process] = []


class Supervisor:
    """Runs a fleet of processes.

    :param program: what to serve.
    :param host: see there.
    :param observer: told what happens.
    :param notifier: told the state.
    """

    def __init__(
        self, program: Program, host: Host, observer: Observer, notifier: Notifier
    ) -> None:
        self._programs = {1: program}
        self._fleet = Fleet(program.processes, program.limits)
        self._host = host
        self._observer = observer
        self._notifier = notifier
        self._channels: dict[Process, Channel] = {}
        self._loaders: dict[int, _Loader] = {}
        self._signals: deque[int] = deque()
        self._selector = selectors.DefaultSelector()
        self._report = self._loop_name = ""
        self._inherits_orphans = False
        self._said = {"is_up": False, "is_reloading": False, "is_stopping": False}
        self._watchdog_at = math.inf

    def run(self) -> int:
        """Serve until all is over. Returns the exit code; also, each with its own, in processes
        that were forked meanwhile.

        :raises BootFailed: the first processes could not start, and said why.
        """
        job: Callable[[], int] = self._supervise
        while True:
            try:
                return job()
            except _Forked as forked:
                job = forked.job

    # --- the loop ----------------------------------------------------------------------------

    def _supervise(self) -> int:
        """The parent's part."""
        self._inherits_orphans = os.getpid() == 1  # as in a container
        self._prepare(self._programs[1])
        wake, wakes = socket.socketpair()
        wake.setblocking(False)
        wakes.setblocking(False)
        self._selector.register(wake, selectors.EVENT_READ)
        before = {number: signal.getsignal(number) for number in (*SIGNALS, signal.SIGCHLD)}
        for number in before:
            signal.signal(number, lambda number, _: self._signals.append(number))
        old_wakeup = signal.set_wakeup_fd(wakes.fileno(), warn_on_full_buffer=False)
        if self._notifier.watchdog_interval is not None:
            self._watchdog_at = time.monotonic()
        try:
            self._fleet.start(time.monotonic())
            while True:
                self._act()
                if self._fleet.exit_code is not None:
                    break
                self._wait(wake)
        finally:
            # In a process that was forked off in between the signals are as they must be already,
            # and the loaders are not its own.
            if not isinstance(sys.exception(), _Forked):
                signal.set_wakeup_fd(old_wakeup)
                for number, handler in before.items():
                    signal.signal(number, signal.SIG_DFL if handler is None else handler)
                self._end_loaders()
            self._selector.close()
            wake.close()
            wakes.close()
        if self._report:
            raise BootFailed(self._fleet.exit_code, self._report)
        return self._fleet.exit_code

    def _wait(self, wake: socket.socket) -> None:
        """Wait for the next event, and tell the fleet of it."""
        fleet = self._fleet
        until = min(fleet.next_time(), self._watchdog_at) - time.monotonic()
        ready = self._selector.select(None if until == math.inf else max(0.0, until))
        with contextlib.suppress(BlockingIOError):
            wake.recv(4096)
        for key, _ in ready:
            if isinstance(key.data, Process):
                self._hear(key.data)
            elif isinstance(key.data, int):
                self._hear_loader(key.data)
        while self._signals:
            self._obey(self._signals.popleft())
        now = time.monotonic()
        if self._watchdog_at <= now:
            self._notifier.watchdog()
            self._watchdog_at = now + (self._notifier.watchdog_interval or math.inf)
        fleet.tick(now)

    def _hear(self, process: Process) -> None:
        """What a process says."""
        channel = self._channels.get(process)
        if channel is None:
            return
        fleet, now = self._fleet, time.monotonic()
        for word, detail in channel.listen():
            if word == "hello" and detail.isascii() and detail.isdigit():
                process.pid = int(detail)
            elif word == "ready":
                self._loop_name = detail
                fleet.ready(process, now)
            elif word == "beat":
                fleet.beat(process, now)
            elif word == "recycle":
                fleet.recycle(process, detail, now)
            elif word == "failed":
                self._report = self._report or detail
        if not channel.is_open:
            self._unwatch(channel)
            if not process.pid:  # it died before it could say who it is
                self._bury(process, "it ended at once", 3)

    def _obey(self, number: int) -> None:
        """What an operator says, or the kernel of a child."""
        fleet, now = self._fleet, time.monotonic()
        if number == signal.SIGCHLD:
            self._reap()
        elif number == signal.SIGTERM:
            fleet.drain(now)
        elif number == signal.SIGINT:
            if fleet.is_stopping:
                fleet.stop_now(now)
            else:
                fleet.drain(now)
        elif number == signal.SIGQUIT:
            fleet.stop_now(now)
        elif number == signal.SIGHUP:
            self._reload()
        elif number == signal.SIGUSR1:
            self._host.reopen_logs()
            fleet.report()
        elif number == signal.SIGTTIN:
            fleet.change_wanted(1, now)
        elif number == signal.SIGTTOU:
            fleet.change_wanted(-1, now)
        else:
            self._observer.warning("SIGUSR2 does nothing: SIGHUP reloads the application")

    def _reload(self) -> None:
        fleet = self._fleet
        if fleet.is_stopping:
            return
        try:
            program = self._host.reconfigure()
        except ConfigError as error:
            self._observer.error(f"Not reloaded: {error}")
            return
        old = self._programs[fleet.generation]
        if program.processes != old.processes:
            fleet.wanted = program.processes
        fleet.limits = program.limits
        fleet.reload(time.monotonic())
        self._programs[fleet.generation] = program
        self._prepare(program)

    def _reap(self) -> None:
        """Bury those that have ended."""
        for pid, status in self._ended():
            how, code = _verdict(status)
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
        if self._inherits_orphans:
            asked = itertools.repeat(-1)
        else:
            asked = iter([process.pid for process in self._fleet.processes if process.pid])
        for pid in asked:
            try:
                ended, status = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                if pid == -1:
                    return
                ended, status = pid, 3 << 8  # somebody else in this program has waited for it
            if ended:
                yield ended, status
            elif pid == -1:
                return

    def _bury(self, process: Process, how: str, code: int) -> None:
        channel = self._channels.pop(process, None)
        if channel is not None:
            self._unwatch(channel)
            channel.close()
        self._host.gone(process.number)
        self._fleet.exited(process, "" if self._report else how, code, time.monotonic())
        if self._report and not self._fleet.is_stopping:
            # Others of the first have started, so this is no end.
            for line in self._report.splitlines():
                self._observer.error(line)
            self._report = ""

    # --- doing what was decided ----------------------------------------------------------------

    def _act(self) -> None:
        fleet = self._fleet
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
                elif isinstance(action, Log):
                    getattr(self._observer, action.level)(action.message)
                elif isinstance(action, Close):
                    self._host.close_sockets()
                    self._close_loaders()
        self._tell_state()
        self._forget_old_generations()

    def _tell_state(self) -> None:
        """Tell of what has changed as a whole."""
        fleet, said = self._fleet, self._said
        now = {name: getattr(fleet, name) for name in said}
        if now == said:
            return
        if now["is_up"] and not said["is_up"]:
            self._host.started(fleet.wanted, self._loop_name)
            self._notifier.ready(f"{fleet.wanted} processes")
        if now["is_stopping"] and not said["is_stopping"]:
            self._notifier.stopping()
        elif now["is_reloading"] and not said["is_reloading"]:
            self._notifier.reloading()
        elif said["is_reloading"] and not now["is_reloading"]:
            self._notifier.ready(f"{fleet.wanted} processes")
        self._said = now

    def _prepare(self, program: Program) -> None:
        if program.preload:
            _become_subreaper()
            self._inherits_orphans = True

    def _spawn(self, process: Process) -> None:
        program = self._programs[process.generation]
        if program.preload:
            loader = self._loaders.get(process.generation)
            if loader is None:
                loader = self._start_loader(process.generation, program)
            loader.waiting.append(process)
            self._use(loader)
            return
        ours, theirs = Channel.pair()
        boot = Boot(theirs, process.number, not self._fleet.is_up)
        pid = self._fork()
        if not pid:
            ours.close()
            raise _Forked(partial(_serve, program, boot))
        theirs.close()
        process.pid = pid
        self._watch(process, ours)

    def _watch(self, process: Process, channel: Channel) -> None:
        self._channels[process] = channel
        self._selector.register(channel, selectors.EVENT_READ, process)

    def _unwatch(self, channel: Channel) -> None:
        with contextlib.suppress(KeyError):  # its end was read before
            self._selector.unregister(channel)

    def _kill(self, process: Process, number: signal.Signals) -> None:
        for generation, loader in self._loaders.items():
            if process in loader.waiting and generation == process.generation:
                # It waits for its loader, and that is what takes too long, or is not needed.
                os.kill(loader.pid, number)
                return
        if process.pid:
            # It is a child that was not reaped, so the number is still its own.
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, number)

    def _fork(self) -> int:
        """Fork; in the new process only what it needs of the parent is left."""
        sys.stdout.flush() if sys.stdout else None
        sys.stderr.flush() if sys.stderr else None
        everything = signal.valid_signals()
        # A signal that comes before the new process has its own handlers must wait for them.
        signal.pthread_sigmask(signal.SIG_BLOCK, everything)
        try:
            pid = os.fork()
            if not pid:
                self._forget_parent()
            return pid
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, everything)

    def _forget_parent(self) -> None:
        """*In a new process:* drop what is the parent's alone."""
        signal.set_wakeup_fd(-1)
        for number in (*SIGNALS, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        # A terminal sends Ctrl-C to the whole group. Not SIG_IGN: programs that the application
        # starts would inherit that, and not a handler.
        for number in set(SIGNALS) - {signal.SIGTERM, signal.SIGTTIN, signal.SIGTTOU}:
            signal.signal(number, _ignore)
        self._selector.close()
        for channel in self._channels.values():
            channel.close()
        for loader in self._loaders.values():
            loader.channel.close()
            loader.orders.close()

    # --- preload ---------------------------------------------------------------------------------

    def _start_loader(self, generation: int, program: Program) -> _Loader:
        ours, theirs = Channel.pair()
        orders, their_orders = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        boot = Boot(theirs, -1, not self._fleet.is_up)
        pid = self._fork()
        if not pid:
            ours.close()
            orders.close()
            raise _Forked(partial(_load, program, boot, their_orders))
        theirs.close()
        their_orders.close()
        self._loaders[generation] = loader = _Loader(pid, ours, orders)
        self._selector.register(ours, selectors.EVENT_READ, generation)
        return loader

    def _use(self, loader: _Loader) -> None:
        """Have a loader that is ready fork those that wait for it."""
        if not loader.is_ready:
            return
        waiting, loader.waiting = loader.waiting, []
        for process in waiting:
            ours, theirs = Channel.pair()
            text = f"{process.number} {int(not self._fleet.is_up)}".encode()
            try:
                socket.send_fds(loader.orders, [text], [theirs.fileno()])
            except OSError:
                loader.waiting.append(process)  # it is dead, and will be buried with them
                ours.close()
            else:
                self._watch(process, ours)
            theirs.close()

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
        loader.channel.close()
        loader.orders.close()
        for process in loader.waiting:
            self._bury(process, how, code or 3)

    def _close_loaders(self) -> None:
        """A loader serves nobody, but it has the listening sockets too: while it lives, clients
        can connect and are never answered. One that still loads is ended with who waits for it."""
        for loader in self._loaders.values():
            if not loader.waiting:
                self._kill_loader(loader)

    def _end_loaders(self) -> None:
        for loader in self._loaders.values():
            self._kill_loader(loader)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(loader.pid, 0)

    def _kill_loader(self, loader: _Loader) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(loader.pid, signal.SIGKILL)

    def _forget_old_generations(self) -> None:
        needed = self._fleet.generations
        for generation in self._programs.keys() - needed:
            del self._programs[generation]
        for generation in self._loaders.keys() - needed:
            self._loaders[generation].orders.close()  # it reads the end, and ends


# --- in new processes


def _serve(program: Program, boot: Boot, application: Any = None) -> int:
    boot.channel.say("hello", str(os.getpid()))
    try:
        return program.serve(application, boot)
    except Exception as error:
        return program.explain(error, boot)
    finally:
        boot.channel.close()


def _load(program: Program, boot: Boot, orders: socket.socket) -> int:
    """The loader's part: import the application, then fork a process for each order."""
    try:
        application = program.load()
    except Exception as error:
        try:
            return program.explain(error, boot)
        finally:
            orders.close()
            boot.channel.close()
    signal.signal(signal.SIGTERM, _ignore)
    boot.channel.say("ready")
    while True:
        order, descriptors, _, _ = socket.recv_fds(orders, _NUMBER_SIZE, 1)
        if not order:
            orders.close()
            boot.channel.close()
            return 0
        number, is_first = map(int, order.split())
        channel = Channel(socket.socket(fileno=descriptors[0]))
        if _fork_orphan():
            orders.close()
            boot.channel.close()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            boot = Boot(channel, number, bool(is_first))
            raise _Forked(partial(_serve, program, boot, application))
        channel.close()


def _fork_orphan() -> bool:
    """Fork twice: True in a process whose parent has ended, so that the supervisor inherits it."""
    with warnings.catch_warnings():
        # From 3.12 on Python warns where the application has started threads: they do not follow
        # into the new process, which is known of every preloading server.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
        if pid:
            os.waitpid(pid, 0)
            return False
        if os.fork():
            _end_here()
        return True


def _end_here() -> NoReturn:
    os._exit(0)


def _ignore(number: int, frame: object) -> None:
    """Children obey their supervisor only."""


def _become_subreaper() -> None:
    """Inherit the orphans among this process's descendants (Linux, prctl(2)).

    :raises ConfigError: the system has no such thing.
    """
    try:
        if ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0:
            return
    except (OSError, AttributeError):
        pass
    raise ConfigError("--preload needs Linux 3.4 or later")


def _verdict(status: int) -> tuple[str, int]:
    """How a process ended, in words, and its exit code."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"exit code {code}", code
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "unknown"
    hint = "; out of memory, perhaps" if -code == signal.SIGKILL else ""
    return f"signal {-code} ({name}{hint})", 3

"""What the parent of a command line does once: files, logs, sockets, and then its processes."""

from __future__ import annotations

import contextlib
import gc
import math
import os
from collections.abc import Callable, MutableMapping
from functools import partial

from wsgi_async._imports import StandardFirst
from wsgi_async.applications.composition import describe, make_subscribers
from wsgi_async.buffers.budgets import require_directory
from wsgi_async.config.hooks import Hooks
from wsgi_async.config.options import Config
from wsgi_async.config.paste_spec import paste_specs
from wsgi_async.config.shown import shown
from wsgi_async.config.sources import Settings
from wsgi_async.errors import ConfigError
from wsgi_async.events import Observer
from wsgi_async.logs import setup as logs
from wsgi_async.logs.measures import measure
from wsgi_async.logs.observer import LogObserver
from wsgi_async.processes import Channel, Parent, Supervisor
from wsgi_async.server.connection_counts import ConnectionCounts
from wsgi_async.server.stopping import IDLE_LINGER
from wsgi_async.system.greenlets import refuse_greenlets
from wsgi_async.system.pid_file import PidFile
from wsgi_async.system.sockets import address_of, bind, close_all, hold, listen
from wsgi_async.system.spoken import Spoken
from wsgi_async.system.systemd import Notifier
from wsgi_async.system.user import Identity, owner_of, resolve
from wsgi_async.tls.inherited import SharedContexts
from wsgi_async.wsgi.types import Application

from .certificates import Sharing, check_certificates
from .ending import LAST, end_within
from .file_watcher import Watcher
from .log_files import check_logs, configure_logs, give_logs, log_observer
from .metrics import Outlets, check_statsd
from .program import Common, Explain, Loading, ServerProgram, absolute, call_safely, import_late
from .reloading import Reloading, fixed_at_start
from .touched import Scripts

__all__ = ["check", "launch", "open_sockets", "supervise"]


def launch(
    settings: Settings,
    *,
    environ: MutableMapping[str, str],
    start: str,
    reread: Callable[[], Settings],
    explain: Explain,
    application: Application | None = None,
) -> int:
    """Serve as the command line does: a parent, and processes that it starts.

    :param settings: all options.
    :param environ: the process's environment.
    :param start: the directory it was started in, by the name the operator knows it by.
    :param reread: gathers the options again.
    :param explain: see :data:`Explain`.
    :param application: what to serve where it is there already, instead of what `settings` name.
    :returns: the exit code, here and in the processes.
    :raises ConfigError: an address or a file cannot be had, or a hook has failed.
    :raises BootFailed: the first processes could not start.
    """
    import_late(settings)
    gc.freeze()  # what is imported by now stays
    refuse_greenlets()  # a configuration file may be code
    config = absolute(settings.config, start)
    require_directory(config.spool_dir)
    identity = resolve(settings.launch.user, settings.launch.group)
    owner = owner_of(settings.launch.socket_owner)
    notifier = Notifier(environ)
    watcher = _watcher(settings, start)
    logs.set_mode(logs.Mode.POLLED)
    configure_logs(config, identity, _directory(settings, start))
    for notice in settings.notices:
        LogObserver().warning(notice)
    sharing, outlets, scripts = Sharing(), Outlets(), Scripts()
    first = sharing.of(config)
    pidfile = PidFile(settings.launch.pid) if settings.launch.pid else None
    with contextlib.ExitStack() as on_failure:
        on_failure.callback(outlets.close)
        measure(outlets.of(config))
        settings.hooks.starting(config.workers)
        common = open_sockets(config, describe(settings))
        on_failure.pop_all()
    try:
        if identity is not None:
            own = common.operations.files_to_give if common.operations is not None else []
            for path in filter(None, (*(sock.file for sock in common.sockets), *own)):
                identity.own(path)
        if owner is not None:
            for path in filter(None, (sock.file for sock in common.sockets)):
                owner.take(path)
        if pidfile is not None:
            pidfile.create()
        settings.hooks.listening()

        install = common.operations.handed.install if common.operations is not None else None

        def make(
            settings: Settings, config: Config, certificates: SharedContexts | None
        ) -> ServerProgram:
            directory = _directory(settings, start)
            is_to_look = watcher is None and scripts.follow(settings, directory)
            return ServerProgram(
                config,
                common,
                explain,
                loader=Loading(settings, environ, start, identity, application, install),
                subscribers=lambda: make_subscribers(settings),
                certificates=certificates,
                statsd=outlets.of(config),
                fixed=fixed_at_start(settings),
                hooks=settings.hooks,
                shown=partial(shown, settings),
                # A browser's next click is to meet the new code.
                linger=0.0 if watcher is not None else IDLE_LINGER,
                directory=directory,
                scripts=scripts if is_to_look else None,
            )

        def make_next() -> ServerProgram:
            settings = reread()
            config = absolute(settings.config, start)
            return make(settings, config, sharing.of(config))

        program = make(settings, config, first)
        # What is imported by now stays: spare the collector of each process from it, and the
        # pages it is on from being copied.
        gc.freeze()
        code = supervise(program, make_next, notifier, identity, watcher)
        # Here or in any process that has come back from its part, unless that has seen to it.
        grace = LAST if code else config.graceful_timeout or math.inf
        end_within(grace, code, LogObserver().error, descriptor=logs.error_descriptor())
        return code
    finally:
        # A process that has been forked meanwhile ends here as well; what it did not make stays.
        common.close()
        sharing.close()
        outlets.close()
        if pidfile is not None:
            pidfile.remove()


def open_sockets(config: Config, name: str = "") -> Common:
    """Listen, so that clients may connect while the first processes still load the application;
    and make what its processes have in common.

    :param name: what is served, in the operator's words.
    """
    is_tls = bool(config.certfile)
    sockets = bind(
        config.bind,
        socket_mode=config.socket_mode,
        is_tls=is_tls,
        protocol=Spoken(config.protocol),
    )
    operations = None
    try:
        for sock in sockets:
            listen(sock, config.backlog)
        if config.surfaces:
            with StandardFirst():
                from .operations import Operations

            operations = Operations(config, name, tuple(map(address_of, sockets)))
    except BaseException:
        close_all(sockets)
        raise
    return Common(sockets, ConnectionCounts(), hold(sockets), operations)


def supervise(
    program: ServerProgram,
    make: Callable[[], ServerProgram],
    notifier: Notifier,
    identity: Identity | None = None,
    watcher: Watcher | None = None,
) -> int:
    """Run the processes of `program` until all is over.

    :param make: makes the next program, for a reload.
    """
    observer: Observer = log_observer(program.config)
    if program.common.operations is not None:
        observer = program.common.operations.handed.notes(observer)
    reloading = Reloading(program, make, observer, identity)
    parent = ServerParent(reloading, observer, identity, watcher)
    if program.common.operations is not None:
        for announcement in program.common.operations.announcements:
            observer.info(announcement)
    own = os.getpid()
    try:
        return Supervisor(program, parent, observer, notifier).run()
    finally:
        if os.getpid() == own:
            parent.over()


def check(
    settings: Settings,
    *,
    environ: MutableMapping[str, str],
    start: str,
    application: Application | None = None,
) -> Application:
    """The application as a serving process would have it, in this one: for --check-config."""
    identity = resolve(settings.launch.user, settings.launch.group)
    owner_of(settings.launch.socket_owner)
    _watcher(settings, start)  # for what is wrong with it
    if settings.config.surfaces:
        with StandardFirst():
            from .operations import check_operations

        check_operations(settings.config)
    check_certificates(settings.config)
    config = absolute(settings.config, start)
    check_logs(config)
    check_statsd(config)
    loading = Loading(settings, environ, start, identity, application)
    loaded = loading(lambda: None, LogObserver().warning)
    make_subscribers(settings)  # for what is wrong with them
    return loaded


def _directory(settings: Settings, start: str) -> str:
    """Where the processes run, by a name that the parent can use."""
    return os.path.join(start, settings.launch.chdir)


def _watcher(settings: Settings, start: str) -> Watcher | None:
    """What ``--reload`` watches."""
    if not settings.launch.reload:
        return None
    own = _directory(settings, start)
    named = settings.launch.reload_dir or (".", *settings.launch.pythonpath)
    directories = [os.path.normpath(os.path.join(own, name)) for name in named]
    patterns = settings.launch.reload_include
    if paste_specs(settings.launch.app, settings.launch.mount):
        patterns = ("*.ini", *patterns)  # also those that one refers to
    return Watcher(directories, patterns)


class ServerParent(Parent):
    """What the parent does for the server as a whole.

    :param reloading: the program in force.
    :param observer: told what happens.
    :param identity: as whom the processes run, if not as this one.
    :param watcher: watches files, if anybody does.
    """

    def __init__(
        self,
        reloading: Reloading,
        observer: Observer,
        identity: Identity | None,
        watcher: Watcher | None,
    ) -> None:
        self._first = reloading.program
        self._watcher = watcher
        self.watch = self._watch if watcher is not None else None
        operations = self._operations = self._first.common.operations
        self.operate = self._operate if operations is not None else None
        self.take_census = operations.take_census if operations is not None else None
        self._reloading = reloading
        self._observer = observer
        self._identity = identity

    @property
    def _hooks(self) -> Hooks:
        return self._reloading.program.hooks

    def _watch(self, channel: Channel) -> int:
        assert self._watcher is not None
        self._reloading.program.renounce()
        if self._operations is not None:
            self._operations.leave()
        return self._watcher.watch(channel)

    def _operate(self, channel: Channel) -> int:
        assert self._operations is not None
        program = self._reloading.program
        program.renounce()
        return self._operations.run(program.config, program.shown, self._identity, channel)

    def reconfigure(self) -> ServerProgram:
        program = self._reloading.next()
        if self._operations is not None:
            self._operations.handed.reloaded()
        return program

    def started(self, processes: int, loop: str) -> None:
        config = self._first.config
        self._observer.started(
            tuple(map(address_of, self._first.common.sockets)),
            config.threads,
            loop,
            config.parser,
            processes,
        )

    def close_sockets(self) -> None:
        close_all(self._first.common.sockets)

    def reopen_logs(self) -> None:
        logs.reopen()
        if self._identity is not None:
            # Before the processes are told: else they find root's new files.
            try:
                give_logs(self._identity)
            except ConfigError as error:
                self._observer.warning(str(error))

    def forking(self, number: int) -> None:
        self._hooks.forking(number)

    def gone(self, number: int, pid: int) -> None:
        counts = self._first.common.counts
        if number < counts.capacity:
            counts.clear(number)
        if self._operations is not None:
            self._operations.handed.gone(number)
        self._safely(self._hooks.ended, number, pid)

    def wanted(self, processes: int, before: int) -> None:
        self._safely(self._hooks.wanted, processes, before)

    def over(self) -> None:
        """All processes are gone."""
        self._safely(self._hooks.exiting)

    def _safely(self, hook: Callable[..., None], *args: int) -> None:
        call_safely(self._observer, hook, *args)

"""How a command line becomes processes: what the parent does once, and each process for itself."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import dataclasses
import faulthandler
import gc
import math
import os
import resource
import sys
from collections.abc import Callable, MutableMapping
from typing import NamedTuple

from wsgi_async._imports import StandardFirst, preload
from wsgi_async.applications.composition import compose
from wsgi_async.buffers.spool import require_directory
from wsgi_async.config.hooks import Hooks
from wsgi_async.config.options import Config
from wsgi_async.config.sources import Settings
from wsgi_async.connection.exchange import current_request_id
from wsgi_async.errors import EXIT_FAILED, EXIT_NOT_LOADED, ConfigError, LoadError, WsgiAsyncError
from wsgi_async.events import Observer
from wsgi_async.logs import observer as logs
from wsgi_async.logs.stderr import adopt_stderr
from wsgi_async.processes import Boot, BootFailed, Channel, Limits, Supervisor, end_with_parent
from wsgi_async.server.connection_counts import ConnectionCounts, OwnCount
from wsgi_async.server.event_loop import import_late_modules, new_event_loop
from wsgi_async.server.stopping import IDLE_LINGER
from wsgi_async.system.cpu_affinity import pin
from wsgi_async.system.forks import Holding, fence, flush
from wsgi_async.system.greenlets import refuse_greenlets
from wsgi_async.system.pid_file import PidFile
from wsgi_async.system.sockets import BoundSocket, address_of, bind, close_all, hold, listen
from wsgi_async.system.surroundings import Surroundings, keep_standard_descriptors
from wsgi_async.system.systemd import VARIABLES, Notifier
from wsgi_async.system.user import Identity, parse_umask, resolve
from wsgi_async.wsgi.response import Application

from .child import serve_under_supervisor
from .ending import LAST, end_within
from .file_watcher import Watcher

__all__ = ["configure_logs", "launch", "load", "serve_processes"]

MAX_DESCRIPTORS = 65536
"""The soft limit of open files is raised to the hard one, but not beyond this: some kernels'
hard limit is a thousand million, and tables grow with what is used."""

_LATE = {
    "debug": "wsgi_async.middleware.errors",
    "encode_str": "wsgi_async.applications.str_encoding",
    "env_file": "dotenv",
    "lint": "wsgi_async.applications.lint",
    "middleware": "wsgi_async.middleware.interface",
    "mount": "wsgi_async.applications.mounts",
    "reload": "watchfiles",
    "static": "wsgi_async.applications.static",
}
"""What is imported for an option, if it is given."""

Warn = Callable[[str], object]
Explain = Callable[[Exception], tuple[int, str]]
"""For what ended a start: the exit code, and a line that says what to change, with a traceback
beneath it where that helps."""


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
    _import_late(settings)
    refuse_greenlets()  # a configuration file may be code
    config = _absolute(settings.config, start)
    require_directory(config.spool_dir)
    identity = resolve(settings.launch.user, settings.launch.group)
    notifier = Notifier(environ)
    watcher = _watcher(settings, start)
    logs.set_mode(logs.Mode.POLLED)
    configure_logs(config, identity)
    for notice in settings.notices:
        logs.LogObserver().warning(notice)
    settings.hooks.starting(config.workers)
    pidfile = PidFile(settings.launch.pid) if settings.launch.pid else None
    common = _open(config)
    try:
        if identity is not None:
            for path in filter(None, (sock.file for sock in common.sockets)):
                identity.own(path)
        if pidfile is not None:
            pidfile.create()
        settings.hooks.listening()

        def make(settings: Settings) -> Program:
            return Program(
                _absolute(settings.config, start),
                common,
                explain,
                loader=_Loading(settings, environ, start, identity, application),
                hooks=settings.hooks,
                # A browser's next click is to meet the new code.
                linger=0.0 if watcher is not None else IDLE_LINGER,
            )

        code = _supervise(make(settings), lambda: make(reread()), notifier, identity, watcher)
        # Here or in any process that has come back from its part, unless that has seen to it.
        grace = LAST if code else config.graceful_timeout or math.inf
        end_within(grace, code, logs.LogObserver().error, descriptor=logs.error_descriptor())
        return code
    finally:
        # A process that has been forked meanwhile ends here as well; what it did not make stays.
        close_all(common.sockets)
        common.holding.release()
        if pidfile is not None:
            pidfile.remove()


def _import_late(settings: Settings) -> None:
    """Import what is imported late, in the parent: its processes have it then, and there the
    application's directory comes first on the path."""
    import_late_modules()
    preload(*(module for option, module in _LATE.items() if getattr(settings.launch, option)))
    with StandardFirst(), contextlib.suppress(LookupError):  # composition says what is wrong
        codecs.lookup(settings.launch.encode_str or "utf-8")


def _watcher(settings: Settings, start: str) -> Watcher | None:
    """What ``--reload`` watches."""
    if not settings.launch.reload:
        return None
    own = os.path.join(start, settings.launch.chdir)
    named = settings.launch.reload_dir or (".", *settings.launch.pythonpath)
    directories = [os.path.normpath(os.path.join(own, name)) for name in named]
    return Watcher(directories, settings.launch.reload_include)


class Common(NamedTuple):
    """What all processes of a server have in common."""

    sockets: list[BoundSocket]
    """They listen already."""
    tally: ConnectionCounts
    holding: Holding


def _open(config: Config) -> Common:
    """Listen, so that clients may connect while the first processes still load the application."""
    sockets = bind(config.bind, socket_mode=config.socket_mode)
    try:
        for sock in sockets:
            listen(sock, config.backlog)
    except BaseException:
        close_all(sockets)
        raise
    return Common(sockets, ConnectionCounts(), hold(sockets))


def _absolute(config: Config, start: str) -> Config:
    """The configuration with names of files that mean the same after a --chdir."""

    def absolute(name: str) -> str:
        return name if name in ("", "-") else os.path.join(start, name)

    return dataclasses.replace(
        config,
        error_logfile=absolute(config.error_logfile),
        access_logfile=absolute(config.access_logfile),
        spool_dir=absolute(config.spool_dir),
    )


def configure_logs(config: Config, identity: Identity | None = None) -> None:
    """Have the logs go where the options say.

    :param identity: as whom other processes will open the files again.
    """
    logs.configure(
        error_logfile=config.error_logfile,
        access_logfile=config.access_logfile,
        log_level=config.log_level,
    )
    if identity is not None:
        _give_logs(identity)


def _give_logs(identity: Identity) -> None:
    """Let processes that run as somebody else open the log files as well."""
    for descriptor in logs.descriptors():
        identity.own(descriptor)


def _supervise(
    program: Program,
    reread: Callable[[], Program],
    notifier: Notifier,
    identity: Identity | None = None,
    watcher: Watcher | None = None,
) -> int:
    """Run the processes of `program` until all is over."""
    observer = logs.LogObserver(access=bool(program.config.access_logfile))
    host = _Host(program, reread, observer, identity, watcher)
    parent = os.getpid()
    try:
        return Supervisor(program, host, observer, notifier).run()
    finally:
        if os.getpid() == parent:
            host.over()


class _Host:
    """See :class:`~wsgi_async.processes.supervisor.Host`."""

    def __init__(
        self,
        program: Program,
        reread: Callable[[], Program],
        observer: Observer,
        identity: Identity | None,
        watcher: Watcher | None,
    ) -> None:
        self.watch: Callable[[Channel], int] | None = watcher.watch if watcher else None
        self._program = program
        self._reread = reread
        self._observer = observer
        self._identity = identity
        self._hooks = program.hooks

    def reconfigure(self) -> Program:
        program = self._reread()
        program.hooks.follow(self._hooks)
        self._hooks = program.hooks
        if program.config.bind != self._program.config.bind:
            self._observer.warning("--bind has changed: that takes effect at the next start")
        if program.configures_logs:
            configure_logs(program.config, self._identity)
        self._safely(self._hooks.reloading)
        return program

    def started(self, processes: int, loop: str) -> None:
        config = self._program.config
        self._observer.started(
            tuple(map(address_of, self._program.common.sockets)),
            config.threads,
            loop,
            config.parser,
            processes,
        )

    def close_sockets(self) -> None:
        close_all(self._program.common.sockets)

    def reopen_logs(self) -> None:
        logs.reopen()
        if self._identity is not None:
            # Before the processes are told: else they find root's new files.
            try:
                _give_logs(self._identity)
            except ConfigError as error:
                self._observer.warning(str(error))

    def forking(self, number: int) -> None:
        self._hooks.forking(number)

    def gone(self, number: int, pid: int) -> None:
        tally = self._program.common.tally
        if number < tally.capacity:
            tally.clear(number)
        self._safely(self._hooks.ended, number, pid)

    def wanted(self, processes: int, before: int) -> None:
        self._safely(self._hooks.wanted, processes, before)

    def over(self) -> None:
        """All processes are gone."""
        self._safely(self._hooks.exiting)

    def _safely(self, hook: Callable[..., None], *args: int) -> None:
        _safely(self._observer, hook, *args)


def _safely(observer: Observer, hook: Callable[..., None], *args: int) -> None:
    """Call a hook where its error is no reason to stop serving."""
    try:
        hook(*args)
    except ConfigError as error:
        observer.report("\n".join([str(error), *getattr(error, "__notes__", ())]))


class Program:
    """See :class:`~wsgi_async.processes.supervisor.Program`.

    :param config: its options.
    :param common: see there.
    :param explain: see :data:`Explain`.
    :param linger: seconds for which a process that was replaced keeps idle connections.
    :param loader: what there is to do before the application is there, and how it is had. It is
        given what is to be called in between, and what is to be told of doubts.
    :param hooks: called in processes.
    :param configures_logs: whether the logs are the server's, not those of a program around it.
    """

    def __init__(
        self,
        config: Config,
        common: Common,
        explain: Explain,
        *,
        loader: Callable[[Callable[[], object], Warn], Application],
        hooks: Hooks | None = None,
        linger: float = IDLE_LINGER,
        configures_logs: bool = True,
    ) -> None:
        self.config = config
        self.configures_logs = configures_logs
        self.common = common
        self.processes = config.workers
        self.preload = config.preload
        self.limits = Limits(
            boot=config.boot_timeout,
            beat=config.timeout,
            graceful=config.graceful_timeout,
            drain_delay=config.drain_delay,
            linger=linger,
        )
        self.hooks = hooks or Hooks()
        self._explain = explain
        self._loader = loader

    def load(
        self, entered: Callable[[], object] = lambda: None, *, is_one_of_many: bool = False
    ) -> Application:
        """*In a new process:* the application.

        :param entered: called once the process is in its surroundings.
        :param is_one_of_many: another process says of the application what there is to say.
        """
        end_with_parent()
        for sock in self.common.sockets:
            sock.disown_file()
        # SIGABRT writes the stacks of all threads, also where Python code cannot run any more.
        faulthandler.enable(logs.error_descriptor(), all_threads=True)
        warn = (lambda _: None) if is_one_of_many else logs.LogObserver().warning
        before = list(map(_inode, self.common.sockets))
        try:
            application = self._loader(entered, warn)
        finally:
            # What has their numbers now is the application's to close.
            after = zip(self.common.sockets, before, strict=True)
            lost = [sock.detach() for sock, inode in after if _inode(sock) != inode]
            # An application's dictConfig() takes over what exists before it.
            logs.reclaim()
            adopt_stderr(current_request_id)
            keep_standard_descriptors()
        if lost:
            raise LoadError(
                "The application has closed descriptors that are the server's "
                f"({', '.join(map(str, lost))}) while it was loaded"
            )
        # What the application has loaded lives as long as the process: spare the collector from
        # it, and the pages it is on from being copied after a fork.
        gc.collect()
        gc.freeze()
        return application

    def close_sockets(self) -> None:
        """*In a loader:* stop listening."""
        close_all(self.common.sockets)  # the files are the parent's to remove, see load()

    def serve(self, application: Application | None, boot: Boot) -> int:
        """*In a new process:* until told to end."""
        is_preloaded = application is not None
        if self.config.cpu_affinity:  # before the application is loaded: it may start threads
            try:
                pin(boot.seat)
            except OSError as error:
                logs.LogObserver().warning(f"--cpu-affinity has no effect: {error.strerror}")
        try:
            if application is None:
                application = self.load(
                    lambda: self.hooks.forked(boot.number), is_one_of_many=boot.seat > 0
                )
            else:
                self.hooks.forked(boot.number)
            return self._serve(application, boot, is_preloaded=is_preloaded)
        finally:
            _safely(logs.LogObserver(), self.hooks.leaving)
            logs.flush()

    def _serve(self, application: Application, boot: Boot, *, is_preloaded: bool) -> int:
        config = self.config
        logs.reclaim()  # a hook may have done so too
        if is_preloaded:
            logs.reopen()  # the loader has the files of its own start, which may be renamed by now
        faulthandler.enable(logs.error_descriptor(), all_threads=True)
        _raise_descriptor_limit()
        if config.switch_interval:
            sys.setswitchinterval(config.switch_interval)
        application = self.hooks.loaded(application)
        logs.write_by_thread()
        observer = logs.LogObserver(access=bool(config.access_logfile))
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            stuck = runner.run(
                serve_under_supervisor(
                    application,
                    config,
                    observer,
                    self.common.sockets,
                    self._slot(boot.number),
                    boot.channel,
                    logs.reopen,
                    linger=self.limits.linger,
                )
            )
        return EXIT_FAILED if stuck else 0

    def _slot(self, number: int) -> OwnCount | None:
        """A process that is alone need not share; nor can one for which there is no room."""
        tally = self.common.tally
        if self.processes == 1 or number >= tally.capacity:
            return None
        return tally.join(number)

    def explain(self, error: Exception, boot: Boot) -> int:
        """*In a new process:* say why it cannot start: to the operator at the first start, who
        looks at the terminal, and later in the log."""
        code, text = self._explain(error)
        if not boot.is_first or not boot.channel.say("failed", text):
            logs.LogObserver().report(text)
        return code


def _inode(sock: BoundSocket) -> tuple[int, int] | None:
    """What tells a socket from whatever else is given its descriptor."""
    try:
        found = os.fstat(sock.fileno())
    except OSError:
        return None
    return found.st_dev, found.st_ino


def load(
    settings: Settings,
    *,
    environ: MutableMapping[str, str],
    start: str,
    application: Application | None = None,
) -> Application:
    """The application as a serving process would have it, in this one: for --check-config."""
    identity = resolve(settings.launch.user, settings.launch.group)
    _watcher(settings, start)  # for what is wrong with it
    loading = _Loading(settings, environ, start, identity, application)
    return loading(lambda: None, logs.LogObserver().warning)


class _Loading:
    """Makes a new process what it is to be, and loads the application into it."""

    def __init__(
        self,
        settings: Settings,
        environ: MutableMapping[str, str],
        start: str,
        identity: Identity | None,
        application: Application | None = None,
    ) -> None:
        self._application = application
        self._settings = settings
        self._environ = environ
        self._identity = identity
        self._spool_dir = _absolute(settings.config, start).spool_dir
        self._surroundings = Surroundings(
            start=start,
            chdir=settings.launch.chdir,
            pythonpath=settings.launch.pythonpath,
            env_file=settings.launch.env_file,
            env=settings.launch.env,
        )
        _import_late(settings)

    def __call__(self, entered: Callable[[], object], warn: Warn) -> Application:
        settings, environ, identity = self._settings, self._environ, self._identity
        for name in VARIABLES:
            environ.pop(name, None)
        if identity is not None:
            environ.update(identity.variables)
        mask = parse_umask(settings.launch.umask)
        if mask is not None:
            os.umask(mask)
        # Still as root, who may read a file of secrets that the application's user may not.
        self._surroundings.enter(environ)
        entered()
        if identity is not None:
            identity.assume()
            end_with_parent()
        require_directory(self._spool_dir)  # again: as the user that will write there
        with fence():
            application = compose(settings, self._application, warn)
        refuse_greenlets()
        return application


def _raise_descriptor_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MAX_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def serve_processes(application: Application, config: Config, *, configures_logs: bool) -> None:
    """Processes for a program that has its application already: ``serve(app, workers=2)``.

    :param configures_logs: False where the program's own logging is to be used.
    :raises ConfigError: an address cannot be had, or an option that needs the command line.
    :raises LoadError: the application did not answer its warm-up.
    """
    if config.preload:
        raise ConfigError("--preload is for the command line: this application is loaded already")
    parent = os.getpid()
    code = EXIT_FAILED
    common = _open(config)
    logs.set_mode(logs.Mode.POLLED)
    try:
        program = Program(
            config,
            common,
            _explain_briefly,
            loader=lambda entered, warn: application,
            configures_logs=configures_logs,
        )
        code = _supervise(program, lambda: program, Notifier({}))
    except BootFailed as failure:
        kind = LoadError if failure.code == EXIT_NOT_LOADED else ConfigError
        raise kind(failure.report) from None
    finally:
        close_all(common.sockets)
        common.holding.release()
        if os.getpid() != parent:
            # What the program does after serve(), and at its exit, is its first process's to do.
            flush()
            os._exit(code)
        logs.set_mode(logs.Mode.DIRECT)
    if code:
        raise ConfigError("The processes did not end well; the log says why")


def _explain_briefly(error: Exception) -> tuple[int, str]:
    code = EXIT_NOT_LOADED if isinstance(error, LoadError) else EXIT_FAILED
    return code, str(error) if isinstance(error, WsgiAsyncError) else repr(error)

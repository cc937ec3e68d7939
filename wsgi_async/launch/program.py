"""What each process runs: the application as the options have it, and the server around it.

A program is made in the parent, from one reading of the options, and runs in processes that are
forked from there, or from the loader of ``--preload``.
"""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import faulthandler
import gc
import math
import os
import re
import sys
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from wsgi_async._imports import StandardFirst, preload
from wsgi_async.applications.composition import compose
from wsgi_async.buffers.budgets import require_directory
from wsgi_async.config.gateways import speak_to
from wsgi_async.config.hooks import Hooks
from wsgi_async.config.options import Config
from wsgi_async.config.paste_spec import paste_specs
from wsgi_async.config.shown import shown_call
from wsgi_async.config.sources import SECRETS, Settings
from wsgi_async.config.tls_options import password_file
from wsgi_async.connection.observed import current_request_id
from wsgi_async.errors import EXIT_FAILED, ConfigError, LoadError
from wsgi_async.events import Observer
from wsgi_async.logs import setup as logs
from wsgi_async.logs.formatters import name_requests
from wsgi_async.logs.measures import measure
from wsgi_async.logs.observer import LogObserver
from wsgi_async.logs.stderr import adopt_stderr, capture_stderr, finish_stderr
from wsgi_async.processes import Boot, Program, TimeLimits, end_with_parent
from wsgi_async.server.connection_counts import ConnectionCounts, OwnCount
from wsgi_async.server.server import Server
from wsgi_async.server.stopping import IDLE_LINGER
from wsgi_async.system.cpu_affinity import pin
from wsgi_async.system.event_loop import import_late_modules, new_event_loop
from wsgi_async.system.forks import Holding, fence
from wsgi_async.system.greenlets import refuse_greenlets
from wsgi_async.system.inodes import inode_of
from wsgi_async.system.sockets import BoundSocket, anchored, close_all
from wsgi_async.system.surroundings import Surroundings, keep_standard_descriptors
from wsgi_async.system.systemd import VARIABLES
from wsgi_async.system.user import Identity, parse_umask
from wsgi_async.tls.inherited import SharedContexts
from wsgi_async.tls.renewal import LOOK_EVERY
from wsgi_async.wsgi.types import Application

from .child import serve_under_supervisor
from .descriptors import raise_descriptor_limit
from .log_files import log_observer
from .touched import Scripts

if TYPE_CHECKING:
    from wsgi_async.operations.statsd import Statsd

    from .operations import Operations

__all__ = [
    "Common",
    "Explain",
    "Loading",
    "ServerProgram",
    "absolute",
    "call_safely",
    "import_late",
]

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
Install = Callable[[MutableMapping[str, str], Warn], object]
"""Puts something of ours where the application will find it; told its environment, and what to tell
of doubts."""
Explain = Callable[[Exception], tuple[int, str]]
"""For what ended a start: the exit code, and a line that says what to change, with a traceback
beneath it where that helps."""


class Common(NamedTuple):
    """What all processes of a server have in common."""

    sockets: list[BoundSocket]
    """They listen already."""
    counts: ConnectionCounts
    holding: Holding
    operations: Operations | None = None
    """Where an option asks for it."""

    def close(self) -> None:
        """Stop listening, and remove the socket files that are this process's. Harmless if
        repeated."""
        close_all(self.sockets)
        self.holding.release()
        if self.operations is not None:
            self.operations.close()


class ServerProgram(Program):
    """A WSGI application, and all options about how it is served.

    :param config: its options.
    :param common: see there.
    :param explain: see :data:`Explain`.
    :param linger: seconds for which a process that was replaced keeps idle connections.
    :param loader: what there is to do before the application is there, and how it is had. It is
        given what is to be called in between, and what is to be told of doubts.
    :param subscribers: makes what a serving process tells of itself to, besides the log.
    :param certificates: what they come to for TLS.
    :param statsd: where ``--statsd-host`` is, if anywhere.
    :param fixed: options that no reload can change, by name.
    :param hooks: called in processes.
    :param configures_logs: whether the logs are the server's, not those of a program around it.
    :param directory: where the processes run, by a name that the parent can use; empty where that
        is where it runs itself.
    :param scripts: files of the application to be looked at, where somebody may touch them to have
        them loaded anew.
    :param shown: makes what is shown of the options. Without it they are those of a call.
    """

    def __init__(
        self,
        config: Config,
        common: Common,
        explain: Explain,
        *,
        loader: Callable[[Callable[[], object], Warn], Application],
        subscribers: Callable[[], Sequence[Observer]] = tuple,
        certificates: SharedContexts | None = None,
        statsd: Statsd | None = None,
        fixed: Mapping[str, object] = MappingProxyType({}),
        hooks: Hooks | None = None,
        linger: float = IDLE_LINGER,
        configures_logs: bool = True,
        directory: str = "",
        scripts: Scripts | None = None,
        shown: Callable[[], Mapping[str, Any]] | None = None,
    ) -> None:
        self.config = config
        self.shown = shown or partial(shown_call, config)
        self.directory = directory
        self.configures_logs = configures_logs
        self.common = common
        self.processes = config.workers
        self.preload = config.preload
        self.limits = TimeLimits(
            boot=config.boot_timeout,
            beat=config.timeout,
            graceful=config.graceful_timeout,
            drain_delay=config.drain_delay,
            linger=linger,
        )
        self.statsd = statsd
        self.fixed = fixed
        self.hooks = hooks or Hooks()
        is_looking = certificates is not None or scripts is not None
        self.look_every = LOOK_EVERY if is_looking else math.inf
        self._scripts = scripts
        self._certificates = certificates
        self._explain = explain
        self._loader = loader
        self._subscribers = subscribers

    def look(self) -> bool:
        """*In the parent:* whether there are new certificates."""
        for path in self._scripts.look() if self._scripts is not None else ():
            LogObserver().info(
                f"{path} has changed: kill -HUP {os.getpid()} loads it anew, without a lost "
                "request; --reload does so by itself while you work on it"
            )
        try:
            if self._certificates is None or not self._certificates.look():
                return False
            shown = self._certificates.contexts.certificates
            LogObserver().certificates(shown, are_renewed=True)
        except Exception as error:  # the parent goes on, and so do its processes
            LogObserver().error("an error inside the server", error)
            return False
        return True

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
        if self.common.operations is not None:
            self.common.operations.leave()
        if self._certificates is not None:
            self._certificates.disown()
        # SIGABRT writes the stacks of all threads, also where Python code cannot run any more.
        faulthandler.enable(logs.error_descriptor(), all_threads=True)
        warn = (lambda _: None) if is_one_of_many else LogObserver().warning
        before = [inode_of(sock.fileno()) for sock in self.common.sockets]
        pid = os.getpid()
        capture_stderr(current_request_id)
        try:
            application = self._loader(entered, warn)
        finally:
            # What has their numbers now is the application's to close.
            after = zip(self.common.sockets, before, strict=True)
            lost = [sock.detach() for sock, inode in after if inode_of(sock.fileno()) != inode]
            # An application's dictConfig() takes over what exists before it.
            logs.reclaim()
            adopt_stderr(current_request_id)
            name_requests(current_request_id)
            keep_standard_descriptors()
        if lost and os.getpid() == pid:  # else a hook has forked, and its child has no sockets
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

    def renounce(self) -> None:
        """*In a process beside those that serve:* what they have is none of its own."""
        for sock in self.common.sockets:
            sock.disown_file()
        self.close_sockets()
        if self._certificates is not None:
            self._certificates.close()

    def serve(self, application: Application | None, boot: Boot) -> int:
        """*In a new process:* until told to end."""
        is_preloaded = application is not None
        if self.config.cpu_affinity:  # before the application is loaded: it may start threads
            try:
                pin(boot.place)
            except OSError as error:
                LogObserver().warning(f"--cpu-affinity has no effect: {error.strerror}")
        try:
            if application is None:
                application = self.load(
                    lambda: self.hooks.forked(boot.number), is_one_of_many=boot.place > 0
                )
            else:
                self.hooks.forked(boot.number)
            with fence():
                subscribers = self._subscribers()
            return self._serve(application, subscribers, boot, is_preloaded=is_preloaded)
        finally:
            call_safely(LogObserver(), self.hooks.leaving)
            finish_stderr()
            logs.flush()

    def _serve(
        self,
        application: Application,
        subscribers: Sequence[Observer],
        boot: Boot,
        *,
        is_preloaded: bool,
    ) -> int:
        config = self.config
        logs.reclaim()  # a hook or a subscriber may have done so too
        if is_preloaded:
            logs.reopen()  # the loader has the files of its own start, which may be renamed by now
        faulthandler.enable(logs.error_descriptor(), all_threads=True)
        raise_descriptor_limit()
        if config.switch_interval:
            sys.setswitchinterval(config.switch_interval)
        application = self.hooks.loaded(application)
        logs.write_by_thread()
        source = None if self._certificates is None else self._certificates.inherit()
        log = log_observer(config, announces=False)
        operations = self.common.operations
        observers: list[Observer] = [log]
        sample = None
        if operations is not None:
            counting = operations.handed.observer(boot.number, log.warning)
            observers.append(counting)
            sample = counting.sample
            observers += operations.handed.journaling(boot.number)
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            stuck = runner.run(
                serve_under_supervisor(
                    application,
                    config,
                    (*observers, *subscribers),
                    self.common.sockets,
                    self._own_count(boot.number),
                    boot.channel,
                    reopen_logs=logs.reopen,
                    linger=self.limits.linger,
                    context_source=source,
                    sample=sample,
                    prepare=partial(self._prepare, boot),
                )
            )
        return EXIT_FAILED if stuck else 0

    def _prepare(self, boot: Boot, server: Server) -> None:
        """Have statsd told of this process, where there is one, and questions about it answered,
        where somebody may ask."""
        if self.common.operations is not None:
            self.common.operations.handed.answer(boot.number, lambda: server.insight)
        measure(self.statsd)
        if self.statsd is not None:
            workers = partial(self._count_processes, boot.number)
            self.statsd.attach(server, place=boot.place, workers=workers)

    def _count_processes(self, number: int, is_over: bool) -> int | None:
        """How many processes accept connections. One of them tells, again and again, and not the
        parent: it has no timer, and nobody to look up where statsd is by now.

        :param number: which process asks: None where another one is to tell.
        """
        accepting = self.common.counts.connections()
        return len(accepting) if not accepting or number == min(accepting) else None

    def _own_count(self, number: int) -> OwnCount | None:
        """A process that is alone need not share; nor can one for which there is no room."""
        counts = self.common.counts
        is_counted = self.processes > 1 or self.statsd is not None
        if not is_counted or number >= counts.capacity:
            return None
        return counts.join(number)

    def explain(self, error: Exception, boot: Boot) -> int:
        """*In a new process:* say why it cannot start: to the operator at the first start, who
        looks at the terminal, and later in the log."""
        code, text = self._explain(error)
        if not boot.is_first or not boot.channel.say("failed", text):
            LogObserver().report(text)
        return code


def import_late(settings: Settings) -> None:
    """Import what is imported late, in the parent: its processes have it then, and there the
    application's directory comes first on the path."""
    import_late_modules()
    preload(*(module for option, module in _LATE.items() if getattr(settings.launch, option)))
    if settings.launch.reload:
        preload("platform")  # which watchfiles imports as it begins
    if paste_specs(settings.launch.app, settings.launch.mount):
        preload("wsgi_async.applications.paste_files")
    if speak_to(settings.config.bind, settings.config.protocol):
        preload("wsgi_async.server.front_servers")
    with StandardFirst(), contextlib.suppress(LookupError):  # composition says what is wrong
        codecs.lookup(settings.launch.encode_str or "utf-8")


def absolute(config: Config, start: str) -> Config:
    """The configuration with names of files that mean the same after a --chdir."""

    def of_start(name: str) -> str:
        return name if name in ("", "-") else os.path.join(start, name)

    log_config, syslog = config.log_config, config.log_syslog_to
    if re.match(r"unix:(?://)?[^/]", syslog):
        syslog = f"unix:{of_start(re.sub('^unix:(?://)?', '', syslog))}"
    password = config.keyfile_password
    if (named := password_file(password)) is not None:
        password = f"file:{of_start(named)}"
    return replace(
        config,
        error_logfile=of_start(config.error_logfile),
        access_logfile=of_start(config.access_logfile),
        log_syslog_to=syslog,
        log_config=of_start(log_config) if isinstance(log_config, str) else log_config,
        spool_dir=of_start(config.spool_dir),
        certfile=tuple(map(of_start, config.certfile)),
        keyfile=tuple(map(of_start, config.keyfile)),
        keyfile_password=password,
        ca_certs=of_start(config.ca_certs),
        statsd_host=anchored(config.statsd_host, start),
        dashboard_token_file=of_start(config.dashboard_token_file),
    )


class Loading:
    """Makes a new process what it is to be, and loads the application into it.

    :param install: called before any code of the application; see :data:`Install`.
    """

    def __init__(
        self,
        settings: Settings,
        environ: MutableMapping[str, str],
        start: str,
        identity: Identity | None,
        application: Application | None = None,
        install: Install | None = None,
    ) -> None:
        self._application = application
        self._install = install
        self._settings = settings
        self._environ = environ
        self._identity = identity
        self._spool_dir = absolute(settings.config, start).spool_dir
        self._surroundings = Surroundings(
            start=start,
            chdir=settings.launch.chdir,
            pythonpath=settings.launch.pythonpath,
            env_file=settings.launch.env_file,
            env=settings.launch.env,
        )
        import_late(settings)

    def __call__(self, entered: Callable[[], object], warn: Warn) -> Application:
        settings, environ, identity = self._settings, self._environ, self._identity
        for name in (*VARIABLES, *SECRETS):
            environ.pop(name, None)
        if identity is not None:
            environ.update(identity.variables)
        mask = parse_umask(settings.launch.umask)
        if mask is not None:
            os.umask(mask)
        # Still as root, who may read a file of secrets that the application's user may not.
        self._surroundings.enter(environ)
        if self._install is not None:
            self._install(environ, warn)
        entered()
        if identity is not None:
            identity.assume()
            end_with_parent()
        require_directory(self._spool_dir)  # again: as the user that will write there
        with fence():
            logs.follow_log_config()
            application = compose(settings, self._application, warn)
        refuse_greenlets()
        return application


def call_safely(observer: Observer, hook: Callable[..., None], *args: int) -> None:
    """Call a hook where its error is no reason to stop serving."""
    try:
        hook(*args)
    except ConfigError as error:
        observer.report("\n".join([str(error), *getattr(error, "__notes__", ())]))

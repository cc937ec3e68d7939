"""Where the command line and the call ``serve()`` meet: a configuration becomes a server."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterable, MutableMapping
from typing import TYPE_CHECKING, Any

from wsgi_async.config.calls import changed, given, make_config, refuse
from wsgi_async.config.hooks import Hooks
from wsgi_async.config.option import Group, Scope
from wsgi_async.config.options import LAUNCH_OPTIONS, Config
from wsgi_async.config.sources import Settings
from wsgi_async.errors import EXIT_FAILED, EXIT_NOT_LOADED, ConfigError, LoadError, WsgiAsyncError
from wsgi_async.events import Observer, check_subscriber
from wsgi_async.logs import setup as logs
from wsgi_async.logs.measures import measure
from wsgi_async.logs.observer import LogObserver
from wsgi_async.processes import BootFailed
from wsgi_async.server.server import Server
from wsgi_async.system.event_loop import new_event_loop
from wsgi_async.system.forks import flush
from wsgi_async.system.sockets import DEFAULT_PORT
from wsgi_async.system.surroundings import start_directory
from wsgi_async.system.systemd import Notifier
from wsgi_async.wsgi.types import Application

from .certificates import Sharing
from .log_files import configure_logs, log_observer
from .metrics import Outlets
from .parent import launch, open_sockets, supervise
from .program import ServerProgram

if TYPE_CHECKING:
    from wsgi_async.operations.statsd import Statsd

__all__ = ["serve", "serve_settings"]


def serve(
    application: Application,
    port: int = DEFAULT_PORT,
    *,
    host: str = "localhost",
    observers: Iterable[Observer] = (),
    **options: Any,
) -> None:
    """Serve a WSGI application until SIGINT or SIGTERM, then finish what is in flight.

    :param application: the WSGI application.
    :param port: TCP port; 0 for any free one.
    :param host: default 127.0.0.1 and [::1]; "" for all interfaces.
    :param observers: told what happens, besides the log: see :mod:`wsgi_async.events`. With
        ``workers`` each process has them as they are when it is forked.
    :param options: the fields of :class:`Config` by name; with ``bind``, leave out port and host.
    :raises ConfigError: a wrong option, or an address that cannot be had.
    :raises LoadError: the application did not answer its warm-up.
    :raises RuntimeError: called inside a running event loop.

    The log goes where the options about logs say. Without such an option it goes to the program's
    own logging, if that is set up, and else to standard error.

    In a thread other than the main one it serves too, with one process, but no signal can stop it
    there: ``Server(app).run_in_thread()`` can be stopped.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass
    else:
        raise RuntimeError(
            "serve() blocks, and an event loop is running here: "
            "use `async with Server(app, port):` or `await Server(app, port).serve_forever()`"
        )
    subscribers = tuple(observers)
    for subscriber in subscribers:
        check_subscriber(subscriber)
    if "bind" in options and (port, host) == (DEFAULT_PORT, "localhost"):
        config = make_config(None, None, options)
    else:
        config = make_config(port, host, options)
    if config.workers > 1:
        _refuse_other_threads()
    else:
        refuse(options, Scope.FLEET)
    asks_for_logs = bool(given(options, Scope.PROCESS, besides=Group.METRICS))
    _serve(application, config, subscribers, asks_for_logs=asks_for_logs)


def serve_settings(
    application: Application, settings: Settings, environ: MutableMapping[str, str]
) -> None:
    """Likewise, by all options that there are: for somebody else's command that has loaded the
    application and has a configuration of ours, as ``pserve`` has. *Main thread.*

    Without an option that needs a supervisor, or is the command line's alone, and without hooks,
    there is one process, this one. Otherwise it is the parent of those that serve.

    :param environ: the process's environment.
    :raises ConfigError: a wrong option, or an address that cannot be had.
    :raises LoadError: the application did not answer its warm-up.
    """
    options = changed(settings.config)
    of_launch = [spec for spec in LAUNCH_OPTIONS if spec.name in settings.values]
    has_hooks = type(settings.hooks) is not Hooks
    if (
        has_hooks
        or given(options, Scope.FLEET)
        or any(settings.values[spec.name].value != spec.default for spec in of_launch)
    ):
        _launch(application, settings, environ)
        return
    asks_for_logs = bool(given(options, Scope.PROCESS, besides=Group.METRICS))
    _serve(application, settings.config, (), asks_for_logs=asks_for_logs, notices=settings.notices)


def _serve(
    application: Application,
    config: Config,
    subscribers: tuple[Observer, ...],
    *,
    asks_for_logs: bool,
    notices: Iterable[str] = (),
) -> None:
    configures_logs = asks_for_logs or not logs.is_configured()
    if configures_logs:
        configure_logs(config)
    for notice in notices:
        LogObserver().warning(notice)
    outlets = Outlets()
    try:
        serve_it = _serve_processes if config.workers > 1 else _serve_alone
        serve_it(
            application,
            config,
            subscribers,
            statsd=outlets.of(config),
            configures_logs=configures_logs,
        )
    finally:
        outlets.close()
        if configures_logs:
            logs.release()


def _launch(
    application: Application, settings: Settings, environ: MutableMapping[str, str]
) -> None:
    parent = os.getpid()
    code = EXIT_FAILED
    try:
        code = launch(
            settings,
            environ=environ,
            start=start_directory(environ),
            reread=lambda: settings,
            explain=_explain_briefly,
            application=application,
        )
    except BootFailed as failure:
        raise _refusal(failure) from None
    finally:
        _leave_to(parent, code)
    _check_end(code)


def _refusal(failure: BootFailed) -> WsgiAsyncError:
    kind = LoadError if failure.code == EXIT_NOT_LOADED else ConfigError
    return kind(failure.report)


def _leave_to(parent: int, code: int) -> None:
    """End a process that has been forked meanwhile: what the program does after it has served, and
    at its exit, is its first process's to do."""
    if os.getpid() != parent:
        flush()
        os._exit(code)


def _check_end(code: int) -> None:
    if code:
        raise ConfigError("The processes did not end well; the log says why")


def _serve_alone(
    application: Application,
    config: Config,
    subscribers: tuple[Observer, ...],
    *,
    statsd: Statsd | None,
    configures_logs: bool,
) -> None:
    logs.follow_log_config()
    log = log_observer(config)
    server = Server(application, config=config, observer=log, observers=subscribers)
    if statsd is not None:
        measure(statsd)
        statsd.attach(server)
    if configures_logs:
        logs.write_by_thread()
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(server.serve_until_signalled())


def _refuse_other_threads() -> None:
    """Signals come to the main thread, and a supervisor lives by them (SIGCHLD)."""
    if threading.current_thread() is not threading.main_thread():
        raise ConfigError("workers above 1 need the main thread: call serve() there")


def _serve_processes(
    application: Application,
    config: Config,
    subscribers: tuple[Observer, ...],
    *,
    statsd: Statsd | None,
    configures_logs: bool,
) -> None:
    """Processes for a program that has its application already: ``serve(app, workers=2)``.

    :param configures_logs: False where the program's own logging is to be used.
    :raises ConfigError: an address cannot be had, or an option that needs the command line.
    :raises LoadError: the application did not answer its warm-up.
    """
    if config.preload:
        raise ConfigError("--preload is for the command line: this application is loaded already")
    parent = os.getpid()
    code = EXIT_FAILED
    sharing = Sharing()
    certificates = sharing.of(config)
    common = open_sockets(config)
    measure(statsd)
    logs.set_mode(logs.Mode.POLLED)

    def load(entered: Callable[[], object], warn: Callable[[str], object]) -> Application:
        logs.follow_log_config()
        return application

    try:
        program = ServerProgram(
            config,
            common,
            _explain_briefly,
            loader=load,
            subscribers=lambda: subscribers,
            certificates=certificates,
            statsd=statsd,
            configures_logs=configures_logs,
        )

        def make_next() -> ServerProgram:
            sharing.of(config)
            return program

        code = supervise(program, make_next, Notifier({}))
    except BootFailed as failure:
        raise _refusal(failure) from None
    finally:
        common.close()
        sharing.close()
        _leave_to(parent, code)
        logs.set_mode(logs.Mode.DIRECT)
    _check_end(code)


def _explain_briefly(error: Exception) -> tuple[int, str]:
    code = EXIT_NOT_LOADED if isinstance(error, LoadError) else EXIT_FAILED
    return code, str(error) if isinstance(error, WsgiAsyncError) else repr(error)

"""Where the command line and the call ``serve()`` meet: a configuration becomes a server."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from wsgi_async.config.calls import given, make_config, refuse
from wsgi_async.config.option import Scope
from wsgi_async.errors import ConfigError
from wsgi_async.logs import observer as logs
from wsgi_async.server.event_loop import new_event_loop
from wsgi_async.server.server import Server
from wsgi_async.system.sockets import DEFAULT_PORT
from wsgi_async.wsgi.response import Application

from . import parent as launch

__all__ = ["serve"]


def serve(
    application: Application, port: int = DEFAULT_PORT, *, host: str = "localhost", **options: Any
) -> None:
    """Serve a WSGI application until SIGINT or SIGTERM, then finish what is in flight.

    :param application: the WSGI application.
    :param port: TCP port; 0 for any free one.
    :param host: default 127.0.0.1 and [::1]; "" for all interfaces.
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
    if "bind" in options and (port, host) == (DEFAULT_PORT, "localhost"):
        config = make_config(None, None, options)
    else:
        config = make_config(port, host, options)
    if config.workers > 1:
        _refuse_other_threads()
    else:
        refuse(options, Scope.FLEET)
    configures_logs = bool(given(options, Scope.PROCESS)) or not logs.is_configured()
    if configures_logs:
        launch.configure_logs(config)
    if config.workers > 1:
        launch.serve_processes(application, config, configures_logs=configures_logs)
        return
    observer = logs.LogObserver(access=bool(config.access_logfile))
    server = Server(application, config=config, observer=observer)
    if configures_logs:
        logs.write_by_thread()
    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(server.serve_until_signalled())
    finally:
        if configures_logs:
            logs.release()


def _refuse_other_threads() -> None:
    """Signals come to the main thread, and a supervisor lives by them (SIGCHLD)."""
    if threading.current_thread() is not threading.main_thread():
        raise ConfigError("workers above 1 need the main thread: call serve() there")

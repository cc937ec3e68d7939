"""SIGHUP, from the signal to the new program. With ``--reload`` a changed source file goes
the same way.

1. The parent's signal handler notes the signal, and its loop asks for a new program
   (``Supervisor._reload`` in ``processes/supervisor.py``, which calls :meth:`Reloading.next`).
2. The options are gathered again (``reread``): the same arguments, and files and variables as they
   are now. What is wrong with them is logged, and all stays as it is.
3. The logs go where the options say now, the hooks that were read take over from the former ones,
   and what cannot change before the next start is said: :meth:`Reloading.next`.
4. The new :class:`~wsgi_async.launch.program.ServerProgram` goes back to the supervisor, with its
   own number of processes and limits of time. ``Fleet.reload`` replaces the old processes one by
   one; each new one, or a new loader with ``--preload``, runs ``ServerProgram.load`` and so has the
   new code. One that does not start ends the reload, and the old ones go on.

``serve(app, workers=2)`` has its options and its application from the program that calls it, and
``main(app)`` its application: there, only what is read anew (files, variables) can change. With
``--reload`` the old processes do not leave one by one, but at once.

*In the parent.*
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from wsgi_async.config.sources import Settings
from wsgi_async.errors import ConfigError
from wsgi_async.events import Observer
from wsgi_async.logs.measures import measure
from wsgi_async.system.user import Identity

from .log_files import configure_logs
from .program import ServerProgram, call_safely

__all__ = ["Reloading", "fixed_at_start"]

_FIXED = (
    *("bind", "protocol", "backlog", "socket_mode", "socket_owner", "pid", "user", "group"),
    *("reload", "reload_dir", "reload_include"),
    *("metrics_bind", "metrics_collector"),
    *("control_socket", "control_socket_mode", "dashboard_bind", "dashboard_token_file"),
)
"""Options that the parent has followed once and for all: its sockets, who it lets serve, its
watcher, and where the operations process listens."""


def fixed_at_start(settings: Settings) -> dict[str, object]:
    """What no reload can change, by name."""
    config, launch = settings.config, settings.launch
    return {name: getattr(config if hasattr(config, name) else launch, name) for name in _FIXED}


class Reloading:
    """The program in force, and the way to the next one.

    :param program: the first one.
    :param make: makes the next one from the options as they are then.
    :param observer: told what happens.
    :param identity: as whom the processes will open the log files again.
    """

    def __init__(
        self,
        program: ServerProgram,
        make: Callable[[], ServerProgram],
        observer: Observer,
        identity: Identity | None,
    ) -> None:
        self.program = program
        """The one in force."""
        self._fixed: Mapping[str, object] = program.fixed
        self._make = make
        self._observer = observer
        self._identity = identity

    def next(self) -> ServerProgram:
        """The new program.

        :raises ConfigError: the options, or files that they name, are wrong now.
        """
        program = self._make()
        if bool(program.config.certfile) != bool(self.program.config.certfile):
            raise ConfigError(
                "--certfile cannot come or go while the server runs, for clients of its addresses "
                "would meet what they do not expect: restart it"
            )
        if program.configures_logs:  # first, for a file may not be had
            configure_logs(program.config, self._identity, program.directory)
        measure(program.statsd)
        program.hooks.follow(self.program.hooks)
        self.program = program
        for name, value in program.fixed.items():
            if value != self._fixed[name]:
                flag = f"--{name.replace('_', '-')}"
                self._observer.warning(f"{flag} has changed: that takes effect at the next start")
        call_safely(self._observer, program.hooks.reloading)
        return program

"""The turns in a server's life at which a configuration may have something of its own done.

The server calls these methods; those of :class:`Hooks` do nothing. ``wsgi_async.foreign.hooks``
has the hooks of a gunicorn file behind them.
"""

from __future__ import annotations

from wsgi_async.wsgi.types import Application

__all__ = ["Hooks"]


class Hooks:
    """Nothing at all. An error that a method raises is a ConfigError: one line, with the traceback
    as its note.

    The number of a process is small, and no other living process has it.
    """

    def follow(self, former: Hooks) -> None:
        """*In the parent:* this is what a reload has read, in the place of `former`."""

    def starting(self, processes: int) -> None:
        """*In the parent:* before anything else, the sockets included."""

    def listening(self) -> None:
        """*In the parent:* clients may connect, and no process has been started."""

    def forking(self, number: int) -> None:
        """*In the parent:* a process is about to be started. Where it raises, it is not."""

    def ended(self, number: int, pid: int) -> None:
        """*In the parent:* a process is gone."""

    def wanted(self, processes: int, before: int) -> None:
        """*In the parent:* so many processes are to serve from now on."""

    def reloading(self) -> None:
        """*In the parent:* the configuration has been read again; new processes follow."""

    def exiting(self) -> None:
        """*In the parent:* all processes are gone."""

    def forked(self, number: int) -> None:
        """*In a process:* its environment, directory and path are as they will be; it may still be
        root. Without ``--preload`` the application is loaded after this."""

    def loaded(self, application: Application) -> Application:
        """*In a process:* the application is loaded, and no connection accepted.

        :returns: what is to be served.
        """
        return application

    def leaving(self) -> None:
        """*In a process:* it is about to end."""

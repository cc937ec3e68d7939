"""The interface of ``flup.server.scgi``, with this server behind it: SCGI, in threads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wsgi_async.wsgi.types import Application

from .flup import FlupServer, threads_of

__all__ = ["WSGIServer"]


class WSGIServer(FlupServer):
    """``flup.server.scgi.WSGIServer``: one process, and threads.

    :param scriptName: the part of the path that leads to the application.
    :param environ: what to add to each request's environ.
    :param multithreaded: False where the application is not safe to call in two threads at once.
    :param bindAddress: where to listen: ``(host, port)``, or the path of a unix socket.
    :param umask: permissions that the file of a unix socket does not get; None gives it 660.
    :param allowedServers: addresses of front servers that are served over TCP; None: those on this
        machine.
    :param maxThreads: how many run the application at most; None for 8.
    :raises ConfigError: an argument is wrong, or cannot be had here.

    `debug` shows nothing to a client: a traceback is in the log. `loggingLevel` is that of flup's
    own log, and of no use here.
    """

    def __init__(
        self,
        application: Application,
        scriptName: str | None = None,
        environ: Mapping[str, Any] | None = None,
        multithreaded: bool = True,
        multiprocess: bool = False,
        bindAddress: str | Sequence[Any] = ("localhost", 4000),
        umask: int | None = None,
        allowedServers: Sequence[str] | None = None,
        loggingLevel: int = 20,
        debug: bool = False,
        *,
        minSpare: int = 1,
        maxSpare: int = 5,
        maxThreads: int | None = None,
    ) -> None:
        super().__init__(
            application,
            "scgi",
            environ=environ,
            address=bindAddress,
            umask=umask,
            allowed=allowedServers,
            threads=threads_of(multithreaded, maxThreads),
            root_path=(scriptName or "").rstrip("/"),
        )

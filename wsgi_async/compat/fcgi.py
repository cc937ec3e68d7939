"""The interface of ``flup.server.fcgi``, with this server behind it: FastCGI, in threads.

::

    from wsgi_async.compat.fcgi import WSGIServer

    WSGIServer(application, bindAddress=("127.0.0.1", 9000)).run()
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from wsgi_async.errors import ConfigError
from wsgi_async.wsgi.types import Application

from .cgi import variable
from .flup import FlupServer, is_spawned, threads_of

__all__ = ["FCGI_RESPONDER", "FastCGIServer", "WSGIServer"]

FCGI_RESPONDER = 1
"""The role of an application that answers requests, and the only one there is here."""


_BY_HAND = (
    "wsgi_async: answered as a CGI script, with no request: no web server has started this, and no "
    "bindAddress says where to listen"
)


class FastCGIServer(FlupServer):
    """What the three FastCGI servers of flup have in common.

    :param bindAddress: where to listen: ``(host, port)``, or the path of a unix socket. None: the
        socket that a front server has started this process with, as its descriptor 0 (Apache's
        mod_fcgid, lighttpd, spawn-fcgi); where that is no listening socket the process is a CGI
        script, and answers its one request.
    :param umask: permissions that the file of a unix socket does not get; None gives it 660.
    :param multithreaded: False where the application is not safe to call in two threads at once.
    :param environ: what to add to each request's environ.
    :param roles: :data:`FCGI_RESPONDER` alone.
    :param forceCGI: be a CGI script in any case; the variable ``FCGI_FORCE_CGI=Y`` says so too.
    :raises ConfigError: an argument is wrong, or cannot be had here.

    The variable ``FCGI_WEB_SERVER_ADDRS`` names the front servers that are served over TCP, with
    commas between them; without it they are those on this machine. `multiplexed` is what no front
    server asks for: the requests of a connection come one after another. `debug` shows nothing to a
    client: a traceback is in the log.
    """

    def __init__(
        self,
        application: Application,
        environ: Mapping[str, Any] | None,
        bindAddress: str | Sequence[Any] | None,
        umask: int | None,
        roles: Sequence[int],
        forceCGI: bool,
        **options: Any,
    ) -> None:
        if tuple(roles) != (FCGI_RESPONDER,):
            raise ConfigError(f"roles: an application answers requests here, not {roles!r}")
        addresses = variable("FCGI_WEB_SERVER_ADDRS")
        super().__init__(
            application,
            "fastcgi",
            environ=environ,
            address=bindAddress,
            umask=umask,
            allowed=None if addresses is None else re.findall(r"[^\s,]+", addresses),
            **options,
        )
        self._is_external = bindAddress is not None
        self.forceCGI = forceCGI

    def run(self) -> bool:
        """*Main thread:* serve until SIGINT, SIGTERM or SIGHUP.

        :returns: whether it was SIGHUP, by which flup asks its caller to start anew.
        :raises ConfigError: an option is wrong, or the address cannot be had.
        :raises SystemExit: it was a CGI script, which has answered its request.
        """
        if not self._is_external:
            is_forced = self.forceCGI or (variable("FCGI_FORCE_CGI") or "N").upper()[:1] == "Y"
            if is_forced or not is_spawned():
                if not (is_forced or variable("REQUEST_METHOD")):
                    print(_BY_HAND, file=sys.stderr)
                self._run_as_script()
        return super().run()


class WSGIServer(FastCGIServer):
    """``flup.server.fcgi.WSGIServer``: one process, and threads.

    :param maxThreads: how many run the application at most; None for 8. There are no fewer of them
        while there is less to do, so that `minSpare` and `maxSpare` say nothing here.
    :param multiprocess: what ``wsgi.multiprocess`` is, this server knows by itself.

    The other arguments are those of :class:`FastCGIServer`.
    """

    def __init__(
        self,
        application: Application,
        environ: Mapping[str, Any] | None = None,
        multithreaded: bool = True,
        multiprocess: bool = False,
        bindAddress: str | Sequence[Any] | None = None,
        umask: int | None = None,
        multiplexed: bool = False,
        debug: bool = False,
        roles: Sequence[int] = (FCGI_RESPONDER,),
        forceCGI: bool = False,
        *,
        minSpare: int = 1,
        maxSpare: int = 5,
        maxThreads: int | None = None,
    ) -> None:
        threads = threads_of(multithreaded, maxThreads)
        super().__init__(application, environ, bindAddress, umask, roles, forceCGI, threads=threads)

"""What the servers of ``flup`` have in common, with this server behind it: FastCGI and SCGI for a
front server such as nginx, lighttpd or Apache.

A server of these runs in the process that calls it, until SIGINT, SIGTERM or SIGHUP; what is in
flight then is finished first.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from wsgi_async.config.calls import join_address
from wsgi_async.config.options import Config
from wsgi_async.errors import ConfigError
from wsgi_async.launch.serving import serve
from wsgi_async.system.surroundings import keep_standard_descriptors
from wsgi_async.wsgi.types import Application

from .cgi import run_as_script

__all__ = ["LISTENING_DESCRIPTOR", "FlupServer", "is_spawned", "threads_of"]

_DEFAULT_THREADS = Config().threads
_MOST_THREADS = 10_000

LISTENING_DESCRIPTOR = 0
"""Of a process that a front server has started: where it listens (FastCGI 1.0, section 2.2)."""

_OVERRIDDEN = ("error", "handler")


class FlupServer:
    """A server that :meth:`run` serves with.

    :param application: the WSGI application.
    :param protocol: ``fastcgi`` or ``scgi``.
    :param environ: what to add to each request's environ; None is nothing.
    :param address: ``(host, port)``, or the path of a unix socket; None is the descriptor
        :data:`LISTENING_DESCRIPTOR`.
    :param umask: permissions that the socket's file does not get; None gives it 660.
    :param allowed: addresses of front servers that are served over TCP; None: this machine's.
    :param options: more of those of :func:`wsgi_async.serve`.
    :raises ConfigError: an argument is wrong, or cannot be had here.
    """

    def __init__(
        self,
        application: Application,
        protocol: str,
        *,
        environ: Mapping[str, Any] | None,
        address: str | Sequence[Any] | None,
        umask: int | None,
        allowed: Iterable[str] | None = None,
        **options: Any,
    ) -> None:
        for name in _OVERRIDDEN:
            if hasattr(type(self), name):
                raise ConfigError(
                    f"{type(self).__name__}.{name}: there are no such hooks here; write middleware"
                )
        self.application = application
        self.environ: dict[str, Any] = dict(environ or {})
        self._allowed = allowed
        self._options = {"bind": (_address(address, protocol),), **options}
        if umask is not None:
            self._options["socket_mode"] = 0o777 & ~umask
        self._is_hung_up = False

    def run(self) -> bool:
        """*Main thread:* serve until SIGINT, SIGTERM or SIGHUP.

        :returns: whether it was SIGHUP, by which flup asks its caller to start anew.
        :raises ConfigError: an option is wrong, or the address cannot be had.
        """
        keep_standard_descriptors()  # a front server may give no others than the first
        options = dict(self._options)
        if self._allowed is not None:
            options["uwsgi_allow_from"] = tuple(self._allowed)
        self._is_hung_up = False
        is_main = threading.current_thread() is threading.main_thread()
        before = signal.signal(signal.SIGHUP, self._hang_up) if is_main else None
        try:
            serve(self._call if self.environ else self.application, **options)
        finally:
            if is_main:
                signal.signal(signal.SIGHUP, before)
        return self._is_hung_up

    def _hang_up(self, number: int, frame: object) -> None:
        self._is_hung_up = True
        signal.raise_signal(signal.SIGTERM)

    def _call(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """*Pool thread:* the application, as our server calls it."""
        environ.update(self.environ)
        return self.application(environ, start_response)

    def _run_as_script(self) -> None:
        """Answer the one request of a CGI script.

        :raises SystemExit: always, as flup has it.
        """
        run_as_script(self._call)


def threads_of(multithreaded: bool, most: int | None) -> int:
    """How many threads run the application.

    :param multithreaded: False where it is not safe to call in two threads at once.
    :param most: flup's `maxThreads`; None for our own default.
    """
    return min(most or _DEFAULT_THREADS, _MOST_THREADS) if multithreaded else 1


def is_spawned() -> bool:
    """Whether a front server has started this process with a listening socket for it."""
    try:
        listening = socket.socket(fileno=os.dup(LISTENING_DESCRIPTOR))
    except OSError:  # it is closed, or no socket
        return False
    with listening:
        return bool(listening.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def _address(address: object, protocol: str) -> str:
    """`address` as ``--bind`` would have it."""
    match address:
        case None:
            return f"{protocol}+fd://{LISTENING_DESCRIPTOR}"
        case str() | os.PathLike():
            return f"{protocol}+unix:{os.fspath(address)}"
        case (str(host), int(port)):
            return f"{protocol}://{join_address(host, port)}"
    raise ConfigError(f"bindAddress takes (host, port) or the path of a socket, not {address!r}")

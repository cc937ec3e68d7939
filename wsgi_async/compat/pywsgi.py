"""The interface of ``gevent.pywsgi.WSGIServer``, with this server behind it.

::

    from wsgi_async.compat.pywsgi import WSGIServer

    WSGIServer(("", 5000), app).serve_forever()

There are no greenlets: requests run in threads, and ``start()`` serves from a thread of its own, so
that the caller need not yield to anybody.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import time
import traceback
from collections.abc import Iterable
from types import TracebackType
from typing import Any

from wsgi_async.config.options import Config
from wsgi_async.errors import ConfigError
from wsgi_async.events import RequestInfo, ResponseInfo, client_address
from wsgi_async.logs.observer import LogObserver
from wsgi_async.logs.text import escape
from wsgi_async.server.server import Server
from wsgi_async.system.sockets import address_of, bind, close_all, listen

from .hosting import Host
from .ssl_arguments import IGNORED, TAKEN, read_arguments

__all__ = ["WSGIServer"]

DEFAULT_THREADS = Config().threads
STOP_TIMEOUT = 1.0


class WSGIServer:
    """A server that binds at :meth:`start`.

    :param listener: ``(host, port)``, ``"host:port"``, ``":port"``, ``"unix:path"``, a port, or a
        bound socket. Host ``""`` is all interfaces, IPv4 and IPv6.
    :param application: the WSGI application; it may be set later as an attribute.
    :param backlog: connections the kernel queues until they are accepted; None for 2048.
    :param spawn: how many threads run the application; ``"default"`` is 8; a pool, its ``size``;
        None, one.
    :param log: the access log: ``"default"`` for standard error, None for none, an object with
        ``write``, or one with ``log(level, message)`` such as a ``logging.Logger``.
    :param error_log: errors and ``wsgi.errors``: ``"default"`` for this package's logger, else as
        `log`.
    :param handler_class: None only: there are no such handlers here.
    :param environ: what to add to each request's environ.
    :param ssl_args: for TLS: ``certfile``, ``keyfile``, ``ca_certs``, ``cert_reqs`` and ``ciphers``
        as of :class:`~wsgi_async.Config` (the files are looked at again while it serves), and
        ``ssl_version``; or ``ssl_context``, an :class:`ssl.SSLContext`. What else gevent takes is
        of no use here.
    :raises ConfigError: an argument is wrong, or cannot be had here.

    All methods are for any thread.
    """

    stop_timeout: float = STOP_TIMEOUT
    """Seconds that requests in flight get at a stop that names none."""

    def __init__(
        self,
        listener: Any,
        application: Any = None,
        backlog: int | None = None,
        spawn: Any = "default",
        log: Any = "default",
        error_log: Any = "default",
        handler_class: None = None,
        environ: dict[str, Any] | None = None,
        **ssl_args: Any,
    ) -> None:
        _refuse(handler_class, ssl_args)
        tls, self._context = read_arguments(ssl_args, ssl_args.pop("ssl_context", None))
        self.application = application
        self.environ: dict[str, Any] = dict(environ or {})
        self._config = Config(
            bind=() if isinstance(listener, socket.socket) else (_address(listener),),
            threads=_threads(spawn),
            backlog=2048 if backlog is None else backlog,
            **tls,
        )
        self._is_tls = bool(self._config.certfile) or self._context is not None
        self._observer = _StreamLog(
            _stream(log, sys.stderr, _INFO), _stream(error_log, None, _ERROR)
        )
        self._given = listener if isinstance(listener, socket.socket) else None
        self._sockets: list[Any] = []
        self._host: Host | None = None

    # --- where it listens

    @property
    def address(self) -> Any:
        """``(host, port)`` once it is bound, the path of a unix socket; before, None."""
        if not self._sockets:
            return None
        name = self._sockets[0].getsockname()
        return name[:2] if isinstance(name, tuple) else name

    @property
    def server_host(self) -> str | None:
        """The address's host, None where there is none."""
        return self.address[0] if isinstance(self.address, tuple) else None

    @property
    def server_port(self) -> int | None:
        """The address's port, None where there is none."""
        return self.address[1] if isinstance(self.address, tuple) else None

    @property
    def socket(self) -> Any:
        """The listening socket; None before it is bound."""
        return self._sockets[0] if self._sockets else None

    @property
    def started(self) -> bool:
        """Whether it is serving."""
        return self._host is not None

    @property
    def closed(self) -> bool:
        """Whether it has no socket: before the start, and after the stop."""
        return not self._sockets

    def init_socket(self) -> None:
        """Bind and listen, without serving yet.

        :raises OSError: the address cannot be had.
        """
        if self._sockets:
            return
        if self._given is not None:
            self._sockets = [self._given]
        else:
            try:
                self._sockets = list(bind(self._config.bind, is_tls=self._is_tls))
            except ConfigError as error:
                cause = error.__cause__
                if isinstance(cause, OSError):  # what programs for gevent catch
                    raise OSError(cause.errno, str(error)) from error
                raise
        try:
            for sock in self._sockets:
                listen(sock, self._config.backlog)
        except BaseException:
            self.close()
            raise

    # --- serving

    def start(self) -> None:
        """Serve from a thread of its own, and return once connections are accepted.

        :raises OSError: the address cannot be had.
        """
        if self._host is not None:
            return
        self.init_socket()
        server = Server(self._call, config=self._config, observer=self._observer)
        server.context_source = self._context
        host = Host(server, self._sockets)
        try:
            host.start()
        except BaseException:
            self.close()
            raise
        self._host = host

    def stop(self, timeout: float | None = None) -> None:
        """Stop accepting, close the sockets, finish what is in flight.

        :param timeout: seconds after which those still in flight are dropped; None for
            :attr:`stop_timeout`.
        """
        host, self._host = self._host, None
        self.close()
        if host is not None:
            host.stop(self.stop_timeout if timeout is None else timeout)

    def close(self) -> None:
        """Close the listening sockets; connections that are there go on until :meth:`stop`."""
        sockets, self._sockets = self._sockets, []
        close_all(sockets)

    def serve_forever(self, stop_timeout: float | None = None) -> None:
        """Start, unless it is started already, and wait until another thread calls :meth:`stop`.

        :param stop_timeout: as `timeout` there, for the stop at an exception.
        :raises KeyboardInterrupt: at Ctrl-C, after the stop.
        """
        self.start()
        host = self._host
        assert host is not None
        try:
            host.has_ended.wait()
        finally:
            self.stop(stop_timeout)

    def __enter__(self) -> WSGIServer:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        where = ", ".join(map(address_of, self._sockets)) or "not bound"
        return f"<{type(self).__name__} {where}>"

    # --- requests

    def set_environ(self, environ: dict[str, Any] | None = None) -> None:
        """Replace what is added to each request's environ."""
        self.environ = dict(environ or {})

    def _call(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """*Pool thread:* the application, as our server calls it."""
        if self.application is None:
            raise RuntimeError("this server has no application: set server.application")
        environ.update(self.environ)
        return self.application(environ, start_response)  # type: ignore[no-any-return]


def _refuse(handler_class: object, ssl_args: dict[str, Any]) -> None:
    if handler_class is not None:
        raise ConfigError("handler_class: there are no request handlers here; use WSGI middleware")
    for name in ssl_args:
        if name not in (*TAKEN, *IGNORED, "ssl_context"):
            raise ConfigError(f"WSGIServer has no argument {name}")


def _address(listener: object) -> str:
    """`listener` as ``--bind`` would have it."""
    match listener:
        case bool():
            pass
        case int():
            return f":{listener}"
        case str():
            return f":{listener}" if listener.isascii() and listener.isdigit() else listener
        case (str() | None as host, int() as port):
            host = host or ""
            return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    raise ConfigError(
        f"listener takes (host, port), 'host:port', a port or a bound socket, not {listener!r}"
    )


def _threads(spawn: object) -> int:
    if spawn is None:
        return 1
    if spawn in ("default", "raw"):
        return DEFAULT_THREADS
    size = getattr(spawn, "size", spawn)
    if type(size) is not int or size < 1:
        raise ConfigError(
            f"spawn takes the number of threads, a pool with a size, or 'default', not {spawn!r}"
        )
    return size


_INFO, _ERROR = 20, 40
"""Levels of the module logging; gevent has 20 and 40 too."""


def _stream(log: Any, default: Any, level: int) -> Any:
    """What has the ``write`` for a log; None for none."""
    if log == "default":
        return default
    if log is None or callable(getattr(log, "write", None)):
        return log
    if callable(getattr(log, "log", None)):
        return _LoggerStream(log, level)
    raise ConfigError(f"a log takes an object with write() or log(), or None, not {log!r}")


class _LoggerStream:
    """What has ``log(level, message)``, as gevent's LoggingLogAdapter uses it."""

    def __init__(self, logger: Any, level: int) -> None:
        self._logger = logger
        self._level = level

    def write(self, text: str) -> None:
        # No arguments beside it, so that a Logger makes nothing of a "%".
        self._logger.log(self._level, text.rstrip("\n"))


class _StreamLog(LogObserver):
    """Writes the access log in gevent's format, and errors, to objects with ``write``.

    :param access: None for no access log.
    :param errors: None for this package's logger.
    """

    def __init__(self, access: Any, errors: Any) -> None:
        super().__init__(access=access is not None)
        self._access = access
        self._errors = errors

    def request_finished(self, request: RequestInfo, response: ResponseInfo) -> None:
        self._log_access(request.client, request, response.status, response.body_size, response)

    def _log_access(
        self,
        client: str,
        request: RequestInfo | None,
        status: int,
        body_size: int,
        response: ResponseInfo | None = None,
    ) -> None:
        host = client_address(client)[0] or client
        seconds = 0.0 if response is None else response.duration
        line = "-"
        if request is not None:
            line = escape(f"{request.method} {request.target} {request.version}")
        now = time.strftime("%Y-%m-%d %H:%M:%S")
        self._write(
            self._access,
            f'{escape(host)} - - [{now}] "{line}" {status} {body_size} {seconds:.6f}\n',
        )

    def app_error(
        self, request: RequestInfo, message: str, error: BaseException | None = None
    ) -> None:
        if self._errors is None:
            super().app_error(request, message, error)
            return
        text = "".join(traceback.format_exception(error)) if error is not None else ""
        line = escape(f"{request.method} {request.target}")
        self._write(self._errors, f"{text}{line} failed: {message}\n")

    def app_stderr(self, request: RequestInfo, text: str) -> None:
        if self._errors is None:
            super().app_stderr(request, text)
        else:
            self._write(self._errors, text.rstrip("\n") + "\n")

    def _write(self, log: Any, text: str) -> None:
        with contextlib.suppress(Exception):  # an observer must not raise
            log.write(text)

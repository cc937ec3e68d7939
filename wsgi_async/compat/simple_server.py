"""The interface of ``wsgiref.simple_server``, with this server behind it.

::

    from wsgi_async.compat.simple_server import make_server

    with make_server("", 8000, app) as httpd:
        httpd.serve_forever()

Different from wsgiref: connections are kept, requests run at the same time, in
:attr:`WSGIServer.threads` threads, none of which is the caller's; and ``""`` listens on IPv6 too.
Of the classes there, :class:`WSGIServer` and :class:`WSGIRequestHandler` here are subclasses, and
their constructors, addresses, ``with`` and log lines are theirs.
"""

from __future__ import annotations

import asyncio
import errno
import http.client
import selectors
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref import simple_server
from wsgiref.simple_server import demo_app

from wsgi_async.config.options import Config
from wsgi_async.errors import ConfigError
from wsgi_async.events import RequestInfo, ResponseInfo, client_address
from wsgi_async.logs.observer import LogObserver
from wsgi_async.server.server import Server
from wsgi_async.system.event_loop import new_event_loop
from wsgi_async.tls.given import wrapped_with
from wsgi_async.wsgi.types import Environ

from .hosting import Host

__all__ = ["WSGIRequestHandler", "WSGIServer", "demo_app", "make_server"]


_PORT_ATTEMPTS = 10

_OF_HANDLERS = {
    *("address_string", "get_environ", "get_stderr"),
    *("log_error", "log_message", "log_request"),
    *("date_time_string", "log_date_time_string"),
    # How wsgiref moves bytes; it changes nothing that a client sees here.
    *("disable_nagle_algorithm", "protocol_version", "rbufsize", "wbufsize"),
    *("monthname", "weekdayname"),
}
"""What a request handler may override."""

_NOT_OF_SERVERS = {
    *("close_request", "finish_request", "get_request", "handle_error", "process_request"),
    *("shutdown_request", "verify_request"),
}
"""What wsgiref calls for each connection, and this server does not."""


class WSGIRequestHandler(simple_server.WSGIRequestHandler):
    """What is known of one request, for its log line and its environ.

    A subclass may override ``log_message``, ``log_request``, ``log_error``, ``address_string``,
    ``get_environ`` and ``get_stderr``. The methods of the log are called on the loop's thread, when
    the response has ended: they must not wait for anything. The others run on the application's.
    """

    server: WSGIServer
    _environ: Environ

    def get_environ(self) -> Environ:
        """The environ without its ``wsgi.`` part, with ``server.base_environ`` in it; what is
        returned is what the application gets."""
        environ = {key: value for key, value in self._environ.items() if not _is_added(key)}
        host = self.address_string()
        if host != self.client_address[0]:
            environ["REMOTE_HOST"] = host
        return environ


def _fields(environ: Environ) -> Iterable[tuple[str, str]]:
    """The request's fields as they were sent, repeated ones apart; the environ joins them."""
    exchange: Any = environ["wsgi.errors"].log
    return exchange.info.fields  # type: ignore[no-any-return]


def _is_added(key: str) -> bool:
    return key.startswith(("wsgi.", "wsgi_async."))


class WSGIServer(simple_server.WSGIServer):
    """A server that is bound, and listens, from its construction on.

    :param server_address: ``(host, port)``; ``""`` for all interfaces, port 0 for any free one.
    :param RequestHandlerClass: a subclass of :class:`WSGIRequestHandler`.
    :param bind_and_activate: False: ``server_bind()`` and ``server_activate()`` are the caller's.
    :raises OSError: the address cannot be had.
    :raises ConfigError: a handler or a subclass overrides what is never called here.

    :meth:`shutdown` is for any other thread than that of :meth:`serve_forever`.
    """

    threads = 8
    """How many threads run the application."""
    request_queue_size = 2048

    def __init__(
        self,
        server_address: tuple[str, int],
        RequestHandlerClass: type[simple_server.WSGIRequestHandler] = WSGIRequestHandler,
        bind_and_activate: bool = True,
    ) -> None:
        self._handlers = _check_handler(RequestHandlerClass)
        _check_server(type(self))
        self._second: socket.socket | None = None
        self._host: Host | None = None
        self._lock = threading.Lock()
        self._is_asked = False
        self._is_shut_down = threading.Event()
        super().__init__(server_address, RequestHandlerClass, bind_and_activate)

    # --- sockets

    def server_bind(self) -> None:
        """Bind; ``""`` to the same port of IPv4 and, where there is one, of IPv6."""
        asked = self.server_address
        is_all = self.address_family == socket.AF_INET and asked[0] == ""
        for attempt in range(1, _PORT_ATTEMPTS + 1):
            super().server_bind()
            if not is_all:
                return
            try:
                self._second = _bind_ipv6(self.server_port)
                return
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    return  # there is no IPv6
                # Port 0: what was free for IPv4 can be taken for IPv6.
                if asked[1] or attempt == _PORT_ATTEMPTS:
                    raise
            self.socket.close()
            self.socket = socket.socket(self.address_family, self.socket_type)
            self.server_address = asked

    def server_activate(self) -> None:
        super().server_activate()
        if self._second is not None:
            self._second.listen(self.request_queue_size)

    def server_close(self) -> None:
        """Close the sockets; the server cannot be used again."""
        super().server_close()
        if self._second is not None:
            self._second.close()

    @property
    def _sockets(self) -> list[socket.socket]:
        return [self.socket, *([self._second] if self._second is not None else ())]

    # --- serving

    def serve_forever(self, poll_interval: float = 0.5) -> None:
        """Serve in this thread until :meth:`shutdown`, or until Ctrl-C, finish what is in flight,
        and return. It may be called again.

        :param poll_interval: seconds between two calls of ``service_actions``, if there is one.
        :raises KeyboardInterrupt: at Ctrl-C, once all is stopped; the second one stops at once.
        :raises RuntimeError: it is being served already, or a loop is running in this thread.
        """
        with self._lock:
            if self._host is not None:
                raise RuntimeError("this server is being served already")
            self._host = host = self._new_host(poll_interval)
            self._is_shut_down.clear()
            if self._is_asked:
                host.ask()
        try:
            host.run()
        finally:
            with self._lock:
                self._host = None
                self._is_asked = False
                self._is_shut_down.set()

    def shutdown(self) -> None:
        """Have :meth:`serve_forever` return, and wait until it has; where it has not begun yet,
        until it has begun and returned, as in the standard library."""
        with self._lock:
            if self._is_shut_down.is_set():
                return
            self._is_asked = True
            if self._host is not None:
                self._host.ask()
        self._is_shut_down.wait()

    def handle_request(self) -> None:
        """Serve one request, of the first client that connects, and return.

        After :attr:`timeout` seconds without one, ``handle_timeout()`` is called instead.
        """
        accepted = self._accept()
        if accepted is None:
            self.handle_timeout()
            return
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(self._serve_once(*accepted))

    def _accept(self) -> tuple[socket.socket, object] | None:
        """The first connection and its client's address, or None where none came in time."""
        times = [time for time in (self.socket.gettimeout(), self.timeout) if time is not None]
        deadline = time.monotonic() + min(times) if times else None
        with selectors.DefaultSelector() as selector:
            for sock in self._sockets:
                selector.register(sock, selectors.EVENT_READ)
            while True:
                left = None if deadline is None else deadline - time.monotonic()
                ready = selector.select(left)
                for key, _ in ready:
                    listener = key.fileobj
                    assert isinstance(listener, socket.socket)
                    patience = listener.gettimeout()
                    listener.setblocking(False)  # the client may be gone again
                    try:
                        # One that was wrapped would shake hands here, and wait for it.
                        return socket.socket.accept(listener)
                    except (BlockingIOError, ConnectionAbortedError):
                        continue
                    finally:
                        listener.settimeout(patience)
                if left is not None and left <= 0:
                    return None

    async def _serve_once(self, connection: socket.socket, peer: object) -> None:
        server = self._new_server(threads=1, keep_alive=0.0)
        try:
            await server.start(())
            await server.serve_once(connection, peer)
        finally:
            connection.close()
            await server.stop()

    def _new_host(self, poll_interval: float) -> Host:
        acts = type(self).service_actions is not socketserver.BaseServer.service_actions
        server = self._new_server(threads=self.threads)
        return Host(
            server,
            self._sockets,
            every=poll_interval,
            act=self.service_actions if acts else None,
        )

    def _new_server(self, **options: Any) -> Server:
        config = Config(backlog=self.request_queue_size, **options)
        server = Server(self._call, config=config, observer=_HandlerLog(self))
        server.context_source = wrapped_with(self.socket)
        return server

    # --- requests

    def _call(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        """*Pool thread:* the application, as our server calls it."""
        application: Any = self.get_app()
        if application is None:
            raise RuntimeError("this server has no application: call set_app(application)")
        for name, value in self.base_environ.items():
            if value or name not in ("REMOTE_HOST", "CONTENT_LENGTH"):
                environ[name] = value
        if self._handlers.isdisjoint(("get_environ", "address_string", "get_stderr")):
            return application(environ, start_response)  # type: ignore[no-any-return]
        handler = self._describe(
            (environ["REMOTE_ADDR"], int(environ["REMOTE_PORT"] or 0)),
            environ["REQUEST_METHOD"],
            environ["RAW_URI"],
            environ["SERVER_PROTOCOL"],
            _fields(environ),
        )
        handler._environ = environ
        if "get_stderr" in self._handlers:
            environ["wsgi.errors"] = handler.get_stderr()
        own = {key: value for key, value in environ.items() if _is_added(key)}
        return application(own | handler.get_environ(), start_response)  # type: ignore[no-any-return]

    def _describe(
        self,
        client_address: tuple[str, int],
        command: str,
        path: str,
        version: str,
        fields: Iterable[tuple[str, str]],
    ) -> WSGIRequestHandler:
        """A handler that knows a request; it never reads or writes one."""
        handler_class: Any = self.RequestHandlerClass
        handler: WSGIRequestHandler = handler_class.__new__(handler_class)
        handler.server = self
        handler.client_address = client_address
        handler.command, handler.path, handler.request_version = command, path, version
        handler.requestline = f"{command} {path} {version}" if command else ""
        handler.headers = http.client.HTTPMessage()
        for name, value in fields:
            handler.headers[name] = value
        return handler


class _HandlerLog(LogObserver):
    """Has the handlers write the access log, and the loggers of this package everything else."""

    def __init__(self, server: WSGIServer) -> None:
        super().__init__(access=True)
        self._server = server

    def request_finished(self, request: RequestInfo, response: ResponseInfo) -> None:
        self._have_logged(
            request.client,
            request,
            lambda handler: handler.log_request(str(response.status), response.body_size),
        )

    def request_refused(
        self,
        client: str,
        status: int,
        detail: str,
        request: RequestInfo | None = None,
        *,
        is_running: bool = False,
    ) -> None:
        self._have_logged(
            client,
            request,
            lambda handler: handler.log_error("code %d, message %s", status, detail),
        )

    def _have_logged(
        self,
        client: str,
        request: RequestInfo | None,
        log: Callable[[WSGIRequestHandler], object],
    ) -> None:
        host, port = client_address(client)
        address = (host, int(port or 0))
        facts = ("", "", "", ()) if request is None else (*request[1:4], request.fields)
        try:
            log(self._server._describe(address, *facts))
        except Exception as error:
            self.error("the request handler's log raised", error)


def make_server(
    host: str,
    port: int,
    app: Any,
    server_class: type[Any] = WSGIServer,
    handler_class: type[simple_server.WSGIRequestHandler] = WSGIRequestHandler,
) -> Any:
    """A server of `server_class`, bound to `host` and `port`, for the application `app`.

    :param host: a name or an address; ``""`` for all interfaces, IPv4 and IPv6.
    :param port: TCP port; 0 for any free one, which is then ``server_port``.
    :raises OSError: the address cannot be had.
    :raises ConfigError: `server_class` or `handler_class` is not of this module, or overrides what
        is never called here.
    """
    if not (isinstance(server_class, type) and issubclass(server_class, WSGIServer)):
        raise ConfigError(
            f"server_class must be a subclass of {WSGIServer.__module__}.WSGIServer, "
            f"not {server_class!r}"
        )
    server = server_class((host, port), handler_class)
    server.set_app(app)
    return server


def _bind_ipv6(port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(("::", port))
    except BaseException:
        sock.close()
        raise
    return sock


def _check_handler(handler: type[Any]) -> set[str]:
    """Which methods it overrides.

    :raises ConfigError: among them is one that is never called here.
    """
    if not (isinstance(handler, type) and issubclass(handler, WSGIRequestHandler)):
        raise ConfigError(
            f"the handler must be a subclass of {WSGIRequestHandler.__module__}."
            f"WSGIRequestHandler, not {handler!r}"
        )
    known = {name for name in dir(simple_server.WSGIRequestHandler) if not name.startswith("__")}
    known.add("__init__")
    own = {
        name
        for cls in handler.__mro__[: handler.__mro__.index(WSGIRequestHandler)]
        for name in vars(cls)
    }
    refused = sorted(own & known - _OF_HANDLERS) + sorted(
        name for name in own if name.startswith("do_")
    )
    if refused:
        raise ConfigError(
            f"{handler.__name__}.{refused[0]} would never be called: this server parses requests "
            "itself; do it in a WSGI middleware, or override get_environ or log_message"
        )
    return own


def _check_server(server: type[WSGIServer]) -> None:
    for cls in server.__mro__[: server.__mro__.index(WSGIServer)]:
        if cls.__module__ == socketserver.__name__:
            if issubclass(cls, getattr(socketserver, "ForkingMixIn", ())):
                raise ConfigError(
                    "ForkingMixIn has no effect here: use wsgi_async.serve(app, workers=4)"
                )
            continue  # ThreadingMixIn: there are threads in any case
        refused = sorted(vars(cls).keys() & _NOT_OF_SERVERS)
        if refused:
            raise ConfigError(
                f"{cls.__name__}.{refused[0]} would never be called: this server has its own loop"
            )


if __name__ == "__main__":
    with make_server("", 8000, demo_app) as httpd:
        print(f"Serving on http://localhost:{httpd.server_port}/", file=sys.stderr)
        httpd.serve_forever()

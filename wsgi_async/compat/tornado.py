"""The interface of Tornado that serves a WSGI application, with this server behind it.

::

    from wsgi_async.compat.tornado import HTTPServer, IOLoop, WSGIContainer

    server = HTTPServer(WSGIContainer(application))
    server.listen(8080)
    IOLoop.current().start()

Different from Tornado: the application runs in threads, so that one slow request holds nobody up,
and Ctrl-C ends :meth:`IOLoop.start` without a traceback, once what is in flight is finished. There
is no ``tornado.web`` here: its applications are not WSGI.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import datetime
import inspect
import signal
import socket
import threading
import weakref
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from wsgi_async.config.forwarding import BARE, believed
from wsgi_async.config.options import Config
from wsgi_async.errors import ConfigError
from wsgi_async.server.server import Server
from wsgi_async.system import forks
from wsgi_async.system.event_loop import new_event_loop
from wsgi_async.system.sockets import bind, close_all, listen
from wsgi_async.tls.given import GivenContext

from .hosting import share
from .options import Error, OptionParser, define, options, parse_command_line, parse_config_file
from .ssl_arguments import TAKEN, read_arguments

__all__ = [
    "Error",
    "HTTPServer",
    "IOLoop",
    "OptionParser",
    "WSGIContainer",
    "bind_sockets",
    "define",
    "options",
    "parse_command_line",
    "parse_config_file",
]

DEFAULT_THREADS = Config().threads
DEFAULT_BACKLOG = 2048
LONGEST = 365 * 24 * 3600.0
"""Seconds that stand for no limit."""


class WSGIContainer:
    """A WSGI application for an :class:`HTTPServer`.

    :param wsgi_application: the WSGI application.
    :param executor: its number of threads is taken over, and it is not used; None for 8 threads.
    :raises ConfigError: the application is not callable.
    """

    def __init__(self, wsgi_application: Any, executor: Any = None) -> None:
        if not callable(wsgi_application):
            raise ConfigError(f"The application is not callable: {wsgi_application!r}")
        self.wsgi_application = wsgi_application
        self.executor = executor

    @property
    def threads(self) -> int:
        """How many threads run the application."""
        count = getattr(self.executor, "_max_workers", DEFAULT_THREADS)
        return count if type(count) is int else DEFAULT_THREADS


class IOLoop:
    """An asyncio event loop by Tornado's names.

    :param asyncio_loop: the loop; None for a new one.

    All methods but :meth:`add_callback` and :meth:`add_callback_from_signal` are for the loop's
    thread.
    """

    _local = threading.local()
    _of_loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, IOLoop] = (
        weakref.WeakKeyDictionary()
    )

    def __init__(self, asyncio_loop: asyncio.AbstractEventLoop | None = None) -> None:
        self.asyncio_loop = new_event_loop() if asyncio_loop is None else asyncio_loop
        self._servers: list[HTTPServer] = []
        self._tasks: set[asyncio.Future[Any]] = set()
        self._failure: BaseException | None = None
        self._interrupts = 0
        self._stopping = asyncio.Event()

    @classmethod
    def current(cls, instance: bool = True) -> Any:
        """The loop that runs in this thread, else the one this thread made last; else a new one.

        :param instance: False: None instead of a new one.
        """
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            found: IOLoop | None = getattr(cls._local, "made", None)
            if found is not None and found.asyncio_loop.is_closed():
                found = None
            if found is None and instance:
                found = cls._local.made = cls()
                atexit.register(found._close_quietly)  # programs leave it open
            return found
        if running not in cls._of_loops:
            cls._of_loops[running] = cls(running)
        return cls._of_loops[running]

    instance = current

    def start(self) -> None:
        """Run until :meth:`stop`, or until Ctrl-C or SIGTERM; then finish what is in flight.

        A second Ctrl-C does not wait for that. In a thread other than the main one there are no
        signals.

        :raises ConfigError: a server could not start.
        """
        loop = self.asyncio_loop
        self._of_loops[loop] = self
        with self._signals():
            running = loop.create_task(self._run())
            running.add_done_callback(lambda _: loop.stop())
            loop.run_forever()
            if not running.done():  # somebody has stopped the loop beneath
                self.stop()
                loop.run_until_complete(running)
            running.result()
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    @contextlib.contextmanager
    def _signals(self) -> Any:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        # A handler of the program's own stays in force.
        defaults = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
        ours = {n: usual for n, usual in defaults.items() if signal.getsignal(n) == usual}
        for number in ours:
            self.asyncio_loop.add_signal_handler(number, self._interrupted)
            forks.take_signal(number, None, ours[number])
        try:
            yield
        finally:
            for number, usual in ours.items():
                forks.drop_signal(number)
                self.asyncio_loop.remove_signal_handler(number)
                signal.signal(number, usual)

    def _interrupted(self) -> None:
        self._interrupts += 1
        if self._interrupts == 1:
            self.stop()
        else:
            for server in self._servers:
                server._force()

    async def _run(self) -> None:
        # All in one run of the loop: uvloop loses signals that come between two.
        try:
            await self._stopping.wait()
            await asyncio.gather(*(server._stop() for server in list(self._servers)))
        finally:
            self._interrupts = 0
            self._stopping.clear()

    def stop(self) -> None:
        """Have :meth:`start` return. From another thread: ``loop.add_callback(loop.stop)``."""
        self._stopping.set()

    def close(self, all_fds: bool = False) -> None:
        """Close the loop, which has been stopped."""
        self.asyncio_loop.close()

    def _close_quietly(self) -> None:
        with contextlib.suppress(RuntimeError):  # it runs in a daemon thread
            self.asyncio_loop.close()

    def time(self) -> float:
        """The loop's clock, in seconds."""
        return self.asyncio_loop.time()

    def add_callback(self, callback: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """*Any thread:* have `callback`, a function or a coroutine function, called on the loop."""
        self.asyncio_loop.call_soon_threadsafe(self._call, callback, args, kwargs)

    add_callback_from_signal = add_callback
    spawn_callback = add_callback

    def call_later(
        self, delay: float, callback: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> asyncio.TimerHandle:
        """Call it in so many seconds. What is returned is for :meth:`remove_timeout`."""
        return self.asyncio_loop.call_later(delay, self._call, callback, args, kwargs)

    def call_at(
        self, when: float, callback: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> asyncio.TimerHandle:
        """Call it at that time of :meth:`time`."""
        return self.asyncio_loop.call_at(when, self._call, callback, args, kwargs)

    def add_timeout(
        self,
        deadline: float | datetime.timedelta,
        callback: Callable[..., Any],
        *args: Any,
        **kwargs: Any,
    ) -> asyncio.TimerHandle:
        """Call it at that time, or after that timedelta."""
        if isinstance(deadline, datetime.timedelta):
            return self.call_later(deadline.total_seconds(), callback, *args, **kwargs)
        return self.call_at(deadline, callback, *args, **kwargs)

    def remove_timeout(self, timeout: asyncio.TimerHandle) -> None:
        """Do not call it after all."""
        timeout.cancel()

    def run_sync(self, func: Callable[[], Any], timeout: float | None = None) -> Any:
        """Run the loop until `func`, a function or a coroutine function, is done.

        :raises TimeoutError: it takes longer than `timeout` seconds.
        """
        self._of_loops[self.asyncio_loop] = self

        async def run() -> Any:
            async with asyncio.timeout(timeout):
                result = func()
                return await result if inspect.isawaitable(result) else result

        return self.asyncio_loop.run_until_complete(run())

    def _call(
        self, callback: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        result = callback(*args, **kwargs)  # an exception goes to the loop's handler
        if inspect.isawaitable(result):
            self._spawn(result)

    def _spawn(self, awaitable: Awaitable[Any]) -> None:
        task = asyncio.ensure_future(awaitable, loop=self.asyncio_loop)
        self._tasks.add(task)  # a loop refers to its tasks weakly only
        task.add_done_callback(self._tasks.discard)

    def _fail(self, error: BaseException) -> None:
        """A server could not start: :meth:`start` raises that."""
        self._failure = error
        self.stop()


class HTTPServer:
    """Serves a :class:`WSGIContainer` on the loop that is current when it is told to listen.

    :param request_callback: the container.
    :param no_keep_alive: close each connection after its response.
    :param idle_connection_timeout: seconds for which an idle connection is kept.
    :param max_header_size: bytes of a request head.
    :param max_body_size: bytes of a request's body.
    :param xheaders: whether X-Forwarded-For and X-Scheme or X-Forwarded-Proto are believed, whoever
        is connected. X-Real-Ip is not read.
    :param trusted_downstream: proxies to be passed over in X-Forwarded-For. Where there are some,
        only they and this machine are believed.
    :param ssl_options: for TLS: a dict of ``certfile``, ``keyfile``, ``ca_certs``, ``cert_reqs``,
        ``ciphers`` as of :class:`~wsgi_async.Config` and ``ssl_version``, or an
        :class:`ssl.SSLContext`. The files of a dict are looked at again while it serves.
    :param more: of Tornado's other arguments those that are off.
    :raises ConfigError: an argument is wrong, or cannot be had here.
    """

    def __init__(
        self,
        request_callback: Any,
        no_keep_alive: bool = False,
        *,
        idle_connection_timeout: float | None = None,
        max_header_size: int | None = None,
        max_body_size: int | None = None,
        xheaders: bool = False,
        trusted_downstream: Iterable[str] | None = None,
        ssl_options: Any = None,
        **more: Any,
    ) -> None:
        if not isinstance(request_callback, WSGIContainer):
            raise ConfigError(
                "HTTPServer takes a WSGIContainer(application) here, "
                f"not {type(request_callback).__name__}: tornado.web is not WSGI"
            )
        for name, value in more.items():
            if name not in _REFUSED:
                raise ConfigError(f"HTTPServer has no argument {name}")
            if value:
                raise ConfigError(f"{name}: {_REFUSED[name]}")
        options: dict[str, Any] = {
            "keep_alive": 0.0 if no_keep_alive else idle_connection_timeout,
            "max_header_size": max_header_size,
            "max_body_size": max_body_size,
        }
        if xheaders:
            downstream = tuple(trusted_downstream or ())
            options |= {
                "forwarded_allow_ips": (*believed(None), *downstream) if downstream else ("*",),
                "proxy_headers": BARE,
                "secure_scheme_headers": ("X-Scheme=https", "X-Forwarded-Proto=https"),
            }
        tls, self._context = _tls(ssl_options)
        self._config = Config(
            threads=request_callback.threads,
            **tls,
            **{name: value for name, value in options.items() if value is not None},
        )
        self._container = request_callback
        self._pending: list[socket.socket] = []
        self._running: list[Server] = []
        self._stopping: list[Server] = []
        self._sockets: list[socket.socket] = []

    def listen(
        self,
        port: int,
        address: str | None = None,
        family: int = socket.AF_UNSPEC,
        backlog: int = DEFAULT_BACKLOG,
        flags: int | None = None,
        reuse_port: bool = False,
    ) -> None:
        """Listen; connections are accepted while the loop runs. It may be called for several ports.

        :param port: TCP port; 0 for any free one.
        :param address: a name or an address; None or ``""`` for all interfaces, IPv4 and IPv6.
        :raises OSError: the address cannot be had.
        """
        self.add_sockets(bind_sockets(port, address, family, backlog, flags, reuse_port))

    def bind(
        self,
        port: int,
        address: str | None = None,
        family: int = socket.AF_UNSPEC,
        backlog: int = DEFAULT_BACKLOG,
        flags: int | None = None,
        reuse_port: bool = False,
    ) -> None:
        """As :meth:`listen`, but nothing is accepted before :meth:`start`."""
        self._pending += bind_sockets(port, address, family, backlog, flags, reuse_port)

    def start(self, num_processes: int | None = 1, max_restarts: int | None = None) -> None:
        """Accept connections at what :meth:`bind` has bound.

        :raises ConfigError: more than one process is wanted.
        """
        if num_processes != 1:
            raise ConfigError(
                "start(n) would fork this program; for several processes write "
                "wsgi_async.serve(application, port, workers=n), or wsgi-async --workers n"
            )
        pending, self._pending = self._pending, []
        self.add_sockets(pending)

    def add_socket(self, socket: socket.socket) -> None:
        """Accept connections at a socket that listens already."""
        self.add_sockets([socket])

    def add_sockets(self, sockets: Iterable[socket.socket]) -> None:
        """Accept connections at sockets that listen already."""
        sockets = list(sockets)
        loop: IOLoop = IOLoop.current()
        self._sockets += sockets
        if self not in loop._servers:
            loop._servers.append(self)
        loop.add_callback(self._start, loop, sockets)

    async def _start(self, loop: IOLoop, sockets: list[socket.socket]) -> None:
        """One of our servers for each call: it knows its addresses from its start."""
        server = Server(self._container.wsgi_application, config=self._config)
        server.context_source = self._context
        try:
            await server.start(share(sockets, is_tls=server.is_tls))
        except BaseException as error:
            loop._fail(error)
            return
        self._running.append(server)

    def stop(self) -> None:
        """Accept no more, and close the sockets; what is in flight is finished."""
        loop: IOLoop = IOLoop.current()
        loop.add_callback(self._stop)

    async def close_all_connections(self) -> None:
        """Stop, and wait for all connections to end."""
        await self._stop()

    async def _stop(self) -> None:
        running, self._running = self._running, []
        sockets, self._sockets = self._sockets, []
        self._stopping = running
        close_all(sockets)
        await asyncio.gather(*(server.stop() for server in running))

    def _force(self) -> None:
        for server in (*self._running, *self._stopping):
            server.force()


def _tls(ssl_options: Any) -> tuple[dict[str, Any], GivenContext | None]:
    if ssl_options is None or isinstance(ssl_options, dict):
        arguments = dict(ssl_options or {})
        for name in arguments:
            if name not in TAKEN:
                raise ConfigError(f"ssl_options has no {name}")
        return read_arguments(arguments)
    return read_arguments({}, ssl_options)


_REFUSED = {
    "protocol": "give ssl_options; X-Forwarded-Proto of a proxy on this machine is believed",
    "decompress_request": "use a WSGI middleware",
    "chunk_size": "it has no meaning here",
    "max_buffer_size": "use max_body_size",
    "body_timeout": "it has no meaning here: a body that stalls for 30 s is refused",
}


def bind_sockets(
    port: int,
    address: str | None = None,
    family: int = socket.AF_UNSPEC,
    backlog: int = DEFAULT_BACKLOG,
    flags: int | None = None,
    reuse_port: bool = False,
) -> list[socket.socket]:
    """Sockets that listen, for :meth:`HTTPServer.add_sockets`; see :meth:`HTTPServer.listen`.

    :raises OSError: the address cannot be had.
    :raises ConfigError: `flags` or `reuse_port` is given.
    """
    if flags is not None or reuse_port:
        raise ConfigError("flags and reuse_port cannot be had here")
    if type(port) is not int or not 0 <= port <= 65535:
        raise ConfigError(f"port takes a number from 0 to 65535, not {port!r}")
    host = address or ("0.0.0.0" if family == socket.AF_INET else "")
    text = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        found = bind((text,))
    except ConfigError as error:
        cause = error.__cause__
        if isinstance(cause, OSError):  # what programs for Tornado catch
            raise OSError(cause.errno, str(error)) from error
        raise
    for sock in found:
        listen(sock, backlog)
    return list(found)

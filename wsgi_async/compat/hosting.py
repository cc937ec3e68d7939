"""A server behind an interface that blocks: in a loop of its own, in this thread or another.

Guarantees: whatever ends it, what is in flight is finished first, within ``graceful_timeout``; the
listening sockets it is given stay open and the caller's, so that it may be served again; nothing
is left of a host that could not start.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import Callable, Sequence

from wsgi_async.errors import ConfigError
from wsgi_async.server.server import Server
from wsgi_async.system.event_loop import new_event_loop
from wsgi_async.system.sockets import BoundSocket

__all__ = ["Host", "share"]


def share(sockets: Sequence[socket.socket], *, is_tls: bool = False) -> list[BoundSocket]:
    """The same sockets by descriptors of their own, for a server to close.

    :param is_tls: whether TLS is spoken on them.
    :raises ConfigError: one of them is closed.
    """
    shared: list[BoundSocket] = []
    try:
        for sock in sockets:
            duplicate = BoundSocket(fileno=os.dup(sock.fileno()))
            shared.append(duplicate)
            duplicate.setblocking(False)
            duplicate.is_tls = is_tls
    except OSError as error:
        for duplicate in shared:
            duplicate.close()
        raise ConfigError(f"Cannot serve from this socket: {error.strerror}") from error
    return shared


class Host:
    """Runs a server once.

    :param server: the server, not running.
    :param sockets: bound sockets; they are shared, see above.
    :param every: seconds between two calls of `act`, and
    :param act: called on the loop while it serves; None: nothing is.
    """

    def __init__(
        self,
        server: Server,
        sockets: Sequence[socket.socket],
        *,
        every: float = 0.5,
        act: Callable[[], object] | None = None,
    ) -> None:
        self._server = server
        self._sockets = sockets
        self._every = every
        self._act = act
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()
        self._is_asked = False
        self._failure: BaseException | None = None
        self._has_started = threading.Event()
        self.has_ended = threading.Event()
        """Set once it has stopped, or could not start."""

    def run(self) -> None:
        """*The caller's thread:* serve until :meth:`ask` is called.

        :raises KeyboardInterrupt: SIGINT came, in the main thread; all is stopped. A second SIGINT
            does not wait for what is in flight.
        :raises ConfigError: it could not start.
        """
        try:
            with asyncio.Runner(loop_factory=new_event_loop) as runner:
                runner.run(self._main())
        finally:
            for sock in self._sockets:
                if sock.fileno() >= 0:
                    sock.settimeout(sock.gettimeout())  # what does not block is shared as well
            with self._lock:
                self._loop = None
            self._has_started.set()
            self.has_ended.set()

    def start(self) -> None:
        """*Any thread:* serve in a thread of its own; return once connections are accepted.

        :raises ConfigError: it could not start.
        """
        threading.Thread(target=self._run_quietly, name="wsgi_async-loop", daemon=True).start()
        self._has_started.wait()
        if self._failure is not None:
            raise self._failure

    def _run_quietly(self) -> None:
        try:
            self.run()
        except BaseException as error:
            self._failure = error

    async def _main(self) -> None:
        with self._lock:
            self._loop = asyncio.get_running_loop()
            if self._is_asked:
                return
        await self._server.start(share(self._sockets, is_tls=self._server.is_tls))
        acting = asyncio.ensure_future(self._keep_acting()) if self._act is not None else None
        self._has_started.set()
        try:
            await self._stopping.wait()
        except asyncio.CancelledError:
            self._server.announce_wait()
            raise
        finally:
            if acting is not None:
                acting.cancel()
            await self._server.stop()

    async def _keep_acting(self) -> None:
        assert self._act is not None
        while True:
            await asyncio.sleep(self._every)
            self._act()

    def ask(self) -> None:
        """*Any thread:* have it stop; also before it has begun."""
        with self._lock:
            self._is_asked = True
            self._tell(self._stopping.set)

    def stop(self, timeout: float | None = None) -> None:
        """*Any thread but the loop's:* have it stop, and wait until it has.

        :param timeout: seconds after which those still in flight are dropped; None for the
            server's ``graceful_timeout``.
        """
        self.ask()
        if not self.has_ended.wait(timeout):
            with self._lock:
                self._tell(self._server.force)
            self.has_ended.wait()

    def _tell(self, what: Callable[[], object]) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and is closed
                self._loop.call_soon_threadsafe(what)

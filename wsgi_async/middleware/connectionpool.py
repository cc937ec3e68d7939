"""A bounded pool of connections, by default one for each thread of the server.

Guarantees: never more than `size` connections are open; one is with one borrower at a time; what
a borrower left in an unknown state is closed, not lent again; none is shared across a fork.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Generic, TypeVar

from wsgi_async.errors import ConfigError
from wsgi_async.wsgi.types import Environ

from .interface import watch

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication

__all__ = ["ConnectionPool", "Loan", "PoolExhausted", "Pooled"]

T = TypeVar("T")

logger = logging.getLogger("wsgi_async.connectionpool")


class PoolExhausted(TimeoutError):
    """All connections of a pool were lent, and none came back in time."""


class _Member(Generic[T]):
    """A connection of the pool."""

    __slots__ = ("born", "connection", "process")

    def __init__(self, connection: T, born: float) -> None:
        self.connection = connection
        self.born = born
        self.process = os.getpid()


class ConnectionPool(Generic[T]):
    """Lends connections to threads, and keeps those that are given back. Any thread.

    A connection is used by different threads one after the other; for sqlite3 say
    ``check_same_thread=False``. The one that came back last is lent first. Nothing is opened before
    it is needed, so a pool may be made at import, before processes are forked.

    :param factory: makes a connection; may block, and raise: the borrower gets that.
    :param size: most connections. None: as many as the server has threads, which :class:`Pooled`
        finds in the environ; 1 until then.
    :param check: told a connection that was used before; False, or an exception, and it is closed
        and another one is lent in its place.
    :param reset: told each connection that is given back, also after an exception, to put it in
        order (``rollback``); where it raises the connection is closed. Without it a connection
        that was given back after an exception is closed.
    :param close: closes a connection; default: its own ``close()``, if it has one. What it raises
        is logged.
    :param max_age: seconds after which a connection that nobody has is closed. None: never.
    :param timeout: seconds to wait for a connection when all are lent.
    :param clock: seconds, monotonic.
    :raises ConfigError: a size, an age or a timeout that is none.
    """

    def __init__(
        self,
        factory: Callable[[], T],
        *,
        size: int | None = None,
        check: Callable[[T], object] | None = None,
        reset: Callable[[T], object] | None = None,
        close: Callable[[T], object] | None = None,
        max_age: float | None = None,
        timeout: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if size is not None and size < 1:
            raise ConfigError(f"ConnectionPool: size must be 1 or more, not {size}")
        if max_age is not None and not max_age > 0:
            raise ConfigError("ConnectionPool: max_age must be more than 0 seconds, or None")
        if timeout < 0:
            raise ConfigError("ConnectionPool: timeout must be 0 seconds or more")
        self._factory = factory
        self._check = check
        self._reset = reset
        self._closer = close
        self._max_age = max_age
        self._timeout = timeout
        self._clock = clock
        self._is_fixed = size is not None
        self._changed = threading.Condition()
        self._size = size or 1
        self._lent = 0
        self._idle: list[_Member[T]] = []
        self._inherited: list[_Member[T]] = []
        self._process = os.getpid()
        self._is_closed = False

    # --- for applications ----------------------------------------------------------------------

    @contextmanager
    def borrow(self) -> Iterator[T]:
        """``with pool.borrow() as connection:``

        :raises PoolExhausted: none was free for `timeout` seconds.
        :raises RuntimeError: the pool is closed.
        """
        member = self._take()
        try:
            yield member.connection
        except BaseException:
            self._give_back(member, is_doubtful=True)
            raise
        self._give_back(member)

    @property
    def size(self) -> int:
        """Most connections that are open at a time."""
        return self._size

    @property
    def lent(self) -> int:
        """Connections that somebody has."""
        return self._lent

    @property
    def idle(self) -> int:
        """Connections that nobody has."""
        return len(self._idle)

    def close(self) -> None:
        """Close the connections that nobody has; those that are lent, when they come back."""
        with self._changed:
            self._is_closed = True
            idle, self._idle = self._idle, []
            self._changed.notify_all()
        for member in idle:
            if member.process == os.getpid():
                self._discard(member)

    def __enter__(self) -> ConnectionPool[T]:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def fit(self, threads: int) -> None:
        """Be as large as the server has threads, unless a size was given."""
        if self._is_fixed or threads <= self._size:
            return
        with self._changed:
            self._size = max(self._size, threads)
            self._changed.notify_all()

    # --- lending -------------------------------------------------------------------------------

    def _take(self) -> _Member[T]:
        member = self._reserve()
        try:
            if member is not None:
                if self._is_good(member):
                    return member
                stale, member = member, None
                self._discard(stale)
            connection = self._factory()
        except BaseException:
            with self._changed:
                self._lent -= 1
                self._changed.notify()
            if member is not None:
                self._discard(member)
            raise
        return _Member(connection, self._clock())

    def _reserve(self) -> _Member[T] | None:
        """One that is idle, or None: room for a new one. Either way it counts as lent."""
        deadline = self._clock() + self._timeout
        with self._changed:
            while True:
                if self._is_closed:
                    raise RuntimeError("the connection pool is closed")
                self._forget_inherited()
                if self._idle:
                    self._lent += 1
                    return self._idle.pop()
                if self._lent < self._size:
                    self._lent += 1
                    return None
                left = deadline - self._clock()
                if left <= 0:
                    raise PoolExhausted(
                        f"all {self._size} connections are lent, and none came back for "
                        f"{self._timeout:g} s"
                    )
                self._changed.wait(left)

    def _give_back(self, member: _Member[T], *, is_doubtful: bool = False) -> None:
        """
        :param is_doubtful: it was used by something that raised.
        """
        if member.process != os.getpid():
            return  # its lender is another process
        is_good = False
        try:
            is_good = not self._is_old(member) and self._put_in_order(member, is_doubtful)
        finally:
            old = [] if is_good else [member]
            with self._changed:
                self._lent -= 1
                if is_good and self._is_closed:
                    old.append(member)
                elif is_good:
                    self._idle.append(member)
                old += filter(self._is_old, self._idle)
                self._idle = [one for one in self._idle if not self._is_old(one)]
                self._changed.notify()
            for one in old:
                self._discard(one)

    def _put_in_order(self, member: _Member[T], is_doubtful: bool) -> bool:
        if self._reset is None:
            return not is_doubtful
        try:
            self._reset(member.connection)
        except Exception:
            logger.warning("A connection could not be reset; it is closed", exc_info=True)
            return False
        return True

    def _is_old(self, member: _Member[T]) -> bool:
        return self._max_age is not None and self._clock() - member.born >= self._max_age

    def _is_good(self, member: _Member[T]) -> bool:
        if self._is_old(member):
            return False
        if self._check is None:
            return True
        try:
            return self._check(member.connection) is not False
        except Exception as error:
            logger.info("A connection has failed its check: %r", error)
            return False

    def _discard(self, member: _Member[T]) -> None:
        connection = member.connection
        try:
            if self._closer is not None:
                self._closer(connection)
            elif (close := getattr(connection, "close", None)) is not None:
                close()
        except Exception:
            logger.warning("A connection could not be closed", exc_info=True)

    def _forget_inherited(self) -> None:
        """After a fork, leave the parent's connections alone: both would talk on one socket. They
        are kept, unused, since closing some says goodbye to the other end."""
        if self._process != os.getpid():
            self._process = os.getpid()
            self._inherited += self._idle
            self._idle = []
            self._lent = 0


class Loan(Generic[T]):
    """The connection of one request. The thread that runs it.

    :param pool: where it comes from.
    """

    __slots__ = ("_is_over", "_member", "_pool")

    def __init__(self, pool: ConnectionPool[T]) -> None:
        self._pool = pool
        self._member: _Member[T] | None = None
        self._is_over = False

    def get(self) -> T:
        """Borrow a connection, at the first call; the same one at each further call.

        :raises PoolExhausted: see :meth:`ConnectionPool.borrow`.
        :raises RuntimeError: the response is closed already.
        """
        if self._is_over:
            raise RuntimeError("the response is closed; the connection has gone back to the pool")
        if self._member is None:
            self._member = self._pool._take()
        return self._member.connection

    def end(self, *, is_doubtful: bool = False) -> None:
        """Give it back, if there is one.

        :param is_doubtful: it was used by something that raised.
        """
        self._is_over = True
        member, self._member = self._member, None
        if member is not None:
            self._pool._give_back(member, is_doubtful=is_doubtful)


class Pooled:
    """Gives the application a connection of a pool for the time of a request.

    ``environ["wsgi_async.pool"].get()`` borrows it, see :class:`Loan`; it goes back when the
    response has been closed. A response that streams has it until then: with ``--response-overflow
    park``, and where threads wait beside others (``--waiting-threads``), there may be more of those
    than threads, so give the pool a size.

    :param application: the WSGI application.
    :param pool: a :class:`ConnectionPool`; one without a size becomes as large as the server has
        threads.
    :param key: where the application finds the loan, for a second pool.
    """

    def __init__(
        self,
        application: WSGIApplication,
        pool: ConnectionPool[T],
        *,
        key: str = "wsgi_async.pool",
    ) -> None:
        self._application = application
        self._pool = pool
        self._key = key

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        self._pool.fit(environ.get("wsgi_async.threads", 1))
        loan = environ[self._key] = Loan(self._pool)
        try:
            result = self._application(environ, start_response)
        except BaseException:
            loan.end(is_doubtful=True)
            raise
        return watch(result, lambda size, error: loan.end(is_doubtful=error is not None))

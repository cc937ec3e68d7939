"""The request body's way from the loop to a pool thread, as it arrives."""

from __future__ import annotations

import enum
import io
import os
import sys
import threading
from collections import deque
from typing import TYPE_CHECKING

from wsgi_async.buffers.budgets import Budget
from wsgi_async.buffers.spool import Part, SourceFile, append_part
from wsgi_async.errors import ClientDisconnected

from .mailbox import Mailbox, Posted

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["RequestBody"]

HIGH_WATER = 256 * 1024
LOW_WATER = 64 * 1024
"""Bytes in the buffer at which reading from the client pauses, and goes on again."""

SOCKET_READ = 256 * 1024
"""Bytes that the reader asks the socket for at once. Many, as each such call lets go of the GIL."""


class _Arrival(enum.Enum):
    OPEN = "more is to come"
    COMPLETE = "all has arrived"
    BROKEN = "the rest will never come"


class RequestBody(io.RawIOBase):
    """A request's body, read by the application as it arrives: blocking reads of a bounded buffer.

    The application gets it behind an :class:`InputStream`.

    While the loop has stopped reading because enough waits here, the reader may help itself: the
    loop *lends* it the socket, and once the buffer is empty it reads from there, without waiting.
    Where nothing has come it gives the socket back and waits for the loop. A client that is ahead
    of the application thus costs no wake-ups and fewer copies.

    :param mailbox: how the loop is woken.
    :param owner: the exchange that the loop is woken for.
    :param memory: the process's budget of RAM; where it refuses, reading pauses at once.
    """

    def __init__(self, mailbox: Mailbox, owner: Posted, memory: Budget) -> None:
        super().__init__()
        self._mailbox = mailbox
        self._owner: Posted | None = owner
        self._memory = memory
        self._lock = threading.Lock()
        self._arrived = threading.Condition(self._lock)
        self._parts: deque[Part] = deque()
        self._held = 0
        self._reserved = 0
        self._arrival = _Arrival.OPEN
        self._is_awaited = False
        self._is_full = False
        self._why = ""
        self._must_wake = False
        self._socket: SourceFile | None = None
        self._left = 0  # bytes that may be read from it
        self._taken = 0  # bytes that were, and of which the loop does not know
        self._failure: OSError | None = None
        self.size = 0
        """*Loop:* bytes received, as far as the loop knows."""
        self.waits = 0
        """How often the reader has begun or ended to wait for the client: odd while it does."""
        self._takes = 0
        self.never_waits: int | None = None
        """*Pool thread:* the thread that is not to wait for bytes, by its ident: that of a loop."""

    # --- pool thread -------------------------------------------------------------------------

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """*Pool thread:* :meth:`pull` as much as fits into `buffer`."""
        target = memoryview(buffer).cast("B")
        data = self.pull(len(target))
        target[: len(data)] = data
        return len(data)

    def pull(self, size: int = sys.maxsize) -> bytes:
        """*Pool thread:* wait for bytes and take some; none at the end of the body.

        :param size: the most to take. Without it they come as they were received, not copied.
        :raises ClientDisconnected: the client went away, or broke the framing, before the end.
        :raises RuntimeError: nothing is here, and this thread is not to wait.
        """
        data = self._take(size, wait=False)
        if data is None:
            if self.never_waits is not None and self.never_waits == threading.get_ident():
                raise RuntimeError(
                    "an asynchronous body reads wsgi.input, whose bytes have not come yet: to wait "
                    "for them would stop all others. Read it before the body is returned, or await "
                    "asyncio.to_thread(environ['wsgi.input'].read)"
                )
            data = self._take(size, wait=True)
            assert data is not None
        return data

    def disown(self) -> None:
        """*In a process that the pool thread has forked:* what has not come yet comes to the parent
        alone. The other threads are gone, and with them perhaps who held a lock."""
        self._lock = threading.Lock()
        self._arrived = threading.Condition(self._lock)
        self._memory = Budget(sys.maxsize)
        self._owner = self._socket = None
        if self._arrival is _Arrival.OPEN:
            self._arrival = _Arrival.BROKEN
            self._why = "the rest of the body comes to the process that this one was forked off"

    def unpull(self, data: bytes) -> None:
        """*Pool thread:* put back what was taken last."""
        if data:
            with self._lock:
                self._parts.appendleft(data)
                self._held += len(data)

    def _take(self, size: int, *, wait: bool) -> bytes | None:
        """What is here; None if that is nothing yet, and the loop has been told that it is awaited.

        :param wait: for something to be here.
        """
        with self._lock:
            if wait:
                self.waits += 1
                try:
                    self._arrived.wait_for(self._has_news)
                finally:
                    self.waits += 1
            if self._arrival is _Arrival.BROKEN:
                raise ClientDisconnected(self._why)
            data: bytes | None = b""
            if self._parts:
                data = self._take_part(size)
            elif self._socket is not None:
                data = self._take_from_socket(self._socket, size)
            if data:
                self._takes += 1
            elif self._arrival is _Arrival.OPEN and size:
                data = None
                self._must_wake |= not self._is_awaited
                self._is_awaited = True
        if self._must_wake:
            self._post()
            self._must_wake = False  # not before: who is struck, and reads on, does it then
        return data

    def _post(self) -> None:
        owner = self._owner
        if owner is not None:
            self._mailbox.post(owner)

    def _has_news(self) -> bool:
        return bool(self._parts) or self._arrival is not _Arrival.OPEN

    def _take_part(self, size: int) -> bytes:
        """With the lock held: the first part, as far as it fits."""
        part = self._parts.popleft()
        if len(part) > size:
            view = memoryview(part)
            part = view[:size]
            self._parts.appendleft(view[size:])
        self._held -= len(part)
        freed = min(len(part), self._reserved)
        self._reserved -= freed
        self._memory.release(freed)
        if self._is_full and self._socket is None and self._held <= LOW_WATER:
            self._is_full = False
            self._must_wake = True
        return part if type(part) is bytes else bytes(part)

    def _take_from_socket(self, sock: SourceFile, size: int) -> bytes:
        """With the lock held, so that the socket can be taken away again: what the kernel has.

        Where that is nothing, an end or an error, the socket is given back: the loop knows what to
        do. It would see the same itself, but for an error, which the kernel tells only once.
        """
        try:
            data = os.read(sock.fileno(), min(size, self._left, SOCKET_READ))
            count = len(data)
        except BlockingIOError:
            data, count = b"", 0
        except OSError as error:
            data, count, self._failure = b"", 0, error
        except BaseException:
            # Struck: nobody knows where in the body the socket is.
            self._failure = OSError("its reader was broken off")
            self._return_socket()
            self._must_wake = True
            raise
        self._left -= count
        self._taken += count
        if not self._left:
            self._arrival = _Arrival.COMPLETE
        if not self._left or (size and not data):
            self._return_socket()
            self._must_wake = True
        return data

    def _return_socket(self) -> None:
        """With the lock held."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
            self._is_full = False

    # --- loop --------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """*Loop:* more of the body."""
        self.size += len(data)
        with self._lock:
            if self._arrival is not _Arrival.OPEN:
                return
            append_part(self._parts, data)
            self._held += len(data)
            if self._memory.reserve(len(data)):
                self._reserved += len(data)
                self._is_full = self._held >= HIGH_WATER
            else:
                self._is_full = True
            self._arrived.notify()

    def feed_end(self) -> None:
        """*Loop:* the body is complete."""
        with self._lock:
            if self._arrival is _Arrival.OPEN:
                self._arrival = _Arrival.COMPLETE
            self._arrived.notify()

    def abort(self, why: str) -> None:
        """*Loop:* the rest will never come; reads raise from now on."""
        with self._lock:
            if self._arrival is not _Arrival.COMPLETE:
                self._arrival = _Arrival.BROKEN
                self._why = why
            self._return_socket()
            self._arrived.notify()

    def lend(self, sock: SourceFile, left: int) -> None:
        """*Loop:* allow the reader to read `left` bytes, the rest of the body, from a socket.

        :param sock: not blocking, and nobody else reads it as long as :attr:`is_full`.
        """
        with self._lock:
            if self._is_full and self._arrival is _Arrival.OPEN and self._socket is None:
                self._socket, self._left = sock, left
                return
        sock.close()

    def reclaim(self) -> None:
        """*Loop:* have the socket back, if it is lent."""
        with self._lock:
            self._return_socket()

    def taken(self) -> int:
        """*Loop:* bytes that the reader has read from the socket since the last call.

        :raises OSError: what the socket said to the reader. Once.
        """
        with self._lock:
            failure, self._failure = self._failure, None
            taken, self._taken = self._taken, 0
        if failure is not None:
            raise failure
        self.size += taken
        return taken

    @property
    def is_full(self) -> bool:
        """*Loop:* whether to stop reading from the client."""
        return self._is_full and self._arrival is _Arrival.OPEN

    @property
    def is_awaited(self) -> bool:
        """*Any thread:* whether the application has begun to wait for bytes: only then does a
        client that expects it get its 100 (RFC 9110 §10.1.1)."""
        return self._is_awaited

    @property
    def progress(self) -> int:
        """*Any thread:* changes whenever the application has taken something while the rest is
        still to come, and when all has come."""
        return self._takes if self._arrival is _Arrival.OPEN else -1

    # --- whoever is last -----------------------------------------------------------------------

    def release(self) -> None:
        """*Pool thread, after the exchange:* drop what was not read, give the budget back."""
        with self._lock:
            self._parts.clear()
            self._held = 0
            freed, self._reserved = self._reserved, 0
            unread = self._arrival is _Arrival.OPEN
            was_full = self._is_full
            self._return_socket()
            if unread:
                self._arrival = _Arrival.BROKEN
                self._why = "the exchange has ended"
        self._memory.release(freed)
        if unread and was_full:
            self._post()  # the client may only read when it has sent all
        self._owner = None  # a cycle of references would leave every upload to the collector

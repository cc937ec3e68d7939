"""Stand-ins for a loop and a transport, to test a protocol without sockets and without waiting.

::

    loop = FakeLoop()
    transport = FakeTransport(loop, protocol)     # calls protocol.connection_made
    transport.receive(b"GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n")
    loop.run_until(lambda: transport.sent)        # runs what other threads hand to the loop
    loop.clock.advance(75)

The thread that calls these is the loop: callbacks run inside :meth:`FakeLoop.run_pending` and
:meth:`FakeLoop.run_until` and nowhere else. Only ``call_soon_threadsafe`` is for any thread.

What is faked is the boundary, and only that: the protocol under test is the real one, and what the
fakes call, in which order, is what asyncio's own transports call (a test compares them). They fit
any ``asyncio.Protocol`` that asks its loop for no more than ``time()``, ``call_soon()`` and
``call_soon_threadsafe()``; timers are for the test to play, with :meth:`FakeClock.advance` and a
call of whatever looks at the time.

A client that does not read, and goes on later::

    transport = FakeTransport(loop, protocol, window=0)   # takes nothing yet
    ...                                                   # pause_writing() is called at high water
    transport.take(4096)                                  # 4096 bytes arrive; resume_writing()
    transport.take()                                      # the rest, and all that follows

A client that leaves: :meth:`FakeTransport.receive_eof` (orderly) and :meth:`FakeTransport.reset`.
What it saw of the end: ``transport.has_ended``, ``transport.was_reset``.
"""

from __future__ import annotations

import asyncio
import queue
import socket
import struct
from collections.abc import Callable, Iterable
from typing import Any

from wsgi_async.system.sockets import DEFAULT_PORT

__all__ = ["FakeClock", "FakeLoop", "FakeSocket", "FakeTransport"]

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class FakeClock:
    """A monotonic clock that moves by hand.

    :param now: where it begins, in seconds.
    """

    def __init__(self, now: float = 1000.0) -> None:
        self._now = now

    def time(self) -> float:
        """The time in seconds."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let time pass. Nothing is called by it."""
        if seconds < 0:
            raise ValueError("a monotonic clock does not go back")
        self._now += seconds


class FakeLoop:
    """As much of an event loop as a protocol needs: a clock, and callbacks that run when told.

    :param clock: what ``time()`` shows; default: one of its own.
    """

    def __init__(self, clock: FakeClock | None = None) -> None:
        self.clock = clock if clock is not None else FakeClock()
        self._callbacks: queue.SimpleQueue[tuple[Callable[..., object], tuple[Any, ...]]]
        self._callbacks = queue.SimpleQueue()
        self._is_closed = False

    def time(self) -> float:
        """The clock's time."""
        return self.clock.time()

    def call_soon(self, callback: Callable[..., object], *args: Any) -> None:
        """Have `callback` called by the next ``run_pending`` or ``run_until``."""
        self.call_soon_threadsafe(callback, *args)

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: Any) -> None:
        """*Any thread:* the same.

        :raises RuntimeError: the loop is closed, as with a real one.
        """
        if self._is_closed:
            raise RuntimeError("Event loop is closed")
        self._callbacks.put((callback, args))

    def close(self) -> None:
        """Take no more callbacks; those that wait are dropped."""
        self._is_closed = True
        self._callbacks = queue.SimpleQueue()

    def run_pending(self) -> int:
        """Call what waits, and what that asks for in turn; the number of calls.

        What a callback raises comes out here.
        """
        count = 0
        while True:
            try:
                callback, args = self._callbacks.get_nowait()
            except queue.Empty:
                return count
            callback(*args)
            count += 1

    def run_until(self, condition: Callable[[], object], timeout: float = 10.0) -> None:
        """Call what comes, from this and from other threads, until `condition` holds.

        It is looked at before the first call and after each; only a callback can make it true.

        :param timeout: real seconds without any callback.
        :raises TimeoutError: none came for so long.
        """
        while not condition():
            try:
                callback, args = self._callbacks.get(timeout=timeout)
            except queue.Empty:
                raise TimeoutError(
                    f"the condition does not hold, and nothing was called for {timeout} s"
                ) from None
            callback(*args)


class FakeSocket:
    """What ``get_extra_info("socket")`` gives: it remembers the options that are set.

    :param family: ``socket.AF_INET``, ``AF_INET6`` or ``AF_UNIX``.
    """

    def __init__(self, family: int = socket.AF_INET) -> None:
        self.family = family
        self.options: dict[tuple[int, int], int | bytes] = {}

    def setsockopt(self, level: int, option: int, value: int | bytes) -> None:
        """As of a real socket."""
        self.options[level, option] = value

    def fileno(self) -> int:
        """-1, as of a socket that is closed: there is none."""
        return -1

    @property
    def resets_on_close(self) -> bool:
        """Whether SO_LINGER asks for a reset instead of an orderly end."""
        return self.options.get((socket.SOL_SOCKET, socket.SO_LINGER)) == _RESET_ON_CLOSE


class FakeTransport(asyncio.Transport):
    """A connected transport and the peer at its other end, in memory.

    It does what asyncio's own does, with its order of calls: ``pause_writing`` comes from inside
    ``write``, ``resume_writing`` from inside :meth:`take`, ``connection_lost`` from the loop, once.
    Stricter in one point: only ``bytes`` may be written, because real transports keep references.

    :param loop: calls ``connection_lost`` and delivers what was held back while reading paused.
    :param protocol: its ``connection_made`` is called at once.
    :param window: bytes the peer takes as they are written, until :meth:`take`; None takes all.
    :param sockname: the server's address, for ``get_extra_info``.
    :param peername: the client's.
    :param family: the socket's address family.
    """

    def __init__(
        self,
        loop: FakeLoop,
        protocol: asyncio.Protocol,
        *,
        window: int | None = None,
        sockname: object = ("127.0.0.1", DEFAULT_PORT),
        peername: object = ("127.0.0.1", 50312),
        family: int = socket.AF_INET,
    ) -> None:
        self.socket = FakeSocket(family)
        super().__init__({"sockname": sockname, "peername": peername, "socket": self.socket})
        self.writes: list[bytes] = []
        """What each call of ``write`` or ``writelines`` was given."""
        self.is_lost = False
        """Whether ``connection_lost`` was called."""
        self.has_ended = False
        """Whether the peer sees an orderly end after the last byte."""
        self.was_reset = False
        """Whether the peer sees a reset: SO_LINGER was set so, or input was left unread."""
        self._loop = loop
        self._protocol: asyncio.BaseProtocol = protocol
        self._window = window
        self._sent = bytearray()
        self._buffer = bytearray()
        self._high, self._low = 64 * 1024, 16 * 1024
        self._is_writing_paused = False
        self._is_reading = True
        self._is_closing = False
        self._ends_writing = False
        self._inbox: list[bytes | None] = []
        protocol.connection_made(self)

    # --- the peer ----------------------------------------------------------------------------

    @property
    def sent(self) -> bytes:
        """All that the peer has taken."""
        return bytes(self._sent)

    @property
    def unread(self) -> int:
        """Bytes the peer sent that the protocol has not been given."""
        return sum(len(data) for data in self._inbox if data)

    def receive(self, data: bytes) -> None:
        """The peer sends: ``data_received`` is called now, or when reading goes on."""
        self._arrive(data)

    def receive_eof(self) -> None:
        """The peer ends its side. The connection closes unless ``eof_received`` says to keep it."""
        self._arrive(None)

    def take(self, amount: int | None = None) -> None:
        """The peer takes `amount` bytes more than so far; None: all, now and from now on."""
        if amount is None:
            self._window = None
        elif self._window is not None:
            self._window += amount
        self._flush()
        if self._is_writing_paused and len(self._buffer) <= self._low:
            self._is_writing_paused = False
            self._protocol.resume_writing()

    def reset(self, error: Exception | None = None) -> None:
        """The peer vanishes: ``connection_lost`` gets `error`; default a ConnectionResetError."""
        self._lose_soon(error or ConnectionResetError(104, "Connection reset by peer"))

    def _arrive(self, data: bytes | None) -> None:
        if self.is_lost or self._is_closing:
            self._inbox.append(data)
        elif self._is_reading and not self._inbox:
            self._deliver(data)
        else:
            self._inbox.append(data)

    def _deliver(self, data: bytes | None) -> None:
        assert isinstance(self._protocol, asyncio.Protocol)
        if data is not None:
            self._protocol.data_received(data)
        elif not self._protocol.eof_received():
            self.close()

    def _deliver_inbox(self) -> None:
        while self._inbox and self._is_reading and not self._is_closing:
            self._deliver(self._inbox.pop(0))

    def _flush(self) -> None:
        """Move what the peer's window allows."""
        size = len(self._buffer)
        amount = size if self._window is None else min(size, self._window)
        if self._window is not None:
            self._window -= amount
        self._sent += self._buffer[:amount]
        del self._buffer[:amount]
        if self._buffer:
            return
        if self._is_closing:
            self._lose_soon(None)
        elif self._ends_writing:
            self.has_ended = True

    def _lose_soon(self, error: Exception | None) -> None:
        self._is_closing = True
        self._buffer.clear()
        self._loop.call_soon(self._lose, error)

    def _lose(self, error: Exception | None) -> None:
        if self.is_lost:
            return
        self.is_lost = True
        if error is None:
            self.was_reset = self.socket.resets_on_close or self.unread > 0
            self.has_ended = self.has_ended or not self.was_reset
        self._protocol.connection_lost(error)

    # --- asyncio.Transport -------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        """As of asyncio; ignored once the connection is closing because of an error."""
        if type(data) is not bytes:
            raise TypeError(f"only bytes may be written, not {type(data).__name__}")
        if self._ends_writing:
            raise RuntimeError("Cannot call write() after write_eof()")
        self.writes.append(data)
        if self._is_closing:
            return
        self._buffer += data
        self._flush()
        self._maybe_pause_writing()

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview[Any]]) -> None:
        """As one ``write``."""
        pieces = list(list_of_data)
        for piece in pieces:
            if type(piece) is not bytes:
                raise TypeError(f"only bytes may be written, not {type(piece).__name__}")
        self.write(b"".join(pieces))

    def _maybe_pause_writing(self) -> None:
        if len(self._buffer) > self._high and not self._is_writing_paused:
            self._is_writing_paused = True
            self._protocol.pause_writing()

    def write_eof(self) -> None:
        """End this side once all is sent."""
        if self._is_closing or self._ends_writing:
            return
        self._ends_writing = True
        self._flush()

    def can_write_eof(self) -> bool:
        """True."""
        return True

    def get_write_buffer_size(self) -> int:
        """Bytes written that the peer has not taken."""
        return len(self._buffer)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Low and high water."""
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """As of asyncio."""
        if high is None:
            high = 64 * 1024 if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high!r}) must be >= low ({low!r}) must be >= 0")
        self._high, self._low = high, low
        self._maybe_pause_writing()

    def is_reading(self) -> bool:
        """Whether data is delivered as it comes."""
        return self._is_reading and not self._is_closing

    def pause_reading(self) -> None:
        """Hold back what arrives."""
        self._is_reading = False

    def resume_reading(self) -> None:
        """Deliver what was held back, at the loop's next turn."""
        if not self._is_reading:
            self._is_reading = True
            self._loop.call_soon(self._deliver_inbox)

    def is_closing(self) -> bool:
        """Whether the connection is closed or about to be."""
        return self._is_closing

    def close(self) -> None:
        """Read no more, close when all is sent."""
        if not self._is_closing:
            self._is_closing = True
            self._flush()

    def abort(self) -> None:
        """Close now; what was not sent is lost."""
        self._lose_soon(None)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """The protocol."""
        return self._protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Switch to another protocol."""
        self._protocol = protocol

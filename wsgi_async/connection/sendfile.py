"""Files that the kernel sends by itself, past the transport: ``sendfile``.

uvloop has none, and asyncio's stops reading meanwhile, so that a client's leaving would not be
noticed. But the socket may be written to whenever the transport holds nothing itself.

A thread that reads a file gives up the GIL for every block, and is slow to get it back beside one
that computes; here no thread is needed, and nothing is copied.
"""

from __future__ import annotations

import asyncio
import os

from wsgi_async.buffers.reading import KNOWS_PAGE_CACHE, can_read_nowait

__all__ = ["NUDGE", "STRETCH", "WORTHWHILE", "Bypass"]

WORTHWHILE = 64 * 1024
"""Bytes of a file from which on it is sent past the transport: smaller ones are no slower by
it."""

STRETCH = 2 * 1024 * 1024
"""Bytes that are sent before the other connections have their turn: more than become free at once
in a kernel's buffer of 4 MiB, which tells when a third of it is. What a fast client makes room for
goes by one call then, and the next turn is that of the kernel's word that there is room again."""

NUDGE = 4 * 1024
"""Bytes that go through the transport when the kernel's buffer is full."""


class Bypass:
    """The way past a transport that stays in charge of its socket.

    Its water marks are 0 meanwhile: the protocol is paused as soon as the transport holds a byte,
    and told to go on when it holds none. So whoever finds the kernel's buffer full writes a few
    bytes to the transport, and is told when it has drained.

    May call ``pause_writing`` at once, where the transport still holds something.

    :param transport: one with a socket, and without TLS: see :meth:`suits`.
    """

    __slots__ = ("_limits", "_socket", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._socket: int = transport.get_extra_info("socket").fileno()
        self._limits = transport.get_write_buffer_limits()
        transport.set_write_buffer_limits(high=0)

    @staticmethod
    def suits(transport: asyncio.Transport) -> bool:
        """Whether there is a way past this transport."""
        sock = transport.get_extra_info("socket")
        return (
            KNOWS_PAGE_CACHE
            and hasattr(os, "sendfile")
            and sock is not None
            and sock.fileno() >= 0
            and transport.get_extra_info("sslcontext") is None
        )

    @property
    def is_open(self) -> bool:
        """False once something about this file or socket was not to the kernel's liking."""
        return self._socket >= 0

    def send(self, descriptor: int, offset: int, size: int) -> int:
        """Send from the page cache what the kernel takes now, at most :data:`STRETCH` bytes.

        :returns: the number of bytes; fewer than `size` and :data:`STRETCH` where the kernel's
            buffer is full, the file ends, a disk would have to be waited for, or something is
            wrong with the file or the socket. Who then reads and writes the next bytes in the
            ordinary way meets the same, and can tell which of them it is.
        """
        transport = self._transport
        if self._socket < 0 or transport.is_closing() or transport.get_write_buffer_size():
            return 0  # a closing transport's descriptor may be another's soon
        size = cached(descriptor, offset, min(size, STRETCH))
        try:
            return os.sendfile(self._socket, descriptor, offset, size) if size else 0
        except BlockingIOError:
            return 0
        except OSError:
            self.close()
            return 0

    def close(self) -> None:
        """Give the transport its water marks back."""
        if self._socket < 0:
            return
        self._socket = -1
        low, high = self._limits
        self._transport.set_write_buffer_limits(high=high, low=low)


def cached(descriptor: int, offset: int, size: int) -> int:
    """How much of a stretch is in the page cache, as far as its beginning, middle and end show.

    Three looks where all of it is; else half of it is tried, and half of that: what lies between a
    page that is there and one that is not may have to be waited for. The kernel forgets a file from
    one end on, not by pages here and there. More looks would cost more than they tell: each gives
    up the GIL, which beside a thread that computes is slow to come back.
    """
    if not can_read_nowait(descriptor, offset):
        return 0
    while size > NUDGE:
        last = offset + size - 1
        if can_read_nowait(descriptor, last) and can_read_nowait(descriptor, offset + size // 2):
            return size
        size //= 2
    return 0

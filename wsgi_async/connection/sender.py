"""Where a response's bytes are written: from its writer and its file to the transport.

One :class:`Sender` per connection, on the loop. Every byte the server sends passes it: to the
transport, or, of a large file, past it.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import fcntl
import os
import socket
import struct
import sys
import termios
from collections.abc import Callable
from typing import Protocol

from wsgi_async.buffers.reading import read_nowait
from wsgi_async.http.framing import BodyFraming, FramedHead
from wsgi_async.http.response import ResponseHead
from wsgi_async.threads import Extent, Producer, ResponsePipe

from .connections import Connections
from .deadlines import Pace
from .exchange import Exchange
from .open_connection import OpenConnection
from .sendfile import NUDGE, STRETCH, WORTHWHILE, Bypass

__all__ = ["Sender", "Sent", "reset"]

FILE_TURNS = 4
"""Blocks of a file that are read before the other connections have their turn."""

JOIN_LIMIT = 64 * 1024
"""Bytes up to which pieces are joined for one write; beyond it copying costs more."""

SMALL_PIECE = 16 * 1024
"""A piece below this is joined with its neighbours also where more is written at once."""


class Sent(enum.Enum):
    """What became of a streamed response after :meth:`Sender.send`."""

    OPEN = "more will come"
    COMPLETE = "all of it is with the transport"
    CUT = "it ends here, incomplete"
    AGAIN = "there is more at once, but others have their turn first"
    READING = "the disk is being read"


_OPEN = Sent.OPEN
_COMPLETE = Sent.COMPLETE
_CUT = Sent.CUT
_AGAIN = Sent.AGAIN
_READING = Sent.READING
_FINISHED, _BROKEN_OFF = Producer.FINISHED, Producer.CUT
_NO_BODY, _FRAMED = BodyFraming.NONE, BodyFraming.FRAMED

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_CORK: int | None = getattr(socket, "TCP_CORK", None)


class SenderConnection(OpenConnection, Protocol):
    """The connection a response goes to, as far as its sender knows it. *Loop.*"""

    def frame_head(self, exchange: Exchange, head: ResponseHead, length: int | None) -> FramedHead:
        """Decide the framing of a head."""

    def exchange_woke(self, exchange: Exchange) -> None:
        """A read that had to wait is done: :meth:`Sender.send` should go on."""

    def ends_with(self, exchange: Exchange) -> bool:
        """Whether it is closed after this response, of which the head did not say so."""


def reset(transport: asyncio.Transport) -> None:
    """Drop the client: an orderly end would look like the end of a body."""
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    transport.abort()


class Sender:
    """Writes the responses of one connection, and judges the pace at which its client takes them.

    It is given the connection with each call and keeps no reference: the two would be a cycle, and
    every connection that ends would wait, with its transport, for the garbage collector.

    :param transport: the connection's transport; its write buffer limits are set already.
    :param shared: what all connections share.
    :param clock: the loop's time.
    """

    __slots__ = (
        "_bypass",
        "_clock",
        "_pace",
        "_shared",
        "_transport",
        "body_size",
        "framed",
        "is_writable",
        "written",
    )

    def __init__(
        self, transport: asyncio.Transport, shared: Connections, clock: Callable[[], float]
    ) -> None:
        self._transport = transport
        self._shared = shared
        self._clock = clock
        self._pace: Pace | None = None
        self._bypass: Bypass | None = None
        self.framed: FramedHead | None = None
        """The head of the response that is being sent, once it is out."""
        self.body_size = 0
        """Bytes of that response's body written so far, without its framing."""
        self.written = 0
        """Bytes given to the transport, or past it, since the connection began."""
        self.is_writable = True
        """False while the transport is above its high water, which asyncio tells and does not show.
        It belongs to the transport, whatever response is sent or is not; what follows for one is a
        state of it (``Consumer.FULL``, ``ConnectionState.FLUSHING``)."""

    @property
    def unsent(self) -> int:
        """Bytes that the transport still holds."""
        return self._transport.get_write_buffer_size()

    @property
    def taken(self) -> int:
        """Bytes that the client has taken since the connection began.

        On Linux those its side has acknowledged: the kernel's buffer of megabytes opens in large
        steps, between which a slow client seems to stand still. Elsewhere, and on a unix socket,
        those given to the kernel. Under TLS what is on its way is more than what was written, and
        the transport knows how much of that is in it.
        """
        unacknowledged = _unacknowledged(self._transport)
        untaken = self._transport.get_extra_info("untaken")
        if untaken is not None:
            return self.written - int(untaken(unacknowledged))
        return self.written - self.unsent - unacknowledged

    def begin(self) -> None:
        """Forget the last response."""
        self.framed = None
        self.body_size = 0
        self._pace = None
        if self._bypass is not None:
            self._close_bypass()

    # --- the client's turn -----------------------------------------------------------------------

    def await_client(self, connection: OpenConnection) -> int:
        """If the transport holds something, it is the client's turn to take it.

        :returns: bytes that the transport holds.
        """
        unsent = self.unsent
        if not unsent:
            return 0
        paces, now = self._shared.paces, self._clock()
        if self._pace is None:
            self._pace = Pace(now, self.taken)
        elif connection not in paces:
            self._pace.resume(now, self.taken)
        paces.watch(connection, now)
        return unsent

    def judge(self, now: float, pipe: ResponsePipe | None) -> str | None:
        """What is wrong with the client's pace, or None.

        :param pipe: that of the response; told that it goes on.
        """
        pace, config = self._pace, self._shared.config
        if pace is None:
            return None
        if not self.unsent:
            pace.resume(now, self.taken)  # nothing to take: no time counts
            return None
        why = pace.judge(now, self.taken, timeout=config.send_timeout, min_rate=config.min_rate)
        if why is None and pipe is not None and pace.progress_at == now:
            pipe.note_progress()
        return why

    # --- the end ---------------------------------------------------------------------------------

    def end(self) -> None:
        """Nothing more will be written; what was is sent."""
        # ENOTCONN where a reset is here, but not read yet.
        with contextlib.suppress(OSError, RuntimeError):
            self._transport.write_eof()

    def _hold_for_end(self) -> None:
        """Have what is written now leave together with the connection's end: who has read all of
        the response can tell that, and asks nothing more here. Linux."""
        sock = self._transport.get_extra_info("socket")
        if _CORK is not None and sock is not None and sock.family != socket.AF_UNIX:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, _CORK, 1)

    def cut(self) -> None:
        """Close once what was written is sent, and it is not all: TLS has a word for that it is."""
        cut = self._transport.get_extra_info("cut")
        if cut is None:
            self._transport.close()
        else:
            cut()

    # --- responses -------------------------------------------------------------------------------

    def respond(self, framed: FramedHead, body: bytes) -> None:
        """Write a whole response, a small one whose length is known."""
        self.framed = framed
        framing = framed.framing
        if framing is _NO_BODY:
            body = b""
        self.body_size = len(body)
        if framing is _FRAMED:
            body = b"".join(framed.frame_body([body], True))
        transport = self._transport
        if not transport.is_closing():
            data = framed.data + body
            self.written += len(data)
            transport.write(data)

    def write(self, pieces: list[bytes]) -> None:
        """Give bytes to the transport: one call, whatever the number of pieces."""
        size = sum(map(len, pieces))
        transport = self._transport
        # From CPython 3.12 on asyncio's writelines() does not look itself: after a reset within the
        # same turn it would watch a descriptor that the next connection is about to get.
        if not size or transport.is_closing():
            return
        self.written += size
        if size <= JOIN_LIMIT or len(pieces) == 1:
            transport.write(b"".join(pieces))
            return
        transport.writelines(_gathered(pieces))
        # asyncio's own transports forgot to ask for a pause here until 3.12.9 and 3.13.2
        # (CPython gh-127655), and then never told when they drained. Setting the limits makes
        # them look.
        low, high = transport.get_write_buffer_limits()
        transport.set_write_buffer_limits(high=high, low=low)

    def send(self, exchange: Exchange, pipe: ResponsePipe, connection: SenderConnection) -> Sent:
        """Write what the exchange's pipe has, from memory and then from a file."""
        if pipe.is_being_read:
            return _READING  # whatever woke us: the block that is being read goes first
        for _ in range(FILE_TURNS):
            chunks, end = pipe.take()
            if end is _FINISHED and connection.ends_with(exchange):
                self._hold_for_end()
            if self.framed is not None:
                self.write(self._frame_body(chunks, end is _FINISHED))
            elif pipe.head is not None:
                self.framed = framed = connection.frame_head(exchange, pipe.head, pipe.length)
                self.write([framed.data, *self._frame_body(chunks, end is _FINISHED)])
            if end is _FINISHED:
                return _COMPLETE
            if end is _BROKEN_OFF:
                return _CUT
            if not self.is_writable:
                return _OPEN
            extent = pipe.extent()
            if extent is None:
                self._close_bypass()
                return _OPEN
            sent = self._send_extent(exchange, pipe, extent, connection)
            if sent is not _OPEN:
                return sent
        return _AGAIN

    def _frame_body(self, chunks: list[bytes], finished: bool) -> list[bytes]:
        framed = self.framed
        assert framed is not None
        if framed.framing is _NO_BODY:
            return []
        self.body_size += sum(map(len, chunks))
        if framed.framing is _FRAMED:
            return framed.frame_body(chunks, finished)
        return chunks

    def _send_extent(
        self,
        exchange: Exchange,
        pipe: ResponsePipe,
        extent: Extent,
        connection: SenderConnection,
    ) -> Sent:
        """Send the next stretch of a file past the transport, or write the next block of it."""
        descriptor, offset, size = extent
        amount = 0
        bypass = self._bypass_for(size)
        if bypass is not None:
            if not self.is_writable:
                return _OPEN  # what the transport holds goes first
            sent = bypass.send(descriptor, offset, size)
            if sent:
                self.written += sent
                self.body_size += sent
                pipe.consumed(sent, in_memory=False)
                if sent in (size, STRETCH):
                    return _OPEN if sent == size else _AGAIN
                offset += sent
                size -= sent
            amount = min(size, NUDGE) if bypass.is_open else 0
        try:
            data = read_nowait(descriptor, amount or pipe.block_size(size), offset)
        except OSError as error:
            return self._file_failed(error)
        if data is not None:
            return self._write_block(pipe, data)
        pipe.begin_read()
        block = Extent(descriptor, offset, pipe.block_size(size))
        self._shared.io_pool.submit_urgent(_DiskRead(self, exchange, pipe, block, connection))
        return _READING

    def _bypass_for(self, size: int) -> Bypass | None:
        """The way past the transport, where there is one and that much of a file is worth it."""
        bypass = self._bypass
        if bypass is not None:
            return bypass if bypass.is_open else None
        assert self.framed is not None
        framing = self.framed.framing
        if size < WORTHWHILE or framing is _FRAMED or framing is _NO_BODY:
            return None
        if not Bypass.suits(self._transport):
            return None
        self._bypass = bypass = Bypass(self._transport)
        return bypass

    def _close_bypass(self) -> None:
        if self._bypass is not None:
            self._bypass.close()
            self._bypass = None

    def _write_block(self, pipe: ResponsePipe, data: bytes) -> Sent:
        if not data:
            return self._file_failed("it is shorter than it was")
        pipe.consumed(len(data))
        self.write(self._frame_body([data], False))
        return _OPEN

    def _file_failed(self, why: object) -> Sent:
        self._shared.gateway.observer.error(
            f"a response was cut, its file could not be read: {why}"
        )
        return _CUT

    def disk_has_answered(
        self,
        exchange: Exchange,
        pipe: ResponsePipe,
        data: bytes | OSError,
        connection: SenderConnection,
    ) -> None:
        """*Loop:* an I/O thread has read what the page cache did not have."""
        pipe.end_read()
        if not pipe.gone:
            if isinstance(data, OSError):
                self._file_failed(data)
                pipe.evict()
            elif self._write_block(pipe, data) is _CUT:
                pipe.evict()
        connection.exchange_woke(exchange)


def _unacknowledged(transport: asyncio.Transport) -> int:
    """Bytes in the kernel's send buffer, as far as it tells."""
    sock = transport.get_extra_info("socket")
    if sock is None or sock.family == socket.AF_UNIX:
        return 0  # a unix socket counts what its buffers take, not what is in them
    try:
        answer = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4))
    except (OSError, ValueError):
        return 0
    return int.from_bytes(answer, sys.byteorder, signed=True)


def _gathered(pieces: list[bytes]) -> list[bytes]:
    """The same bytes with neighbours that are small joined: a transport keeps an object for each
    piece, and asyncio's goes through all of them for every look at its buffer's size."""
    gathered: list[bytes] = []
    small: list[bytes] = []
    size = 0
    for piece in pieces:
        if len(piece) < SMALL_PIECE and size < JOIN_LIMIT:
            small.append(piece)
            size += len(piece)
            continue
        gathered.append(b"".join(small))
        small, size = [], 0
        if len(piece) < SMALL_PIECE:
            small.append(piece)
            size = len(piece)
        else:
            gathered.append(piece)
    gathered.append(b"".join(small))
    return [piece for piece in gathered if piece]


class _DiskRead:
    """One read that has to wait for the disk, on an I/O thread."""

    __slots__ = (
        "_connection",
        "_exchange",
        "_extent",
        "_is_answered",
        "_pipe",
        "_result",
        "_sender",
    )

    has_begun = True  # it is never withdrawn
    turn = 0

    def __init__(
        self,
        sender: Sender,
        exchange: Exchange,
        pipe: ResponsePipe,
        extent: Extent,
        connection: SenderConnection,
    ) -> None:
        self._connection = connection
        self._sender = sender
        self._exchange = exchange
        self._pipe = pipe
        self._extent = extent
        self._result: bytes | OSError = b""
        self._is_answered = False

    def run(self) -> None:
        """*I/O thread:* read, and tell the loop."""
        try:
            self._result = os.pread(self._extent.descriptor, self._extent.size, self._extent.offset)
        except OSError as error:
            self._result = error
        self._exchange.post(self)

    def abandon(self, turn: int) -> None:
        """*I/O thread:* it was broken off; where nothing was read, that cuts the response."""
        self._exchange.post(self)

    def on_wake(self) -> None:
        """*Loop:* the read is done."""
        if self._is_answered:
            return
        self._is_answered = True
        self._sender.disk_has_answered(self._exchange, self._pipe, self._result, self._connection)

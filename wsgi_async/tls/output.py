"""The way out of an encrypted connection: what is written, how much of it waits, and the end.

The lower half of :class:`~wsgi_async.tls.transport.TLSTransport`. On the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import deque
from collections.abc import Iterable
from typing import Any, cast

from .failures import TLSFailure, reason
from .progress import Progress
from .states import LEFT, LIFE_NEXT, OUT_NEXT, LifeState, OutState, check

__all__ = ["BATCH", "RECORD", "STRETCH", "UNASKED", "TLSOutput"]

RECORD = 16 * 1024
"""Bytes in a record at most (RFC 8446 §5.1)."""

BATCH = 64 * 1024
"""Bytes that are encrypted for one write to the plain transport."""

STRETCH = 1024 * 1024
"""Bytes that are encrypted before the other connections have their turn."""

UNASKED = 16 * 1024
"""Bytes of TLS's own messages that are kept for a client which asks for them and does not read."""

# A global is quicker than an enum's attribute.
_FLOWING, _FULL = OutState.FLOWING, OutState.FULL
_YIELDING, _ENDED = OutState.YIELDING, OutState.ENDED
_OPEN, _ENDING = LifeState.OPEN, LifeState.ENDING
_CLOSING, _CUTTING, _LOST = LifeState.CLOSING, LifeState.CUTTING, LifeState.LOST


class TLSOutput(asyncio.Transport):
    """As much of a transport as writes.

    :param loop: the loop that runs it.
    :param context: whose certificate is shown, and what else is agreed on.
    """

    __slots__ = (
        "_backlog",
        "_failure",
        "_incoming",
        "_life",
        "_loop",
        "_object",
        "_out",
        "_outgoing",
        "_plain",
        "_progress",
        "_protocol",
        "_taken",
        "_waiting",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, context: ssl.SSLContext) -> None:
        super().__init__()
        self._loop = loop
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._plain = cast("asyncio.Transport", None)  # until connection_made
        self._protocol: asyncio.Protocol | None = None
        self._out: OutState = _FLOWING
        self._life: LifeState = _OPEN
        self._failure: TLSFailure | None = None
        # None most of the time: an empty deque is most of a kilobyte.
        self._backlog: deque[bytes | memoryview] | None = None
        self._waiting = 0  # bytes in it
        self._progress = Progress()
        self._taken = 0

    def _enter_out(self, state: OutState) -> None:
        check(OUT_NEXT, self._out, state)
        self._out = state

    def _enter_life(self, state: LifeState) -> None:
        check(LIFE_NEXT, self._life, state)
        self._life = state

    def _keep_input(self) -> None:
        """OpenSSL is about to look for the client's end: have it find nothing else."""

    # --- what is written -------------------------------------------------------------------------

    def pause_writing(self) -> None:
        """The plain transport is above its high water."""
        before = self._out
        if before is _ENDED or self._protocol is None:
            return
        self._enter_out(_FULL)
        if before is _FLOWING:
            self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """It has drained."""
        if self._out is _FULL:
            self._enter_out(_YIELDING)
            if self._backlog:
                # Not here: asyncio's own transports tell their loss twice if a send fails as they
                # say that they have drained.
                self._loop.call_soon(self._write_on)
            else:
                self._write_on()

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        """As of asyncio."""
        if self._out is not _FLOWING or not 0 < len(data) <= RECORD:
            self.writelines((data,))
            return
        try:
            self._object.write(data)
            encrypted = self._outgoing.read()
        except Exception as error:
            self._fail(error)
            return
        self._progress.add(len(data), len(encrypted))
        self._plain.write(encrypted)

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview[Any]]) -> None:
        """As of asyncio."""
        if self._life is not _OPEN:
            if self._life is _ENDING:
                raise RuntimeError("Cannot call write() after write_eof()")
            return
        if self._backlog is None:
            self._backlog = deque()
        for data in list_of_data:
            if data:
                self._backlog.append(data if type(data) is bytes else bytes(data))
                self._waiting += len(data)
        if self._out is _FLOWING:
            self._write_on()

    def _write_on(self) -> None:
        """Encrypt what waits, as far as the plain transport takes it."""
        if self._out is not _FLOWING and self._out is not _YIELDING:
            return
        left = STRETCH
        try:
            while self._backlog:
                if self._plain.is_closing():
                    # It is lost, and about to say so. writelines() of CPython 3.12 and 3.13 would
                    # go on to watch its descriptor, which the next connection is about to get.
                    return
                if left <= 0:
                    self._yield()
                    return
                left -= self._write_batch(self._backlog)
                if self._out is not _FLOWING and self._out is not _YIELDING:
                    return
        except Exception as error:
            self._fail(error)
            return
        self._backlog = None
        if self._life is not _OPEN:
            # Not here: asyncio's own transports tell their loss twice if they are closed as they
            # say that they have drained.
            self._loop.call_soon(self._finish)
        elif self._out is _YIELDING:
            self._enter_out(_FLOWING)
            if self._protocol is not None:
                self._protocol.resume_writing()

    def _yield(self) -> None:
        """Go on in the loop's next turn."""
        if self._out is _FLOWING:
            self._enter_out(_YIELDING)
            if self._protocol is not None:
                self._protocol.pause_writing()
        self._loop.call_soon(self._write_on)

    def _write_batch(self, backlog: deque[bytes | memoryview]) -> int:
        progress = self._progress
        encrypt, fetch = self._object.write, self._outgoing.read
        pieces: list[bytes] = []
        size = 0
        while backlog and size < BATCH:
            piece = backlog.popleft()
            if len(piece) > RECORD:
                view = memoryview(piece)
                backlog.appendleft(view[RECORD:])
                piece = view[:RECORD]
            encrypt(piece)
            pieces.append(fetch())
            size += len(piece)
        self._waiting -= size
        progress.add(size, sum(map(len, pieces)))
        plain = self._plain
        if len(pieces) == 1:
            plain.write(pieces[0])
        else:
            plain.writelines(pieces)
            # Of asyncio's own transports not all look at their limits here: see connection/sender.
            low, high = plain.get_write_buffer_limits()
            plain.set_write_buffer_limits(high=high, low=low)
        return size

    def _send_pending(self) -> None:
        """Send what OpenSSL has to say by itself."""
        encrypted = self._outgoing.read()
        if encrypted:
            if self._protocol is not None:
                self._progress.add(0, len(encrypted))
            self._plain.write(encrypted)

    def _send_unasked(self) -> None:
        """Send TLS's own messages, which the client has asked for."""
        if self._out is _ENDED:
            self._outgoing.read()
        elif self._out is _FLOWING:
            self._send_pending()
        elif self._outgoing.pending > UNASKED:
            self._drop(TLSFailure("the client asks for much and reads nothing"))

    # --- its ends --------------------------------------------------------------------------------

    def write_eof(self) -> None:
        """Say ``close_notify`` once all is sent, and end this side of the plain transport."""
        if self._life is _OPEN:
            self._enter_life(_ENDING)
            if not self._backlog:
                self._finish()

    def can_write_eof(self) -> bool:
        """True."""
        return True

    def close(self) -> None:
        """Read no more; say ``close_notify`` and close once all is sent."""
        self._leave(_CLOSING)

    def cut(self) -> None:
        """As :meth:`close`, without a ``close_notify``: what was written is not all."""
        self._leave(_CUTTING)

    def _leave(self, state: LifeState) -> None:
        if self._life in LEFT:
            return
        self._enter_life(state)
        if self._protocol is None:
            self._plain.close()
        elif not self._backlog:
            self._finish()
        else:
            self._plain.pause_reading()

    def _finish(self) -> None:
        """All that was written is with the plain transport."""
        if self._life is _ENDING and self._out is not _ENDED:
            self._say_end()
            with contextlib.suppress(OSError, RuntimeError):  # a reset is here, but not read yet
                self._plain.write_eof()
        elif self._life is _CLOSING:
            if self._out is not _ENDED:
                self._say_end()
            self._plain.close()
        elif self._life is _CUTTING:
            if self._out is not _ENDED:
                self._enter_out(_ENDED)
            self._plain.close()

    def _say_end(self) -> None:
        """Send ``close_notify``."""
        self._enter_out(_ENDED)
        self._keep_input()
        with contextlib.suppress(ssl.SSLError):  # the client's has not come
            self._object.unwrap()
        self._send_pending()

    def abort(self) -> None:
        """Close now, without ``close_notify``; what was not sent is lost."""
        self._let_go()
        self._plain.abort()

    def _fail(self, error: Exception) -> None:
        """Send the alert that there may be, and drop the connection."""
        self._drop(TLSFailure(reason(error)))

    def _drop(self, failure: TLSFailure) -> None:
        if self._life is _LOST:
            return
        self._failure = failure
        with contextlib.suppress(Exception):
            self._send_pending()
        self._let_go()
        # The loops write what there is at the end of their turn; an abort before it would lose it.
        try:
            self._loop.call_soon(self._plain.abort)
        except Exception:  # no memory for it: then at once
            self._plain.abort()

    def _let_go(self) -> None:
        """Nothing more is to be read or written."""
        if self._life is not _LOST:
            self._enter_life(_LOST)
        if self._out is not _ENDED:
            self._enter_out(_ENDED)
        self._backlog = None
        self._waiting = 0

    # --- what may be asked ------------------------------------------------------------------------

    def is_closing(self) -> bool:
        """Whether the connection is closed or about to be."""
        return self._life in LEFT or self._plain.is_closing()

    def get_write_buffer_size(self) -> int:
        """Bytes written that the kernel does not have; 1 where those are TLS's own alone."""
        unsent = self._plain.get_write_buffer_size()
        if not unsent:
            return self._waiting
        progress = self._progress
        sent = progress.written_in(progress.encrypted - unsent)
        return self._waiting + progress.written - sent or 1

    def untaken(self, unacknowledged: int) -> int:
        """Bytes written that the client does not have.

        :param unacknowledged: bytes of the plain transport's that the kernel has, and the client
            does not.
        """
        progress = self._progress
        behind = self._plain.get_write_buffer_size() + unacknowledged
        taken = progress.written_in(progress.encrypted - behind)
        self._taken = max(self._taken, taken)  # a proportion may be less than the last one
        return self._waiting + progress.written - self._taken

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Those of the plain transport, which has a little more than what was written."""
        return self._plain.get_write_buffer_limits()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """As of asyncio, for the plain transport; nothing else waits below its high water."""
        self._plain.set_write_buffer_limits(high=high, low=low)

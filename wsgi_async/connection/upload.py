"""One request body on its way in: collected before a thread is taken, or passed on as it arrives.

The twin of ``sender``; on the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import errno
import math
from collections.abc import Callable

from wsgi_async.buffers.spool import BodySpool, SourceFile
from wsgi_async.config.options import Config
from wsgi_async.errors import HTTPError, Overload, StorageExhausted
from wsgi_async.http.reading import Reader, Signal
from wsgi_async.threads import RequestBody

from .connections import Connections
from .deadlines import Pace
from .exchange import Exchange
from .open_connection import OpenConnection

__all__ = ["Upload", "UploadState", "largest_body", "storage_error"]

_END_OF_BODY = Signal.END_OF_BODY

_STATUSES = {
    errno.ENOSPC: 507,
    errno.EDQUOT: 507,
    errno.EFBIG: 507,
    errno.EMFILE: 503,
    errno.ENFILE: 503,
}
"""What the system says of a temporary file that is not to be had -> status: it passes. A disk that
is broken (EIO and all others) is a 500."""


def largest_body(config: Config, *, streams: bool) -> float:
    """Bytes that one body may have; a larger one is a 413.

    :param streams: whether the application reads it as it arrives; else it must fit on the disk.
    """
    limit = config.max_body_size or math.inf
    return limit if streams else min(limit, max(config.spool_limit, config.spool_threshold))


def storage_error(error: OSError, retry_after: int) -> HTTPError:
    """What a client is told whose body could not be kept.

    :param error: of :meth:`wsgi_async.buffers.spool.BodySpool.append`.
    :param retry_after: seconds, where the cause is one that passes.
    """
    if isinstance(error, StorageExhausted):
        return Overload.BUFFERS_FULL.error(retry_after)
    status = _STATUSES.get(error.errno or 0, 500)
    return HTTPError(
        status,
        "The server could not store the body",
        retry_after=None if status == 500 else retry_after,
    )


class UploadState(enum.Enum):
    """How far the body of a request has come."""

    OWED = "the client waits for a 100 before it sends it"
    ARRIVING = "more of it may come"
    COMPLETE = "all of it is here"
    UNWANTED = "the response is complete, what still comes is read to be dropped"
    """Some clients take nothing before they have sent all."""
    BROKEN = "the rest of it will not come"


_OWED = UploadState.OWED
_ARRIVING = UploadState.ARRIVING
_COMPLETE = UploadState.COMPLETE
_UNWANTED = UploadState.UNWANTED
_BROKEN = UploadState.BROKEN

NEXT: dict[UploadState, set[UploadState]] = {
    _OWED: {_ARRIVING, _COMPLETE, _UNWANTED, _BROKEN},
    _ARRIVING: {_COMPLETE, _UNWANTED, _BROKEN},
    _UNWANTED: {_BROKEN},
    _COMPLETE: {_BROKEN},  # told again: harmless, and its reader may not have been at the end
    _BROKEN: {_BROKEN},
}


class Upload:
    """The body of one request, from its head to its last byte.

    A body is collected (it gets a spool), or the application reads it as it arrives. Then, while
    it is behind its client and the loop does not read, it is lent the socket.

    :param exchange: the request; gets its ``spool`` or its ``body`` here.
    :param connection: where it comes from: its pace is watched.
    :param reader: gives the bytes.
    :param shared: what all connections share.
    :param clock: the loop's time.
    :param streams: whether the application reads the body as it arrives.
    :raises HTTPError: 413, it is too large by what its head says.
    """

    __slots__ = (
        "_body",
        "_clock",
        "_connection",
        "_exchange",
        "_limit",
        "_pace",
        "_reader",
        "_shared",
        "received",
        "state",
    )

    def __init__(
        self,
        exchange: Exchange,
        connection: OpenConnection,
        reader: Reader,
        shared: Connections,
        clock: Callable[[], float],
        *,
        streams: bool,
    ) -> None:
        config, head = shared.config, exchange.head
        self._limit = largest_body(config, streams=streams)
        if (head.content_length or 0) > self._limit:
            raise HTTPError(413, "The request body is too large")
        self._exchange = exchange
        self._connection = connection
        self._reader = reader
        self._shared = shared
        self._clock = clock
        self.received = 0
        """Bytes that the connection has received since the head."""
        now = clock()
        self._pace = Pace(now, 0)
        self.state = _OWED if head.expect_continue and not reader.buffered else _ARRIVING
        self._body: RequestBody | None = None
        if streams:
            body = RequestBody(shared.gateway.mailbox, exchange, shared.budgets.memory)
            self._body = exchange.body = body
        else:
            exchange.spool = BodySpool(shared.budgets, config.spool_threshold, config.spool_limit)
        shared.paces.watch(connection, now)

    def _enter(self, state: UploadState) -> None:
        """The one place where the state changes."""
        if state not in NEXT[self.state]:
            raise RuntimeError(f"an upload cannot go from {self.state.name} to {state.name}")
        self.state = state

    @property
    def is_open(self) -> bool:
        """Whether more of it may come."""
        state = self.state
        return state is _ARRIVING or state is _OWED or state is _UNWANTED

    # --- bytes -----------------------------------------------------------------------------------

    def feed(self) -> bool:
        """Pass on what the reader has of it.

        :returns: whether all of it is here.
        :raises HTTPError: it is not well formed; 413 above ``max_body_size``; 503, 507 or 500 where
            it cannot be kept.
        """
        while self.state is _ARRIVING or self.state is _OWED:
            event = self._reader.next_event()
            if event is _END_OF_BODY:
                self._enter(_COMPLETE)
                if self._body is not None:
                    self._body.feed_end()
            elif type(event) is bytes:
                if self.state is _OWED:  # RFC 9110 §10.1.1: the client did not wait
                    self._enter(_ARRIVING)
                    self.await_client()
                self._keep(event)
            else:
                break
        return self.state is _COMPLETE

    def _keep(self, data: bytes) -> None:
        body = self._body
        if body is not None:
            body.feed(data)
            self._check_size(body.size)
            return
        spool = self._exchange.spool
        assert spool is not None
        self._check_size(spool.size + len(data))
        try:
            spool.append(data)
        except OSError as error:
            if not isinstance(error, StorageExhausted):
                self._shared.gateway.bounds.warn(f"an upload could not be spooled: {error}")
            raise storage_error(error, self._shared.retry_after()) from error

    def _check_size(self, size: int) -> None:
        if size > self._limit:
            raise HTTPError(413, "The request body is too large")

    def abort(self, why: str) -> None:
        """The rest will not come; an application that reads on is told."""
        self._enter(_BROKEN)
        if self._body is not None:
            self._body.abort(why)

    def drop_rest(self) -> None:
        """The response is complete: read the rest for the client's sake only."""
        before = self.state
        if before is _ARRIVING or before is _OWED:
            self._enter(_UNWANTED)
        if before is _OWED:
            self.await_client()  # behind a final head there is no 100, but its time runs

    # --- the socket ------------------------------------------------------------------------------

    @property
    def is_full(self) -> bool:
        """Whether enough waits for the application to stop reading from the client."""
        body = self._body
        return body is not None and self.is_open and body.is_full

    def lend(self, transport: asyncio.Transport) -> None:
        """The loop reads no more: an application that is behind its client may read the rest of
        the body from the socket itself, unless it is encrypted there."""
        body, left = self._body, self._reader.body_left
        if body is None or not left or transport.get_extra_info("sslcontext") is not None:
            return
        sock = transport.get_extra_info("socket")
        if sock is not None:
            # Where no descriptor is free the loop goes on as before.
            with contextlib.suppress(OSError):
                body.lend(SourceFile(self._shared.budgets, sock.fileno()), left)

    def reclaim(self) -> None:
        """The loop is about to read from the socket again.

        :raises HTTPError: as :meth:`feed`.
        :raises OSError: the connection is broken.
        """
        if self._body is not None:
            self._body.reclaim()
        self.catch_up()

    def catch_up(self) -> None:
        """Take into account what the application has read from the socket since the last call.

        :raises HTTPError: as :meth:`feed`.
        :raises OSError: the connection is broken.
        """
        taken = self._body.taken() if self._body is not None else 0
        if taken:
            self.received += taken
            self._reader.skip_body(taken)
            self.feed()

    # --- the client's turn -----------------------------------------------------------------------

    def continue_is_due(self) -> bool:
        """Whether a client that waits for its 100 is to get it now; True once.

        A body that is collected is asked for at once, one that is streamed when the application
        first reads (RFC 9110 §10.1.1).
        """
        if self.state is not _OWED or (self._body is not None and not self._body.is_awaited):
            return False
        self._enter(_ARRIVING)
        return True

    def await_client(self) -> None:
        """From now on it is the client's turn to send."""
        now = self._clock()
        self._pace.resume(now, self.received)
        self._shared.paces.watch(self._connection, now)

    @property
    def awaits_client(self) -> bool:
        """Whether it is the client's turn to send, if its socket is read."""
        return self.state is _ARRIVING or self.state is _UNWANTED

    def judge(self, now: float) -> str | None:
        """What is wrong with the client's pace, or None."""
        config = self._shared.config
        return self._pace.judge(
            now, self.received, timeout=config.body_timeout, min_rate=config.min_rate
        )

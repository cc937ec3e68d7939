"""One request body on its way in: collected before a thread is taken, or passed on as it arrives.

The twin of ``sending``; on the loop.
"""

from __future__ import annotations

import contextlib
import errno
import math

from wsgi_async.buffers.spool import BodySpool, SourceFile
from wsgi_async.config.options import Config
from wsgi_async.errors import HTTPError, StorageExhausted
from wsgi_async.threads import RequestBody

from .connections import Connections
from .deadlines import Pace
from .exchange import Exchange

__all__ = ["Upload", "largest_body", "storage_error"]

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
        return HTTPError(503, "The server has no room for the body", retry_after=retry_after)
    status = _STATUSES.get(error.errno or 0, 500)
    return HTTPError(
        status,
        "The server could not store the body",
        retry_after=None if status == 500 else retry_after,
    )


class Upload:
    """The body of one request, from its head to its last byte.

    :param exchange: the request; gets its ``spool`` or its ``stream`` here.
    :param shared: what all connections share.
    :param streams: whether the application reads the body as it arrives.
    :param owes_continue: whether the client waits for a 100 before it sends.
    :param now: the loop's time.
    :param received: bytes received by the connection so far.
    """

    __slots__ = ("_exchange", "_limit", "_pace", "_shared", "is_open", "owes_continue")

    def __init__(
        self,
        exchange: Exchange,
        shared: Connections,
        *,
        streams: bool,
        owes_continue: bool,
        now: float,
        received: int,
    ) -> None:
        config = shared.config
        self._exchange = exchange
        self._shared = shared
        self._limit = largest_body(config, streams=streams)
        self._pace = Pace(now, received)
        self.owes_continue = owes_continue
        self.is_open = True
        """Whether more of it may come."""
        if streams:
            mailbox = shared.gateway.mailbox
            exchange.body = RequestBody(mailbox, exchange, shared.budgets.memory)
        else:
            exchange.spool = BodySpool(shared.budgets, config.spool_threshold, config.spool_limit)

    def receive(self, data: bytes) -> None:
        """Take the next bytes.

        :raises HTTPError: 413 above ``max_body_size``; 503, 507 or 500 where they cannot be kept.
        """
        self.owes_continue = False  # RFC 9110 §10.1.1: the client did not wait
        if self._exchange.body is not None:
            self._exchange.body.feed(data)
            self._check_size(self._exchange.body.size)
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

    def finish(self) -> None:
        """All of it is here."""
        self.is_open = False
        if self._exchange.body is not None:
            self._exchange.body.feed_end()

    def abort(self, why: str) -> None:
        """The rest will not come; an application that reads on is told."""
        self.is_open = False
        if self._exchange.body is not None:
            self._exchange.body.abort(why)

    @property
    def is_full(self) -> bool:
        """Whether enough waits for the application to stop reading from the client."""
        stream = self._exchange.body
        return stream is not None and self.is_open and stream.is_full

    def lend(self, descriptor: int, left: int) -> None:
        """Allow the application to read the rest of the body from the socket itself, if it can.

        :param left: bytes of the body that are still to come.
        """
        stream = self._exchange.body
        if stream is not None:
            # Where no descriptor is free the loop goes on as before.
            with contextlib.suppress(OSError):
                stream.lend(SourceFile(self._shared.budgets, descriptor), left)

    def reclaim(self) -> None:
        """The loop reads from the socket again."""
        if self._exchange.body is not None:
            self._exchange.body.reclaim()

    def taken(self) -> int:
        """Bytes that the application has read from the socket since the last call.

        :raises OSError: the connection is broken.
        """
        stream = self._exchange.body
        return stream.taken() if stream is not None else 0

    def continue_is_due(self) -> bool:
        """Whether a client that waits for its 100 is to get it now; True once.

        A body that is collected is asked for at once, one that is streamed when the application
        first reads (RFC 9110 §10.1.1).
        """
        stream = self._exchange.body
        due = self.owes_continue and (stream is None or stream.is_awaited)
        if due:
            self.owes_continue = False
        return due

    def resume(self, now: float, received: int) -> None:
        """It is the client's turn to send (again)."""
        self._pace.resume(now, received)

    def judge(self, now: float, received: int) -> str | None:
        """What is wrong with the client's pace, or None."""
        config = self._shared.config
        return self._pace.judge(
            now, received, timeout=config.body_timeout, min_rate=config.min_rate
        )

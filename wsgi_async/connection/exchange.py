"""One request and its response: what the loop and the pool thread do with it.

:class:`Exchange` is the only task that is given to the thread pool. What the observer hears of it
(:mod:`.observed`) and what becomes of its client (:mod:`.followed`) it has from its bases.
"""

from __future__ import annotations

from contextvars import Context
from io import BytesIO
from typing import BinaryIO

from wsgi_async.buffers.spool import BodySpool
from wsgi_async.errors import HTTPError
from wsgi_async.events import HAS_ACCESS_LINE, ResponseInfo
from wsgi_async.http.request import RequestHead
from wsgi_async.http.response import ResponseHead
from wsgi_async.threads import (
    LARGE_FILE,
    ForkedWriter,
    InputStream,
    RequestBody,
    ResponseWriter,
)
from wsgi_async.wsgi.calling import Step, WSGIResponse
from wsgi_async.wsgi.delivery import send_error
from wsgi_async.wsgi.environ import build_environ
from wsgi_async.wsgi.error_stream import ErrorStream

from .exchange_states import NEXT, ExchangeState
from .followed import FollowedRequest
from .gateway import ExchangeConnection, Gateway, LiveBody
from .observed import Refused, runs_requests

__all__ = ["Exchange"]


_blank = object.__new__

_DONE = Step.DONE
_PARKED = Step.PARKED

_BEGUN = ExchangeState.BEGUN
_ANSWERED = ExchangeState.ANSWERED
_SUBMITTED = ExchangeState.SUBMITTED
_WITHDRAWN = ExchangeState.WITHDRAWN
_GIVEN_UP = ExchangeState.GIVEN_UP


class Exchange(FollowedRequest):
    """The state of one request.

    The loop owns it, and lends it to one pool thread at a time: from ``submit`` to the return of
    :meth:`run`, or to ``writer.park()`` inside it. Where its body is asynchronous, the application
    loop has it in between, from the moment at which that is in the response's place.

    :param gateway: what all exchanges share.
    :param connection: where the request came from.
    :param head: the request's head.
    :param began: the loop's time at which the head was complete.
    """

    __slots__ = (
        "_context",
        "_errors",
        "_response",
        "began",
        "body",
        "spool",
        "variables",
        "waits_since",
    )

    def __init__(
        self,
        gateway: Gateway[Exchange],
        connection: ExchangeConnection[Exchange],
        head: RequestHead,
        began: float,
    ) -> None:
        self._gateway = gateway
        self._context = Context()
        self._response: WSGIResponse | LiveBody | None = None
        self._info = None
        self._errors: ErrorStream | None = None
        self.watching = None
        self.connection = connection
        self.head = head
        self.origin = None
        self.began = began
        self.waits_since = began
        """The loop's time at which the request was complete: from then on it is the application's
        turn, the wait for a thread included."""
        self.state = _BEGUN
        self.writer = ResponseWriter(gateway.bounds, gateway.mailbox, self)
        self.spool: BodySpool | None = None
        """The body, where it is collected before a thread is taken."""
        self.body: RequestBody | None = None
        """The body, where the application reads it as it arrives."""
        self.variables: dict[str, object] | None = None
        """What else its environ is to have, where somebody asks for that: see :mod:`.timing` and
        :mod:`.own_fields`."""

    def _enter(self, state: ExchangeState) -> None:
        """*Loop:* the one place where the state changes."""
        if state not in NEXT[self.state]:
            raise RuntimeError(f"an exchange cannot go from {self.state.name} to {state.name}")
        self.state = state

    # --- loop --------------------------------------------------------------------------------

    def submit(self) -> bool:
        """*Loop:* queue for a thread. False where the queue is full."""
        if not self._gateway.pool.submit(self):
            return False
        self.state = _SUBMITTED  # with no call in between, which may fail: a thread may have it
        return True

    def answer(self, head: ResponseHead, body: bytes) -> None:
        """*Loop:* answer it without a thread."""
        self._enter(_ANSWERED)
        self.writer.answer(head, body)

    def ended(self, status: int, body_size: int, complete: bool, now: float) -> ResponseInfo:
        """*Loop:* how it ended, for whoever wants to know; see :class:`ResponseInfo`.

        :param now: the loop's time.
        """
        return ResponseInfo(status, body_size, now - self.began, complete, self.is_logged)

    @property
    def is_logged(self) -> bool:
        """*Loop:* whether middleware has a line for it in the access log."""
        # The context may be one that its thread is in: it is only read.
        return HAS_ACCESS_LINE in self._context

    def resume(self) -> None:
        """*Loop:* queue a suspended iteration again, to go on or, the client gone, to close; or
        have its asynchronous body go on."""
        live = self.live
        if live is None:
            self._gateway.pool.submit_urgent(self)
        else:
            live.resume()

    def give_up_response(self, error: HTTPError) -> None:
        """*Loop:* its asynchronous body has not produced anything in time: answer instead, or cut
        the response."""
        self.connection.give_up(self, error)

    def resume_to_close(self) -> None:
        """*Loop:* its asynchronous body is over: queue it, to be closed."""
        self._gateway.pool.submit_urgent(self)

    def withdraw(self) -> bool:
        """*Loop:* take a request that waits for its thread out of the queue, and give back what it
        holds. False, and nothing done, where the application has it already, or had it."""
        if self.state is not _SUBMITTED or not self._gateway.pool.withdraw(self):
            return False
        self._enter(_WITHDRAWN)
        self.drop_body()
        self._clean_up()
        return True

    def give_up(self) -> None:
        """*Loop:* its thread is lost. Its client is to be answered now, and then what waits in the
        application told of it: see :meth:`tell_given_up`."""
        self._enter(_GIVEN_UP)

    def release(self, why: str) -> None:
        """*Loop:* the client will get nothing of this, or no more: see :meth:`let_go`."""
        if self.state is not _BEGUN:
            self.let_go(why)
        else:
            self.drop_body()
            self.writer.release()

    def let_go(self, why: str) -> None:
        """*Loop:* the client has gone: tell the thread, and have the iterable closed; or, where it
        still waits for a thread, give its place in the queue to somebody else."""
        if self.body is not None:
            self.body.abort(why)
        is_parked = self.writer.abort()
        # Looked at only now: a thread that hands it over in between finds that the client has gone.
        live = self.live
        if live is not None:
            live.leave()
        elif is_parked:
            self.resume()
        else:
            self.withdraw()
        if self.watching is not None:
            self.watching.leave(self)

    def on_wake(self) -> None:
        """*Loop:* the writer or the body has news."""
        self.connection.exchange_woke(self)

    def drop_body(self) -> None:
        """*Loop, where no thread has it or will:* give back what the body holds."""
        spool, self.spool = self.spool, None
        if spool is not None and spool.size > LARGE_FILE:
            self._gateway.bounds.in_background(spool.close)
        elif spool is not None:
            spool.close()
        if self.body is not None:
            self.body.release()

    # --- pool thread -------------------------------------------------------------------------

    def run(self) -> None:
        """*Pool thread:* begin or go on; in the end either park or clean up.

        What it lets out, or what strikes it, leaves the rest to :meth:`abandon`.
        """
        if not self.writer.gone:
            response = self._response
            step = self._context.run(self._first_step if response is None else response.advance)
            if step is _DONE:
                self._clean_up()
                return
            # Only now that the context has been left: another thread may enter it at once.
            if self._park() if step is _PARKED else self._hand_over():
                return
            # The client has gone meanwhile, or its body is nobody's to await: close.
        # A queued request whose client has gone never reaches the application.
        if self._response is not None:
            self._context.run(self._response.abandon)
        self._clean_up()

    def abandon(self, turn: int) -> None:
        """*Pool thread:* see :meth:`.Task.abandon`. The iterable is closed, what the request
        holds is given back, and the response is ended: with a 500, where nothing of it was said.
        """
        if self.turn == turn:
            response, writer = self._response, self.writer
            if response is not None:
                self._context.run(response.abandon)
            if writer.whole is None and writer.pipe is None:
                send_error(writer, self.head.method == "HEAD")
            writer.cut()
            self._clean_up()
        else:
            live = self.live
            if live is not None:
                live.begin()  # perhaps it could not any more
        self.post(self)  # perhaps it could not tell the loop any more

    def disown(self) -> None:
        """*In a process that the application has forked, in this exchange's thread:* the request is
        the parent's to answer. There is no loop here and no other thread, and what the application
        comes back with ends the process."""
        super().disown()
        if self.body is not None:
            self.body.disown()
        if self.writer.pipe is not None:
            self.writer.pipe.disown()
        self.writer = ForkedWriter(self._gateway.bounds, self._gateway.mailbox, self)
        if self._response is not None:
            self._response.disown(self.writer)
        self.disown_client()

    def _park(self) -> bool:
        pipe = self.writer.pipe
        assert pipe is not None
        return pipe.park()

    def _hand_over(self) -> bool:
        """Have somebody else await its body, which is asynchronous, and hold this thread no longer.
        False where nobody does: it is to be closed."""
        response, live = self._response, self._gateway.live
        assert isinstance(response, WSGIResponse)
        if self.writer.gone:
            return False
        if live is None:
            raise RuntimeError("nobody awaits asynchronous bodies here")
        body = live.take(self, response, self._context)
        if isinstance(body, HTTPError):
            self.post(Refused(self, body))
            response.refuse(body)
            return False
        # From here on this turn is over: see abandon(). Who strikes the thread before costs this
        # request; who does so later only has it begin once more.
        self._response = body
        body.begin()
        if body.is_event_stream and self.connection.has_ended_its_side:
            self.post(self)  # it was too early for the connection to see what that means
        return True

    def _clean_up(self) -> None:
        writer = self.writer
        if writer.whole is None and not writer.has_ended:
            writer.cut()
        if self.spool is not None:
            self.spool.close()
        if self.body is not None:
            self.body.release()
        errors, self._errors = self._errors, None  # it refers to this exchange
        if errors is not None and errors.unfinished:
            errors.flush()
        # So does this: leave no cycle to the collector. The last thing, for it counts in `turn`.
        self._response = None

    def _first_step(self) -> Step:
        body: BinaryIO | InputStream
        size: int | None = None
        if self.spool is not None:
            body, size = self.spool.open(), self.spool.size
        elif self.body is not None:
            body = InputStream(self.body)
        else:
            body = BytesIO()
        # Not ErrorStream(self): until CPython 3.13 to call a class costs more than what that does.
        self._errors = errors = _blank(ErrorStream)
        errors.log, errors.unfinished = self, ""
        head = self.head
        self._response = response = WSGIResponse(
            self._gateway.application, self.writer, self, head.method == "HEAD"
        )
        connection = self.connection
        return response.begin(
            build_environ(
                head,
                connection.server_variables,
                connection.remote_addr,
                connection.remote_port,
                body,
                size,
                errors,
                response,
                self.origin,
                self.variables,
            )
        )

    # --- any thread --------------------------------------------------------------------------

    @property
    def turn(self) -> int:
        """*Any thread:* how often the iteration was suspended, and whether its body has been handed
        over."""
        pipe = self.writer.pipe
        parks = 0 if pipe is None else pipe.parks
        return parks if self.live is None else parks + 1

    @property
    def live(self) -> LiveBody | None:
        """*Any thread:* its asynchronous body, from when its thread has handed that over until it
        is closed."""
        response = self._response
        return None if response is None or isinstance(response, WSGIResponse) else response

    @property
    def has_begun(self) -> bool:
        """*Any thread:* whether a thread has begun with it, or none ever will."""
        return self._response is not None or self.writer.has_ended

    @property
    def refusal_fields(self) -> tuple[tuple[str, str], ...]:
        """*Loop:* the fields that an answer of the server's own to it has beside its own."""
        return ()


runs_requests(Exchange.run, lambda exchange: exchange)

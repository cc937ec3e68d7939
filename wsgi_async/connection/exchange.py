"""One request and its response: what the loop and the pool thread do with it.

:class:`Exchange` is the only task that is given to the thread pool.
"""

from __future__ import annotations

import enum
import functools
import itertools
import os
import threading
from collections.abc import Callable, Mapping
from contextvars import Context
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, BinaryIO, Protocol

from wsgi_async.buffers.spool import BodySpool
from wsgi_async.errors import HTTPError
from wsgi_async.events import HAS_ACCESS_LINE, Observer, RequestInfo, ResponseInfo
from wsgi_async.http.origin import Origin
from wsgi_async.http.request import RequestHead
from wsgi_async.http.request_id import RequestIdField
from wsgi_async.http.response import ResponseHead
from wsgi_async.system.stacks import RunningMethods
from wsgi_async.threads import (
    LARGE_FILE,
    Errand,
    ForkedWriter,
    InputStream,
    Mailbox,
    Posted,
    RequestBody,
    ResponseBounds,
    ResponseWriter,
)
from wsgi_async.threads.pool import ThreadPool
from wsgi_async.wsgi.calling import Step, WSGIResponse, send_error
from wsgi_async.wsgi.client_watch import Presence, Watch
from wsgi_async.wsgi.environ import build_environ, client_name
from wsgi_async.wsgi.error_stream import ErrorStream
from wsgi_async.wsgi.types import Application

__all__ = [
    "Exchange",
    "ExchangeConnection",
    "ExchangeState",
    "Gateway",
    "current_request_id",
    "runs_requests",
]


_blank = object.__new__

_DONE = Step.DONE
_PARKED = Step.PARKED

_naming = threading.Lock()
"""Held while a request gets its id, or its watch: the loop may ask for it at the same time as its
thread."""


class ExchangeState(enum.Enum):
    """Who has an exchange. Changed on the loop."""

    BEGUN = "the loop: its body is being collected"
    ANSWERED = "the loop, which answers it itself"
    SUBMITTED = "a thread, or a queue for threads"
    WITHDRAWN = "nobody: it was taken out of the queue"
    GIVEN_UP = "a lost thread: what that still has to say interests nobody"

    __hash__ = object.__hash__  # Enum's own is Python code


_BEGUN = ExchangeState.BEGUN
_ANSWERED = ExchangeState.ANSWERED
_SUBMITTED = ExchangeState.SUBMITTED
_WITHDRAWN = ExchangeState.WITHDRAWN
_GIVEN_UP = ExchangeState.GIVEN_UP

NEXT: dict[ExchangeState, set[ExchangeState]] = {
    _BEGUN: {_ANSWERED, _SUBMITTED},
    _ANSWERED: set(),
    _SUBMITTED: {_WITHDRAWN, _GIVEN_UP},
    _WITHDRAWN: set(),
    _GIVEN_UP: set(),
}


class ExchangeConnection(Protocol):
    """The connection an exchange belongs to, as far as the exchange knows it."""

    server_variables: dict[str, object]
    """The part of the environ that is the server's."""
    remote_addr: str
    remote_port: str

    def exchange_woke(self, exchange: Exchange) -> None:
        """*Loop:* the exchange's thread has something for the loop."""

    def give_up(self, exchange: Exchange, error: HTTPError) -> None:
        """*Loop:* the application has not answered in time: answer instead, or cut the response."""

    def presence_for(self, exchange: Exchange) -> Presence:
        """*Any thread:* what has become of the client, as far as this exchange goes; SERVED where
        the connection has let it go, for whatever reason."""

    @property
    def has_ended_its_side(self) -> bool:
        """*Any thread:* whether its client will send nothing more."""


class LiveBody(Protocol):
    """An asynchronous body, in its response's place from when its thread has handed it over. See
    :mod:`wsgi_async.realtime.bodies`."""

    is_event_stream: bool
    """*Any thread:* whether it ends as soon as its client ends its side."""

    def begin(self) -> None:
        """*Any thread:* have it awaited from now on. Harmless if repeated."""

    def resume(self) -> None:
        """*Loop:* the client has taken what it was suspended for."""

    def leave(self) -> None:
        """*Loop:* nobody is there to take anything any more: it is to end, and be closed."""

    def break_off(self) -> None:
        """*Any thread:* it has taken too long: it is to end, and be closed."""

    def stack(self) -> list[str]:
        """*Any thread:* what it awaits, see :func:`wsgi_async.system.stacks.stack_of`."""

    def advance(self) -> Step:
        """*Pool thread:* close it. Nobody awaits it any more."""

    def abandon(self) -> None:
        """*Pool thread:* the same."""

    def disown(self, writer: ResponseWriter) -> None:
        """See :meth:`.WSGIResponse.disown`."""


class LiveBodies(Protocol):
    """Who awaits asynchronous bodies."""

    def take(
        self, exchange: Exchange, response: WSGIResponse, context: Context
    ) -> LiveBody | HTTPError:
        """*Pool thread:* take one over; it is not awaited before :meth:`LiveBody.begin`.

        :param context: the request's, which is left to the thread that closes it.
        :returns: what stands for the response from then on; or why there is none.
        """

    def __len__(self) -> int:
        """*Any thread:* how many there are."""

    @property
    def ends(self) -> Mapping[str, int]:
        """*Any thread:* how many have ended, by why."""


@dataclass(frozen=True, slots=True)  # each look into a named tuple is slow
class Gateway:
    """What all exchanges of one server share."""

    application: Application
    pool: ThreadPool[Exchange]
    mailbox: Mailbox
    bounds: ResponseBounds
    observer: Observer
    next_id: Callable[[], str]
    warned: dict[str, object] = field(default_factory=dict)
    """Of what the application has been warned: once is enough. *Any thread.*"""
    exchange: Callable[[Gateway, ExchangeConnection, RequestHead, float], Exchange] = field(
        default_factory=lambda: Exchange
    )
    """The kind of exchange: see :mod:`.kinds`."""
    id_field: RequestIdField | None = None
    """The field by which requests have ids of their clients, if one does."""
    live: LiveBodies | None = None
    """Who awaits asynchronous bodies."""


def request_ids() -> Callable[[], str]:
    """A source of ids that are unique across processes and restarts: a random part, a number."""
    prefix = os.urandom(4).hex()
    numbers = itertools.count(1)
    return lambda: f"{prefix}-{next(numbers):x}"


class Exchange:
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
        "_gateway",
        "_info",
        "_response",
        "began",
        "body",
        "connection",
        "head",
        "origin",
        "spool",
        "state",
        "variables",
        "waits_since",
        "watching",
        "writer",
    )

    def __init__(
        self, gateway: Gateway, connection: ExchangeConnection, head: RequestHead, began: float
    ) -> None:
        self._gateway = gateway
        self._context = Context()
        self._response: WSGIResponse | LiveBody | None = None
        self._info: RequestInfo | None = None
        self._errors: ErrorStream | None = None
        self.watching: Watch | None = None
        """What keeps those that are to be told what becomes of its client, where there is one."""
        self.connection = connection
        self.head = head
        self.origin: Origin | None = None
        """What a proxy in front says, where one may."""
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

    def tell_given_up(self) -> None:
        """*Loop:* have what waits in its thread go on, for nobody: what it says now is too late."""
        if self.watching is not None:
            self.watching.give_up(self)

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

    def client_left(self) -> None:
        """*Loop:* the client has ended its side. It may read on, so nothing else changes."""
        self.watch().leave(self)

    def served(self) -> None:
        """*Loop:* its response has ended, and its connection knows it no more. Harmless if
        repeated."""
        self.watch().serve()

    def refused(self, error: HTTPError) -> None:
        """*Loop:* tell that it was refused although a thread had it."""
        info, observer = self.info, self._gateway.observer
        observer.request_refused(info.client, error.status, error.detail, info, is_running=True)

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

    def has_returned(self, seconds: float) -> None:
        """*Pool thread:* a thread that was given up has come back, so long after."""
        self._gateway.observer.thread_returned(self.info, seconds)

    def disown(self) -> None:
        """*In a process that the application has forked, in this exchange's thread:* the request is
        the parent's to answer. There is no loop here and no other thread, and what the application
        comes back with ends the process."""
        global _naming
        _naming = threading.Lock()
        if self.body is not None:
            self.body.disown()
        if self.writer.pipe is not None:
            self.writer.pipe.disown()
        self.writer = ForkedWriter(self._gateway.bounds, self._gateway.mailbox, self)
        if self._response is not None:
            self._response.disown(self.writer)
        self.disown_client()

    def disown_client(self) -> None:
        """*In such a process:* whatever of the application goes on in it, it has no client."""
        self.writer.gone = True
        if self.watching is None:
            self.watching = Watch()
        self.watching.disown()

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
            self.post(_Refused(self, body))
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

    def post(self, item: Posted) -> None:
        """*Any thread:* have the loop look at `item`."""
        self._gateway.mailbox.post(item)

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
    def info(self) -> RequestInfo:
        """*Any thread:* the facts for a log line; made when first asked for."""
        if self._info is None:
            with _naming:
                if self._info is None:
                    self._info = self._make_info()
        return self._info

    @property
    def refusal_fields(self) -> tuple[tuple[str, str], ...]:
        """*Loop:* the fields that an answer of the server's own to it has beside its own."""
        return ()

    @property
    def client(self) -> str:
        """*Any thread:* its client's name for log lines."""
        connection = self.connection
        return client_name(connection.remote_addr, connection.remote_port, self.origin)

    @property
    def client_gone(self) -> bool:
        """*Any thread:* see :attr:`.Client.gone`."""
        watch = self.watching
        if watch is not None:
            return watch.gone
        return self.connection.presence_for(self) is Presence.GONE or self.writer.gone

    @property
    def is_given_up(self) -> bool:
        """*Any thread:* whether nobody waits for its thread any more."""
        return self.state is _GIVEN_UP

    @property
    def is_told(self) -> bool:
        """*Any thread:* whether its thread knows that it was given up: see
        :meth:`.Client.tell_thread`."""
        watch = self.watching
        return watch is not None and watch.is_told

    def watch(self) -> Watch:
        """*Any thread:* what keeps those that are to be told what becomes of its client."""
        watch = self.watching
        if watch is not None:
            return watch
        with _naming:
            watch = self.watching
            if watch is not None:
                return watch
            self.watching = watch = Watch()
        # The loop looks at the watch after it has changed what is asked here: one sees the other.
        presence = self.connection.presence_for(self)
        if presence is Presence.GONE or self.writer.gone:
            watch.leave(self)
        elif presence is Presence.SERVED:
            watch.serve()
        return watch

    def call_soon(self, function: Callable[[], object]) -> None:
        """*Any thread:* have it called on a pool thread."""
        errand = Errand(functools.partial(self.run_beside, function))
        self.post(_Messenger(self._gateway.pool, errand))

    def run_beside(self, function: Callable[[], object]) -> None:
        """*Pool thread, whatever the exchange's own does:* call it, in the name of this request."""
        function()

    def callback_failed(self, error: BaseException) -> None:
        """*Any thread:* what is to be called when the client goes has raised this."""
        message = "what the application has called when its client goes raised"
        self._gateway.observer.app_error(self.info, message, error)

    def _make_info(self, given_id: str = "") -> RequestInfo:
        head = self.head
        return RequestInfo(
            given_id or self._gateway.next_id(),
            head.method,
            head.target,
            head.version,
            self.client,
            head.fields,
        )

    def app_error(self, message: str, error: BaseException | None) -> None:
        if self.state is not _GIVEN_UP:
            self._gateway.observer.app_error(self.info, message, error)

    def app_warning(self, topic: str, message: str) -> None:
        # One call on one dict is atomic, without the GIL too: of two threads one is the first.
        mine = object()
        if self._gateway.warned.setdefault(topic, mine) is mine:
            self._gateway.observer.app_warning(self.info, message)

    def app_stderr(self, line: str) -> None:
        self._gateway.observer.app_stderr(self.info, line)


class _Refused:
    """Tells the observer of a request that the server has refused in a pool thread."""

    def __init__(self, exchange: Exchange, error: HTTPError) -> None:
        self._exchange = exchange
        self._error = error

    def on_wake(self) -> None:
        """*Loop.*"""
        self._exchange.refused(self._error)


class _Messenger:
    """Takes an errand to the pool, by the loop, which alone may submit.

    :param pool: the pool.
    :param errand: the errand.
    """

    __slots__ = ("_errand", "_pool")

    def __init__(self, pool: ThreadPool[Exchange], errand: Errand) -> None:
        self._pool = pool
        self._errand = errand

    def on_wake(self) -> None:
        """*Loop.*"""
        self._pool.submit_errand(self._errand)


def current_request_id() -> str:
    """*Any thread:* the id of the request that this thread runs, or calls something for, or whose
    asynchronous body it runs; an empty string where it runs none."""
    exchange = _running.of_this_thread()
    return "" if exchange is None else exchange.info.id


def runs_requests(method: Callable[..., Any], exchange_of: Callable[[Any], Exchange]) -> None:
    """*Any thread:* what this method calls is called for a request: see :func:`current_request_id`.

    :param exchange_of: the exchange, by what it is a method of.
    """
    _running.add(method, exchange_of)


_running: RunningMethods[Exchange] = RunningMethods()
for _method in (Exchange.run, Exchange.run_beside):
    runs_requests(_method, lambda exchange: exchange)

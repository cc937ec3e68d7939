"""One connection: glue between the transport, the request reader, the exchange and its writer.

Everything here runs on the loop. Policy lives elsewhere: what a request may be in ``http1``, how
a response is framed in ``framing``, how long anything may take in ``connections``.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import struct
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar, cast

from wsgi_async.errors import HTTPError
from wsgi_async.events import ResponseInfo
from wsgi_async.http1.framing import CONTINUE, BodyFraming, FramedHead, ResponseHead, error_answer
from wsgi_async.http1.reader import RequestHead, RequestReader, Signal
from wsgi_async.wsgi.environ import client_name, remote_address

from .connections import Connections, InFlight, Phase, Wait
from .deadlines import Pace
from .exchange import Exchange
from .sender import Sender, Sent
from .states import ENDS, MOVES, ConnectionState
from .upload import Upload, largest_body

__all__ = ["HTTPProtocol"]

PIPELINE_LIMIT = 64 * 1024
"""Bytes of further requests that are kept while one is answered; then reading pauses."""

LINGER_SIZE = 256 * 1024
"""Bytes that a closing connection still reads (RFC 9112 §9.6)."""

LARGE_READ = 16 * 1024
"""Bytes of a chunked body in one read after which the other connections have their turn."""

# A global is quicker than an enum's attribute (in CPython 3.11 by 0.1 us), and these are compared
# a dozen times in a request.
_NEW = ConnectionState.NEW
_IDLE = ConnectionState.IDLE
_HEAD = ConnectionState.HEAD
_BODY = ConnectionState.BODY
_RUNNING = ConnectionState.RUNNING
_FLUSHING = ConnectionState.FLUSHING
_LINGERING = ConnectionState.LINGERING
_CLOSING = ConnectionState.CLOSING
_CLOSED = ConnectionState.CLOSED
_SERVING = Phase.SERVING
_LEAVING = Phase.LEAVING
_DRAINING = Phase.DRAINING
_NEED_DATA = Signal.NEED_DATA
_END_OF_BODY = Signal.END_OF_BODY
_OPEN = Sent.OPEN
_COMPLETE = Sent.COMPLETE
_CUT = Sent.CUT
_AGAIN = Sent.AGAIN
_READING = Sent.READING

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


_P = ParamSpec("_P")
_R = TypeVar("_R")


def _or_ends(
    callback: Callable[Concatenate[HTTPProtocol, _P], _R],
) -> Callable[Concatenate[HTTPProtocol, _P], _R]:
    """A callback of the loop either completes, or ends its connection and returns False: where
    memory runs out for a while, no connection may be left that nobody goes on with."""

    @functools.wraps(callback)
    def complete(self: HTTPProtocol, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return callback(self, *args, **kwargs)
        except Exception as error:
            self._fail(error)
            return cast("_R", False)

    return complete


class HTTPProtocol(asyncio.Protocol):
    """One HTTP/1.1 connection.

    What the loop calls here lets nothing out: see :func:`_or_ends`. The callbacks that each request
    meets say the same in their own words, which costs no call.

    :param shared: what all connections of the server share.
    :param loop: the loop that runs it.
    :param peer: the client's address, as accept(2) returned it. The connection itself cannot tell
        once it was reset.
    """

    __slots__ = (
        "_discarded",
        "_exchange",
        "_input_ended",
        "_loop",
        "_reader",
        "_reading_paused",
        "_received",
        "_send_pace",
        "_sender",
        "_shared",
        "_transport",
        "_upload",
        "remote_addr",
        "remote_port",
        "server_variables",
        "state",
    )

    def __init__(self, shared: Connections, loop: asyncio.AbstractEventLoop, peer: object) -> None:
        self.server_variables: dict[str, object] = {}
        self.remote_addr, self.remote_port = remote_address(peer)
        self.state = _NEW
        self._shared = shared
        self._loop = loop
        self._transport = cast("asyncio.Transport", None)  # until connection_made
        self._sender = cast("Sender", None)
        self._reader = RequestReader(shared.limits, shared.config.parser)
        self._exchange: Exchange | None = None
        self._reading_paused = False
        self._input_ended = False
        self._upload: Upload | None = None
        self._received = 0
        self._discarded = 0
        self._send_pace: Pace | None = None

    @property
    def client(self) -> str:
        """The client's name for log lines."""
        return client_name(self.remote_addr, self.remote_port)

    @property
    def in_flight(self) -> InFlight | None:
        """What it is busy with, if it is, from the complete head to the last byte."""
        exchange = self._exchange
        if exchange is None:
            return None
        return InFlight(exchange, self.state is _BODY, self._sender.body_size)

    # --- asyncio.Protocol --------------------------------------------------------------------

    @_or_ends
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        shared = self._shared
        high = shared.gateway.bounds.high_water
        self._transport.set_write_buffer_limits(high=high, low=high // 4)
        self._sender = Sender(self._transport, shared.io_pool)
        self.server_variables = shared.variables_at(transport.get_extra_info("sockname"))
        shared.open.add(self)
        now = self._loop.time()
        shared.waits[Wait.FIRST_BYTE].add(self, now)
        if shared.phase is _DRAINING:
            self._close()
        elif not shared.make_room(self, now):
            shared.warn_full(now)
            shared.refused.add(self)
            if shared.probes is None:
                self._refuse(_too_many())
            if len(shared.refused) > shared.refusals:
                self._transport.abort()

    def data_received(self, data: bytes) -> None:
        state = self.state
        try:
            if state is _IDLE or state is _NEW:
                head = self._reader.lone_head(data)
                if head is not None:
                    self._begin(head)
                    return
            self._receive(data)
        except HTTPError as error:
            self._refuse_or_end(error)
        except Exception as error:
            self._fail(error)

    def _receive(self, data: bytes) -> None:
        state = self.state
        if state is _LINGERING:
            self._discarded += len(data)
            if self._discarded > LINGER_SIZE:
                self._close()
            return
        if state is _CLOSING or state is _CLOSED:
            return
        self._received += len(data)
        if self._has_answered_early():
            return
        self._reader.receive_data(data)
        if state is _RUNNING or state is _FLUSHING:
            if self._upload is not None:
                self._feed_stream(self._upload)
            self._adjust_reading()
        else:
            self._read_requests()
        if len(data) >= LARGE_READ and self._upload is not None and not self._reading_paused:
            self._let_others_read()

    @_or_ends
    def eof_received(self) -> bool:
        """RFC 9112 §9.3 allows a client to half-close: a complete request is still answered."""
        self._input_ended = True
        state = self.state
        if state is _FLUSHING:
            self._look_for_departure()
            return True
        if state is _RUNNING:
            self._look_for_departure()
            if self._upload is not None and self._upload.is_open:
                self._break_off(HTTPError(400, "The request ended before its body was complete"))
            return True
        if state is _HEAD or state is _BODY:
            self._refuse(HTTPError(400, "The request ended before it was complete"))
            return True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        try:
            self._enter(_CLOSED)
            self._shared.forget(self)
            self._let_exchange_go("the client has gone")
        except Exception as error:
            self.state = _CLOSED
            self._fail(error)

    def pause_writing(self) -> None:
        # Called inside transport.write(): only note it, the writing code looks at it afterwards.
        self._sender.is_writable = False

    def resume_writing(self) -> None:
        # Called from within the writing of asyncio's own transports, which tell connection_lost
        # twice if they are closed there: go on in the loop's next turn.
        self._sender.is_writable = True
        try:
            self._loop.call_soon(self._go_on_writing)
        except Exception as error:
            self._fail(error)

    @_or_ends
    def _go_on_writing(self) -> None:
        if self.state is _RUNNING and self._exchange is not None:
            self._send_on(self._exchange)
        elif self.state is _FLUSHING and self._sender.is_writable:
            self._response_complete()

    # --- called by the server's tick, by its shutdown, and by other connections ----------------

    @_or_ends
    def wait_expired(self, wait: Wait) -> None:
        """The connection has waited too long."""
        if self.state is _HEAD:
            self._refuse(HTTPError(408, "The request head did not arrive in time"))
        elif wait is Wait.LINGER and self._sender.unsent:
            # It begins when all is sent; until then the pace of sending is judged.
            self._shared.waits[wait].add(self, self._loop.time())
        else:
            self._close()

    @_or_ends
    def check_pace(self, now: float) -> bool:
        """Judge the transfers that go on. False where there is none."""
        config = self._shared.config
        unsent = self._sender.unsent
        pace = self._send_pace
        if pace is not None and not unsent:
            pace.resume(now, self._sender.taken)  # nothing to take: no time counts
        elif pace is not None:
            why = pace.judge(
                now, self._sender.taken, timeout=config.send_timeout, min_rate=config.min_rate
            )
            if why is not None:
                self._drop(f"it does not take its response: {why}")
                return False
            stream = self._exchange.writer.stream if self._exchange is not None else None
            if stream is not None and pace.progress_at == now:
                stream.note_progress()
        upload = self._awaited_upload()
        if upload is not None and upload.judge(now, self._received) is not None:
            self._break_off(HTTPError(408, "The request body did not arrive in time"))
            return self._exchange is not None and bool(unsent)
        return bool(unsent) or upload is not None

    @_or_ends
    def client_has_gone(self) -> None:
        """The client has reset the connection while nothing was read from it."""
        self._transport.abort()

    @_or_ends
    def close_idle(self) -> bool:
        """Close, if nothing has begun: for shutdown.

        :returns: False where a request or its response is under way.
        """
        if self.state is _IDLE or self.state is _NEW:
            self._close()
        return self.state in ENDS

    @_or_ends
    def make_way(self) -> None:
        """Give the descriptor back for another connection, at once."""
        self.close_idle()
        if self._sender.unsent:
            self._transport.abort()  # who does not take the last answer would keep it for long

    @_or_ends
    def abort(self) -> None:
        """Drop the client now: the end of the graceful timeout."""
        if self.state is _CLOSED:
            return
        if self.state is _RUNNING or self._sender.unsent:
            self._drop("the server stops")
        else:
            self._transport.abort()

    def exchange_woke(self, exchange: Exchange) -> None:
        """The exchange's thread has something. One that is not ours any more is let go."""
        upload = self._upload
        try:
            if exchange is not self._exchange:
                exchange.let_go("the client has gone")
            elif upload is None:
                self._send_on(exchange)
            else:
                self._account_for_taken(upload)
                self._send_on(exchange)
                if self._upload is not None and exchange is self._exchange:
                    self._tend_stream(self._upload)
        except Exception as error:
            self._fail(error)

    @_or_ends
    def give_up(self, exchange: Exchange, error: HTTPError) -> None:
        """The application has not answered in time."""
        if exchange is self._exchange and self.state is _RUNNING:
            self._refuse(error)

    # --- requests ----------------------------------------------------------------------------

    def _read_requests(self) -> None:
        """Turn what has been received into the next exchange."""
        try:
            while self.state is not _RUNNING and self.state not in ENDS:
                event = self._reader.next_event()
                if event is _NEED_DATA:
                    self._await_more()
                    return
                if event is _END_OF_BODY:
                    self._upload_complete()
                elif isinstance(event, RequestHead):
                    self._begin(event)
                elif type(event) is bytes and self._upload is not None:
                    self._upload.receive(event)
        except HTTPError as error:
            self._refuse(error)

    def _await_more(self) -> None:
        if self.state is _BODY or self._reader.head_started:
            if self._input_ended:
                self._refuse(HTTPError(400, "The request ended before it was complete"))
            elif self.state is _NEW or self.state is _IDLE:
                self._enter(_HEAD)
        elif self._input_ended:
            self._close()

    def _begin(self, head: RequestHead) -> None:
        shared = self._shared
        exchange = Exchange(shared.gateway, self, head, self._loop.time())
        if shared.probes is not None:
            if shared.probes.wants(head):
                self._answer_probe(exchange)
                return
            if self in shared.refused:
                exchange.writer.release()  # else it would be a cycle of references
                raise _too_many()
        if not head.chunked and not head.content_length:
            self._submit(exchange)
            return
        self._exchange = exchange
        config = shared.config
        # Once the client has ended its side all is here, or the rest will never come.
        streams = config.request_buffering == "stream" and not self._input_ended
        limit = largest_body(config, streams=streams)
        if (head.content_length or 0) > limit:
            raise HTTPError(413, "The request body is too large")
        if shared.gateway.pool.full:
            raise self._overloaded()
        now = self._loop.time()
        self._upload = upload = Upload(
            exchange,
            shared,
            streams=streams,
            owes_continue=head.expect_continue and not self._reader.buffered,
            now=now,
            received=self._received,
        )
        shared.watch(self, now)
        if streams:
            self._submit(exchange)
            self._feed_stream(upload)
            self._adjust_reading()
        else:
            self._enter(_BODY)
            if upload.continue_is_due():
                self._sender.write([CONTINUE])

    def _answer_probe(self, exchange: Exchange) -> None:
        """Answer in the application's stead, and then go on as after any other response.

        Where more has come already, in the loop's next turn: who asks a thousand times in one
        segment is answered in order, without a thousand frames on the stack, and everybody else
        has a turn in between.
        """
        self._exchange = exchange
        self._enter(_RUNNING)
        shared, request = self._shared, exchange.head
        head, body = shared.answer_probe(request, self._loop.time())
        if self in shared.refused:
            framed = shared.framer[head, len(body), request.method, request.version, False]
        else:
            framed = self.frame_head(exchange, head, len(body))
        self._sender.respond(framed, body)
        exchange.writer.release()
        if self._reader.buffered or self._input_ended:
            self._loop.call_soon(self._probe_answered, exchange)
        else:
            self._response_complete()

    @_or_ends
    def _probe_answered(self, exchange: Exchange) -> None:
        if exchange is self._exchange and self.state is _RUNNING:
            self._response_complete()

    def _upload_complete(self) -> None:
        assert self._upload is not None
        assert self._exchange is not None
        self._upload.finish()
        self._exchange.waits_since = self._loop.time()
        self._submit(self._exchange)

    def _submit(self, exchange: Exchange) -> None:
        self._exchange = exchange
        if not exchange.submit():
            raise self._overloaded()
        self._enter(_RUNNING)

    def _overloaded(self) -> HTTPError:
        return HTTPError(503, "All threads are busy", retry_after=self._shared.retry_after())

    # --- a body that the application reads as it arrives -----------------------------------------

    def _feed_stream(self, upload: Upload) -> None:
        """Pass body bytes on to the running application."""
        try:
            while upload.is_open and self.state is _RUNNING:
                event = self._reader.next_event()
                if event is _END_OF_BODY:
                    upload.finish()
                elif type(event) is bytes:
                    if upload.owes_continue:
                        self._await_body(upload)
                    upload.receive(event)
                else:
                    return
        except HTTPError as error:
            self._refuse(error)

    def _lend_socket(self) -> None:
        """Let an application that is behind its client read from the socket itself."""
        upload, left = self._upload, self._reader.body_left
        sock = self._transport.get_extra_info("socket")
        if upload is not None and left and sock is not None:
            upload.lend(sock.fileno(), left)

    def _account_for_taken(self, upload: Upload) -> None:
        """Catch up with what the application has read from the socket."""
        try:
            taken = upload.taken()
        except OSError:
            self._transport.abort()
            return
        if taken:
            self._received += taken
            self._reader.skip_body(taken)
            self._feed_stream(upload)

    def _tend_stream(self, upload: Upload) -> None:
        if upload.continue_is_due():
            if self._sender.framed is None:
                self._sender.write([CONTINUE])
            # Behind a final head there is no 100, but the client's time runs all the same.
            self._await_body(upload)
        self._adjust_reading()

    def _await_body(self, upload: Upload) -> None:
        """From now on it is the client's turn to send."""
        now = self._loop.time()
        upload.resume(now, self._received)
        self._shared.watch(self, now)

    def _awaited_upload(self) -> Upload | None:
        """The upload, where it is the client's turn to send."""
        upload = self._upload
        if upload is None or not upload.is_open or upload.owes_continue or self._reading_paused:
            return None
        return upload

    def _has_answered_early(self) -> bool:
        """Whether the response is complete and the rest of the body is only read to be dropped:
        some clients take nothing before they have sent all."""
        return self.state is _FLUSHING and self._upload is not None and self._upload.is_open

    def _break_off(self, error: HTTPError) -> None:
        """The rest of the body will not come. A response that has begun may still be read."""
        if self._upload is None or self._sender.framed is None:
            self._refuse(error)
        else:
            self._upload.abort(error.detail)

    # --- responses ---------------------------------------------------------------------------

    @_or_ends
    def send_on(self, exchange: Exchange) -> None:
        """Go on with a response, if it is still the one that is due here."""
        self._send_on(exchange)

    def _send_on(self, exchange: Exchange) -> None:
        if exchange is not self._exchange or self.state is not _RUNNING:
            return
        sender, writer = self._sender, exchange.writer
        if writer.whole is not None:
            head, body, length = writer.whole
            sender.respond(self.frame_head(exchange, head, length), body)
            self._response_complete()
            return
        stream = writer.stream
        if stream is None:
            return
        sent = sender.send(exchange, stream, self)
        if sent is _COMPLETE:
            self._response_complete()
        elif sent is _CUT:
            self._cut_response()
        else:
            if sent is _AGAIN:
                self._loop.call_soon(self.send_on, exchange)
            unsent = sender.unsent
            if unsent and sender.framed is not None:
                self._watch_sending(unsent)
            if stream.settle(unsent, writable=sender.is_writable):
                exchange.resume()

    def frame_head(self, exchange: Exchange, head: ResponseHead, length: int | None) -> FramedHead:
        """Frame a head; whether the connection persists is decided here, once."""
        shared = self._shared
        request = exchange.head
        persists = (
            request.keep_alive
            and shared.keeps_alive
            and (self._upload is None or not self._upload.is_open)
            and (shared.phase is _SERVING or self._reader.buffered > 0)
        )
        return shared.framer[head, length, request.method, request.version, persists]

    def _watch_sending(self, unsent: int) -> None:
        now = self._loop.time()
        if self._send_pace is None:
            self._send_pace = Pace(now, self._sender.taken)
        elif self not in self._shared.moving:
            self._send_pace.resume(now, self._sender.taken)
        self._shared.watch(self, now)

    def file_failed(self, why: str) -> None:
        """A response is cut because its file could not be read."""
        self._shared.gateway.observer.error(why)

    # --- ends of a response --------------------------------------------------------------------

    def _response_complete(self) -> None:
        """All of it is with the transport: once that is below its high water, go on with what was
        pipelined, wait, or close."""
        exchange, sender, upload = self._exchange, self._sender, self._upload
        assert exchange is not None
        if not sender.is_writable:
            exchange.writer.forget_body()
            self._enter(_FLUSHING)
            self._watch_sending(sender.unsent)
            self._adjust_reading()
            return
        framed = sender.framed
        assert framed is not None
        if self._shared.gateway.observer.wants_requests:
            self._log_response(exchange, complete=True)
        if exchange.writer.stream is not None:
            exchange.writer.release()
        self._exchange = self._upload = self._send_pace = None
        sender.begin()
        if not framed.persists:
            if upload is not None:
                upload.abort("the response is complete")
            # A client that wanted to go on may be sending already, and so may one whose body was
            # not awaited to its end.
            if exchange.head.keep_alive or self._reader.buffered or upload is not None:
                self._close_softly()
            else:
                self._close()
            return
        self._enter(_IDLE)
        if self._reader.buffered or self._input_ended:
            self._read_requests()
        if self._reading_paused and self.state not in ENDS:
            self._adjust_reading()
        if self._shared.phase is _DRAINING:
            self.close_idle()

    def _cut_response(self) -> None:
        """End the connection so that the client can tell that the response is not complete."""
        framed = self._sender.framed
        if framed is None or framed.framing is BodyFraming.CLOSE:
            self._drop("its response was cut")
        else:
            self._shared.gateway.observer.connection_dropped(self.client, "its response was cut")
            self._let_exchange_go("the response was cut")
            self._close()

    def _drop(self, why: str) -> None:
        """Reset the connection: an orderly end would look like the end of a body."""
        self._shared.gateway.observer.connection_dropped(self.client, why)
        self._reset()

    def _reset(self) -> None:
        if self.state is not _CLOSING:
            self._enter(_CLOSING)
        sock = self._transport.get_extra_info("socket")
        if sock is not None and sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._transport.abort()

    @_or_ends
    def _refuse_or_end(self, error: HTTPError) -> None:
        self._refuse(error)

    def _fail(self, error: Exception) -> None:
        """A callback of the loop did not complete: end the connection, with as little as that
        takes. Each step may meet the same error, and must not keep the next from being taken."""
        exchange, self._exchange = self._exchange, None
        self._upload = None
        with contextlib.suppress(Exception):
            if self.state is not _CLOSED:
                self._reset()
        # Where the loop cannot even arrange the end, it will not call connection_lost.
        with contextlib.suppress(Exception):
            self._shared.forget(self)
        if exchange is not None:
            with contextlib.suppress(Exception):
                self._release(exchange, "an error inside the server")
        self._tell(error)

    def _tell(self, error: Exception) -> None:
        with contextlib.suppress(Exception):  # a log that has no memory for it
            self._shared.gateway.observer.error(
                f"an error inside the server, with the connection of {self.client}", error
            )

    def _refuse(self, error: HTTPError) -> None:
        """Answer in the server's own name and close. Nothing of this request goes further."""
        shared = self._shared
        exchange = self._exchange
        detail = error.detail
        if error.cause and not self._sender.written:  # it is the first thing that came
            detail = f"{detail}; {error.cause}"
        shared.gateway.observer.request_refused(
            self.client,
            error.status,
            detail,
            exchange.info if exchange is not None else None,
            is_running=exchange is not None and exchange.is_submitted,
        )
        if exchange is not None and self._sender.framed is not None:
            self._cut_response()  # part of a response is out: nothing else may follow it
            return
        head_only = exchange is not None and exchange.head.method == "HEAD"
        self._let_exchange_go("the request was refused", status=error.status)
        answer = error_answer(
            error, head_only=head_only, date=shared.framer.date, server=shared.framer.server
        )
        self._sender.write([answer])
        self._close_softly()

    def _let_exchange_go(self, why: str, *, status: int = 499) -> None:
        """The client will get no more of this response; `status` where its head is not out."""
        exchange = self._exchange
        if exchange is not None:
            if exchange.is_submitted:
                self._log_response(exchange, complete=False, status=status)
            self._release(exchange, why)
        self._exchange = self._upload = None

    @staticmethod
    def _release(exchange: Exchange, why: str) -> None:
        if exchange.is_submitted:
            exchange.let_go(why)
        else:
            exchange.drop_body()
            exchange.writer.release()

    def _close_softly(self) -> None:
        """Stop sending, but read for a little while: closing with unread input resets the
        connection, and the client may lose the answer (RFC 9112 §9.6)."""
        if self._input_ended:
            self._close()
            return
        self._enter(_LINGERING)
        unsent = self._sender.unsent
        if unsent:
            self._watch_sending(unsent)
        with contextlib.suppress(
            OSError, RuntimeError
        ):  # ENOTCONN where a reset is here, but not read yet
            self._transport.write_eof()
        self._adjust_reading()

    def _close(self) -> None:
        """Close when all is sent; who does not take it is dropped by the pace check."""
        self._enter(_CLOSING)
        unsent = self._sender.unsent
        if unsent:
            self._watch_sending(unsent)
        self._transport.close()

    # --- small things --------------------------------------------------------------------------

    def _enter(self, state: ConnectionState) -> None:
        """The one place where the state changes, and with it what is being waited for."""
        before = self.state
        try:
            old, new = MOVES[before][state]
        except KeyError:
            error = f"a connection cannot go from {before.name} to {state.name}"
            raise RuntimeError(error) from None
        self.state = state
        if old is not None:
            self._shared.waits[old].discard(self)
        if new is not None:
            self._shared.waits[new].add(self, self._loop.time())

    def _adjust_reading(self) -> None:
        """Read on, unless enough waits here already for the application to take it."""
        enough = False
        busy = self.state is _RUNNING or self.state is _FLUSHING
        if busy and not self._has_answered_early():
            enough = self._reader.buffered > PIPELINE_LIMIT or (
                self._upload is not None and self._upload.is_full
            )
        if enough is self._reading_paused:
            return
        self._reading_paused = enough
        if enough:
            self._transport.pause_reading()
            self._lend_socket()
            self._look_for_departure()
        else:
            if not self._input_ended:
                self._shared.unread.discard(self)
            if self._upload is not None:
                self._upload.reclaim()
                self._account_for_taken(self._upload)
            self._transport.resume_reading()
            if self._upload is not None:
                self._await_body(self._upload)

    def _look_for_departure(self) -> None:
        """Have it noticed if the client goes, although nothing is read from it."""
        sock = self._transport.get_extra_info("socket")
        if sock is not None:
            self._shared.unread.add(self, sock.fileno())

    def _let_others_read(self) -> None:
        """Read on in the loop's next turn only.

        libuv reads a socket up to 32 times in one turn while there is more; a chunked body of tiny
        chunks, which decodes at a few MB/s, would keep everybody else waiting for seconds.
        """
        exchange = self._exchange
        if exchange is not None and exchange.head.chunked and self.state not in ENDS:
            self._reading_paused = True
            self._transport.pause_reading()
            self._loop.call_soon(self._read_on)

    @_or_ends
    def _read_on(self) -> None:
        if self.state is not _CLOSED and not self._transport.is_closing():
            self._adjust_reading()

    def _log_response(self, exchange: Exchange, *, complete: bool, status: int = 499) -> None:
        observer = self._shared.gateway.observer
        if not observer.wants_requests:
            return
        try:
            framed = self._sender.framed
            response = ResponseInfo(
                framed.status if framed is not None else status,
                self._sender.body_size,
                self._loop.time() - exchange.began,
                complete,
                exchange.is_logged,
            )
            observer.request_finished(exchange.info, response)
        except Exception as error:  # the request has been answered all the same
            self._tell(error)


def _too_many() -> HTTPError:
    return HTTPError(503, "Too many connections", retry_after=1)

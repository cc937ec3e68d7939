"""One connection: glue between the transport, the request reader, the exchange and its writer.

Everything here runs on the loop. Policy lives elsewhere: where a connection stands and how it ends
in ``life``, what a request may be in ``http1``, how a response is framed in ``framing``, how its
bytes are sent in ``sender``, how a body arrives in ``upload``, whether the socket is read in
``input``, how long anything may take in ``waits`` and ``paces``.
"""

from __future__ import annotations

import asyncio

from wsgi_async.errors import HTTPError, Overload
from wsgi_async.http.framing import FramedHead
from wsgi_async.http.request import RequestHead
from wsgi_async.http.response import ResponseHead
from wsgi_async.threads import InterimHeads
from wsgi_async.wsgi.async_bodies import is_event_stream

from .connections import Phase
from .exchange import Exchange
from .input import Input, InputState
from .life import ConnectionLife, or_ends
from .sender import Sender, Sent
from .states import ENDS, ConnectionState
from .upload import Upload, UploadState

__all__ = ["HTTPProtocol"]

PIPELINE_LIMIT = 64 * 1024
"""Bytes of further requests that are kept while one is answered; then reading pauses."""

LARGE_READ = 16 * 1024
"""Bytes of a chunked body in one read after which the other connections have their turn."""

# A global is quicker than an enum's attribute, and these are compared many times in a request.
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
_DRAINING = Phase.DRAINING
_COMPLETE = Sent.COMPLETE
_CUT = Sent.CUT
_AGAIN = Sent.AGAIN
_FLOWING = InputState.FLOWING
_ENDED = InputState.ENDED


class HTTPProtocol(ConnectionLife):
    """One HTTP/1.1 connection.

    What the loop calls here lets nothing out: see :func:`or_ends`. The callbacks that each request
    meets say the same in their own words, which costs no call.

    :param shared: what all connections of the server share.
    :param loop: the loop that runs it.
    :param peer: the client's address, as accept(2) returned it. The connection itself cannot tell
        once it was reset.
    """

    __slots__ = ()

    # --- asyncio.Protocol --------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        try:
            self._transport = transport
            shared, clock = self._shared, self._loop.time
            transport.set_write_buffer_limits(shared.high_water, shared.low_water)
            self._sender = Sender(transport, shared, clock)
            self._input = Input(transport, shared.unread)
            # Of a unix socket it makes no difference, and uvloop makes two objects to tell it.
            local = transport.get_extra_info("sockname") if self.remote_addr else None
            self.server_variables = shared.variables_at(local)
            shared.open.add(self)
            shared.silent[self] = clock()
            if len(shared.open) > shared.cap or shared.phase is _DRAINING:
                self._enter_crowd()
        except Exception as error:
            self._fail(error)

    def _enter_crowd(self) -> None:
        """It may be one too many, or too late."""
        shared, now = self._shared, self._loop.time()
        if shared.phase is _DRAINING and not self.is_welcome:
            self._close()
        elif not shared.make_room(self, now):
            shared.warn_full(now)
            shared.refused.add(self)
            if shared.probes is None and self.answers_unheard:
                self._refuse(_too_many())
            if len(shared.refused) > shared.refusals:
                self._transport.abort()

    def data_received(self, data: bytes) -> None:
        state = self.state
        try:
            try:
                if state is _IDLE or state is _NEW:
                    head = self._reader.lone_head(data)
                    if head is not None:
                        self._begin(head)
                        return
                self._receive(data)
            except HTTPError as error:
                self._refuse(error)
        except Exception as error:
            self._fail(error)

    def _receive(self, data: bytes) -> None:
        state, upload = self.state, self._upload
        if state is _LINGERING:
            if self._input.discard(len(data)):
                # Closed now, with more on its way, the client would lose the answer to a reset.
                self._input.hold(self, None)
            return
        if state is _CLOSING or state is _CLOSED:
            return
        if upload is not None:
            upload.received += len(data)
            if upload.state is UploadState.UNWANTED:
                return
        self._reader.receive_data(data)
        if state is _RUNNING or state is _FLUSHING:
            if upload is not None:
                upload.feed()
            self._adjust_reading()
        else:
            self._read_requests()
        if len(data) >= LARGE_READ and self._upload is not None:
            self._let_others_read()

    @or_ends
    def eof_received(self) -> bool:
        """RFC 9112 §9.3 allows a client to half-close: a complete request is still answered."""
        self._input.end()
        state, upload = self.state, self._upload
        if state is _RUNNING or state is _FLUSHING:
            self._input.watch_departure(self)
            self.client_has_ended()
            if self._exchange is not None and self._has_left(self._exchange):
                return True
            if state is _RUNNING and upload is not None and upload.is_open:
                self._break_off(HTTPError(400, "The request ended before its body was complete"))
            return True
        if state is _HEAD or state is _BODY:
            self._refuse(_incomplete())
            return True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        try:
            self._enter(_CLOSED)
            self._shared.forget(self)
            if self._exchange is not None:
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
            self._loop.call_soon(self._go_on)
        except Exception as error:
            self._fail(error)

    @or_ends
    def _go_on(self) -> None:
        """In a turn of its own: go on with the response, and with reading."""
        if self.state is _RUNNING and self._exchange is not None:
            self._send_on(self._exchange)
        elif self.state is _FLUSHING and self._sender.is_writable:
            self._response_complete()

    @or_ends
    def _read_on(self) -> None:
        if self.state is not _CLOSED and not self._transport.is_closing():
            self._adjust_reading()

    # --- called by its exchange ------------------------------------------------------------------

    def exchange_woke(self, exchange: Exchange) -> None:
        """The exchange's thread has something. One that is not ours any more is let go."""
        try:
            if exchange is not self._exchange:
                if not exchange.writer.gone:
                    exchange.served()
                exchange.let_go("the client has gone")
            elif self._upload is None:
                self._send_on(exchange)
            else:
                self._tend_upload(exchange, self._upload)
        except Exception as error:
            self._fail(error)

    # --- requests ----------------------------------------------------------------------------

    def _read_requests(self) -> None:
        """Turn what has been received into the next exchange."""
        try:
            while self.state is not _RUNNING and self.state not in ENDS:
                upload = self._upload
                if upload is not None:
                    if not upload.feed():
                        break
                    self._upload_complete()
                    continue
                event = self._reader.next_event()
                if not isinstance(event, RequestHead):
                    break
                self._begin(event)
                if self._input.state is _ENDED:
                    self.client_has_ended()
            else:
                return
            has_begun = self.state is _BODY or self._reader.head_started
            if self._input.state is _ENDED:
                if has_begun:
                    raise _incomplete()
                self._close()
            elif has_begun and (self.state is _NEW or self.state is _IDLE):
                self._enter(_HEAD)
        except HTTPError as error:
            self._refuse(error)

    def _begin(self, head: RequestHead) -> None:
        shared = self._shared
        gateway = shared.gateway
        make = gateway.exchange  # CPython 3.11 looks up what seems to be a method anew each time
        exchange = make(gateway, self, head, self._loop.time())
        fields = self._proxy_fields
        if fields is not None and head is not fields.passed:
            # A view's isdisjoint looks each key up; a set's would go through all variables.
            if head.drops or not head.variables.keys().isdisjoint(fields.keys):
                self._exchange = exchange  # a refusal names the request
                scheme = str(self.server_variables["wsgi.url_scheme"])
                head, exchange.origin = fields.read(head, self.remote_addr, scheme)
                exchange.head = head
            else:
                fields.passed = head
                if fields.is_of_first:
                    self._proxy_fields = None
        if shared.answers_itself:
            self._exchange = exchange  # a refusal names the request
            answer = shared.answer_itself(exchange, self._loop.time())
            if answer is not None:
                self._answer_itself(exchange, *answer)
                return
            if self in shared.refused:
                raise _too_many()
        if not head.chunked and not head.content_length:
            self._submit(exchange)
            return
        self._exchange = exchange
        # Once the client has ended its side all is here, or the rest will never come.
        streams = shared.config.request_buffering == "stream" and self._input.state is not _ENDED
        upload = Upload(exchange, self, self._reader, shared, self._loop.time, streams=streams)
        if shared.gateway.pool.full:
            raise self._overloaded()
        self._upload = upload
        if streams:
            self._submit(exchange)
            upload.feed()
            self._adjust_reading()
        else:
            self._enter(_BODY)
            if upload.continue_is_due():
                self._sender.write([self._framer.continue_head])

    def _answer_itself(self, exchange: Exchange, head: ResponseHead, body: bytes) -> None:
        """Answer in the application's stead, and then go on as after any other response.

        Where more has come already, in the loop's next turn: who asks a thousand times in one
        segment is answered in order, without a thousand frames on the stack, and everybody else
        has a turn in between.
        """
        self._enter(_RUNNING)
        exchange.answer(head, body)
        if self._reader.buffered or self._input.state is _ENDED:
            self._loop.call_soon(self.exchange_woke, exchange)
        else:
            self._send_on(exchange)

    def _submit(self, exchange: Exchange) -> None:
        self._exchange = exchange
        if not exchange.submit():
            raise self._overloaded()
        self._enter(_RUNNING)

    def _overloaded(self) -> HTTPError:
        return Overload.QUEUE_FULL.error(self._shared.retry_after())

    # --- a body on its way in ------------------------------------------------------------------

    def _upload_complete(self) -> None:
        """A body has been collected: now a thread may have its request."""
        assert self._exchange is not None
        self._exchange.waits_since = self._loop.time()
        self._submit(self._exchange)

    @or_ends
    def _tend_upload(self, exchange: Exchange, upload: Upload) -> None:
        """The application has read from a body that arrives, or has something to send."""
        try:
            upload.catch_up()
        except OSError:
            self._transport.abort()
        if exchange is self._exchange:
            self._send_on(exchange)
        if upload is not self._upload:
            return
        if upload.continue_is_due():
            if self._sender.framed is None:
                self._sender.write([self._framer.continue_head])
            # Behind a final head there is no 100, but the client's time runs all the same.
            upload.await_client()
        self._adjust_reading()

    def _adjust_reading(self) -> None:
        """Read on, unless enough waits here already for the application to take it."""
        state, upload = self.state, self._upload
        if (
            (state is _RUNNING or state is _FLUSHING)
            and (upload is None or upload.state is not UploadState.UNWANTED)
            and (self._reader.buffered > PIPELINE_LIMIT or (upload is not None and upload.is_full))
        ):
            self._input.hold(self, upload)
        else:
            self._input.resume(self, upload)

    def _let_others_read(self) -> None:
        """Read on in the loop's next turn only.

        libuv reads a socket up to 32 times in one turn while there is more; a chunked body of tiny
        chunks, which are slow to decode, would keep everybody else waiting for seconds.
        """
        exchange = self._exchange
        if exchange is not None and exchange.head.chunked and self.state not in ENDS:
            self._give_way()

    def _give_way(self) -> None:
        if self._input.state is _FLOWING:
            self._input.give_way()
            self._loop.call_soon(self._read_on)

    # --- responses ---------------------------------------------------------------------------

    def _send_on(self, exchange: Exchange) -> None:
        """Go on with the response that is due here, unless all of it is on its way."""
        if self.state is not _RUNNING:
            return
        sender, writer = self._sender, exchange.writer
        # Here and below the response is looked at before what goes before it: so the latter is
        # there when the former is.
        if writer.whole is not None:
            if writer.interim is not None:
                self._send_interim(exchange, writer.interim)
            head, body, length = writer.whole
            sender.respond(self.frame_head(exchange, head, length), body)
            self._response_complete()
            return
        pipe = writer.pipe
        if writer.interim is not None and (sender.is_writable or pipe is not None):
            self._send_interim(exchange, writer.interim)
        if pipe is None:
            self._has_left(exchange)
            return
        sent = sender.send(exchange, pipe, self)
        if sent is _COMPLETE:
            self._response_complete()
        elif sent is _CUT:
            self._cut_response()
        else:
            if sent is _AGAIN:
                self._loop.call_soon(self.exchange_woke, exchange)
            unsent = sender.unsent if sender.framed is None else sender.await_client(self)
            if pipe.settle(unsent, writable=sender.is_writable):
                exchange.resume()
            self._has_left(exchange)

    def _has_left(self, exchange: Exchange) -> bool:
        """Whether the client has ended its side, and that is the end of its response: nobody who
        takes an event stream ends his side and reads on, and a page that is closed does just that.
        """
        if self._input.state is not _ENDED:
            return False
        live = exchange.live
        if live is None or not live.is_event_stream:
            return False
        self._transport.abort()
        return True

    def _send_interim(self, exchange: Exchange, interim: InterimHeads) -> None:
        """Send what goes before the head of a response, unless that is out."""
        sender = self._sender
        if sender.framed is None:
            framer, version = self._framer, exchange.head.version
            sender.write([framer.interim_head(head, version) for head in interim.take()])
            sender.await_client(self)

    def frame_head(self, exchange: Exchange, head: ResponseHead, length: int | None) -> FramedHead:
        """Frame a head; whether the connection persists is decided here, once."""
        shared = self._shared
        request = exchange.head
        persists = (
            request.keep_alive
            and shared.keeps_alive
            and (self._upload is None or not self._upload.is_open)
            and (shared.phase is _SERVING or self._reader.buffered > 0)
            and not (shared.refused and self in shared.refused)
        )
        return self._framer[head, length, request.method, request.version, persists]

    # --- ends of a response --------------------------------------------------------------------

    def _response_complete(self) -> None:
        """All of it is with the transport: once that is below its high water, go on with what was
        pipelined, wait, or close."""
        exchange, sender, upload = self._exchange, self._sender, self._upload
        assert exchange is not None
        if not sender.is_writable:
            exchange.writer.forget_body()
            self._enter(_FLUSHING)
            if upload is not None:
                upload.drop_rest()
            sender.await_client(self)
            self._adjust_reading()
            return
        framed = sender.framed
        assert framed is not None
        if self._shared.gateway.observer.wants_requests:
            self._log_response(exchange, complete=True)
        if exchange.writer.pipe is not None:
            exchange.writer.release()
        self._exchange = self._upload = None
        if exchange.watching is not None:
            exchange.served()
        sender.begin()
        if not framed.persists:
            if upload is not None:
                upload.abort("the response is complete")
            # A client that wanted to go on may be sending already, and so may one whose body was
            # not awaited to its end, or not at all.
            if (
                exchange.head.keep_alive
                or self._reader.buffered
                or upload is not None
                or exchange.head.has_body
            ):
                self._close_softly()
            else:
                self._close()
            return
        self._enter(_IDLE)
        if self._reader.buffered or self._input.state is _ENDED:
            self._read_requests()
        if self._input.state is not _FLOWING and self.state not in ENDS:
            self._adjust_reading()
        if self._shared.phase is not _SERVING and self.ends_with(exchange):
            self.close_idle()

    def ends_with(self, exchange: Exchange) -> bool:
        """A server that leaves keeps its idle clients for a while, but not those of event streams:
        who was told to come again is to find the successor."""
        phase, pipe = self._shared.phase, exchange.writer.pipe
        if phase is _SERVING or self._reader.buffered:
            return False  # what was asked for already is answered
        if phase is _DRAINING:
            return True
        # By its head: who has produced it may be through with it before the loop is.
        head = pipe.head if pipe is not None else None
        return head is not None and is_event_stream(head.fields)


def _too_many() -> HTTPError:
    return Overload.CONNECTIONS_FULL.error(1)


def _incomplete() -> HTTPError:
    return HTTPError(400, "The request ended before it was complete")

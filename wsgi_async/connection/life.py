"""The life of one connection: where it stands, how long that may last, how it ends. On the loop.

What comes in between, requests and responses, is in ``protocol``.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar, cast

from wsgi_async.errors import HTTPError
from wsgi_async.http.framing import BodyFraming
from wsgi_async.http.reading import Reader
from wsgi_async.http1.reader import RequestReader
from wsgi_async.wsgi.client_watch import Presence
from wsgi_async.wsgi.environ import client_name, remote_address

from .connections import Connections
from .exchange import Exchange
from .exchange_states import ExchangeState
from .gateway import Errors
from .input import Input, InputState
from .open_connection import InFlight, Wait
from .sender import Sender, reset
from .states import ENDS, MOVES, ConnectionState
from .upload import Upload

__all__ = ["ConnectionLife", "or_ends"]

# A global is quicker than an enum's attribute, and these are compared many times in a request.
_NEW = ConnectionState.NEW
_IDLE = ConnectionState.IDLE
_HEAD = ConnectionState.HEAD
_BODY = ConnectionState.BODY
_RUNNING = ConnectionState.RUNNING
_LINGERING = ConnectionState.LINGERING
_CLOSING = ConnectionState.CLOSING
_CLOSED = ConnectionState.CLOSED
_ENDED = InputState.ENDED
_BEGUN = ExchangeState.BEGUN


_P = ParamSpec("_P")
_R = TypeVar("_R")
_C = TypeVar("_C", bound="ConnectionLife")


def or_ends(
    callback: Callable[Concatenate[_C, _P], _R],
) -> Callable[Concatenate[_C, _P], _R]:
    """A callback of the loop either completes, or ends its connection and returns False: where
    memory runs out for a while, no connection may be left that nobody goes on with."""

    @functools.wraps(callback)
    def complete(self: _C, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            try:
                return callback(self, *args, **kwargs)
            except HTTPError as error:
                self._refuse(error)
        except Exception as error:
            self._fail(error)
        return cast("_R", False)

    return complete


class ConnectionLife(asyncio.Protocol):
    """A connection between its first byte and its last.

    :param shared: what all connections of the server share.
    :param loop: the loop that runs it.
    :param peer: the client's address, as accept(2) returned it. The connection itself cannot tell
        once it was reset.
    :param reader: what turns its bytes into requests. None: what reads HTTP/1.1.
    """

    __slots__ = (
        "_exchange",
        "_framer",
        "_input",
        "_loop",
        "_proxy_fields",
        "_reader",
        "_sender",
        "_shared",
        "_transport",
        "_upload",
        "remote_addr",
        "remote_port",
        "server_variables",
        "state",
    )

    is_welcome = False
    """Whether it may begin although the server drains."""

    errors: Errors | None = None
    """*Any thread:* who else than the log is told what is written to ``wsgi.errors``."""

    answers_unheard = True
    """Whether one that is too many may be answered before it has asked anything."""

    def __init__(
        self,
        shared: Connections,
        loop: asyncio.AbstractEventLoop,
        peer: object,
        reader: Reader | None = None,
    ) -> None:
        self.server_variables: dict[str, object] = {}
        self.remote_addr, self.remote_port = remote_address(peer)
        self._proxy_fields = shared.proxy_fields(self.remote_addr)
        self.state = _NEW
        self._shared = shared
        self._loop = loop
        if TYPE_CHECKING:  # from connection_made on
            self._transport: asyncio.Transport
            self._sender: Sender
            self._input: Input
        if reader is None:
            reader = RequestReader(shared.limits, shared.config.parser)
        self._reader = reader
        self._framer = shared.framer
        self._exchange: Exchange | None = None
        self._upload: Upload | None = None

    @property
    def client(self) -> str:
        """The client's name for log lines, as the connection has it: it may be a proxy's."""
        return client_name(self.remote_addr, self.remote_port)

    @property
    def has_ended_its_side(self) -> bool:
        """*Any thread:* whether the client will send nothing more."""
        return self._input.state is _ENDED

    def _client(self) -> str:
        """The client's name for log lines: that of the request there is, if there is one."""
        exchange = self._exchange
        return self.client if exchange is None else exchange.client

    @property
    def in_flight(self) -> InFlight | None:
        """What it is busy with, if it is, from the complete head to the last byte."""
        exchange = self._exchange
        if exchange is None:
            return None
        return InFlight(exchange, self.state is _BODY, self._sender.body_size)

    # --- called by the server's tick, by its shutdown, and by other connections --------------

    @or_ends
    def wait_expired(self, wait: Wait) -> None:
        """The connection has waited too long."""
        if self.state is _HEAD:
            self._refuse(HTTPError(408, "The request head did not arrive in time"))
        elif wait is Wait.LINGER and self._sender.unsent:
            # It begins when all is sent; until then the pace of sending is judged.
            self._shared.waits[wait].add(self, self._loop.time())
        else:
            self._close()

    @or_ends
    def check_pace(self, now: float) -> bool:
        """Judge the transfers that go on. False where there is none."""
        exchange, upload = self._exchange, self._upload
        why = self._sender.judge(now, exchange.writer.pipe if exchange is not None else None)
        if why is not None:
            self._drop(f"it does not take its response: {why}")
            return False
        is_awaited = upload is not None and upload.awaits_client and self._input.is_read
        if is_awaited and upload is not None and upload.judge(now) is not None:
            self._break_off(HTTPError(408, "The request body did not arrive in time"))
            is_awaited = False
            if self._exchange is None:
                return False
        return is_awaited or self._sender.unsent > 0

    @or_ends
    def client_has_gone(self) -> None:
        """The client has reset the connection while nothing was read from it."""
        self._transport.abort()

    @or_ends
    def client_has_ended(self) -> None:
        """The client has ended its side while nothing was read from it."""
        if self._exchange is not None:
            self._exchange.client_left()

    @or_ends
    def close_idle(self) -> bool:
        """Close, if nothing has begun: for shutdown.

        :returns: False where a request or its response is under way.
        """
        if self.state is _IDLE or self.state is _NEW:
            self._close()
        return self.state in ENDS

    @or_ends
    def make_way(self) -> None:
        """Give the descriptor back for another connection, at once."""
        is_behind = self._sender.unsent > 0
        self.close_idle()
        if is_behind:
            self._transport.abort()  # who does not take the last answer would keep it for long

    @or_ends
    def abort(self) -> None:
        """Drop the client now: the end of the graceful timeout."""
        if self.state is _CLOSED:
            return
        if self.state is _RUNNING or self._sender.unsent:
            self._drop("the server stops")
        else:
            self._transport.abort()

    @or_ends
    def give_up(self, exchange: Exchange, error: HTTPError) -> None:
        """The application has not answered in time."""
        if exchange is self._exchange and self.state is _RUNNING:
            self._refuse(error)

    def presence_for(self, exchange: Exchange) -> Presence:
        """*Any thread:* see :class:`.ExchangeConnection`."""
        if exchange is not self._exchange:
            return Presence.SERVED
        return Presence.GONE if self._input.state is _ENDED else Presence.HERE

    # --- where it stands ---------------------------------------------------------------------

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
            self._shared.waits[old].since.pop(self, None)
        if new is not None:
            self._shared.waits[new].since[self] = self._loop.time()

    # --- its ends ----------------------------------------------------------------------------

    def _close(self) -> None:
        """Close when all is sent; who does not take it is dropped by the pace check. All is also
        what a transport itself has to say at its end."""
        self._enter(_CLOSING)
        transport = self._transport
        transport.close()
        if transport.get_write_buffer_size():
            self._sender.await_client(self)

    def _close_softly(self) -> None:
        """Stop sending, but read for a little while: closing with unread input resets the
        connection, and the client may lose the answer (RFC 9112 §9.6)."""
        if self._input.state is _ENDED:
            self._close()
            return
        self._enter(_LINGERING)
        self._sender.end()  # first: of what a transport has to say then, the pace is judged too
        self._sender.await_client(self)
        self._input.resume(self, None)

    def _reset(self) -> None:
        if self.state is not _CLOSING:
            self._enter(_CLOSING)
        reset(self._transport)

    def _drop(self, why: str) -> None:
        """Reset the connection: an orderly end would look like the end of a body."""
        self._shared.gateway.observer.connection_dropped(self._client(), why)
        self._reset()

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
                exchange.release("an error inside the server")
        self._tell(error)

    def _tell(self, error: Exception) -> None:
        with contextlib.suppress(Exception):  # a log that has no memory for it
            self._shared.gateway.observer.error(
                f"an error inside the server, with the connection of {self._client()}", error
            )

    # --- ends of what it is busy with --------------------------------------------------------

    def _refuse(self, error: HTTPError) -> None:
        """Answer in the server's own name and close. Nothing of this request goes further."""
        shared = self._shared
        exchange = self._exchange
        detail = error.detail
        if error.cause and not self._sender.written:  # it is the first thing that came
            detail = f"{detail}; {error.cause}"
        shared.gateway.observer.request_refused(
            self._client(),
            error.status,
            detail,
            exchange.info if exchange is not None else None,
            is_running=exchange is not None and exchange.state is not _BEGUN,
        )
        if exchange is not None and self._sender.framed is not None:
            self._cut_response()  # part of a response is out: nothing else may follow it
            return
        head_only = exchange is not None and exchange.head.method == "HEAD"
        fields = exchange.refusal_fields if exchange is not None else ()
        self._let_exchange_go("the request was refused", status=error.status)
        answer = self._framer.error_answer(error, head_only=head_only, fields=fields)
        self._sender.write([answer])
        self._close_softly()

    def _break_off(self, error: HTTPError) -> None:
        """The rest of the body will not come. A response that has begun may still be read."""
        if self._upload is None or self._sender.framed is None:
            self._refuse(error)
        else:
            self._upload.abort(error.detail)

    def _cut_response(self) -> None:
        """End the connection so that the client can tell that the response is not complete."""
        framed, exchange = self._sender.framed, self._exchange
        if exchange is not None and exchange.writer.has_ended:
            exchange.served()  # it is the application that has ended it so, and not the client
        if framed is None or framed.framing is BodyFraming.CLOSE:
            self._drop("its response was cut")
        else:
            self._shared.gateway.observer.connection_dropped(self._client(), "its response was cut")
            self._let_exchange_go("the response was cut")
            self._enter(_CLOSING)
            self._sender.cut()
            self._sender.await_client(self)

    def _let_exchange_go(self, why: str, *, status: int = 499) -> None:
        """The client will get no more of this response; `status` where its head is not out."""
        exchange = self._exchange
        if exchange is not None:
            if exchange.state is not _BEGUN:
                self._log_response(exchange, complete=False, status=status)
            exchange.release(why)
        self._exchange = self._upload = None

    def _log_response(self, exchange: Exchange, *, complete: bool, status: int = 499) -> None:
        observer = self._shared.gateway.observer
        if not observer.wants_requests:
            return
        try:
            framed = self._sender.framed
            response = exchange.ended(
                framed.status if framed is not None else status,
                self._sender.body_size,
                complete,
                self._loop.time(),
            )
            observer.request_finished(exchange.info, response)
        except Exception as error:  # the request has been answered all the same
            self._tell(error)

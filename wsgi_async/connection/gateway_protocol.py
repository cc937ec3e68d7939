"""One connection of a web server in front, which speaks uwsgi, SCGI or FastCGI. On the loop.

What it says of its client is the request's, as what a believed proxy says is. Fields that proxies
add are the client's word to the front server, who passes them on: whether they count goes by
REMOTE_ADDR, as it would by the connection if that client had come here itself.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable

from wsgi_async.errors import HTTPError, Overload, ProtocolFault
from wsgi_async.gateways.cgi_framing import CGIFramer, StatusLine
from wsgi_async.gateways.fastcgi import FastCGIReader
from wsgi_async.gateways.fastcgi_framing import FastCGIFramer
from wsgi_async.gateways.scgi import SCGIReader
from wsgi_async.gateways.uwsgi import UwsgiReader
from wsgi_async.gateways.variables import GatewayHead
from wsgi_async.http.framing import BodyFraming
from wsgi_async.http.origin import Origin
from wsgi_async.http.reading import GatewayFramer, GatewayReader, Signal
from wsgi_async.http.request import RequestHead
from wsgi_async.system.spoken import Spoken

from .connections import Connections, Phase
from .exchange import Exchange
from .front_errors import FrontErrors
from .life import or_ends
from .open_connection import Wait
from .protocol import LARGE_READ, HTTPProtocol
from .proxy_fields import FieldsOf
from .states import ENDS, ConnectionState

__all__ = ["GatewayProtocol", "Speech"]

_IDLE = ConnectionState.IDLE
_HEAD = ConnectionState.HEAD
_BODY = ConnectionState.BODY
_RUNNING = ConnectionState.RUNNING

_SOMEBODY = "?"
"""In place of an address where the front server tells none. It is in no set of peers but that of
all."""


class _ClientsFields:
    """What is done to the fields of proxies in the requests of front servers; see
    :class:`.ProxyFields`. It also says where a request comes from.

    :param fields_of: what is done to those of a client.
    """

    keys = ("REQUEST_METHOD",)
    """Each head has it."""
    is_of_first = False
    passed: RequestHead | None = None

    def __init__(self, fields_of: FieldsOf) -> None:
        self._fields_of = fields_of

    def read(self, head: RequestHead, peer: str, scheme: str) -> tuple[RequestHead, Origin | None]:
        """See :class:`.ProxyFields`."""
        assert isinstance(head, GatewayHead)
        origin = head.origin
        client = _SOMEBODY if origin.remote_addr is None else origin.remote_addr
        fields = self._fields_of(client)
        if fields is None or head.variables.keys().isdisjoint(fields.keys):
            return head, origin
        kept, said = fields.read(head, client, origin.scheme or scheme)
        return kept, origin if said is None else _over(origin, said)


def _over(origin: Origin, said: Origin) -> Origin:
    """What proxies say of a request, over what the front server says."""
    changes = {
        field.name: value
        for field in dataclasses.fields(said)
        if (value := getattr(said, field.name)) is not None and value != ()
    }
    return dataclasses.replace(origin, **changes)


class Speech:
    """What the connections of a server to sockets of one protocol have in common.

    :param shared: what all connections of the server share.
    :param spoken: uwsgi, SCGI or FastCGI.
    """

    def __init__(self, shared: Connections, spoken: Spoken) -> None:
        status_line, self._begin = _SPEECHES[spoken]
        self._shared = shared
        self.fields = _ClientsFields(shared.proxy_fields)
        self._heads = CGIFramer(*shared.framer_arguments, status_line=status_line)
        shared.dates.add(self._heads)

    def begin(self) -> tuple[GatewayReader, GatewayFramer]:
        """What reads the requests of a new connection, and what frames its responses."""
        return self._begin(self._shared, self._heads)


def _uwsgi(shared: Connections, heads: CGIFramer) -> tuple[GatewayReader, GatewayFramer]:
    return UwsgiReader(shared.limits), heads


def _scgi(shared: Connections, heads: CGIFramer) -> tuple[GatewayReader, GatewayFramer]:
    return SCGIReader(shared.limits), heads


def _fastcgi(shared: Connections, heads: CGIFramer) -> tuple[GatewayReader, GatewayFramer]:
    reader = FastCGIReader(shared.limits, shared.cap)
    return reader, FastCGIFramer(heads, reader)


_Begin = Callable[[Connections, CGIFramer], tuple[GatewayReader, GatewayFramer]]

_SPEECHES: dict[Spoken, tuple[StatusLine, _Begin]] = {
    Spoken.UWSGI: (StatusLine.HTTP, _uwsgi),
    Spoken.SCGI: (StatusLine.CGI, _scgi),
    Spoken.FASTCGI: (StatusLine.CGI, _fastcgi),
}
"""How a head begins, and what each connection is given."""


class GatewayProtocol(HTTPProtocol):
    """One connection of a front server.

    :param peer: its address, as accept(2) returned it.
    :param speech: what is spoken.
    """

    __slots__ = ("errors",)

    answers_unheard = False

    _reader: GatewayReader
    _framer: GatewayFramer

    def __init__(
        self,
        shared: Connections,
        loop: asyncio.AbstractEventLoop,
        peer: object,
        speech: Speech,
    ) -> None:
        reader, framer = speech.begin()
        super().__init__(shared, loop, peer, reader)
        self._framer = framer
        self._proxy_fields = speech.fields
        self.errors: FrontErrors | None = None

    # --- asyncio.Protocol --------------------------------------------------------------------

    @or_ends
    def eof_received(self) -> bool:
        """A head that is not complete will not be: it is no request, and nobody's to answer."""
        if self.state is _HEAD:
            self._input.end()
            self._drop("it has ended within the variables of a request")
            return True
        return super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self.errors = None  # it refers to this
        super().connection_lost(exc)

    # --- called by the server's tick ---------------------------------------------------------

    @or_ends
    def wait_expired(self, wait: Wait) -> None:
        """Likewise of one that does not arrive in time."""
        if self.state is _HEAD:
            self._drop("the variables of its request were not complete in time")
        else:
            super().wait_expired(wait)

    # --- requests ----------------------------------------------------------------------------

    def _enter(self, state: ConnectionState) -> None:
        if state is _IDLE:
            self._reader.answered()
        super()._enter(state)

    def _begin(self, head: RequestHead) -> None:
        shared = self._shared
        if shared.probes is None and self in shared.refused:
            raise Overload.CONNECTIONS_FULL.error(1)
        self.errors = None
        super()._begin(head)

    def _submit(self, exchange: Exchange) -> None:
        if self._shared.config.fastcgi_stderr:  # the head is from here on the application's
            self.errors = FrontErrors(self, exchange.head)
        super()._submit(exchange)

    def _receive(self, data: bytes) -> None:
        is_answered = self.state is _RUNNING
        try:
            super()._receive(data)
        except HTTPError:
            self._reply()
            raise
        if is_answered:  # else _read_requests has seen to it
            self._heed()
        if len(data) >= LARGE_READ:
            self._let_others_read()  # what is no body may be tiny records as well

    def _let_others_read(self) -> None:
        """See there; of whatever comes in records, too."""
        if self._reader.is_framed and self.state not in ENDS:
            self._give_way()

    def _read_requests(self) -> None:
        super()._read_requests()
        self._heed()

    def _heed(self) -> None:
        """See to what has come beside a request: what the protocol itself answers, and whether the
        request was taken back. Until it is answered there is no other head."""
        while self.state is _RUNNING or self.state is _BODY:
            try:
                event = self._reader.next_event()
            finally:
                self._reply()
            if event is not Signal.ABORTED:
                return
            self._take_back()
            if self.state is _IDLE:
                super()._read_requests()
        if self.state not in ENDS:
            self._reply()
        if self.state is _HEAD and not self._reader.head_started:
            self._enter(_IDLE)  # it was taken back, or it was no request

    def _reply(self) -> None:
        replies = self._reader.replies()
        if replies:
            self._sender.write([replies])

    def _take_back(self) -> None:
        """The front server's client has gone, and it says so: go on with the next request."""
        exchange, sender = self._exchange, self._sender
        assert exchange is not None
        is_kept = (
            exchange.head.keep_alive
            and sender.is_writable
            and self._shared.keeps_alive
            and self._shared.phase is Phase.SERVING
        )
        self._let_exchange_go("the client has gone")
        sender.write([self._framer.aborted()])
        sender.begin()
        if not is_kept:
            self._close_softly()
            return
        self._enter(_IDLE)
        self._adjust_reading()

    def tell_errors(self, errors: FrontErrors, text: bytes) -> None:
        """*Loop:* have the front server log it, where its request is still that of `errors`."""
        if errors is self.errors and self.state is _RUNNING:
            self._sender.write([self._framer.errors(text)])

    def ends_with(self, exchange: Exchange) -> bool:
        """See there; the front server is told, in time for it not to ask here once more."""
        ends = super().ends_with(exchange)
        if ends:
            self._framer.end_connection()
        return ends

    # --- its ends ----------------------------------------------------------------------------

    def _fail(self, error: Exception) -> None:
        if isinstance(error, ProtocolFault) and self.state not in ENDS:
            self._shut_out(str(error))
        else:
            super()._fail(error)

    def _shut_out(self, why: str) -> None:
        """What has come is none of the protocol: nothing that is said would be understood, but for
        what the protocol itself has to say."""
        replies = self._reader.replies()
        if replies:
            self._shared.gateway.observer.connection_dropped(self._client(), why)
            self._let_exchange_go("the request was broken off")
            self._sender.write([replies])
            self._close_softly()
        else:
            self._drop(why)

    def _cut_response(self) -> None:
        framed = self._sender.framed
        if framed is not None and framed.framing is BodyFraming.FRAMED:
            self._sender.write([self._framer.cut()])
        super()._cut_response()

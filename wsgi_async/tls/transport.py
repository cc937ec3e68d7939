"""One encrypted connection: the protocol of a plain transport, and the transport of a protocol.

asyncio's and uvloop's own TLS close a connection as soon as its client has said ``close_notify``,
whatever ``eof_received`` answers. Here that is what it is for TCP: one side has ended, and the
other may go on (RFC 8446 §6.1).

* What is written is encrypted at once, as long as the plain transport takes it. Above its high
  water it waits as it is, and is encrypted by and by: no second copy of it is held.
* OpenSSL's memory BIOs never give back what they once had. No more than a record goes through them
  at a time, so that an idle connection holds little.
* ``write_eof()`` and ``close()`` say ``close_notify``; ``cut()`` and ``abort()`` do not, and by
  that a client tells a response that was cut from a whole one (RFC 9112 §9.8).
* A client that ends its TCP side without a ``close_notify`` has ended all the same: a request is
  complete by its own framing alone, so nothing that was cut passes for a whole.
* After the handshake of TLS 1.3 the session tickets go out with whatever is written first.

What is written is in ``output``. All on the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import Any, Protocol, cast

from .failures import CLIENT_CLOSED, TLSFailure
from .output import RECORD, TLSOutput
from .states import IN_NEXT, LEFT, InState, LifeState, check

__all__ = ["Owner", "TLSTransport"]

WIRE_RECORD = RECORD + 256 + 5
"""Bytes of a record at most as it is sent (RFC 8446 §5.2). One that is read with room for
:data:`RECORD` leaves none of it behind."""

HANDSHAKE_BYTE = 0x16
OLD_HELLO = 0x80
"""What a ClientHello begins with; in the form of SSL 2 this or a higher byte, which OpenSSL refuses
in its own words. No request of HTTP does."""

# A global is quicker than an enum's attribute.
_SILENT, _HANDSHAKE, _FLOWING = InState.SILENT, InState.HANDSHAKE, InState.FLOWING
_HELD, _RESUMING, _ENDED = InState.HELD, InState.RESUMING, InState.ENDED
_OPEN = LifeState.OPEN


class Owner(Protocol):
    """Who looks after a connection until its handshake is over. *Loop.*"""

    def connection_begins(self, transport: TLSTransport) -> None:
        """There is a plain transport, and nothing has come."""

    def handshake_begins(self) -> None:
        """The first bytes have come."""

    def handshake_done(self, transport: TLSTransport) -> asyncio.Protocol:
        """Make the protocol: its ``connection_made`` is called next. The owner is let go."""

    def handshake_failed(self, why: str) -> None:
        """It has failed, or the connection was lost before it was over. The owner is let go.

        :param why: a few words for the log, without line ends; "" where nothing has come.
        """

    def without_tls(self, plain: asyncio.Transport) -> asyncio.Protocol:
        """The client speaks something else: make what gets the plain transport, and all that has
        come. The owner is let go."""


class TLSTransport(TLSOutput, asyncio.Protocol):
    """The server's side of one encrypted connection.

    ``get_extra_info`` knows ``ssl_object`` and ``sslcontext``, as of the loops' own transports;
    ``untaken`` and ``cut``, which are :meth:`untaken` and :meth:`cut`; and what the plain transport
    knows, its ``socket`` too.

    :param loop: the loop that runs it.
    :param context: whose certificate is shown, and what else is agreed on.
    :param owner: told how the handshake goes.
    """

    __slots__ = ("_deferred", "_held", "_holds_end", "_in", "_owner")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, context: ssl.SSLContext, owner: Owner
    ) -> None:
        super().__init__(loop, context)
        self._owner: Owner | None = owner
        self._in: InState = _SILENT
        self._held = b""  # decrypted; all else that is kept is in the BIO
        self._holds_end = False  # the end is kept too
        self._deferred = 0  # bytes that OpenSSL has to say, and that may wait for a write

    def _enter_in(self, state: InState) -> None:
        check(IN_NEXT, self._in, state)
        self._in = state

    # --- as the plain transport's protocol -------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._plain = cast("asyncio.Transport", transport)
        if self._owner is not None:
            self._owner.connection_begins(self)

    def data_received(self, data: bytes) -> None:
        protocol, incoming = self._protocol, self._incoming
        if self._in is not _FLOWING or protocol is None or len(data) > WIRE_RECORD:
            self._receive(data)
            return
        try:
            incoming.write(data)
            plain = self._object.read(RECORD)
        except Exception as error:
            self._take(b"", None if isinstance(error, ssl.SSLWantReadError) else error)
            return
        if not plain or incoming.pending or self._outgoing.pending > self._deferred:
            more, end = self._decrypt() if plain else (b"", ssl.SSLZeroReturnError())
            self._take(plain + more, end)
            return
        protocol.data_received(plain)

    def eof_received(self) -> bool:
        """The client's TCP side has ended."""
        if self._in is _SILENT or self._in is _HANDSHAKE:
            self._drop(TLSFailure(CLIENT_CLOSED))
        else:
            self._end_input()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        protocol, self._protocol = self._protocol, None
        owner, self._owner = self._owner, None
        failure, self._failure = self._failure, None
        is_silent = self._in is _SILENT
        self._let_go()
        if protocol is not None:
            protocol.connection_lost(failure or exc)
        elif owner is not None:
            why = CLIENT_CLOSED if failure is None else str(failure)
            owner.handshake_failed("" if is_silent else why)

    # --- what arrives ----------------------------------------------------------------------------

    def _receive(self, data: bytes) -> None:
        """Any case but the usual one."""
        state = self._in
        if self._life in LEFT:
            return
        if state is _FLOWING:
            self._take(*self._decrypt(data))
        elif state is _SILENT:
            self._begin(data)
        elif state is _HANDSHAKE:
            self._shake_hands(data)
        elif state is not _ENDED:
            try:
                self._incoming.write(data)
            except Exception as error:
                self._fail(error)

    def _begin(self, data: bytes) -> None:
        """The first bytes of all."""
        owner = self._owner
        assert owner is not None
        if data[0] == HANDSHAKE_BYTE or data[0] >= OLD_HELLO:
            owner.handshake_begins()
            self._enter_in(_HANDSHAKE)
            self._shake_hands(data)
            return
        plain = self._plain
        try:
            protocol = owner.without_tls(plain)
        except Exception as error:
            self._fail(error)
            return
        self._owner = None
        self._let_go()
        plain.set_protocol(protocol)
        protocol.connection_made(plain)
        protocol.data_received(data)

    def _shake_hands(self, data: bytes) -> None:
        assert self._owner is not None
        data, rest = data[:WIRE_RECORD], data[WIRE_RECORD:]
        try:
            self._incoming.write(data)
            self._object.do_handshake()
            protocol = self._owner.handshake_done(self)
        except ssl.SSLWantReadError:
            self._send_pending()
            if rest:
                self._receive(rest)
            return
        except Exception as error:
            self._fail(error)
            return
        # Of 1.3 these are the tickets. Before it, all that a server sends belongs to the handshake,
        # and the client waits for it.
        if self._object.version() == "TLSv1.3":
            self._deferred = self._outgoing.pending
        else:
            self._send_pending()
        self._enter_in(_FLOWING)
        self._owner, self._protocol = None, protocol
        protocol.connection_made(self)
        if self._in is not _FLOWING:
            self._receive(rest)
        elif self._life is _OPEN:
            self._take(*self._decrypt(rest))

    def _decrypt(self, data: bytes = b"") -> tuple[bytes, Exception | None]:
        """Decrypt what is in the BIO, and then `data`.

        :returns: what that gives, and why nothing follows, if so: SSLZeroReturnError where the
            client has said ``close_notify``.
        """
        incoming, read = self._incoming, self._object.read
        parts: list[bytes] = []
        end: Exception | None = None
        view = memoryview(data)
        try:
            while True:
                with contextlib.suppress(ssl.SSLWantReadError):
                    while incoming.pending:
                        part = read(RECORD)
                        if not part:
                            return b"".join(parts), ssl.SSLZeroReturnError()
                        parts.append(part)
                if not view:
                    break
                incoming.write(view[:WIRE_RECORD])
                view = view[WIRE_RECORD:]
        except Exception as error:
            end = error.with_traceback(None)
        return b"".join(parts), end

    def _take(self, plain: bytes, end: Exception | None) -> None:
        """Pass on what was decrypted.

        :param end: see :meth:`_decrypt`.
        """
        protocol = self._protocol
        if protocol is None:
            return
        if self._outgoing.pending > self._deferred:
            self._send_unasked()
        if plain:
            protocol.data_received(plain)
        if isinstance(end, ssl.SSLZeroReturnError):
            self._end_input()
        elif end is not None:
            self._fail(end)

    def _end_input(self) -> None:
        """Nothing more will come: tell the protocol, once it has what came before."""
        protocol, state = self._protocol, self._in
        if self._life in LEFT or protocol is None:
            return
        if state is _HELD or state is _RESUMING:
            self._holds_end = True
        elif state is _FLOWING:
            self._enter_in(_ENDED)
            self._plain.pause_reading()
            if not protocol.eof_received():
                self.close()

    def _keep_input(self) -> None:
        if self._incoming.pending:
            plain, end = self._decrypt()
            self._held += plain
            self._holds_end |= end is not None

    # --- as the protocol's transport -------------------------------------------------------------

    def pause_reading(self) -> None:
        """Hold back what arrives."""
        if self._in is _FLOWING or self._in is _RESUMING:
            self._enter_in(_HELD)
            self._plain.pause_reading()

    def resume_reading(self) -> None:
        """Go on; what was held back is delivered in the loop's next turn."""
        if self._in is not _HELD:
            return
        if self._held or self._holds_end or self._incoming.pending:
            self._enter_in(_RESUMING)
            self._loop.call_soon(self._read_on)
        else:
            self._enter_in(_FLOWING)
            self._plain.resume_reading()

    def _read_on(self) -> None:
        if self._in is not _RESUMING or self._life in LEFT:
            return
        self._enter_in(_FLOWING)
        self._plain.resume_reading()
        held, self._held = self._held, b""
        plain, end = self._decrypt()
        if end is None and self._holds_end:
            end = ssl.SSLZeroReturnError()
        self._take(held + plain, end)

    def is_reading(self) -> bool:
        """Whether what arrives is delivered."""
        return self._in is not _HELD and not self.is_closing()

    def get_protocol(self) -> asyncio.BaseProtocol:
        """The protocol."""
        assert self._protocol is not None
        return self._protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Switch to another protocol."""
        self._protocol = cast("asyncio.Protocol", protocol)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """See the class."""
        if name == "sslcontext":
            return self._object.context
        if name == "ssl_object":
            return self._object
        if name == "untaken":
            return self.untaken
        if name == "cut":
            return self.cut
        return self._plain.get_extra_info(name, default)

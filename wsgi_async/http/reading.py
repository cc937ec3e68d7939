"""What a connection asks of whatever turns its bytes into requests: the seam on the way in.

``http1/reader.py`` is one side of it, and each protocol of front servers in ``gateways`` another;
:class:`.Framer` is the seam on the way out.
"""

from __future__ import annotations

import enum
from typing import Protocol

from .framing import Framer
from .request import RequestHead

__all__ = ["GatewayFramer", "GatewayReader", "Reader", "Signal", "joined"]


class Signal(enum.Enum):
    """Events of :meth:`Reader.next_event` that carry nothing."""

    NEED_DATA = enum.auto()
    END_OF_BODY = enum.auto()
    ABORTED = enum.auto()
    """The front server has taken its request back. Of protocols alone that can say so; it is given
    again and again, until :meth:`GatewayReader.answered`."""


def joined(pending: bytes | bytearray, position: int, data: bytes) -> bytearray:
    """What a reader holds after it has received `data`, where not all that it holds was read yet.

    :param pending: what it holds; a bytearray, once pieces had to be joined.
    :param position: where what was not read begins.
    """
    if isinstance(pending, bytearray):
        del pending[:position]
    else:
        pending = bytearray(memoryview(pending)[position:])
    pending += data
    return pending


class Reader(Protocol):
    """Turns the bytes of one connection into requests. *Loop.*"""

    @property
    def buffered(self) -> int:
        """Bytes received and not yet turned into events."""

    @property
    def head_started(self) -> bool:
        """Whether a byte of the next head is here."""

    @property
    def body_left(self) -> int:
        """Bytes still to come of a body of which the socket has exactly these, if nothing is
        buffered; else 0."""

    def skip_body(self, size: int) -> None:
        """Somebody else has received that many bytes of :attr:`body_left`."""

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the connection. Cheap: nothing is looked at."""

    def lone_head(self, data: bytes) -> RequestHead | None:
        """The common case in one step: a head that is all of `data`, after nothing else.

        None, and nothing done, where it is not: then :meth:`receive_data` takes it.

        :raises HTTPError: as :meth:`next_event`.
        """

    def next_event(self) -> RequestHead | bytes | Signal:
        """What the bytes so far amount to: a head, then, where it has a body, that as ``bytes``
        and END_OF_BODY; NEED_DATA where there is nothing to say yet.

        :raises HTTPError: the request is refused, and nothing can be read after it.
        :raises ProtocolFault: these bytes are none of the protocol. Likewise.
        """


class GatewayReader(Reader, Protocol):
    """Likewise, of what a front server sends. It may be asked for events while a request is
    answered too, and then has no head until :meth:`answered`."""

    is_framed: bool
    """Whether all comes in pieces with something in between, which takes time to read."""

    def replies(self) -> bytes:
        """What the protocol itself answers to what was received, each once; mostly nothing. To be
        asked after each :meth:`next_event`, also where that has raised."""

    def answered(self) -> None:
        """The response to the last head has been given to the transport to its end, or its request
        was taken back, and the connection is kept: from here on the next one may come."""


class GatewayFramer(Framer, Protocol):
    """Frames the responses of one connection, or of all that are alike. *Loop.*"""

    def errors(self, text: bytes) -> bytes:
        """Text for the front server's log, of the request that is answered. Nothing where the
        protocol has no word for that, or where it would come too late.

        :param text: lines.
        """

    def cut(self) -> bytes:
        """What is written where a response that has begun ends here, incomplete; the connection is
        closed after it. Nothing where the protocol has no word for that."""

    def end_connection(self) -> None:
        """The connection is closed behind this response, whose head was framed before that was
        known: where the protocol has a way to tell that, it is told with the end of the body."""

    def aborted(self) -> bytes:
        """What is written of a request that was taken back: the rest of its response is not."""

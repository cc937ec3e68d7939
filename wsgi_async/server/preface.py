"""What comes on a connection before its transport is made: the header of a proxy.

A socket that was accepted is looked at with MSG_PEEK, exactly the header's bytes are taken from it,
and only then has it a transport: what follows, TLS or a request, is for that alone, and nothing has
to be handed on from one reader to the next. Where the header is there already, as it mostly is,
this takes two system calls and no turn of the loop.

What there is of a header that is not complete is taken at once, for all of it is header: the loop
tells of a socket as long as something waits in it, and would not rest. So its size is not bound to
that of the socket's buffer either.
"""

from __future__ import annotations

import asyncio
import functools
import socket
from collections.abc import Callable

from wsgi_async.connection.connections import Connections
from wsgi_async.connection.introduction import Introduction
from wsgi_async.wsgi.environ import client_name, remote_address

from .acceptor import MakeProtocol
from .beginning import Beginning, BeginningState
from .introductions import Introductions, Unwelcome

__all__ = ["Preface", "Prefaces"]

_AT_ONCE = socket.MSG_DONTWAIT
_PEEK = socket.MSG_PEEK | socket.MSG_DONTWAIT

MakeIntroduced = Callable[[socket.socket, object, Introduction], MakeProtocol]


class Prefaces:
    """The connections of a server whose transport is still to be made. *Loop*, all of it.

    :param loop: uvloop's or asyncio's own.
    :param shared: what all connections of the server share.
    :param introductions: who may introduce a client, and how.
    :param make_introduced: what makes the protocol of a connection, of its socket, the address of
        whoever has introduced its client, and what that has said.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        shared: Connections,
        introductions: Introductions,
        make_introduced: MakeIntroduced,
    ) -> None:
        self.loop = loop
        self.shared = shared
        self.introductions = introductions
        self.make_introduced = make_introduced
        self._underway: set[asyncio.Task[object]] = set()

    def begin(self, sock: socket.socket, peer: object) -> MakeProtocol | None:
        """Take a connection that was accepted.

        :param peer: its address, as accept(2) returned it.
        :returns: what makes its protocol, where all that comes before is there. None: it is closed,
            or is looked after here.
        """
        preface = Preface(self, sock, peer)
        try:
            self.introductions.admit(peer)
            introduction = preface.advance()
            if introduction is None:
                preface.begin()
                return None
        except MemoryError:
            preface.abort()
            raise
        except Exception as error:
            preface.fail(error)
            return None
        return self.make_introduced(sock, peer, introduction)

    def connect(self, preface: Preface, sock: socket.socket, make_protocol: MakeProtocol) -> None:
        """Have the transport made, of one that has been waiting."""
        connecting = self.loop.connect_accepted_socket(make_protocol, sock)
        task: asyncio.Task[object] = self.loop.create_task(connecting)
        self._underway.add(task)
        task.add_done_callback(functools.partial(self._connected, preface, sock))

    def _connected(self, preface: Preface, sock: socket.socket, task: asyncio.Task[object]) -> None:
        self._underway.discard(task)
        error = None if task.cancelled() else task.exception()
        if task.cancelled() or error is not None:
            sock.close()
        self.shared.forget(preface)
        if error is not None:
            self.shared.gateway.observer.error("a connection was lost", error)


class Preface(Beginning):
    """One connection without a transport."""

    __slots__ = ("_peer", "_room", "_seen", "_sock")

    def __init__(self, room: Prefaces, sock: socket.socket, peer: object) -> None:
        super().__init__(room.shared, room.loop)
        self._room = room
        self._sock = sock
        self._peer = peer
        self._seen = b""

    # --- its bytes -------------------------------------------------------------------------------

    def advance(self) -> Introduction | None:
        """Look at what has come, and take of it what belongs here.

        :returns: None where more must come.
        :raises Unwelcome: it cannot go on.
        """
        introductions, before = self._room.introductions, len(self._seen)
        try:
            seen = self._seen + self._sock.recv(introductions.most - before, _PEEK)
        except BlockingIOError:
            return None
        except OSError:  # the client has gone
            raise Unwelcome("") from None
        if len(seen) == before:
            raise Unwelcome(introductions.cut(before) if before else "")
        found = introductions.read(seen, self._peer)
        size = len(seen) if found is None else found[0]
        # They are there, and nobody else reads them; urgent data (RFC 9293 §3.8.5) may part them.
        if len(self._sock.recv(size - before, _AT_ONCE)) != size - before:
            raise Unwelcome(introductions.cut(before))
        self._seen = seen[:size]
        if found is not None:
            return found[1]
        if self.state is BeginningState.SILENT:
            self._enter(BeginningState.BEGUN)
        return None

    def begin(self) -> None:
        """Stand among the open connections, and wait for more."""
        self.loop.add_reader(self._sock.fileno(), self._look)
        self.join()

    def _look(self) -> None:
        """Something has come, or the client has gone."""
        if self.state is BeginningState.OVER:
            return
        room = self._room
        try:
            introduction = self.advance()
            if introduction is None:
                return
            self.loop.remove_reader(self._sock.fileno())
            self._enter(BeginningState.OVER)
            self._seen = b""  # which may be long, and its protocol knows this one for a while
            introduction = introduction._replace(place=self)
            make_protocol = room.make_introduced(self._sock, self._peer, introduction)
            room.connect(self, self._sock, make_protocol)
        except Exception as error:
            self.fail(error)

    # --- its ends --------------------------------------------------------------------------------

    def fail(self, error: Exception) -> None:
        """It cannot go on: close it, with as little as that takes, and say why."""
        self._close()
        observer = self.shared.gateway.observer
        if isinstance(error, Unwelcome):
            if why := str(error):
                observer.connection_dropped(client_name(*remote_address(self._peer)), why)
        else:
            observer.error("an error inside the server, with a connection that began", error)

    def _close(self) -> None:
        """What was not read makes the kernel reset it, which a proxy can tell from an orderly
        end."""
        if self._sock.fileno() >= 0:
            self.loop.remove_reader(self._sock.fileno())
            self._sock.close()
        if self.state is not BeginningState.OVER:
            self._enter(BeginningState.OVER)
        if self in self.shared.open:
            self.shared.forget(self)

    def end(self) -> None:
        """See :class:`Beginning`."""
        if self.state is not BeginningState.OVER:  # else the socket is its transport's
            self._close()

    def late(self) -> None:
        """See :class:`Beginning`."""
        self.fail(Unwelcome(self._room.introductions.late(len(self._seen))))

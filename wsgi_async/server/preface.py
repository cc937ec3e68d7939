"""What comes on a connection before its transport is made: the header of a proxy.

A socket that was accepted is looked at with MSG_PEEK, exactly the header's bytes are taken from it,
and only then has it a transport: what follows, TLS or a request, is for that alone, and nothing has
to be handed on from one reader to the next. Where the header is there already, as it mostly is,
this takes two system calls and no turn of the loop.

What there is of a header that is not complete is taken at once, for all of it is header: the loop
tells of a socket as long as something waits in it, and would not rest. So its size is not bound to
that of the socket's buffer either.

A connection in this stage is among the open ones. It counts for ``max_connections``, and may have
to make room while it is silent. ``header_timeout`` bounds it as it does a head: one limit for the
first byte, and one for all the others; the request's own head has its own again. At a stop, one
that has sent nothing is closed, and one whose header has begun may still ask once.
"""

from __future__ import annotations

import asyncio
import enum
import functools
import socket

from wsgi_async.connection.connections import Connections
from wsgi_async.connection.introduction import IntroducedProtocol, Introduction
from wsgi_async.connection.open_connection import InFlight, Wait
from wsgi_async.wsgi.environ import client_name, remote_address

from .acceptor import MakeProtocol
from .introductions import Introductions, Unwelcome

__all__ = ["Preface", "Prefaces"]

_AT_ONCE = socket.MSG_DONTWAIT
_PEEK = socket.MSG_PEEK | socket.MSG_DONTWAIT


class PrefaceState(enum.Enum):
    """Where a connection without a transport stands."""

    SILENT = "nothing received yet"
    BEGUN = "a part of the header is there"
    OVER = "its transport is being made, or the socket is closed"


_NEXT = {
    PrefaceState.SILENT: {PrefaceState.BEGUN, PrefaceState.OVER},
    PrefaceState.BEGUN: {PrefaceState.OVER},
    PrefaceState.OVER: set[PrefaceState](),
}
_WAIT_OF = {PrefaceState.SILENT: Wait.FIRST_BYTE, PrefaceState.BEGUN: Wait.HEAD}


class Prefaces:
    """The connections of a server whose transport is still to be made. *Loop*, all of it.

    :param loop: uvloop's or asyncio's own.
    :param shared: what all connections of the server share.
    :param introductions: who may introduce a client, and how.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, shared: Connections, introductions: Introductions
    ) -> None:
        self.loop = loop
        self.shared = shared
        self.introductions = introductions
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
                preface.join()
                return None
        except MemoryError:
            preface.abort()
            raise
        except Exception as error:
            preface.fail(error)
            return None
        return functools.partial(IntroducedProtocol, self.shared, self.loop, peer, introduction)

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


class Preface:
    """One connection without a transport. It stands among the open ones, see ``OpenConnection``."""

    __slots__ = ("_peer", "_room", "_seen", "_sock", "state")

    def __init__(self, room: Prefaces, sock: socket.socket, peer: object) -> None:
        self._room = room
        self._sock = sock
        self._peer = peer
        self._seen = b""
        self.state = PrefaceState.SILENT

    @property
    def in_flight(self) -> InFlight | None:
        """Nothing: no request is here yet."""
        return None

    def _enter(self, state: PrefaceState) -> None:
        """The one place where the state changes, and with it what is being waited for."""
        if state not in _NEXT[self.state]:
            raise RuntimeError(f"a preface cannot go from {self.state.name} to {state.name}")
        waits = self._room.shared.waits
        waits[_WAIT_OF[self.state]].discard(self)
        self.state = state
        if state is PrefaceState.BEGUN:
            waits[Wait.HEAD].add(self, self._room.loop.time())

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
        if self.state is PrefaceState.SILENT:
            self._enter(PrefaceState.BEGUN)
        return None

    def join(self) -> None:
        """Stand among the open connections, and wait for more."""
        room, shared = self._room, self._room.shared
        now = room.loop.time()
        shared.open.add(self)
        if self.state is PrefaceState.SILENT:
            shared.waits[Wait.FIRST_BYTE].add(self, now)
        room.loop.add_reader(self._sock.fileno(), self._look)
        if not shared.make_room(self, now):
            # Its protocol will say 503, if it comes to that: nothing can be said before.
            shared.warn_full(now)
            shared.refused.add(self)
            if len(shared.refused) > shared.refusals:
                self._end()

    def _look(self) -> None:
        """Something has come, or the client has gone."""
        if self.state is PrefaceState.OVER:
            return
        room = self._room
        try:
            introduction = self.advance()
            if introduction is None:
                return
            room.loop.remove_reader(self._sock.fileno())
            self._enter(PrefaceState.OVER)
            self._seen = b""  # which may be long, and its protocol knows this one for a while
            make_protocol = functools.partial(
                IntroducedProtocol,
                room.shared,
                room.loop,
                self._peer,
                introduction._replace(place=self),
            )
            room.connect(self, self._sock, make_protocol)
        except Exception as error:
            self.fail(error)

    # --- its ends --------------------------------------------------------------------------------

    def fail(self, error: Exception) -> None:
        """It cannot go on: close it, with as little as that takes, and say why."""
        self._end()
        observer = self._room.shared.gateway.observer
        if isinstance(error, Unwelcome):
            if why := str(error):
                observer.connection_dropped(client_name(*remote_address(self._peer)), why)
        else:
            observer.error("an error inside the server, with a connection that began", error)

    def _end(self) -> None:
        """Close it. What was not read makes the kernel reset it, which a proxy can tell from an
        orderly end. Harmless if repeated."""
        if self._sock.fileno() >= 0:
            self._room.loop.remove_reader(self._sock.fileno())
            self._sock.close()
        if self.state is not PrefaceState.OVER:
            self._enter(PrefaceState.OVER)
        if self in self._room.shared.open:
            self._room.shared.forget(self)

    # --- called by the server's tick, by its shutdown, and by other connections ------------------

    def wait_expired(self, wait: Wait) -> None:
        """It has waited too long. Of one that was silent nothing is said, as of any connection."""
        if self.state is not PrefaceState.OVER:
            size = len(self._seen)
            self.fail(Unwelcome(self._room.introductions.late(size) if size else ""))

    def check_pace(self, now: float) -> bool:
        """Nothing is transferred."""
        return False

    def client_has_gone(self) -> None:
        """It is read from all the time, and told there."""

    def close_idle(self) -> bool:
        """Close, if nothing has come. False where a header has begun."""
        if self.state is PrefaceState.SILENT:
            self._end()
        return self.state is PrefaceState.OVER

    def make_way(self) -> None:
        """Give the descriptor back for another connection, at once."""
        if self.state is not PrefaceState.OVER:
            self._end()

    def abort(self) -> None:
        """Drop it now: the end of the graceful timeout."""
        self.make_way()

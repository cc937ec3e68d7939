"""Accepting connections: a process's own, or its share of those to sockets that several watch.

The client's address is what accept(2) returned with the connection, and reaches the protocol from
here. Who asks the connection for it later, as the loops' own servers do, gets no answer for one
that was reset meanwhile, although its request may be there.

Left to themselves, the loops of two processes that inherit one socket spread 64 connections opened
at once as 64 to 0, at worst: who wakes first takes all that wait. Here, each process says in shared
memory (``server/connection_counts.py``) how many connections it has open, and takes no more than an
even share and an eighth, as long as the others are awake to take theirs:

* Every process watches every socket, so one that dies or hangs takes no waiting connection with
  it, and one that ends loses none: the sockets, and their queues, are common to all.
* A process that has its share leaves what waits to the others, and looks again after
  :data:`RETRY` or as soon as it has lost a connection. Those that did not even look within
  :data:`PATIENCE` retries are passed over until they do: a blocked process delays what comes until
  then, and nothing after that.
* How many connections wait is known for TCP on Linux (TCP_INFO). Elsewhere it is taken to be a
  few; a burst is spread as evenly, in smaller steps.

Other ways were measured beside this one (DESIGN.md, "Decisions"; ``python -m
benchmarks.micro.accepting``): plain shared accept, with or without EPOLLEXCLUSIVE, spreads a burst
no better than chance, and with SO_REUSEPORT what the kernel gives to a process that hangs or ends
is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import errno
import functools
import os
import select
import socket
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from wsgi_async.system.spoken import Spoken

from .connection_counts import OwnCount

__all__ = ["NEXT", "PATIENCE", "RETRY", "Acceptor", "AcceptorState", "Descriptor"]

RETRY = 0.001
"""Seconds between two looks at connections that are left to other processes."""

PATIENCE = 30
"""Retries in which a process that is awake looks at least once. Not a time: where processors
are scarce, this process waits for one as long as the others do."""

PAUSE = 1.0
"""Seconds without accepting after an error that would only repeat itself, such as EMFILE."""

BATCH = 32
"""Connections accepted in one turn at most."""

_SLACK = 8
"""A process may have this fraction of an even share more."""

_FEW = 3
"""What is taken to wait, where nobody tells."""

_LOST_ALREADY = frozenset(
    {
        errno.ECONNABORTED,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ENOPROTOOPT,
        errno.EOPNOTSUPP,
        errno.EPERM,
        errno.EPROTO,
    }
)
"""What accept(2) says of one connection that is gone or forbidden; the next one may be fine."""

Connecting = Coroutine[Any, Any, object]
"""A connection on its way from the kernel to its protocol."""

MakeProtocol = Callable[[], asyncio.BaseProtocol]

Preface = Callable[[socket.socket, object], MakeProtocol | None]

_Made = tuple[Connecting, "asyncio.Future[object]"]
"""One whose transport is made, and what tells that ``connection_made`` was called."""


class AcceptorState(enum.Enum):
    """What an acceptor is doing."""

    OFF = "nothing"
    WATCHING = "waiting for connections"
    YIELDING = "leaving connections to other processes"
    PAUSED = "waiting after an error"

    __hash__ = object.__hash__  # Enum's own is Python code


NEXT: dict[AcceptorState, set[AcceptorState]] = {
    AcceptorState.OFF: {AcceptorState.OFF, AcceptorState.WATCHING},
    AcceptorState.WATCHING: {AcceptorState.OFF, AcceptorState.YIELDING, AcceptorState.PAUSED},
    AcceptorState.YIELDING: {AcceptorState.OFF, AcceptorState.WATCHING, AcceptorState.PAUSED},
    # Again, where memory has run out as it was to begin.
    AcceptorState.PAUSED: {AcceptorState.OFF, AcceptorState.WATCHING, AcceptorState.PAUSED},
}


class Acceptor:
    """Accepts this process's share of the connections to sockets that others may accept from too.

    *Loop*, all of it.

    :param loop: uvloop's or asyncio's own.
    :param sockets: listening and non-blocking. They are watched, never closed or shut down: do
        that after :meth:`close`.
    :param make_protocol: makes the protocol of a connection, of the client's address as accept(2)
        returned it.
    :param preface: given each connection first, with that address: what makes its protocol, or
        None where it sees to it itself, later or never. None: there is nothing before.
    :param own_count: this process's part of the counts. None where it shares with nobody, and
        takes all.
    :param count_open: how many connections are open, those not counted whose protocol's
        ``connection_made`` is still to come.
    :param warn: told, in one line, why nothing can be accepted for a second.
    :param needs_sockets: whether `preface` asks more of a connection than its descriptor.
    :param cap: with so many connections, this process leaves new ones to others that have room;
        where none has, it accepts them nevertheless.
    :param at_once: connections accepted in one turn of the loop, from each socket.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sockets: Sequence[socket.socket],
        make_protocol: Callable[[object], asyncio.BaseProtocol],
        own_count: OwnCount | None,
        *,
        count_open: Callable[[], int],
        warn: Callable[[str], None],
        preface: Preface | None = None,
        needs_sockets: bool = False,
        cap: int = sys.maxsize,
        at_once: int = BATCH,
    ) -> None:
        self.state = AcceptorState.OFF
        self._loop = loop
        self._sockets = {sock: _queue_length(sock) for sock in sockets}
        # asyncio's own transports work with the socket; libuv needs its descriptor, and sees to it
        # itself that it does not block.
        is_bare = not needs_sockets and type(loop).__module__.startswith("uvloop")
        self._accepts = {sock: _accept_from(sock, is_bare=is_bare) for sock in sockets}
        self._make_protocol = make_protocol
        self._preface = preface
        self._own_count = own_count
        self._count_open = count_open
        self._warn = warn
        self._cap = cap
        self._at_once = max(1, min(at_once, BATCH))
        self._underway = 0
        """Connections that are accepted, and whose ``connection_made`` is still to come."""
        self._has_looked = False
        self._timer: asyncio.Handle | None = None
        self._due = 0.0
        # While YIELDING:
        self._enough = 0
        self._looks: list[int] = []
        self._retries = 0

    def start(self) -> None:
        """Begin, or begin again, to accept."""
        if self.state is AcceptorState.OFF:
            self._enter(AcceptorState.WATCHING)

    def close(self) -> None:
        """Stop accepting; :meth:`start` begins again. Harmless if repeated.

        What was accepted gets its ``connection_made`` in the next turn of the loop; what was not
        is left to the other processes.
        """
        self._enter(AcceptorState.OFF)

    def lost(self) -> None:
        """To be called after a connection was lost and is no longer among the open ones."""
        if (
            self._own_count is None
            or self.state is AcceptorState.OFF
            or self.state is AcceptorState.PAUSED
        ):
            return
        if self._publish(self._own_count) < self._enough and self.state is AcceptorState.YIELDING:
            self._look_again_by(self._loop.call_soon(self._retry, self._own_count))
            self._enough = 0  # the first of many will do

    def tend(self) -> None:
        """To be called now and then, 0.25 s apart say: go on, where an error has left nobody to do
        it. Memory may run out as a timer is made, and a loop may have given up a socket."""
        if self.state is AcceptorState.WATCHING:
            is_deaf = not self._has_looked and any(
                queue_length() for queue_length in self._sockets.values()
            )
            self._has_looked = False
            if is_deaf:
                # Not OFF: where there is no memory for the second step, that would be for good.
                self._enter(AcceptorState.PAUSED)
                self._enter(AcceptorState.WATCHING)
        elif self.state is not AcceptorState.OFF and self._loop.time() > self._due + PAUSE:
            self._enter(AcceptorState.WATCHING)

    def _enter(self, state: AcceptorState) -> None:
        """The one place where the state changes. Raises what the loop does where memory runs out,
        and has changed nothing then that :meth:`tend` would not mend."""
        before, own_count = self.state, self._own_count
        if state not in NEXT[before]:
            raise RuntimeError(f"an acceptor cannot go from {before.name} to {state.name}")
        timer: asyncio.Handle | None = None
        if state is AcceptorState.YIELDING and own_count is not None:
            self._looks = own_count.looks()
            self._retries = 0
            timer = self._call_later(RETRY, self._retry, own_count)
        elif state is AcceptorState.PAUSED:
            timer = self._call_later(PAUSE, self._enter, AcceptorState.WATCHING)
        elif state is AcceptorState.WATCHING:
            self._watch()
        self._look_again_by(timer)
        self.state = state
        if before is AcceptorState.WATCHING:
            self._unwatch()
        if own_count is not None:
            if state is AcceptorState.WATCHING:
                self._publish(own_count)
            elif state is not AcceptorState.YIELDING:
                own_count.withdraw()

    def _watch(self) -> None:
        """All of the sockets, or none."""
        try:
            for sock in self._sockets:
                self._loop.add_reader(sock, self._look, sock)
        except BaseException:
            self._unwatch()
            raise

    def _unwatch(self) -> None:
        for sock in self._sockets:
            self._loop.remove_reader(sock)

    def _call_later(self, seconds: float, callback: Callable[..., object], *args: object) -> Any:
        self._due = self._loop.time() + seconds
        return self._loop.call_later(seconds, callback, *args)

    def _look_again_by(self, handle: asyncio.Handle | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = handle

    def _look(self, sock: socket.socket) -> None:
        """A connection waits, or waited a moment ago."""
        self._has_looked = True
        try:
            waiting = self._sockets[sock]()
            room = waiting if self._own_count is None else self._room(self._own_count, waiting)
            if not waiting:
                return
            if room > 0:
                self._accept(sock, min(room, waiting))
            else:
                self._enter(AcceptorState.YIELDING)
        except Exception as error:
            self._fail(error)

    def _retry(self, own_count: OwnCount) -> None:
        """See whether the others have taken what was left to them."""
        try:
            self._look_again(own_count)
        except Exception as error:
            self._fail(error)

    def _look_again(self, own_count: OwnCount) -> None:
        self._retries += 1
        if self._retries % PATIENCE == 0:
            own_count.pass_over(self._looks)
            self._looks = own_count.looks()
        is_left = False
        for sock, queue_length in self._sockets.items():
            waiting = queue_length()
            if not waiting:
                continue
            room = self._room(own_count, waiting)
            if room > 0:
                self._accept(sock, min(room, waiting))
            else:
                is_left = True
            if self.state is not AcceptorState.YIELDING:
                return
        if is_left:
            self._look_again_by(self._call_later(RETRY, self._retry, own_count))
        else:
            self._enter(AcceptorState.WATCHING)

    def _publish(self, own_count: OwnCount) -> int:
        """Tell the others how many connections this process has."""
        count = self._count_open() + self._underway
        if count < self._cap:
            own_count.publish(count)
        else:
            own_count.withdraw()
        return count

    def _room(self, own_count: OwnCount, waiting: int) -> int:
        """How many of the connections that wait this process may take."""
        own_count.look()
        count = self._publish(own_count)
        share = own_count.share(waiting)
        if share is None:
            return waiting
        self._enough = enough = min(share + share // _SLACK, self._cap)
        return enough - count

    def _accept(self, sock: socket.socket, count: int) -> None:
        batch: list[_Made] = []
        accept = self._accepts[sock]
        try:
            for _ in range(min(count, self._at_once)):
                try:
                    connection, address = accept()
                except BlockingIOError:
                    break
                except OSError as error:
                    if error.errno in _LOST_ALREADY:
                        continue
                    self._pause(os.strerror(error.errno) if error.errno else str(error))
                    break
                self._hand_over(connection, address, batch)
        finally:
            if batch:  # where nobody can finish them, they are closed with their coroutines
                self._loop.call_soon(self._finish, batch)
                self._underway += len(batch)

    def _hand_over(self, connection: Any, address: object, batch: list[_Made]) -> None:
        # The transport is made in the first step of the coroutine, which then waits for
        # connection_made. A task for each would cost more than taking the steps here.
        make_protocol: MakeProtocol | None
        try:
            if self._preface is None:
                make_protocol = functools.partial(self._make_protocol, address)
            else:
                make_protocol = self._preface(connection, address)
                if make_protocol is None:
                    return
            connecting = self._loop.connect_accepted_socket(make_protocol, connection)
            batch.append((connecting, connecting.send(None)))
        except StopIteration:
            pass
        except Exception as error:
            if isinstance(error, OSError) and isinstance(connection, Descriptor):
                connection.give_back()  # libuv has refused it
            connection.close()
            self._report(error)
            if isinstance(error, MemoryError):
                raise

    def _finish(self, batch: list[_Made]) -> None:
        """The loop has called ``connection_made`` of these before it came here."""
        self._underway -= len(batch)
        for connecting, made in batch:
            try:
                if made.done():
                    connecting.send(None)
                else:
                    made.add_done_callback(functools.partial(self._step, connecting))
            except StopIteration:
                pass
            except Exception as error:
                self._report(error)

    def _step(self, connecting: Connecting, _: object = None) -> None:
        try:
            connecting.send(None)
        except StopIteration:
            pass
        except Exception as error:
            self._report(error)

    def _fail(self, error: Exception) -> None:
        """Whatever it was, memory that has run out most likely: it may be over in a while."""
        self._report(error)
        if self.state is not AcceptorState.OFF:
            self._pause(type(error).__name__)

    def _pause(self, why: str) -> None:
        """Accept nothing for a while."""
        with contextlib.suppress(Exception):  # the log may have the same trouble
            self._warn(f"cannot accept connections for a while: {why}")
        self._enter(AcceptorState.PAUSED)

    def _report(self, error: Exception) -> None:
        if isinstance(error, MemoryError):
            return  # once a minute a warning says so; a traceback for each would say no more
        with contextlib.suppress(Exception):
            self._loop.call_exception_handler(
                {"message": "an accepted connection was lost", "exception": error}
            )


def _queue_length(sock: socket.socket) -> Callable[[], int]:
    """A function that says how many connections wait at `sock`, or a guess where some do."""
    level, option = socket.IPPROTO_TCP, getattr(socket, "TCP_INFO", None)
    if sys.platform == "linux" and sock.family != socket.AF_UNIX and option is not None:
        # Of a listening socket, tcpi_unacked is the length of the queue (tcp(7), tcp_get_info):
        # the seventh 32-bit word of struct tcp_info. Quicker than to be told EAGAIN.
        with contextlib.suppress(OSError):
            sock.getsockopt(level, option, 28)
            getsockopt, order = sock.getsockopt, sys.byteorder
            return lambda: int.from_bytes(getsockopt(level, option, 28)[24:], order)
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return lambda: _FEW if poll.poll(0) else 0


class Descriptor:
    """A connection as uvloop needs it. A ``socket.socket`` is made and let go in six times as many
    steps, and asks the kernel for the name that the transport asks for once more.

    Whoever has asked it for its number closes that.
    """

    __slots__ = ("_is_taken", "_number")

    family: int
    type: int
    protocol: Spoken
    is_tls: bool
    asks_who = False
    """Of its listener, all of these."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._is_taken = False

    def fileno(self) -> int:
        """For a transport, which closes it at its end."""
        self._is_taken = True
        return self._number

    def give_back(self) -> None:
        """The transport has not taken it."""
        self._is_taken = False

    def close(self) -> None:
        """Close it, unless it is a transport's. Harmless if repeated."""
        if not self._is_taken:
            self._is_taken = True
            os.close(self._number)


def _accept_from(sock: socket.socket, *, is_bare: bool) -> Callable[[], tuple[Any, object]]:
    """Like ``sock.accept()``: a connection, and its client's address.

    A socket's family and type are properties that make an enum's member each time: accept() asks
    its listener, and a loop the connection. Here they are plain attributes.

    :param is_bare: whether a :class:`Descriptor` will do.
    """
    if is_bare and not getattr(sock, "asks_who", False):
        return _descriptors_from(sock)
    family, kind = sock.family, sock.type
    # asyncio sets TCP_NODELAY on a socket that says it is TCP; one made as 0 is TCP too.
    proto = 0 if sock.family == getattr(socket, "AF_UNIX", None) else socket.IPPROTO_TCP
    accept = sock._accept  # type: ignore[attr-defined]  # what socket.accept() and every subclass of it call

    class Connection(socket.socket):
        __slots__ = ()

        protocol = getattr(sock, "protocol", Spoken.HTTP)
        is_tls = getattr(sock, "is_tls", False)
        asks_who = getattr(sock, "asks_who", False)
        """Of its listener, see ``system.sockets.BoundSocket``."""

    Connection.family = family  # type: ignore[assignment]
    Connection.type = kind  # type: ignore[assignment]

    def accept_one() -> tuple[socket.socket, object]:
        descriptor, address = accept()
        try:
            connection = Connection(family, kind, proto, descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        # With a default timeout, which an application may have set, it would block.
        connection.setblocking(False)
        return connection, address

    return accept_one


def _descriptors_from(sock: socket.socket) -> Callable[[], tuple[Descriptor, object]]:
    """See :func:`_accept_from`."""
    accept = sock._accept  # type: ignore[attr-defined]

    class Connection(Descriptor):
        __slots__ = ()

        family = int(sock.family)
        type = int(sock.type)
        protocol = getattr(sock, "protocol", Spoken.HTTP)
        is_tls = getattr(sock, "is_tls", False)

    def accept_one() -> tuple[Descriptor, object]:
        number, address = accept()
        try:
            return Connection(number), address
        except BaseException:
            os.close(number)
            raise

    return accept_one

"""What a process is rid of, at once, that the application forks off one of ours.

Whoever holds something that such a child must not have says so (:class:`Holding`,
:func:`take_signal`); the rest is a hook (``os.register_at_fork``). The child gets /dev/null in the
place of each descriptor, by dup2(2): our listening sockets are free again once *we* close them, a
connection ends when *we* end it, and whatever the child's interpreter does to the objects that it
has inherited, at its end too, it does to /dev/null. To end them properly there would harm the
parent: ``shutdown()`` ends the connection for both, and ``remove_reader()`` takes the descriptor
out of the epoll set, which is common to both.

Signals are as they were before us, so that the child can be ended. They are held back over the
fork: one that came before the hook would be told to the parent's loop, or be lost.

Sockets are found by what they are and not by a list: a socket whose own address is one that we
listen on is a listener or a connection of ours, also one that the kernel has just handed out and of
which no Python code knows yet. The child looks while it has one thread, so no number can change its
meaning under it.

Our own forks (:mod:`~wsgi_async.processes.forking`) are made in :func:`keeping`, and keep it all,
but for what belongs to a thread, which they do not have either.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import stat
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NoReturn, Protocol

from wsgi_async.errors import LoadError

__all__ = [
    "HasFileno",
    "Holding",
    "drop_signal",
    "fence",
    "flush",
    "is_our_own",
    "keeping",
    "leave",
    "poller_of",
    "take_signal",
]

_MOST = 65536
"""Descriptors to look at where the system does not list those that are open."""

_WILDCARDS = frozenset({"0.0.0.0", "::"})

_Handler = Any  # what signal.getsignal() returns


class HasFileno(Protocol):
    def fileno(self) -> int: ...


def _nothing() -> tuple[HasFileno, ...]:
    return ()


class Holding:
    """What a part of the server holds, until :meth:`release`. *Any thread.*

    :param sockets: listening sockets: they, and all connections to them.
    :param files: asked in the child: what else it has open. Closed ones do no harm.
    :param in_child: called in the child, in its only thread. It must take no lock that somebody
        may have held at the fork.
    :param is_threads: it belongs to a thread of the parent's: no child has that, so not even our
        own forks keep it.
    """

    def __init__(
        self,
        sockets: Iterable[socket.socket] = (),
        files: Callable[[], Iterable[HasFileno]] = _nothing,
        in_child: Callable[[], object] | None = None,
        *,
        is_threads: bool = False,
    ) -> None:
        self.addresses = [
            (sock.family, sock.getsockname()) for sock in sockets if sock.fileno() >= 0
        ]
        self.files = files
        self.in_child = in_child
        self.is_threads = is_threads
        self.descriptors: dict[int, str] = {}
        """Others, and what /proc says of each: a number may have come to mean something else."""
        _holdings.append(self)

    def release(self) -> None:
        """It is closed. Harmless if repeated."""
        with contextlib.suppress(ValueError):
            _holdings.remove(self)


_holdings: list[Holding] = []
_taken: dict[int, tuple[_Handler, _Handler]] = {}
_here = threading.local()


def take_signal(number: int, handler: _Handler, before: _Handler = None) -> None:
    """*Main thread:* install a handler that children of the application are not to have.

    :param handler: what is installed; None where somebody else has just done so for us.
    :param before: what is to be in force there; None: what was before the first of our handlers.
    """
    found = signal.getsignal(number)
    if number in _taken:
        before = _taken[number][1] if before is None else before
    elif before is None:
        before = found
    if handler is not None:
        signal.signal(number, handler)
    _taken[number] = signal.getsignal(number), signal.SIG_DFL if before is None else before


def drop_signal(number: int) -> None:
    """*Main thread:* the handler is not ours any more, whoever changes it."""
    _taken.pop(number, None)


@contextlib.contextmanager
def keeping() -> Iterator[None]:
    """A fork in this block is our own: the child keeps what the parent holds."""
    _here.keeps = True
    try:
        yield
    finally:
        _here.keeps = False


def is_our_own() -> bool:
    """*In a fork's hook:* whether it is made in :func:`keeping`."""
    return getattr(_here, "keeps", False)


@contextlib.contextmanager
def fence() -> Iterator[None]:
    """Application code runs in this block: a process that it forks, and that comes out of the
    block like the one that went in, ends there."""
    pid = os.getpid()
    try:
        yield
    except BaseException as error:
        if os.getpid() != pid:
            leave(error)
        raise
    if os.getpid() != pid:
        leave()


def leave(error: BaseException | None = None) -> NoReturn:
    """*In a child:* end it, for the code around the application is the parent's.

    :param error: what the application raised: the code of a SystemExit, else 1 and a traceback.
    """
    code = 0
    if isinstance(error, LoadError):
        error = error.__cause__ or error
    if isinstance(error, SystemExit):
        wanted = error.code
        if isinstance(wanted, int):
            code = wanted & 0xFF
        elif wanted is not None:
            code = 1
            with contextlib.suppress(AttributeError, OSError, ValueError):
                print(wanted, file=sys.stderr)
    elif error is not None:
        code = 1
        with contextlib.suppress(AttributeError, OSError, ValueError):
            traceback.print_exception(error)
    flush()
    os._exit(code)


def flush() -> None:
    """Write what was printed: what the streams hold at a fork would be written twice."""
    for stream in (sys.stdout, sys.stderr):
        # A reader that has gone is no reason to end; a closed stream is a ValueError.
        with contextlib.suppress(AttributeError, OSError, ValueError):
            stream.flush()


# --- the hook ------------------------------------------------------------------------------------


def _before() -> None:
    _here.mask = None
    if _taken and not is_our_own():
        _here.mask = signal.pthread_sigmask(signal.SIG_BLOCK, _taken)


def _in_parent() -> None:
    mask, _here.mask = _here.mask, None
    if mask is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _in_child() -> None:
    is_ours = is_our_own()
    holdings = [held for held in _holdings if held.is_threads or not is_ours]
    _holdings[:] = [held for held in _holdings if held not in holdings]
    try:
        if holdings:
            _let_go(holdings)
        if not is_ours:
            _restore_signals()
    finally:
        _in_parent()
    for holding in holdings:
        if holding.in_child is not None:
            holding.in_child()


def _restore_signals() -> None:
    if not _taken:
        return
    signal.set_wakeup_fd(-1)  # what comes here is not for the parent's loop
    for number, (handler, before) in _taken.items():
        if signal.getsignal(number) == handler:  # else the application has its own
            signal.signal(number, before)
    _taken.clear()


def _let_go(holdings: Sequence[Holding]) -> None:
    ours: set[int] = set()
    for holding in holdings:
        ours.update(file.fileno() for file in holding.files())
        ours.update(number for number, kind in holding.descriptors.items() if _kind(number) == kind)
    if _taken and not is_our_own():
        ours.add(signal.set_wakeup_fd(-1))
    addresses = [address for holding in holdings for address in holding.addresses]
    if addresses:
        ours.update(_sockets_at(addresses))
    ours.discard(-1)
    null = os.open(os.devnull, os.O_RDWR)
    for number in ours:
        with contextlib.suppress(OSError):
            os.fstat(number)  # a closed one is to stay closed
            os.dup2(null, number, inheritable=False)
    os.close(null)


def _sockets_at(addresses: Sequence[tuple[int, Any]]) -> Iterator[int]:
    """The descriptors of the stream sockets whose own address is one of these."""
    exact = set()
    ports = set()
    for family, name in addresses:
        if family == getattr(socket, "AF_UNIX", None):
            exact.add((family, name))
        elif name[0] in _WILDCARDS:
            ports.add((family, name[1]))
        else:
            exact.add((family, name[:2]))
    # A default timeout would make each of these sockets, and the application's, non-blocking.
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(None)
    try:
        for number in _open_descriptors():
            found = _address(number)
            if found is None:
                continue
            family, name = found
            if family == getattr(socket, "AF_UNIX", None):
                if found in exact:
                    yield number
            elif (family, name[:2]) in exact or (family, name[1]) in ports:
                yield number
    finally:
        socket.setdefaulttimeout(timeout)


def _address(number: int) -> tuple[int, Any] | None:
    """Family and own address of a stream socket; None for anything else."""
    try:
        if not stat.S_ISSOCK(os.fstat(number).st_mode):
            return None
        sock = socket.socket(fileno=number)
    except OSError:
        return None
    try:
        families = {socket.AF_INET, socket.AF_INET6, getattr(socket, "AF_UNIX", None)}
        if sock.type != socket.SOCK_STREAM or sock.family not in families:
            return None
        return sock.family, sock.getsockname()
    except OSError:
        return None
    finally:
        sock.detach()


def _open_descriptors() -> Sequence[int]:
    for directory in ("/proc/self/fd", "/dev/fd"):
        with contextlib.suppress(OSError):
            return [int(name) for name in os.listdir(directory)]
    return range(min(_MOST, os.sysconf("SC_OPEN_MAX")))


def poller_of(descriptor: int) -> dict[int, str]:
    """The epoll descriptors of this process that watch `descriptor`, and the eventfds, socket pairs
    and pipes to itself that they watch besides: a loop, and the ways to wake it; and libuv's
    io_uring. See ``Holding.descriptors``.

    uvloop tells none of them. Empty where the system does not (proc(5), ``/proc/PID/fdinfo``).
    """
    found: dict[int, str] = {}
    inode = os.fstat(descriptor).st_ino
    for number in _open_descriptors():
        if _kind(number) != "anon_inode:[eventpoll]":
            continue
        with contextlib.suppress(OSError), open(f"/proc/self/fdinfo/{number}") as file:
            watched = {int(tfd): int(ino, 16) for tfd, ino in _WATCHED.findall(file.read())}
            if watched.pop(descriptor, None) == inode:
                found[number] = _kind(number)
                for other in watched:
                    found |= _way_to_wake(other)
    if found:
        found |= _all_of("anon_inode:[io_uring]")
    return found


_WATCHED = re.compile(r"^tfd:\s*(\d+) .*\bino:([0-9a-f]+)", re.MULTILINE)


def _way_to_wake(number: int) -> dict[int, str]:
    """What a loop watches in order to be woken, with its other end; nothing of anything else."""
    kind = _kind(number)
    if kind.startswith("pipe:"):
        ends = _all_of(kind)
        return ends if len(ends) == 2 else {}  # else the other end is another process's
    found = _address(number)
    is_pair = found is not None and found[0] == socket.AF_UNIX and not found[1]
    return {number: kind} if is_pair or kind == "anon_inode:[eventfd]" else {}


def _all_of(kind: str) -> dict[int, str]:
    return {number: kind for number in _open_descriptors() if _kind(number) == kind}


def _kind(number: int) -> str:
    """What a descriptor is, as /proc has it; "" where it does not say."""
    try:
        return os.readlink(f"/proc/self/fd/{number}")
    except OSError:
        return ""


os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)

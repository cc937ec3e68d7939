"""Who is told when a client goes: callbacks, threads that wait, and the server's own parts.

A :class:`Watch` is made when somebody first asks for one, or when a client ends its side while its
request runs: most requests have none. It keeps no reference to its request
(:class:`WatchedRequest`), which has one to it: a cycle would leave each such request to the
collector.
"""

from __future__ import annotations

import enum
import functools
import threading
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Protocol

from wsgi_async.system.forks import fence

__all__ = [
    "CALL_MOVES",
    "NEXT",
    "Alarm",
    "CallState",
    "Presence",
    "Registration",
    "Watch",
    "WatchedRequest",
]


class Presence(enum.Enum):
    """What has become of a client, as far as one of its requests goes."""

    HERE = "it waits for its response, or takes it"
    GONE = "it has ended its side, or the server or somebody else has ended its connection"
    SERVED = "its response has ended"
    SERVED_LATE = "its response has ended, and it had gone before: it had only half-closed"
    FORKED = "this is another process, and the client is its parent's"

    __hash__ = object.__hash__  # Enum's own is Python code


_HERE = Presence.HERE
_GONE = Presence.GONE
_SERVED = Presence.SERVED
_SERVED_LATE = Presence.SERVED_LATE
_FORKED = Presence.FORKED

NEXT: dict[Presence, set[Presence]] = {
    _HERE: {_GONE, _SERVED, _FORKED},
    _GONE: {_SERVED_LATE, _FORKED},
    _SERVED: {_FORKED},
    _SERVED_LATE: {_FORKED},
    _FORKED: {_FORKED},
}

_LEFT = frozenset({_GONE, _SERVED_LATE, _FORKED})


class CallState(enum.Enum):
    """How far a callback is. It is called at most once."""

    WAITING = "the client is here, or its response ended before it went"
    QUEUED = "the client has gone: a thread is to call it"
    RUNNING = "a thread calls it"
    OVER = "it was called"
    CANCELLED = "nobody calls it: it was cancelled, or the response ended before a thread was free"

    __hash__ = object.__hash__


_WAITING = CallState.WAITING
_QUEUED = CallState.QUEUED
_RUNNING = CallState.RUNNING
_OVER = CallState.OVER
_CANCELLED = CallState.CANCELLED

CALL_MOVES: dict[CallState, set[CallState]] = {
    _WAITING: {_QUEUED, _CANCELLED},
    _QUEUED: {_RUNNING, _CANCELLED},
    _RUNNING: {_OVER},
    _OVER: set(),
    _CANCELLED: {_CANCELLED},
}


class WatchedRequest(Protocol):
    """The request that a watch belongs to, as far as the watch knows it."""

    @property
    def is_given_up(self) -> bool:
        """*Any thread:* whether the server has answered in the application's stead, or stopped to
        wait for it: ``request_timeout``, or an operator."""

    def call_soon(self, function: Callable[[], object]) -> None:
        """*Any thread:* have it called on a pool thread."""

    def callback_failed(self, error: BaseException) -> None:
        """*Any thread:* a callback raised this."""


class Registration:
    """What ``on_gone`` returns. *Any thread.*

    As a context manager it cancels at the end of the block, and where the callback is just being
    called it waits until that has returned: what the callback works on, a database's connection for
    one, may then go on to somebody else.
    """

    __slots__ = ("_callback", "_context", "_ident", "_is_over", "_state", "_watch")

    def __init__(self, watch: Watch, callback: Callable[[], object]) -> None:
        self._watch = watch
        self._callback = callback
        # Of its own: the request's may be entered by one thread only, which may be in it.
        self._context: Context = copy_context()
        self._state = _WAITING
        self._ident = 0
        self._is_over = threading.Lock()
        self._is_over.acquire()

    def cancel(self) -> bool:
        """Have it not called. Harmless if repeated.

        :returns: whether it has not been called, and will not be; False where that has begun.
        """
        with self._watch.lock:
            state = self._state
            if state is _RUNNING or state is _OVER:
                return False
            self.enter(_CANCELLED)
            if self in self._watch.registrations:
                self._watch.registrations.remove(self)
        return True

    def __enter__(self) -> Registration:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self.cancel() or self._ident == threading.get_ident():
            return
        if self._watch.presence is _FORKED:
            return  # the thread that calls it is the parent's
        self._is_over.acquire()
        self._is_over.release()  # somebody else may wait too

    def enter(self, state: CallState) -> None:
        """*With the watch's lock held:* the one place where the state changes."""
        if state not in CALL_MOVES[self._state]:
            raise RuntimeError(f"a call cannot go from {self._state.name} to {state.name}")
        self._state = state

    def run(self, request: WatchedRequest) -> None:
        """*Pool thread:* call it, unless it was cancelled, or the response has ended meanwhile.
        Wherever the thread is struck in it: whoever waits for its end goes on."""
        try:
            if self._begin():
                with fence():
                    self._context.run(self._callback)
        except BaseException as error:  # SystemExit must not end a pool thread
            request.callback_failed(error)
        finally:
            if self._state is _RUNNING:
                self._state = _OVER
                self._is_over.release()

    def _begin(self) -> bool:
        with self._watch.lock:
            if self._state is not _QUEUED:
                return False
            self._ident = threading.get_ident()
            is_due = self._watch.presence is _GONE
            self.enter(_RUNNING if is_due else _CANCELLED)
            return is_due


class Alarm:
    """What :meth:`Watch.on_over` returns. *Any thread.*"""

    __slots__ = ("_watch", "callback", "goes_by_client")

    def __init__(self, watch: Watch, callback: Callable[[], object], goes_by_client: bool) -> None:
        self._watch = watch
        self.callback = callback
        self.goes_by_client = goes_by_client

    def cancel(self) -> bool:
        """Have it not called. False where it is being called, or was. Harmless if repeated."""
        with self._watch.lock:
            is_set = self in self._watch.alarms
            if is_set:
                self._watch.alarms.remove(self)
        return is_set


class Watch:
    """What one request's client is to whoever asked to be told when it goes.

    Its lock is never held while anything is called. (It is reentrant, for the collector may run an
    application's ``__del__`` wherever something is made.)
    """

    __slots__ = ("_sleepers", "alarms", "is_told", "lock", "presence", "registrations")

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.presence = _HERE
        """*Any thread.*"""
        self.is_told = False
        """*Any thread:* whether the request's thread knows that it was given up."""
        self.registrations: list[Registration] = []
        self.alarms: list[Alarm] = []
        self._sleepers: list[threading.Lock] = []

    # --- any thread --------------------------------------------------------------------------

    @property
    def gone(self) -> bool:
        """*Any thread.*"""
        return self.presence in _LEFT

    def on_gone(self, callback: Callable[[], object], request: WatchedRequest) -> Registration:
        """*Any thread:* see :meth:`.client.Client.on_gone`."""
        registration = Registration(self, callback)
        with self.lock:
            if self.presence is _HERE:
                self.registrations.append(registration)
                return registration
            if self.presence is not _GONE:
                return registration
            registration.enter(_QUEUED)
        request.call_soon(functools.partial(registration.run, request))
        return registration

    def on_over(
        self, callback: Callable[[], object], request: WatchedRequest, *, gone: bool
    ) -> Alarm:
        """*Any thread:* see :meth:`.client.Client.on_over`."""
        alarm = Alarm(self, callback, gone)
        with self.lock:
            if self.presence is _FORKED:
                return alarm
            self.alarms.append(alarm)
            is_over = gone and self.presence is _GONE
        # Asked only now: who gives a request up says so first, and looks at the alarms then.
        if is_over or request.is_given_up:
            self._sound([alarm], request)
        return alarm

    def wait(self, seconds: float) -> bool:
        """*Any thread:* see :meth:`.client.Client.wait`."""
        sleeper = threading.Lock()
        sleeper.acquire()
        with self.lock:
            if self.presence is not _HERE:
                return self.gone
            self._sleepers.append(sleeper)
        try:
            sleeper.acquire(timeout=min(max(0.0, seconds), threading.TIMEOUT_MAX))
        finally:
            with self.lock:
                if sleeper in self._sleepers:
                    self._sleepers.remove(sleeper)
        return self.gone

    # --- loop, or the thread that made it ------------------------------------------------------

    def _enter(self, presence: Presence) -> None:
        """With the lock held: the one place where it changes, but for :meth:`disown`."""
        if presence not in NEXT[self.presence]:
            raise RuntimeError(f"a client cannot go from {self.presence.name} to {presence.name}")
        self.presence = presence
        sleepers, self._sleepers = self._sleepers, []
        for sleeper in sleepers:
            sleeper.release()

    def leave(self, request: WatchedRequest) -> None:
        """*Loop:* the client has gone. Harmless if repeated, or if its response has ended."""
        with self.lock:
            if self.presence is not _HERE:
                return
            self._enter(_GONE)
            registrations, self.registrations = self.registrations, []
            for registration in registrations:
                registration.enter(_QUEUED)
            alarms = [alarm for alarm in self.alarms if alarm.goes_by_client]
        for registration in registrations:
            request.call_soon(functools.partial(registration.run, request))
        self._sound(alarms, request)

    def give_up(self, request: WatchedRequest) -> None:
        """*Loop:* the request says now that it is given up."""
        self._sound(list(self.alarms), request)
        self.leave(request)

    def serve(self) -> None:
        """*Loop:* the response has ended. Harmless if repeated."""
        with self.lock:
            if self.presence is _HERE:
                self._enter(_SERVED)
            elif self.presence is _GONE:
                self._enter(_SERVED_LATE)
            self.registrations = []

    def disown(self) -> None:
        """*In a process that the application has forked, in its only thread:* the client is the
        parent's. The threads that may have held the lock are gone."""
        self.lock = threading.RLock()
        self.presence = _FORKED
        self.registrations = []
        self.alarms = []
        self._sleepers = []

    def _sound(self, alarms: list[Alarm], request: WatchedRequest) -> None:
        """Call those of them that nobody has called, or cancelled."""
        for alarm in alarms:
            if alarm.cancel():
                try:
                    alarm.callback()
                except Exception as error:  # the others are to be told all the same
                    request.callback_failed(error)

"""A request whose client is followed: what has become of it, and who is to be told.

See :class:`wsgi_async.wsgi.client.Client`, which shows it to the application, and
:class:`.Watch`, which is made for those that want to be told, when the first of them comes.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

from wsgi_async.threads import Errand, ResponseWriter
from wsgi_async.threads.pool import ThreadPool
from wsgi_async.wsgi.client_watch import Presence, Watch

from .observed import ObservedRequest, runs_requests

__all__ = ["FollowedRequest"]

_watching = threading.Lock()
"""Held while a request gets its watch: the loop may ask for it at the same time as its thread."""


class FollowedRequest(ObservedRequest):
    """What an exchange knows of its client. The exchange sets all of it."""

    __slots__ = ("watching", "writer")

    watching: Watch | None
    """What keeps those that are to be told what becomes of its client, where there is one."""
    writer: ResponseWriter

    @property
    def client_gone(self) -> bool:
        """*Any thread:* see :attr:`.Client.gone`."""
        watch = self.watching
        if watch is not None:
            return watch.gone
        return self.connection.presence_for(self) is Presence.GONE or self.writer.gone

    @property
    def is_told(self) -> bool:
        """*Any thread:* whether its thread knows that it was given up: see
        :meth:`.Client.tell_thread`."""
        watch = self.watching
        return watch is not None and watch.is_told

    def watch(self) -> Watch:
        """*Any thread:* what keeps those that are to be told what becomes of its client."""
        watch = self.watching
        if watch is not None:
            return watch
        with _watching:
            watch = self.watching
            if watch is not None:
                return watch
            self.watching = watch = Watch()
        # The loop looks at the watch after it has changed what is asked here: one sees the other.
        presence = self.connection.presence_for(self)
        if presence is Presence.GONE or self.writer.gone:
            watch.leave(self)
        elif presence is Presence.SERVED:
            watch.serve()
        return watch

    def call_soon(self, function: Callable[[], object]) -> None:
        """*Any thread:* have it called on a pool thread."""
        errand = Errand(functools.partial(self.run_beside, function))
        self.post(_Messenger(self._gateway.pool, errand))

    def run_beside(self, function: Callable[[], object]) -> None:
        """*Pool thread, whatever the exchange's own does:* call it, in the name of this request."""
        function()

    def callback_failed(self, error: BaseException) -> None:
        """*Any thread:* what is to be called when the client goes has raised this."""
        message = "what the application has called when its client goes raised"
        self._gateway.observer.app_error(self.info, message, error)

    def client_left(self) -> None:
        """*Loop:* the client has ended its side. It may read on, so nothing else changes."""
        self.watch().leave(self)

    def served(self) -> None:
        """*Loop:* its response has ended, and its connection knows it no more. Harmless if
        repeated."""
        self.watch().serve()

    def tell_given_up(self) -> None:
        """*Loop:* have what waits in its thread go on, for nobody: what it says now is too late."""
        if self.watching is not None:
            self.watching.give_up(self)

    def disown(self) -> None:
        """*In a process that the application has forked, in this request's thread.*"""
        global _watching
        super().disown()
        _watching = threading.Lock()

    def disown_client(self) -> None:
        """*In such a process:* whatever of the application goes on in it, it has no client."""
        self.writer.gone = True
        if self.watching is None:
            self.watching = Watch()
        self.watching.disown()


class _Messenger:
    """Takes an errand to the pool, by the loop, which alone may submit.

    :param pool: the pool.
    :param errand: the errand.
    """

    __slots__ = ("_errand", "_pool")

    def __init__(self, pool: ThreadPool[Any], errand: Errand) -> None:
        self._pool = pool
        self._errand = errand

    def on_wake(self) -> None:
        """*Loop.*"""
        self._pool.submit_errand(self._errand)


runs_requests(FollowedRequest.run_beside, lambda request: request)

"""The certificates of one process: what new connections are given, and how newer ones come to be.

Looking at files and making contexts is for a thread; that they are in force from now on is for the
loop.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from wsgi_async.config.options import Config
from wsgi_async.events import Observer
from wsgi_async.tls.current import ContextSource, CurrentContexts
from wsgi_async.tls.renewal import LOOK_EVERY, Renewal
from wsgi_async.tls.settings import tls_settings

from .repeating import Repeating

__all__ = ["Certificates", "own_source"]


def own_source(config: Config, observer: Observer) -> ContextSource | None:
    """The files that the options name, for a process without a parent that looks at them; None
    where there is no TLS.

    :raises ConfigError: they are wrong.
    """
    settings = tls_settings(config)
    if settings is None:
        return None
    return Renewal(settings.anchored(), observer.warning)  # the application may go elsewhere


class Certificates:
    """Those in force, and looks for newer ones. *Loop.*

    :param loop: of the server.
    :param source: tells whether there are newer ones.
    :param in_background: has a thread call a function.
    :param observer: told which certificates are shown.
    :param on_error: told of an error of ours.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        source: ContextSource,
        in_background: Callable[[Callable[[], None]], object],
        observer: Observer,
        on_error: Callable[[BaseException], object],
    ) -> None:
        self.current = CurrentContexts(source.contexts)
        """What new connections are given."""
        self._loop = loop
        self._source = source
        self._in_background = in_background
        self._observer = observer
        self._looks = Repeating(loop, LOOK_EVERY, self._look, on_error)
        self._on_error = on_error
        self._is_looking = False
        self._is_asked = False

    def start(self) -> None:
        """Tell of the first ones, and look for newer ones from now on."""
        self._observer.certificates(self.current.certificates)
        self._looks.start()

    def stop(self) -> None:
        """Look no more. Harmless if repeated."""
        self._looks.stop()

    def tend(self) -> None:
        """See :meth:`Repeating.tend`."""
        self._looks.tend()

    def renew(self) -> None:
        """Look now: somebody knows that there is something new."""
        self._is_asked = True
        self._look()

    def _look(self) -> None:
        if self._is_looking:
            return  # and who has asked meanwhile gets another look after it
        asked, self._is_asked = self._is_asked, False
        self._is_looking = True
        self._in_background(lambda: self._look_in_thread(asked))

    def _look_in_thread(self, asked: bool) -> None:
        """*Pool thread.*"""
        is_new, failure = False, None
        try:
            is_new = self._source.look(asked=asked)
        except Exception as error:
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._has_looked, is_new, failure)

    def _has_looked(self, is_new: bool, failure: Exception | None) -> None:
        self._is_looking = False
        if failure is not None:
            self._on_error(failure)
        if is_new:
            self.current.replace(self._source.contexts)
            self._observer.certificates(self.current.certificates, are_renewed=True)
        if self._is_asked:
            self._look()

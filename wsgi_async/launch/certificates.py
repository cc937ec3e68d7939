"""What the parent does about certificates: it reads them, as root perhaps, for its processes."""

from __future__ import annotations

import weakref

from wsgi_async.config.options import Config
from wsgi_async.logs.observer import LogObserver
from wsgi_async.tls.inherited import SharedContexts
from wsgi_async.tls.renewal import Renewal
from wsgi_async.tls.settings import tls_settings

__all__ = ["Sharing", "check_certificates"]


class Sharing:
    """*In the parent:* the contexts of one reload after the other. Those of equal options are the
    same object, so that what one of them finds is told to the processes of all."""

    def __init__(self) -> None:
        self._last: SharedContexts | None = None
        self._all: weakref.WeakSet[SharedContexts] = weakref.WeakSet()

    def of(self, config: Config) -> SharedContexts | None:
        """The contexts that these options come to; None where there is no TLS.

        :param config: names files so that they mean the same in any directory.
        :raises ConfigError: the files are wrong now; the former contexts go on.
        """
        settings = tls_settings(config)
        if settings is None:
            return None
        if self._last is not None and self._last.settings == settings:
            self._last.reread()
        else:
            self._last = SharedContexts(settings, LogObserver().warning)
            self._all.add(self._last)
        return self._last

    def close(self) -> None:
        """*In any process, as it ends:* close all of them."""
        for shared in self._all:
            shared.close()


def check_certificates(config: Config) -> None:
    """Look at the files without serving: for ``--check-config``. What is doubtful is said.

    :raises ConfigError: they are wrong.
    """
    settings = tls_settings(config)
    if settings is not None:
        Renewal(settings, LogObserver().warning).look()

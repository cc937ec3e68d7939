"""Contexts that the parent makes, and its processes make again of what it hands them."""

from __future__ import annotations

from collections.abc import Callable

from wsgi_async.errors import ConfigError

from .contexts import Contexts, make_contexts
from .renewal import Renewal
from .settings import TLSSettings
from .shelf import Shelf

__all__ = ["InheritedContexts", "SharedContexts"]


class SharedContexts:
    """*In the parent:* looks at the files, and puts what is new where its processes take it.

    :param settings: names the files.
    :param warn: takes a line for the operator.
    :raises ConfigError: the files are wrong now, or there is nowhere to put them.
    """

    def __init__(self, settings: TLSSettings, warn: Callable[[str], object]) -> None:
        self._renewal = Renewal(settings, warn)
        self._warn = warn
        self._is_untold = False
        try:
            self._shelf = Shelf()
            self._shelf.put(self._renewal.material)
        except OSError as error:
            raise ConfigError(
                f"--certfile: there can be no file for the processes: {error.strerror}"
            ) from None

    @property
    def settings(self) -> TLSSettings:
        return self._renewal.settings

    @property
    def contexts(self) -> Contexts:
        """The newest."""
        return self._renewal.contexts

    def look(self) -> bool:
        """Look at the files. What is wrong with them is said.

        :returns: whether there is something new, of which the processes are to be told.
        """
        if self._renewal.look():
            self._put()
        is_untold, self._is_untold = self._is_untold, False
        return is_untold

    def reread(self) -> None:
        """Read the files, for an operator wants it. The next :meth:`look` tells of what is new.

        :raises ConfigError: they are wrong now; what there was stays.
        """
        if self._renewal.take(asked=True):
            self._put()

    def _put(self) -> None:
        try:
            self._shelf.put(self._renewal.material)
            self._is_untold = True
        except OSError as error:  # no memory for it: the next change, or restart, helps
            self._warn(f"The new certificates cannot be handed to the processes: {error.strerror}")

    def disown(self) -> None:
        """*In a new process:* only read from here on. Harmless if repeated."""
        self._shelf.inherit()

    def close(self) -> None:
        """*In any process:* nothing new is to come. Harmless if repeated."""
        self._shelf.close()

    def inherit(self) -> InheritedContexts:
        """*In a process that serves, once:* its own, the newest that there are."""
        self.disown()
        inherited = InheritedContexts(self.settings, self._shelf, self.contexts, self._warn)
        inherited.look()  # a loader is older than what the parent may have found meanwhile
        return inherited


class InheritedContexts:
    """*In a process that serves:* those of its parent when it was forked, and then newer ones.

    The former are the same objects in all processes, and so sessions can be resumed in any of them.
    """

    def __init__(
        self,
        settings: TLSSettings,
        shelf: Shelf,
        contexts: Contexts,
        warn: Callable[[str], object],
    ) -> None:
        self._settings = settings
        self._shelf = shelf
        self._warn = warn
        self._is_lost = False
        self.contexts = contexts

    def look(self, *, asked: bool = False) -> bool:
        """See :class:`~wsgi_async.tls.current.ContextSource`."""
        try:
            material = self._shelf.take()
            if material is None:
                return False
            self.contexts = make_contexts(self._settings, material)
        except OSError as error:
            if not self._is_lost:
                self._is_lost = True
                self._warn(
                    "Certificates are not renewed in this process, for the application has closed "
                    f"a descriptor that is the server's: {error.strerror}"
                )
            return False
        except ConfigError as error:  # not for what is in it, which the parent has proved
            self._shelf.forget()
            self._warn(f"The new certificates cannot be used yet: {error}")
            return False
        return True

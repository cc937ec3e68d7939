"""The contexts that are in force: what a new connection is given."""

from __future__ import annotations

import ssl
from typing import Protocol

from wsgi_async.events import CertificateInfo

from .contexts import Contexts

__all__ = ["ContextSource", "CurrentContexts"]


class ContextSource(Protocol):
    """Where a process has its contexts from: files that it looks at itself, or its parent."""

    contexts: Contexts
    """The newest."""

    def look(self, *, asked: bool = False) -> bool:
        """*Any thread, one at a time; may block:* whether there are newer :attr:`contexts`.

        :param asked: whether an operator wants to have it looked at, or the parent.
        """


class CurrentContexts:
    """Holds them. One attribute is one step, so who reads it has the old or the new. *Loop.*

    :param contexts: the first ones.
    """

    def __init__(self, contexts: Contexts) -> None:
        self._contexts = contexts

    @property
    def context(self) -> ssl.SSLContext:
        """For a connection that has just been accepted."""
        return self._contexts.context

    @property
    def certificates(self) -> tuple[CertificateInfo, ...]:
        """What it shows."""
        return self._contexts.certificates

    def replace(self, contexts: Contexts) -> None:
        """Give these to whoever comes from now on. Connections that are open keep what they have,
        and sessions made with the former ones can no longer be resumed."""
        self._contexts = contexts

"""The interface of ``flup.server.fcgi_fork``, with this server behind it: FastCGI, in processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wsgi_async.wsgi.types import Application

from .fcgi import FCGI_RESPONDER, FastCGIServer

__all__ = ["WSGIServer"]


class WSGIServer(FastCGIServer):
    """``flup.server.fcgi_fork.WSGIServer``: processes, each with one request at a time.

    :param maxSpare: how many processes there are, and
    :param maxChildren: no more than these. Their number stays as it is, and one that dies is
        replaced; `minSpare` says nothing here.
    :param maxRequests: requests after which a process is replaced; 0 for none.

    The other arguments are those of :class:`~wsgi_async.compat.fcgi.FastCGIServer`. SIGHUP replaces
    the processes, and does not end :meth:`run`.
    """

    def __init__(
        self,
        application: Application,
        environ: Mapping[str, Any] | None = None,
        bindAddress: str | Sequence[Any] | None = None,
        umask: int | None = None,
        multiplexed: bool = False,
        debug: bool = False,
        roles: Sequence[int] = (FCGI_RESPONDER,),
        forceCGI: bool = False,
        *,
        minSpare: int = 1,
        maxSpare: int = 5,
        maxChildren: int = 50,
        maxRequests: int = 0,
    ) -> None:
        super().__init__(
            application,
            environ,
            bindAddress,
            umask,
            roles,
            forceCGI,
            threads=1,
            workers=min(maxSpare, maxChildren),
            max_requests=maxRequests,
        )

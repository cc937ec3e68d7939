"""The interface of ``flup.server.fcgi_single``, with this server behind it: FastCGI, one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wsgi_async.wsgi.types import Application

from .fcgi import FCGI_RESPONDER, FastCGIServer

__all__ = ["WSGIServer"]


class WSGIServer(FastCGIServer):
    """``flup.server.fcgi_single.WSGIServer``: one request at a time.

    The arguments are those of :class:`~wsgi_async.compat.fcgi.FastCGIServer`.
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
    ) -> None:
        super().__init__(application, environ, bindAddress, umask, roles, forceCGI, threads=1)

"""What a client sees of an exception: a page without details, or with all of them on request."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING

from wsgi_async.errors import ClientDisconnected
from wsgi_async.logs.text import escape
from wsgi_async.system.own_code import without_ours
from wsgi_async.wsgi.types import Environ

from . import tracepage
from .interface import answer, guard, request_line
from .pages import page

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication

__all__ = ["Errors", "debugging"]

_STATUS = "500 Internal Server Error"


class Errors:
    """Answers an exception of the application with a page, and logs it with its whole chain.

    Only as long as nothing of the response is sent. Afterwards the exception goes on to the
    server, which logs it and cuts the response, so that the client can tell. Exceptions that are no
    ``Exception``, and a client that has gone, go on as well.

    :param application: the WSGI application.
    :param debug: to a client on this machine, show the exception, its traceback and harmless parts
        of the environ. Others get the page without. Not for a server that others can reach, nor
        behind a proxy on this machine, although a proxy that says that it is one is recognised.
    :param logger: default: ``wsgi_async.errors``, which is part of the error log.
    """

    def __init__(
        self,
        application: WSGIApplication,
        *,
        debug: bool = False,
        logger: logging.Logger | None = None,
    ) -> None:
        self._application = application
        self._debug = debug
        self._logger = logger or logging.getLogger("wsgi_async.errors")

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        def handle(error: Exception) -> Iterable[bytes]:
            if isinstance(error, ClientDisconnected):
                raise error
            frames = _application_frames(error)
            if self._debug and tracepage.is_local(environ):
                fields = tracepage.HEADERS
                body = tracepage.traceback_page(environ, error, frames)
            else:
                fields, body = page(environ, _STATUS)
            chunks = answer(environ, start_response, _STATUS, [*fields], body, sys.exc_info())
            self._log(environ, error, frames)
            return chunks

        return guard(self._application, environ, start_response, handle)

    def _log(self, environ: Environ, error: Exception, frames: TracebackType | None) -> None:
        method, target, _ = request_line(environ)
        names = [environ.get("REMOTE_ADDR") or "-"]
        if name := environ.get("wsgi_async.request_id"):
            names.append(str(name))
        self._logger.error(
            "%s %s [%s]: the application raised",
            escape(method),
            escape(target),
            escape(" ".join(names)),
            exc_info=(type(error), error, frames),
        )


def _application_frames(error: Exception) -> TracebackType | None:
    """The traceback from the first frame on that is not this package's; all of it if none is."""
    return without_ours(error.__traceback__) or error.__traceback__


def debugging(application: WSGIApplication) -> WSGIApplication:
    """`application` with the debugging page of :class:`Errors`, as ``--debug`` has it."""
    return Errors(application, debug=True)

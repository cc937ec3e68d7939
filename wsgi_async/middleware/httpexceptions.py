"""``raise HTTPException(404, "no such book")`` instead of the response."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from wsgi_async.http.statuses import BODILESS
from wsgi_async.wsgi.types import Environ, OptExcInfo

from .interface import answer, guard, status_line
from .pages import page

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication

__all__ = ["HTTPException", "HTTPExceptions"]

_REASON = re.compile(r"[\t\x20-\x7e]*")


class HTTPException(Exception):
    """A response that an application raises.

    It becomes one by :class:`HTTPExceptions`, or by hand, for it is a WSGI application too:
    ``return error(environ, start_response)``.

    :param status: status code, 300 to 599.
    :param detail: plain text for the client, in the page or, with a Content-Type among `headers`,
        all of the body, in UTF-8.
    :param headers: more fields of the response, such as Location or Retry-After.
    :param reason: the text after the status code; default: the registered one.
    :raises ValueError: a status that is none, or a `reason` with more than ASCII on one line.
    """

    def __init__(
        self,
        status: int,
        detail: str = "",
        headers: Iterable[tuple[str, str]] = (),
        *,
        reason: str = "",
    ) -> None:
        if not 300 <= status <= 599:
            raise ValueError(f"an HTTPException has a status from 300 to 599, not {status}")
        if not _REASON.fullmatch(reason):
            raise ValueError(f"a reason is ASCII on one line, not {reason!r}")
        super().__init__(status, detail)
        self.status = status
        self.detail = detail
        self.headers = list(headers)
        self.reason = reason

    def __str__(self) -> str:
        line = status_line(self.status, self.reason)
        return f"{line}: {self.detail}" if self.detail else line

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        return self.respond(environ, start_response)

    def respond(
        self, environ: Environ, start_response: StartResponse, exc_info: OptExcInfo | None = None
    ) -> Iterable[bytes]:
        """The response.

        :param exc_info: as of ``start_response``.
        """
        status = status_line(self.status, self.reason)
        try:
            fields = [field for field in self.headers if field[0].lower() != "content-length"]
            if any(name.lower() == "content-type" for name, _ in fields):
                body = self.detail.encode("utf-8", "replace")
            elif self.status in BODILESS:
                body = b""
            else:
                more, body = page(environ, status, self.detail)
                fields = [*more, *fields]
            return answer(environ, start_response, status, fields, body, exc_info)
        finally:
            exc_info = None


class HTTPExceptions:
    """Answers an :class:`HTTPException` with its page: HTML, or JSON where Accept likes that
    better. Where the head of the response is sent already it remains an exception.

    :param application: the WSGI application.
    """

    def __init__(self, application: WSGIApplication) -> None:
        self._application = application

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        def handle(error: Exception) -> Iterable[bytes]:
            if not isinstance(error, HTTPException):
                raise error
            return error.respond(environ, start_response, sys.exc_info())

        return guard(self._application, environ, start_response, handle)

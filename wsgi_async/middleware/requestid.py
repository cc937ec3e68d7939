"""One name for a request, in the logs of everybody who takes part in it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from wsgi_async.errors import ConfigError
from wsgi_async.http.request_id import KEY, RequestIdField, new_request_id
from wsgi_async.wsgi.types import Environ, Fields

from .interface import start_with

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication

__all__ = ["RequestId"]

_NAME = re.compile(r"[A-Za-z0-9-]+", re.ASCII)


class RequestId:
    """Takes a request's id from its header, or makes one, and puts it into the response.

    The application finds it in ``environ["wsgi_async.request_id"]``, and in place of the header's
    value if that was not sane: 1 to 128 letters, digits and ``. _ ~ + / = : @ -``. A field of that
    name in the application's response stays.

    :param application: the WSGI application.
    :param header: name of the field, both ways.
    :param trust: whether a client's own id is taken. False where clients are strangers and their
        ids might be made to look like others'.
    :raises ConfigError: `header` is no such name.
    """

    def __init__(
        self, application: WSGIApplication, *, header: str = "X-Request-ID", trust: bool = True
    ) -> None:
        if not _NAME.fullmatch(header):
            raise ConfigError(f"RequestId: {header!r} is not the name of a header field")
        self._application = application
        self._field = RequestIdField(header)
        self._trust = trust

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        field = self._field
        name = (field.read(environ) if self._trust else "") or new_request_id()
        environ[KEY] = environ[field.variable] = name

        def add(headers: Fields) -> Fields:
            if any(str(header[0]).lower() == field.lowered for header in headers):
                return headers
            return [*headers, (field.name, name)]

        return self._application(environ, start_with(start_response, add))

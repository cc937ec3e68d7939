"""One line for each response, after its last byte."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from wsgi_async.errors import ClientDisconnected, ConfigError, RequestTimeout
from wsgi_async.events import HAS_ACCESS_LINE
from wsgi_async.http.request_id import KEY
from wsgi_async.http.statuses import BODILESS
from wsgi_async.logs.access_atoms import Need
from wsgi_async.logs.access_entry import basic_user, by_name, plain_text, variable_of
from wsgi_async.logs.access_format import COMBINED, AccessFormat
from wsgi_async.logs.setup import access_logger
from wsgi_async.wsgi.types import Environ, Fields, OptExcInfo

from .interface import request_line, watch

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication

__all__ = ["COMBINED", "AccessLog"]

_GONE = 499
"""nginx's code for a client that left before there was a status."""


class AccessLog:
    """Logs a line for each response, with its status, its bytes and how long it took.

    The line is logged at level INFO when the response is closed: its last chunk has been handed to
    the server, or the client has gone. (A plain file in ``wsgi.file_wrapper``: when the server has
    taken it over.) Where the application raises and nothing is sent, the line says 500, as the
    server is going to.

    :param application: the WSGI application.
    :param format: ``combined``, ``common``, ``json``, or text with atoms ``%(NAME)s``, as those of
        ``--access-logformat``: ``h`` client, ``u`` user (``REMOTE_USER``, or whom the scheme Basic
        names), ``t`` time of the request, ``r`` request line, ``m`` method, ``U`` path, ``q``
        query, ``H`` protocol, ``s`` status, ``B`` bytes of the body, ``b`` likewise or ``-``, ``f``
        referer, ``a`` user agent; the duration as ``T`` seconds, ``L`` seconds with decimals, ``M``
        milliseconds, ``D`` microseconds; ``p`` process id, ``id`` that of :class:`.RequestId`,
        ``{NAME}i`` a field of the request, ``{NAME}o`` of the response, ``{NAME}e`` of the environ.
        What is not there is ``-`` (in JSON null); so is Authorization, always. What a client sent
        is escaped. What only the server knows, such as ``queue``, is an error.
    :param logger: default: ``wsgi_async.access``, in the place of the line that the server writes
        there for a request with ``--access-logfile``. Without that option the command line has
        these lines on standard output.
    :param clock: seconds, monotonic.
    :raises ConfigError: `format` has an unknown atom or is not well-formed.
    """

    def __init__(
        self,
        application: WSGIApplication,
        *,
        format: str = COMBINED,
        logger: logging.Logger | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._format = AccessFormat(format, "AccessLog")
        if Need.TIMINGS in self._format.needs and not self._format.is_json:
            raise ConfigError(
                "AccessLog: where the time of a request went only the server knows: give this "
                f"format to --access-logformat: {format!r}"
            )
        self._application = application
        self._logger = logger or access_logger
        self._clock = clock

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if not self._logger.isEnabledFor(logging.INFO):
            return self._application(environ, start_response)
        if self._logger is access_logger:
            HAS_ACCESS_LINE.set(True)
        began = self._clock()
        entry = _Entry(environ, time.time())

        def start(
            status: str, headers: Fields, exc_info: OptExcInfo | None = None
        ) -> Callable[[bytes], object]:
            try:
                if exc_info is None:
                    write = start_response(status, headers)
                else:
                    write = start_response(status, headers, exc_info)
            finally:
                exc_info = None
            entry.start(status, headers)

            def counted(data: bytes) -> object:
                done = write(data)
                entry.written += len(data)
                return done

            return counted

        def ended(size: int, error: BaseException | None) -> None:
            entry.end(size, error, self._clock() - began)
            self._logger.info(self._format.template, *self._format.args(entry))

        try:
            result = self._application(environ, start)
        except BaseException as error:
            ended(0, error)
            raise
        return watch(result, ended)


class _Entry:
    """What there is to say of one request: see :class:`.access_entry.Entry`."""

    response = None  # what only the server knows

    def __init__(self, environ: Environ, came: float) -> None:
        # Now, because an application may move what it has dealt with from one to the other.
        self.line = request_line(environ)
        self.path = f"{environ.get('SCRIPT_NAME', '')}{environ.get('PATH_INFO', '')}"
        self._environ = environ
        self.came = came
        self._headers: Fields = []
        self.status = 0
        self.size = 0
        self.seconds = 0.0
        self.is_complete: bool | None = None
        self.written = 0

    def start(self, status: str, headers: Fields) -> None:
        self.status = int(status[:3])
        self._headers = list(headers)

    def end(self, size: int, error: BaseException | None, seconds: float) -> None:
        """The response is over.

        :param size: bytes of its chunks.
        :param error: what ended it before its end.
        :param seconds: how long it took.
        """
        size += self.written
        self.is_complete = error is None
        if not size and (error is not None or not self.status):
            self.status = _status_of(error)
        elif self.line[0] == "HEAD" or self.status in BODILESS:
            size = 0
        else:
            for name, value in self._headers:
                if name.lower() == "content-length":
                    size = min(size, int(value))  # the server sends no more
        self.size = size
        self.seconds = seconds

    @property
    def host(self) -> str:
        return self._text("REMOTE_ADDR")

    @property
    def id(self) -> str:
        return self._text(KEY)

    @property
    def query(self) -> str:
        return self._text("QUERY_STRING")

    @property
    def user(self) -> str:
        return self._text("REMOTE_USER") or basic_user(self.field("authorization") or "")

    def _text(self, name: str) -> str:
        return plain_text(self._environ.get(name)) or ""

    def field(self, name: str) -> str | None:
        variable = name.upper().replace("-", "_")
        if variable not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            variable = f"HTTP_{variable}"
        return plain_text(self._environ.get(variable))

    def response_field(self, name: str) -> str | None:
        return by_name(self._headers).get(name)

    def variable(self, name: str) -> str | None:
        return variable_of(self._environ, name)


def _status_of(error: BaseException | None) -> int:
    if isinstance(error, ClientDisconnected):
        return _GONE
    return 504 if isinstance(error, RequestTimeout) else 500

"""One line for each response, after its last byte."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from wsgi_async.errors import ClientDisconnected, ConfigError, RequestTimeout
from wsgi_async.events import HAS_ACCESS_LINE
from wsgi_async.http.statuses import BODILESS
from wsgi_async.logs.setup import access_logger
from wsgi_async.logs.text import escape, log_time
from wsgi_async.wsgi.types import Environ, Fields, OptExcInfo

from .interface import request_line, watch

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication

__all__ = ["COMBINED", "AccessLog"]

COMBINED = '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"'
"""Apache's "combined" format."""

_SECRET = ("authorization", "proxy-authorization")
_GONE = 499
"""nginx's code for a client that left before there was a status."""


class AccessLog:
    """Logs a line for each response, with its status, its bytes and how long it took.

    The line is logged at level INFO when the response is closed: its last chunk has been handed to
    the server, or the client has gone. (A plain file in ``wsgi.file_wrapper``: when the server has
    taken it over.) Where the application raises and nothing is sent, the line says 500, as the
    server is going to.

    :param application: the WSGI application.
    :param format: ``%(NAME)s`` with gunicorn's names: ``h`` client, ``l`` ``-``, ``u`` user,
        ``t`` time of the request, ``r`` request line, ``m`` method, ``U`` path, ``q`` query, ``H``
        protocol, ``s`` status, ``B`` bytes of the body, ``b`` likewise or ``-``, ``f`` referer,
        ``a`` user agent; the duration as ``T`` seconds, ``L`` seconds with decimals, ``M``
        milliseconds, ``D`` microseconds; ``p`` process id, ``{NAME}i`` a field of the request,
        ``{NAME}o`` of the response, ``{NAME}e`` of the environ. What is not there is ``-``; so is
        Authorization, always. What a client sent is escaped.
    :param logger: default: ``wsgi_async.access``, in the place of the line that the server writes
        there for a request with ``--access-logfile``. Without that option the command line has
        these lines on standard output.
    :param clock: seconds, monotonic.
    :raises ConfigError: `format` has an unknown name or is not well-formed.
    """

    def __init__(
        self,
        application: WSGIApplication,
        *,
        format: str = COMBINED,
        logger: logging.Logger | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if re.search(r"%[^(%]|%$", format.replace("%%", "")):
            raise ConfigError(f"AccessLog: each % in the format is one of %(NAME)s: {format!r}")
        try:
            format % _Entry({"REQUEST_METHOD": "GET"}, 0.0)
        except KeyError as error:
            raise ConfigError(f"AccessLog: the format has no such name: {error}") from None
        except (TypeError, ValueError) as error:
            raise ConfigError(f"AccessLog: bad format {format!r}: {error}") from None
        self._application = application
        self._format = format
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
            self._logger.info("%s", self._format % entry)

        try:
            result = self._application(environ, start)
        except BaseException as error:
            ended(0, error)
            raise
        return watch(result, ended)


class _Entry:
    """What there is to say of one request; looked up by the names of the format."""

    def __init__(self, environ: Environ, came: float) -> None:
        # Now, because an application may move what it has dealt with from one to the other.
        self._line = request_line(environ)
        self._path = f"{environ.get('SCRIPT_NAME', '')}{environ.get('PATH_INFO', '')}"
        self._environ = environ
        self._came = came
        self._headers: Fields = []
        self._status = 0
        self._size = 0
        self._seconds = 0.0
        self.written = 0

    def start(self, status: str, headers: Fields) -> None:
        self._status = int(status[:3])
        self._headers = list(headers)

    def end(self, size: int, error: BaseException | None, seconds: float) -> None:
        """The response is over.

        :param size: bytes of its chunks.
        :param error: what ended it before its end.
        :param seconds: how long it took.
        """
        size += self.written
        if not size and (error is not None or not self._status):
            self._status = _status_of(error)
        elif self._line[0] == "HEAD" or self._status in BODILESS:
            size = 0
        else:
            for name, value in self._headers:
                if name.lower() == "content-length":
                    size = min(size, int(value))  # the server sends no more
        self._size = size
        self._seconds = seconds

    def __getitem__(self, name: str) -> str | int:
        if name[:1] == "{":
            return self._named(name)
        if name not in _ATOMS:
            raise KeyError(name)
        value = _ATOMS[name](self)
        return (escape(value) or "-") if isinstance(value, str) else value

    def _named(self, name: str) -> str:
        """``{NAME}i``, ``{NAME}o`` or ``{NAME}e``."""
        inner, brace, source = name[1:].rpartition("}")
        if not brace or source not in ("i", "o", "e"):
            raise KeyError(name)
        field = inner.lower()
        if field.removeprefix("http_").replace("_", "-") in _SECRET:
            return "-"
        if source == "o":
            values = [value for key, value in self._headers if key.lower() == field]
            return escape(", ".join(values)) or "-"
        return escape(self._variable(inner, is_field=source == "i")) or "-"

    def _variable(self, name: str, *, is_field: bool) -> str:
        if is_field:
            name = name.upper().replace("-", "_")
            if name not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
                name = "HTTP_" + name
        return str(self._environ.get(name, ""))

    def text(self, name: str) -> str:
        """A variable of the environ."""
        return self._variable(name, is_field=False)


def _status_of(error: BaseException | None) -> int:
    if isinstance(error, ClientDisconnected):
        return _GONE
    return 504 if isinstance(error, RequestTimeout) else 500


_ATOMS: dict[str, Callable[[_Entry], str | int]] = {
    "h": lambda entry: entry.text("REMOTE_ADDR"),
    "l": lambda entry: "-",
    "u": lambda entry: entry.text("REMOTE_USER"),
    "t": lambda entry: f"[{log_time(entry._came)}]",
    "r": lambda entry: " ".join(entry._line),
    "m": lambda entry: entry._line[0],
    "U": lambda entry: entry._path,
    "q": lambda entry: entry.text("QUERY_STRING"),
    "H": lambda entry: entry._line[2],
    "s": lambda entry: entry._status,
    "B": lambda entry: entry._size,
    "b": lambda entry: entry._size or "-",
    "f": lambda entry: entry.text("HTTP_REFERER"),
    "a": lambda entry: entry.text("HTTP_USER_AGENT"),
    "T": lambda entry: int(entry._seconds),
    "L": lambda entry: f"{entry._seconds:.6f}",
    "M": lambda entry: int(entry._seconds * 1e3),
    "D": lambda entry: int(entry._seconds * 1e6),
    "p": lambda entry: f"<{os.getpid()}>",
}

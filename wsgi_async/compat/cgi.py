"""``CGIHandler().run(app)``: a WSGI application as a CGI/1.1 script (RFC 3875).

::

    from wsgi_async.compat.cgi import CGIHandler

    CGIHandler().run(application)

One process for each request, no loop and no thread; PEP 3333 is kept as strictly as by the server,
with the same messages.
"""

from __future__ import annotations

import io
import os
import re
import sys
import traceback
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, BinaryIO, NoReturn, TextIO

from wsgi_async._version import __version__
from wsgi_async.http.response import ResponseHead
from wsgi_async.http.statuses import BODILESS
from wsgi_async.wsgi.calling import WSGIResponse
from wsgi_async.wsgi.client import StayingRequest
from wsgi_async.wsgi.file_wrapper import FileWrapper
from wsgi_async.wsgi.types import Application

__all__ = ["CGIHandler", "run_as_script", "variable"]

SMALL_BODY = 512 * 1024
"""Bytes up to which a request's body is read at once, so that ``wsgi.input`` is a BytesIO."""

# RFC 3875 §4.1, and what Apache, nginx, lighttpd and the standard library's server add. The rest of
# the environment is the machine's business; an application that wants it has os.environ.
_META_VARIABLES = re.compile(
    r"AUTH_TYPE|CONTENT_(?:LENGTH|TYPE)|DOCUMENT_ROOT|GATEWAY_INTERFACE|HTTPS|PATH_(?:INFO|TRANSLATED)"
    r"|QUERY_STRING|REMOTE_(?:ADDR|HOST|IDENT|PORT|USER)"
    r"|REQUEST_(?:METHOD|SCHEME|URI)|SCRIPT_(?:FILENAME|NAME)"
    r"|SERVER_(?:ADDR|ADMIN|NAME|PORT|PROTOCOL|SOFTWARE)"
    r"|UNIQUE_ID|(?:HTTP|SSL|REDIRECT)_\w+"
)
_DEFAULTS = {
    "GATEWAY_INTERFACE": "CGI/1.1",
    "REQUEST_METHOD": "GET",
    "SCRIPT_NAME": "",
    "PATH_INFO": "",
    "QUERY_STRING": "",
    "SERVER_NAME": "localhost",
    "SERVER_PORT": "80",
    "SERVER_PROTOCOL": "HTTP/1.0",
    "SERVER_SOFTWARE": f"wsgi_async/{__version__}",
}
"""What PEP 3333 wants to be there also where the script is started from a shell."""


class CGIHandler:
    """Answers the one request of this process.

    :param stdin: where the body comes from; None for the process's standard input.
    :param stdout: where the response goes; None for its standard output.
    :param stderr: ``wsgi.errors``, and where tracebacks go; None for its standard error.
    :param environ: the meta-variables; None for the process's environment.
    """

    def __init__(
        self,
        stdin: BinaryIO | None = None,
        stdout: BinaryIO | None = None,
        stderr: TextIO | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._stdin = sys.stdin.buffer if stdin is None else stdin
        self._stdout = sys.stdout.buffer if stdout is None else stdout
        self._stderr = sys.stderr if stderr is None else stderr
        self._reporter = _Reporter(self._stderr)
        self._variables = os.environ if environ is None else environ

    def run(self, application: Application) -> None:
        """Call `application`, and write its response (RFC 3875 §6).

        An error of the application is a traceback on `stderr`, and a page with status 500 unless
        the response has begun. A body that its client did not send whole is a 400.
        """
        environ = _meta_variables(self._variables)
        output = _Output(self._stdout)
        body = self._body(environ)
        if body is None:
            output.refuse(HTTPStatus.BAD_REQUEST)
            return
        https = environ.get("HTTPS", "").lower() in ("on", "1", "yes")
        values: dict[str, Any] = {
            **environ,
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "https" if https else "http",
            "wsgi.input": body,
            "wsgi.errors": self._stderr,
            "wsgi.multithread": False,
            "wsgi.multiprocess": True,
            "wsgi.run_once": True,
            "wsgi.input_terminated": True,
            "wsgi.file_wrapper": FileWrapper,
            "wsgi_async.threads": 1,
        }
        head_only = environ["REQUEST_METHOD"] == "HEAD"
        response = WSGIResponse(application, output, self._reporter, head_only)
        values["wsgi_async.client"] = response
        response.begin(values)
        self._stderr.flush()

    def _body(self, environ: dict[str, str]) -> BinaryIO | None:
        """``wsgi.input``, which never reads beyond the body (RFC 3875 §4.2); None where the length
        is no number, or less than that comes."""
        text = environ.get("CONTENT_LENGTH", "")
        if not re.fullmatch(r"[0-9]{0,19}", text):
            self._reporter.app_error(f"CONTENT_LENGTH is no number: {text!r}", None)
            return None
        size = int(text or 0)
        if size > SMALL_BODY:
            return io.BufferedReader(_Body(self._stdin, size))
        data = self._stdin.read(size) if size else b""
        if len(data) < size:
            self._reporter.app_error(f"the body has {len(data)} bytes, not {size}", None)
            return None
        return io.BytesIO(data)


def run_as_script(application: Application) -> NoReturn:
    """Answer the one request of this process, and end it.

    :raises SystemExit: always, with code 0.
    """
    CGIHandler().run(application)
    raise SystemExit(0)


def variable(name: str) -> str | None:
    """A variable of the process's environment, where a front server has put it; None without it."""
    return os.environ.get(name)


def _meta_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """Those of `variables` that tell of the request, as native strings: their bytes read as
    latin-1 (PEP 3333, "Unicode Issues")."""
    found = {
        name: os.fsencode(value).decode("latin-1")
        for name, value in variables.items()
        if _META_VARIABLES.fullmatch(name)
    }
    # The server need not set an empty one, and PEP 3333 wants these never empty.
    for name in ("SERVER_NAME", "SERVER_PORT"):
        if not found.get(name):
            found.pop(name, None)
    return _DEFAULTS | found


class _Body(io.RawIOBase):
    """The first `size` bytes of a stream.

    :raises EOFError: from a read, where the stream ends before.
    """

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream = stream
        self._left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        wanted = min(len(buffer), self._left)
        if not wanted:
            return 0
        data = self._stream.read(wanted)
        if not data:
            raise EOFError(f"{self._left} bytes of the request's body are missing")
        buffer[: len(data)] = data
        self._left -= len(data)
        return len(data)


class _Reporter(StayingRequest):
    """Tells on a stream what went wrong; see ``wsgi.outside.Reporter``."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream

    def app_error(self, message: str, error: BaseException | None) -> None:
        print(f"wsgi_async: {message}", file=self._stream)
        if error is not None:
            traceback.print_exception(error, file=self._stream)

    def app_warning(self, topic: str, message: str) -> None:
        print(f"wsgi_async: {message}", file=self._stream)


class _Output:
    """The response as a CGI script gives it; see ``wsgi.outside.Writer``. Each chunk is flushed."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def refuse(self, status: HTTPStatus) -> None:
        body = f"{status.value} {status.phrase}\n".encode()
        fields = (("Content-Type", "text/plain; charset=utf-8"),)
        self.respond(ResponseHead(status.value, status.phrase, fields), body, len(body))

    def respond(self, head: ResponseHead, body: bytes, length: int | None) -> None:
        self.start(head, length)
        self.write(body)

    def start(self, head: ResponseHead, length: int | None) -> _Output:
        # RFC 3875 §6.3.3: "Status: 200 OK" in the place of the status line, and none beside it.
        own = [(name, value) for name, value in head.fields if name.lower() != "status"]
        fields = [("Status", f"{head.status} {head.reason}"), *own]
        if length is not None and head.status not in BODILESS:
            fields.append(("Content-Length", str(length)))
        lines = "".join([f"{name}: {value}\r\n" for name, value in fields])
        self._stream.write(f"{lines}\r\n".encode("latin-1"))
        self._stream.flush()
        return self

    def write(self, data: bytes) -> bool:
        if data:
            self._stream.write(data)
            self._stream.flush()
        return True

    def write_and_wait(self, data: bytes) -> None:
        self.write(data)

    def write_last(self, data: bytes) -> None:
        self.write(data)

    def send_file(self, head: ResponseHead, descriptor: int, offset: int, count: int) -> bool:
        return False  # have it iterated

    def send_interim(self, head: ResponseHead, size: int) -> bool:
        return True  # CGI has none, and the environ no callable for it

    def step_through(self, body: Any) -> Iterable[bytes]:
        from wsgi_async.realtime.bridge import step_through  # a loop that nobody else needs

        return step_through(body)

    def go_live(self) -> bool:
        return True

    def finish(self) -> None:
        self._stream.flush()

    def cut(self) -> None:
        self._stream.flush()

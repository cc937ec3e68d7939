"""A WSGI server without a socket, for middleware: the package's own PEP 3333 side, and a writer
that notes in one list what the server sends and what the application does."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextvars import Context
from typing import Any
from wsgiref.util import setup_testing_defaults

from wsgi_async.errors import ClientDisconnected
from wsgi_async.http.response import ResponseHead
from wsgi_async.wsgi.calling import Step, WSGIResponse
from wsgi_async.wsgi.file_wrapper import FileWrapper

__all__ = ["TEXT", "Reply", "ask", "environ_of"]

TEXT = [("Content-Type", "text/plain")]
App = Callable[..., Any]


def environ_of(path: str = "/", method: str = "GET", **variables: Any) -> dict[str, Any]:
    """A complete environ; `variables` by their names, ``wsgi_async.threads`` as ``threads``."""
    path, _, query = path.partition("?")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "SCRIPT_NAME": "",
        "QUERY_STRING": query,
        "REMOTE_ADDR": "192.0.2.7",
        "HTTP_HOST": "site.example",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.file_wrapper": FileWrapper,
        "wsgi_async.threads": variables.pop("threads", 4),
        **variables,
    }
    setup_testing_defaults(environ)
    return environ


class Reply:
    """What became of one request; the writer of its response, and who is told of errors.

    :param events: where "sent" is noted; the application may note what it does there as well.
    :param leaves: whether the client has gone when the second chunk is written.
    """

    def __init__(self, events: list[str] | None = None, *, leaves: bool = False) -> None:
        self.events: list[str] = [] if events is None else events
        self.head: ResponseHead | None = None
        self.length: int | None = None
        self.chunks: list[bytes] = []
        self.calls: list[str] = []
        self.end = ""
        self.reports: list[tuple[str, BaseException | None]] = []
        self._leaves = leaves

    @property
    def status(self) -> int:
        assert self.head is not None
        return self.head.status

    @property
    def fields(self) -> list[tuple[str, str]]:
        assert self.head is not None
        return list(self.head.fields)

    def field(self, name: str) -> str:
        """The values of a field, joined; empty where there is none."""
        return ", ".join(value for key, value in self.fields if key.lower() == name.lower())

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    # --- the writer

    def _note(self, call: str, data: bytes = b"") -> None:
        assert not self.end, f"{call} after the end"
        self.calls.append(call)
        if data:
            if self._leaves and self.chunks:
                raise ClientDisconnected("the client has gone")
            self.chunks.append(data)
            self.events.append(f"sent {data.decode('latin-1')}")

    def respond(self, head: ResponseHead, body: bytes, length: int | None) -> None:
        self._note("respond", body)
        self.head, self.length, self.end = head, length, "finished"

    def start(self, head: ResponseHead, length: int | None) -> Reply:
        self._note("start")
        self.head, self.length = head, length
        return self

    def write(self, data: bytes) -> bool:
        self._note("write", data)
        return True

    def write_and_wait(self, data: bytes) -> None:
        self._note("write_and_wait", data)

    def write_last(self, data: bytes) -> None:
        self._note("write_last", data)
        self.end = "finished"

    def send_file(self, head: ResponseHead, descriptor: int, offset: int, count: int) -> bool:
        self._note("send_file", os.pread(descriptor, count, offset))
        self.head, self.length, self.end = head, count, "finished"
        return True

    def send_interim(self, head: ResponseHead, size: int) -> bool:
        raise AssertionError("nobody has asked for early hints")

    def go_live(self) -> bool:
        return True

    def step_through(self, body: object) -> None:
        """It is awaited."""

    def finish(self) -> None:
        self._note("finish")
        self.end = "finished"

    def cut(self) -> None:
        if not self.end:
            self.end = "cut"

    def app_error(self, message: str, error: BaseException | None) -> None:
        self.reports.append((message, error))


def ask(
    application: App,
    environ: dict[str, Any] | None = None,
    *,
    events: list[str] | None = None,
    leaves: bool = False,
) -> Reply:
    """One request, served to its end as a thread of the pool does it."""
    environ = environ_of() if environ is None else environ
    reply = Reply(events, leaves=leaves)
    response = WSGIResponse(application, reply, reply, environ["REQUEST_METHOD"] == "HEAD")
    assert Context().run(response.begin, environ) is Step.DONE
    return reply


def stream(*chunks: bytes) -> Callable[..., Iterator[bytes]]:
    """An application that makes those chunks one by one."""

    def application(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", TEXT)
        yield from chunks

    return application

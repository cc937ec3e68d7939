"""An application called as on a pool thread, and what a recording writer was told."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from wsgiref.util import setup_testing_defaults

from wsgi_async.errors import ClientDisconnected
from wsgi_async.http.response import ResponseHead
from wsgi_async.wsgi.calling import Step, WSGIResponse
from wsgi_async.wsgi.file_wrapper import FileWrapper

TEXT = [("Content-Type", "text/plain")]


App = Callable[..., Any]


class Recorder:
    """A writer that keeps what it gets, and what it should never have got.

    :param parks: whether each ``write`` asks for the iteration to be suspended.
    :param leaves_after: writes after which the client is gone.
    :param files: whether it has room for another open file.
    :param hints: whether it has room for early hints.
    """

    def __init__(
        self,
        *,
        parks: bool = False,
        leaves_after: int | None = None,
        files: bool = True,
        hints: bool = True,
    ) -> None:
        self.parks = parks
        self.leaves_after = leaves_after
        self.files = files
        self.hints = hints
        self.head: ResponseHead | None = None
        self.length: int | None = None
        self.body = b""
        self.calls: list[str] = []
        self.end: str | None = None
        self.violations: list[str] = []
        self.interim: list[tuple[ResponseHead, int]] = []

    def _note(self, call: str, data: bytes = b"") -> None:
        if self.end is not None:
            self.violations.append(f"{call} after the end")
        elif call in ("write", "write_and_wait", "write_last"):
            if self.head is None:
                self.violations.append(f"{call} before the head")
            if not isinstance(data, bytes) or not data:
                self.violations.append(f"{call} of {data!r}")
        self.calls.append(call)
        self.body += data

    def respond(self, head: ResponseHead, body: bytes, length: int | None) -> None:
        self._note("respond", body)
        self._take_head(head, length)
        self.end = "finished"

    def start(self, head: ResponseHead, length: int | None) -> Recorder:
        self._note("start")
        self._take_head(head, length)
        return self

    def _take_head(self, head: ResponseHead, length: int | None) -> None:
        if self.head is not None:
            self.violations.append("a second head")
        self.head = head
        self.length = length

    def write(self, data: bytes) -> bool:
        self._leave()
        self._note("write", data)
        return not self.parks

    def write_and_wait(self, data: bytes) -> None:
        self._leave()
        self._note("write_and_wait", data)

    def _leave(self) -> None:
        if self.leaves_after is not None:
            self.leaves_after -= 1
            if self.leaves_after < 0:
                raise ClientDisconnected("the client has gone")

    def write_last(self, data: bytes) -> None:
        self._note("write_last", data)
        self.end = "finished"

    def send_file(self, head: ResponseHead, descriptor: int, offset: int, count: int) -> bool:
        if not self.files:
            return False
        self._note("send_file", os.pread(descriptor, count, offset))
        self._take_head(head, count)
        self.end = "finished"
        return True

    def send_interim(self, head: ResponseHead, size: int) -> bool:
        if self.head is not None:
            self.violations.append("an interim response after the head")
        if self.hints:
            self.interim.append((head, size))
        return self.hints

    def go_live(self) -> bool:
        return True

    def step_through(self, body: object) -> None:
        """It is awaited."""

    def finish(self) -> None:
        self._note("finish")
        self.end = "finished"

    def cut(self) -> None:
        if self.end is None:
            self.end = "cut"


class Reports(list[tuple[str, BaseException | None]]):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.warnings: list[tuple[str, str]] = []

    def app_error(self, message: str, error: BaseException | None) -> None:
        self.append((message, error))

    def app_warning(self, topic: str, message: str) -> None:
        self.warnings.append((topic, message))


class Outcome(NamedTuple):
    """What became of one call of an application."""

    status: int | None
    fields: tuple[tuple[str, str], ...]
    length: int | None
    body: bytes
    end: str | None
    reports: Reports
    writer: Recorder
    parked: int

    @property
    def messages(self) -> list[str]:
        return [message for message, _ in self.reports]


def make_environ(method: str = "GET") -> dict[str, Any]:
    environ: dict[str, Any] = {"REQUEST_METHOD": method, "wsgi.file_wrapper": FileWrapper}
    setup_testing_defaults(environ)
    environ["QUERY_STRING"] = ""
    return environ


def call(application: App, method: str = "GET", writer: Recorder | None = None) -> Outcome:
    """Run an application to the end of its response."""
    writer = writer or Recorder()
    reports = Reports()
    response = WSGIResponse(application, writer, reports, method == "HEAD")
    parked = 0
    step = response.begin(make_environ(method))
    while step is Step.PARKED:
        parked += 1
        step = response.advance()
    assert writer.violations == []
    for message in (message for message, _ in reports):
        assert "\n" not in message
    head = writer.head
    return Outcome(
        head.status if head else None,
        head.fields if head else (),
        writer.length,
        writer.body,
        writer.end,
        reports,
        writer,
        parked,
    )


class Body:
    """An application's iterable that counts its ``close`` and can fail wherever it is told to."""

    def __init__(self, *chunks: Any, fails_in: str = "", error: BaseException | None = None):
        self.chunks = iter(chunks)
        self.fails_in = fails_in
        self.error = error or RuntimeError("boom")
        self.closed = 0
        self.taken = 0

    def __iter__(self) -> Iterator[Any]:
        if self.fails_in == "iter":
            raise self.error
        return self

    def __next__(self) -> Any:
        if self.fails_in == "next":
            raise self.error
        chunk = next(self.chunks, None)
        if chunk is None:
            if self.fails_in == "end":
                raise self.error
            raise StopIteration
        self.taken += 1
        return chunk

    def close(self) -> None:
        self.closed += 1
        if self.fails_in == "close":
            raise self.error


def returning(result: Any, status: str = "200 OK", headers: Any = TEXT) -> App:
    """An application that starts a response and returns `result`."""

    def application(environ: Any, start_response: Any) -> Any:
        start_response(status, headers)
        return result

    return application


def writing(*chunks: bytes, then: Any = (), headers: Any = TEXT, status: str = "200 OK") -> App:
    """An application that uses the legacy ``write()`` callable."""

    def application(environ: Any, start_response: Any) -> Any:
        write = start_response(status, headers)
        for chunk in chunks:
            write(chunk)
        return then

    return application


def with_length(length: object) -> list[tuple[str, str]]:
    return [*TEXT, ("Content-Length", str(length))]


class LateClass:
    """PEP 3333's own example of a class as application: start_response comes in ``__iter__``."""

    def __init__(self, environ: Any, start_response: Any) -> None:
        self.start_response = start_response

    def __iter__(self) -> Iterator[bytes]:
        self.start_response("201 Created", TEXT)
        yield b"late"


DATA = bytes(range(256)) * 40


def wrapping(make: Callable[[], Any], headers: Any = TEXT, status: str = "200 OK") -> App:
    def application(environ: Any, start_response: Any) -> Any:
        start_response(status, headers)
        return environ["wsgi.file_wrapper"](make(), 1000)

    return application

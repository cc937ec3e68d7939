"""What a response knows of the outside: where its bytes go, who is told, what a step came to."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from typing import Any, NoReturn, Protocol

from wsgi_async.errors import ClientDisconnected
from wsgi_async.http.response import ResponseHead
from wsgi_async.system.forks import leave

from .client import ClientRequest
from .client_watch import Watch

__all__ = ["ForkedReporter", "Nowhere", "Pipe", "Reporter", "Step", "Writer"]


class Step(enum.Enum):
    """Where an exchange stands after its thread has done a step."""

    DONE = "finished, its iterable closed"
    PARKED = "suspended until the client has taken what waits"
    LIVE = "its body is asynchronous: it is to be awaited, and holds no thread"


class Pipe(Protocol):
    """Where chunks go. See ``threads.ResponsePipe``, which documents each method."""

    def write(self, data: bytes) -> bool: ...
    def write_and_wait(self, data: bytes) -> None: ...
    def write_last(self, data: bytes) -> None: ...
    def finish(self) -> None: ...
    def go_live(self) -> bool: ...


class Writer(Protocol):
    """Where a response goes. See ``threads.ResponseWriter``, which documents each method."""

    def respond(self, head: ResponseHead, body: bytes, length: int | None) -> None: ...
    def start(self, head: ResponseHead, length: int | None) -> Pipe: ...
    def send_file(self, head: ResponseHead, descriptor: int, offset: int, count: int) -> bool: ...
    def send_interim(self, head: ResponseHead, size: int) -> bool: ...
    def step_through(self, body: Any) -> Iterable[bytes] | None: ...
    def cut(self) -> None: ...


class Nowhere:
    """Takes no chunks: the response is not to have any, or was sent at once. An application may
    keep ``write()`` and call it when all is over."""

    def write(self, data: bytes) -> NoReturn:
        raise ClientDisconnected("the response is complete")

    write_and_wait = write_last = write

    def finish(self) -> None:
        pass

    def go_live(self) -> bool:
        return True


class Reporter(ClientRequest, Protocol):
    """Told what the application did wrong, and asked for its client. An object, for a method of one
    would be bound anew in each request."""

    def app_error(self, message: str, error: BaseException | None) -> None:
        """*Pool thread:* one line, and the exception where there is one."""

    def app_warning(self, topic: str, message: str) -> None:
        """*Pool thread:* one line on what was mended; once for each `topic` is enough."""


class ForkedReporter:
    """The reporter in a process that the application has forked: an error ends it there.

    :param reporter: that of the response.
    """

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter

    def app_error(self, message: str, error: BaseException | None) -> None:
        if not isinstance(error, SystemExit):
            self._reporter.app_error(message, error)
        if error is not None:
            leave(error if isinstance(error, SystemExit) else SystemExit(1))

    def app_warning(self, topic: str, message: str) -> None:
        """Nothing is sent."""

    @property
    def client_gone(self) -> bool:
        return True

    def watch(self) -> Watch:
        return self._reporter.watch()  # it has been told

    @property
    def is_given_up(self) -> bool:
        return False

    def call_soon(self, function: Callable[[], object]) -> None:
        """Nothing is called."""

    def callback_failed(self, error: BaseException) -> None:
        self._reporter.callback_failed(error)

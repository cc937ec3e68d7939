"""A response's way out: application to writer, writer to loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import cycle, repeat
from typing import Any

from wsgi_async.config.options import Config
from wsgi_async.http.response import ResponseHead
from wsgi_async.http1.framing import HTTP1Framer
from wsgi_async.threads import Mailbox, Producer, ResponseWriter
from wsgi_async.wsgi.calling import Step, WSGIResponse
from wsgi_async.wsgi.checks import check_head

from .benchmark import Opened, WrongResult
from .heads import DISTINCT, hello
from .inside import BODY, Loop, bounds, budgets_of, raising
from .reading import environ_of

__all__ = ["PIECES", "open_cookie", "open_response", "open_wsgi", "stream"]

PIECES = [b"x" * 10] * 10


class _Sheet:
    """A writer that takes note of the last response, and is told of no error."""

    def __init__(self) -> None:
        self.head: ResponseHead | None = None
        self.body = b""
        self.pieces = 0
        self.is_finished = False

    def respond(self, head: ResponseHead, body: bytes, length: int | None) -> None:
        self.head, self.body, self.is_finished = head, body, True

    def start(self, head: ResponseHead, length: int | None) -> _Sheet:
        self.head, self.pieces, self.is_finished = head, 0, False
        return self

    def write(self, data: bytes) -> bool:
        self.pieces += 1
        return True

    def write_and_wait(self, data: bytes) -> None:
        self.pieces += 1

    def write_last(self, data: bytes) -> None:
        self.pieces += 1
        self.is_finished = True

    def send_file(self, head: ResponseHead, descriptor: int, offset: int, count: int) -> bool:
        return False

    def send_interim(self, head: ResponseHead, size: int) -> bool:
        raise WrongResult("nobody has asked for early hints")

    def go_live(self) -> bool:
        return True

    def step_through(self, body: object) -> None:
        """It is awaited."""

    def finish(self) -> None:
        self.is_finished = True

    def cut(self) -> None:
        raise WrongResult("a response was cut")

    def app_error(self, message: str, error: BaseException | None) -> None:
        raise WrongResult(message) from error


def stream(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterator[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return iter(PIECES)


def open_wsgi(application: Any, pieces: int, stack: ExitStack) -> Opened:
    environ, sheet = environ_of(next(hello())), _Sheet()

    def run(count: int) -> object:
        for _ in repeat(None, count):
            step = WSGIResponse(application, sheet, sheet, False).begin(environ)
        return step

    def check(step: object) -> bool:
        return (
            step is Step.DONE
            and sheet.is_finished
            and sheet.head is not None
            and sheet.head.status == 200
            and (sheet.pieces == pieces if pieces else sheet.body == BODY)
        )

    return Opened(run, check)


def open_cookie(stack: ExitStack) -> Opened:
    """A head that nobody remembers, as a session makes it: judged, then framed."""
    fields = [
        ("Content-Type", "text/html; charset=utf-8"),
        ("Content-Length", str(len(BODY))),
        ("Vary", "Cookie"),
        ("X-Frame-Options", "DENY"),
        ("X-Content-Type-Options", "nosniff"),
    ]
    sessions = [
        f"session={number * 2654435761:032x}.{number * 40503:016x}; HttpOnly; Path=/; SameSite=Lax"
        for number in range(DISTINCT)
    ]
    answers = cycle([[*fields, ("Set-Cookie", session)] for session in sessions])
    framer = HTTP1Framer("wsgi_async")
    framer.set_date("Sun, 06 Nov 1994 08:49:37 GMT")

    def run(count: int) -> object:
        for _ in repeat(None, count):
            head, _dropped = check_head("200 OK", next(answers))
            framed = framer[head, head.content_length, "GET", "HTTP/1.1", True]
        return framed.data

    def check(data: object) -> bool:
        assert isinstance(data, bytes)
        lines = data.split(b"\r\n")
        return len(lines) == 11 and lines[7].startswith(b"Set-Cookie: session=")

    return Opened(run, check)


class _Owner:
    """The loop's side of a response: takes what there is when it is woken."""

    writer: ResponseWriter
    taken: tuple[ResponseHead | None, bytes, bool] | None = None

    def on_wake(self) -> None:
        whole, pipe = self.writer.whole, self.writer.pipe
        if whole is not None:
            self.taken = whole[0], whole[1], True
        elif pipe is not None:
            chunks, end = pipe.take()
            pipe.settle(0, writable=True)
            pipe.release()
            self.taken = pipe.head, b"".join(chunks), end is Producer.FINISHED


def open_response(pieces: list[bytes], stack: ExitStack) -> Opened:
    """Of a whole response where there are no pieces, else of one that is written piece by piece."""
    config = Config()
    shared = bounds(budgets_of(config), config)
    loop = Loop()
    mailbox = Mailbox(loop.call_soon_threadsafe, raising)
    head = ResponseHead(200, "OK", (("Content-Type", "text/plain"),))
    owner = _Owner()
    run_pending = loop.run_pending

    def respond(count: int) -> object:
        for _ in repeat(None, count):
            writer = owner.writer = ResponseWriter(shared, mailbox, owner)
            writer.respond(head, BODY, len(BODY))
            run_pending()
        return owner.taken

    def write(count: int) -> object:
        for _ in repeat(None, count):
            writer = owner.writer = ResponseWriter(shared, mailbox, owner)
            pipe = writer.start(head, None)
            for piece in pieces:
                pipe.write(piece)
            pipe.finish()
            run_pending()
        return owner.taken

    def check(taken: object) -> bool:
        return taken == (head, b"".join(pieces) or BODY, True)

    return Opened(write if pieces else respond, check)

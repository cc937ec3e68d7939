"""The handlers that write the logs of this package, and how those of the application are called
beside them."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import traceback
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

from wsgi_async.system.files import append

from .formatters import FORMATS, LogFormat
from .sinks import Sink
from .thread import LogWriter

__all__ = [
    "LOST",
    "FormattedLines",
    "Handler",
    "OwnHandler",
    "WatchedHandler",
    "access_logger",
    "app_logger",
    "call_handlers",
    "captures_stderr",
    "forget_stderr",
    "logger",
    "put_own",
    "remember_stderr",
    "renew_stderr",
    "writer",
]

logger = logging.getLogger("wsgi_async")
access_logger = logging.getLogger("wsgi_async.access")
app_logger = logging.getLogger("wsgi_async.application")


def _tell(count: int, name: str, why: str) -> None:
    """*Any thread:* records of the log with this name were dropped."""
    what = f"1 line of the {name} was" if count == 1 else f"{count} lines of the {name} were"
    logger.error("%s dropped: %s", what, why, extra={LOST: name})


LOST = "_wsgi_async_lost"
"""The attribute of a record that says which log has lost lines."""


writer = LogWriter(_tell)
"""Who writes the logs of this process."""


# --- Ours


class OwnHandler(logging.Handler):
    """Has records formatted where they are made, and written by :data:`writer`: it waits for
    nobody, and may be called by who logs.

    The application's ``logging.config``, which closes all handlers, leaves it as it is.
    """

    def handle(self, record: logging.LogRecord) -> bool:
        if _IS_WRITTEN in vars(record):
            return False
        # Without a handler's lock: formatting needs none, and writing has its own.
        kept: Any = self.filter(record)
        if kept:
            self.emit(kept if isinstance(kept, logging.LogRecord) else record)
        return bool(kept)

    def handleError(self, record: logging.LogRecord) -> None:
        # logging's own writes to sys.stderr, and waits where that takes nothing.
        if logging.raiseExceptions:
            with contextlib.suppress(Exception):
                message = f"{record.msg!r}, logged in {record.pathname}:{record.lineno}"
                put_own([f"Cannot format {message}", *traceback.format_exc().splitlines()])


class Handler(OwnHandler):
    """That of a sink.

    :param origin: the option, and the absolute path or the stream.
    """

    def __init__(self, sink: Sink, origin: tuple[str, object], encoding: str) -> None:
        super().__init__()
        self.sink = sink
        self.origin = origin
        self.encoding = encoding
        writer.add(sink)

    @property
    def path(self) -> str:
        """The file's; empty for a standard stream."""
        return self.origin[1] if isinstance(self.origin[1], str) else ""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record) + "\n"
            writer.put(self.sink, text.encode(self.encoding, "backslashreplace"))
        except Exception:
            self.handleError(record)

    def renew(self) -> None:
        """Open the log again where the application has closed its descriptor."""
        try:
            others = [append(self.path)] if self.path else []
        except OSError:
            others = []
        self.sink.renew((*others, 2, 1))
        for other in others:
            os.close(other)

    def discard(self) -> None:
        """Close the descriptor."""
        writer.discard(self.sink)


class WatchedHandler(Handler):
    """One that goes on in another file as soon as that has the path, as
    :class:`logging.handlers.WatchedFileHandler` does."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            found = os.stat(self.path)
            is_same = self.sink.identity == (found.st_dev, found.st_ino)
        except FileNotFoundError:
            is_same = False
        except OSError:
            is_same = True
        if not is_same:
            with contextlib.suppress(OSError):  # the old one stays in use
                writer.switch(self.sink, append(self.path))
        super().emit(record)


# --- Standard error


def remember_stderr(errors: logging.Handler, log_format: LogFormat) -> None:
    """For what the application logs there: where the error log is it too, the lines of both are in
    the order in which they were made.

    :param log_format: that of its lines.
    """
    global _stderr, _format
    _format = log_format
    if isinstance(errors, Handler) and not errors.path:
        _stderr = errors.sink
    elif _stderr is None or not any(_stderr is sink for sink in _own_sinks):
        try:
            _stderr = Sink(os.dup(2), "log on standard error")
        except OSError:  # closed
            _stderr = None
            return
        _own_sinks.append(_stderr)
        writer.add(_stderr)


_stderr: Sink | None = None
_format = FORMATS["text"]
_own_sinks: list[Sink] = []
"""What is open of it beside the logs."""


def renew_stderr() -> None:
    """Open it again where the application has closed its descriptor."""
    for sink in _own_sinks:
        sink.renew((2,))


def forget_stderr() -> None:
    """Undo :func:`remember_stderr`."""
    global _stderr, _format
    _stderr, _format = None, FORMATS["text"]
    while _own_sinks:
        writer.discard(_own_sinks.pop())


def put_own(lines: Iterable[str], request_id: str = "") -> bool:
    """*Any thread:* write lines of the application's own text to the standard error that
    :func:`remember_stderr` has, as those of the logs are written: escaped, or each as an object.
    False where it has found none, and nothing is done.

    :param lines: without their ends; perhaps none.
    :param request_id: the id of the request that they are about, or an empty string.
    """
    if _stderr is None:
        return False
    if text := "".join(f"{_format.own(line, request_id)}\n" for line in lines):
        writer.put(_stderr, text.encode("utf-8", "backslashreplace"))
    return True


class FormattedLines(io.TextIOBase):
    """Stands for standard error, for a handler whose lines are to be there as it formats them."""

    def write(self, text: str) -> int:
        if _stderr is not None and text:
            writer.put(_stderr, text.encode("utf-8", "backslashreplace"))
        return len(text)

    def writable(self) -> bool:
        return True


def captures_stderr() -> bool:
    """Whether what is printed to ``sys.stderr`` is to come here too."""
    return _stderr is not None and _format.captures


# --- The application's


def call_handlers(target: logging.Logger, record: logging.LogRecord) -> None:
    """In the place of :meth:`logging.Logger.callHandlers`."""
    # Not logging's own: programs that watch logs replace the method of the class.
    call = type(target).callHandlers
    if _has_only_ours(target) or not writer.calls_elsewhere:
        call(target, record)
        return
    # Ours now: their lines wait for no handler of another's.
    for handler in _handlers_of(target):
        if isinstance(handler, OwnHandler) and record.levelno >= handler.level:
            handler.handle(record)
    _complete(record)
    vars(record)[_IS_WRITTEN] = True
    writer.call(partial(call, target, record))


_IS_WRITTEN = "_wsgi_async_is_written"
"""The attribute of a record that our handlers have had already."""


def _handlers_of(target: logging.Logger) -> Iterator[logging.Handler]:
    current: logging.Logger | None = target
    while current is not None:
        yield from current.handlers
        current = current.parent if current.propagate else None


def _has_only_ours(target: logging.Logger) -> bool:
    return all(isinstance(handler, _OURS) for handler in _handlers_of(target))


_OURS = (OwnHandler, logging.NullHandler)
"""They wait for nobody, and may be called by who logs."""

_PLAIN = {bool, float, int, str, type(None)}


def _complete(record: logging.LogRecord) -> None:
    """Let a record refer to nothing that may change before it is written, or that should not live
    so long: the frames of a traceback, and all that is in them."""
    args = record.args
    if args and not (isinstance(args, tuple) and _PLAIN.issuperset(map(type, args))):
        record.msg, record.args = record.getMessage(), None
    if record.exc_info:
        record.exc_text = record.exc_text or _plain.formatException(record.exc_info)
        record.exc_info = None


_plain = logging.Formatter()

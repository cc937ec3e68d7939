"""What an application logs to standard error, by :mod:`logging`: line by line, escaped, with the id
of the request it is about, and without a wait for who reads it.

Only handlers of logging's are had to write here. ``sys.stderr`` itself is left alone, as who prints
to it may want it as it is; but with ``--log-format json`` it is taken as well, for whoever reads
the log there expects an object in each line. What is written past it, to the descriptor, stays.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, TextIO

from .setup import captures_stderr, put_own

__all__ = ["adopt_stderr", "capture_stderr", "finish_stderr"]

LINE_LIMIT = 64 * 1024
"""Characters of a printed line that has not ended; a longer one is passed on in parts."""


class _Lines(io.TextIOBase):
    """Stands for standard error. Each write is one record of a handler.

    :param stream: for which it stands.
    :param request_id: the id of the request that the calling thread runs, or an empty string.
    """

    def __init__(self, stream: TextIO, request_id: Callable[[], str]) -> None:
        self.stream = stream
        self._request_id = request_id

    def write(self, text: str) -> int:
        put_own(text.removesuffix("\n").split("\n"), self._request_id())
        return len(text)

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self.stream.encoding

    def fileno(self) -> int:
        return self.stream.fileno()

    def isatty(self) -> bool:
        return self.stream.isatty()

    def writable(self) -> bool:
        return True


class _Printed(_Lines):
    """Is ``sys.stderr``: a line may come in many parts, those of several threads at once."""

    def __init__(self, stream: TextIO, request_id: Callable[[], str]) -> None:
        super().__init__(stream, request_id)
        # By thread: the request that a line which has not ended is about, and the line. A thread
        # touches its own only, and of a dict one call at a time is made.
        self._unfinished: dict[int, tuple[str, str]] = {}

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        thread, request_id = threading.get_ident(), self._request_id()
        about, before = self._unfinished.pop(thread, (request_id, ""))
        if about != request_id:  # a thread of the pool has gone on to another request
            put_own([before], about)
            before = ""
        *lines, rest = (before + text).split("\n")
        if len(rest) > LINE_LIMIT:
            lines.append(rest)
        elif rest:
            self._unfinished[thread] = (request_id, rest)
        put_own(lines, request_id)
        return len(text)

    def flush(self) -> None:
        self._finish(threading.get_ident())

    def finish(self) -> None:
        """*Any thread:* pass on what has not ended."""
        for thread in list(self._unfinished):
            self._finish(thread)

    def _finish(self, thread: int) -> None:
        if unfinished := self._unfinished.pop(thread, None):
            about, line = unfinished
            put_own([line], about)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)  # such as `buffer`


def capture_stderr(request_id: Callable[[], str]) -> None:
    """*Main thread:* before an application is loaded, take what will be printed to ``sys.stderr``,
    where the log's format asks for that. Nothing in a stream that is no descriptor.

    :param request_id: see :class:`_Lines`. *Any thread.*
    """
    stream = sys.stderr
    if captures_stderr() and isinstance(stream, io.TextIOWrapper) and stream is sys.__stderr__:
        sys.stderr = _Printed(stream, request_id)
        atexit.register(finish_stderr)


def finish_stderr() -> None:
    """*Any thread:* before this process ends, have lines written that were printed in part."""
    if isinstance(sys.stderr, _Printed):
        sys.stderr.finish()


class _Followed:
    """Stands for a proxy, such as Werkzeug's, which is standard error at times: Flask's handler
    writes to ``wsgi.errors`` in a request.

    :param resolve: what it is now.
    :param stream: standard error.
    :param lines: stands for that.
    """

    def __init__(self, resolve: Callable[[], Any], stream: TextIO, lines: _Lines) -> None:
        self._resolve = resolve
        self._stream = stream
        self._lines = lines

    def __getattr__(self, name: str) -> Any:
        current = self._resolve()
        return getattr(self._lines if current is self._stream else current, name)


def adopt_stderr(request_id: Callable[[], str]) -> None:
    """Take over the handlers that the application, which is loaded now, has for standard error, or
    will have, and the one that logging has for those without any. Nothing where
    :func:`configure` was not called, or in a stream that is no descriptor.

    :param request_id: see :class:`_Lines`. *Any thread.*
    """
    stream = sys.stderr
    if isinstance(stream, _Printed):
        stream = stream.stream
    if not isinstance(stream, io.TextIOWrapper) or stream is not sys.__stderr__ or stream.closed:
        return
    if not put_own(()):
        return
    lines = _Lines(stream, request_id)

    def adopt(handler: logging.Handler) -> None:
        if not isinstance(handler, logging.StreamHandler):
            return
        current = handler.stream
        if current is stream:
            other: Any = lines
        elif hasattr(current, "_get_current_object") and not isinstance(current, _Followed):
            other = _Followed(current._get_current_object, stream, lines)
        else:
            return
        with contextlib.suppress(AttributeError):  # a property, of a class of its own
            handler.setStream(other)

    for handler in _handlers():
        adopt(handler)
    last = logging.lastResort
    if isinstance(last, logging.StreamHandler) and last.stream is stream:
        logging.lastResort = logging.StreamHandler(lines)
        logging.lastResort.setLevel(last.level)
    # Others come later: with logging.warning(), which configures the root logger, in a view, in a
    # hook, behind a queue. All of them are given records here.
    handle = logging.Handler.handle

    def adopt_and_handle(self: logging.Handler, record: logging.LogRecord) -> bool:
        adopt(self)
        return handle(self, record)

    logging.Handler.handle = adopt_and_handle  # type: ignore[method-assign]


def _handlers() -> Iterator[logging.Handler]:
    yield from logging.root.handlers
    for target in list(logging.root.manager.loggerDict.values()):
        if isinstance(target, logging.Logger):
            yield from target.handlers

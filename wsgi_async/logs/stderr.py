"""What an application logs to standard error, by :mod:`logging`: line by line, escaped, with the id
of the request it is about, and without a wait for who reads it.

Only handlers of logging's are had to write here. ``sys.stderr`` itself is left alone: who prints
to it may want it as it is.
"""

from __future__ import annotations

import contextlib
import io
import logging
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any, TextIO

from .setup import put_stderr
from .text import one_line

__all__ = ["adopt_stderr"]

# SGR: it can neither move a cursor nor break a line, and loggers colour their levels with it.
_COLOUR = re.compile(r"(\x1b\[[0-9;]*m)")


class _Lines(io.TextIOBase):
    """Stands for standard error. Each write is one record of a handler.

    :param stream: for which it stands.
    :param request_id: the id of the request that the calling thread runs, or an empty string.
    """

    def __init__(self, stream: TextIO, request_id: Callable[[], str]) -> None:
        self._stream = stream
        self._request_id = request_id

    def write(self, text: str) -> int:
        name = self._request_id()
        lines = []
        for line in text.removesuffix("\n").split("\n"):
            # JSON is for a program, which takes nothing before it; the id would be a field of it.
            prefix = f"[{name}] " if name and not line.startswith("{") else ""
            lines.append(f"{prefix}{_escaped(line)}\n")
        put_stderr("".join(lines))
        return len(text)

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding

    def fileno(self) -> int:
        return self._stream.fileno()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def writable(self) -> bool:
        return True


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


def _escaped(line: str) -> str:
    if "\x1b" not in line:
        return one_line(line)
    parts = _COLOUR.split(line)
    return "".join(part if number % 2 else one_line(part) for number, part in enumerate(parts))


def adopt_stderr(request_id: Callable[[], str]) -> None:
    """Take over the handlers that the application, which is loaded now, has for standard error, or
    will have, and the one that logging has for those without any. Nothing where
    :func:`configure` was not called, or in a stream that is no descriptor.

    :param request_id: see :class:`_Lines`. *Any thread.*
    """
    stream = sys.stderr
    if not isinstance(stream, io.TextIOWrapper) or stream is not sys.__stderr__ or stream.closed:
        return
    if not put_stderr(""):
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

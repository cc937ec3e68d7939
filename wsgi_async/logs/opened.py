"""The logs that this process has open: handlers of files and of standard streams, each once."""

from __future__ import annotations

import io
import logging
import os
import stat
from collections.abc import Collection
from typing import TextIO

from wsgi_async.errors import ConfigError
from wsgi_async.system.files import append

from .handlers import Handler, WatchedHandler, logger, writer
from .sinks import Sink

__all__ = ["descriptors", "file_handler", "handler_of", "keep", "renew", "reopen", "stream_handler"]

_NAMES = {
    "--access-logfile": "access log",
    "--error-logfile": "error log",
    "--log-config": "log of --log-config",
    "--log-config sys.stderr": "log on standard error",
    "--log-config sys.stdout": "log on standard output",
}

_opened: list[Handler] = []
"""Those whose descriptors are open."""


def handler_of(name: str, stream: TextIO | None, flag: str) -> logging.Handler:
    """The handler of a log.

    :param name: a path, or ``-`` for
    :param stream: the standard one, which is None where the parent closed it.
    :param flag: the option that asks for it.
    :raises ConfigError: the file cannot be opened for appending.
    """
    return stream_handler(stream, flag) if name == "-" else file_handler(name, flag)


def file_handler(name: str, flag: str, *, is_watched: bool = False) -> Handler:
    """The handler of a file; see :func:`handler_of`.

    :param is_watched: whether it goes on in another file as soon as that has the path.
    """
    path = os.path.abspath(name)
    kind = WatchedHandler if is_watched else Handler
    for handler in _opened:
        if handler.origin == (flag, path) and type(handler) is kind:
            return handler
    try:
        # O_APPEND, and each record in one write(2) or with others in one: so several processes
        # share a file, and no record lands within another, of whatever size.
        descriptor = append(path)
    except OSError as error:
        raise ConfigError(f"{flag}: cannot write to {name!r}: {error.strerror}") from error
    return _open(descriptor, (flag, path), "utf-8", kind)


def stream_handler(stream: TextIO | None, flag: str) -> logging.Handler:
    """The handler of a standard stream; see :func:`handler_of`."""
    known = [handler for handler in _opened if handler.origin[0] == flag and not handler.path]
    for handler in known:
        if handler.origin[1] is stream:
            return handler
    try:
        # What an environment such as a notebook has put in its place names a descriptor, perhaps,
        # that is not where it writes to.
        if isinstance(stream, io.TextIOWrapper):
            descriptor = os.dup(stream.fileno())
            return _open(descriptor, (flag, stream), stream.encoding, Handler)
    except (OSError, ValueError):  # it has no descriptor, or is closed
        pass
    if stream is None or stream.closed:
        return known[0] if known else logging.NullHandler()
    return logging.StreamHandler(stream)


def _open(
    descriptor: int, origin: tuple[str, object], encoding: str, kind: type[Handler]
) -> Handler:
    sink = Sink(descriptor, _NAMES[origin[0]], tells=origin[0] != "--access-logfile")
    handler = kind(sink, origin, encoding)
    _opened.append(handler)
    return handler


def keep(handlers: Collection[logging.Handler]) -> None:
    """Close all others."""
    for old in [handler for handler in _opened if handler not in handlers]:
        _opened.remove(old)
        old.discard()


def renew() -> None:
    """Open those again whose descriptors somebody has closed, where that can be."""
    for handler in _opened:
        handler.renew()


def descriptors() -> list[int]:
    """The descriptors of the files, standard streams apart."""
    return [handler.sink.descriptor for handler in _opened if handler.path]


def reopen() -> None:
    """Go on in new files where logrotate has renamed the old ones. Any thread.

    A file that cannot be opened is a warning in the log, and its old one stays in use. Standard
    streams, pipes and devices are left as they are: nobody rotates them.
    """
    for handler in _opened:
        current = handler.sink.descriptor
        if not handler.path or not stat.S_ISREG(os.fstat(current).st_mode):
            continue
        try:
            new = append(handler.path)
        except OSError as error:
            logger.warning("Cannot reopen the log %r: %s", handler.path, error.strerror)
            continue
        writer.switch(handler.sink, new)

"""The package's loggers, and what a command line has them do.

=========================== ====================================================================
``wsgi_async``              all that the server and its middleware tell
``wsgi_async.access``       one line a request
``wsgi_async.application``  what an application writes to ``wsgi.errors``, line by line
=========================== ====================================================================

A server embedded in a program attaches no handler to them. :func:`configure` does, for a process
that is only a server; what the application then makes of these loggers while it is loaded holds:
see :func:`reclaim`.
"""

from __future__ import annotations

import atexit
import io
import logging
import os
import stat
import sys
from functools import partial
from typing import NamedTuple, TextIO

from wsgi_async.errors import ConfigError
from wsgi_async.system.files import append

from .handlers import (
    Formatter,
    Handler,
    access_logger,
    app_logger,
    call_handlers,
    forget_stderr,
    logger,
    put_stderr,
    remember_stderr,
    renew_stderr,
    writer,
)
from .sinks import Sink
from .thread import Mode

__all__ = [
    "Mode",
    "access_logger",
    "app_logger",
    "configure",
    "descriptors",
    "dropped",
    "error_descriptor",
    "flush",
    "is_configured",
    "logger",
    "put_access",
    "put_stderr",
    "reclaim",
    "release",
    "reopen",
    "set_mode",
    "write_by_thread",
]


def is_configured() -> bool:
    """Whether the program has set up logging, so that somebody sees what is logged here."""
    return logger.hasHandlers()


_NAMES = {"--error-logfile": "error log", "--access-logfile": "access log"}


class _Attached(NamedTuple):
    """What :func:`configure` has given a logger."""

    handler: logging.Handler
    level: str


_attached: dict[logging.Logger, _Attached] = {}


# --- What the options say


def configure(*, error_logfile: str, access_logfile: str, log_level: str) -> None:
    """Send the loggers to files or standard streams; for a process that is only a server.

    Repeated calls replace what the one before set; a file that is to be used again stays open, for
    by now this process may not be allowed to open it (``--user``). A standard stream is remembered
    by its descriptor: whatever the application does to ``sys.stderr`` takes no log away.

    :param error_logfile: a path, or ``-`` for standard error.
    :param access_logfile: a path, ``-`` for standard output, or ``""`` for no access log: then
        what middleware logs there goes to standard output.
    :param log_level: ``debug``, ``info``, ``warning``, ``error`` or ``critical``; the access log
        and the application's own text do not depend on it.
    :raises ConfigError: where a file cannot be opened for appending.
    """
    errors = _handler(error_logfile, sys.stderr, "--error-logfile")
    access = _handler(access_logfile or "-", sys.stdout, "--access-logfile")
    errors.setFormatter(Formatter())
    for old in [handler for handler in _opened if handler not in (errors, access)]:
        _opened.remove(old)
        old.discard()
    remember_stderr(errors)
    _attach(logger, errors, log_level.upper())
    _attach(access_logger, access, "INFO")
    app_logger.setLevel(1)
    app_logger.disabled = False


def _handler(name: str, stream: TextIO | None, flag: str) -> logging.Handler:
    if name == "-":
        return _stream_handler(stream, flag)
    path = os.path.abspath(name)
    for handler in _opened:
        if handler.origin == (flag, path):
            return handler
    try:
        # O_APPEND, and each record in one write(2) or with others in one: so several processes
        # share a file, and no record lands within another, of whatever size.
        descriptor = append(path)
    except OSError as error:
        raise ConfigError(f"{flag}: cannot write to {name!r}: {error.strerror}") from error
    return _open_handler(descriptor, (flag, path), "utf-8")


def _stream_handler(stream: TextIO | None, flag: str) -> logging.Handler:
    """A standard stream, which is None where the parent closed it."""
    known = [handler for handler in _opened if handler.origin[0] == flag and not handler.path]
    for handler in known:
        if handler.origin[1] is stream:
            return handler
    try:
        # What an environment such as a notebook has put in its place names a descriptor, perhaps,
        # that is not where it writes to.
        if isinstance(stream, io.TextIOWrapper):
            descriptor = os.dup(stream.fileno())
            return _open_handler(descriptor, (flag, stream), stream.encoding)
    except (OSError, ValueError):  # it has no descriptor, or is closed
        pass
    if stream is None or stream.closed:
        return known[0] if known else logging.NullHandler()
    return logging.StreamHandler(stream)


def _open_handler(descriptor: int, origin: tuple[str, object], encoding: str) -> Handler:
    sink = Sink(descriptor, _NAMES[origin[0]], tells=origin[0] == "--error-logfile")
    handler = Handler(sink, origin, encoding)
    _opened.append(handler)
    return handler


_opened: list[Handler] = []
"""Those whose descriptors are open."""


def _attach(target: logging.Logger, handler: logging.Handler, level: str) -> None:
    for old in target.handlers[:]:
        target.removeHandler(old)
        old.close()
    target.addHandler(handler)
    target.setLevel(level)
    target.propagate = False  # or each line would show again in the application's own log
    target.disabled = False
    _attached[target] = _Attached(handler, level)


def release() -> None:
    """Undo :func:`configure`, and :func:`write_by_thread`: for a program that goes on."""
    flush()
    set_mode(Mode.DIRECT)
    for target, attached in _attached.items():
        target.removeHandler(attached.handler)
        target.propagate = True
        target.setLevel(logging.NOTSET)
    for target in _ours():
        vars(target).pop("callHandlers", None)
    app_logger.setLevel(logging.NOTSET)
    _attached.clear()
    for handler in _opened:
        handler.discard()
    _opened.clear()
    forget_stderr()


# --- What the application says


def reclaim() -> None:
    """After the application was loaded: where it has given a logger handlers, or other ones, or
    left it to the root logger by name, that holds; so do levels. Anything else is what logging's
    configurations do to loggers that they do not name, and is undone. So is, where it can be,
    that the application has closed all descriptors that it did not know."""
    for opened in _opened:
        opened.renew()
    renew_stderr()
    for target, (handler, level) in _attached.items():
        target.disabled = False
        # One that names a logger takes level and handlers of those beneath it.
        was_reset = target.level == logging.NOTSET and not target.handlers
        if was_reset or not (target.handlers or target.propagate):
            target.addHandler(handler)
            target.propagate = False
        if was_reset:
            target.setLevel(level)
    if _attached:
        app_logger.disabled = False
        app_logger.setLevel(app_logger.level or 1)


_HANDLE, _CALL_HANDLERS = logging.Logger.handle, logging.Logger.callHandlers


def put_access(format: str, *args: object) -> bool:
    """*Any thread:* write a line of the access log past :mod:`logging`, at less cost,
    where nobody can tell: the one handler is ours, and nothing filters, replaces or watches its
    records. False where somebody may, and nothing is done.

    :param format: as that of a record, for `args`.
    """
    handler = _attached[access_logger].handler if access_logger in _attached else None
    if (
        type(handler) is not Handler
        or access_logger.handlers != [handler]
        or access_logger.propagate
        or access_logger.filters
        or handler.filters
        or handler.formatter is not None
        or handler.level > logging.INFO
        or not access_logger.isEnabledFor(logging.INFO)
        or type(access_logger) is not logging.Logger
        or logging.Logger.handle is not _HANDLE
        or logging.Logger.callHandlers is not _CALL_HANDLERS
        or logging.getLogRecordFactory() is not logging.LogRecord
    ):
        return False
    writer.put(handler.sink, (format % args + "\n").encode(handler.encoding, "backslashreplace"))
    return True


# --- What processes need


def set_mode(mode: Mode) -> None:
    """Whether a record is written at all costs; see :class:`Mode`, DIRECT or POLLED."""
    writer.mode = mode


def write_by_thread() -> None:
    """*Main thread:* from now on a thread writes the logs, and another one runs what handlers the
    application has given the loggers of this package; until :func:`flush`."""
    for target in _ours():
        vars(target)["callHandlers"] = partial(call_handlers, target)
    writer.start()


def _ours() -> list[logging.Logger]:
    names = [name for name in logging.root.manager.loggerDict if name.startswith("wsgi_async.")]
    return [logger, *map(logging.getLogger, names)]


@atexit.register
def flush() -> None:
    """*Any thread:* before this process ends, write what the thread has still to write, within a
    second, and end it. Nothing, and at once, where there is none."""
    if not writer.flush():
        _spare_shutdown()


def _spare_shutdown() -> None:
    """A handler that does not come back keeps its lock, for which :func:`logging.shutdown` would
    wait: it must not know of it any more."""
    for reference in logging._handlerList[:]:  # type: ignore[attr-defined]
        handler = reference()
        lock = getattr(handler, "lock", None)
        if lock is None:
            continue
        if lock.acquire(timeout=0.01):
            lock.release()
        else:
            logging._handlerList.remove(reference)  # type: ignore[attr-defined]


# --- What the operator says


def dropped() -> int:
    """*Any thread:* how many lines of this process's logs nobody has taken, so that they were
    dropped."""
    return writer.dropped


def descriptors() -> list[int]:
    """The descriptors of the log files that :func:`configure` opened, standard streams apart."""
    return [handler.sink.descriptor for handler in _opened if handler.path]


def error_descriptor() -> int:
    """The descriptor of the error log, for faulthandler: it writes where no Python code can run.

    It stays the same when the log is reopened. Standard error's where there is no better.
    """
    attached = _attached.get(logger)
    if attached is not None and isinstance(attached.handler, Handler):
        return attached.handler.sink.descriptor
    return 2


def reopen() -> None:
    """Go on in new files where logrotate has renamed those of :func:`configure`. Any thread.

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

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
import logging
import sys
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

from . import opened
from .following import Following
from .formatters import FORMATS
from .handlers import (
    Handler,
    access_logger,
    app_logger,
    call_handlers,
    captures_stderr,
    forget_stderr,
    logger,
    put_own,
    remember_stderr,
    renew_stderr,
    writer,
)
from .opened import descriptors, handler_of, keep, renew
from .syslog_handlers import SyslogSettings, look_up_syslog, open_syslog, renew_syslog
from .text import one_line
from .thread import Mode

__all__ = [
    "Mode",
    "access_logger",
    "app_logger",
    "captures_stderr",
    "check_log_config",
    "configure",
    "descriptors",
    "dropped",
    "error_descriptor",
    "flush",
    "follow_log_config",
    "has_configured_access_log",
    "is_configured",
    "log_config_notices",
    "logger",
    "put_line",
    "put_own",
    "reclaim",
    "release",
    "reopen",
    "set_level",
    "set_mode",
    "unset_level",
    "unwatched",
    "write_by_thread",
]


def is_configured() -> bool:
    """Whether the program has set up logging, so that somebody sees what is logged here."""
    return logger.hasHandlers()


class _Attached(NamedTuple):
    """What :func:`configure` has given a logger, or the configuration of ``--log-config``."""

    handlers: tuple[logging.Handler, ...]
    level: str | int
    propagate: bool = False


_attached: dict[logging.Logger, _Attached] = {}
_following = Following()
_errors: logging.Handler | None = None
"""That of --error-logfile."""
_level_before: int | None = None
"""That of the logger, where :func:`set_level` has given it another one."""


# --- What the options say


def configure(
    *,
    error_logfile: str,
    access_logfile: str,
    log_level: str,
    log_format: str = "text",
    log_config: str | Mapping[str, Any] = "",
    directory: str = "",
    syslog: SyslogSettings | None = None,
) -> None:
    """Send the loggers to files or standard streams; for a process that is only a server.

    Repeated calls replace what the one before set; a file that is to be used again stays open, for
    by now this process may not be allowed to open it (``--user``). A standard stream is remembered
    by its descriptor: whatever the application does to ``sys.stderr`` takes no log away.

    :param error_logfile: a path, or ``-`` for standard error.
    :param access_logfile: a path, ``-`` for standard output, or ``""`` for no access log: then
        what middleware logs there goes to standard output.
    :param log_level: ``debug``, ``info``, ``warning``, ``error`` or ``critical``; the access log
        and the application's own text do not depend on it.
    :param log_format: ``text`` or ``json``, of the error log.
    :param log_config: see :mod:`wsgi_async.logs.configuration`; of what it says of the logger
        ``wsgi_async`` only what waits for nobody, until :func:`follow_log_config`.
    :param directory: where the paths in it begin.
    :param syslog: where both logs go besides; the access log if it was asked for.
    :raises ConfigError: where a file cannot be opened for appending, or `log_config` is wrong.
    """
    global _errors, _following, _level_before
    following = Following(log_config, directory)
    errors = handler_of(error_logfile, sys.stderr, "--error-logfile")
    access = handler_of(access_logfile or "-", sys.stdout, "--access-logfile")
    shape = FORMATS[log_format]
    configured, level = following.parents(log_level.upper(), shape)
    errors.setFormatter(shape.formatter())
    keep((errors, access, *configured))
    _following.release()
    _errors, _following, _level_before = errors, following, None
    remember_stderr(errors, shape)
    to_error, to_access = open_syslog(syslog, shape.bare())
    if following.names(logger):  # then that holds
        to_error = []
    _attach(logger, (*(configured or (errors,)), *to_error), level)
    _attach(access_logger, (access, *(to_access if access_logfile else ())), "INFO")
    look_up_syslog()
    app_logger.setLevel(1)
    app_logger.disabled = False


def log_config_notices() -> list[str]:
    """What there is to say of ``--log-config``: one line each."""
    return _following.notices


def has_configured_access_log() -> bool:
    """Whether ``--log-config`` names handlers for the access log."""
    return _following.has_access_log


def check_log_config(source: str | Mapping[str, Any]) -> None:
    """Have :func:`follow_log_config` apply it in a process that is no server.

    :raises ConfigError: it is wrong.
    """
    global _following
    _following = Following(source)


def follow_log_config() -> None:
    """*Main thread of a process that serves, before its application is loaded:* apply all of what
    :func:`configure` was told of it. For the loggers that it names it wins.

    :raises ConfigError: a handler or a formatter cannot be made.
    """
    said = _following.apply()
    if said is None:
        return
    reclaim()
    for target in list(_attached):
        if _following.names(target):
            handlers = tuple(target.handlers)
            _attached[target] = _Attached(handlers, target.level, target.propagate)
    for notice in said:
        logger.warning("%s", one_line(notice))


def _attach(
    target: logging.Logger, handlers: tuple[logging.Handler, ...], level: str | int
) -> None:
    for old in target.handlers[:]:
        target.removeHandler(old)
        old.close()
    for handler in handlers:
        target.addHandler(handler)
    target.setLevel(level)
    target.propagate = False  # or each line would show again in the application's own log
    target.disabled = False
    _attached[target] = _Attached(handlers, level)


def release() -> None:
    """Undo :func:`configure`, and :func:`write_by_thread`: for a program that goes on."""
    global _errors, _following, _level_before
    flush()
    set_mode(Mode.DIRECT)
    for target, attached in _attached.items():
        for handler in attached.handlers:
            target.removeHandler(handler)
        target.propagate = True
        target.setLevel(logging.NOTSET)
    for target in _ours():
        vars(target).pop("callHandlers", None)
    app_logger.setLevel(logging.NOTSET)
    _attached.clear()
    _following.release()
    _errors, _following, _level_before = None, Following(), None
    keep(())
    open_syslog(None, logging.Formatter())
    forget_stderr()


# --- What the application says


def reclaim() -> None:
    """After the application was loaded: where it has given a logger handlers, or other ones, or
    left it to the root logger by name, that holds; so do levels. Anything else is what logging's
    configurations do to loggers that they do not name, and is undone. So is, where it can be,
    that the application has closed all descriptors that it did not know."""
    renew()
    renew_stderr()
    renew_syslog()
    for target, (handlers, level, propagate) in _attached.items():
        target.disabled = False
        # One that names a logger takes level and handlers of those beneath it.
        was_reset = target.level == logging.NOTSET and not target.handlers
        if was_reset or not (target.handlers or target.propagate):
            for handler in handlers:
                target.addHandler(handler)
            target.propagate = propagate
        if was_reset:
            target.setLevel(level)
    if _attached:
        app_logger.disabled = False
        app_logger.setLevel(app_logger.level or 1)


_INFO, _LOGGER, _RECORD = logging.INFO, logging.Logger, logging.LogRecord
_HANDLE, _CALL_HANDLERS = logging.Logger.handle, logging.Logger.callHandlers


def unwatched() -> Handler | None:
    """*Any thread:* who writes the access log, where nobody can tell whether that is by a record
    of :mod:`logging`: the one handler is ours, and nothing filters, replaces or watches its
    records. None where somebody may. It may change with each line."""
    log = access_logger
    attached = _attached.get(log)
    if attached is None:
        return None
    handler = attached.handlers[0] if attached.handlers else None
    if (
        type(handler) is not Handler
        or log.handlers != [handler]
        or log.propagate
        or log.filters
        or handler.filters
        or handler.formatter is not None
        or handler.level > _INFO
        or not log.isEnabledFor(_INFO)
        or type(log) is not _LOGGER
        or _LOGGER.handle is not _HANDLE
        or _LOGGER.callHandlers is not _CALL_HANDLERS
        or logging.getLogRecordFactory() is not _RECORD
    ):
        return None
    return handler


def put_line(handler: Handler, line: str) -> None:
    """*Any thread:* write a line of the access log past :mod:`logging`, at less cost.

    :param handler: see :func:`unwatched`.
    """
    writer.put(handler.sink, (line + "\n").encode(handler.encoding, "backslashreplace"))


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


def set_level(level: str) -> None:
    """*Any thread:* log what the server tells from this level on, whatever options, those of
    ``--log-config`` or the application have said of it. The next :func:`configure` takes it back.

    :param level: as for :func:`configure`.
    """
    global _level_before
    name = level.upper()
    if _level_before is None:
        _level_before = logger.level
    if logger in _attached:
        _attached[logger] = _attached[logger]._replace(level=name)
    logger.setLevel(name)


def unset_level() -> None:
    """*Any thread:* take :func:`set_level` back. Nothing, where :func:`configure` has done so."""
    global _level_before
    level, _level_before = _level_before, None
    if level is not None:
        if logger in _attached:
            _attached[logger] = _attached[logger]._replace(level=level)
        logger.setLevel(level)


def error_descriptor() -> int:
    """The descriptor of the error log, for faulthandler: it writes where no Python code can run.

    It stays the same when the log is reopened. Standard error's where there is no better.
    """
    return _errors.sink.descriptor if isinstance(_errors, Handler) else 2


def reopen() -> None:
    """Go on in new files where logrotate has renamed those of :func:`configure` and of
    ``--log-config``. Any thread."""
    opened.reopen()
    _following.reopen()

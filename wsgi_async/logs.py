"""What the server tells, as log records: the default :class:`~wsgi_async.observer.Observer`.

Loggers: ``wsgi_async`` for everything, ``wsgi_async.access`` for one line a request. A server
embedded in a program attaches no handler to them; :func:`configure` does, for the command line.

Text that a client sent is escaped wherever it is logged, so that no client can forge a line or
steer a terminal; ``Authorization`` is never logged.
"""

from __future__ import annotations

import atexit
import logging
import os
import re
import stat
import sys
import time
from collections.abc import Callable
from functools import lru_cache
from types import TracebackType
from typing import Any, TextIO

from .errors import ApplicationError, ConfigError
from .observer import Observer, RequestInfo, ResponseInfo

__all__ = [
    "LogObserver",
    "access_logger",
    "configure",
    "descriptors",
    "error_descriptor",
    "escape",
    "is_configured",
    "log_time",
    "logger",
    "reopen",
]

logger = logging.getLogger("wsgi_async")
access_logger = logging.getLogger("wsgi_async.access")

# Not printable ASCII, or a quote or backslash: what would make a quoted log field ambiguous.
_UNSAFE = re.compile(r"[^ !#-\[\]-~]")
# C0, DEL, C1 and the separators at which str.splitlines() and some viewers break lines.
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_INTERVAL = 1.0
"""Seconds between two lines of one 5xx status, and between two of dropped connections: an
overloaded server must not also log thousands of lines a second."""
_OWN_CODE = os.path.dirname(__file__) + os.sep


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def escape(text: str) -> str:
    """`text` as printable ASCII on one line; the rest, quotes and backslashes become ``\\xHH``."""
    return _UNSAFE.sub(_escaped, text)


def _one_line(text: str) -> str:
    """`text`, of the application or the server, without control characters (a tab may stay)."""
    return _CONTROL.sub(_escaped, text)


def log_time(now: float) -> str:
    """``10/Oct/2026:13:55:36 +0200``: local time, English months in every locale.

    :param now: as of ``time.time()``.
    """
    return _second(int(now))


@lru_cache(maxsize=8)  # mostly the current one; requests may be logged when they end
def _second(second: int) -> str:
    local = time.localtime(second)
    return time.strftime(f"%d/{_MONTHS[local.tm_mon - 1]}/%Y:%H:%M:%S %z", local)


class LogObserver(Observer):
    """Writes to the two loggers. Any thread.

    :param access: whether there is an access log, in Apache's "combined" format.
    :param clock: seconds, monotonic.
    """

    def __init__(
        self, *, access: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.wants_requests = access
        self._clock = clock
        self._last: dict[str, tuple[float, int]] = {}  # kind: when logged, how many since

    def started(
        self,
        addresses: tuple[str, ...],
        threads: int,
        loop: str,
        parser: str,
        processes: int = 1,
    ) -> None:
        many = f"{threads} thread{'s' * (threads != 1)}"
        if processes > 1:
            many = f"{processes} processes, {many} each"
        logger.info("Listening on %s (%s, %s, parser %s)", ", ".join(addresses), many, loop, parser)

    def stopping(self, in_flight: int) -> None:
        logger.info("Stopping; requests in flight: %d", in_flight)

    def interrupted(self, patience: float) -> None:
        logger.info(
            "Waiting for requests in flight, %s (--graceful-timeout); Ctrl-C again drops them now",
            f"{patience:g} s at most" if patience else "as long as they take",
        )

    def stopped(self, stuck_threads: int) -> None:
        if stuck_threads:
            logger.error("Stopped; threads still in the application: %d", stuck_threads)
        else:
            logger.info("Stopped")

    def request_finished(self, request: RequestInfo, response: ResponseInfo) -> None:
        if not self.wants_requests:
            return
        came = time.time() - response.duration
        self._log_access(request.client, came, request, response.status, response.body_size)

    def _log_access(
        self, client: str, came: float, request: RequestInfo | None, status: int, body_size: int
    ) -> None:
        """One line; ``-`` for what is unknown, the whole request line included."""
        line = "-"
        fields = dict.fromkeys(("referer", "user-agent"), "-")
        if request is not None:
            line = escape(f"{request.method} {request.target} {request.version}")
            for name, value in request.fields:
                if (key := name.lower()) in fields and fields[key] == "-":
                    fields[key] = escape(value) or "-"
        access_logger.info(
            '%s - - [%s] "%s" %d %s "%s" "%s"',
            _host(client),
            log_time(came),
            line,
            status,
            body_size or "-",
            fields["referer"],
            fields["user-agent"],
        )

    def request_refused(
        self,
        client: str,
        status: int,
        detail: str,
        request: RequestInfo | None = None,
        *,
        is_running: bool = False,
    ) -> None:
        if self.wants_requests and not is_running:
            self._log_access(client, time.time(), request, status, 0)
        more = "" if status < 500 else self._unlogged(str(status))
        if more is not None:
            level = logging.INFO if status < 500 else logging.WARNING
            text = _one_line(detail)
            logger.log(level, "[%s] refused with %d: %s%s", escape(client), status, text, more)

    def connection_dropped(self, client: str, why: str) -> None:
        more = self._unlogged("dropped")
        if more is not None:
            logger.info("[%s] dropped: %s%s", escape(client), _one_line(why), more)

    def _unlogged(self, kind: str) -> str | None:
        """None while a line of this kind is too recent, else how many were left out since."""
        now = self._clock()
        logged, unlogged = self._last.get(kind, (-_INTERVAL, 0))
        if now - logged < _INTERVAL:
            self._last[kind] = (logged, unlogged + 1)
            return None
        self._last[kind] = (now, 0)
        return f" (and {unlogged} more before)" if unlogged else ""

    def app_error(
        self, request: RequestInfo, message: str, error: BaseException | None = None
    ) -> None:
        logger.error(
            "%s %s [%s %s]: %s",
            escape(request.method),
            escape(request.target),
            escape(request.client),
            escape(request.id),
            _one_line(message),
            exc_info=_blame(error),
        )

    def app_warning(self, request: RequestInfo, message: str) -> None:
        logger.warning(
            "%s %s [%s %s]: %s",
            escape(request.method),
            escape(request.target),
            escape(request.client),
            escape(request.id),
            _one_line(message),
        )

    def app_stderr(self, request: RequestInfo, text: str) -> None:
        # As mod_wsgi does: what an application writes to wsgi.errors is an error.
        logger.error("[%s] %s", escape(request.id), _one_line(text.rstrip("\r\n")))

    def info(self, message: str) -> None:
        logger.info("%s", _one_line(message))

    def report(self, text: str) -> None:
        # Indented, so that none of them passes for a record of its own.
        logger.error("%s", "\n  ".join(map(_one_line, text.rstrip("\n").split("\n"))))

    def thread_lost(
        self, request: RequestInfo, thread: str, seconds: float, stack: list[str]
    ) -> None:
        logger.error(
            "%s %s [%s %s]: nothing from the application for %.1f s; thread %s is given up, in%s",
            escape(request.method),
            escape(request.target),
            escape(request.client),
            escape(request.id),
            seconds,
            thread,
            "".join("\n    " + _one_line(line) for line in stack) or " code that is not Python",
        )

    def thread_returned(self, request: RequestInfo, seconds: float) -> None:
        logger.info(
            "%s %s [%s %s]: its thread came back %.1f s after it was given up",
            escape(request.method),
            escape(request.target),
            escape(request.client),
            escape(request.id),
            seconds,
        )

    def threads_exhausted(self, lost: int) -> None:
        logger.error(
            "%d threads are lost in the application: new requests get 503 until some come back; "
            "see the stacks above, and give what it waits for timeouts of its own",
            lost,
        )

    def threads_recovered(self, lost: int) -> None:
        logger.info("Requests are taken again; threads still lost in the application: %d", lost)

    def warning(self, message: str) -> None:
        logger.warning("%s", _one_line(message))

    def error(self, message: str, error: BaseException | None = None) -> None:
        logger.error("%s", _one_line(message), exc_info=error)


def _blame(
    error: BaseException | None,
) -> tuple[type[BaseException], BaseException, TracebackType | None] | None:
    """What to show of an application's error: its frames, not those of the server above them.

    Nothing where the server found fault with what it was given: the message has said it, and no
    frame is the application's.
    """
    if error is None:
        return None
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(_OWN_CODE):
        frames = frames.tb_next
    if frames is None:
        if isinstance(error, ApplicationError):
            return None
        frames = error.__traceback__
    return type(error), error, frames


def _host(client: str) -> str:
    """The address of ``127.0.0.1:50312`` or ``[::1]:50312``; anything else as it is."""
    host, colon, _ = client.rpartition(":")
    return escape(host.strip("[]") if colon else client) or "-"


class _Formatter(logging.Formatter):
    """One line a record; a traceback is indented beneath it.

    A traceback ends with the exception's own text, which may hold what a client sent: control
    characters are escaped, and its lines, being indented, cannot pass for records.
    """

    def __init__(self) -> None:
        super().__init__(
            "%(asctime)s [%(process)d] [%(levelname)s] %(message)s", "[%Y-%m-%d %H:%M:%S %z]"
        )

    def formatException(self, ei: Any) -> str:
        text = super().formatException(ei)
        return "\n".join("  " + _one_line(line) for line in text.split("\n"))


def is_configured() -> bool:
    """Whether the program has set up logging, so that somebody sees what is logged here."""
    return logger.hasHandlers()


def configure(*, error_logfile: str, access_logfile: str, log_level: str) -> None:
    """Send the loggers to files or standard streams; for a process that is only a server.

    Repeated calls replace what the one before set; a file that is to be used again stays open, for
    by now this process may not be allowed to open it (``--user``).

    :param error_logfile: a path, or ``-`` for standard error.
    :param access_logfile: a path, ``-`` for standard output, or ``""`` for no access log.
    :param log_level: ``debug``, ``info``, ``warning``, ``error`` or ``critical``; the access log
        does not depend on it.
    :raises ConfigError: where a file cannot be opened for appending.
    """
    errors = _handler(error_logfile, sys.stderr, "--error-logfile")
    access = _handler(access_logfile, sys.stdout, "--access-logfile")
    for old in {*_files} - {errors, access}:
        old.discard()
    if errors is not None:
        errors.setFormatter(_Formatter())
    _attach(logger, errors, log_level.upper())
    _attach(access_logger, access, "INFO")


def _handler(name: str, stream: TextIO | None, flag: str) -> logging.Handler | None:
    if not name:
        return None
    if name == "-":
        # A standard stream is None where the parent closed it; StreamHandler would take stderr.
        return logging.NullHandler() if stream is None else logging.StreamHandler(stream)
    for file in _files:
        if (file.baseFilename, file.flag) == (os.path.abspath(name), flag):
            return file
    try:
        # It opens with O_APPEND and gives each record to the kernel in one write(2), flushed, so
        # that several processes share a file: no record lands within another, of whatever size.
        return _LogFile(name, flag)
    except OSError as error:
        raise ConfigError(f"{flag}: cannot write to {name!r}: {error.strerror}") from error


class _LogFile(logging.FileHandler):
    """A log file; the application's ``logging.config``, which closes all handlers, leaves it open.

    :param flag: the option that names it.
    """

    def __init__(self, name: str, flag: str) -> None:
        super().__init__(name, "a", encoding="utf-8", errors="backslashreplace")
        self.flag = flag
        _files.append(self)

    def close(self) -> None:
        self.flush()

    def discard(self) -> None:
        """Close it."""
        _files.remove(self)
        super().close()


_files: list[_LogFile] = []
"""Those that are open."""


@atexit.register
def _discard_all() -> None:
    for file in _files[:]:
        file.discard()


def _attach(target: logging.Logger, handler: logging.Handler | None, level: str) -> None:
    for old in target.handlers[:]:
        target.removeHandler(old)
        old.close()
    if handler is not None:
        target.addHandler(handler)
    target.setLevel(level)
    target.propagate = False  # or each line would show again in the application's own log
    # logging.config.dictConfig disables the loggers it does not name, and Django calls it.
    target.disabled = False


def descriptors() -> list[int]:
    """The descriptors of the log files that :func:`configure` opened, standard streams apart."""
    return [descriptor for _, descriptor in _open_files()]


def error_descriptor() -> int:
    """The descriptor of the error log, for faulthandler: it writes where no Python code can run.

    It stays the same when the log is reopened. Standard error's where there is no better.
    """
    for handler in logger.handlers:
        if isinstance(handler, logging.StreamHandler):
            try:
                return int(handler.stream.fileno())
            except (AttributeError, OSError, ValueError):  # no file, or closed
                continue
    return 2


def reopen() -> None:
    """Go on in new files where logrotate has renamed those of :func:`configure`. Any thread.

    A file that cannot be opened is a warning in the log, and its old one stays in use. Standard
    streams, pipes and devices are left as they are: nobody rotates them.
    """
    for path, current in _open_files():
        if not stat.S_ISREG(os.fstat(current).st_mode):
            continue
        try:
            new = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        except OSError as error:
            logger.warning("Cannot reopen the log %r: %s", path, error.strerror)
            continue
        # In the place of the old one, at once for every thread, so that no record is lost between
        # two files and a descriptor that faulthandler was given remains good.
        os.dup2(new, current, inheritable=False)
        os.close(new)


def _open_files() -> list[tuple[str, int]]:
    """The absolute path and the descriptor of each log file."""
    return [(file.baseFilename, file.stream.fileno()) for file in _files if file.stream]

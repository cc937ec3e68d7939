"""The configuration of ``--log-config`` that is in force, in the parent and where it is applied.

In a serving process its handlers are like those of an application: a thread of their own calls
them for the records of this package (``logs/calls.py``), so one that hangs stops nobody.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from wsgi_async._imports import StandardFirst

from .formatters import LogFormat
from .handlers import (
    FormattedLines,
    Handler,
    OwnHandler,
    access_logger,
    captures_stderr,
    logger,
    writer,
)
from .opened import file_handler, stream_handler

if TYPE_CHECKING:
    from .configuration import LogConfig, PlainHandler

__all__ = ["Following"]

_FLAG = "--log-config"


class Following:
    """What a process makes of a configuration.

    :param source: the option's value.
    :param directory: where the paths in it begin.
    :raises ConfigError: see :func:`.read_log_config`.
    """

    def __init__(self, source: str | Mapping[str, Any] = "", directory: str = "") -> None:
        self._config: LogConfig | None = None
        if source:
            with StandardFirst():
                from .configuration import read_log_config  # it brings all of logging.config

            self._config = read_log_config(source)
        self._directory = directory
        self._applied: list[logging.Handler] = []
        """Handlers that are not ours."""

    @property
    def notices(self) -> list[str]:
        """What an operator should know: one line each."""
        if self._config is None:
            return []
        names = self._config.handlers_of(logger.name) or ()
        others = [name for name in names if name not in self._config.plain]
        notices = list(self._config.notices)
        if others:
            notices.append(
                f"{self._config.label}: what the parent process itself has to say does not go to "
                f"{', '.join(others)}, which may wait, or run code of others: that is for the "
                "processes that serve"
            )
        return notices

    def names(self, target: logging.Logger) -> bool:
        """Whether something is said of this logger."""
        return self._config is not None and target.name in self._config.loggers

    @property
    def has_access_log(self) -> bool:
        """Whether somebody is to have the access log by it."""
        return self._config is not None and bool(self._config.handlers_of(access_logger.name))

    def parents(self, level: str, log_format: LogFormat) -> tuple[list[Handler], str | int]:
        """*In the parent:* the handlers for its own records, which wait for nobody, and the level.
        None where there are none: then the records are for the error log.

        :param level: of the option, and
        :param log_format: likewise: for a handler whose formatter is code of another's.
        :raises ConfigError: a file cannot be opened for appending.
        """
        found: list[Handler] = []
        if self._config is None:
            return found, level
        for name in self._config.handlers_of(logger.name) or ():
            if (plain := self._config.plain.get(name)) is not None:
                handler = self._open(plain)
                if isinstance(handler, Handler):
                    handler.setFormatter(plain.formatter or log_format.formatter())
                    handler.setLevel(plain.level)
                    found.append(handler)
        settings = self._config.loggers.get(logger.name)
        return found, settings.level or level if settings is not None else level

    def _open(self, plain: PlainHandler) -> logging.Handler:
        if plain.target.startswith("sys."):
            stream = sys.stderr if plain.target == "sys.stderr" else sys.stdout
            # Of two streams the flag alone tells no difference.
            return stream_handler(stream, f"{_FLAG} {plain.target}")
        path = os.path.join(self._directory, plain.target)
        return file_handler(path, _FLAG, is_watched=plain.is_watched)

    def apply(self) -> list[str] | None:
        """*Main thread of a process that serves:* apply it. None where there is none.

        :returns: what there is to say of it then.
        :raises ConfigError: see :meth:`LogConfig.apply`.
        """
        if self._config is None:
            return None
        heard = [target for target in _loggers() if not target.disabled]
        self._config.apply()
        for target in (logging.root, *_loggers()):
            for handler in target.handlers:
                if not isinstance(handler, OwnHandler) and handler not in self._applied:
                    self._applied.append(handler)
                    _count_losses(handler)
                    _spare(handler)
        silent = sorted(
            target.name
            for target in heard
            if target.disabled and not f"{target.name}.".startswith(f"{logger.name}.")
        )
        return [f"{self._config.label}: silent from now on: {', '.join(silent)}"] if silent else []

    def reopen(self) -> None:
        """*Any thread:* have files that were renamed opened anew, by who writes them."""
        for handler in self._applied:
            # Not those that rotate by themselves, or watch.
            if type(handler) is logging.FileHandler:
                writer.call(partial(_reopen, handler))

    def release(self) -> None:
        """Undo it: handlers say again by themselves what they cannot write, and those that no
        logger has any more are closed."""
        used = {handler for target in (logging.root, *_loggers()) for handler in target.handlers}
        for handler in self._applied:
            vars(handler).pop("handleError", None)
            if handler not in used:
                with contextlib.suppress(OSError):  # a full disk
                    handler.close()
        self._applied.clear()


def _loggers() -> Iterator[logging.Logger]:
    for target in list(logging.root.manager.loggerDict.values()):
        if isinstance(target, logging.Logger):
            yield target


def _count_losses(handler: logging.Handler) -> None:
    """Logging's own prints a traceback to standard error for each record that a full disk does not
    take, or a machine that is gone; here they are counted, and their number is told."""
    if type(handler).handleError is not logging.Handler.handleError:
        return

    def handle_error(record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            writer.lose(error.strerror or str(error))
        else:
            logging.Handler.handleError(handler, record)

    vars(handler)["handleError"] = handle_error


def _spare(handler: logging.Handler) -> None:
    """Where what is written to standard error becomes objects, its lines stay as its formatter
    makes them: that may make objects, too."""
    if (
        captures_stderr()
        and isinstance(handler, logging.StreamHandler)
        and handler.stream in (sys.stderr, sys.__stderr__)
    ):
        handler.setStream(FormattedLines())


def _reopen(handler: logging.FileHandler) -> None:
    try:
        new = handler._open()
    except OSError as error:
        logger.warning("Cannot reopen the log %r: %s", handler.baseFilename, error.strerror)
        return
    old = handler.setStream(new)
    if old is not None:
        old.close()

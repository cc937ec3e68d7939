"""Log records of several servers in one process, each server's apart. Any thread."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator

__all__ = ["TAP", "speaker"]

_LOWERED = logging.INFO - 1
"""A level that nobody else sets, so that it can be told who did."""

_thread = threading.local()
"""`keep`: takes the records that this thread makes."""


@contextlib.contextmanager
def speaker(keep: Callable[[logging.LogRecord], None]) -> Iterator[None]:
    """While the block runs, give what this thread logs through :data:`TAP` to `keep`."""
    before = getattr(_thread, "keep", None)
    _thread.keep = keep
    try:
        yield
    finally:
        _thread.keep = before


class LogTap(logging.Filter):
    """While it is entered, has these loggers make every record from INFO on, for :func:`speaker`.

    Records that would not have been made without it go no further, so that nobody's log is fuller
    because of a test. It may be entered many times; levels are put back after the last.

    :param names: of the loggers, parents first.
    """

    def __init__(self, *names: str) -> None:
        super().__init__()
        self._loggers = [logging.getLogger(name) for name in names]
        self._lock = threading.Lock()
        self._users = 0
        self._levels = dict.fromkeys(names, logging.NOTSET)

    def filter(self, record: logging.LogRecord) -> bool:
        """A :class:`logging.Filter`'s."""
        keep = getattr(_thread, "keep", None)
        if keep is not None:
            keep(record)
        return record.levelno >= self._others_level(logging.getLogger(record.name))

    def _others_level(self, logger: logging.Logger) -> int:
        """The level that would be in effect without this."""
        while logger.name in self._levels and logger.parent is not None:
            level = self._levels[logger.name] if logger.level == _LOWERED else logger.level
            if level:
                return level
            logger = logger.parent
        return logger.getEffectiveLevel()

    def __enter__(self) -> None:
        with self._lock:
            self._users += 1
            if self._users > 1:
                return
            for logger in self._loggers:
                self._levels[logger.name] = logger.level
                if logger.getEffectiveLevel() > _LOWERED:
                    logger.setLevel(_LOWERED)
                logger.addFilter(self)

    def __exit__(self, *exc_info: object) -> None:
        with self._lock:
            self._users -= 1
            if self._users:
                return
            for logger in self._loggers:
                logger.removeFilter(self)
                if logger.level == _LOWERED:
                    logger.setLevel(self._levels[logger.name])


TAP = LogTap("wsgi_async", "wsgi_async.access", "wsgi_async.application")
"""Of the server's loggers."""

"""Log records as measurements, as gunicorn's logger has them for statsd.

How many warnings and errors there are, and what an application or a hook has measured and logged::

    logging.getLogger("wsgi_async").info(
        "sold %d", count, extra={"metric": "shop.sold", "value": count, "mtype": "counter"}
    )

Nothing is attached to the logger before somebody wants to be told: :func:`measure`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from typing import Any, Protocol

from .handlers import logger

__all__ = ["Measures", "debug", "info", "log", "measure"]


class Measures(Protocol):
    """Who is told. *Any thread.*"""

    def logged(self, level: str) -> object:
        """There is a record of this level: ``critical``, ``error``, ``exception`` (an error with
        one) or ``warning``."""

    def measured(self, name: str, value: object, kind: str) -> object:
        """A record has this value of a name, of the kind ``gauge``, ``counter``, ``histogram`` or
        ``timer``, or whatever the application has written in their place."""


_measures: Measures | None = None


def measure(measures: Measures | None) -> None:
    """*Main thread:* have records of the logger ``wsgi_async`` told to this one, and to no other
    any more; None: to nobody."""
    global _measures
    _measures = measures
    if measures is None:
        logger.removeFilter(_look_at)
    else:
        logger.addFilter(_look_at)  # it is there once, however often it is added


def _look_at(record: logging.LogRecord) -> bool:
    """*Any thread:* whether the record is to be logged."""
    measures = _measures
    if measures is None:
        return True
    if record.levelno >= logging.WARNING:
        measures.logged(_name_of(record))
        return True
    is_measured = _tell(measures, vars(record))
    return bool(record.msg) or not is_measured  # gunicorn's way to say a value and log nothing


def _name_of(record: logging.LogRecord) -> str:
    if record.levelno >= logging.CRITICAL:
        return "critical"
    if record.levelno >= logging.ERROR:
        return "exception" if record.exc_info else "error"
    return "warning"


def _tell(measures: Measures, extra: Mapping[str, Any]) -> bool:
    name, value, kind = (extra.get(key) for key in ("metric", "value", "mtype"))
    if not name or value is None or not kind:
        return False
    measures.measured(str(name), value, str(kind))
    return True


def log(level: int, message: object, *args: object, **more: Any) -> None:
    """*Any thread:* log to ``wsgi_async`` as a logger of gunicorn's does, which takes a measured
    value also where the level of the log leaves the record out.

    :param level: of the standard library.
    :param more: as :meth:`logging.Logger.log` takes it.
    """
    extra = more.get("extra")
    measures = _measures
    if measures is not None and extra and not logger.isEnabledFor(level):
        _tell(measures, extra)
    logger.log(level, message, *args, **more)


debug = partial(log, logging.DEBUG)
info = partial(log, logging.INFO)

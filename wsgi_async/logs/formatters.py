"""What is written of a record: text, or a JSON object on one line (``--log-format``).

A file of ``--log-config`` may name :class:`JsonFormatter` as well.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable
from typing import NamedTuple

from .json_lines import json_line
from .text import one_line, rfc3339

__all__ = ["APPLICATION", "FORMATS", "Formatter", "JsonFormatter", "LogFormat", "name_requests"]

APPLICATION = "wsgi_async.application"
"""The logger whose records are an application's own text."""

# SGR: it can neither move a cursor nor break a line, and loggers colour their levels with it.
_COLOUR = re.compile(r"(\x1b\[[0-9;]*m)")


class Formatter(logging.Formatter):
    """One line a record; a traceback is indented beneath it. An application's own text is its own:
    it has a level and a time of the application's, or wants none.

    A traceback ends with the exception's own text, which may hold what a client sent: control
    characters are escaped, and its lines, being indented, cannot pass for records.

    :param line: what a line is made of, in logging's words.
    """

    def __init__(self, line: str = "%(asctime)s [%(process)d] [%(levelname)s] %(message)s") -> None:
        super().__init__(line, "[%Y-%m-%d %H:%M:%S %z]")

    def format(self, record: logging.LogRecord) -> str:
        record.message = record.getMessage()
        if record.name == APPLICATION:
            return record.message
        record.asctime = self.formatTime(record, self.datefmt)
        text = self.formatMessage(record)
        # Not the text that another handler's formatter has left in the record.
        trace = self.formatException(record.exc_info) if record.exc_info else record.exc_text
        if trace:
            text += "".join("\n  " + one_line(line) for line in trace.split("\n"))
        return text


def _no_request() -> str:
    return ""


_request_id: Callable[[], str] = _no_request


def name_requests(request_id: Callable[[], str]) -> None:
    """*Main thread:* have :class:`JsonFormatter` name the request in which a record of the
    application's own loggers is formatted.

    :param request_id: that of the calling thread, or an empty string. *Any thread.*
    """
    global _request_id
    _request_id = request_id


_FACTS = ("request_id", "client", "method", "target", "status", "stack", "details")
"""What :class:`~wsgi_async.logs.observer.LogObserver` gives a record beside its message, by the
names of the record's attributes and of the fields."""


class JsonFormatter(logging.Formatter):
    """One JSON object a record: ``time``, ``level``, ``logger``, ``pid``, ``message``; of a request
    ``request_id``, ``client``, ``method`` and ``target``; ``exception`` with ``type``, ``message``
    and ``traceback``. Records of the application's loggers have ``request_id`` as well, where a
    handler has them formatted by who logs. An application's own text has ``stream`` in place of
    level and logger.

    What a client or an application wrote is as it came, for JSON escapes it.
    """

    def __init__(self, *_: object, **__: object) -> None:
        """*A configuration may give what any formatter takes:* there is nothing to set."""
        super().__init__()

    def format(self, record: logging.LogRecord) -> str:
        values = vars(record)
        fields: dict[str, object] = {"time": rfc3339(record.created)}
        if record.name == APPLICATION:
            fields["stream"] = "wsgi.errors"
        else:
            fields["level"] = record.levelname
            fields["logger"] = record.name
        fields["pid"] = record.process
        detail = values.get("detail")
        fields["message"] = detail if isinstance(detail, str) else record.getMessage()
        fields |= {name: values[name] for name in _FACTS if name in values}
        if "request_id" not in fields and (about := _request_id()):
            fields["request_id"] = about
        if exception := self._exception(record):
            fields["exception"] = exception
        if record.stack_info:
            fields["stack"] = record.stack_info.split("\n")
        return json_line(fields)

    def _exception(self, record: logging.LogRecord) -> dict[str, str]:
        if not record.exc_info or record.exc_info[1] is None:
            return {"traceback": record.exc_text} if record.exc_text else {}
        error = record.exc_info[1]
        kind = type(error)
        module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
        try:
            text = str(error)
        except Exception:  # of code that is not ours
            text = "its text cannot be had"
        return {
            "type": f"{module}{kind.__qualname__}",
            "message": text,
            "traceback": self.formatException(record.exc_info),
        }


# --- An application's own text


def _own_as_text(line: str, request_id: str) -> str:
    # JSON is for a program, which takes nothing before it; the id would be a field of it.
    prefix = f"[{request_id}] " if request_id and not line.startswith("{") else ""
    if "\x1b" not in line:
        return prefix + one_line(line)
    parts = _COLOUR.split(line)
    return prefix + "".join(
        part if number % 2 else one_line(part) for number, part in enumerate(parts)
    )


def _own_as_json(line: str, request_id: str) -> str:
    fields: dict[str, object] = {
        "time": rfc3339(time.time()),
        "stream": "stderr",
        "pid": os.getpid(),
        "message": line,
    }
    if request_id:
        fields["request_id"] = request_id
    return json_line(fields)


class LogFormat(NamedTuple):
    """How the error log is written."""

    formatter: Callable[[], logging.Formatter]
    bare: Callable[[], logging.Formatter]
    """Likewise, without what goes before it where it has a time, a pid and a level already."""
    own: Callable[[str, str], str]
    """Makes a line of a line of the application's own text on standard error, and of the id of the
    request it is about, or an empty string."""
    captures: bool = False
    """Whether what is printed to ``sys.stderr`` is such text too, so that nothing else is among the
    lines."""


FORMATS: dict[str, LogFormat] = {
    "text": LogFormat(Formatter, lambda: Formatter("%(message)s"), _own_as_text),
    "json": LogFormat(JsonFormatter, JsonFormatter, _own_as_json, captures=True),
}
"""By the values of ``--log-format``."""

"""Records as messages for a syslog, see :mod:`wsgi_async.logs.syslog`.

On a network a message is as RFC 5424 has it, on a stream with LF at its end (RFC 6587 §3.4.2),
which all that listen there know; on this machine as syslog(3) writes it, which the journal reads.
"""

from __future__ import annotations

import logging
import socket
import time
from typing import NamedTuple

from wsgi_async.system.syslog import FACILITIES, SyslogAddress

from .handlers import LOST, OwnHandler, logger, writer
from .syslog import NAME, Syslog
from .text import MONTHS, one_line, rfc3339
from .thread import Mode

__all__ = [
    "SyslogHandler",
    "SyslogSettings",
    "look_up_syslog",
    "open_syslog",
    "renew_syslog",
]

LARGEST = 60_000
"""Bytes of a message; a datagram has room for 65,507. What is longer is cut."""


class SyslogSettings(NamedTuple):
    """What the options say."""

    address: SyslogAddress
    name: str
    """What the messages call the program."""
    facility: str


# RFC 5424 §6.2.1
_SEVERITIES = (
    (logging.CRITICAL, 2),
    (logging.ERROR, 3),
    (logging.WARNING, 4),
    (logging.INFO, 6),
    (logging.NOTSET, 7),
)


class SyslogHandler(OwnHandler):
    """Makes messages of records: one of each line.

    :param outlet: where they go; it is not this object's.
    :param name: what they call the program.
    :param facility: its number.
    """

    def __init__(self, outlet: Syslog, name: str, facility: int) -> None:
        super().__init__()
        self.outlet = outlet
        self._name = name
        self._priority = facility * 8
        # RFC 5424 §6: printable ASCII, and "-" where there is nothing.
        host = socket.gethostname().encode("ascii", "replace").decode()
        self._host = "".join(part if "!" <= part <= "~" else "-" for part in host)[:255] or "-"

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, LOST, None) == NAME:
            return  # it would be lost as well, and be told of
        try:
            head = self._head(record)
            lines = self.format(record).split("\n")
            for line in filter(None, lines):
                message = f"{head}{line}".encode("utf-8", "backslashreplace")
                if len(message) > LARGEST:
                    message = message[:LARGEST].decode(errors="ignore").encode() + b" [...]"
                writer.put(self.outlet, message + b"\n")  # which a datagram goes without
        except Exception:
            self.handleError(record)

    def _head(self, record: logging.LogRecord) -> str:
        severity = next(number for level, number in _SEVERITIES if record.levelno >= level)
        priority = self._priority + severity
        if self.outlet.address.path:
            local = time.localtime(record.created)
            stamp = f"{MONTHS[local.tm_mon - 1]} {local.tm_mday:2} {time.strftime('%T', local)}"
            return f"<{priority}>{stamp} {self._name}[{record.process}]: "
        when = rfc3339(record.created)
        return f"<{priority}>1 {when} {self._host} {self._name} {record.process} - - "


_outlet: Syslog | None = None
"""The one of this process."""


def open_syslog(
    settings: SyslogSettings | None, formatter: logging.Formatter
) -> tuple[list[SyslogHandler], list[SyslogHandler]]:
    """The handlers of the error log and of the access log; none without settings. Repeated calls
    keep the connection, where the address is the same.

    :param formatter: of the error log's lines.
    """
    global _outlet
    if _outlet is not None and (settings is None or settings.address != _outlet.address):
        writer.discard(_outlet)
        _outlet = None
    if settings is None:
        return [], []
    if _outlet is None:
        _outlet = Syslog(settings.address, lambda: writer.mode is Mode.QUEUED)
        writer.add(_outlet)
    facility = FACILITIES[settings.facility]
    error = SyslogHandler(_outlet, settings.name, facility)
    error.setFormatter(formatter)
    return [error], [SyslogHandler(_outlet, f"{settings.name}.access", facility)]


def look_up_syslog() -> None:
    """*In the parent, or before any request:* look the name of its machine up, however long that
    takes, and say where it cannot be found."""
    if _outlet is not None and (why := _outlet.look_up()):
        logger.warning("--log-syslog-to: cannot find %s: %s", _outlet.address, one_line(why))


def renew_syslog() -> None:
    """Connect again where the application has closed its descriptor."""
    if _outlet is not None:
        _outlet.renew()

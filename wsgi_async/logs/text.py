"""Text for a log: what a client or an application wrote can forge no line and steer no terminal."""

from __future__ import annotations

import re
import time
from functools import lru_cache

__all__ = ["MONTHS", "escape", "is_safe", "log_time", "one_line", "rfc3339"]

# Not printable ASCII, or a quote or backslash: what would make a quoted log field ambiguous.
_UNSAFE = re.compile(r"[^ !#-\[\]-~]")
# C0, DEL, C1 and the separators at which str.splitlines() and some viewers break lines.
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def escape(text: str) -> str:
    """`text` as printable ASCII on one line; the rest, quotes and backslashes become ``\\xHH``."""
    return _UNSAFE.sub(_escaped, text)


def is_safe(text: str) -> bool:
    """Whether :func:`escape` changes nothing of it."""
    return _UNSAFE.search(text) is None


def one_line(text: str) -> str:
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
    return time.strftime(f"%d/{MONTHS[local.tm_mon - 1]}/%Y:%H:%M:%S %z", local)


def rfc3339(now: float) -> str:
    """``2026-10-10T13:55:36.042+02:00``: local time with its offset (RFC 3339 §5.6).

    :param now: as of ``time.time()``.
    """
    second, milliseconds = divmod(int(now * 1000), 1000)
    before, after = _second_and_offset(second)
    return f"{before}.{milliseconds:03d}{after}"


@lru_cache(maxsize=8)
def _second_and_offset(second: int) -> tuple[str, str]:
    local = time.localtime(second)
    sign = "-" if local.tm_gmtoff < 0 else "+"
    hours, minutes = divmod(abs(local.tm_gmtoff) // 60, 60)
    return time.strftime("%Y-%m-%dT%H:%M:%S", local), f"{sign}{hours:02d}:{minutes:02d}"

"""The Date of all responses, made anew once a second. Loop-owned, no I/O."""

from __future__ import annotations

import time

from wsgi_async.http.framing import Framer

__all__ = ["Dates"]

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = (
    *("Jan", "Feb", "Mar", "Apr", "May", "Jun"),
    *("Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
)


def http_date(second: int) -> str:
    """An IMF-fixdate (RFC 9110 §5.6.7), in no locale's words. Not ``email.utils``: its import would
    be a twentieth of the start.

    :param second: since the epoch.
    """
    year, month, day, hour, minute, seconds, weekday, _, _ = time.gmtime(second)
    return (
        f"{_DAYS[weekday]}, {day:02} {_MONTHS[month - 1]} {year:04} "
        f"{hour:02}:{minute:02}:{seconds:02} GMT"
    )


class Dates:
    """Keeps the Date of framers.

    :param framer: what frames the heads of all responses, but for those that others frame.
    """

    def __init__(self, framer: Framer) -> None:
        self._framers = [framer]
        self._second = 0
        self._date = ""

    def add(self, framer: Framer) -> None:
        """Keep that of one more."""
        self._framers.append(framer)
        if self._date:
            framer.set_date(self._date)

    def set(self, wall: float) -> None:
        """It is that late; to be called a few times a second.

        :param wall: seconds since the epoch.
        """
        second = int(wall)
        if second != self._second:
            self._second = second
            self._date = http_date(second)
            for framer in self._framers:
                framer.set_date(self._date)

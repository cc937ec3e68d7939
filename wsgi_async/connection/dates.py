"""The Date of all responses, made anew once a second. Loop-owned, no I/O."""

from __future__ import annotations

from email.utils import formatdate

from wsgi_async.http.framing import Framer

__all__ = ["Dates"]


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
            self._date = formatdate(second, usegmt=True)
            for framer in self._framers:
                framer.set_date(self._date)

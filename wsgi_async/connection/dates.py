"""The Date of all responses, made anew once a second. Loop-owned, no I/O."""

from __future__ import annotations

from email.utils import formatdate

from wsgi_async.http.framing import Framer

__all__ = ["Dates"]


class Dates:
    """Keeps the Date of a framer.

    :param framer: what frames the heads of all responses.
    """

    def __init__(self, framer: Framer) -> None:
        self._framer = framer
        self._second = 0

    def set(self, wall: float) -> None:
        """It is that late; to be called a few times a second.

        :param wall: seconds since the epoch.
        """
        second = int(wall)
        if second != self._second:
            self._second = second
            self._framer.set_date(formatdate(second, usegmt=True))

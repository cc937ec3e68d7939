"""What the operations process may tell the parent to do, for who asks it: words, and their meaning.

The parent obeys as it obeys the signal, and answers nothing: what came of it is in the memory that
both have. What cannot be read is no order, which is said once.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterable

from wsgi_async.events import Observer

from .channel import Word
from .fleet import Fleet

__all__ = ["MOST_PROCESSES", "Order", "Orders"]

MOST_PROCESSES = 1000
"""So many may be asked for, as by ``--workers``."""

_NUMBER = re.compile(r"[1-9][0-9]{0,3}")


class Order(enum.Enum):
    """What there is to order, by its word."""

    RELOAD = "reload"
    """As SIGHUP."""
    DRAIN = "drain"
    """As SIGTERM."""
    SCALE = "scale"
    """As SIGTTIN and SIGTTOU: to so many processes as stand behind the word."""


class Orders:
    """*In the parent:* obeys them.

    :param fleet: which is to follow.
    :param reload: begins a reload.
    :param observer: told of what is no order.
    """

    def __init__(self, fleet: Fleet, reload: Callable[[], object], observer: Observer) -> None:
        self._fleet = fleet
        self._reload = reload
        self._observer = observer
        self._has_warned = False

    def obey(self, words: Iterable[Word], now: float) -> None:
        """Do what these say."""
        for word, detail in words:
            if word != "beat" and not self._obey(word, detail, now):
                self._warn()

    def _obey(self, word: str, detail: str, now: float) -> bool:
        """Whether it was an order."""
        if word == Order.SCALE.value:
            if _NUMBER.fullmatch(detail) is None or int(detail) > MOST_PROCESSES:
                return False
            self._fleet.scale(int(detail), now)
            return True
        if detail:
            return False
        if word == Order.RELOAD.value:
            self._reload()
        elif word == Order.DRAIN.value:
            self._fleet.drain(now)
        else:
            return False
        return True

    def _warn(self) -> None:
        if not self._has_warned:
            self._has_warned = True
            self._observer.warning("The operations process has said what is no order: ignored")

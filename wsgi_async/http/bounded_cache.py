"""A dict that remembers what comes again, and forgets all of it when it is full.

Clients and applications choose what goes in, so its size has a bound. What is of every day is soon
back; to keep an order of use would cost each look-up more than all the misses.
"""

from __future__ import annotations

from typing import TypeVar

__all__ = ["BoundedCache"]

K = TypeVar("K")
V = TypeVar("V")


class BoundedCache(dict[K, V]):
    """Look-ups are those of a dict, at its speed. *Any thread:* some may race for the last place,
    and then there are as many too many; nothing breaks.

    :param limit: entries at most.
    """

    __slots__ = ("limit",)

    def __init__(self, limit: int) -> None:
        self.limit = limit

    def keep(self, key: K, value: V) -> None:
        """Remember it, without all the others where there are `limit` of them."""
        if len(self) >= self.limit and key not in self:
            self.clear()
        self[key] = value

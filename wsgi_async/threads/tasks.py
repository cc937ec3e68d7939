"""What a pool runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

__all__ = ["Call", "T", "Task"]


class Task(Protocol):
    """What a pool runs. Tasks are told apart by identity, and must be hashable."""

    @property
    def has_begun(self) -> bool:
        """*Any thread:* whether it has begun to run, or never will. Once True it stays so, and it
        is True before :meth:`run` returns."""

    @property
    def turn(self) -> int:
        """*Any thread:* how often it was suspended: changes before another thread can have it."""

    def run(self) -> object:
        """*Pool thread:* do the work."""

    def abandon(self, turn: int) -> None:
        """*Pool thread:* :meth:`run` let an exception out, or may have been struck at its beginning
        or its end: leave nothing open. Nothing, if it has ended, or was suspended since `turn`.
        May be called again."""


class Call:
    """A task that calls a function.

    :param function: called without arguments.
    """

    __slots__ = ("_function", "has_begun")

    def __init__(self, function: Callable[[], object]) -> None:
        self._function = function
        self.has_begun = False

    @property
    def turn(self) -> int:
        return 0

    def run(self) -> None:
        """*Pool thread:* call it."""
        self.has_begun = True
        self._function()

    def abandon(self, turn: int) -> None:
        pass


T = TypeVar("T", bound=Task)

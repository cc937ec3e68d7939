"""How severe a message must be to be logged, where an operator has said so of a server that runs.

Processes that serve are told, and those that begin later look here: it is in memory that all of
them share, so that it does not matter who forks them. A reload gathers the options anew, and then
they hold again.
"""

from __future__ import annotations

import mmap

from wsgi_async.logs import setup as logs

__all__ = ["LEVELS", "LogLevel"]

LEVELS = ("debug", "info", "warning", "error", "critical")
"""As ``log_level`` has them."""

_AS_OPTIONS_SAY = 0


class LogLevel:
    """The memory. Made before the processes are forked that are to have it.

    :raises OSError: there is none.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 1)

    @property
    def asked(self) -> str:
        """*Any process, any thread:* what was asked for; empty where the options hold."""
        number = self._memory[0]
        return "" if number == _AS_OPTIONS_SAY else LEVELS[number - 1]

    def ask(self, level: str) -> None:
        """*In the operations process:* for processes that begin from now on.

        :raises ValueError: there is no such level.
        """
        if level not in LEVELS:
            raise ValueError(f"{level!r} is none of {', '.join(LEVELS)}")
        self._memory[0] = LEVELS.index(level) + 1

    def forget(self) -> None:
        """*In the parent, at a reload:* the options hold again."""
        self._memory[0] = _AS_OPTIONS_SAY

    def follow(self) -> None:
        """*In any process, any thread:* log from that level on, where one was asked for."""
        level = self.asked
        if level:
            logs.set_level(level)

    @staticmethod
    def leave() -> None:
        """*In the parent, at a reload:* log as before, where the options have not said how: the log
        is that of a program around the server."""
        logs.unset_level()

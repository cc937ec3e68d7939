"""What a supervisor is given, and what it gives to the processes it starts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from .attendants import Work
from .channel import Channel
from .fleet import TimeLimits
from .states import Census

__all__ = ["Boot", "BootFailed", "Parent", "Program"]


class BootFailed(Exception):
    """The first processes could not start.

    :param code: the exit code.
    :param report: what to show.
    """

    def __init__(self, code: int, report: str) -> None:
        super().__init__(report)
        self.code = code
        self.report = report


class Boot(NamedTuple):
    """What a new process is given."""

    channel: Channel
    number: int
    """A small number that no other living process of this server has."""
    place: int
    """Which of the places it has, from 0. Who it replaces, perhaps alive still, has the same."""
    is_first: bool
    """Whether no process has ever been ready: what goes wrong is the operator's to see."""


class Program(Protocol):
    """What is to be served, as one reading of the configuration has it."""

    processes: int
    preload: bool
    limits: TimeLimits
    look_every: float
    """Seconds from one :meth:`look` to the next; infinite where there is nothing to look at."""

    def look(self) -> bool:
        """*In the parent:* whether there is something new for the processes, which are told
        ``renew`` then. It must return soon, and raise nothing."""

    def load(self) -> Any:
        """*In a new process:* the application."""

    def close_sockets(self) -> None:
        """*In a loader:* stop listening; others may go on."""

    def serve(self, application: Any, boot: Boot) -> int:
        """*In a new process:* serve until told to end, and return the exit code.

        :param application: what :meth:`load` returned, or None where this process is to load it.
        """

    def explain(self, error: Exception, boot: Boot) -> int:
        """*In a new process:* say why it cannot start, and return the exit code."""


class Parent(Protocol):
    """The process that a supervisor runs in: what it does for the server as a whole."""

    watch: Work | None
    """*In a process of its own:* say ``watching`` once it does, and ``changed`` whenever the code
    has changed."""

    operate: Work | None
    """*In a process of its own:* show how the server is, say ``beat`` while it does, and the words
    of :mod:`.orders` where somebody asks for it."""

    take_census: Callable[[Census], object] | None
    """Told what there is to count, whenever it may have changed."""

    def reconfigure(self) -> Program:
        """Read the configuration again, for a reload. May raise ConfigError."""

    def started(self, processes: int, loop: str) -> None:
        """All first processes are ready; they run this kind of loop."""

    def close_sockets(self) -> None:
        """Stop listening, and remove socket files."""

    def reopen_logs(self) -> None:
        """The log files were renamed."""

    def forking(self, number: int) -> None:
        """A process of this number is about to be started. ConfigError where it cannot be."""

    def gone(self, number: int, pid: int) -> None:
        """The process of this number has ended; its pid is 0 where it was never known."""

    def wanted(self, processes: int, before: int) -> None:
        """So many processes are to serve from now on."""
